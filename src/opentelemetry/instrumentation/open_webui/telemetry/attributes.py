"""The attributes of spans and events: who calls, what is asked for, what became of it."""

from __future__ import annotations

from typing import Any, Final

from .. import names
from ..calls.call import ModelCall
from ..calls.caller import Caller

Attributes = dict[str, Any]

# The last ones are those of its usage.
_TOLD: Final = (
    names.RESPONSE_MODEL,
    names.RESPONSE_ID,
    names.TIME_TO_FIRST_CHUNK,
    names.ERROR_TYPE,
    names.INPUT_TOKENS,
    names.OUTPUT_TOKENS,
    names.CACHE_READ_TOKENS,
    names.CACHE_WRITE_TOKENS,
    names.REASONING_TOKENS,
)
_UNITS: Final = (
    names.USAGE_CHARACTERS,
    names.USAGE_IMAGES,
    names.USAGE_AUDIO_DURATION,
    names.USAGE_PAGES,
)


def of_caller(caller: Caller) -> Attributes:
    """Return who calls, and from where."""
    attributes: Attributes = {
        names.USER_ID: caller.user_id,
        names.USER_ROLES: caller.roles,
        names.SOURCE: caller.source,
        names.AUTH: caller.auth,
        names.MODEL_ID: caller.model_id or "unknown",
    }
    for name, value in (
        (names.USER_NAME, caller.user_name),
        (names.CONVERSATION_ID, caller.chat_id),
        (names.HTTP_ROUTE, caller.route),
    ):
        if value is not None:
            attributes[name] = value
    return attributes


def of_request(call: ModelCall) -> Attributes:
    """Return what is known of a call before it is sent."""
    asked, caller = call.asked, call.caller
    attributes = {
        names.OPERATION: asked.operation,
        names.PROVIDER_NAME: asked.provider,
        names.REQUEST_MODEL: asked.model,
        names.USER_GROUPS: call.groups,
        names.TASK: caller.task,
        names.CALL_ID: call.id,
        **of_caller(caller),
    }
    attributes[names.MODEL_ID] = caller.model_id or asked.model
    for name, value in (
        (names.REQUEST_STREAM, asked.stream),
        (names.SERVER_ADDRESS, asked.address),
        (names.SERVER_PORT, asked.port),
        (names.CALL_PARENT_ID, call.parent_id),
    ):
        if value:
            attributes[name] = value
    return attributes


def of_outcome(call: ModelCall) -> Attributes:
    """Return what is known of a call when it has ended."""
    answer, cost = call.answer, call.cost
    outcome: Attributes = {metric.name: amount for metric, amount in units_of(call)}
    if cost is not None:
        outcome[names.USAGE_COST.name] = cost.usd
        outcome[names.COST_SOURCE] = cost.source
    if answer.finish_reasons:
        outcome[names.FINISH_REASONS] = tuple(answer.finish_reasons)
    if call.estimated:
        outcome[names.USAGE_ESTIMATED] = True
    told = (answer.model, answer.id, call.first_chunk, call.error, *call.usage)
    for name, value in zip(_TOLD, told, strict=True):
        if value is not None:
            outcome[name] = value
    return outcome


def units_of(call: ModelCall) -> list[tuple[names.Metric, float]]:
    """What providers bill where there are no tokens."""
    amounts = (call.characters, call.images, call.answer.seconds, call.answer.pages)
    # Nearly always it is tokens.
    if not any(amounts):
        return []
    return [(unit, amount) for unit, amount in zip(_UNITS, amounts, strict=True) if amount]
