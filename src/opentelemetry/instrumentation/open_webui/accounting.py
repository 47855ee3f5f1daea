"""What an ended call used and cost: as reported, else estimated, and priced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .endpoints import Endpoint
from .estimates import Estimator, Text, of_request
from .guard import guarded
from .pricing import Bill, Prices
from .usage import Usage

if TYPE_CHECKING:
    from .call import ModelCall


class Accountant:
    """Settles calls.

    Args:
        prices: What is known of prices.
        estimator: Estimates tokens that nobody reported; ``None`` to leave them unknown.
    """

    def __init__(self, prices: Prices, estimator: Estimator | None) -> None:
        self.prices = prices
        self._estimator = estimator

    def measure(self, endpoint: Endpoint, payload: Mapping[str, Any]) -> Text | None:
        """Measure what a request gives to read, in case that nobody will say its tokens."""
        wanted = self._estimator is not None and endpoint.has_tokens
        return of_request(payload) if wanted else None

    @guarded
    def settle(self, call: ModelCall) -> None:
        """Set what a call used and cost."""
        # What a pipe tells of the models that it called counts under those.
        if call.delegated:
            return
        call.usage = call.answer.reports.total()
        if self._estimator is not None and _lacks_tokens(call):
            call.estimated = _estimate(self._estimator, call)
            call.usage = call.usage.updated(call.estimated)
        if _is_billable(call):
            call.cost = self.prices.cost(_bill(call))
            call.unpriced = call.cost is None


def _lacks_tokens(call: ModelCall) -> bool:
    if not call.asked.endpoint.has_tokens or call.refused:
        return False
    if call.usage.input is not None and call.usage.output is not None:
        return False
    # Of a call that failed, only what was said before tells that the model had begun.
    return call.error is None or bool(call.usage) or _has_spoken(call)


def _has_spoken(call: ModelCall) -> bool:
    return call.answer.text is not None and call.answer.text.size > 0


def _estimate(estimator: Estimator, call: ModelCall) -> Usage:
    given, said = call.asked.prompt, call.answer.text
    return Usage(
        input=None if given is None or call.usage.input is not None else estimator.tokens(given),
        output=estimator.tokens(said)
        if said is not None and call.asked.endpoint.speaks and call.usage.output is None
        else None,
    )


def _is_billable(call: ModelCall) -> bool:
    return call.error is None or bool(call.usage)


def _bill(call: ModelCall) -> Bill:
    asked, answer = call.asked, call.answer
    return Bill(
        model=asked.model,
        picked=call.caller.model_id,
        answered=answer.model,
        provider=asked.provider,
        url=asked.url,
        usage=call.usage,
        images=call.images,
        seconds=answer.seconds,
        characters=call.characters,
        pages=answer.pages,
        charged=call.charged if answer.charged is None else answer.charged,
        tier=answer.tier,
    )
