"""The sentences that people read."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from opentelemetry.instrumentation.open_webui.limits import words
from opentelemetry.instrumentation.open_webui.limits.rules import Who, limit_of

NOW = datetime(2026, 11, 27, 12, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
PLAIN: dict[str, Any] = {
    "name": "L", "everyone": True, "measure": "tokens", "amount": 100_000, "per": "day",
    "zone": "Europe/Berlin",
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "used", "needs", "sentence"),
    [
        ({}, 100_000, 0, "You have used your 100,000 tokens for today. They are back at 00:00 (Europe/Berlin)."),
        ({"per": "hour"}, 100_000, 0, "You have used your 100,000 tokens for this hour. They are back at 13:00 (Europe/Berlin)."),
        ({"per": "week"}, 100_000, 0, "You have used your 100,000 tokens for this week. They are back at 00:00 on 30 November (Europe/Berlin)."),
        ({"measure": "cost", "amount": 5, "per": "month"}, 5 * 10**9, 0, "You have used your 5.00 USD for this month. It is back at 00:00 on 1 December (Europe/Berlin)."),
        ({"measure": "requests", "amount": 1}, 1, 0, "You have used your 1 request for today. They are back at 00:00 (Europe/Berlin)."),
        ({"per": "5 hours"}, 100_000, 0, "You have used your 100,000 tokens of the last 5 hours. Some may be back at 13:00 (Europe/Berlin)."),
        ({"models": ["gpt-*", "o3"]}, 100_000, 0, "You have used your 100,000 tokens of gpt-*, o3 for today. They are back at 00:00 (Europe/Berlin)."),
        ({"share": "shared"}, 100_000, 0, "The 100,000 tokens of everyone for today are used. They are back at 00:00 (Europe/Berlin)."),
        ({"share": "shared", "everyone": None, "group": "physics", "measure": "cost", "amount": "1234.5"}, 1234 * 10**9 + 10**9, 0, "The 1,234.50 USD of physics for today is used. It is back at 00:00 (Europe/Berlin)."),
        ({}, 99_000, 5_000, "Of your 100,000 tokens for today, 1,000 tokens are left, and this needs about 5,000. They are back at 00:00 (Europe/Berlin)."),
        ({"amount": 0}, 0, 0, "Your 0 tokens for today: nothing is allowed. They are back at 00:00 (Europe/Berlin)."),
    ],
)  # fmt: skip
def test_a_refusal_is_one_that_a_person_understands(
    said: dict[str, Any], used: int, needs: int, sentence: str
) -> None:
    limit = limit_of({**PLAIN, **said})
    who = limit.who if limit.shared else Who("user", "ada")
    span = limit.window.span(NOW)
    refusal = words.refusal(limit, who, span, used, limit.amount or 0, needs, NOW)
    assert refusal.sentence == sentence
    assert refusal.resets_at == (span.end or words.resets(span, NOW))
    assert refusal.retry_after == refusal.resets_at - NOW


@pytest.mark.parametrize(
    ("nano", "text"),
    [(5 * 10**9, "5.00 USD"), (1, "0.0000 USD"), (12_300_000, "0.0123 USD"), (10**12, "1,000.00 USD")],
)  # fmt: skip
def test_money_is_told_as_people_read_it(nano: int, text: str) -> None:
    assert words.amount(nano, "cost") == text
