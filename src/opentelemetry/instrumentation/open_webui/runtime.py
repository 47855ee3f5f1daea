"""What the surfaces share while the instrumentation is on."""

from __future__ import annotations

from .call import Asked, ModelCall
from .caller import Caller, scene
from .groups import Groups
from .names import CANCELLED
from .settings import Settings
from .telemetry import Telemetry
from .usage import Wire


class Runtime:
    """Settings, memberships, telemetry, the calls under way; off once ``active`` is false."""

    def __init__(self, settings: Settings, telemetry: Telemetry, groups: Groups) -> None:
        self.active = True
        self.settings = settings
        self.telemetry = telemetry
        self.groups = groups
        self._calls: set[ModelCall] = set()
        self._refusals: set[str] = set()

    def start_call(
        self, wire: Wire, asked: Asked, caller: Caller, groups: tuple[str, ...]
    ) -> ModelCall:
        """Start a call. Its turn lasts at least as long; the process's end ends it, too."""
        here = scene.get()
        turn = here.turn if here is not None else None

        def ended(call: ModelCall) -> None:
            self._calls.discard(call)
            if turn is not None:
                turn.release()

        call = ModelCall(self.telemetry, wire, asked, caller, groups, ended)
        self._calls.add(call)
        if turn is not None:
            turn.hold()
        return call

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
