"""Whether the sums that are kept equal the rows, and whether anything else is odd."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Table, cast, func, literal, select, text

from .. import ids
from ..names import REFUSED_TASK
from . import facts
from .database import Database
from .migrating import current, newest
from .queries import amounts_in
from .reading import ends
from .schema import (
    DAY,
    EPOCH,
    EVERYONE,
    HOUR,
    MEASURES,
    MONTH,
    calls,
    kinds,
    membership_sums,
    standings,
    user_sums,
)
from .sums import DAY_SECONDS, HOUR_SECONDS, month_of, start_of_month

Progress = Callable[[int, int], None]
_Found = dict[tuple[int, int, int, int], tuple[int, ...]]
# A clock may be wrong by so many seconds before it is worth a word.
_MINUTES: Final = 300


@dataclass
class Checked:
    """What was found."""

    calls: int = 0
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What is odd, and no fault of the ledger."""


def _silent(_done: int, _all: int) -> None:
    pass


def check(database: Database, progress: Progress = _silent) -> Checked:
    """Compare all sums with the rows, month by month, while others go on writing.

    Args:
        database: The ledger's.
        progress: Hears how many of the months are done.
    """
    found = Checked()
    with database.reading() as connection:
        version = current(connection)
        if version != newest():
            found.problems.append(f"the tables are of version {version}, not {newest()}")
            return found
        _check_file(connection, found)
        first, last = _months(connection)
    for month in range(first, last + 1):
        with database.reading() as connection:
            _check_month(connection, month, found)
        progress(month - first + 1, last - first + 1)
    with database.reading() as connection:
        _remark(connection, found)
    return found


def _check_file(connection: Connection, found: Checked) -> None:
    if connection.dialect.name == "sqlite":
        told = connection.execute(text("PRAGMA quick_check(1)")).scalar()
        if told != "ok":
            found.problems.append(f"the file is damaged: {told}")


def _months(connection: Connection) -> tuple[int, int]:
    """Return the first and the last month of which there are rows or sums."""
    months = [month_of(moment) for moment in ends(connection) or ()]
    kept = select(func.min(membership_sums.c.bucket), func.max(membership_sums.c.bucket))
    kept = kept.where(membership_sums.c.grain == MONTH)
    months += [month for month in connection.execute(kept).one() if month is not None]
    return (min(months), max(months)) if months else (0, -1)


def _check_month(connection: Connection, month: int, found: Checked) -> None:
    start, end = start_of_month(month), start_of_month(month + 1)
    hours = _of_rows(connection, start, end)
    found.calls += sum(amounts[0] for amounts in hours.values())
    hours_from = facts.number(connection, facts.HOURS_FROM)
    for table, whose, right in (
        (user_sums, "users", hours),
        (membership_sums, "groups", _of_groups(connection, hours)),
    ):
        both = _with_coarser(right), _kept(connection, table, start, end)
        _compare(found, month, whose, *(_without_old(sums, hours_from) for sums in both))


def _without_old(found: _Found, hours_from: int) -> _Found:
    """Return sums without those by hour that need not be there."""
    return {
        (owner, grain, bucket, line_no): amounts
        for (owner, grain, bucket, line_no), amounts in found.items()
        if owner == EVERYONE or grain != HOUR or bucket >= hours_from
    }


def _of_rows(connection: Connection, start: int, end: int) -> _Found:
    hour = (cast(calls.c.at, BigInteger) + EPOCH) // HOUR_SECONDS
    keys = (calls.c.standing_no, hour, kinds.c.line_no)
    amounts = amounts_in(calls, literal(1), MEASURES)
    query = (
        select(*keys, *(_sum(amounts[name]) for name in MEASURES))
        .join(kinds, kinds.c.no == calls.c.kind_no)
        .where(calls.c.id >= ids.first_of(start * 1000), calls.c.id < ids.first_of(end * 1000))
        .where(kinds.c.task != REFUSED_TASK)
        .group_by(*keys)
    )
    return {(row[0], HOUR, row[1], row[2]): tuple(row[3:]) for row in connection.execute(query)}


def _sum(amount: Any) -> Any:
    return cast(func.coalesce(func.sum(amount), 0), BigInteger)


def _of_groups(connection: Connection, hours: _Found) -> _Found:
    """Return what the sums of users make those of their groups, and of everyone."""
    query = select(standings.c.no, standings.c.membership_no)
    membership_nos = dict(connection.execute(query).tuples().all())
    found: _Found = {}
    for (standing_no, grain, bucket, line_no), amounts in hours.items():
        for no in (EVERYONE, membership_nos[standing_no]):
            _add(found, (no, grain, bucket, line_no), amounts)
    return found


def _with_coarser(hours: _Found) -> _Found:
    found = dict(hours)
    for (owner, _, bucket, line_no), amounts in hours.items():
        seconds = bucket * HOUR_SECONDS
        _add(found, (owner, DAY, seconds // DAY_SECONDS, line_no), amounts)
        _add(found, (owner, MONTH, month_of(seconds), line_no), amounts)
    return found


def _add(found: _Found, key: tuple[int, int, int, int], more: tuple[int, ...]) -> None:
    known = found.get(key)
    found[key] = more if known is None else tuple(a + b for a, b in zip(known, more, strict=True))


def _kept(connection: Connection, table: Table, start: int, end: int) -> _Found:
    found: _Found = {}
    for grain, first, last in (
        (HOUR, start // HOUR_SECONDS, end // HOUR_SECONDS),
        (DAY, start // DAY_SECONDS, end // DAY_SECONDS),
        (MONTH, month_of(start), month_of(end)),
    ):
        query = select(table).where(
            table.c.grain == grain, table.c.bucket >= first, table.c.bucket < last
        )
        for row in connection.execute(query):
            found[row[0], row[1], row[2], row[3]] = tuple(amount or 0 for amount in row[4:])
    return found


def _compare(found: Checked, month: int, whose: str, right: _Found, kept: _Found) -> None:
    wrong = [key for key in right.keys() | kept.keys() if right.get(key) != kept.get(key)]
    if wrong:
        name = f"{month // 12}-{month % 12 + 1:02}"
        found.problems.append(f"{name}: {len(wrong):,} sums of {whose} differ from the rows")


def _remark(connection: Connection, found: Checked) -> None:
    for remark in _remarks(connection):
        found.remarks.append(remark)


def _remarks(connection: Connection) -> Iterator[str]:
    now = int(time.time())
    late = select(func.count()).where(calls.c.id >= ids.first_of((now + _MINUTES) * 1000))
    count = connection.execute(late).scalar_one()
    if count:
        yield f"{count:,} calls are dated later than now: a server's clock is wrong"
    since = facts.read(connection, facts.COMPLETE_SINCE)
    if since is not None:
        day = time.strftime("%Y-%m-%d", time.gmtime(int(since)))
        yield f"calls before {day} were pruned"
