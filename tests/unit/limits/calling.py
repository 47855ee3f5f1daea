"""Calls of models, as the limits see them."""

from __future__ import annotations

from typing import Any

from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.calls.call import Asked, ModelCall
from opentelemetry.instrumentation.open_webui.calls.caller import Caller
from opentelemetry.instrumentation.open_webui.calls.endpoints import CHAT
from opentelemetry.instrumentation.open_webui.limits.gate import Wanted
from opentelemetry.instrumentation.open_webui.money.pricing import Cost

MODEL = "gpt-std"


def wanted(user: str = "ada", *groups: str, **values: Any) -> Wanted:
    """What a user is about to ask."""
    return Wanted(**{"user_id": user, "groups": groups, "model": MODEL, "source": "api", **values})


def caller_of(asked: Wanted, task: str = "chat") -> Caller:
    """Who asks it."""
    return Caller(
        asked.user_id, "Ada", (), asked.source, "api_key", task, None, "/api", asked.model
    )


def ended(
    asked: Wanted,
    put: int | None = 100,
    out: int | None = 100,
    usd: float | None = None,
    *,
    task: str = "chat",
    provider: str = "openai",
    model: str = "",
) -> ModelCall:
    """A call that has ended, and what it used."""
    call = ModelCall(
        Asked(CHAT, "chat", provider, model or asked.model, True),
        caller_of(asked, task),
        asked.groups,
    )
    call.usage = Usage(input=put, output=out)
    call.cost = None if usd is None else Cost(usd, "price_file")
    call.ended = True
    return call
