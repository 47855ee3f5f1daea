"""Reading a ledger: sums over any period by whatever is asked for, and single calls.

All functions take a connection of :meth:`~.database.Database.reading` and block: from an event loop
call them in a thread. All amounts of money are integers, in nano-USD. Periods are taken together
from sums that are kept by month, day and hour; only for what is left of an hour, rows are summed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from operator import add, attrgetter, sub
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    union,
)

from .. import ids
from ..names import CHAT_TASK, REFUSED_TASK
from .booking import unpacked_chat
from .periods import ALWAYS, MOST_EDGES, Period, Piece, Run, pieces, runs, seconds_of, terms
from .schema import (
    EPOCH,
    EVERYONE,
    HOUR,
    MEASURES,
    calls,
    group_sums,
    groups,
    kinds,
    lines,
    standing_groups,
    standings,
    user_sums,
    users,
)
from .sums import DAY_SECONDS

DIMENSIONS: Final = (
    "user", "group", "groups", "source", "provider", "model", "picked", "imported",
)  # fmt: skip
"""What sums can be asked for by.

The key of a user is the id, that of a group ``(id, name)``; ``groups`` are all names of the groups
of a user at once, as a JSON array, so that each call counts once.
"""
_OF_LINE: Final = ("source", "provider", "model", "picked", "imported")
_AT_ONCE: Final = 500
_HOURS: Final = 24

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

    def __sub__(self, other: Sums) -> Sums:
        return Sums(*map(sub, _ROW(self), _ROW(other)))

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

    def of_line(self) -> list[ColumnElement[bool]]:
        """Return the conditions for lines."""
        given = ((name, getattr(self, name)) for name in _OF_LINE)
        return [lines.c[name] == value for name, value in given if value is not None]

    def of_group(self) -> list[ColumnElement[bool]]:
        """Return the conditions for groups."""
        given = ((groups.c.group_id, self.group_id), (groups.c.name, self.group))
        any_of = [groups.c.group_id.in_(self.group_ids)] if self.group_ids else []
        return [*(column == value for column, value in given if value is not None), *any_of]


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
    found: dict[Key, Sums] = defaultdict(Sums)
    for piece, is_more in terms(period, now):
        change = add if is_more else sub
        for key, sums in _found(connection, _Query(where, by, piece, _with_calls(measures))):
            found[key] = change(found[key], sums)
    return {key: sums for key, sums in found.items() if sums.calls}


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
    parts = [_Query(where, (*by, "user"), piece).select(()) for piece in pieces(period, now)]
    if not parts:
        return {}
    found = union(*parts).subquery()
    keys = list(found.c)[:-1]
    query = select(*keys, func.count()).select_from(found).group_by(*keys)
    return {tuple(row[:-1]): row[-1] for row in connection.execute(query) if row[-1]}


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
    parts: list[dict[Key, Sums]] = [defaultdict(Sums) for _ in edges[1:]]
    query_of = partial(_Query, where, by, wanted=_with_calls(measures))
    for run in runs(edges):
        for part, key, found in _found_in(connection, run, query_of, now):
            parts[part][key] += found
    return [{key: found for key, found in part.items() if found.calls} for part in parts]


def _with_calls(measures: Sequence[str]) -> Sequence[str]:
    """Return them with what tells whether there is anything."""
    return tuple(name for name in MEASURES if name in {"calls", *measures})


def _found_in(
    connection: Connection, run: Run, query_of: Callable[[Piece], _Query], now: float | None
) -> Iterator[tuple[int, Key, Sums]]:
    """Yield what adds to parts of the same length, by their numbers."""
    for piece in run.rests():
        query = query_of(piece)
        yield from _numbered(connection, query, query.own(run))
    if not run.shift:
        query = query_of(run.whole(now))
        yield from _numbered(connection, query, query.own(run), query.is_inside(run))
        return
    for piece in run.ends(now):
        query = query_of(piece)
        yield from _numbered(connection, query, query.own(run))
    # Days begin at another hour than those of the zone: each is first put where most of it is, and
    # then the rest of its hours are moved. They are a part of all hours, of which a year has many.
    days = run.days(now)
    query = query_of(days)
    yield from _numbered(connection, query, query.home(run))
    hours = query_of(Piece(HOUR, days.first * _HOURS, max(days.first, days.end) * _HOURS))
    # Both numbers at once, because it is the reading of the hours that takes long.
    both = hours.own(run) * MOST_EDGES + hours.home(run)
    strays = run.strays(now)
    for start in range(0, len(strays), _AT_ONCE):
        # An index leads to each; PostgreSQL takes long to read all hours and sort these out.
        only = hours.is_one_of(strays[start : start + _AT_ONCE])
        for numbers, key, found in _numbered(connection, hours, both, only):
            own, home = divmod(numbers, MOST_EDGES)
            yield own, key, found
            yield home, key, Sums() - found


def _numbered(
    connection: Connection, query: _Query, number: ColumnElement[Any], *only: ColumnElement[bool]
) -> Iterator[tuple[int, Key, Sums]]:
    for row in connection.execute(query.select((number, *query.measures()), number, only)):
        yield row[-len(query.wanted) - 1], query.key(row), query.sums(row)


def _found(connection: Connection, query: _Query) -> Iterator[tuple[Key, Sums]]:
    for row in connection.execute(query.select(query.measures())):
        yield query.key(row), query.sums(row)


class _Key(NamedTuple):
    """What rows show, and what they are told apart by.

    That is a number where texts would have to be sorted: the sums of a standing lie together.
    """

    shown: ColumnElement[Any]
    apart: ColumnElement[Any]


class _Query:
    """The query for one part of a period."""

    def __init__(
        self, where: Where, by: Sequence[str], piece: Piece, wanted: Sequence[str] = MEASURES
    ) -> None:
        self.wanted = wanted
        self._where = where
        self._by = tuple(by)
        self._piece = piece
        # The sums of groups have a call once for each of them.
        several = len(where.group_ids) > 1 or not {"user", "groups"}.isdisjoint(by)
        self._by_user = where.user_id is not None or several
        self._from_rows = piece.grain is None
        self._sums: Table = user_sums if self._by_user else group_sums

    def key(self, row: Row[Any]) -> Key:
        """Return the values of the dimensions; of a group there are two."""
        values = iter(row)
        return tuple(
            (next(values), next(values)) if name == "group" else next(values) for name in self._by
        )

    def measures(self) -> list[ColumnElement[Any]]:
        """Return the columns of the sums."""
        amounts = AMOUNTS if self._from_rows else self._sums.c
        # PostgreSQL's sums are of a type that Python takes for decimals.
        return [cast(func.coalesce(func.sum(amounts[name]), 0), BigInteger) for name in self.wanted]

    def sums(self, row: Row[Any]) -> Sums:
        """Return what a row ends with."""
        return Sums(**dict(zip(self.wanted, row[-len(self.wanted) :], strict=True)))

    def _moment(self) -> ColumnElement[Any]:
        """Return when the bucket, or the call, begins (Unix time)."""
        if self._from_rows:
            return calls.c.at + EPOCH
        return cast(self._sums.c.bucket, BigInteger) * seconds_of(self._piece.grain or HOUR)

    def own(self, run: Run) -> ColumnElement[Any]:
        """Return the number of the part that the bucket begins in."""
        return (self._moment() - run.start) // run.step + run.part

    def is_inside(self, run: Run) -> ColumnElement[bool]:
        """Return whether the bucket is in one part as a whole."""
        if self._from_rows:
            return true()
        most = run.step - seconds_of(self._piece.grain or HOUR)
        return (self._moment() - run.start) % run.step <= most

    def home(self, run: Run) -> ColumnElement[Any]:
        """Return the number of the part that most of the bucket's day (UTC) is in."""
        first = 0 if run.is_late else run.shift
        day = self._moment() // DAY_SECONDS * DAY_SECONDS
        return (day + first - run.start) // run.step + run.part

    def is_one_of(self, buckets: Sequence[int]) -> ColumnElement[bool]:
        """Return whether it is one of these buckets."""
        return self._sums.c.bucket.in_(buckets)

    def select(
        self,
        columns: Sequence[ColumnElement[Any]],
        number: ColumnElement[Any] | None = None,
        only: Sequence[ColumnElement[bool]] = (),
    ) -> Select[Any]:
        """Return the query, also by the number of a part if there is one."""
        keys = list(self._keys())
        apart = [of.apart for of in keys] + ([] if number is None else [number])
        query = select(*(of.shown for of in keys), *columns).select_from(self._tables())
        query = query.where(*self._conditions(), *only).group_by(*apart)
        return query if apart else query.having(func.count() > 0)

    def _keys(self) -> Iterator[_Key]:
        for name in self._by:
            if name == "user":
                number = self._user_no()
                user_id = select(users.c.user_id).where(users.c.no == number).scalar_subquery()
                yield _Key(user_id, number)
            elif name == "group":
                yield _Key(groups.c.group_id, groups.c.group_id)
                yield _Key(groups.c.name, groups.c.name)
            elif name == "groups":
                yield _Key(standings.c.groups, standings.c.no)
            else:
                yield _Key(lines.c[name], lines.c[name])

    def _tables(self) -> Any:
        tables = self._owners()
        if self._needs_lines():
            line_no = kinds.c.line_no if self._from_rows else self._sums.c.line_no
            tables = tables.join(lines, lines.c.no == line_no)
        if "group" in self._by:
            # As with standings: SQLite is to go through the groups, and not through all their sums.
            tables = tables.join(groups, self._group_no() == groups.c.no + 0)
        return tables

    def _owners(self) -> Any:
        if self._from_rows:
            tables: Any = calls.join(kinds, kinds.c.no == calls.c.kind_no)
            if "groups" in self._by:
                tables = tables.join(standings, standings.c.no == calls.c.standing_no)
            standing_no = calls.c.standing_no
        elif self._by_user:
            # The sums of each standing lie together. By a number that is none of an index, SQLite
            # cannot begin with all sums and look their standings up, which takes much longer.
            tables = standings.join(user_sums, user_sums.c.standing_no == standings.c.no + 0)
            standing_no = standings.c.no
        else:
            return group_sums
        if "group" in self._by:
            tables = tables.join(standing_groups, standing_groups.c.standing_no == standing_no)
        return tables

    def _user_no(self) -> ColumnElement[Any]:
        return calls.c.user_no if self._from_rows else standings.c.user_no

    def _group_no(self) -> ColumnElement[Any]:
        by_standing = self._from_rows or self._by_user
        return standing_groups.c.group_no if by_standing else group_sums.c.group_no

    def _needs_lines(self) -> bool:
        return bool(self._where.of_line()) or not set(_OF_LINE).isdisjoint(self._by)

    def _conditions(self) -> Iterator[ColumnElement[bool]]:
        if self._from_rows:  # What was refused is in no sum.
            yield kinds.c.task != REFUSED_TASK
        yield from self._where.of_line()
        yield from self._of_user()
        yield from self._of_group()
        yield from self._of_time()

    def _of_user(self) -> Iterator[ColumnElement[bool]]:
        if self._where.user_id is not None:
            yield self._user_no() == _user_no(self._where.user_id)

    def _of_group(self) -> Iterator[ColumnElement[bool]]:
        wanted = self._where.of_group()
        if not (self._from_rows or self._by_user):
            if wanted:
                yield group_sums.c.group_no.in_(select(groups.c.no).where(*wanted))
            elif "group" in self._by:
                yield group_sums.c.group_no != EVERYONE
            else:
                yield group_sums.c.group_no == EVERYONE
        elif wanted and "group" in self._by:
            yield from wanted
        elif wanted:
            yield _standing_no(self._from_rows).in_(_standings_in(wanted))

    def _of_time(self) -> Iterator[ColumnElement[bool]]:
        grain, first, end = self._piece
        if grain is not None:
            yield self._sums.c.grain == grain
            yield self._sums.c.bucket >= first
            yield self._sums.c.bucket < end
        elif self._where.user_id is not None:
            yield calls.c.at >= first - EPOCH
            yield calls.c.at < end - EPOCH
        else:
            yield calls.c.id >= ids.first_of(first * 1000)
            yield calls.c.id < ids.first_of(end * 1000)


AMOUNTS: Final[Mapping[str, ColumnElement[Any]]] = {
    "calls": literal(1),
    "answers": case((kinds.c.task == CHAT_TASK, 1), else_=0),
    "errors": case((kinds.c.error.is_not(None), 1), else_=0),
    "unpriced": case((calls.c.unpriced, 1), else_=0),
    "estimated": case((calls.c.estimated > 0, 1), else_=0),
    "input": calls.c.input,
    "output": calls.c.output,
    "cache_read": calls.c.cache_read,
    "cache_write": calls.c.cache_write,
    "reasoning": calls.c.reasoning,
    "cost": calls.c.cost,
}


def _user_no(user_id: str) -> Any:
    return select(users.c.no).where(users.c.user_id == user_id).scalar_subquery()


def _standing_no(from_rows: bool) -> ColumnElement[Any]:
    return calls.c.standing_no if from_rows else standings.c.no


def _standings_in(wanted: Sequence[ColumnElement[bool]]) -> Select[Any]:
    return (
        select(standing_groups.c.standing_no)
        .join(groups, groups.c.no == standing_groups.c.group_no)
        .where(*wanted)
    )


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

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield the conditions for kinds and calls."""
        for name in ("route", "task", "operation", "auth"):
            value = getattr(self, name)
            if value is not None:
                yield kinds.c[name] == value
        if self.failed is not None:
            yield kinds.c.error.is_not(None) if self.failed else kinds.c.error.is_(None)
        if self.unpriced is not None:
            yield calls.c.unpriced.is_(self.unpriced)


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
    query = _calls(where, only).where(*_begun(where, period))
    if before is not None:
        query = query.where(_before(bytes.fromhex(before)))
    order = (calls.c.at.desc(), calls.c.id.desc())
    query = query.order_by(*(order if where.user_id is not None else order[1:])).limit(limit)
    return [_call(row) for row in connection.execute(query)]


def one(connection: Connection, call_id: str) -> Call | None:
    """Return a call by its id (hexadecimal digits), or ``None``."""
    try:
        wanted = bytes.fromhex(call_id)
    except ValueError:
        return None
    row = connection.execute(_calls(EVERYTHING, ALL).where(calls.c.id == wanted)).first()
    return None if row is None else _call(row)


def oldest_first(
    connection: Connection,
    period: Period,
    where: Where = EVERYTHING,
    only: Only = ALL,
    at_once: int = 1000,
) -> Iterator[Call]:
    """Yield all calls of a period, without holding more than some of them."""
    after = ids.first_of(period.start * 1000)
    query = _calls(where, only).where(*_begun(where, period)).order_by(calls.c.id).limit(at_once)
    while True:
        rows = connection.execute(query.where(calls.c.id > after)).all()
        yield from map(_call, rows)
        if len(rows) < at_once:
            return
        after = rows[-1].id


def ends(connection: Connection) -> tuple[int, int] | None:
    """Return when the first and the last call began (Unix time); ``None`` if there is none."""
    found = [
        connection.execute(select(calls.c.id).order_by(order).limit(1)).scalar()
        for order in (calls.c.id.asc(), calls.c.id.desc())
    ]
    first, last = [ids.milliseconds_of(one) // 1000 for one in found if one] or (None, None)
    return None if first is None or last is None else (first, last)


def _begun(where: Where, period: Period) -> Iterator[ColumnElement[bool]]:
    if period == ALWAYS:
        return
    if where.user_id is not None:
        yield calls.c.at >= period.start - EPOCH
        yield calls.c.at < period.end - EPOCH
    else:
        yield calls.c.id >= ids.first_of(period.start * 1000)
        yield calls.c.id < ids.first_of(period.end * 1000)


def _before(call_id: bytes) -> ColumnElement[bool]:
    at = ids.milliseconds_of(call_id) // 1000 - EPOCH
    return and_(calls.c.at <= at, or_(calls.c.at < at, calls.c.id < call_id), calls.c.id < call_id)


def _calls(where: Where, only: Only) -> Select[Any]:
    query = (
        select(
            calls,
            users.c.user_id,
            standings.c.user_name,
            standings.c.groups,
            *(kinds.c[name] for name in _OF_KIND),
            *(lines.c[name] for name in _OF_LINE),
        )
        .join(kinds, kinds.c.no == calls.c.kind_no)
        .join(lines, lines.c.no == kinds.c.line_no)
        .join(standings, standings.c.no == calls.c.standing_no)
        .join(users, users.c.no == calls.c.user_no)
        .where(*where.of_line(), *only.conditions())
    )
    if where.user_id is not None:
        query = query.where(calls.c.user_no == _user_no(where.user_id))
    if where.of_group():
        query = query.where(calls.c.standing_no.in_(_standings_in(where.of_group())))
    return query


_OF_KIND: Final = ("auth", "route", "task", "operation", "price_source", "error")
_AS_THEY_ARE: Final = (
    *_OF_KIND,
    *_OF_LINE,
    *("user_id", "user_name", "input", "output", "cache_read", "cache_write", "reasoning"),
    *("estimated", "unpriced", "cost"),
)


def _call(row: Row[Any]) -> Call:
    told = row._mapping
    return Call(
        id=row.id.hex(),
        parent_id=_hex(row.parent),
        time=ids.milliseconds_of(row.id) / 1000,
        seconds=row.duration / 1000,
        seconds_to_first_chunk=None if row.first_chunk is None else row.first_chunk / 1000,
        groups=tuple(json.loads(told["groups"])),
        chat_id=unpacked_chat(row.chat),
        units={} if row.units is None else json.loads(row.units),
        trace_id=_hex(row.trace),
        **{name: told[name] for name in _AS_THEY_ARE},
    )


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
