"""The parts of a chart of Open WebUI's: named by the server's own clock, as Open WebUI does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_MINUTES: Final = {"10m": 10, "hourly": 60, "3h": 180, "6h": 360}
_DAY: Final = 1440
_HOUR: Final = 3600
MOST: Final = 20_000
"""Parts of one chart."""


class TooManyParts(ValueError):
    """A chart would have more than :data:`MOST`."""


@dataclass(frozen=True, slots=True)
class Part:
    """From a time of the clock to the next."""

    date: str
    """Its name."""
    start: int
    """Unix time in seconds."""
    end: int


@dataclass(frozen=True, slots=True)
class Chart:
    """The parts of a period, and between which moments each of them lies."""

    parts: tuple[Part, ...]
    edges: tuple[int, ...]
    """Where stretches of time begin, and the last ends: Unix time in seconds."""
    dates: tuple[str, ...]
    """For each stretch, the name of its part: an hour that the clock repeats has two stretches."""

    def before(self) -> Chart:
        """Return the same of the period of the same length before, with the same names.

        A period that is asked for as seven days has a second more, for its last one counts. The
        parts before it begin at full hours all the same: sums are kept of these.
        """
        length = self.edges[-1] - self.edges[0]
        inner = length - 1 if self._may_begin_earlier(length) else length

        def earlier(moment: int) -> int:
            return moment - (length if moment in (self.edges[0], self.edges[-1]) else inner)

        parts = (Part(one.date, earlier(one.start), earlier(one.end)) for one in self.parts)
        return Chart(tuple(parts), tuple(map(earlier, self.edges)), self.dates)

    def _may_begin_earlier(self, length: int) -> bool:
        return length % _HOUR == 1 and self.edges[-1] - self.edges[-2] > 1


def chart(start: int, end: int, granularity: str) -> Chart:
    """Divide a period.

    Args:
        start: Unix time in seconds.
        end: Its last second.
        granularity: ``10m``, ``hourly``, ``3h``, ``6h``; ``daily`` is all else.

    Raises:
        TooManyParts: It has to be divided less finely.
    """
    minutes = _MINUTES.get(granularity, _DAY)
    step = timedelta(minutes=minutes)
    if (end - start) // (minutes * 60) > MOST - 2:
        raise TooManyParts(f"more than {MOST:,} parts")
    parts, edges = [], {start}
    for clock in _clock(start, end, minutes):
        first = max(start, int(clock.timestamp()))
        parts.append(
            Part(_name(clock, minutes), first, min(end + 1, int((clock + step).timestamp())))
        )
        edges |= {edge for edge in _moments(clock) if start < edge <= end}
    begun = sorted(edges)
    dates = [_name(_floor(datetime.fromtimestamp(edge), minutes), minutes) for edge in begun]
    return Chart(tuple(parts), (*begun, end + 1), tuple(dates))


def _clock(start: int, end: int, minutes: int) -> Iterator[datetime]:
    clock, last = _floor(datetime.fromtimestamp(start), minutes), datetime.fromtimestamp(end)
    while clock <= last:
        yield clock
        clock += timedelta(minutes=minutes)


def _floor(clock: datetime, minutes: int) -> datetime:
    since_midnight = clock.hour * 60 + clock.minute
    hour, minute = divmod(since_midnight // minutes * minutes, 60)
    return clock.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)


def _moments(clock: datetime) -> Iterator[int]:
    """A clock that is set back shows the same twice; what it leaves out is two moments, too."""
    return (int(clock.replace(fold=fold).timestamp()) for fold in (0, 1))


def _name(clock: datetime, minutes: int) -> str:
    return clock.strftime("%Y-%m-%d" if minutes == _DAY else "%Y-%m-%d %H:%M")
