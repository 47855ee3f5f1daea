"""Cases of our own about money, in the form of `tests/cases`: the sums are done here, by hand."""

from __future__ import annotations

from typing import Any

from e2e.own_cases import PLAIN, USAGE, answer, chunk, stream
from harness.cases import ProviderCase

GIVEN, MADE = 31, 7
# By list, for a million tokens of each.
GPT_4O = (GIVEN * 2.5 + MADE * 10) / 1e6
AUDIO = {
    "prompt_tokens_details": {"audio_tokens": 21, "cached_tokens": 0},
    "completion_tokens_details": {"audio_tokens": 5},
}


def told(name: str, cost: float | None, model: str = "own", /, **usage: Any) -> ProviderCase:
    """A stream whose usage tells something of money."""
    last = {**chunk(usage={**USAGE, **usage}), "model": model}
    body = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": "Tell me something."}],
    }
    return ProviderCase(
        f"money-{name}",
        ({"path": "/api/chat/completions", "body": body},),
        (answer("any", stream(*({**one, "model": model} for one in PLAIN), last)),),
        {"input": GIVEN, "output": MADE, "cost": cost, "error": None, "estimated": None},
    )


def of_upstream(**more: Any) -> dict[str, Any]:
    return {f"upstream_inference_{name}": usd for name, usd in more.items()}


MONEY_CASES = [
    # Keys of one's own.
    told("byok", 0.5, cost=0, is_byok=True, cost_details=of_upstream(cost=0.5)),
    told("byok-fee", 5.25, cost=0.25, is_byok=True, cost_details=of_upstream(cost=5)),
    told(
        "byok-parts",
        0.75,
        cost=0,
        is_byok=True,
        cost_details=of_upstream(cost=None, prompt_cost=0.25, completions_cost=0.5),
    ),
    told("byok-unknown", None, cost=0, is_byok=True, cost_details=of_upstream(cost=None)),
    told("not-byok", 0.5, cost=0.5, is_byok=False, cost_details=of_upstream(cost=0.5)),
    # Other words for it.
    told("ticks", 0.0232856, cost_in_usd_ticks=232_856_000),
    told("total", 0.5, cost={"total_cost": 0.5, "request_cost": 0.4}),
    told("text", 0.5, cost="0.5"),
    # What nobody believes.
    told("absurd", GPT_4O, "gpt-4o", cost=9e11),
    told("far-above", GPT_4O, "gpt-4o", cost=500),
    told("absurd-and-unlisted", None, cost=9e11),
    # The list.
    told(
        "audio",
        ((GIVEN - 21) * 2.5 + 21 * 32 + (MADE - 5) * 10 + 5 * 64) / 1e6,
        "gpt-audio",
        **AUDIO,
    ),
    told(
        "searches",
        (GIVEN * 1.25 + MADE * 10) / 1e6 + 0.02,
        "gpt-5",
        server_tool_use={"web_search_requests": 2},
    ),
]
