"""What is known in this process of what was used of one limit: plain arithmetic.

What other processes see of it is in the ledger's database: what they and we have used (``base``),
and what each of them holds (``others``, and our own ``published``). A process holds what its
calls in flight are going to use, what its ended calls have used that are not in the ledger yet, and
ahead of that a part of what is left: as far as that reaches, it need ask nobody. So all that is
used or held is never more than is allowed, whatever the processes do at the same time.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import Final, NamedTuple

from ..ledger.sums import HOUR_SECONDS
from .rules import MEASURES, NOW, START, USER, Limit, Who
from .windows import Span, stays

SHARED_FROM: Final = 80
"""Percent of a limit from which on several processes hold nothing ahead: each call is asked for."""
# What is held ahead is one of so many parts of what is left until then.
_PARTS: Final = 4


class Verdict(Enum):
    """What one limit says to one call."""

    FITS = "fits"
    FULL = "full"
    ASK = "ask"


# An enumeration takes long to look its members up, and each call meets several limits.
FITS: Final = Verdict.FITS
FULL: Final = Verdict.FULL
ASK: Final = Verdict.ASK

Used = tuple[int, ...]
"""One for each of :data:`~.rules.MEASURES`."""
Need = tuple[Used, Used]
"""What a call is going to use: in any case, and what calls like it have used."""


class Settled(NamedTuple):
    """What the ledger says of some time ago."""

    amount: int
    before: int
    """Unix time, as the next one."""
    good_until: float


class Account:
    """What was used of a limit by whom, in a span of time.

    Args:
        limit: The limit.
        who: Whose use counts.
        start: From when on calls count (Unix time).
        span: The span of time, which may have begun before that.
        ends: When there is another account instead (Unix time).
    """

    __slots__ = (
        "allowed", "base", "ended", "ends", "in_flight", "is_known", "is_owed", "key", "limit",
        "measure", "others", "published", "settled", "span", "start", "warns_from", "who",
    )  # fmt: skip

    def __init__(self, limit: Limit, who: Who, start: int, span: Span, ends: int) -> None:
        self.limit = limit
        self.measure = MEASURES.index(limit.measure)
        """Its place in :data:`~.rules.MEASURES`."""
        self.who = who
        self.start = start
        self.span = span
        self.ends = ends
        self.key = key_of(limit, who, start)
        self.allowed = 0
        """How much may be used, as of late."""
        self.warns_from = 0
        """How much is used when people are to be warned."""
        self.base = 0
        self.others = 0
        self.published = 0
        """What we hold for all others to see, less what of it is in the ledger by now."""
        self.in_flight = 0
        self.ended = 0
        """What our calls have used that are not known to be in the ledger."""
        self.settled: Settled | None = None
        self.is_owed = False
        self.is_known = False
        """Whether what is in the ledger is known."""

    @property
    def mine(self) -> int:
        """What this process has to hold."""
        return self.in_flight + self.ended

    @property
    def taken(self) -> int:
        """What is used or held, by anybody."""
        return self.base + self.others + self.mine

    @property
    def used(self) -> int:
        """What is known to be used."""
        return self.base + self.ended

    def allow(self, amount: int) -> None:
        """Take it that so much may be used from now on."""
        if amount != self.allowed:
            self.allowed = amount
            self.warns_from = self.limit.warns_from(amount)

    def look(self, need: Need) -> Verdict:
        """Decide by what is known here, if that is possible."""
        if not self.is_known:
            return ASK
        if self._is_full(self.base + self.ended, need):
            return FULL
        _, likely = need
        mine = self.in_flight + self.ended
        return FITS if mine + likely[self.measure] <= self.published else ASK

    def looked_up(self, base: int, others: int, owed: bool) -> None:
        """Take what the database says, once it is known which of our calls are in the ledger.

        Args:
            base: What all calls in the ledger have used.
            others: What other processes hold.
            owed: Whether some of them were asked to tell it anew, and have not yet.
        """
        self.base, self.others, self.is_owed, self.is_known = base, others, owed, True

    def decide(self, need: Need) -> Verdict:
        """Decide by what was just looked up."""
        return FULL if self._is_full(self.taken, need) else FITS

    def is_full_by_others(self, need: Need) -> bool:
        """Whether only what other processes hold is in the way, which may be less by now."""
        return self.others > 0 and not self._is_full(self.base + self.mine, need)

    def to_publish(self, *, ahead: bool, alone: bool) -> int:
        """Return what to hold from now on.

        Args:
            ahead: Whether to hold more ahead than is left of that.
            alone: Whether no other process is in the way of which it could be.
        """
        until = self.allowed if alone else self.allowed * SHARED_FROM // 100
        left = until - self.taken
        most = left // _PARTS if ahead else min(left // _PARTS, self.published - self.mine)
        return self.mine + max(0, most)

    def written(self, amount: int) -> None:
        """Take it that what a call of ours has used is in the ledger by now."""
        self.ended -= amount
        self.base += amount
        # Others see both, so it must not be used twice.
        self.published -= amount

    def _is_full(self, taken: int, need: Need) -> bool:
        """Whether a call has no room: nothing is left, or less than it is sure to use.

        What it is likely to use beside that may be more than is left: what begins below the limit
        is finished.
        """
        sure, _ = need
        return taken >= self.allowed or taken + sure[self.measure] > self.allowed


def opened(limit: Limit, who: Who, span: Span, at: float, since: int) -> Account:
    """Return the account of a limit at a moment.

    Args:
        limit: The limit.
        who: Whose use counts.
        span: The span of time around the moment.
        at: The moment (Unix time).
        since: When the limit was first seen.
    """
    _, ends = stays(span, at)
    return Account(limit, who, start_of(limit, who, span, since), span, ends)


def start_of(limit: Limit, who: Who, span: Span, since: int) -> int:
    """Return from when on calls count in a span of time."""
    if limit.counts_from == START:
        return span.start
    first = since if limit.counts_from == NOW else int(limit.counts_from)
    # Of many users, calls are summed by the hour.
    return max(span.start, first if who.kind == USER else first // HOUR_SECONDS * HOUR_SECONDS)


def key_of(limit: Limit, who: Who, start: int) -> str:
    """Return what an account is called in the database."""
    name = hashlib.blake2b(f"{who.kind}:{who.name}".encode(), digest_size=12).hexdigest()
    return f"{limit.id}:{name}:{start}"
