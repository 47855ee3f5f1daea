"""The span of time that a limit is for, computed when asked: nothing is ever reset."""

from __future__ import annotations

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
