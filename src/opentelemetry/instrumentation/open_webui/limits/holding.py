"""What processes tell each other, by the ledger's database, of what they hold of a limit.

All of it happens in transactions in which no other process does the same.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Text,
    TextClause,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import OperationalError

from ..ledger.database import Database
from ..ledger.periods import Period
from ..ledger.queries import begun_in
from ..ledger.reading import Key, Where, sums
from ..ledger.schema import (
    EPOCH,
    HOUR,
    calls,
    groups,
    holds,
    kinds,
    lines,
    membership_groups,
    membership_sums,
    processes,
    standings,
    user_sums,
    users,
)
from ..ledger.schema import EVERYONE as EVERYBODY
from ..ledger.sums import DAY_SECONDS, HOUR_SECONDS
from ..names import REFUSED_TASK
from ..providers import DIRECT
from .accounts import Account, Settled
from .rules import COST, EVERYONE, GROUP, USER, Limit, Who
from .windows import Span

ALIVE_SECONDS: Final = 20
"""What a process holds counts so long after it was last seen."""
_AT_ONCE: Final = 500
_SPIN: Final = 0.002
# How long it is believed what was used before the last hour: calls may last longer than that.
_SETTLED_SECONDS: Final = 60.0


class Look(NamedTuple):
    """What the database says of an account."""

    base: int
    others: int
    owed: bool


@contextmanager
def writing(database: Database, patience: float) -> Iterator[Connection]:
    """Begin to write, as :meth:`~..ledger.database.Database.writing` does.

    SQLite would wait for a lock in ever longer sleeps, in which others get it again and again.
    """
    deadline = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                wait = 0.0 if database.is_sqlite else patience
                connection = stack.enter_context(database.writing(wait))
                break
            except OperationalError:
                if not database.is_sqlite or time.monotonic() > deadline:
                    raise
                time.sleep(_SPIN)
        yield connection


def take_turns(connection: Connection) -> int:
    """Keep others from doing this at the same time, and read all that follows as of this moment.

    In SQLite, who writes is alone.

    Returns:
        The time that all processes have in common: the database's (Unix time).
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # The moment is that of the first query, which this is not.
        connection.exec_driver_sql(f"LOCK TABLE {holds.name} IN EXCLUSIVE MODE")
    return _clock(connection)


def look_up(
    connection: Connection, process: str, accounts: Collection[Account], now: float, clock: int
) -> dict[str, Look]:
    """Return what there is of some accounts, by their keys.

    Args:
        connection: Whose turn it is.
        process: Ours.
        accounts: What to look up.
        now: Unix time, by which calls are dated.
        clock: What :func:`take_turns` has returned.
    """
    alive = clock - ALIVE_SECONDS
    held = _held_by_others(connection, process, [account.key for account in accounts], alive)
    return {
        account.key: Look(used(connection, account, now), *held.get(account.key, (0, False)))
        for account in accounts
    }


def used(connection: Connection, account: Account, now: float) -> int:
    """Return what the calls in the ledger have used of a limit, in its measure.

    What was used before the last hour hardly changes, so it is looked up rarely.
    """
    end = end_of(account.span, now)
    fresh = (int(now) // HOUR_SECONDS - 1) * HOUR_SECONDS
    since = max(account.start, fresh)
    settled = account.settled
    if settled is None or settled.before != since or settled.good_until < now:
        before = _summed(connection, account, Period(account.start, since), now)
        settled = account.settled = Settled(before, since, now + _SETTLED_SECONDS)
    full = -(-since // HOUR_SECONDS) * HOUR_SECONDS
    begun = _begun(connection, account, Period(since, min(full, end)), now)
    return settled.amount + begun + _of_hours(connection, account, full, end)


def end_of(span: Span, now: float) -> int:
    """Return until when calls count: what a wrong clock has dated later than now does, too."""
    return span.end or int(now) + DAY_SECONDS


def _begun(connection: Connection, account: Account, period: Period, now: float) -> int:
    """Return what was used in a part of an hour."""
    if period.start >= period.end:
        return 0
    if account.who.kind == USER:
        return _of_rows(connection, account, period)
    # Only where a zone's days begin at half past.
    return _summed(connection, account, period, now)


def _summed(connection: Connection, account: Account, period: Period, now: float) -> int:
    return sum(used_by(connection, account.limit, account.who, period, now).values())


def used_by(
    connection: Connection,
    limit: Limit,
    who: Who,
    period: Period,
    now: float,
    by: Sequence[str] = (),
) -> dict[Key, int]:
    """Return what was used of a limit, in its measure, in a period.

    Args:
        connection: Of the ledger's database.
        limit: What counts.
        who: By whom.
        period: When.
        now: Unix time.
        by: Of :data:`~..ledger.reading.DIMENSIONS`: what the keys of the result tell.
    """
    kind, name = who
    where = Where(
        user_id=name if kind == USER else None,
        group=name if kind == GROUP else None,
        source=limit.source,
        imported=False,
    )
    found: dict[Key, int] = defaultdict(int)
    for key, more in sums(connection, period, where, (*_LINE, *by), now=now).items():
        if _counts(limit, *key[: len(_LINE)]):
            used = (more.calls, more.input, more.output, more.cost)
            found[key[len(_LINE) :]] += _OF_MEASURE[limit.measure](*used)
    return dict(found)


_LINE: Final = ("provider", "picked", "model")


def _of_rows(connection: Connection, account: Account, period: Period) -> int:
    who, first, end = account.who.name, period.start - EPOCH, period.end - EPOCH
    values = {"who": who, "first": first, "end": end}
    return _added(account.limit, connection.execute(_ROWS, values))


def _of_hours(connection: Connection, account: Account, since: int, end: int) -> int:
    kind, name = account.who
    values = {"who": name, "first": since // HOUR_SECONDS, "end": -(-end // HOUR_SECONDS)}
    return _added(account.limit, connection.execute(_HOURS[kind], values))


def _added(limit: Limit, rows: Iterable[Row[Any]]) -> int:
    return sum(
        _OF_MEASURE[limit.measure](*row[4:])
        for row in rows
        if limit.source is None or row.source == limit.source
        if _counts(limit, row.provider, row.picked, row.model)
    )


def _counts(limit: Limit, provider: str, *names: str) -> bool:
    """Whether calls of a provider, by the names of a model, count in a limit."""
    return (limit.direct or provider != DIRECT) and limit.is_of(names)


_OF_MEASURE: Final[Mapping[str, Callable[[int, int, int, int], int]]] = {
    "requests": lambda calls, put, out, cost: calls,
    "tokens": lambda calls, put, out, cost: put + out,
    "input_tokens": lambda calls, put, out, cost: put,
    "output_tokens": lambda calls, put, out, cost: out,
    COST: lambda calls, put, out, cost: cost,
}


def _by_line(amounts: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Return the beginning of a query by line. It is made once, which takes longer than it."""
    # PostgreSQL's sums are of a type that Python takes for decimals.
    sums = (cast(func.coalesce(func.sum(amount), 0), BigInteger) for amount in amounts)
    texts = (lines.c.source, lines.c.provider, lines.c.picked, lines.c.model)
    return select(*texts, *sums).where(~lines.c.imported).group_by(lines.c.no, *texts)


def _hours_of(table: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
    of = table.c
    return (
        _by_line((of.calls, of.input, of.output, of.cost))
        .join_from(table, lines, lines.c.no == of.line_no)
        .where(of.grain == HOUR, of.bucket >= bindparam("first"), of.bucket < bindparam("end"))
        .where(*conditions)
    )


_WHO: Final[BindParameter[str]] = bindparam("who", type_=Text)
_HOURS: Final = {
    USER: _hours_of(
        user_sums,
        user_sums.c.standing_no.in_(
            select(standings.c.no)
            .join(users, users.c.no == standings.c.user_no)
            .where(users.c.user_id == _WHO)
        ),
    ),
    GROUP: _hours_of(
        membership_sums,
        membership_sums.c.membership_no.in_(
            select(membership_groups.c.membership_no)
            .join(groups, groups.c.no == membership_groups.c.group_no)
            .where(groups.c.name == _WHO)
        ),
    ),
    EVERYONE: _hours_of(membership_sums, membership_sums.c.membership_no == EVERYBODY),
}
_ROWS: Final = (
    _by_line((literal(1), calls.c.input, calls.c.output, calls.c.cost))
    .join_from(calls, kinds, kinds.c.no == calls.c.kind_no)
    .join(lines, lines.c.no == kinds.c.line_no)
    .join(users, users.c.no == calls.c.user_no)
    .where(users.c.user_id == _WHO, kinds.c.task != REFUSED_TASK)
    .where(begun_in(bindparam("first", type_=BigInteger()), bindparam("end", type_=BigInteger())))
)


def found(connection: Connection, call_ids: Iterable[str]) -> set[str]:
    """Return which of some calls are in the ledger."""
    there: set[str] = set()
    for some in _parts(call_ids):
        values = {"ids": [bytes.fromhex(one) for one in some]}
        there.update(one.hex() for one in connection.scalars(_FOUND, values))
    return there


_FOUND: Final = select(calls.c.id).where(calls.c.id.in_(bindparam("ids", expanding=True)))


def _held_by_others(
    connection: Connection, process: str, keys: list[str], alive: int
) -> dict[str, tuple[int, bool]]:
    """Return what others hold, and whether some were asked to tell it anew and have not yet."""
    held: dict[str, tuple[int, bool]] = {}
    for some in _parts(keys):
        values = {"keys": some, "mine": process, "alive": alive}
        for key, amount, owed in connection.execute(_HELD, values):
            held[key] = (int(amount), owed > 0)
    return held


_HELD: Final = (
    select(
        holds.c.account,
        func.sum(holds.c.amount),
        func.sum(case((holds.c.recalled, 1), else_=0)),
    )
    .join(processes, processes.c.process == holds.c.process)
    .where(holds.c.account.in_(bindparam("keys", expanding=True)))
    .where(holds.c.process != bindparam("mine"), processes.c.seen > bindparam("alive"))
    .group_by(holds.c.account)
)


def publish(connection: Connection, process: str, amounts: Mapping[str, int], clock: int) -> None:
    """Tell what a process holds of some accounts, and that it lives."""
    rows = [
        {"process": process, "account": key, "amount": amount, "recalled": False}
        for key, amount in sorted(amounts.items())
    ]
    if rows:
        connection.execute(_PUT_HOLD, rows)
    connection.execute(_PUT_PROCESS, {"process": process, "seen": clock})


def beat(connection: Connection, process: str) -> bool:
    """Tell that a process lives; return whether any other does."""
    clock = _clock(connection)
    publish(connection, process, {}, clock)
    values = {"mine": process, "alive": clock - ALIVE_SECONDS}
    return connection.execute(_OTHERS, values).first() is not None


_OTHERS: Final = (
    select(processes.c.process)
    .where(processes.c.process != bindparam("mine"), processes.c.seen > bindparam("alive"))
    .limit(1)
)


def _put(table: Table) -> TextClause:
    """Return what puts a row in the place of one with the same key, as text.

    SQLAlchemy would compile its own statement for that anew each time.
    """
    columns, key = table.columns.keys(), table.primary_key.columns.keys()
    rest = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return text(
        f"INSERT INTO {table.name} ({', '.join(columns)})"
        f" VALUES ({', '.join(f':{name}' for name in columns)})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {rest}"
    )


_PUT_HOLD: Final = _put(holds)
_PUT_PROCESS: Final = _put(processes)


def recall(connection: Connection, process: str, keys: Iterable[str]) -> None:
    """Ask the other processes to tell anew what they hold."""
    for some in _parts(keys):
        others = (holds.c.account.in_(some), holds.c.process != process)
        connection.execute(update(holds).where(*others).values(recalled=True))


def recalled(connection: Connection, process: str) -> set[str]:
    """Return the accounts that this process is asked for."""
    return set(connection.scalars(_RECALLED, {"process": process}))


_RECALLED: Final = select(holds.c.account).where(
    holds.c.process == bindparam("process"), holds.c.recalled
)


def let_go(connection: Connection, process: str, keys: Iterable[str]) -> None:
    """Hold nothing of some accounts any more."""
    for some in _parts(keys):
        mine = (holds.c.process == process, holds.c.account.in_(some))
        connection.execute(delete(holds).where(*mine))


def leave(connection: Connection, process: str) -> None:
    """Hold nothing any more."""
    connection.execute(delete(holds).where(holds.c.process == process))
    connection.execute(delete(processes).where(processes.c.process == process))


def bury(connection: Connection) -> None:
    """Take out what dead processes held."""
    seen = _clock(connection) - 2 * ALIVE_SECONDS
    dead = select(processes.c.process).where(processes.c.seen < seen)
    connection.execute(delete(holds).where(holds.c.process.in_(dead)))
    connection.execute(delete(processes).where(processes.c.seen < seen))


def _clock(connection: Connection) -> int:
    """Return the time that all processes have in common: the database's."""
    if connection.dialect.name != "postgresql":
        return int(time.time())
    return int(
        connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
    )


def _parts(keys: Iterable[str]) -> Iterator[tuple[str, ...]]:
    ordered = sorted(keys)
    for start in range(0, len(ordered), _AT_ONCE):
        yield tuple(ordered[start : start + _AT_ONCE])
