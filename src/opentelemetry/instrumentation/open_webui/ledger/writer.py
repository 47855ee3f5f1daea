"""The thread that talks to the database, so that nobody else ever waits for it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from ..guard import report
from ..settings import PREFIX
from .booking import Booking
from .database import DatabaseError
from .migrating import NewerLedger
from .spool import Spool
from .store import Store

_logger = logging.getLogger(__name__)

_SETTING: Final = PREFIX + "LEDGER"
# Rows of one transaction.
_MOST_ROWS: Final = 500
# Seconds between two tries to reach a database that is away, and between two jobs.
_PAUSE: Final = 1.0
# Seconds until a job that failed is tried again.
_AFTER_FAILURE: Final = 600.0
# Seconds between two looks for files of processes that have died.
_LOOK: Final = 30.0
# What is wrong with the rows, and not with the database.
_REFUSALS: Final = (DataError, IntegrityError, ValueError, TypeError, OverflowError)

Job = Callable[[Store], float | None]
"""Work beside the writing, done in parts of milliseconds.

Returns the seconds until its next part is due; ``None`` if there is none.
"""


class Writer:
    """Writes what it is given, and what waits in the spool; tries again what fails.

    Args:
        open_store: Returns the ledger's store, opened; may take long, and may raise.
        spool: Where what cannot be written waits.
        give_back: Takes calls that could not be written, and may have been in part.
        when_written: Called with calls that are in the database by now; must not raise.
        quiet: Makes a context in which nothing of the work is traced.
        jobs: Done while there is nothing to write.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        spool: Spool,
        give_back: Callable[[Sequence[Booking]], None],
        when_written: Callable[[Sequence[Booking]], None],
        quiet: Callable[[], AbstractContextManager[object]],
        jobs: Sequence[Job] = (),
    ) -> None:
        self._open_store = open_store
        self._spool = spool
        self._give_back = give_back
        self._when_written = when_written
        self._quiet = quiet
        self._jobs = [(0.0, job) for job in jobs]
        self.store: Store | None = None
        self.written = 0
        self.refused = 0
        """Calls that the database does not take, whenever they are given."""
        self.problem = ""
        """Why nothing could be written last; empty if it could."""
        self._is_blocked = False
        self._is_in_doubt = False
        self._is_writing = False
        self._change = threading.Condition()
        self._batch: list[Booking] = []
        self._is_kept = False
        self._busy = True
        self._parts: Iterator[list[Booking]] | None = None
        self._has_spool = True
        self._looked = 0.0
        self._until: float | None = None
        self._thread = threading.Thread(target=self._run, name="usage-ledger-writer", daemon=True)
        self._thread.start()

    # Called by others

    def take(self, bookings: list[Booking], seconds: float = 0.0) -> bool:
        """Take calls to write, unless that has to wait; return whether they were taken."""
        with self._change:
            if self._busy and seconds:
                self._change.wait_for(lambda: not self._busy, seconds)
            if self._busy or self._is_blocked or self.store is None:
                return False
            self._batch, self._is_kept, self._busy = bookings, False, True
            self._change.notify_all()
            return True

    def late(self) -> list[Booking]:
        """Return what was taken and is not written yet, once: to be kept elsewhere, too."""
        with self._change:
            late = [] if self._is_kept else self._batch
            self._is_kept = True
            return late

    @property
    def in_hand(self) -> int:
        """How many calls are being written."""
        return len(self._batch)

    def finish(self, seconds: float) -> None:
        """Write what there is, in the time that is given, and end."""
        with self._change:
            self._until = time.monotonic() + seconds
            self._change.notify_all()
        self._thread.join(seconds)

    # The thread

    def _run(self) -> None:
        with self._quiet():
            self._try(self._open)
            while self._await():
                self._try(self._write_batch if self._batch else self._catch_up)

    def _await(self) -> bool:
        """Wait for something to do; return whether to go on."""
        with self._change:
            self._busy = False
            self._change.notify_all()
            if self._until is not None:
                idle = self._is_blocked or not (self._has_spool or self._spool.is_used)
                if idle or time.monotonic() >= self._until:
                    return bool(self._batch)
            elif not self._batch:
                self._change.wait(self._pause())
            self._busy = True
            return True

    def _pause(self) -> float:
        if self._is_blocked:
            return _PAUSE
        due = min((moment for moment, _ in self._jobs), default=math.inf) - time.monotonic()
        return 0.0 if self._has_spool else min(_PAUSE, max(0.0, due))

    def _open(self) -> None:
        self._is_writing = False
        if self.store is None:
            self.store = self._open_store()
        else:
            self.store.open()
        self._has_spool, self._is_blocked = True, False
        # What can be opened need not be writable: the disk may be full.
        if not self._is_in_doubt:
            self._recover()

    def _recover(self) -> None:
        if self.problem:
            _logger.warning("The usage ledger is written again.")
        self._is_in_doubt, self.problem = False, ""

    def _write_batch(self) -> None:
        try:
            self._write(self._batch)
        except Exception:
            self._give_back(self.late())
            raise
        finally:
            self._batch = []

    def _write(self, bookings: Sequence[Booking]) -> None:
        self._is_writing = True
        for start in range(0, len(bookings), _MOST_ROWS):
            self._write_some(bookings[start : start + _MOST_ROWS])
        self._is_writing = False

    def _write_some(self, bookings: Sequence[Booking]) -> None:
        assert self.store is not None
        try:
            self.written += self.store.write(bookings)
            self._when_written(bookings)
            self._recover()
        except _REFUSALS:
            if len(bookings) == 1:
                self.refused += 1
                report("the writing of a call to the usage ledger")
                return
            for booking in bookings:
                self._write_some([booking])

    def _catch_up(self) -> None:
        """Write some of what waits in files, or do some of the other work."""
        if self._is_blocked or self.store is None:
            self._open()
        now = time.monotonic()
        if self._spool.is_used or now - self._looked > _LOOK:
            self._has_spool, self._looked = True, now
        if self._has_spool:
            self._write_spool()
        elif self._until is None and self.store is not None:
            self._do_jobs(self.store, now)

    def _write_spool(self) -> None:
        if self._parts is None:
            self._parts = self._spool.parts(_MOST_ROWS)
            # What the first part does not bring, there is nowhere.
            self._has_spool = False
        part = next(self._parts, None)
        if part is None:
            self._parts = None
        else:
            self._has_spool = True
            self._write(part)

    def _do_jobs(self, store: Store, now: float) -> None:
        due = [(moment, job) for moment, job in self._jobs if moment <= now]
        for moment, job in due:
            self._jobs.remove((moment, job))
            again = self._done(job, store)
            if again is not None:
                self._jobs.append((time.monotonic() + again, job))

    def _done(self, job: Job, store: Store) -> float | None:
        try:
            return job(store)
        except Exception:
            report("the work beside the usage ledger")
            return _AFTER_FAILURE

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._parts = None
            self._failed(told(error))

    def _failed(self, problem: str) -> None:
        if problem != self.problem:
            _logger.error(
                "The usage ledger (%s) cannot be written: %s. Open WebUI is not affected; calls"
                " wait in %s until it can be. %s says where it is.",
                self._spool.ledger,
                problem,
                self._spool.folder,
                _SETTING,
            )
        with self._change:
            self.problem, self._is_blocked = problem, True
            self._is_in_doubt = self._is_writing


def told(error: Exception) -> str:
    """Return what is wrong with a database, in one line, without what was to be written."""
    if isinstance(error, (DatabaseError, NewerLedger)):
        return str(error)
    if isinstance(error, DBAPIError) and error.orig is not None:
        return _first_line(error.orig)
    if isinstance(error, SQLAlchemyError):
        return type(error).__name__
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
