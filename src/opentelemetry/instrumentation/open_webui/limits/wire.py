"""A refusal as an answer: status, headers and body in the format of who asked.

Sources: the error objects and rate limit headers of the API references of OpenAI, Anthropic and
Ollama; ``x-should-retry`` is what the SDKs of the first two obey before anything else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from .gate import NearlyUsed, Refusal

STATUS: Final = 429
CODE: Final = "usage_limit_exceeded"
WARNING: Final = "x-usage-limit-warning"
"""The header of an admitted answer whose limits are nearly used."""
_MOST_WARNED: Final = 8
_ANTHROPIC: Final = ("/api/message", "/api/v1/messages", "/ollama/v1/messages")
_OLLAMA: Final = "/ollama/api/"

Fields = dict[str, Any]
Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent in place of a model's answer."""

    headers: Headers
    body: bytes
    status: int = STATUS


def answer(refusal: Refusal, path: str) -> Answer:
    """Return a refusal as the answer to a request.

    Args:
        refusal: Why nothing is asked of a model.
        path: The path that was requested; it decides on the format.
    """
    body = json.dumps(_wire(path)(refusal), ensure_ascii=False).encode()
    named = {"content-type": "application/json", "content-length": str(len(body))}
    return Answer({**headers(refusal), **named}, body)


def headers(refusal: Refusal) -> Headers:
    """Return what tells programs when to come back, and not to try before."""
    kind = refusal.measure.replace("_", "-")
    left = max(Decimal(0), refusal.allowed - refusal.used)
    return {
        "retry-after": str(refusal.retry_after),
        "x-should-retry": "false",
        f"x-ratelimit-limit-{kind}": _number(refusal.allowed),
        f"x-ratelimit-remaining-{kind}": _number(left),
        f"x-ratelimit-reset-{kind}": f"{refusal.retry_after}s",
    }


def warning(nearly: Sequence[NearlyUsed]) -> str:
    """Return the value of :data:`WARNING`: a limit's name, percent-encoded, and its numbers."""
    return ", ".join(
        f"{quote(one.limit, safe=' ')}; measure={one.measure}; used={_number(one.used)};"
        f" allowed={_number(one.allowed)}"
        for one in nearly[:_MOST_WARNED]
    )


def _wire(path: str) -> Callable[[Refusal], Fields]:
    if path.startswith(_ANTHROPIC):
        return _anthropic
    return _ollama if path.startswith(_OLLAMA) else _openai


def _openai(refusal: Refusal) -> Fields:
    error = {"message": refusal.sentence, "type": "rate_limit_error", "param": None}
    # Open WebUI's own pages show `detail`.
    return {"error": {**error, **_facts(refusal)}, "detail": refusal.sentence}


def _anthropic(refusal: Refusal) -> Fields:
    error = {"type": "rate_limit_error", "message": refusal.sentence}
    return {"type": "error", "error": {**error, **_facts(refusal)}, "detail": refusal.sentence}


def _ollama(refusal: Refusal) -> Fields:
    # A text, as Ollama's clients read it.
    return {"error": refusal.sentence, "detail": refusal.sentence, **_facts(refusal)}


def _facts(refusal: Refusal) -> Fields:
    return {
        "code": CODE,
        "limit": refusal.limit,
        "measure": refusal.measure,
        "used": _as_json(refusal.used),
        "allowed": _as_json(refusal.allowed),
        "resets_at": None if refusal.resets_at is None else round(refusal.resets_at),
    }


def _as_json(amount: Decimal) -> int | float:
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def _number(amount: Decimal) -> str:
    return f"{amount.normalize():f}" if amount else "0"
