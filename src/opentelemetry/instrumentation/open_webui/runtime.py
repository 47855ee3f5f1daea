"""What the surfaces share while the instrumentation is on."""

from __future__ import annotations

import logging

from .accounting import Accountant
from .call import Asked, ModelCall
from .caller import Caller, find_caller, scene
from .connections import Connections
from .groups import Groups
from .names import CANCELLED, UNKNOWN_TASK
from .settings import Settings
from .telemetry import Telemetry

_logger = logging.getLogger(__name__)


class Runtime:
    """Settings, memberships, telemetry, the calls under way; off once ``active`` is false."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        groups: Groups,
        connections: Connections,
        accountant: Accountant,
    ) -> None:
        self.active = True
        self.settings = settings
        self.telemetry = telemetry
        self.groups = groups
        self.connections = connections
        self.accountant = accountant
        self._calls: set[ModelCall] = set()
        self._refusals: set[str] = set()
        self._warned: set[tuple[str | None, str]] = set()

    def start_call(self, asked: Asked, caller: Caller, *, hides_usage: bool = False) -> ModelCall:
        """Start a call. Its turn lasts at least as long; the process's end ends it, too."""
        here = scene.get()
        turn = here.turn if here is not None else None
        parent = here.call if here is not None else None

        def ended(call: ModelCall) -> None:
            self._calls.discard(call)
            if turn is not None:
                turn.release()

        call = ModelCall(
            self.telemetry,
            asked,
            caller,
            self.groups.of(caller.user_id),
            ended,
            accountant=self.accountant,
            parent=parent,
            hides_usage=hides_usage,
        )
        self._calls.add(call)
        if parent is not None:
            parent.delegated = True
        if turn is not None:
            turn.hold()
        return call

    def unknown_caller(self, operation: str, path: str) -> Caller:
        """Return who is behind a call on a path that we do not know, and warn once per route."""
        caller = find_caller(self.settings, task=UNKNOWN_TASK, picked=False)
        self.groups.expect(caller.user_id)
        if (caller.route, path) not in self._warned:
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

    def may_ask_usage(self, connection: str) -> bool:
        """Whether to ask the connection for the usage of a stream."""
        return self.settings.ask_usage and connection not in self._refusals

    def refused_usage(self, connection: str) -> None:
        """Remember that the connection does not know the option."""
        self._refusals.add(connection)

    def finish(self) -> None:
        """End what is under way with what is known, then export all. May block for seconds."""
        for call in list(self._calls):
            call.end(CANCELLED)
        self.telemetry.flush()
