"""What the surfaces share while the instrumentation is on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from .. import bounds, deferred
from ..answers.estimates import Text
from ..calls.accounting import Accountant
from ..calls.asking import UsageFilter
from ..calls.call import Asked, ModelCall
from ..calls.caller import Caller
from ..calls.calls import Calls
from ..calls.endpoints import Endpoint
from ..calls.habits import Habits
from ..calls.live import LiveCall
from ..calls.scene import present
from ..guard import guarded
from ..ledger.ledger import Ledger, Off
from ..limits.off import Off as NoLimits
from ..names import CANCELLED, UNKNOWN_TASK
from ..settings import Settings
from ..telemetry import forking
from ..telemetry.telemetry import Telemetry
from . import compat, ledger_state
from .admission import Admission
from .connections import Connections
from .groups import Groups
from .identity import find_caller
from .presence import Presence

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from ..limits.budget import Budget

_logger = logging.getLogger(__name__)

# Whoever can make up paths must not fill memory and log.
_MOST_WARNED: Final = 100


class Runtime:
    """Settings, memberships, telemetry, the calls under way; off once ``active`` is false."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        groups: Groups,
        connections: Connections,
        accountant: Accountant,
        ledger: Ledger | Off | None = None,
        limits: Budget | NoLimits | None = None,
    ) -> None:
        self.active = True
        self.settings = settings
        self.telemetry = telemetry
        self.groups = groups
        self.connections = connections
        self.accountant = accountant
        self.ledger = ledger or Off()
        if isinstance(self.ledger, Ledger):
            ledger_state.tell(self.ledger, telemetry)
        self.limits = limits or NoLimits()
        if not isinstance(self.limits, NoLimits):
            from .limits_state import tell  # It brings SQLAlchemy.

            tell(self.limits, telemetry)
        books = [one for one in (self.limits, self.ledger) if not isinstance(one, (NoLimits, Off))]
        self.calls = Calls(accountant, [telemetry, *books], patient=not books)
        self.habits = Habits()
        self.presence = Presence()
        self.admission = Admission(
            self.limits, groups, lambda form: accountant.tokens(form), lambda: self.active
        )
        self._warned: set[tuple[str | None, str]] = set()
        forking.follow(self)

    def start_call(
        self,
        asked: Asked,
        caller: Caller,
        *,
        usage_filter: UsageFilter | None = None,
        on_end: Callable[[ModelCall], None] | None = None,
    ) -> LiveCall:
        """Start a call. Its turn lasts at least as long; the process's end ends it, too.

        Args:
            asked: What the provider is asked for.
            caller: On whose behalf.
            usage_filter: Takes out of the answer what only we asked for.
            on_end: Hears of the ended call.
        """
        deferred.do()
        here = present()
        turn = here.turn if here is not None else None
        parent = here.call if here is not None else None

        def ended(call: ModelCall) -> None:
            try:
                if on_end is not None:
                    on_end(call)
            finally:
                if turn is not None:
                    turn.answered(call)
                    turn.release()

        call = self.calls.start(
            asked,
            caller,
            self.groups.of(caller.user_id),
            parent=parent,
            usage_filter=usage_filter,
            on_end=None if on_end is None and turn is None else ended,
        )
        # What it used may be settled a moment after its end, as if at once.
        if parent is not None and not parent.ended:
            parent.delegated = True
        if turn is not None:
            turn.hold()
        return call

    def measure(self, endpoint: Endpoint, payload: Mapping[str, Any]) -> Text | None:
        """Measure what a request gives to read, in case that nobody will say its tokens."""
        return self.accountant.measure(endpoint, payload)

    def permit(self, caller: Caller, asked: Asked) -> Awaitable[None] | None:
        """Raise what tells a refusal, if the limits refuse a call that nobody let in before."""
        return self.admission.permit(caller, asked) if self.admission.asks else None

    def permit_in_thread(self, caller: Caller, asked: Asked) -> None:
        """Do the same where it may block for a moment."""
        self.admission.permit_in_thread(caller, asked)

    def current(self, span: Span) -> AbstractContextManager[None]:
        """Make a span the parent of what happens inside. Not to be held across a ``yield``."""
        return self.telemetry.spans.current(span)

    def passes_length_on(self) -> bool:
        """Whether Open WebUI tells clients the length that a provider gave its answer."""
        return compat.passes_length_on()

    def unknown_caller(self, operation: str, path: str) -> Caller:
        """Return who is behind a call on a path that we do not know, and warn once per route."""
        caller = find_caller(self.settings, task=UNKNOWN_TASK, picked=False)
        self.groups.expect(caller.user_id)
        path = bounds.text(path)
        if len(self._warned) < _MOST_WARNED and (caller.route, path) not in self._warned:
            self._warned.add((caller.route, path))
            _logger.warning(
                "Open WebUI instrumentation: a model was called (%s, %s) on a path that it does not"
                " know, from the route %s. It counts with %s=%s. Please report it.",
                operation,
                path,
                caller.route or "(none)",
                "open_webui.task",
                UNKNOWN_TASK,
            )
        return caller

    def before_fork(self) -> None:
        """Be ready for a fork."""
        self.telemetry.before_fork()

    def begin_anew(self) -> None:
        """Leave to the parent what is the parent's: this process was forked from it."""
        deferred.forget()
        self.calls.leave_all()
        self.groups.forget_loop()
        self.connections.forget_loop()
        self.habits.leave()
        self.presence.forget()
        self.telemetry.begin_anew()

    def finish(self) -> None:
        """End what is under way with what is known, then export all: the process ends."""
        self._end_calls()
        self.limits.close()
        self.ledger.close()
        self.telemetry.finish()

    def close(self) -> None:
        """The same, and leave the exporters to the process, which goes on."""
        self._end_calls()
        self.limits.close()
        self.ledger.close()
        self.telemetry.detach()

    def _end_calls(self) -> None:
        deferred.do()
        self.calls.end_all(CANCELLED)
        self._keep_habits()
        self._leave()

    @guarded
    def _leave(self) -> None:
        self.presence.remove()

    @guarded
    def _keep_habits(self) -> None:
        self.habits.sync()
