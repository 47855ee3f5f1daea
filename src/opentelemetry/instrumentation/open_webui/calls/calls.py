"""The calls of this process: started here, settled when they end, and told to who listens."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Final

from ..guard import report
from .accounting import Accountant
from .asking import UsageFilter
from .call import Asked, Listener, ModelCall
from .caller import Caller
from .live import LiveCall

# Ended calls whose answers are kept unread.
_MOST_UNSETTLED: Final = 256


class Calls:
    """Starts calls and knows which are under way.

    Args:
        accountant: Settles what a call used and cost, before anybody is told.
        listeners: Are told of each call, in this order; what one of them fails at, no other misses.
        patient: Whether none of them needs to know at once what a call used. Then they settle it.
    """

    def __init__(
        self, accountant: Accountant, listeners: Sequence[Listener], *, patient: bool = False
    ) -> None:
        self.accountant = accountant
        self._listeners = tuple(listeners)
        self._patient = patient
        self._under_way: set[LiveCall] = set()
        self._unsettled: set[LiveCall] = set()

    def start(
        self,
        asked: Asked,
        caller: Caller,
        groups: tuple[str, ...] = (),
        *,
        parent: ModelCall | None = None,
        usage_filter: UsageFilter | None = None,
        on_end: Callable[[ModelCall], None] | None = None,
    ) -> LiveCall:
        """Start a call.

        Args:
            asked: What the provider is asked for.
            caller: On whose behalf.
            groups: The groups of the caller.
            parent: The call that makes this one.
            usage_filter: Takes out of the answer what only we asked for.
            on_end: Hears of the ended call when all others have.
        """
        call = ModelCall(asked, caller, groups, None if parent is None else parent.id)
        for listener in self._listeners:
            _tell(listener.started, call)
        waits = self._patient and on_end is None
        live = LiveCall(call, functools.partial(self._end, on_end), usage_filter, waits=waits)
        self._under_way.add(live)
        return live

    def _end(self, on_end: Callable[[ModelCall], None] | None, live: LiveCall) -> None:
        call = live.call
        self._under_way.discard(live)
        if live.unread and len(self._unsettled) < _MOST_UNSETTLED:
            self._unsettled.add(live)
            call.unsettled = functools.partial(self._settle_late, live)
        else:
            self._settle(live)
        for listener in self._listeners:
            _tell(listener.ended, call)
        if on_end is not None:
            on_end(call)

    def _settle_late(self, live: LiveCall) -> None:
        self._unsettled.discard(live)
        live.call.unsettled = None
        self._settle(live)

    def _settle(self, live: LiveCall) -> None:
        if live.unread:
            live.read()
        self.accountant.settle(live.call)

    def end_all(self, error: str) -> None:
        """End what is under way, with what is known of it.

        Args:
            error: ``error.type``.
        """
        for live in list(self._under_way):
            live.end(error)

    def leave_all(self) -> None:
        """Leave what is under way to the process that this one was forked from."""
        for live in self._under_way:
            live.leave()
        self._under_way.clear()
        self._unsettled.clear()


def _tell(listen: Callable[[ModelCall], None], call: ModelCall) -> None:
    try:
        listen(call)
    except Exception:
        report(listen.__qualname__)
