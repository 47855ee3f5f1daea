"""The statements that a ledger is read with, each made once.

SQLAlchemy takes longer to make a statement than a database to answer it. So a statement is made for
a :class:`Shape`, and all that questions of the same shape differ in are its parameters.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
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
    literal_column,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.types import TypeEngine

from .. import ids
from ..names import CHAT_TASK, REFUSED_TASK
from .periods import Piece
from .schema import (
    CALLS,
    COUNTS,
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

_GROUPS: Final = ("group", "groups")
_OF_GROUPS: Final = (*_GROUPS, "group_id", "group_ids")
OF_LINE: Final = ("source", "provider", "model", "picked", "imported")
SPANS: Final = (1, 32)
"""How many spans of time a statement can have that adds up calls."""
MANY: Final = 1000
"""As many in PostgreSQL, in arrays: else it would think about each for longer than it reads."""
_NUMBER: Final = "part_number"

Values = dict[str, Any]
"""Parameters by name."""

_COUNTED: Final[Mapping[str, ColumnElement[bool]]] = {
    "answers": kinds.c.task == CHAT_TASK,
    "errors": kinds.c.error.is_not(None),
    "unpriced": kinds.c.unpriced,
    "estimated": kinds.c.estimated > 0,
}
"""Of which calls there are sums of their number; those of ``calls`` are of all."""


def amounts_in(
    rows: FromClause, number: ColumnElement[int], wanted: Sequence[str]
) -> Mapping[str, ColumnElement[Any]]:
    """Return what each row adds to some of :data:`~.schema.MEASURES`.

    Args:
        rows: Calls, or what calls of a kind add up to.
        number: How many calls a row is.
        wanted: Some of the measures.
    """

    def amount(measure: str) -> ColumnElement[Any]:
        if measure == CALLS:
            return number
        which = _COUNTED.get(measure)
        return rows.c[measure] if which is None else case((which, number), else_=0)

    return {measure: amount(measure) for measure in wanted}


class Shape(NamedTuple):
    """What the statements that add up calls differ in."""

    given: frozenset[str] = frozenset()
    """The parts of :class:`~.reading.Where` that are given."""
    by: tuple[str, ...] = ()
    """Some of :data:`~.reading.DIMENSIONS`."""
    wanted: tuple[str, ...] = MEASURES
    spans: int = 0
    """One of :data:`SPANS`, or :data:`MANY`, of single calls; 0 for buckets of kept sums."""
    number: bool = False
    """Whether by the number of the part of a chart as well that the bucket, or the call, begins in.

    Its parameters are ``start`` (Unix time), ``step`` (seconds) and ``part`` (the first number).
    """
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
    def by_groups(self) -> bool:
        """Whether calls are told apart by the groups of their users."""
        return not {*_GROUPS}.isdisjoint(self.by)

    @property
    def of_everyone(self) -> bool:
        """Whether it takes the sums of everyone: users and groups do not matter."""
        return not (self.of_user or self.of_groups)


@functools.lru_cache(maxsize=500)
def added_up(shape: Shape) -> Select[Any]:
    """Return the statement for sums: keys, the number of a part if there is one, measures."""
    return _statement(shape)


@functools.lru_cache(maxsize=200)
def users_of(shapes: Sequence[Shape]) -> Select[Any]:
    """Return the statement for how many users there are in several of these, by all other keys."""
    found = union(*(_statement(shape) for shape in shapes)).subquery()
    keys = list(found.c)[:-1]
    return select(*keys, func.count()).select_from(found).group_by(*keys)


def _statement(shape: Shape) -> Select[Any]:
    return (_OfCalls(shape) if shape.spans else _OfSums(shape)).select()


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


class _Calls:
    """Calls, added up by the numbers of the texts that they have in common.

    So texts are looked up for these sums, of which there are far fewer than calls.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def added_up(self) -> Subquery:
        found = self._in_arrays() if self._shape.spans == MANY else self._listed()
        rows = found.rows
        keys = [rows.c[name] for name in self._texts()]
        apart: list[ColumnElement[Any]] = list(keys)
        if self._shape.number:
            moment = cast(rows.c.at, BigInteger) + EPOCH
            keys.append(_part_of(moment).label(_NUMBER))
            apart.append(literal_column(_NUMBER))
        sums = (func.sum(rows.c[name]).label(name) for name in self._measures())
        return (
            select(*keys, func.count().label(CALLS), *sums)
            .select_from(found.tables)
            .where(*found.conditions)
            .group_by(*apart)
            .subquery("calls")
        )

    def _texts(self) -> Iterator[str]:
        yield "kind_no"
        if "user" in self._shape.by:
            yield "user_no"
        if self._shape.by_groups:
            yield "standing_no"

    def _measures(self) -> list[str]:
        return [name for name in self._shape.wanted if name not in COUNTS]

    def _listed(self) -> _Found:
        """Return the calls in one span or several, all of which are parameters of their own."""
        if self._shape.spans == SPANS[0]:
            return _Found(calls, calls, [*self._conditions(), self._is_in(*self._span(0))])
        # SQLite goes through a table of them twice as fast as through ORs.
        rows = (self._span(number) for number in range(self._shape.spans))
        span = union_all(
            *(select(first.label("first"), end.label("end")) for first, end in rows)
        ).subquery("span")
        tables = span.join(calls, self._is_in(span.c.first, span.c.end))
        return _Found(tables, calls, list(self._conditions()))

    def _in_arrays(self) -> _Found:
        """Return the calls in the spans of two arrays, each found by the index.

        Without the offset, PostgreSQL would take the spans for half of all time, and read it all.
        """
        one = self._of_bounds()
        sides = (cast(bindparam(name, type_=ARRAY(one)), ARRAY(one)) for name in ("firsts", "ends"))
        first, end = (column(name, one) for name in ("first", "end"))
        span = func.unnest(*sides).table_valued(first, end, name="span").render_derived()
        of_span = (
            select(*(calls.c[name] for name in ("at", *self._texts(), *self._measures())))
            .where(self._is_in(span.c.first, span.c.end), *self._conditions())
            .correlate(span)
            .offset(0)
            .lateral("of_span")
        )
        return _Found(span.join(of_span, true()), of_span, [])

    def _conditions(self) -> Iterator[ColumnElement[bool]]:
        if "user_id" in self._shape.given:
            yield calls.c.user_no == user_no()
        if wanted := of_group(self._shape.given):
            in_groups = standings.c.membership_no.in_(memberships_in(wanted))
            yield calls.c.standing_no.in_(select(standings.c.no).where(in_groups))

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


class _Found(NamedTuple):
    """Where calls are found: in which tables, as which rows, and under which conditions."""

    tables: FromClause
    rows: FromClause
    conditions: list[ColumnElement[bool]]


def _part_of(moment: ColumnElement[int]) -> ColumnElement[int]:
    """Return the number of the part of a chart that a moment (Unix time) is in."""
    return (moment - _whole("start")) // _whole("step") + _whole("part")


class _Statement(ABC):
    """Sums by what is asked for, of whatever they are made up of."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._groups = of_group(shape.given)

    def select(self) -> Select[Any]:
        keys = list(self._keys())
        apart = [key.apart for key in keys]
        number = [self._number().label(_NUMBER)] if self._shape.number else []
        query = (
            select(*(key.shown for key in keys), *number, *self._measures())
            .select_from(self._tables())
            .where(*self._conditions(), *of_line(self._shape.given), *self._of_groups())
        )
        if number:
            apart.append(literal_column(_NUMBER))
        query = query.group_by(*apart)
        return query if apart else query.having(func.count() > 0)

    @abstractmethod
    def _amount(self, measure: str) -> ColumnElement[Any]:
        """Return what each row adds to a measure."""

    @abstractmethod
    def _number(self) -> ColumnElement[Any]:
        """Return the number of the part of a chart."""

    @abstractmethod
    def _user_no(self) -> ColumnElement[Any]: ...

    @abstractmethod
    def _line_no(self) -> ColumnElement[Any]: ...

    @abstractmethod
    def _owners(self) -> Any:
        """Return the tables that tell whose the rows are, without names of lines and groups."""

    @abstractmethod
    def _conditions(self) -> Iterator[ColumnElement[bool]]: ...

    def _measures(self) -> list[ColumnElement[Any]]:
        # PostgreSQL's sums are of a type that Python takes for decimals.
        return [
            cast(func.coalesce(func.sum(self._amount(name)), 0), BigInteger)
            for name in self._shape.wanted
        ]

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

    def _tables(self) -> Any:
        tables = self._owners()
        if not set(OF_LINE).isdisjoint((*self._shape.by, *self._shape.given)):
            tables = tables.join(lines, lines.c.no == self._line_no())
        if "group" in self._shape.by:
            of_group = membership_groups.c.membership_no == memberships.c.no
            tables = tables.join(membership_groups, of_group)
            tables = tables.join(groups, groups.c.no == membership_groups.c.group_no)
        return tables

    def _of_groups(self) -> list[ColumnElement[bool]]:
        """Of somebody's groups, only those that are asked for are shown."""
        return self._groups if "group" in self._shape.by else []


class _OfSums(_Statement):
    """Sums that are kept."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._sums: Table = user_sums if shape.of_user else membership_sums

    def _amount(self, measure: str) -> ColumnElement[Any]:
        return self._sums.c[measure]

    def _number(self) -> ColumnElement[Any]:
        return _part_of(self._moment())

    def _moment(self) -> ColumnElement[Any]:
        """Return when the bucket begins (Unix time)."""
        return cast(self._sums.c.bucket, BigInteger) * self._bound("seconds")

    def _bound(self, name: str) -> BindParameter[int]:
        return _whole(f"{name}_{self._shape.place}")

    def _user_no(self) -> ColumnElement[Any]:
        return standings.c.user_no

    def _line_no(self) -> ColumnElement[Any]:
        return self._sums.c.line_no

    # The sums of each owner lie together. By a number that is none of an index, SQLite cannot begin
    # with all sums and look their owners up, which takes much longer.

    def _owners(self) -> Any:
        if self._shape.of_everyone:
            return membership_sums
        if not self._shape.of_user:
            of = membership_sums.c.membership_no == memberships.c.no + 0
            return memberships.join(membership_sums, of)
        tables = standings.join(user_sums, user_sums.c.standing_no == standings.c.no + 0)
        if self._shape.of_groups:
            tables = tables.join(memberships, memberships.c.no == standings.c.membership_no)
        return tables

    def _conditions(self) -> Iterator[ColumnElement[bool]]:
        if "user_id" in self._shape.given:
            yield self._user_no() == user_no()
        if self._groups and "group" not in self._shape.by:
            yield memberships.c.no.in_(memberships_in(self._groups))
        if self._shape.of_everyone:
            yield membership_sums.c.membership_no == EVERYONE
        yield self._sums.c.grain == self._bound("grain")
        yield from self._of_time()

    def _of_time(self) -> Iterator[ColumnElement[bool]]:
        bucket = self._sums.c.bucket
        if self._shape.only == "listed":
            # And between no others: SQLite would read all from the first to the last.
            yield bucket.in_(bindparam("buckets", expanding=True, type_=Integer()))
            return
        yield and_(bucket >= self._bound("first"), bucket < self._bound("end"))
        if self._shape.only == "inside":
            begins = (self._moment() - _whole("start")) % _whole("step")
            yield begins <= _whole("step") - self._bound("seconds")


class _OfCalls(_Statement):
    """Calls, where no sums of them are kept."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._calls = _Calls(shape).added_up()
        self._amounts = amounts_in(self._calls, self._calls.c[CALLS], shape.wanted)

    def _amount(self, measure: str) -> ColumnElement[Any]:
        return self._amounts[measure]

    def _number(self) -> ColumnElement[Any]:
        return self._calls.c[_NUMBER]

    def _user_no(self) -> ColumnElement[Any]:
        return self._calls.c.user_no

    def _line_no(self) -> ColumnElement[Any]:
        return kinds.c.line_no

    def _owners(self) -> Any:
        tables = self._calls.join(kinds, kinds.c.no == self._calls.c.kind_no)
        if not self._shape.by_groups:
            return tables
        tables = tables.join(standings, standings.c.no == self._calls.c.standing_no)
        return tables.join(memberships, memberships.c.no == standings.c.membership_no)

    def _conditions(self) -> Iterator[ColumnElement[bool]]:
        yield kinds.c.task != REFUSED_TASK  # What was refused is in no sum.


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
