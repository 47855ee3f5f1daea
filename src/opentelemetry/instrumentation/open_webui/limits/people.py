"""Who is bound by what, remembered: it takes a while to find, and is asked for every call."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from .accounts import Account
from .binding import binding
from .rules import USER, Limit, Rules, Who
from .windows import Turn

# Beyond it all are looked up anew: memory must not follow every user there ever was.
_MOST_KNOWN: Final = 20_000
# As much of what each of them calls.
_MOST_LINES: Final = 50

What = tuple[str, tuple[str, ...], str, bool]
"""What is called: the model, other names of it, the call's source, and whether it is direct."""


class Bound(NamedTuple):
    """A limit that holds for somebody."""

    limit: Limit
    who: Who
    """Whose use of it counts."""
    allowed: int


class Line:
    """What holds for somebody's calls of one kind."""

    __slots__ = ("accounts", "bound", "since", "turn")

    def __init__(self, bound: tuple[Bound, ...]) -> None:
        self.bound = bound
        self.turn: Turn | None = None
        """When these are the accounts; ``None`` if they were never opened."""
        self.accounts: tuple[Account, ...] = ()
        """In which the calls count, one for each limit."""
        self.since = math.inf
        """From when on they count in all of them (Unix time)."""

    def opened(self, turn: Turn, accounts: tuple[Account, ...]) -> None:
        """Take it that in a turn these are the accounts."""
        self.turn, self.accounts = turn, accounts
        self.since = float(max((one.start for one in accounts), default=0))


class Person:
    """What holds for somebody.

    Args:
        groups: The names of the groups that they are in.
        bound: What holds, whatever they call.
    """

    __slots__ = ("_lines", "bound", "groups")

    def __init__(self, groups: tuple[str, ...], bound: tuple[Bound, ...]) -> None:
        self.groups = groups
        self.bound = bound
        self._lines: dict[What, Line] = {}

    def line(self, what: What) -> Line:
        """Return what holds for a call."""
        known = self._lines.get(what)
        if known is None:
            if len(self._lines) >= _MOST_LINES:
                self._lines.clear()
            known = self._lines[what] = Line(self._of(*what))
        return known

    def _of(
        self, model: str, others: tuple[str, ...], source: str, direct: bool
    ) -> tuple[Bound, ...]:
        models = (model, *others)
        return tuple(one for one in self.bound if one.limit.is_for(models, source, direct=direct))


class People:
    """Whom some rules bind, until a grant ends.

    Args:
        rules: All limits and grants.
        now: Unix time.
    """

    def __init__(self, rules: Rules, now: float) -> None:
        self.rules = rules
        self.good_until = rules.next_end(now)
        self._now = now
        self._known: dict[str, Person] = {}

    def of(self, user_id: str, groups: tuple[str, ...]) -> Person:
        """Return what holds for a user who is in some groups now."""
        known = self._known.get(user_id)
        if known is None or known.groups != groups:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[user_id] = Person(groups, self._find(user_id, groups))
        return known

    def _find(self, user_id: str, groups: tuple[str, ...]) -> tuple[Bound, ...]:
        own = Who(USER, user_id)
        return tuple(
            Bound(one.limit, one.subject or own, one.allowed or 0)
            for one in binding(self.rules, user_id, groups, self._now)
        )
