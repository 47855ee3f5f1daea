"""Spans of time: as few kept sums as make one up, and the days, weeks and months of a chart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from .schema import DAY, HOUR, MONTH
from .sums import DAY_SECONDS, HOUR_SECONDS, month_of, start_of_month

# Python's dates end at the year 9999. It is the beginning of a month: of one grain of sums.
_LATEST: Final = 252_992_073_600
MOST_EDGES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Period:
    """From a moment until before another: Unix time in seconds."""

    start: int
    end: int

    def __post_init__(self) -> None:
        """Keep to what calendars can say."""
        object.__setattr__(self, "start", min(max(self.start, 0), _LATEST))
        object.__setattr__(self, "end", min(max(self.end, self.start), _LATEST))


ALWAYS: Final = Period(0, _LATEST)


class Piece(NamedTuple):
    """A part of a period: buckets of a grain, or seconds where ``grain`` is ``None``."""

    grain: int | None
    first: int
    end: int


class _Grain(NamedTuple):
    grain: int
    bucket_of: Callable[[int], int]
    start_of: Callable[[int], int]


_GRAINS: Final = (
    _Grain(MONTH, month_of, start_of_month),
    _Grain(DAY, lambda seconds: seconds // DAY_SECONDS, lambda bucket: bucket * DAY_SECONDS),
    _Grain(HOUR, lambda seconds: seconds // HOUR_SECONDS, lambda bucket: bucket * HOUR_SECONDS),
)

_HOURS: Final = _GRAINS[2:]
_BY_GRAIN: Final = {grain.grain: grain for grain in _GRAINS}


def pieces(period: Period, now: float | None = None) -> list[Piece]:
    """Return the parts of a period, whole months first where there are any.

    What is dated later than now can only be the work of a clock that is wrong, so the hour that is
    running counts as whole.
    """
    return list(_cover(period.start, _settled(period.end, now), _GRAINS))


class Term(NamedTuple):
    """A part that adds to a period, or one that is taken away from it."""

    piece: Piece
    is_more: bool


def terms(period: Period, now: float | None = None) -> list[Term]:
    """Return parts that add up to a period, as few as there can be.

    Where a month begins an hour before that of UTC, as in Berlin, it is that of UTC, with the hour
    before it and without its last one: two hours instead of all its days.
    """
    return list(_added(period.start, _settled(period.end, now), _GRAINS))


class Run(NamedTuple):
    """Parts of a chart that follow each other and are of the same length."""

    part: int
    """The number of the first one."""
    start: int
    """When that begins (Unix time)."""
    step: int
    """Seconds that each of them lasts."""
    parts: int

    @property
    def end(self) -> int:
        """When the last one ends."""
        return self.start + self.step * self.parts

    @property
    def is_of_hours(self) -> bool:
        """Whether its parts last full hours, whenever they begin."""
        return self.step % HOUR_SECONDS == 0

    @property
    def is_of_days(self) -> bool:
        """Whether its parts last full days, whenever they begin."""
        return self.step % DAY_SECONDS == 0

    @property
    def edges(self) -> Sequence[int]:
        """Where its parts begin, and the last ends."""
        return range(self.start, self.end + 1, self.step)

    @property
    def on_hours(self) -> Run:
        """The same, with edges put back to full hours."""
        return self._replace(start=self.start // HOUR_SECONDS * HOUR_SECONDS)

    def cuts(self) -> Iterator[Piece]:
        """Yield what lies between full hours and the edges after them: less than an hour each."""
        cut = self.start % HOUR_SECONDS
        for edge in self.edges if cut else ():
            yield Piece(None, edge - cut, edge)

    def whole(self, now: float | None = None) -> Piece:
        """Return the hours that are in it; of what is shorter there are only single calls."""
        if self.step < HOUR_SECONDS:
            return Piece(None, self.start, self.end)
        first = -(-self.start // HOUR_SECONDS)
        return Piece(HOUR, first, _settled(self.end, now) // HOUR_SECONDS)

    def rests(self) -> Iterator[Piece]:
        """Yield what its edges cut off of hours; both sides of an edge are one piece.

        Of the hour that is running, too: all of it is not in the part, as its end will not be.
        """
        if self.step < HOUR_SECONDS:
            return
        starts = range(self.start, self.end, self.step)
        of_parts = (_cover(start, start + self.step, _HOURS) for start in starts)
        yield from _joined(piece for part in of_parts for piece in part if piece.grain is None)


class Stray(NamedTuple):
    """The times of a day (UTC) that are not in the part of a chart where the day is counted."""

    piece: Piece
    part: int
    """The number of the part that they are in."""
    home: int | None
    """That of the part where the day is counted; ``None`` if it is not in the chart as a whole."""


class Days(NamedTuple):
    """What a chart is made up of whose parts are days or longer: days (UTC), and what they miss."""

    whole: Piece
    homes: Mapping[int, int]
    """By day the number of the part that most of it is in, and so the day is counted in."""
    strays: Mapping[int, Stray]
    """By day, the first of each."""
    rests: Sequence[Stray]
    """All others, of which there are hardly any: those of days that two edges or the ends cut."""


def days_of(edges: Sequence[int], part: int = 0) -> Days:
    """Return what a chart is made up of.

    Args:
        edges: Where its parts begin, and the last ends.
        part: The number of the first part.
    """
    whole = Piece(DAY, -(-edges[0] // DAY_SECONDS), edges[-1] // DAY_SECONDS)
    homes: dict[int, int] = {}
    strays: dict[int, Stray] = {}
    rests: list[Stray] = []
    for day, its in _by_day(edges, part).items():
        home = None
        if whole.first <= day < whole.end:
            home = homes[day] = max(its, key=_length).part
        missed = [one._replace(home=home) for one in its if one.part != home]
        strays.update((day, one) for one in missed[:1])
        rests += missed[1:]
    return Days(whole, homes, strays, rests)


def _by_day(edges: Sequence[int], part: int) -> dict[int, list[Stray]]:
    found: dict[int, list[Stray]] = {}
    for number, (start, end) in enumerate(pairwise(edges), part):
        for day in range(start // DAY_SECONDS, -(-end // DAY_SECONDS)):
            midnight = day * DAY_SECONDS
            piece = Piece(None, max(start, midnight), min(end, midnight + DAY_SECONDS))
            found.setdefault(day, []).append(Stray(piece, number, None))
    return found


def _length(stray: Stray) -> int:
    return stray.piece.end - stray.piece.first


def is_of_days(edges: Sequence[int]) -> bool:
    """Whether a chart has a part for each day of a zone, of which the ends may be cut short."""
    lengths = [end - start for start, end in pairwise(edges)]
    shortest, longest = _LENGTHS_OF_DAYS
    return len(lengths) > 2 and max(lengths) <= longest and min(lengths[1:-1]) >= shortest


# Where a clock is changed, a day is an hour shorter or longer.
_LENGTHS_OF_DAYS: Final = (DAY_SECONDS - HOUR_SECONDS, DAY_SECONDS + HOUR_SECONDS)


def runs(edges: Sequence[int]) -> list[Run]:
    """Return the parts of a chart, those of the same length together."""
    found: list[Run] = []
    for part, (start, end) in enumerate(pairwise(edges)):
        if found and found[-1].step == end - start:
            found[-1] = found[-1]._replace(parts=found[-1].parts + 1)
        else:
            found.append(Run(part, start, end - start, 1))
    return found


def parted(piece: Piece, hours_from: int) -> tuple[range, list[Piece]]:
    """Return the full hours in a piece of seconds, from an hour on, and what is left of it."""
    _, start, end = piece
    hours = range(max(-(-start // HOUR_SECONDS), hours_from), end // HOUR_SECONDS)
    if not hours:
        return hours, [piece]
    first, last = hours[0] * HOUR_SECONDS, (hours[-1] + 1) * HOUR_SECONDS
    rests = [Piece(None, start, first), Piece(None, last, end)]
    return hours, [rest for rest in rests if rest.first < rest.end]


def grid_of(edges: Sequence[int]) -> Run | None:
    """Return the parts of a chart as a run, of which the first and the last may be cut short.

    ``None`` if others differ in length, or do not last full hours.
    """
    inner = runs(edges[1:-1])
    if len(inner) != 1 or not inner[0].is_of_hours:
        return None
    step = inner[0].step
    if max(edges[1] - edges[0], edges[-1] - edges[-2]) > step:
        return None
    return Run(0, edges[1] - step, step, len(edges) - 1)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    before: Piece | None = None
    for piece in pieces:
        if before is not None and before.end == piece.first:
            before = before._replace(end=piece.end)
            continue
        if before is not None:
            yield before
        before = piece
    if before is not None:
        yield before


def _settled(end: int, now: float | None) -> int:
    if end <= (time.time() if now is None else now):
        return end
    return -(-end // HOUR_SECONDS) * HOUR_SECONDS


def seconds_of(grain: int) -> int:
    """Return how long the buckets of days or hours are."""
    return DAY_SECONDS if grain == DAY else HOUR_SECONDS


def start_of(grain: int, bucket: int) -> int:
    """Return the Unix time at which a bucket begins."""
    return _BY_GRAIN[grain].start_of(bucket)


def _cover(start: int, end: int, grains: Sequence[_Grain]) -> Iterator[Piece]:
    if start >= end:
        return
    if not grains:
        yield Piece(None, start, end)
        return
    (grain, bucket_of, start_of), finer = grains[0], grains[1:]
    first = bucket_of(start)
    if start_of(first) < start:
        first += 1
    last = bucket_of(end)
    if first >= last:
        yield from _cover(start, end, finer)
        return
    yield from _cover(start, start_of(first), finer)
    yield Piece(grain, first, last)
    yield from _cover(start_of(last), end, finer)


def _added(start: int, end: int, grains: Sequence[_Grain]) -> Iterator[Term]:
    if start > end:
        yield from (Term(piece, not is_more) for piece, is_more in _added(end, start, grains))
    elif start < end and not grains:
        yield Term(Piece(None, start, end), True)
    elif start < end:
        grain, finer = grains[0], grains[1:]
        first, last = _nearest(grain, start), _nearest(grain, end)
        begin, until = grain.start_of(first), grain.start_of(last)
        if abs(begin - start) + abs(until - end) >= end - start:
            yield from _added(start, end, finer)
            return
        yield from _added(start, begin, finer)
        yield Term(Piece(grain.grain, first, last), True)
        yield from _added(until, end, finer)


def _nearest(grain: _Grain, moment: int) -> int:
    """Return the bucket that begins nearest to a moment."""
    bucket = grain.bucket_of(moment)
    before, after = grain.start_of(bucket), grain.start_of(bucket + 1)
    return bucket if moment - before <= after - moment else bucket + 1


def _days_on(days: int) -> Callable[[date], date]:
    return lambda day: day + timedelta(days=days)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


class _Step(NamedTuple):
    begin: Callable[[date], date]
    after: Callable[[date], date]


_CALENDAR: Final = {
    "day": _Step(lambda day: day, _days_on(1)),
    "week": _Step(lambda day: day - timedelta(days=day.weekday()), _days_on(7)),
    "month": _Step(lambda day: day.replace(day=1), _next_month),
}
EVERY: Final = ("hour", *_CALENDAR)
"""What a chart may have a value for; weeks begin on Monday."""


def edges(period: Period, every: str, zone: ZoneInfo) -> list[int]:
    """Return where the hours, days, weeks or months that a period touches begin, and the last ends.

    Args:
        period: What is to be covered.
        every: One of :data:`EVERY`.
        zone: The time zone of days, weeks and months; hours are the same in all.

    Raises:
        ValueError: There are more than :data:`MOST_EDGES`.
    """
    found = []
    for edge in _edges(period, every, zone):
        found.append(edge)
        if len(found) >= MOST_EDGES:
            raise ValueError(f"more than {MOST_EDGES:,} parts: choose longer ones")
        if edge >= period.end:
            break
    return found


def _edges(period: Period, every: str, zone: ZoneInfo) -> Iterator[int]:
    if every == "hour":
        hour = period.start // HOUR_SECONDS
        while True:
            yield hour * HOUR_SECONDS
            hour += 1
    step = _CALENDAR[every]
    day = step.begin(datetime.fromtimestamp(period.start, zone).date())
    while True:
        yield int(datetime.combine(day, clock(), zone).timestamp())
        day = step.after(day)
