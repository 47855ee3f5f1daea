"""The limits of one process: asked before models are called, and told when calls have ended."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Protocol

from .. import ids
from ..calls.call import ModelCall
from ..calls.caller import Caller
from ..guard import guarded
from ..ledger.booking import Booking
from ..ledger.database import Database
from ..names import LIMIT_EXCEEDED, NO_PROVIDER, REFUSED_TASK
from .books import Answer, Books
from .clerk import DEADLINE, Asking, Clerk
from .gate import Refusal, Ticket, Wanted
from .limits_file import LimitsFile
from .table import Table

_CLOSE_SECONDS: Final = 1.0


class Ledger(Protocol):
    """Where calls are booked."""

    when_written: Callable[[Sequence[Booking]], None]
    """Called with those that have come into its database."""

    def database(self) -> Database:
        """Return its database, or raise :class:`~..ledger.ledger.Unavailable`."""

    def book(self, booking: Booking) -> None:
        """Book what is told of a call."""


class Budget:
    """Holds users and groups to their limits. Nothing here raises into who calls it.

    Args:
        ledger: What was used stands there.
        file: The path of the file with the limits; without one, they are in the ledger.
        is_closed: Whether calls are refused while the ledger cannot be asked.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        file: str = "",
        is_closed: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self.file = file
        self._is_closed = is_closed
        self._clock = clock
        self._starting = threading.Lock()
        self._clear()
        mine = weakref.ref(self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: _forked(mine()))

    def _clear(self) -> None:
        self.books = Books(self._clock)
        self._clerk: Clerk | None = None

    # Beginning and end

    @guarded
    def begin(self) -> None:
        """Start the thread, if it does not run."""
        self._ready()

    def _ready(self) -> Clerk:
        with self._starting:
            if self._clerk is None:
                source = LimitsFile(self.file) if self.file else Table()
                self._clerk = Clerk(self.books, self._ledger.database, source, self._is_closed)
                self._ledger.when_written = self._clerk.written
                self._clerk.begin()
            return self._clerk

    @guarded
    def close(self) -> None:
        """Let go of what this process holds."""
        clerk, self._clerk = self._clerk, None
        if clerk is not None:
            clerk.close(_CLOSE_SECONDS)

    # State

    def database(self) -> Database:
        """Return the ledger's database, or raise :class:`~..ledger.ledger.Unavailable`."""
        return self._ledger.database()

    @property
    def open(self) -> bool:
        """Whether there are no limits at all."""
        rules = self.books.rules
        return rules is not None and not rules.limits

    @property
    def unchecked(self) -> int:
        """Calls that were let in or refused without knowing what was used."""
        return 0 if self._clerk is None else self._clerk.unchecked

    @property
    def problem(self) -> str:
        """Why limits cannot be checked now; empty if they can."""
        return "" if self._clerk is None else self._clerk.problem

    # On the way of calls

    def binds(self, user_id: str, groups: tuple[str, ...]) -> bool:
        """Whether any limit is for a user, whatever they call; also while that is not known."""
        return self.books.binds(user_id, groups)

    async def admit(self, wanted: Wanted, ticket: Ticket | None = None) -> Answer:
        """Let in or refuse; on the event loop, which it never blocks."""
        answer = self.books.admit(wanted, ticket)
        return await self._asked(wanted, ticket) if answer is None else answer

    def admit_in_thread(self, wanted: Wanted, ticket: Ticket | None = None) -> Answer:
        """Do the same where it may block for a moment."""
        answer = self.books.admit(wanted, ticket)
        if answer is not None:
            return answer
        clerk, asking = self._ready(), Asking(wanted, ticket)
        if clerk.problem:
            return clerk.unchecked_answer(wanted, ticket)
        clerk.ask(asking)
        try:
            return asking.answer.result(DEADLINE)
        except concurrent.futures.TimeoutError:
            return _not_in_time(clerk, asking)

    async def _asked(self, wanted: Wanted, ticket: Ticket | None) -> Answer:
        clerk, asking = self._ready(), Asking(wanted, ticket)
        if clerk.problem:
            return clerk.unchecked_answer(wanted, ticket)
        clerk.ask(asking)
        try:
            waiting = asyncio.wrap_future(asking.answer)
            return await asyncio.wait_for(asyncio.shield(waiting), DEADLINE)
        except TimeoutError:
            return _not_in_time(clerk, asking)
        except asyncio.CancelledError:
            _abandon(asking)
            raise

    def started(self, call: ModelCall) -> None:
        """Take nothing: what counts is what a call has used when it ends."""

    def ended(self, call: ModelCall) -> None:
        """Count what a call has used. Who tells it takes care of exceptions."""
        self.books.ended(call)

    @guarded
    def book(
        self, refusal: Refusal, wanted: Wanted, caller: Caller, operation: str = "chat"
    ) -> None:
        """Keep account of a refusal that somebody was told: a row of the ledger, and a metric.

        Args:
            refusal: What they were told.
            wanted: What they had asked for.
            caller: Who they are.
            operation: ``gen_ai.operation.name`` of what they had asked for.
        """
        self.books.count_refusal(refusal.limit, refusal.measure)
        self._ledger.book(_booking(wanted, caller, operation))


def _forked(budget: Budget | None) -> None:
    if budget is not None:
        budget._starting = threading.Lock()
        budget._clear()


def _not_in_time(clerk: Clerk, asking: Asking) -> Answer:
    _abandon(asking)
    clerk.late(asking)
    return clerk.unchecked_answer(asking.wanted, asking.ticket)


def _abandon(asking: Asking) -> None:
    """Have what is answered too late let go."""
    if not asking.answer.cancel():
        asking.answer.add_done_callback(lambda answer: _let_go(answer, asking.ticket))


def _let_go(answer: Future[Answer], ticket: Ticket | None) -> None:
    late = answer.result()
    if not isinstance(late, Refusal) and late is not ticket:
        late.release()


def _booking(wanted: Wanted, caller: Caller, operation: str) -> Booking:
    return Booking(
        id=ids.new(),
        parent=None,
        user_id=caller.user_id,
        user_name=caller.user_name,
        groups=wanted.groups,
        source=caller.source,
        auth=caller.auth,
        route=caller.route,
        task=REFUSED_TASK,
        operation=operation,
        provider=NO_PROVIDER,
        model=wanted.model,
        picked=caller.model_id or wanted.model,
        chat=caller.chat_id,
        duration=0,
        first_chunk=None,
        input=None,
        output=None,
        cache_read=None,
        cache_write=None,
        reasoning=None,
        estimated=0,
        units=None,
        cost=None,
        price_source=None,
        unpriced=False,
        error=LIMIT_EXCEEDED,
        trace=None,
    )
