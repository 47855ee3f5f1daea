"""Histograms of calls, turns and tool runs. None of them has users: there are too many."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter

from .. import names
from ..calls.call import ModelCall
from ..calls.work import Ended
from . import client_metrics, folding
from .attributes import Attributes
from .handing import Moment
from .totals import Tags


class Histograms:
    """Records how long things took, and how many tokens.

    Args:
        meter: Makes the instruments.
        latest_names: Whether the client metrics have the names to come.
    """

    def __init__(self, meter: Meter, *, latest_names: bool) -> None:
        bind = client_metrics.coming(meter) if latest_names else client_metrics.todays(meter)
        self._turns = client_metrics.histogram(meter, names.AGENT_DURATION)
        self._tools = client_metrics.histogram(meter, names.TOOL_DURATION)
        self._sets, self._work_sets = folding.Sets(bind), folding.Sets[Attributes](dict)

    def limit_to(self, sets: int) -> None:
        """Take no more sets of attributes than an instrument may have."""
        # Each set is one of two types of tokens.
        self._sets.limit = self._work_sets.limit = max(1, sets // 2)

    def clear(self) -> None:
        """Forget the sets: this process was forked from another."""
        self._sets.clear()
        self._work_sets.clear()

    def ended(self, call: ModelCall, _outcome: Attributes, moment: Moment) -> None:
        """Record a call."""
        record = self._sets.fitting(_tags(call), call.caller.user_id)
        record(call, moment)

    def of_turn(self, attributes: dict[str, str], user_id: str) -> Ended:
        """Return what records how long a turn took."""
        return self._measuring(self._turns, attributes, user_id)

    def of_tool(self, attributes: dict[str, str]) -> Ended:
        """Return what records how long a tool run took."""
        return self._measuring(self._tools, attributes)

    def _measuring(
        self, durations: Histogram, attributes: dict[str, str], user_id: str = ""
    ) -> Ended:
        def ended(seconds: float, error: str | None, context: Context) -> None:
            if error is not None:
                attributes[names.ERROR_TYPE] = error
            fitting = self._work_sets.fitting(tuple(attributes.items()), user_id)
            durations.record(seconds, fitting, context)

        return ended


def _tags(call: ModelCall) -> Tags:
    asked, caller = call.asked, call.caller
    tags: Tags = (
        (names.OPERATION, asked.operation),
        (names.PROVIDER_NAME, asked.provider),
        (names.REQUEST_MODEL, asked.model),
        (names.SOURCE, caller.source),
        (names.TASK, caller.task),
    )
    if asked.address:
        tags = (*tags, (names.SERVER_ADDRESS, asked.address))
        if asked.port:
            tags = (*tags, (names.SERVER_PORT, asked.port))
    if call.answer.model is not None:
        tags = (*tags, (names.RESPONSE_MODEL, call.answer.model))
    return tags if call.error is None else (*tags, (names.ERROR_TYPE, call.error))
