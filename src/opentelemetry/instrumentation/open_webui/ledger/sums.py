"""The sums that are kept of calls, and how a call adds to them."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from operator import add
from typing import Final

from sqlalchemy import Connection, Table

from ..names import CHAT_TASK
from .booking import Booking
from .bulk import insert_many
from .database import POSTGRES, SQLITE
from .schema import DAY, EVERYONE, HOUR, MEASURES, MONTH, membership_sums, user_sums

HOUR_SECONDS: Final = 3600
DAY_SECONDS: Final = 86_400
HOURS_KEPT: Final = {SQLITE: 400, POSTGRES: 62}
"""Days for which the sums of users and groups by hour are kept.

A year and a month, or two months in PostgreSQL, where they take three times the room.
"""

Key = tuple[int, int, int, int]
"""Four numbers. In the tables: of a standing or a membership, grain, bucket, line."""
Amounts = tuple[int, ...]
"""One for each of :data:`~.schema.MEASURES`."""


def month_of(seconds: int) -> int:
    """Return the number of the month that a moment (Unix time) is in, in UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.year * 12 + moment.month - 1


def start_of_month(month: int) -> int:
    """Return the Unix time at which a month begins."""
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())


@functools.lru_cache(maxsize=1024)
def buckets_of(hour: int) -> tuple[tuple[int, int], ...]:
    """Return the grains and buckets that an hour (since 1970) is in."""
    seconds = hour * HOUR_SECONDS
    return ((HOUR, hour), (DAY, seconds // DAY_SECONDS), (MONTH, month_of(seconds)))


def amounts_of(booking: Booking) -> Amounts:
    """Return what one call adds."""
    return (
        1,
        int(booking.task == CHAT_TASK),
        int(booking.error is not None),
        int(booking.unpriced),
        int(booking.estimated > 0),
        booking.input or 0,
        booking.output or 0,
        booking.cache_read or 0,
        booking.cache_write or 0,
        booking.reasoning or 0,
        booking.cost or 0,
    )


class Sums:
    """What a batch of calls adds to the sums."""

    def __init__(self) -> None:
        self._of_hours: dict[Key, Amounts] = {}
        """By standing, membership, hour and line."""

    def add(
        self, seconds: int, standing_no: int, membership_no: int, line_no: int, more: Amounts
    ) -> None:
        """Add a call that began at a moment (Unix time)."""
        _add(self._of_hours, (standing_no, membership_no, seconds // HOUR_SECONDS, line_no), more)

    def write(self, connection: Connection) -> None:
        """Add all of it. In the order of keys, so that two who do so never wait for each other."""
        for table, sums in self._by_table().items():
            if sums:
                # What is nothing is kept as NULL.
                rows = [
                    (*key, *[amount or None for amount in amounts])
                    for key, amounts in sorted(sums.items())
                ]
                insert_many(connection, table, rows, MEASURES)

    def _by_table(self) -> dict[Table, dict[Key, Amounts]]:
        of_users: dict[Key, Amounts] = {}
        of_memberships: dict[Key, Amounts] = {}
        for (standing_no, membership_no, hour, line_no), amounts in self._of_hours.items():
            for grain, bucket in buckets_of(hour):
                _add(of_users, (standing_no, grain, bucket, line_no), amounts)
                for no in (EVERYONE, membership_no):
                    _add(of_memberships, (no, grain, bucket, line_no), amounts)
        return {user_sums: of_users, membership_sums: of_memberships}


def _add(sums: dict[Key, Amounts], key: Key, more: Amounts) -> None:
    known = sums.get(key)
    sums[key] = more if known is None else tuple(map(add, known, more))
