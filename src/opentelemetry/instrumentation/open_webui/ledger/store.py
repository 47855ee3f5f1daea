"""Writing calls: rows, the numbers of their texts, and sums, in one transaction."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from ..names import REFUSED_TASK
from . import facts
from .booking import Booking, milliseconds_of, packed_chat
from .bulk import insert_many
from .database import Database
from .migrating import current, migrate, newest, refuse_newer
from .numbers import Numbers
from .schema import EPOCH, calls
from .sums import Sums, amounts_of

_logger = logging.getLogger(__name__)

# How often what another process writes at the same moment may come in between.
_TRIES: Final = 3
# Databases bound the variables of a query.
_AT_ONCE: Final = 500


def _no_id(_name: str) -> str | None:
    return None


class Store:
    """A ledger that is written to. To be used by one thread at a time.

    Args:
        database: Where it is.
        group_id: Returns the id of a group by its name, where it is known.
        patience: Seconds to wait for a lock or an answer of the database.
    """

    def __init__(
        self,
        database: Database,
        group_id: Callable[[str], str | None] = _no_id,
        patience: float = 30.0,
    ) -> None:
        self.database = database
        self.numbers = Numbers(group_id)
        self._patience = patience
        self._epoch: str | None = None

    def open(self) -> None:
        """Make or migrate the tables.

        Raises:
            NewerLedger: The ledger is of a newer version.
            sqlalchemy.exc.SQLAlchemyError: The database cannot be reached or written.
        """
        if self.database.is_moved():
            # What is connected still has the file that was there.
            self.database.disconnect()
        try:
            self._make()
        except BaseException:
            self.database.let_go_of_file()
            raise
        self.numbers.forget()
        self.database.remember_file()

    def _make(self) -> None:
        with self.database.writing() as connection:
            if current(connection) not in (None, newest()):
                # Who writes as the version before wants it has to see that it is over.
                facts.begin_epoch(connection)
            migrate(connection)
            facts.write(connection, facts.CREATED, time.time_ns() // 1_000_000, keep=True)
            facts.write(connection, facts.EPOCH, 0, keep=True)

    def write(self, bookings: Sequence[Booking]) -> int:
        """Write calls, each once; return how many were not there before.

        Raises:
            NewerLedger: Nothing was written, as the next one: somebody has brought the ledger to a
                newer version meanwhile.
            sqlalchemy.exc.SQLAlchemyError: The database cannot be reached or written.
        """
        if self.database.is_moved():
            self.open()
        left = list({booking.id: booking for booking in bookings}.values())
        for _ in range(_TRIES - 1):
            try:
                return self._write(left)
            except IntegrityError:
                left = self._unknown(left)
        return self._write(left)

    def _write(self, bookings: Sequence[Booking]) -> int:
        if not bookings:
            return 0
        try:
            with self.database.writing(self._patience) as connection:
                self._check_epoch(connection)
                self._put(connection, bookings)
        except BaseException:
            self.numbers.dropped()
            raise
        self.numbers.kept()
        return len(bookings)

    def _check_epoch(self, connection: Connection) -> None:
        epoch = facts.read(connection, facts.EPOCH, hold=True)
        if epoch != self._epoch:
            refuse_newer(current(connection))
            self.numbers.forget()
            self._epoch = epoch

    def _put(self, connection: Connection, bookings: Sequence[Booking]) -> None:
        sums, rows = Sums(), []
        for booking in bookings:
            seconds = milliseconds_of(booking) // 1000
            standing = self.numbers.standing(connection, booking)
            kind = self.numbers.kind(connection, booking)
            rows.append(row_of(booking, seconds, standing.user_no, standing.no, kind.no))
            if booking.task != REFUSED_TASK:
                amounts = amounts_of(booking)
                sums.add(seconds, standing.no, standing.membership_no, kind.line_no, amounts)
        insert_many(connection, calls, rows)
        sums.write(connection)

    def _unknown(self, bookings: Sequence[Booking]) -> list[Booking]:
        known: set[bytes] = set()
        with self.database.reading() as connection:
            for start in range(0, len(bookings), _AT_ONCE):
                some = [bytes.fromhex(one.id) for one in bookings[start : start + _AT_ONCE]]
                known.update(connection.scalars(select(calls.c.id).where(calls.c.id.in_(some))))
        return [one for one in bookings if bytes.fromhex(one.id) not in known]


def row_of(
    booking: Booking, seconds: int, user_no: int, standing_no: int, kind_no: int
) -> tuple[Any, ...]:
    """Return the columns of :data:`~.schema.calls`, in their order."""
    return (
        booking.cost,
        bytes.fromhex(booking.id),
        _bytes(booking.trace),
        _bytes(booking.parent),
        seconds - EPOCH,
        user_no,
        standing_no,
        kind_no,
        booking.duration,
        booking.first_chunk,
        booking.input,
        booking.output,
        booking.cache_read,
        booking.cache_write,
        booking.reasoning,
        packed_chat(booking.chat),
        None if booking.units is None else json.dumps(booking.units),
    )


def _bytes(digits: str | None) -> bytes | None:
    return None if digits is None else bytes.fromhex(digits)
