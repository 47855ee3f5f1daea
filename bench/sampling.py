"""Whose frames a server's event loop is in: a sampling profile.

A sample is ours if the innermost frame of ours has nothing but the SDK, the list of prices and
Python's own library inside it: what we call is our cost, what we wrap is not, nor the executors and
threads of Python's that we wrap for pipes. Looks come at random moments, so how many found us tells
how long we ran; that is compared with the processor time of the event loop's thread.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import inside
from harness.openwebui import OpenWebUI
from harness.provider import Provider
from harness.seed import seeded_data_dir

ROOT = Path(__file__).parents[1]
OURS = "/opentelemetry/instrumentation/open_webui/"
# Frames of ours that only pass on to Python's own library.
PASSING = "host/surfaces/threads.py"
CALLED = ("/opentelemetry/", "/genai_prices/", "/orjson/", "/wrapt/")
TOP = 10
# Of a normal distribution, to both sides, for 95 %.
DEVIATIONS = 1.96


@dataclass(frozen=True)
class Profile:
    """Samples of one thread."""

    samples: int
    seconds: float
    busy: float
    """Seconds of processor time that the thread has used meanwhile."""
    ours: Counter[str]
    """Samples of ours, by the innermost frame of ours."""

    def share(self, samples: float) -> float:
        """The part of the thread's processor time that so many samples stand for."""
        return samples / max(1, self.samples) * self.seconds / self.busy

    def lines(self) -> Iterator[str]:
        """Lines for a person. Chance: what falls on us of random looks is a Poisson process."""
        found = self.ours.total()
        chance = DEVIATIONS * found**0.5
        low, high = self.share(found - chance), self.share(found + chance)
        yield (
            f"{self.share(found):6.2%} of the event loop's processor time is ours"
            f" ({low:.2%} to {high:.2%}, 95 %; {found} samples)"
        )
        for frame, count in self.ours.most_common(TOP):
            yield f"  {self.share(count):6.2%} {frame}"


class Sampled(OpenWebUI):
    """Open WebUI with the library, and with a sampler of its main thread."""

    def __init__(self, provider: Provider, env: Mapping[str, str]) -> None:
        super().__init__(provider, copy_from=seeded_data_dir(), launcher="instrument")
        self._output = self.run_dir / "samples"
        self.extra_env = {**env, inside.OUTPUT: str(self._output), "PYTHONPATH": str(ROOT)}

    def command(self) -> list[str]:
        """The command line, by way of the sampler."""
        instrument, _, *arguments = super().command()
        return [instrument, sys.executable, "-m", inside.__name__, *arguments]

    def profile(self, seconds: float, work: Callable[[], None]) -> Profile:
        """Profile the event loop's thread while work is done.

        Args:
            seconds: For how long.
            work: Done over and over meanwhile.
        """
        self._toggle()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            work()
        self._toggle()
        while not self._output.exists():
            time.sleep(0.1)
        found = read(json.loads(self._output.read_text("utf-8")))
        self._output.unlink()
        return found

    def _toggle(self) -> None:
        os.kill(self.pids()[0], signal.SIGUSR1)


def read(found: Mapping[str, Any]) -> Profile:
    """Read what the sampler has written: frames from the outermost on, and how often."""
    samples, ours = 0, Counter[str]()
    for frames, count in found["stacks"]:
        samples += count
        frame = _ours(frames)
        if frame is not None:
            ours[frame] += count
    return Profile(samples, found["seconds"], found["busy"], ours)


def _ours(frames: Sequence[str]) -> str | None:
    """The innermost frame of ours, if whoever runs inside it works for us."""
    for depth, frame in enumerate(reversed(frames)):
        if OURS in frame:
            if depth and PASSING in frame:
                return None
            name, _, place = frame.partition(" (")
            return f"{place.rpartition(OURS)[2].rstrip(')')} {name}"
        if "site-packages" in frame and not any(called in frame for called in CALLED):
            return None
    return None
