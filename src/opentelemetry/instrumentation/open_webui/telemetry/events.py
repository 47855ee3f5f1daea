"""Usage events: a log record for each call."""

from __future__ import annotations

from opentelemetry._logs import Logger, SeverityNumber

from .. import names
from ..calls.call import ModelCall
from . import handing
from .attributes import Attributes


class Events:
    """Emits events."""

    def go_to(self, logger: Logger) -> None:
        """Emit them by this logger from now on."""
        self._handing = handing.Events(logger)

    def ended(self, call: ModelCall, outcome: Attributes, moment: handing.Moment) -> None:
        """Emit the event of a call."""
        self._handing.emit(
            {
                names.CALL_DURATION: call.duration,
                names.CALL_STATUS: "ok" if call.error is None else "error",
                **call.attributes,
                **outcome,
            },
            timestamp=moment.now,
            context=moment.context,
            severity_number=SeverityNumber.INFO,
            event_name=names.USAGE_EVENT,
        )
