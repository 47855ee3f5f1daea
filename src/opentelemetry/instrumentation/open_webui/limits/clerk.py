"""The thread that asks the ledger's database, so that no call ever waits for it for long."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from concurrent.futures import Future
from typing import Final, Protocol

from opentelemetry.instrumentation.utils import suppress_instrumentation

from .. import ids
from ..guard import guarded, report
from ..ledger.booking import Booking
from ..ledger.database import Database
from ..ledger.ledger import Unavailable
from ..ledger.writer import told
from . import holding, words
from .accounts import Account
from .books import Answer, Books
from .flights import Held
from .gate import Ticket, Wanted
from .rules import Rules

_logger = logging.getLogger(__name__)

DEADLINE: Final = 2.0
"""Seconds that a call waits for an answer."""
# Seconds that the database may take, for a lock or a statement.
_PATIENCE: Final = 1.5
# Seconds between two exchanges at least: what comes meanwhile is asked for at once.
_PAUSE: Final = 0.01
# Seconds between two looks whether others need what is held; the longer one where nobody else is.
_TICK: Final = 0.25
_TICK_ALONE: Final = 1.0
# Seconds until it is asked again, when what others hold is in the way: they hear of it in a tick.
_AGAIN: Final = 0.35
_OPENING: Final = 0.05
_RULES_EVERY: Final = 2.0
_BEAT_EVERY: Final = 5.0
_TIDY_EVERY: Final = 60.0
_POOLS_EVERY: Final = 20.0
# Less than others believe it, by enough for a clock that is late.
_TRUSTED_SECONDS: Final = 12.0
# Ids of calls that wait to be taken account of.
_MOST_WRITTEN: Final = 50_000


class Source(Protocol):
    """Where the rules come from."""

    def refresh(self, database: Callable[[], Database]) -> tuple[Rules, dict[str, int]] | None:
        """Return them, and since when each limit is known, if they have changed.

        Raises:
            Exception: The database cannot be asked.
        """


class Asking:
    """A call that waits for an answer."""

    __slots__ = (
        "again_at", "answer", "began", "deadline", "has_begun", "ticket", "tries", "wanted",
    )  # fmt: skip

    def __init__(self, wanted: Wanted, ticket: Ticket | None) -> None:
        self.wanted = wanted
        self.ticket = ticket
        self.answer: Future[Answer] = Future()
        self.began = time.monotonic()
        self.deadline = self.began + DEADLINE
        self.again_at = 0.0
        self.tries = 0
        self.has_begun = False

    def may_be_asked_again(self, blocked: Sequence[Account]) -> bool:
        """Whether to wait for what other processes tell anew, and until when."""
        self.tries += 1
        self.again_at = time.monotonic() + _AGAIN
        if not blocked or self.again_at + _PATIENCE / 2 > self.deadline:
            return False
        return self.tries == 1 or any(one.is_owed for one in blocked)

    def begins(self) -> bool:
        """Return whether anybody still waits for it."""
        if not self.has_begun:
            self.has_begun = self.answer.set_running_or_notify_cancel()
        return self.has_begun


class Clerk:
    """Asks the database on behalf of calls, and keeps the books up to date.

    Args:
        books: What is known.
        database: Returns the ledger's database, or raises.
        source: Where the rules come from.
        is_closed: Whether calls are refused while the database cannot be asked.
    """

    def __init__(
        self,
        books: Books,
        database: Callable[[], Database],
        source: Source,
        is_closed: bool,
    ) -> None:
        self._books = books
        self._database = database
        self._source = source
        self._is_closed = is_closed
        self.process = ids.new()
        self.unchecked = 0
        """Calls that were let in or refused without knowing what was used."""
        self.problem = ""
        """Why the database cannot be asked; empty if it can."""
        self._queue: queue.SimpleQueue[Asking | None] = queue.SimpleQueue()
        self._later: list[Asking] = []
        self._due: dict[str, float] = {}
        self._written: deque[str] = deque(maxlen=_MOST_WRITTEN)
        self._holds_any = False
        self._has_others = True
        self._next_exchange = 0.0
        self._answered_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage-limits", daemon=True)

    def begin(self) -> None:
        """Start."""
        self._thread.start()

    def ask(self, asking: Asking) -> None:
        """Have a call decided."""
        self._queue.put(asking)

    def written(self, bookings: Iterable[Booking]) -> None:
        """Take it that calls are in the ledger."""
        self._written.extend(one.id for one in bookings)

    def close(self, seconds: float) -> None:
        """Let go of all that is held, and end."""
        self._stop.set()
        self._queue.put(None)
        self._thread.join(seconds)

    def unchecked_answer(self, wanted: Wanted, ticket: Ticket | None) -> Answer:
        """Return what becomes of a call that the database could not be asked for."""
        self.unchecked += 1
        return words.unchecked() if self._is_closed else self._books.admit_unchecked(wanted, ticket)

    # The thread

    def _run(self) -> None:
        with suppress_instrumentation():
            while not self._stop.is_set():
                batch = self._take()
                try:
                    self._turn(batch)
                except Exception:
                    report("the keeping of the limits")
                    self._give_up(batch)
            self._leave()

    def _take(self) -> list[Asking]:
        """Wait for calls to decide, for a moment at most."""
        now = time.monotonic()
        due = [one for one in self._later if one.again_at <= now]
        self._later = [one for one in self._later if one.again_at > now]
        wait = min([self._tick(), *(one.again_at - now for one in self._later)])
        found: list[Asking | None] = []
        try:
            found.append(self._queue.get(timeout=0 if due else wait))
            while True:
                found.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return [*due, *(one for one in found if one is not None)]

    def _tick(self) -> float:
        return _TICK if self._holds_any and self._has_others else _TICK_ALONE

    def _turn(self, batch: Sequence[Asking]) -> None:
        self._refresh_rules()
        asking = [one for one in batch if one.begins()]
        if asking:
            self._serve(asking)
        self._keep_up()

    def _is_due(self, work: str, seconds: float) -> bool:
        now = time.monotonic()
        if self._due.get(work, 0.0) > now:
            return False
        self._due[work] = now + seconds
        return True

    def _refresh_rules(self) -> None:
        if self._books.rules is not None and not self._is_due("rules", _RULES_EVERY):
            return
        try:
            found = self._source.refresh(self._database)
        except Exception as error:
            self._failed(error)
            return
        if found is not None:
            self._books.take_rules(*found)
            self._recovered()

    def _serve(self, batch: Sequence[Asking]) -> None:
        if self._books.rules is None:
            self._wait_for_opening(batch, Unavailable("the limits are being read"))
            return
        answers: dict[Asking, Answer] = {}
        try:
            self._look_up_for(batch, answers)
        except Unavailable as error:
            self._undo(answers)
            self._wait_for_opening(batch, error)
        except Exception as error:
            self._failed(error)
            self._undo(answers)
            self._give_up(batch)
        else:
            self._recovered()
            for asking, answer in answers.items():
                asking.answer.set_result(answer)

    def _look_up_for(self, batch: Sequence[Asking], answers: dict[Asking, Answer]) -> None:
        books = self._books
        accounts = {one for ask in batch for one in books.accounts_of(ask.wanted)}
        blocked: set[str] = set()

        def decide() -> None:
            for asking in batch:
                answer, by_others = books.decide(asking.wanted, asking.ticket)
                if asking.may_be_asked_again(by_others):
                    self._later.append(asking)
                    blocked.update(one.key for one in by_others)
                else:
                    answers[asking] = answer

        self._exchange(accounts, decide, blocked)

    def _exchange(
        self,
        accounts: Set[Account],
        decide: Callable[[], None] | None = None,
        blocked: Collection[str] = (),
        *,
        ahead: bool = True,
    ) -> None:
        """Look accounts up, decide by that, and tell others what is held from now on."""
        books = self._books
        time.sleep(max(0.0, self._next_exchange - time.monotonic()))
        with holding.writing(self._database(), _PATIENCE) as connection:
            clock = holding.take_turns(connection)
            self._book()
            written = holding.found(connection, books.unwritten(accounts))
            looks = holding.look_up(connection, self.process, accounts, time.time(), clock)
            books.written(written)
            self._has_others = self._has_others or any(look.others for look in looks.values())
            with books.locked():
                for account in accounts:
                    account.looked_up(*looks[account.key])
                books.ageing.difference_update(accounts)
                if decide is not None:
                    decide()
                amounts = {
                    account.key: account.to_publish(ahead=ahead, alone=not self._has_others)
                    for account in accounts
                }
                for account in accounts:
                    # Until others know of it, nothing can be let in by it.
                    account.published = 0
            holding.publish(connection, self.process, amounts, clock)
            if blocked:
                holding.recall(connection, self.process, blocked)
        self._holds_any = self._holds_any or any(amounts.values())
        self._has_answered()
        self._next_exchange = self._answered_at + _PAUSE
        with books.locked():
            for account in accounts:
                account.published = amounts[account.key]

    def _has_answered(self) -> None:
        self._answered_at = time.monotonic()
        self._books.trusted_until = self._answered_at + _TRUSTED_SECONDS

    def _book(self) -> None:
        """Book what has ended, and then what is in the ledger.

        Only this thread does the latter, so never between looking up and taking what that has told.
        """
        written = [self._written.popleft() for _ in range(len(self._written))]
        self._books.book_events()
        self._books.written(written)

    # When the database cannot be asked

    def _wait_for_opening(self, batch: Sequence[Asking], error: Unavailable) -> None:
        """Wait for what is there in a moment when the server starts; from then on, wait no more."""
        now = time.monotonic()
        late = [one for one in batch if self.problem or one.deadline <= now + 2 * _OPENING]
        if late:
            self._complain(str(error))
        self._give_up(late)
        for asking in batch:
            if asking not in late:
                asking.again_at = now + _OPENING
                self._later.append(asking)

    def _give_up(self, batch: Sequence[Asking]) -> None:
        for asking in batch:
            if not asking.answer.done():
                asking.answer.set_result(self.unchecked_answer(asking.wanted, asking.ticket))

    def _undo(self, answers: dict[Asking, Answer]) -> None:
        for asking, answer in answers.items():
            if isinstance(answer, Held) and answer is not asking.ticket:
                answer.release()
        answers.clear()

    def late(self, asking: Asking) -> None:
        """Take it that an answer did not come in time.

        If the database has answered others since it was asked, it is slow, but not away.
        """
        if self._answered_at < asking.began:
            self._failed(TimeoutError("its database does not answer in time"))

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, Unavailable):
            self._complain(told(error))

    def _complain(self, problem: str) -> None:
        if not self.problem:
            _logger.error(
                "Usage limits cannot be checked: %s. Until they can, calls are %s (LIMITS_FAIL).",
                problem,
                "refused" if self._is_closed else "let in",
            )
        self.problem = problem

    def _recovered(self) -> None:
        if self.problem:
            _logger.warning("Usage limits are checked again.")
        self.problem = ""

    # Upkeep

    def _keep_up(self) -> None:
        self._book()
        try:
            self._keep_up_with_database()
        except Unavailable:
            pass
        except Exception as error:
            self._failed(error)

    def _keep_up_with_database(self) -> None:
        books = self._books
        if self.problem and books.rules is not None and self._is_due("probe", 1.0):
            self._beat()
            self._recovered()
        if self._holds_any and self._is_due("beat", _BEAT_EVERY):
            self._beat()
        self._hear_recalls()
        if self._is_due("tidy", _TIDY_EVERY):
            self._tidy()
        ageing, books.ageing = books.ageing, set()
        if ageing:
            self._exchange(ageing)
        pools = books.shared() if self._is_due("pools", _POOLS_EVERY) else []
        if pools:
            self._exchange(set(pools), ahead=False)

    def _beat(self) -> None:
        with holding.writing(self._database(), _PATIENCE) as connection:
            self._has_others = holding.beat(connection, self.process)
        self._has_answered()

    def _hear_recalls(self) -> None:
        if not (self._holds_any and self._is_due("recalls", self._tick())):
            return
        with self._database().reading() as connection:
            keys = holding.recalled(connection, self.process)
        if not keys:
            return
        accounts = self._books.by_key(keys)
        if accounts:
            self._exchange(set(accounts), ahead=False)
        forgotten = keys - {one.key for one in accounts}
        if forgotten:
            with holding.writing(self._database(), _PATIENCE) as connection:
                holding.let_go(connection, self.process, forgotten)

    def _tidy(self) -> None:
        self._books.expire()
        over = self._books.forget_ended()
        with holding.writing(self._database(), _PATIENCE) as connection:
            holding.take_turns(connection)
            holding.let_go(connection, self.process, over)
            holding.bury(connection)

    @guarded
    def _leave(self) -> None:
        if self._holds_any:
            with holding.writing(self._database(), _PATIENCE) as connection:
                holding.leave(connection, self.process)
