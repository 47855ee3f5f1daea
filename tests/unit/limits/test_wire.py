"""Refusals as answers, in the format of who asked."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from opentelemetry.instrumentation.open_webui.limits import wire
from opentelemetry.instrumentation.open_webui.limits.gate import NearlyUsed, Refusal

SENTENCE = "You have used your 100,000 tokens for today. They are back at 00:00 (Europe/Berlin)."
REFUSAL = Refusal(
    "Tokens of students", "input_tokens", Decimal(100_120), Decimal(100_000), 1e9, 3600, SENTENCE
)
COST = replace(REFUSAL, measure="cost", used=Decimal("4.25"), allowed=Decimal("5"), resets_at=None)
FACTS = {
    "code": "usage_limit_exceeded",
    "limit": "Tokens of students",
    "measure": "input_tokens",
    "used": 100_120,
    "allowed": 100_000,
    "resets_at": 1_000_000_000,
}


def body(refusal: Refusal, path: str) -> dict:
    answer = wire.answer(refusal, path)
    assert answer.status == 429
    assert answer.headers["content-length"] == str(len(answer.body))
    return json.loads(answer.body)


@pytest.mark.parametrize(
    "path",
    ["/api/chat/completions", "/openai/responses", "/ollama/v1/chat/completions", "/api/v1/files/"],
)
def test_openai(path: str) -> None:
    error = {"message": SENTENCE, "type": "rate_limit_error", "param": None, **FACTS}
    assert body(REFUSAL, path) == {"error": error, "detail": SENTENCE}


@pytest.mark.parametrize("path", ["/api/message", "/api/v1/messages", "/ollama/v1/messages/0"])
def test_anthropic(path: str) -> None:
    error = {"type": "rate_limit_error", "message": SENTENCE, **FACTS}
    assert body(REFUSAL, path) == {"type": "error", "error": error, "detail": SENTENCE}


@pytest.mark.parametrize("path", ["/ollama/api/chat", "/ollama/api/embed/1"])
def test_ollama(path: str) -> None:
    assert body(REFUSAL, path) == {"error": SENTENCE, "detail": SENTENCE, **FACTS}


def test_headers_name_the_measure_and_end_retries() -> None:
    assert wire.headers(REFUSAL) == {
        "retry-after": "3600",
        "x-should-retry": "false",
        "x-ratelimit-limit-input-tokens": "100000",
        "x-ratelimit-remaining-input-tokens": "0",
        "x-ratelimit-reset-input-tokens": "3600s",
    }


def test_money_keeps_its_cents_and_no_end_is_none() -> None:
    told = body(COST, "/api/chat/completions")["error"]
    assert (told["used"], told["allowed"], told["resets_at"]) == (4.25, 5, None)
    assert wire.headers(COST)["x-ratelimit-remaining-cost"] == "0.75"


def test_a_name_in_any_script_is_a_header() -> None:
    nearly = NearlyUsed("Täglich; 多拉\r\nX: y", "tokens", Decimal(85), Decimal(100), None, "")
    told = wire.warning([nearly, nearly])
    assert told.isascii()
    assert "\r" not in told
    assert "\n" not in told
    assert told.count("; measure=tokens; used=85; allowed=100") == 2
    assert wire.warning([]) == ""
