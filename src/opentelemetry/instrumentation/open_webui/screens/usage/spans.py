"""The period that is asked for: by a name, by days or by a month, in somebody's time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock
from typing import Final
from zoneinfo import ZoneInfo

from ...ledger.periods import Period, edges

TODAY, ALL, DEFAULT = "today", "all", "30d"
_DAYS: Final = {TODAY: 1, "7d": 7, DEFAULT: 30, "90d": 90, "365d": 365}
MONTH, LAST_MONTH = "month", "last_month"
NAMES: Final = (*_DAYS, MONTH, LAST_MONTH, ALL)
"""Names of periods: so many days until today, a calendar month, or since the ledger began."""
EARLIEST, LATEST = date(1970, 1, 2), date(2200, 1, 1)
"""The days that may be asked for."""
# Parts of a chart that people can still tell apart: the longest period for hours, days and weeks.
_FINEST: Final = ((2, "hour"), (100, "day"), (400, "week"))


class Wrong(ValueError):
    """What is asked for makes no sense; the text says what does."""


@dataclass(frozen=True, slots=True)
class Span:
    """Whole days of a time zone."""

    first: date
    last: date
    """Counts, too."""
    zone: ZoneInfo

    @property
    def period(self) -> Period:
        """The same in Unix time."""
        return Period(self._midnight(self.first), self._midnight(self.last + timedelta(days=1)))

    @property
    def every(self) -> str:
        """What a chart of it has a value for, unless it is told."""
        days = (self.last - self.first).days + 1
        return next((name for most, name in _FINEST if days <= most), "month")

    def edges(self, every: str) -> list[int]:
        """Return where the parts of a chart begin, and the last ends (Unix time).

        Raises:
            Wrong: There are too many parts.
        """
        period = self.period
        try:
            found = edges(period, every, self.zone)
        except ValueError as error:
            raise Wrong(str(error)) from None
        inner = [edge for edge in found if period.start < edge < period.end]
        return [period.start, *inner, period.end]

    def _midnight(self, day: date) -> int:
        return int(datetime.combine(day, clock(), self.zone).timestamp())


def zone_of(name: str | None) -> ZoneInfo:
    """Return the time zone of a name.

    Raises:
        Wrong: There is none of that name.
    """
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, KeyError):
        raise Wrong(f"zone: {name!r} is no time zone, such as Europe/Berlin") from None


def span(
    name: str | None,
    first: date | None,
    last: date | None,
    month: str | None,
    zone: ZoneInfo,
    *,
    now: float,
    began: float | None,
) -> Span:
    """Return the days that are asked for.

    Args:
        name: One of :data:`NAMES`; without anything it is :data:`DEFAULT`.
        first: From that day on.
        last: Up to and with that day; today, if it is not given.
        month: As ``2026-11``.
        zone: The time zone of the days.
        now: Unix time.
        began: When the ledger's first call began (Unix time), if there is one.

    Raises:
        Wrong: More than one of these ways was taken, or the days are not in order.
    """
    ways = [name is not None, first is not None or last is not None, month is not None]
    if sum(ways) > 1:
        raise Wrong("period, month, and from with to, are three ways to say the same: choose one")
    today = datetime.fromtimestamp(now, zone).date()
    if month is not None:
        return _of_month(month, zone)
    since = today if began is None else min(datetime.fromtimestamp(began, zone).date(), today)
    if first is not None or last is not None:
        return _of_days(first or since, last or today, zone)
    return _named(name or DEFAULT, today, since, zone)


def _named(name: str, today: date, since: date, zone: ZoneInfo) -> Span:
    if name == ALL:
        return Span(since, today, zone)
    if name == MONTH:
        return Span(today.replace(day=1), today, zone)
    if name == LAST_MONTH:
        last = today.replace(day=1) - timedelta(days=1)
        return Span(last.replace(day=1), last, zone)
    return Span(today - timedelta(days=_DAYS[name] - 1), today, zone)


def _of_days(first: date, last: date, zone: ZoneInfo) -> Span:
    if first > last:
        raise Wrong(f"from ({first}) is after to ({last})")
    if first < EARLIEST or last > LATEST:
        raise Wrong(f"days are from {EARLIEST} to {LATEST}")
    return Span(first, last, zone)


def _of_month(month: str, zone: ZoneInfo) -> Span:
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Wrong("month: a month is 2026-11") from None
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return _of_days(first, last, zone)
