"""Costs against sums that are done here, by hand, from the price sheets.

List prices are those of late 2026: OpenAI's gpt-4o at 2.50, 1.25 (cached) and 10.00 USD for a
million tokens, Anthropic's Claude Sonnet 4.5 at 3.00, 0.30 (read), 3.75 (written) and 15.00.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.price_file import PriceFile
from opentelemetry.instrumentation.open_webui.pricing import Bill, Cost, Prices
from opentelemetry.instrumentation.open_webui.usage import Usage

OPENAI = "https://api.openai.com/v1/chat/completions"
PROXY = "http://litellm:4000/v1/chat/completions"
FILE = """\
prices:
  - model: helpdesk
    per_request: 0.02
    output_per_million: 100
  - model: local-*
    input_per_million: 1
    output_per_million: 2
    cache_read_per_million: 0.25
  - model: pictures
    per_image: 0.04
  - model: ears
    per_second: 0.0001
  - model: mouth
    per_character: 0.000015
  - model: eyes
    per_page: 0.001
  - model: gift
    per_request: 0
  - model: gpt-4o
    connection: https://api.openai.com/
    input_per_million: 5
    output_per_million: 20
"""


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    path = tmp_path / "prices.yaml"
    path.write_text(FILE)
    file = PriceFile(str(path))
    file.load()
    return Prices(file)


def bill(model: str, usage: Usage | None = None, **more: Any) -> Bill:
    values = {"picked": None, "answered": None, "provider": "openai", "url": PROXY, **more}
    return Bill(model=model, usage=usage or Usage(), **values)


TOKENS = Usage(1_000, 200, cache_read=400)


@pytest.mark.parametrize(
    ("given", "usd"),
    [
        # 600 x 1 + 400 x 0.25 + 200 x 2, for a million each.
        (bill("local-8b", TOKENS), 0.0011),
        # Without a price of its own, what was cached is input.
        (bill("gpt-4o", TOKENS, url=OPENAI), (1_000 * 5 + 200 * 20) / 1e6),
        (bill("local-8b", Usage(1_000, 200), picked="helpdesk"), 0.02 + 200 * 100 / 1e6),
        (bill("pictures", images=3), 0.12),
        (bill("ears", seconds=90.5), 0.00905),
        (bill("mouth", characters=1_000), 0.015),
        (bill("eyes", pages=7), 0.007),
        (bill("gift", TOKENS), 0.0),
    ],
)
def test_the_operators_prices(prices: Prices, given: Bill, usd: float) -> None:
    cost = prices.cost(given)
    assert cost is not None
    assert cost.usd == pytest.approx(usd, abs=1e-12)
    assert cost.source == "price_file"


def test_the_operators_price_comes_before_what_the_provider_says(prices: Prices) -> None:
    assert prices.cost(bill("gift", TOKENS, charged=3.0)) == Cost(0.0, "price_file")
    assert prices.cost(bill("other", TOKENS, charged=3.0)) == Cost(3.0, "provider")
    assert prices.cost(bill("gpt-4o-mini", TOKENS, charged=0.0)) == Cost(0.0, "provider")


def test_a_price_of_what_nobody_knows_is_none(prices: Prices) -> None:
    assert prices.cost(bill("pictures")) is None
    assert prices.cost(bill("local-8b")) is None


GPT_4O = (1_000 - 400) * 2.5e-6 + 400 * 1.25e-6 + 200 * 10e-6
CACHED = Usage(2_000, 100, cache_read=500, cache_creation=1_000)
SONNET = 500 * 3e-6 + 500 * 0.3e-6 + 1_000 * 3.75e-6 + 100 * 15e-6


@pytest.mark.parametrize(
    ("given", "usd"),
    [
        (bill("gpt-4o", TOKENS, url=OPENAI), GPT_4O),
        # A proxy before a model that only its maker runs.
        (bill("gpt-4o", TOKENS), GPT_4O),
        (bill("openai/gpt-4o", TOKENS), GPT_4O),
        # The provider knows what stands behind a deployment.
        (bill("my-deployment", TOKENS, answered="gpt-4o-2024-08-06", provider="azure.ai.openai"),
         GPT_4O),
        (bill("claude-sonnet-4-5", CACHED, provider="anthropic"), SONNET),
        # An embedding model has input alone: 0.02 USD for a million.
        (bill("text-embedding-3-small", Usage(1_000_000), url=OPENAI), 0.02),
    ],
)  # fmt: skip
def test_list_prices(given: Bill, usd: float) -> None:
    cost = Prices(PriceFile()).cost(given)
    assert cost is not None
    assert cost.usd == pytest.approx(usd, abs=1e-12)
    assert cost.source == "genai_prices"


@pytest.mark.parametrize(
    "given",
    [
        bill("gpt-4o", url=OPENAI),
        bill("no-such-model", TOKENS, url=OPENAI),
        bill("my-model", TOKENS),
        # Open weights run on anybody's machine, at whatever cost.
        bill("gpt-oss-120b", TOKENS),
        bill("deepseek-r1", TOKENS),
        bill("llama3.2", TOKENS, provider="ollama", url="http://gpu:11434/api/chat"),
        bill("gpt-4o", TOKENS, provider="ollama", url="http://gpu:11434/api/chat"),
        bill("gpt-4o", TOKENS, provider="open_webui.pipe", url=""),
        # It has a price for characters, and nobody knows how many.
        bill("tts-1", Usage(), url=OPENAI),
    ],
)
def test_no_price_is_better_than_a_wrong_one(given: Bill) -> None:
    assert Prices(PriceFile()).cost(given) is None


def test_a_tier_that_the_list_knows_has_its_own_price() -> None:
    def usd(tier: str | None) -> float:
        cost = Prices(PriceFile()).cost(
            bill("o3", Usage(1_000_000, 1_000_000), tier=tier, url=OPENAI)
        )
        assert cost is not None
        return cost.usd

    assert usd(None) == usd("default") == 2 * usd("flex")


def test_with_a_file_that_was_never_good_nothing_has_a_price() -> None:
    file = PriceFile("/nowhere/prices.yaml")
    file.usable = False
    assert Prices(file).cost(bill("gpt-4o", TOKENS, url=OPENAI, charged=1.0)) is None
