"""The span of time that a limit is for, computed when asked: nothing is ever reset."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ..ledger.periods import EVERY, Period, edges
from ..ledger.sums import HOUR_SECONDS

CALENDAR: Final = EVERY
"""Hours, days, weeks (from Monday on) and months of the calendar."""
MOST_HOURS: Final = 24 * 366


class Span(NamedTuple):
    """From a moment until before another: Unix time in seconds."""

    start: int
    end: int | None
    """``None`` where it moves on with the clock."""


@dataclass(frozen=True, slots=True)
class Window:
    """An hour, a day, a week or a month in a time zone; or some hours up to now."""

    per: str
    """One of :data:`CALENDAR`; empty for a rolling window."""
    zone: str = "UTC"
    """A name of the tz database. Hours are the same in all zones."""
    hours: int = 0
    """How long a rolling window is."""

    @property
    def is_rolling(self) -> bool:
        """Whether it moves on with the clock."""
        return not self.per

    def span(self, now: float) -> Span:
        """Return what of time it is at a moment (Unix time).

        A rolling window begins with a full hour, because sums are kept by the hour: it is up to an
        hour longer than it says, so that no stretch of its length ever has more than is allowed.
        """
        if self.is_rolling:
            return Span((int(now) // HOUR_SECONDS - self.hours) * HOUR_SECONDS, None)
        start, end = edges(Period(int(now), int(now) + 1), self.per, ZoneInfo(self.zone))[:2]
        return Span(start, end)


def stays(span: Span, at: float) -> tuple[int, int]:
    """Return from when, and until before when, what is the span at a moment stays so."""
    if span.end is not None:
        return span.start, span.end
    hour = int(at) // HOUR_SECONDS * HOUR_SECONDS
    return hour, hour + HOUR_SECONDS


class Turn:
    """The time around a moment in which the spans of some windows stay what they are.

    Args:
        windows: Of limits.
        at: The moment (Unix time).
    """

    __slots__ = ("begins", "ends", "spans")

    def __init__(self, windows: Iterable[Window], at: float) -> None:
        self.spans = {window: window.span(at) for window in windows}
        edges = [stays(span, at) for span in self.spans.values()]
        self.begins = float(max((begins for begins, _ in edges), default=-math.inf))
        self.ends = float(min((ends for _, ends in edges), default=math.inf))
