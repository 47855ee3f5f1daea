"""Open WebUI with a sampler of its main thread in it: ``python -m bench.inside serve …``.

It looks at random moments, by a signal; Python hears of one at the end of a call or of a loop's
turn, or where a function begins: then it was not that function that ran, but whoever called it, or
a wait that ended. A profiler outside has to stop the process for each look, for 1.5 ms with py-spy,
and what a server does after it has waited then falls in step with the looks; so does what follows a
clock's tick, where the processor's time is the clock. Both told half or twice of what a call's end
takes.

SIGUSR1 begins; once more, it writes what was found to the file that ``BENCH_SAMPLES`` names.
"""

from __future__ import annotations

import dis
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

SECONDS = 0.002
"""Mean time between two looks."""
OUTPUT = "BENCH_SAMPLES"
_BEGINS = dis.opmap["RESUME"]


class Sampler:
    """The stacks of the main thread, at random moments."""

    def __init__(self) -> None:
        self._stacks: list[tuple[CodeType, ...]] = []
        self._runs = False
        self._began = (0.0, 0.0)
        self._instructions: dict[CodeType, bytes] = {}

    def toggle(self, *_: object) -> None:
        """Begin, or stop and write what was found."""
        self._runs = not self._runs
        times = (time.perf_counter(), time.thread_time())
        if self._runs:
            self._stacks.clear()
            self._began = times
            self._wait()
        else:
            taken = [end - began for end, began in zip(times, self._began, strict=True)]
            self._write(Path(os.environ[OUTPUT]), *taken)

    def look(self, _signal: int, frame: FrameType | None) -> None:
        """Keep what is running."""
        if not self._runs:
            return
        if frame is not None and self._begins(frame):
            frame = frame.f_back
        stack = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self._stacks.append(tuple(reversed(stack)))
        self._wait()

    def _begins(self, frame: FrameType) -> bool:
        code = frame.f_code
        if code not in self._instructions:
            self._instructions[code] = code.co_code
        return self._instructions[code][frame.f_lasti] == _BEGINS

    def _wait(self) -> None:
        # Never 0, which would be never.
        signal.setitimer(signal.ITIMER_REAL, random.expovariate(1 / SECONDS) + 1e-5)

    def _write(self, output: Path, seconds: float, busy: float) -> None:
        stacks = [
            [[f"{code.co_qualname} ({code.co_filename})" for code in stack], count]
            for stack, count in Counter(self._stacks).items()
        ]
        part = output.with_suffix(".part")
        part.write_text(json.dumps({"seconds": seconds, "busy": busy, "stacks": stacks}), "utf-8")
        part.rename(output)


def main() -> None:
    """Serve."""
    from open_webui import app

    sampler = Sampler()
    signal.signal(signal.SIGUSR1, sampler.toggle)
    signal.signal(signal.SIGALRM, sampler.look)
    app()


if __name__ == "__main__":
    main()
