"""Reading a ledger: sums over any period by whatever is asked for, and single calls.

All functions take a connection of :meth:`~.database.Database.reading` and block: from an event loop
call them in a thread. All amounts of money are integers, in nano-USD. Periods are taken together
from sums that are kept by month, day and hour; only for what is left of an hour, rows are summed.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache, partial
from itertools import islice
from operator import add, attrgetter, itemgetter, neg
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, select

from .. import ids
from . import facts, queries
from .booking import unpacked_chat
from .database import SQLITE
from .periods import (
    ALWAYS,
    Days,
    Period,
    Piece,
    Run,
    Stray,
    days_of,
    grid_of,
    is_of_days,
    parted,
    pieces,
    runs,
    seconds_of,
    terms,
)
from .queries import ListShape, Shape
from .schema import CALLS, EPOCH, HOUR, MEASURES, calls, groups, lines, standings, users
from .sums import DAY_SECONDS, HOUR_SECONDS

DIMENSIONS: Final = (
    "user", "group", "groups", "source", "provider", "model", "picked", "imported",
)  # fmt: skip
"""What sums can be asked for by.

The key of a user is the id, that of a group ``(id, name)``; ``groups`` are all names of the groups
of a user at once, as a JSON array, so that each call counts once.
"""
_AT_ONCE: Final = 500
# Two months, of which all hours of a user are added up sooner than days and what is cut off them.
_SHORT: Final = 62 * DAY_SECONDS

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Sums:
    """What calls add up to. Tokens of ``input`` include cached ones, ``output`` reasoning."""

    calls: int = 0
    answers: int = 0
    """Those of the task ``chat``: what somebody asked for, without titles, tags and the like."""
    errors: int = 0
    unpriced: int = 0
    """Calls that used something, of which no price is known: their cost is missing in ``cost``."""
    estimated: int = 0
    """Calls of which some tokens were estimated, because the provider told none."""
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cost: int = 0
    """Nano-USD."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(*map(add, _ROW(self), _ROW(other)))

    def row(self) -> tuple[int, ...]:
        """Return all, in the order of :data:`~.schema.MEASURES`."""
        found: tuple[int, ...] = _ROW(self)
        return found


_ROW: Final = attrgetter(*(field.name for field in fields(Sums)))


@dataclass(frozen=True, slots=True)
class Where:
    """Which calls; each part that is given has to be true."""

    user_id: str | None = None
    group_id: str | None = None
    """Who was in the group by its id when calling."""
    group_ids: tuple[str, ...] = ()
    """Who was in any of these groups when calling; a call counts once, however many they are."""
    group: str | None = None
    """Who was in a group of that name; ``(none)`` for who was in none."""
    source: str | None = None
    """``ui``, ``api`` or ``background``."""
    provider: str | None = None
    model: str | None = None
    """The model that the provider was asked for."""
    picked: str | None = None
    """The model that was picked in Open WebUI."""
    imported: bool | None = None
    """Whether it was taken over from what Open WebUI had before the ledger."""

    def given(self) -> queries.Values:
        """Return the parts that are given, by name."""
        found = ((name, getattr(self, name)) for name in _PARTS)
        values = {name: value for name, value in found if value is not None}
        return {**values, "group_ids": self.group_ids} if self.group_ids else values


_PARTS: Final = ("user_id", "group_id", "group", *queries.OF_LINE)


@dataclass(frozen=True, slots=True)
class Call:
    """One call, with all that the ledger has of it."""

    id: str
    """32 hexadecimal digits: ``open_webui.call.id`` of the telemetry."""
    parent_id: str | None
    time: float
    """Unix time in seconds at which it began."""
    seconds: float
    seconds_to_first_chunk: float | None
    user_id: str
    user_name: str | None
    groups: tuple[str, ...]
    """At the time."""
    source: str
    auth: str
    route: str | None
    task: str
    operation: str
    provider: str
    model: str
    picked: str
    chat_id: str | None
    input: int | None
    output: int | None
    cache_read: int | None
    cache_write: int | None
    reasoning: int | None
    estimated: int
    """1 if the input tokens are estimated, 2 if the output, 3 if both."""
    units: Mapping[str, float]
    cost: int | None
    """Nano-USD."""
    price_source: str | None
    unpriced: bool
    error: str | None
    imported: bool
    trace_id: str | None


EVERYTHING: Final = Where()


def total(connection: Connection, period: Period, where: Where = EVERYTHING) -> Sums:
    """Return what all calls of a period add up to."""
    return sums(connection, period, where).get((), Sums())


def sums(
    connection: Connection,
    period: Period,
    where: Where = EVERYTHING,
    by: Sequence[str] = (),
    *,
    measures: Sequence[str] = MEASURES,
    now: float | None = None,
) -> dict[Key, Sums]:
    """Return sums by whatever is asked for.

    Args:
        connection: The ledger's.
        period: When the calls began.
        where: Which calls.
        by: Some of :data:`DIMENSIONS`; the keys of the result have their values, in that order. By
            groups, a call counts in each group of its user, so that they are not to be added up.
        measures: Which of :data:`~.schema.MEASURES` are wanted, beside ``calls``: the fewer, the
            quicker. All others are 0.
        now: Unix time, for tests.
    """
    found: dict[Key, _Amounts] = {}
    asked = _Asked(connection, where, by, {CALLS, *measures})
    for key, more in _found(connection, period, asked, now):
        _add(found, key, more)
    return asked.sums(found)


# Sums without their names: to add these takes a third of the time.
_Amounts = tuple[int, ...]


def _add(found: dict[Key, _Amounts], key: Key, more: _Amounts) -> None:
    known = found.get(key)
    found[key] = more if known is None else tuple(map(add, known, more))


def _less(amounts: _Amounts) -> _Amounts:
    return tuple(map(neg, amounts))


def _found(
    connection: Connection, period: Period, asked: _Asked, now: float | None
) -> Iterator[tuple[Key, _Amounts]]:
    for term, is_more in terms(period, now):
        for piece in asked.kept(term):
            for row in asked.rows(connection, *asked.of(piece)):
                more = asked.amounts(row)
                yield asked.key(row), more if is_more else _less(more)


def users_by(
    connection: Connection,
    period: Period,
    where: Where = EVERYTHING,
    by: Sequence[str] = (),
    *,
    now: float | None = None,
) -> dict[Key, int]:
    """Return how many users there were, by whatever is asked for.

    Args:
        connection: The ledger's.
        period: When they called.
        where: Which calls.
        by: Some of :data:`DIMENSIONS`, without ``group``.
        now: Unix time, for tests.
    """
    asked = _Asked(connection, where, (*by, "user"), ())
    kept = (part for piece in pieces(period, now) for part in asked.kept(piece))
    parts = [asked.of(piece, place=place) for place, piece in enumerate(kept)]
    if not parts:
        return {}
    shapes, values = zip(*parts, strict=True)
    rows = connection.execute(queries.users_of(shapes), dict(ChainMap(*values)))
    return {tuple(row[:-1]): row[-1] for row in rows if row[-1]}


def series(
    connection: Connection,
    edges: Sequence[int],
    where: Where = EVERYTHING,
    by: Sequence[str] = (),
    *,
    measures: Sequence[str] = MEASURES,
    now: float | None = None,
) -> list[dict[Key, Sums]]:
    """Return sums for each part of a chart.

    Args:
        connection: The ledger's.
        edges: Where the parts begin, and the last ends: see :func:`~.periods.edges`.
        where: Which calls.
        by: As in :func:`sums`.
        measures: Which of :data:`~.schema.MEASURES` are wanted, beside ``calls``: the fewer, the
            quicker. All others are 0.
        now: Unix time, for tests.
    """
    parts: list[dict[Key, _Amounts]] = [{} for _ in edges[1:]]
    asked = _Asked(connection, where, by, {CALLS, *measures})
    for part, key, amounts in _charted(connection, edges, asked, now):
        _add(parts[part], key, amounts)
    return [asked.sums(part) for part in parts]


_Found = Iterator[tuple[int, Key, _Amounts]]
"""What adds to a part of a chart, by its number."""


def _charted(
    connection: Connection, edges: Sequence[int], asked: _Asked, now: float | None
) -> _Found:
    grid = grid_of(edges) if asked.is_short(edges) else None
    if grid is not None:
        yield from _of_few(connection, edges, grid, asked)
    elif is_of_days(edges):
        yield from _of_days(connection, days_of(edges), asked, now)
    else:
        for run in runs(edges):
            yield from _found_in(connection, run, asked, now)


def _found_in(connection: Connection, run: Run, asked: _Asked, now: float | None) -> _Found:
    numbered = partial(_numbered, connection, run, asked=asked)
    if run.parts == 1:
        for key, found in _found(connection, Period(run.start, run.end), asked, now):
            yield run.part, key, found
    elif run.is_of_days:
        yield from _of_days(connection, days_of(run.edges, run.part), asked, now)
    elif run.is_of_hours:
        hours = asked.kept(run.on_hours.whole())
        yield from _numbered(connection, run.on_hours, map(asked.of_part, hours), asked)
        yield from _moved(connection, run, run.cuts(), asked)
    elif asked.keeps_hours_from(run.start):
        yield from numbered(asked.of_spans(run.rests(), number=True))
        yield from numbered([asked.of_part(run.whole(now), only="inside")])
    else:
        yield from numbered([asked.of_part(Piece(None, run.start, run.end))])


def _of_few(connection: Connection, edges: Sequence[int], grid: Run, asked: _Asked) -> _Found:
    """Add up the few hours that one user has in a month or two, with as few questions as can be."""
    hours, rests = parted(Piece(None, edges[0], edges[-1]), 0)
    yield from _numbered(connection, grid, asked.of_spans(rests, number=True), asked)
    if not hours:
        return
    piece = Piece(HOUR, hours.start, hours.stop)
    yield from _numbered(connection, grid.on_hours, [asked.of_part(piece)], asked)
    first, end = (hour * HOUR_SECONDS for hour in piece[1:])
    cuts = (cut for cut in grid.cuts() if first <= cut.first < end)
    yield from _moved(connection, grid, cuts, asked)


# Numbers that are those of days (UTC).
_BY_DAY: Final = Run(part=0, start=0, step=DAY_SECONDS, parts=1)


def _of_days(connection: Connection, days: Days, asked: _Asked, now: float | None) -> _Found:
    """Add up days (UTC), each where most of it is, and then move the rest of it."""
    numbered = partial(_numbered, connection, _BY_DAY, asked=asked)
    for day, key, found in numbered([asked.of_part(days.whole)]):
        yield days.homes[day], key, found
    for day, key, found in numbered(asked.of_times(one.piece for one in days.strays.values())):
        yield from _strayed(days.strays[day], key, found)
    for stray in days.rests:
        span = Period(stray.piece.first, stray.piece.end)
        for key, found in _found(connection, span, asked, now):
            yield from _strayed(stray, key, found)


def _strayed(stray: Stray, key: Key, found: _Amounts) -> _Found:
    yield stray.part, key, found
    if stray.home is not None:
        yield stray.home, key, _less(found)


def _moved(connection: Connection, run: Run, cuts: Iterable[Piece], asked: _Asked) -> _Found:
    """Move the calls before edges that are not on full hours from the part after them."""
    # So that the number is that of the part after them, and never below zero.
    earlier = run._replace(start=run.start - run.step)
    statements = asked.of_spans(cuts, number=True)
    for part, key, found in _numbered(connection, earlier, statements, asked):
        if part < run.part + run.parts:
            yield part, key, _less(found)
        if part > run.part:
            yield part - 1, key, found


def _numbered(
    connection: Connection, run: Run, statements: Iterable[_Statement], asked: _Asked
) -> _Found:
    chart = {"start": run.start, "step": run.step, "part": run.part}
    for shape, values in statements:
        for row in asked.rows(connection, shape, {**values, **chart}):
            yield asked.number(row), asked.key(row), asked.amounts(row)


_Statement = tuple[Shape, queries.Values]


class _Asked:
    """What is asked for, whatever the time."""

    def __init__(
        self,
        connection: Connection,
        where: Where,
        by: Sequence[str],
        measures: Collection[str],
    ) -> None:
        self._connection = connection
        self._most = queries.SPANS[-1] if connection.dialect.name == SQLITE else queries.MANY
        self._values = where.given()
        self._wanted = tuple(name for name in MEASURES if name in measures)
        self._shape = Shape(frozenset(self._values), tuple(by), self._wanted)
        # What is not wanted is the 0 that stands after what is.
        nothing = len(self._wanted)
        wanted = {name: place for place, name in enumerate(self._wanted)}
        self._named = itemgetter(*(wanted.get(name, nothing) for name in MEASURES))
        # How rows are read, of which there are many: keys, a number in charts, and amounts.
        self.key: Callable[[Row[Any]], Key] = (
            partial(_pairs, by) if "group" in by else itemgetter(slice(len(by)))
        )
        self.number: Callable[[Row[Any]], int] = itemgetter(-nothing - 1)
        self.amounts: Callable[[Row[Any]], _Amounts] = itemgetter(slice(-nothing, None))

    @cached_property
    def _hours_from(self) -> int:
        """The first hour from which the sums that it takes are all there."""
        if self._shape.of_everyone:
            return 0
        return facts.number(self._connection, facts.HOURS_FROM)

    def keeps_hours_from(self, moment: int) -> bool:
        """Whether there are sums of all hours from a moment (Unix time) on."""
        return moment // HOUR_SECONDS >= self._hours_from

    def is_short(self, edges: Sequence[int]) -> bool:
        """Whether the sums by hour are those of a user, quickly added up, and all there."""
        is_short = "user_id" in self._values and edges[-1] - edges[0] <= _SHORT
        return is_short and self.keeps_hours_from(edges[0])

    def kept(self, piece: Piece) -> Iterator[Piece]:
        """Yield a piece with single calls in the place of hours that are kept no more."""
        grain, first, end = piece
        if grain != HOUR or first >= self._hours_from:
            yield piece
            return
        until = min(end, self._hours_from)
        yield Piece(None, first * HOUR_SECONDS, until * HOUR_SECONDS)
        if until < end:
            yield Piece(HOUR, until, end)

    def of(self, piece: Piece, **more: Any) -> _Statement:
        """Return the statement for a piece of time: its shape and its parameters."""
        if piece.grain is None:
            return self._of_spans([piece], **more)
        shape = self._shape._replace(**more)
        return shape, {**self._values, **queries.in_buckets(shape, piece, seconds_of(piece.grain))}

    def of_part(self, piece: Piece, **more: Any) -> _Statement:
        """Return the statement for a piece of a chart."""
        return self.of(piece, number=True, **more)

    def of_times(self, times: Iterable[Piece]) -> Iterator[_Statement]:
        """Yield statements for some times of a chart, which are in order."""
        found = [parted(piece, self._hours_from) for piece in times]
        yield from self.of_spans((rest for _, rests in found for rest in rests), number=True)
        hours = [hour for full, _ in found for hour in full]
        for start in range(0, len(hours), _AT_ONCE):
            some = hours[start : start + _AT_ONCE]
            shape, values = self.of_part(Piece(HOUR, some[0], some[-1] + 1), only="listed")
            yield shape, {**values, "buckets": some}

    def of_spans(self, spans: Iterable[Piece], **more: Any) -> Iterator[_Statement]:
        """Yield statements that add up the calls in some spans of time."""
        some = iter(spans)
        while taken := list(islice(some, self._most)):
            yield self._of_spans(taken, **more)

    def _of_spans(self, spans: Sequence[Piece], **more: Any) -> _Statement:
        room = next(size for size in (queries.SPANS[0], self._most) if size >= len(spans))
        shape = self._shape._replace(spans=room, **more)
        times = [(span.first, span.end) for span in spans]
        return shape, {**self._values, **queries.in_spans(shape, times)}

    @staticmethod
    def rows(connection: Connection, shape: Shape, values: queries.Values) -> Iterable[Row[Any]]:
        """Return what a statement finds."""
        return connection.execute(queries.added_up(shape), values).all()

    def sums(self, found: Mapping[Key, _Amounts]) -> dict[Key, Sums]:
        """Return amounts by their names, where there were any calls."""
        return {
            key: Sums(*self._named((*amounts, 0))) for key, amounts in found.items() if amounts[0]
        }


def _pairs(by: Sequence[str], row: Row[Any]) -> Key:
    """Return the values of the dimensions; of a group there are two."""
    values = iter(row)
    return tuple((next(values), next(values)) if name == "group" else next(values) for name in by)


# Single calls


class Only(NamedTuple):
    """Which calls of a list, beside :class:`Where`."""

    route: str | None = None
    task: str | None = None
    operation: str | None = None
    auth: str | None = None
    failed: bool | None = None
    """Whether it ended by an error."""
    unpriced: bool | None = None

    def given(self) -> queries.Values:
        """Return the parts that are given, by the names of :class:`~.queries.ListShape`."""
        values = {name: value for name, value in self._asdict().items() if value is not None}
        for name in ("failed", "unpriced"):
            if values.get(name) is False:
                values[f"not {name}"] = values.pop(name)
        return values


ALL: Final = Only()


def latest(
    connection: Connection,
    where: Where = EVERYTHING,
    only: Only = ALL,
    *,
    period: Period = ALWAYS,
    before: str | None = None,
    limit: int = 50,
) -> list[Call]:
    """Return calls, newest first.

    Args:
        connection: The ledger's.
        where: Which calls; with a ``user_id`` it takes a millisecond, however many there are.
        only: Which of these.
        period: When they began.
        before: The ``id`` of the last call of the page before.
        limit: How many.
    """
    values = {**where.given(), **only.given(), **_begun(period)}
    if before is not None:
        wanted = bytes.fromhex(before)
        values |= {"before": wanted, "before_at": ids.milliseconds_of(wanted) // 1000 - EPOCH}
    return _listed(connection, ListShape(frozenset(values)), {**values, "limit": limit})


def one(connection: Connection, call_id: str) -> Call | None:
    """Return a call by its id (hexadecimal digits), or ``None``."""
    try:
        wanted = bytes.fromhex(call_id)
    except ValueError:
        return None
    row = connection.execute(queries.one_of_id(), {"id": wanted}).first()
    return None if row is None else _call(row)


def oldest_first(
    connection: Connection,
    period: Period,
    where: Where = EVERYTHING,
    only: Only = ALL,
    at_once: int = 1000,
) -> Iterator[Call]:
    """Yield all calls of a period, without holding more than some of them."""
    values = {**where.given(), **only.given(), **_begun(period)}
    values |= {"after": ids.first_of(period.start * 1000), "limit": at_once}
    shape = ListShape(frozenset(values), oldest_first=True)
    while True:
        found = _listed(connection, shape, values)
        yield from found
        if len(found) < at_once:
            return
        values["after"] = bytes.fromhex(found[-1].id)


def _begun(period: Period) -> queries.Values:
    if period == ALWAYS:
        return {}
    first, end = (ids.first_of(moment * 1000) for moment in (period.start, period.end))
    of_user = {"first": period.start - EPOCH, "end": period.end - EPOCH}
    return {"period": True, "first_id": first, "end_id": end, **of_user}


def _listed(connection: Connection, shape: ListShape, values: queries.Values) -> list[Call]:
    return [_call(row) for row in connection.execute(queries.listed(shape), values).all()]


def ends(connection: Connection) -> tuple[int, int] | None:
    """Return when the first and the last call began (Unix time); ``None`` if there is none."""
    found = [
        connection.execute(select(calls.c.id).order_by(order).limit(1)).scalar()
        for order in (calls.c.id.asc(), calls.c.id.desc())
    ]
    first, last = [ids.milliseconds_of(one) // 1000 for one in found if one] or (None, None)
    return None if first is None or last is None else (first, last)


_AS_THEY_ARE: Final = queries.TOLD[8:]


def _call(row: Row[Any]) -> Call:
    call_id, parent, duration, first_chunk, named, chat, units, trace, *others = row
    return Call(
        id=call_id.hex(),
        parent_id=_hex(parent),
        time=ids.milliseconds_of(call_id) / 1000,
        seconds=duration / 1000,
        seconds_to_first_chunk=None if first_chunk is None else first_chunk / 1000,
        groups=_names(named),
        chat_id=unpacked_chat(chat),
        units={} if units is None else json.loads(units),
        trace_id=_hex(trace),
        **dict(zip(_AS_THEY_ARE, others, strict=True)),
    )


@lru_cache(maxsize=1000)
def _names(groups: str) -> tuple[str, ...]:
    return tuple(json.loads(groups))


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


# Who and what there is


def names_of(connection: Connection, user_ids: Collection[str]) -> dict[str, str | None]:
    """Return what users were called when they last were new to the ledger, by their ids."""
    found: dict[str, str | None] = {}
    for some in _in_parts(sorted(user_ids)):
        query = (
            select(users.c.user_id, standings.c.user_name)
            .join(standings, standings.c.user_no == users.c.no)
            .where(users.c.user_id.in_(some))
            .order_by(standings.c.no)
        )
        found.update((row.user_id, row.user_name) for row in connection.execute(query))
    return found


def known_groups(connection: Connection) -> list[tuple[str | None, str]]:
    """Return the groups that anybody who called was in: id, where it is known, and name."""
    query = select(groups.c.group_id, groups.c.name).order_by(groups.c.name, groups.c.no)
    return [(row.group_id, row.name) for row in connection.execute(query)]


def known(connection: Connection, name: str) -> list[str]:
    """Return all values of ``source``, ``provider``, ``model`` or ``picked`` ever seen."""
    return list(connection.scalars(select(lines.c[name]).distinct().order_by(lines.c[name])))


def _in_parts(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
