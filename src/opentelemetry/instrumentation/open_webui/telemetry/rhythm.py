"""How often a pull exporter is read: nobody tells it, so it is learned from when that happens.

An announcement has to stand until everybody who keeps count has read it. Where no rhythm is known
it stands until it was read once, by whoever it was. A server that scrapes does so evenly; then it
stands for as long as that server takes to come again, and a person who looks at the page in between
takes nothing away from it. The first two readings count as a rhythm until the third.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

_MOST_READINGS: Final = 64
# Readings of a program are as even as this, on a busy machine, too.
_TOLERANCE: Final = 0.01
_JITTER: Final = 0.25
_GUESSED: Final = 2
# A rhythm is known for so many intervals more.
_REMEMBERED: Final = 8
# Several collections of one moment are no rhythm. Nobody who looks should wait for rarer ones.
_SHORTEST, _LONGEST = 0.5, 65.0
# Two servers that share an interval evenly look like one with half of it.
_FACTOR, _LEAST_SLACK, _MOST_SLACK = 2.0, 1.0, 10.0


class Rhythm:
    """The readings of a pull exporter.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._readings: deque[float] = deque(maxlen=_MOST_READINGS)
        self._intervals: deque[tuple[float, float]] = deque(maxlen=_MOST_READINGS)

    def read(self) -> float:
        """Take note of a reading; return for how many seconds an announcement has to stand now.

        It is 0 where no rhythm is known, or none is kept any more.
        """
        now = self._clock()
        interval = _interval(now, self._readings)
        if len(self._readings) == _GUESSED:
            # The third reading says whether the first two were a rhythm.
            self._intervals.clear()
        if interval is not None:
            self._intervals.append((now, interval))
        self._readings.append(now)
        kept = [each for at, each in self._intervals if now - at < _REMEMBERED * each]
        return _hold(max(kept, default=0.0))


def _interval(now: float, earlier: Sequence[float]) -> float | None:
    """The shortest interval at which there were two readings before this one; one, at first."""
    for reading in reversed(earlier):
        interval = now - reading
        if interval > _LONGEST:
            return None
        known = len(earlier) < _GUESSED or _has(earlier, reading - interval, interval)
        if interval >= _SHORTEST and known:
            return interval
    return None


def _has(readings: Sequence[float], at: float, interval: float) -> bool:
    return any(abs(each - at) <= _JITTER + _TOLERANCE * interval for each in readings)


def _hold(interval: float) -> float:
    if not interval:
        return 0.0
    return min(interval * _FACTOR + _LEAST_SLACK, interval + _MOST_SLACK)
