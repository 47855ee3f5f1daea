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
from .people import Bound, Line, People
from .rules import Limit, Rules, Who
from .sizes import Sizes, used_by
from .windows import Span, Turn

# Beyond it all are looked up anew: memory must not follow every user there ever was.
_MOST_ACCOUNTS: Final = 50_000
# Calls that are remembered one by one; so many come up where the ledger is away.
_MOST_UNWRITTEN: Final = 50_000
# What has ended is booked by who asks next. It must not be much.
_MOST_EVENTS: Final = 100
# Seconds after which nobody believes that a call is still in flight.
_LONGEST_CALL: Final = 900.0

Answer = Ticket | Refusal
Amounts = tuple[tuple[Account, ...], Used]
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
        self._turn = Turn((), clock())
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
        now = self._clock()
        with self._lock:
            with self._renewing:
                self._known = People(rules, now)
            self._turn = _turn(rules, now)
            self.rules, self._since = rules, {**self._since, **since}
            for limit in rules.limits:
                # Shown at 0 before it moves.
                self.refused[limit.name, limit.measure, limit.observe] += 0

    def binds(self, user_id: str, groups: tuple[str, ...]) -> bool:
        """Whether any limit is for a user, whatever they call; also while that is not known."""
        return self.rules is None or bool(self._people().of(user_id, groups).bound)

    def _people(self) -> People:
        known = self._known
        return known if self._clock() < known.good_until else self._renewed(known)

    def _renewed(self, known: People) -> People:
        with self._renewing:
            # Not if somebody else has, or by rules that have changed meanwhile.
            if self._known is known:
                self._known = People(known.rules, self._clock())
            return self._known

    # Accounts

    def _accounts_now(self, wanted: Wanted, now: float) -> tuple[Account, ...]:
        turn = self._turn
        if not turn.begins <= now < turn.ends:
            self._turn = _turn(self._known.rules, now)
        person = self._people().of(wanted.user_id, wanted.groups)
        line = person.line((wanted.model, wanted.other_models, wanted.source, wanted.direct))
        return self._accounts_at(line, now)

    def _accounts_at(self, line: Line, at: float) -> tuple[Account, ...]:
        turn = self._turn
        if not turn.begins <= at < turn.ends:
            return tuple(self._open(one, one.limit.window.span(at), at) for one in line.bound)
        if line.turn is not turn:
            spans = turn.spans
            line.opened(
                turn,
                tuple(self._open(one, spans[one.limit.window], at) for one in line.bound),
            )
        return line.accounts

    def _open(self, bound: Bound, span: Span, at: float) -> Account:
        limit, who, allowed = bound
        since = self._since.get(limit.id, self._began)
        key = (limit.id, who, start_of(limit, who, span, since))
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = opened(limit, who, span, at, since)
        account.allow(allowed)
        return account

    # Deciding

    def admit(self, wanted: Wanted, ticket: Ticket | None) -> Answer | None:
        """Let in or refuse; ``None`` if that cannot be told without asking the database."""
        if self.rules is None:
            return None
        if not self._people().of(wanted.user_id, wanted.groups).bound:
            return ticket or FREE
        with self._lock:
            self._book_events()
            trusted = self._monotonic() < self.trusted_until
            return self._decide(wanted, ticket, Account.look if trusted else _ask_unless_full)

    def admit_unchecked(self, wanted: Wanted, ticket: Ticket | None) -> Answer:
        """Let in, or refuse by what is known here: the database cannot be asked."""
        if self.rules is None:
            return ticket or FREE
        with self._lock:
            self._book_events()
            answer = self._decide(wanted, ticket, _fits_unless_full)
        assert answer is not None
        return answer

    def accounts_of(self, wanted: Wanted) -> tuple[Account, ...]:
        """Return what has to be looked up for a decision."""
        with self._lock:
            return self._accounts_now(wanted, self._clock())

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

        answer = self._decide(wanted, ticket, verdict)
        assert answer is not None
        return answer, blocked if isinstance(answer, Refusal) else []

    def locked(self) -> threading.Lock:
        """Return what is held while several things are to be done at once."""
        return self._lock

    def _decide(
        self,
        wanted: Wanted,
        ticket: Ticket | None,
        verdict_of: Callable[[Account, Need], Verdict],
    ) -> Answer | None:
        now, need, asks = self._clock(), self._sizes.need(wanted), False
        accounts = self._accounts_now(wanted, now)
        observed: list[tuple[Account, Verdict]] = []
        for account in accounts:
            verdict = verdict_of(account, need)
            if verdict is FITS:
                continue
            if account.limit.observe:
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
        accounts: tuple[Account, ...],
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
        person = self._people().of(caller.user_id, call.groups)
        line = person.line((picked, (asked.model,), caller.source, asked.provider == DIRECT))
        at = ids.moment_of(call.id)
        accounts = self._accounts_at(line, at)
        if at < line.since:
            accounts = tuple(one for one in accounts if at >= one.start)
        for account in accounts:
            account.ended += used[account.measure]
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
            return [
                self._open(Bound(*pool), pool[0].window.span(now), now)
                for pool in pools(self.rules, now)
            ]

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
            if over:
                # Who still knows one of them is to open another.
                self._turn = _turn(self._known.rules, now)
            return [self._accounts.pop(key).key for key in over]


def _unless_full(verdict: Verdict, account: Account, need: Need) -> Verdict:
    """Return a verdict, unless it is known that nothing is left."""
    return FULL if account.look(need) is FULL else verdict


_ask_unless_full: Final = functools.partial(_unless_full, ASK)
_fits_unless_full: Final = functools.partial(_unless_full, FITS)
_NOTHING: Final[Amounts] = ((), ())


def _turn(rules: Rules, at: float) -> Turn:
    return Turn({limit.window for limit in rules.limits}, at)
