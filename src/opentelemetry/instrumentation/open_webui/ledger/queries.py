"""The statements that a ledger is read with, each made once.

SQLAlchemy takes longer to make a statement than a database to answer it. So a statement is made for
a :class:`Shape`, and all that questions of the same shape differ in are its parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Subquery,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.types import TypeEngine

from .. import ids
from ..names import CHAT_TASK, REFUSED_TASK
from .periods import MOST_EDGES, Piece
from .schema import (
    EPOCH,
    EVERYONE,
    FIVE_MINUTES,
    MEASURES,
    Id,
    call_time,
    calls,
    groups,
    kinds,
    lines,
    membership_groups,
    membership_sums,
    memberships,
    standings,
    user_sums,
    users,
)
from .sums import DAY_SECONDS

_OF_GROUPS: Final = ("group", "group_id", "group_ids", "groups")
OF_LINE: Final = ("source", "provider", "model", "picked", "imported")
SPANS: Final = (1, 32)
"""How many spans of time a statement can have that adds up calls."""
MANY: Final = 1000
"""As many in PostgreSQL, in arrays: else it would think about each for longer than it reads."""
_NUMBER: Final = "part_number"

Values = dict[str, Any]
"""Parameters by name."""

_COUNTED: Final[Mapping[str, ColumnElement[Any]]] = {
    "calls": literal(1),
    "answers": case((kinds.c.task == CHAT_TASK, 1), else_=0),
    "errors": case((kinds.c.error.is_not(None), 1), else_=0),
    "unpriced": case((kinds.c.unpriced, 1), else_=0),
    "estimated": case((kinds.c.estimated > 0, 1), else_=0),
}


def amounts_in(rows: FromClause) -> Mapping[str, ColumnElement[Any]]:
    """Return what a call of some adds to each of :data:`~.schema.MEASURES`."""
    return {**_COUNTED, **{name: rows.c[name] for name in MEASURES if name not in _COUNTED}}


class Shape(NamedTuple):
    """What the statements that add up calls differ in."""

    given: frozenset[str] = frozenset()
    """The parts of :class:`~.reading.Where` that are given."""
    by: tuple[str, ...] = ()
    """Some of :data:`~.reading.DIMENSIONS`."""
    wanted: tuple[str, ...] = MEASURES
    spans: int = 0
    """One of :data:`SPANS`, or :data:`MANY`, of single calls; 0 for buckets of kept sums."""
    number: str = ""
    """By the number of a part of a chart as well: one of :data:`NUMBERS`."""
    only: str = ""
    """``inside``: no buckets that an edge between two parts cuts; ``listed``: only some buckets."""
    place: int = 0
    """Where it stands among others in one statement."""

    @property
    def of_user(self) -> bool:
        """Whether it takes the sums of users."""
        return "user_id" in self.given or "user" in self.by

    @property
    def of_groups(self) -> bool:
        """Whether it matters which groups users are in."""
        return not {*self.by, *self.given}.isdisjoint(_OF_GROUPS)

    @property
    def of_everyone(self) -> bool:
        """Whether it takes the sums of everyone: users and groups do not matter."""
        return not (self.of_user or self.of_groups)


NUMBERS: Final = ("own", "home", "both")
"""``own``: of the part that the bucket, or the call, begins in; ``home``: of that which most of its
day (UTC) is in; ``both``: one times :data:`~.periods.MOST_EDGES`, and the other.

Their parameters are ``start`` (Unix time), ``step`` (seconds), ``part`` (the first number), and
``shift`` (seconds that the part of a day (UTC) begins after it).
"""


@functools.lru_cache(maxsize=500)
def added_up(shape: Shape) -> Select[Any]:
    """Return the statement for sums: keys, the number of a part if there is one, measures."""
    return _Statement(shape).select()


@functools.lru_cache(maxsize=200)
def users_of(shapes: Sequence[Shape]) -> Select[Any]:
    """Return the statement for how many users there are in several of these, by all other keys."""
    found = union(*(_Statement(shape).select() for shape in shapes)).subquery()
    keys = list(found.c)[:-1]
    return select(*keys, func.count()).select_from(found).group_by(*keys)


def in_buckets(shape: Shape, piece: Piece, seconds: int) -> Values:
    """Return the parameters for the sums of a piece of time, whose buckets are so long."""
    values = {**piece._asdict(), "seconds": seconds}
    return {f"{name}_{shape.place}": value for name, value in values.items()}


def in_spans(shape: Shape, spans: Sequence[tuple[int, int]]) -> Values:
    """Return the parameters for the calls of at most ``shape.spans`` spans (Unix time)."""
    bounds = [tuple(_bound_of(shape, moment) for moment in span) for span in spans]
    if shape.spans == MANY:
        return dict(zip(("firsts", "ends"), map(list, zip(*bounds, strict=True)), strict=True))
    bounds += [tuple(_bound_of(shape, 0) for _ in range(2))] * (shape.spans - len(spans))
    return {
        f"{name}_{shape.place}_{number}": bound
        for number, span in enumerate(bounds)
        for name, bound in zip(("first", "end"), span, strict=True)
    }


def _bound_of(shape: Shape, moment: int) -> Any:
    """Return what is no greater for any call from a moment (Unix time) on."""
    return moment - EPOCH if "user_id" in shape.given else ids.first_of(moment * 1000)


def _id(name: str) -> BindParameter[bytes]:
    return bindparam(name, type_=Id())


def _whole(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger())


class _Key(NamedTuple):
    """What rows show, and what they are told apart by.

    That is a number where texts would have to be sorted: the sums of a standing lie together.
    """

    shown: ColumnElement[Any]
    apart: ColumnElement[Any]


class _Statement:
    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._by_user = shape.of_user
        self._from_rows = shape.spans > 0
        self._calls: FromClause = self._in_arrays() if shape.spans == MANY else calls
        self._sums: Table = user_sums if self._by_user else membership_sums
        self._groups = of_group(shape.given)
        self._by_groups = shape.of_groups

    def select(self) -> Select[Any]:
        keys = list(self._keys())
        apart = [key.apart for key in keys]
        number = self._number()
        numbers = [] if number is None else [number.label(_NUMBER)]
        query = (
            select(*(key.shown for key in keys), *numbers, *self._measures())
            .select_from(self._tables())
            .where(*self._conditions())
        )
        if number is not None:
            apart.append(literal_column(_NUMBER))
        query = query.group_by(*apart)
        return query if apart else query.having(func.count() > 0)

    def _measures(self) -> list[ColumnElement[Any]]:
        amounts = amounts_in(self._calls) if self._from_rows else self._sums.c
        # PostgreSQL's sums are of a type that Python takes for decimals.
        return [
            cast(func.coalesce(func.sum(amounts[name]), 0), BigInteger)
            for name in self._shape.wanted
        ]

    # Where in a chart

    def _number(self) -> ColumnElement[Any] | None:
        if not self._shape.number:
            return None
        start, step, part = (_whole(name) for name in ("start", "step", "part"))
        moment = self._moment()
        own = (moment - start) // step + part
        if self._shape.number == "own":
            return own
        day = moment - moment % DAY_SECONDS
        home = (day + _whole("shift") - start) // step + part
        return home if self._shape.number == "home" else own * MOST_EDGES + home

    def _moment(self) -> ColumnElement[Any]:
        """Return when the bucket, or the call, begins (Unix time)."""
        if self._from_rows:
            return cast(self._calls.c.at, BigInteger) + EPOCH
        return cast(self._sums.c.bucket, BigInteger) * self._bound("seconds")

    def _bound(self, name: str) -> BindParameter[int]:
        return _whole(f"{name}_{self._shape.place}")

    # What of

    def _keys(self) -> Iterator[_Key]:
        for name in self._shape.by:
            if name == "user":
                number = self._user_no()
                user_id = select(users.c.user_id).where(users.c.no == number).scalar_subquery()
                yield _Key(user_id.label("user_id"), number)
            elif name == "group":
                yield _Key(groups.c.group_id, groups.c.group_id)
                yield _Key(groups.c.name, groups.c.name)
            elif name == "groups":
                yield _Key(memberships.c.groups, memberships.c.no)
            else:
                yield _Key(lines.c[name], lines.c[name])

    def _user_no(self) -> ColumnElement[Any]:
        return self._calls.c.user_no if self._from_rows else standings.c.user_no

    def _tables(self) -> Any:
        tables = self._owners()
        if not set(OF_LINE).isdisjoint((*self._shape.by, *self._shape.given)):
            line_no = kinds.c.line_no if self._from_rows else self._sums.c.line_no
            tables = tables.join(lines, lines.c.no == line_no)
        if "group" in self._shape.by:
            of_group = membership_groups.c.membership_no == memberships.c.no
            tables = tables.join(membership_groups, of_group)
            tables = tables.join(groups, groups.c.no == membership_groups.c.group_no)
        return tables

    def _owners(self) -> Any:
        if not (self._from_rows or self._by_user):
            return self._of_memberships() if self._by_groups else membership_sums
        tables = self._of_calls() if self._from_rows else self._of_standings()
        if self._by_groups:
            tables = tables.join(memberships, memberships.c.no == standings.c.membership_no)
        return tables

    def _of_calls(self) -> Any:
        tables: Any = self._calls
        if self._shape.spans in SPANS[1:]:
            span = self._spans()
            tables = span.join(calls, self._is_in(span.c.first, span.c.end))
        tables = tables.join(kinds, kinds.c.no == self._calls.c.kind_no)
        if not self._by_groups:
            return tables
        return tables.join(standings, standings.c.no == self._calls.c.standing_no)

    def _in_arrays(self) -> Subquery:
        """Return the calls in the spans of two arrays, each found by the index.

        Without the offset, PostgreSQL would take the spans for half of all time, and read it all.
        """
        one = self._of_bounds()
        sides = (cast(bindparam(name, type_=ARRAY(one)), ARRAY(one)) for name in ("firsts", "ends"))
        first, end = (column(name, one) for name in ("first", "end"))
        span = func.unnest(*sides).table_valued(first, end, name="span").render_derived()
        found = select(calls).where(self._is_in(span.c.first, span.c.end)).correlate(span)
        if "user_id" in self._shape.given:
            found = found.where(calls.c.user_no == user_no())
        of_span = found.offset(0).lateral("of_span")
        return select(of_span).select_from(span.join(of_span, true())).subquery("calls")

    # The sums of each owner lie together. By a number that is none of an index, SQLite cannot begin
    # with all sums and look their owners up, which takes much longer.

    @staticmethod
    def _of_standings() -> Any:
        return standings.join(user_sums, user_sums.c.standing_no == standings.c.no + 0)

    @staticmethod
    def _of_memberships() -> Any:
        of = membership_sums.c.membership_no == memberships.c.no + 0
        return memberships.join(membership_sums, of)

    # Which

    def _conditions(self) -> Iterator[ColumnElement[bool]]:
        if self._from_rows:  # What was refused is in no sum.
            yield kinds.c.task != REFUSED_TASK
        yield from of_line(self._shape.given)
        if "user_id" in self._shape.given:
            yield self._user_no() == user_no()
        yield from self._of_group()
        yield self._of_time()
        yield self._of_parts()

    def _of_group(self) -> Iterator[ColumnElement[bool]]:
        if self._groups and "group" in self._shape.by:
            yield from self._groups
        elif self._groups:
            yield memberships.c.no.in_(memberships_in(self._groups))
        elif self._shape.of_everyone and not self._from_rows:
            yield membership_sums.c.membership_no == EVERYONE

    def _of_time(self) -> ColumnElement[bool]:
        if self._from_rows:
            return self._is_in(*self._span(0)) if self._shape.spans == SPANS[0] else true()
        of = self._sums.c
        grain, first, end = (self._bound(name) for name in ("grain", "first", "end"))
        return and_(of.grain == grain, of.bucket >= first, of.bucket < end)

    def _spans(self) -> Subquery:
        """Return the spans as a table, which SQLite goes through twice as fast as through ORs."""
        rows = (self._span(number) for number in range(self._shape.spans))
        return union_all(
            *(select(first.label("first"), end.label("end")) for first, end in rows)
        ).subquery("span")

    def _span(self, number: int) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        of = self._of_bounds()
        names = (f"{name}_{self._shape.place}_{number}" for name in ("first", "end"))
        # PostgreSQL would take them for texts.
        first, end = (cast(bindparam(name, type_=of), of) for name in names)
        return first, end

    def _of_bounds(self) -> TypeEngine[Any]:
        return BigInteger() if "user_id" in self._shape.given else Id()

    def _is_in(self, first: ColumnElement[Any], end: ColumnElement[Any]) -> ColumnElement[bool]:
        if "user_id" in self._shape.given:
            return begun_in(first, end)
        return and_(calls.c.id >= first, calls.c.id < end)

    def _of_parts(self) -> ColumnElement[bool]:
        if self._shape.only == "listed":
            return self._sums.c.bucket.in_(bindparam("buckets", expanding=True, type_=Integer()))
        if self._shape.only == "inside" and not self._from_rows:
            begins = (self._moment() - _whole("start")) % _whole("step")
            return begins <= _whole("step") - self._bound("seconds")
        return true()


def begun_in(first: ColumnElement[int], end: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether a user's call began in a span: seconds since :data:`~.schema.EPOCH`."""
    times = and_(call_time >= first // FIVE_MINUTES, call_time <= end // FIVE_MINUTES)
    return and_(times, calls.c.at >= first, calls.c.at < end)


# What several kinds of statements have in common


def of_line(given: frozenset[str]) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions for lines."""
    for name in OF_LINE:
        if name in given:
            yield lines.c[name] == bindparam(name, type_=lines.c[name].type)


def of_group(given: frozenset[str]) -> list[ColumnElement[bool]]:
    """Return the conditions for groups."""
    columns = {"group_id": groups.c.group_id, "group": groups.c.name}
    found = [
        column == bindparam(name, type_=Text()) for name, column in columns.items() if name in given
    ]
    if "group_ids" in given:
        found.append(groups.c.group_id.in_(bindparam("group_ids", expanding=True, type_=Text())))
    return found


def user_no() -> Any:
    """Return the number of the user who is given."""
    of_user = users.c.user_id == bindparam("user_id", type_=Text())
    return select(users.c.no).where(of_user).scalar_subquery()


def memberships_in(wanted: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Return the memberships in any of the groups for which some conditions hold."""
    return (
        select(membership_groups.c.membership_no)
        .join(groups, groups.c.no == membership_groups.c.group_no)
        .where(*wanted)
    )


# Single calls


class ListShape(NamedTuple):
    """What the statements that list calls differ in."""

    given: frozenset[str] = frozenset()
    """As in :class:`Shape`; beside them ``period`` (``first``, ``end``), and of
    :class:`~.reading.Only` the names, ``failed`` and ``unpriced`` with ``not `` before them if that
    is to be false. The last of ``before`` and ``after``, which are ids, is not in the list."""
    oldest_first: bool = False


_OF_KIND: Final = (
    *("auth", "route", "task", "operation", "price_source", "error", "estimated", "unpriced"),
)
TOLD: Final = (
    *("id", "parent", "duration", "first_chunk", "groups", "chat", "units", "trace"),
    *("user_id", "user_name", *_OF_KIND, *OF_LINE),
    *("input", "output", "cache_read", "cache_write", "reasoning", "cost"),
)
"""What is told of each call of a list, in this order."""
_CHOSEN: Final = ("route", "task", "operation", "auth")
_IF_CHOSEN: Final[Mapping[str, ColumnElement[bool]]] = {
    "failed": kinds.c.error.is_not(None),
    "not failed": kinds.c.error.is_(None),
    "unpriced": kinds.c.unpriced.is_(True),
    "not unpriced": kinds.c.unpriced.is_(False),
}

_IF_LIMITED: Final = {
    "period": and_(calls.c.id >= _id("first_id"), calls.c.id < _id("end_id")),
    "before": calls.c.id < _id("before"),
    "after": calls.c.id > _id("after"),
}
_IF_OF_USER: Final = {
    "period": begun_in(_whole("first"), _whole("end")),
    "before": call_time <= _whole("before_at") // FIVE_MINUTES,
}


@functools.lru_cache(maxsize=200)
def listed(shape: ListShape) -> Select[Any]:
    """Return the statement for a list of calls; its parameter ``limit`` is how many at most."""
    given = shape.given
    query = _told().where(*of_line(given), *_of_call(given)).limit(_whole("limit"))
    if "user_id" in given:
        query = query.where(calls.c.user_no == user_no())
    if wanted := of_group(given):
        query = query.where(standings.c.membership_no.in_(memberships_in(wanted)))
    if shape.oldest_first:
        return query.order_by(calls.c.id)
    order = (call_time.desc(), calls.c.id.desc())
    return query.order_by(*(order if "user_id" in given else order[1:]))


def _of_call(given: frozenset[str]) -> Iterator[ColumnElement[bool]]:
    yield from (kinds.c[name] == bindparam(name, type_=Text()) for name in _CHOSEN if name in given)
    yield from (condition for name, condition in _IF_CHOSEN.items() if name in given)
    yield from (condition for name, condition in _IF_LIMITED.items() if name in given)
    if "user_id" in given:  # What the index of a user's calls knows.
        yield from (condition for name, condition in _IF_OF_USER.items() if name in given)


@functools.cache
def one_of_id() -> Select[Any]:
    """Return the statement for the call of an ``id``."""
    return _told().where(calls.c.id == _id("id"))


def _told() -> Select[Any]:
    # What is only shown is looked up: with each table less to join, PostgreSQL is done sooner with
    # thinking about the order.
    user_id = select(users.c.user_id).where(users.c.no == calls.c.user_no).scalar_subquery()
    named = select(memberships.c.groups).where(memberships.c.no == standings.c.membership_no)
    shown = {"user_id": user_id, "groups": named.scalar_subquery()}
    tables = {**dict.fromkeys(_OF_KIND, kinds), **dict.fromkeys(OF_LINE, lines)}
    columns = {**calls.c, "user_name": standings.c.user_name, **shown}
    columns |= {name: table.c[name] for name, table in tables.items()}
    return (
        select(*(columns[name] for name in TOLD))
        .select_from(calls)
        .join(kinds, kinds.c.no == calls.c.kind_no)
        .join(lines, lines.c.no == kinds.c.line_no)
        .join(standings, standings.c.no == calls.c.standing_no)
    )
