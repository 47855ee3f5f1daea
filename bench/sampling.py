"""Whose frames a server's event loop is in: a sampling profile by py-spy.

A sample is ours if the innermost frame of ours has nothing but the SDK, the list of prices and
Python's own library inside it: what we call is our cost, what we wrap is not, nor the executors and
threads of Python's that we wrap for pipes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

RATE = 250
OURS = "/opentelemetry/instrumentation/open_webui/"
# Frames of ours that only pass on to Python's own library.
PASSING = "host/surfaces/threads.py"
CALLED = ("/opentelemetry/", "/genai_prices/", "/orjson/", "/wrapt/")
TOP = 10


@dataclass(frozen=True)
class Profile:
    """Samples of one thread."""

    samples: int
    ours: Counter[str]
    """Those of ours, by the innermost frame of ours."""

    @property
    def share(self) -> float:
        """The part of all samples that is ours."""
        return self.ours.total() / max(1, self.samples)

    def lines(self) -> Iterator[str]:
        """Lines for a person."""
        yield f"{self.share:6.1%} of {self.samples} samples of the event loop are ours"
        for frame, count in self.ours.most_common(TOP):
            yield f"  {count / self.samples:6.2%} {frame}"


def available() -> bool:
    """Whether py-spy is there."""
    return _program() is not None


def _program() -> str | None:
    return shutil.which("py-spy", path=str(Path(sys.executable).parent))


def profile(pid: int, seconds: int, work: Callable[[], None]) -> Profile:
    """Profile the main thread of a process while work is done.

    Args:
        pid: The process.
        seconds: For how long.
        work: Done over and over meanwhile.
    """
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "stacks"
        recorder = subprocess.Popen(
            (
                str(_program()), "record", "--pid", str(pid), "--format", "raw", "--threads",
                "--full-filenames", "--rate", str(RATE), "--duration", str(seconds),
                "--output", str(output),
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while recorder.poll() is None:
            work()
        return read(output.read_text("utf-8"))


def read(stacks: str) -> Profile:
    """Read stacks as py-spy writes them: frames from the outermost on, and how often."""
    samples, ours = 0, Counter[str]()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if "MainThread" not in thread:
            continue
        samples += int(count)
        frame = _ours(frames)
        if frame is not None:
            ours[frame] += int(count)
    return Profile(samples, ours)


def _ours(frames: list[str]) -> str | None:
    """The innermost frame of ours, if whoever runs inside it works for us."""
    for depth, frame in enumerate(reversed(frames)):
        if OURS in frame:
            if depth and PASSING in frame:
                return None
            name, _, place = frame.partition(" (")
            return f"{place.rpartition(OURS)[2].partition(':')[0]} {name}"
        if "site-packages" in frame and not any(called in frame for called in CALLED):
            return None
    return None
