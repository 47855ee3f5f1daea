"""The ledger of one process: calls are put in a queue, and threads of its own write them."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from ..guard import guarded, report
from .booking import Booking, of_call
from .spool import Spool

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..calls.call import ModelCall
    from .database import Database
    from .place import Place
    from .store import Store
    from .writer import Job, Writer

_logger = logging.getLogger(__name__)

INTERVAL: Final = 0.1
"""Seconds between two looks at the queue: what ended since is what a kill loses."""
_MOST_HELD: Final = 100_000
# Seconds that the database may take for one batch.
_PATIENCE: Final = 5.0


class Unavailable(Exception):
    """The ledger is off, or cannot be read now; the text says why."""


class Off:
    """What is there instead where there is no ledger."""

    is_on = False

    def begin(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Say that there is none."""
        raise Unavailable("the ledger is off")
        yield


class Ledger:
    """Books calls. Nothing here raises into who calls it, or waits for the database.

    Args:
        find: Returns where the ledger is. Called by a thread of the ledger's, once Open WebUI runs.
        group_id: Returns the id of a group by its name, where it is known.
        jobs: Done beside the writing.
        seconds: How long :meth:`close` may take.
    """

    is_on = True

    def __init__(
        self,
        find: Callable[[], Place],
        group_id: Callable[[str], str | None],
        jobs: Sequence[Job] = (),
        seconds: float = 2.0,
    ) -> None:
        self._find = find
        self._group_id = group_id
        self._jobs = tuple(jobs)
        self._seconds = seconds
        self.when_written: Callable[[Sequence[Booking]], None] = lambda _bookings: None
        """Called with calls that have come into the database, by the thread that writes."""
        self.lost = 0
        """Calls that found no room anywhere."""
        self.spooled = 0
        """Calls that were put in a file because the database was away or slow."""
        self._lock = threading.Lock()
        self._before = (0, 0)
        self._clear()
        mine = weakref.ref(self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: _forked(mine()))

    def _clear(self) -> None:
        self._queue: deque[Booking] = deque()
        self._held: deque[Booking] = deque()
        self._place: Place | None = None
        self._spool: Spool | None = None
        self._writer: Writer | None = None
        self._keeper: threading.Thread | None = None
        self._starter: threading.Thread | None = None
        self._stop = threading.Event()
        self._behind_since: float | None = None

    # On the way of calls

    def started(self, call: ModelCall) -> None:
        """Take nothing: only calls that have ended are booked."""

    @guarded
    def ended(self, call: ModelCall) -> None:
        """Book a call that has ended."""
        self.book(of_call(call))

    @guarded
    def book(self, booking: Booking) -> None:
        """Book what is told of a call."""
        if len(self._queue) < _MOST_HELD:
            self._queue.append(booking)
        else:
            # The thread that empties it waits for a disk, as it may for one of the network.
            self._lose(1, "it does not answer")
        if self._keeper is None:
            self.begin()

    # State

    @property
    def where(self) -> str:
        """The database, without its password; empty until it was opened."""
        store = self._store()
        return "" if store is None else store.database.name

    @property
    def written(self) -> int:
        """Calls that this process has written to the database."""
        return self._before[0] + (0 if self._writer is None else self._writer.written)

    @property
    def queued(self) -> int:
        """Calls in memory that are not written yet."""
        in_hand = 0 if self._writer is None else self._writer.in_hand
        return len(self._queue) + len(self._held) + in_hand

    @property
    def refused(self) -> int:
        """Calls that the database does not take, which are lost as well."""
        return self._before[1] + (0 if self._writer is None else self._writer.refused)

    @property
    def spool_files(self) -> int:
        """Files of calls that wait, of all processes that share the folder."""
        return 0 if self._spool is None else len(self._spool.waiting())

    @property
    def behind_seconds(self) -> float:
        """How long the oldest call that is not in the database has waited; 0 if there is none."""
        since = self._behind_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def problem(self) -> str:
        """Why nothing can be written now; empty if it can."""
        return "" if self._writer is None else self._writer.problem

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Return a connection for :mod:`.reading`. Blocks: not for the event loop.

        Raises:
            Unavailable: The database has not been opened yet, or is away.
        """
        database = self.database()
        with suppress_instrumentation(), database.reading() as connection:
            yield connection

    def database(self) -> Database:
        """Return the database, whose tables are there.

        Raises:
            Unavailable: It has not been opened yet, or is away.
        """
        store = self._store()
        if store is None:
            raise Unavailable(self.problem or "the ledger is being opened")
        return store.database

    def _store(self) -> Store | None:
        return None if self._writer is None else self._writer.store

    # Beginning and end

    @guarded
    def begin(self) -> None:
        """Start the threads, if they do not run."""
        with self._lock:
            if self._keeper is None:
                self._before, self._writer = (self.written, self.refused), None
                self._stop = threading.Event()
                self._keeper = threading.Thread(target=self._keep, name="usage-ledger", daemon=True)
                self._keeper.start()
                atexit.register(self.close)

    @guarded
    def close(self) -> None:
        """Write all that is booked, or put it in a file if the time does not suffice."""
        with self._lock:
            keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        atexit.unregister(self.close)
        self._stop.set()
        keeper.join(self._seconds)
        if self._starter is not None:
            self._starter.join(self._seconds)
        self._settle(self._writer)
        if self._spool is not None:
            self._spool.let_go()
        if self._held:
            _logger.error("The usage ledger loses %s calls: the process ends.", len(self._held))
        self._starter = None

    def _settle(self, writer: Writer | None) -> None:
        if writer is None:
            self._put_by(self._drained())
            return
        deadline = time.monotonic() + self._seconds
        last = self._drained()
        if not writer.take(last, self._seconds):
            self._put_by(last)
        writer.finish(max(0.1, deadline - time.monotonic()))
        self._put_by([*writer.late(), *self._drained()])

    # The thread that keeps

    def _keep(self) -> None:
        while not self._stop.is_set():
            try:
                if self._starter is None:
                    self._open()
                self._turn()
            except Exception:
                report("the keeping of the usage ledger")
            self._stop.wait(INTERVAL)

    def _open(self) -> None:
        self._starter = threading.Thread(
            target=self._start_writer,
            args=(self._own_spool(),),
            name="usage-ledger-start",
            daemon=True,
        )
        self._starter.start()

    @guarded
    def _start_writer(self, spool: Spool) -> None:
        # It brings SQLAlchemy and Alembic, which may take a moment; calls wait in the spool.
        from .writer import Writer

        self._writer = Writer(
            self._opened,
            spool,
            self._held.extend,
            lambda bookings: self.when_written(bookings),
            _quiet,
            self._jobs,
        )

    def _opened(self) -> Store:
        from .store import Store

        assert self._place is not None
        store = Store(self._place.database(), self._group_id, _PATIENCE)
        store.open()
        return store

    def _turn(self) -> None:
        """Hand over what has come to the writer, or keep it in a file if that has to wait."""
        writer, waiting = self._writer, self._drained()
        if writer is None:
            self._put_by(waiting)
        elif waiting and not writer.take(waiting):
            self._put_by([*writer.late(), *waiting])
        elif not waiting and writer.in_hand:
            self._put_by(writer.late())
        self._tell_age()

    def _drained(self) -> list[Booking]:
        held, queue = self._held, self._queue
        return [
            *(held.popleft() for _ in range(len(held))),
            *(queue.popleft() for _ in range(len(queue))),
        ]

    def _put_by(self, bookings: list[Booking]) -> None:
        """Keep calls in a file; in memory if there is no room for it, as far as that goes."""
        if not bookings:
            return
        try:
            self._own_spool().append(bookings)
            self.spooled += len(bookings)
        except Exception as error:
            self._hold(bookings, error)

    def _own_spool(self) -> Spool:
        if self._spool is None:
            self._place = self._find()
            self._spool = Spool(self._place.spool, self._place.name)
        return self._spool

    def _hold(self, bookings: Sequence[Booking], error: Exception) -> None:
        room = max(0, _MOST_HELD - len(self._held))
        self._held.extend(islice(bookings, room))
        if len(bookings) > room:
            self._lose(len(bookings) - room, getattr(error, "strerror", None) or error)

    def _lose(self, count: int, why: object) -> None:
        if not self.lost:
            _logger.error(
                "The usage ledger loses calls: its database is away, there is no room in %s (%s),"
                " and %s calls are in memory. Make room, or bring the database back.",
                None if self._spool is None else self._spool.folder,
                why,
                f"{_MOST_HELD:,}",
            )
        self.lost += count

    def _tell_age(self) -> None:
        in_hand = self._writer is not None and self._writer.in_hand
        waits = self._held or self.problem or in_hand or self._spool_is_used()
        if not waits:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = time.monotonic()

    def _spool_is_used(self) -> bool:
        return self._spool is not None and self._spool.is_used

    # Forks

    def _after_fork(self) -> None:
        """Begin anew: threads, connections and what is queued are the parent's."""
        store, spool = self._store(), self._spool
        self._lock = threading.Lock()
        self._clear()
        self._before = (0, 0)
        self.lost = self.spooled = 0
        if store is not None:
            store.database.disconnect(close=False)
        if spool is not None:
            spool.leave()


def _forked(ledger: Ledger | None) -> None:
    if ledger is not None:
        ledger._after_fork()


def _quiet() -> AbstractContextManager[Any]:
    return suppress_instrumentation()
