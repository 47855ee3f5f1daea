"""What an ended call used and cost: as reported, else estimated, and priced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..answers.billed import NOTHING
from ..answers.estimates import Estimator, Text, of_request, rough_tokens
from ..answers.usage import Usage
from ..guard import guarded
from ..money.pricing import Bill, Prices, is_own_affair
from ..names import CANCELLED
from .call import ModelCall
from .endpoints import Endpoint


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

    def tokens(self, payload: Mapping[str, Any]) -> int:
        """Return how many tokens a request gives to read, about; 0 if nothing is estimated.

        A tokenizer would take longer than all else that is done for a call.
        """
        return 0 if self._estimator is None else rough_tokens(of_request(payload))

    @guarded
    def settle(self, call: ModelCall) -> None:
        """Set what a call used and cost."""
        # What a pipe tells of the models that it called counts under those.
        if call.delegated:
            return
        total = call.answer.total()
        call.usage = total.usage
        if total.doubtful:
            call.estimated = Usage(output=total.usage.output)
        if self._estimator is not None and _lacks_tokens(call):
            call.estimated = call.estimated.filled(_estimate(self._estimator, call))
            call.usage = call.usage.filled(call.estimated)
        if _is_billable(call):
            call.cost = self.prices.cost(_bill(call))
            call.unpriced = call.cost is None and not is_own_affair(call.asked.provider)


def _lacks_tokens(call: ModelCall) -> bool:
    if not call.asked.endpoint.has_tokens or call.refused:
        return False
    if not _lacks_input(call) and not _lacks_output(call):
        return False
    # Of a call that failed, only what was said before tells that the model had begun. What was
    # given up it had: nobody has it read for nothing by leaving before it says anything.
    return call.error in (None, CANCELLED) or bool(call.usage) or _has_spoken(call)


def _lacks_input(call: ModelCall) -> bool:
    return call.usage.input is None or (call.usage.input == 0 and _is_text(call.asked.prompt()))


def _lacks_output(call: ModelCall) -> bool:
    """Whether nobody said the output; 0 for an answer that has a text is not said either."""
    return call.usage.output is None or (call.usage.output == 0 and _has_spoken(call))


def _has_spoken(call: ModelCall) -> bool:
    return call.asked.endpoint.speaks and _is_text(call.answer.text)


def _is_text(text: Text | None) -> bool:
    return text is not None and bool(text)


def _estimate(estimator: Estimator, call: ModelCall) -> Usage:
    given = call.asked.prompt() if _lacks_input(call) else None
    said = call.answer.text
    speaks = said is not None and call.asked.endpoint.speaks and _lacks_output(call)
    return Usage(
        input=None if given is None else estimator.tokens(given),
        output=estimator.tokens(said) if speaks and said is not None else None,
    )


def _is_billable(call: ModelCall) -> bool:
    return call.error is None or bool(call.usage)


def _bill(call: ModelCall) -> Bill:
    asked, answer = call.asked, call.answer
    billed = answer.billed or NOTHING
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
        charged=call.charged if billed.charged is None else billed.charged,
        tier=answer.tier,
        speed=billed.speed,
        told=billed.units,
    )
