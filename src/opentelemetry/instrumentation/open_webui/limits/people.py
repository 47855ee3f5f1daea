"""Who is bound by what, remembered: it takes a while to find, and is asked for every call."""

from __future__ import annotations

from typing import Final

from .accounts import Account
from .binding import binding
from .rules import USER, Limit, Rules, Who

# Beyond it all are looked up anew: memory must not follow every user there ever was.
_MOST_KNOWN: Final = 20_000

Call = tuple[str, tuple[str, ...], str, tuple[str, ...], str, bool]
"""Of a call: who, the names of their groups, the model, other names of it, source, if direct."""


class Bound:
    """A limit that holds for somebody, and the account in which their use of it counts."""

    __slots__ = ("account", "allowed", "limit", "who")

    def __init__(self, limit: Limit, who: Who, allowed: int) -> None:
        self.limit = limit
        self.who = who
        self.allowed = allowed
        self.account: Account | None = None
        """As of late."""


class People:
    """Whom some rules bind, until a grant ends.

    It never changes which rules it is of, so what one thread still finds by old ones is not taken
    for what the new ones say.

    Args:
        rules: All limits and grants.
        now: Unix time.
    """

    def __init__(self, rules: Rules, now: float) -> None:
        self.rules = rules
        self.good_until = rules.next_end(now)
        self._now = now
        self._of: dict[tuple[str, tuple[str, ...]], tuple[Bound, ...]] = {}
        self._of_calls: dict[Call, tuple[Bound, ...]] = {}

    def of(self, user_id: str, groups: tuple[str, ...]) -> tuple[Bound, ...]:
        """Return what holds for a user, whatever they call."""
        known = self._of.get((user_id, groups))
        if known is None:
            if len(self._of) >= _MOST_KNOWN:
                self._of.clear()
            known = self._of[user_id, groups] = self._find(user_id, groups)
        return known

    def of_call(self, call: Call) -> tuple[Bound, ...]:
        """Return what holds for a call."""
        known = self._of_calls.get(call)
        if known is None:
            if len(self._of_calls) >= _MOST_KNOWN:
                self._of_calls.clear()
            user_id, groups, model, others, source, direct = call
            models = (model, *others)
            known = self._of_calls[call] = tuple(
                one
                for one in self.of(user_id, groups)
                if one.limit.is_for(models, source, direct=direct)
            )
        return known

    def _find(self, user_id: str, groups: tuple[str, ...]) -> tuple[Bound, ...]:
        own = Who(USER, user_id)
        return tuple(
            Bound(one.limit, one.subject or own, one.allowed or 0)
            for one in binding(self.rules, user_id, groups, self._now)
        )
