"""What processes tell each other, by the ledger's database, of what they hold of a limit.

All of it happens in transactions in which no other process does the same.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, select, text, update

from ..ledger.facts import insert_of
from ..ledger.periods import Period
from ..ledger.reading import Sums, Where, sums
from ..ledger.schema import calls, holds, processes
from ..names import NO_PROVIDER
from ..providers import DIRECT
from .accounts import Account
from .rules import GROUP, USER

ALIVE_SECONDS: Final = 20
"""What a process holds counts so long after it was last seen."""
_AT_ONCE: Final = 500
# Any number: who tells others in PostgreSQL holds it.
_LOCK: Final = 0x6C_69_6D_69_74_73
_DAYS_BACK: Final = 86_400


class Look(NamedTuple):
    """What the database says of an account."""

    base: int
    others: int
    found: tuple[str, ...]
    """Those of our pending calls that are in the ledger."""


def take_turns(connection: Connection) -> None:
    """Keep others from doing this at the same time. In SQLite, who writes is alone."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def look_up(
    connection: Connection, process: str, accounts: Collection[Account], now: float
) -> dict[str, Look]:
    """Return what there is of some accounts, by their keys."""
    held = _held_by_others(connection, process, [account.key for account in accounts])
    pending = {call_id for account in accounts for call_id in tuple(account.pending)}
    written = found(connection, pending)
    return {
        account.key: Look(
            used(connection, account, now),
            held.get(account.key, 0),
            tuple(written.intersection(account.pending)),
        )
        for account in accounts
    }


def used(connection: Connection, account: Account, now: float) -> int:
    """Return what the calls in the ledger have used of a limit, in its measure."""
    limit = account.limit
    # What is dated later than now is the work of a clock that is wrong, and counts as well.
    end = account.span.end or int(now) + _DAYS_BACK
    where = Where(
        user_id=account.who.name if account.who.kind == USER else None,
        group=account.who.name if account.who.kind == GROUP else None,
        source=limit.source,
        imported=False,
    )
    by = ("provider", "picked", "model")
    period = Period(account.start, end)
    return sum(
        _amount(limit.measure, more)
        for (provider, *names), more in sums(connection, period, where, by, now=now).items()
        if provider != NO_PROVIDER
        and (limit.direct or provider != DIRECT)
        and limit.is_of(tuple(names))
    )


def _amount(measure: str, used: Sums) -> int:
    put, out = used.input, used.output
    return {
        "requests": used.calls,
        "tokens": put + out,
        "input_tokens": put,
        "output_tokens": out,
        "cost": used.cost,
    }[measure]


def found(connection: Connection, call_ids: Iterable[str]) -> set[str]:
    """Return which of some calls are in the ledger."""
    there: set[str] = set()
    for some in _parts(call_ids):
        known = select(calls.c.id).where(calls.c.id.in_(map(bytes.fromhex, some)))
        there.update(one.hex() for one in connection.scalars(known))
    return there


def _held_by_others(connection: Connection, process: str, keys: list[str]) -> dict[str, int]:
    held: dict[str, int] = {}
    for some in _parts(keys):
        query = (
            select(holds.c.account, func.sum(holds.c.amount))
            .join(processes, processes.c.process == holds.c.process)
            .where(holds.c.account.in_(some), holds.c.process != process)
            .where(processes.c.seen > _clock(connection) - ALIVE_SECONDS)
            .group_by(holds.c.account)
        )
        held.update((key, int(amount)) for key, amount in connection.execute(query))
    return held


def publish(connection: Connection, process: str, amounts: Mapping[str, int]) -> None:
    """Tell what a process holds of some accounts, and that it lives."""
    insert = insert_of(connection.dialect.name)
    if amounts:
        rows = [
            {"process": process, "account": key, "amount": amount, "recalled": False}
            for key, amount in sorted(amounts.items())
        ]
        told = insert(holds)
        changed = {"amount": told.excluded.amount, "recalled": told.excluded.recalled}
        connection.execute(
            told.on_conflict_do_update(index_elements=["process", "account"], set_=changed), rows
        )
    seen = {"seen": _clock(connection)}
    alive = insert(processes).values(process=process, **seen)
    connection.execute(alive.on_conflict_do_update(index_elements=["process"], set_=seen))


def recall(connection: Connection, process: str, keys: Iterable[str]) -> None:
    """Ask the other processes to tell anew what they hold."""
    for some in _parts(keys):
        others = (holds.c.account.in_(some), holds.c.process != process)
        connection.execute(update(holds).where(*others).values(recalled=True))


def recalled(connection: Connection, process: str) -> set[str]:
    """Return the accounts that this process is asked for."""
    query = select(holds.c.account).where(holds.c.process == process, holds.c.recalled)
    return set(connection.scalars(query))


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
