"""The attributes of spans and events: who calls, what is asked for, what became of it."""

from __future__ import annotations

from typing import Any

from .. import names
from ..calls.call import ModelCall
from ..calls.caller import Caller

Attributes = dict[str, Any]


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
    answer, usage, cost = call.answer, call.usage, call.cost
    outcome: Attributes = {metric.name: amount for metric, amount in units_of(call)}
    if cost is not None:
        outcome[names.USAGE_COST.name] = cost.usd
        outcome[names.COST_SOURCE] = cost.source
    if answer.finish_reasons:
        outcome[names.FINISH_REASONS] = tuple(answer.finish_reasons)
    if call.estimated:
        outcome[names.USAGE_ESTIMATED] = True
    for name, value in (
        (names.RESPONSE_MODEL, answer.model),
        (names.RESPONSE_ID, answer.id),
        (names.TIME_TO_FIRST_CHUNK, call.first_chunk),
        (names.INPUT_TOKENS, usage.input),
        (names.OUTPUT_TOKENS, usage.output),
        (names.CACHE_READ_TOKENS, usage.cache_read),
        (names.CACHE_WRITE_TOKENS, usage.cache_creation),
        (names.REASONING_TOKENS, usage.reasoning),
        (names.ERROR_TYPE, call.error),
    ):
        if value is not None:
            outcome[name] = value
    return outcome


def units_of(call: ModelCall) -> list[tuple[names.Metric, float]]:
    """What providers bill where there are no tokens."""
    amounts = (
        (names.USAGE_CHARACTERS, call.characters),
        (names.USAGE_IMAGES, call.images),
        (names.USAGE_AUDIO_DURATION, call.answer.seconds),
        (names.USAGE_PAGES, call.answer.pages),
    )
    return [(metric, amount) for metric, amount in amounts if amount]
