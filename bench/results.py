"""How figures are taken and shown."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Result(NamedTuple):
    """A figure, and what it may be at most."""

    name: str
    value: float
    most: float | None
    unit: str

    def __str__(self) -> str:
        """Return its line."""
        aim = "" if self.most is None else f"  (at most {self.most:g})"
        mark = "" if self.most is None or self.value <= self.most else "  MISSED"
        return f"{self.name:<56} {self.value:>12,.2f} {self.unit}{aim}{mark}"


def timed(work: Callable[[], object], times: int = 7) -> float:
    """Milliseconds, the median; the first time does not count."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000
