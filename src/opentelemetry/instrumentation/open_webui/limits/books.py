"""What one process knows of the limits: who is bound, what was used, and what is in flight.

All in memory and quick. Ends of calls and of tickets may be told from anywhere, also from
finalisers, so they are only put in a queue. Whoever has the lock next books them: who asks next, or
the clerk.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from typing import Final

from .. import ids
from ..calls.call import ModelCall
from ..names import CHAT_TASK
from ..providers import DIRECT
from . import words
from .accounts import ASK, FITS, FULL, Account, Need, Used, Verdict, opened, start_of
from .binding import pools
from .flights import Flight, Held, Kind, Reservation
from .gate import NearlyUsed, Refusal, Ticket, Wanted
from .off import FREE
from .people import Bound, Call, People
from .rules import Limit, Rules, Who
from .sizes import Sizes, used_by
from .windows import Span, Window

# Beyond it all are looked up anew: memory must not follow every user there ever was.
_MOST_ACCOUNTS: Final = 50_000
# Calls that are remembered one by one; so many come up where the ledger is away.
_MOST_UNWRITTEN: Final = 50_000
# What has ended is booked by who asks next. It must not be much.
_MOST_EVENTS: Final = 100
# Seconds after which nobody believes that a call is still in flight.
_LONGEST_CALL: Final = 900.0

Answer = Ticket | Refusal
Amounts = tuple[list[Account], Used]
"""Where something counts, and how much of each measure."""


class Books:
    """Decides by what is known here, and remembers what is going on.

    Args:
        clock: Unix time in seconds.
        monotonic: Seconds that only grow.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self.rules: Rules | None = None
        """``None`` until they are known."""
        self.trusted_until = 0.0
        """Until when others believe that this process lives (monotonic)."""
        self.ageing: set[Account] = set()
        """Accounts that only observe, and are to be looked up when there is time."""
        self.refused: Counter[tuple[str, str, bool]] = Counter()
        """How often each limit has refused, by name and measure, and whether it only observed."""
        self._since: dict[str, int] = {}
        self._began = int(clock())
        self._sizes = Sizes()
        self._events: deque[ModelCall | list[Reservation]] = deque()
        self._known = People(Rules(), 0.0)
        self._renewing = threading.Lock()
        self._spans: dict[Window, Span] = {}
        self._accounts: dict[tuple[str, Who, int], Account] = {}
        self._let_go: Callable[[list[Reservation]], None] = self._events.append
        self._in_flight: dict[Kind, Flight] = {}
        self._unwritten: dict[str, Amounts] = {}
        """What calls have used that are not known to be in the ledger."""

    # The rules

    def take_rules(self, rules: Rules, since: dict[str, int]) -> None:
        """Hold to other rules from now on.

        Args:
            rules: All of them.
            since: When each limit was first seen (Unix time), by id, as far as that is known.
        """
        with self._renewing:
            self._known = People(rules, self._clock())
        with self._lock:
            self.rules, self._since = rules, {**self._since, **since}
            for limit in rules.limits:
                # Shown at 0 before it moves.
                self.refused[limit.name, limit.measure, limit.observe] += 0

    def binds(self, user_id: str, groups: tuple[str, ...]) -> bool:
        """Whether any limit is for a user, whatever they call; also while that is not known."""
        return self.rules is None or bool(self._people().of(user_id, groups))

    def _people(self) -> People:
        known = self._known
        return known if self._clock() < known.good_until else self._renewed(known)

    def _renewed(self, known: People) -> People:
        with self._renewing:
            # Not if somebody else has, or by rules that have changed meanwhile.
            if self._known is known:
                self._known = People(known.rules, self._clock())
            return self._known

    def _bound_to(self, wanted: Wanted) -> tuple[Bound, ...]:
        return self._people().of_call(
            (
                wanted.user_id,
                wanted.groups,
                wanted.model,
                wanted.other_models,
                wanted.source,
                wanted.direct,
            )
        )

    # Accounts

    def _account(self, bound: Bound, at: float) -> Account:
        account = bound.account
        if account is None or not account.begins <= at < account.ends:
            account = bound.account = self._open(bound.limit, bound.who, at)
            account.allow(bound.allowed)
        return account

    def _open(self, limit: Limit, who: Who, at: float) -> Account:
        span = self._spans.get(limit.window)
        if span is None or not _is_in(span, at):
            span = limit.window.span(at)
            self._spans[limit.window] = span
        since = self._since.get(limit.id, self._began)
        key = (limit.id, who, start_of(limit, who, span, since))
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = opened(limit, who, span, at, since)
        return account

    # Deciding

    def admit(self, wanted: Wanted, ticket: Ticket | None) -> Answer | None:
        """Let in or refuse; ``None`` if that cannot be told without asking the database."""
        if self.rules is None:
            return None
        bound = self._bound_to(wanted)
        if not bound:
            return ticket or FREE
        with self._lock:
            self._book_events()
            trusted = self._monotonic() < self.trusted_until
            return self._decide(
                bound, wanted, ticket, Account.look if trusted else _ask_unless_full
            )

    def admit_unchecked(self, wanted: Wanted, ticket: Ticket | None) -> Answer:
        """Let in, or refuse by what is known here: the database cannot be asked."""
        if self.rules is None:
            return ticket or FREE
        with self._lock:
            self._book_events()
            answer = self._decide(self._bound_to(wanted), wanted, ticket, _fits_unless_full)
        assert answer is not None
        return answer

    def accounts_of(self, wanted: Wanted) -> list[Account]:
        """Return what has to be looked up for a decision."""
        with self._lock:
            now = self._clock()
            return [self._account(bound, now) for bound in self._bound_to(wanted)]

    def decide(self, wanted: Wanted, ticket: Ticket | None) -> tuple[Answer, list[Account]]:
        """Let in or refuse by what was just looked up; to be called with :meth:`locked`.

        Returns:
            The answer, and the accounts in which only what other processes hold is in the way.
        """
        blocked: list[Account] = []

        def verdict(account: Account, need: Need) -> Verdict:
            found = account.decide(need)
            if found is FULL and account.is_full_by_others(need):
                blocked.append(account)
            return found

        answer = self._decide(self._bound_to(wanted), wanted, ticket, verdict)
        assert answer is not None
        return answer, blocked if isinstance(answer, Refusal) else []

    def locked(self) -> threading.Lock:
        """Return what is held while several things are to be done at once."""
        return self._lock

    def _decide(
        self,
        bound: Iterable[Bound],
        wanted: Wanted,
        ticket: Ticket | None,
        verdict_of: Callable[[Account, Need], Verdict],
    ) -> Answer | None:
        now, need, asks = self._clock(), self._sizes.need(wanted), False
        accounts: list[Account] = []
        observed: list[tuple[Account, Verdict]] = []
        for one in bound:
            account = self._account(one, now)
            accounts.append(account)
            if account.allowed != one.allowed:
                account.allow(one.allowed)
            verdict = verdict_of(account, need)
            if verdict is FITS:
                continue
            if one.limit.observe:
                observed.append((account, verdict))
            elif verdict is FULL:
                return self._refusal(account, need, now)
            else:
                asks = True
        if asks:
            return None
        for account, verdict in observed:
            self._only_tell(account, verdict)
        _, likely = need
        return self._let_in(wanted, ticket, accounts, likely, now) if accounts else ticket or FREE

    def _only_tell(self, account: Account, verdict: Verdict) -> None:
        if verdict is ASK:
            self.ageing.add(account)
        else:
            self.refused[account.limit.name, account.limit.measure, True] += 1

    def _let_in(
        self,
        wanted: Wanted,
        ticket: Ticket | None,
        accounts: list[Account],
        likely: Used,
        now: float,
    ) -> Held:
        held = ticket if isinstance(ticket, Held) else Held(self._let_go)
        kind = (wanted.user_id, wanted.model, wanted.source)
        flight = self._in_flight.get(kind)
        if flight is None:
            flight = self._in_flight[kind] = Flight()
        flight.last = self._monotonic()
        reservation = Reservation(flight, accounts, likely, flight.last)
        flight.waiting.append(reservation)
        held.reservations.append(reservation)
        warnings: list[NearlyUsed] = []
        for one in accounts:
            one.in_flight += likely[one.measure]
            used = one.base + one.ended
            if used >= one.warns_from and not one.limit.observe:
                told = words.nearly(one.limit, one.who, one.span, used, one.allowed, now)
                warnings.append(told)
        held.warnings = tuple(warnings)
        return held

    def _refusal(self, account: Account, need: Need, now: float) -> Refusal:
        taken = max(account.used, min(account.allowed, account.taken))
        limit, who, span = account.limit, account.who, account.span
        sure, _ = need
        needs = sure[account.measure]
        return words.refusal(limit, who, span, taken, account.allowed, needs, now)

    def count_refusal(self, limit: str, measure: str) -> None:
        """Count a refusal that somebody was told."""
        with self._lock:
            self.refused[limit, measure, False] += 1

    # What ends

    def ended(self, call: ModelCall) -> None:
        """Take it that a call has ended."""
        if self.binds(call.caller.user_id, call.groups):
            self._events.append(call)
            if len(self._events) >= _MOST_EVENTS:
                self._book_if_free()

    def _book_if_free(self) -> None:
        # Never wait: a finaliser may run where this very thread has the lock.
        if self._lock.acquire(blocking=False):
            try:
                self._book_events()
            finally:
                self._lock.release()

    def book_events(self) -> None:
        """Book what has ended meanwhile."""
        with self._lock:
            self._book_events()

    def _book_events(self) -> None:
        events = self._events
        while events:
            event = events.popleft()
            if isinstance(event, ModelCall):
                self._settle(event)
            else:
                for reservation in event:
                    reservation.flight.release(reservation)

    def _settle(self, call: ModelCall) -> None:
        caller, asked = call.caller, call.asked
        picked = caller.model_id or asked.model
        used = used_by(call)
        self._sizes.learn(picked, used)
        is_direct = asked.provider == DIRECT
        at = ids.moment_of(call.id)
        accounts = []
        key: Call = (
            caller.user_id,
            call.groups,
            picked,
            (asked.model,),
            caller.source,
            is_direct,
        )
        for bound in self._people().of_call(key):
            account = self._account(bound, at)
            if at >= account.counts_from:
                account.ended += used[account.measure]
                accounts.append(account)
        if accounts:
            self._unwritten[call.id] = (accounts, used)
            if len(self._unwritten) > _MOST_UNWRITTEN:
                self._written(next(iter(self._unwritten)))
        if caller.task == CHAT_TASK:
            flight = self._in_flight.get((caller.user_id, picked, caller.source))
            if flight is not None:
                flight.call_ended()

    # Upkeep

    def expire(self) -> None:
        """Hold nothing back for what nobody believes is still in flight."""
        with self._lock:
            before = self._monotonic() - _LONGEST_CALL
            over = [kind for kind, flight in self._in_flight.items() if flight.expire(before)]
            for kind in over:
                del self._in_flight[kind]

    def written(self, call_ids: Iterable[str]) -> None:
        """Take it that calls are in the ledger."""
        with self._lock:
            for call_id in call_ids:
                self._written(call_id)

    def _written(self, call_id: str) -> None:
        accounts, used = self._unwritten.pop(call_id, _NOTHING)
        for account in accounts:
            account.written(used[account.measure])

    def unwritten(self, accounts: Collection[Account]) -> list[str]:
        """Return the ids of calls that count in some accounts, and are not known to be written."""
        with self._lock:
            return [
                call_id
                for call_id, (counted_in, _) in self._unwritten.items()
                if any(one in accounts for one in counted_in)
            ]

    def by_key(self, keys: set[str]) -> list[Account]:
        """Return the accounts of some keys."""
        with self._lock:
            return [one for one in self._accounts.values() if one.key in keys]

    def shared(self) -> list[Account]:
        """Return the accounts of pools, as they are now."""
        if self.rules is None:
            return []
        with self._lock:
            now = self._clock()
            return [self._account(Bound(*pool), now) for pool in pools(self.rules, now)]

    def accounts(self) -> list[Account]:
        """Return all that are known."""
        with self._lock:
            self._book_events()
            return list(self._accounts.values())

    def most_used(self, limit: Limit) -> int | None:
        """Return how much was used by who has used most of a limit; ``None`` if nobody is known."""
        now = self._clock()
        return max(
            (
                one.used
                for one in self.accounts()
                if one.limit.id == limit.id and one.is_known and one.ends > now
            ),
            default=None,
        )

    def forget_ended(self) -> list[str]:
        """Forget accounts whose time is over; return their keys."""
        with self._lock:
            now, crowded = self._clock(), len(self._accounts) > _MOST_ACCOUNTS
            over = [
                key
                for key, one in self._accounts.items()
                if one.ends <= now or (crowded and not one.mine)
            ]
            gone = [self._accounts.pop(key) for key in over]
            for one in gone:
                # Whoever still knows it is to open another.
                one.ends = 0.0
            return [one.key for one in gone]


def _unless_full(verdict: Verdict, account: Account, need: Need) -> Verdict:
    """Return a verdict, unless it is known that nothing is left."""
    return FULL if account.look(need) is FULL else verdict


_ask_unless_full: Final = functools.partial(_unless_full, ASK)
_fits_unless_full: Final = functools.partial(_unless_full, FITS)
_NOTHING: Final[Amounts] = ([], ())


def _is_in(span: Span, at: float) -> bool:
    return span.end is not None and span.start <= at < span.end
