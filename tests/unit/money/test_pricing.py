"""Costs against sums that are done here, by hand, from the price sheets.

List prices are those of late 2026, in USD for a million tokens: OpenAI's gpt-4o at 2.50, 1.25
(cached) and 10.00, gpt-audio at 2.50 and 10.00, as audio at 32 and 64, gpt-realtime at 4, 0.40
(cached) and 16, as audio at 32, 0.40 and 64, as pictures at 5; Anthropic's Claude Sonnet 4.5 at
3.00, 0.30 (read), 3.75 (written) and 15.00, Opus 4.5 at 5, 0.50, 6.25 or for an hour 10, and 25;
Gemini 2.5 Flash at 0.30, 0.03 and 2.50, as audio at 1 and 0.10. A thousand searches cost 10 USD at
both OpenAI and Anthropic, whisper-1 0.006 and Voxtral Mini 0.003 for a minute, and Groq bills ten
seconds of its Whisper at least, at 0.111 for an hour.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.money.price_file import PriceFile
from opentelemetry.instrumentation.open_webui.money.pricing import Bill, Cost, Prices, is_own_affair

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
  - model: senses
    input_per_million: 1
    output_per_million: 10
    cache_read_per_million: 0.5
    input_audio_per_million: 40
    output_audio_per_million: 80
    cache_creation_per_million: 2
    cache_creation_1h_per_million: 3
    per_web_search: 0.01
    per_file_search: 0.0025
  - model: thinker
    input_per_million: 1
    input_image_per_million: 5
    output_per_million: 10
    reasoning_per_million: 3
    citation_per_million: 2
    per_message: 0.004
  - model: writer
    input_per_million: 1
    cache_creation_per_million: 2
    per_web_search: 0.01
  - model: hearer
    input_audio_per_million: 40
  - model: reader
    per_page: 0.004
    per_annotated_page: 0.005
  - model: gpt-direct
    provider: open_webui.direct
    input_per_million: 1
  - model: gpt-any*
    per_request: 1
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
        # 100 x 1 + 300 x 40 + 600 x 0.5 (no audio in it has a price of its own) + 50 x 10 + 80 x 80.
        (
            bill(
                "senses",
                Usage(1_000, 130, cache_read=600),
                told={"input_audio": 400, "cache_read_audio": 100, "output_audio": 80},
            ),
            (100 + 300 * 40 + 600 * 0.5 + 50 * 10 + 80 * 80) / 1e6,
        ),
        (
            bill(
                "senses",
                Usage(1_000, 0, cache_creation=900),
                told={"cache_creation_1h": 400, "web_search": 2, "file_search": 4},
            ),
            (100 + 500 * 2 + 400 * 3) / 1e6 + 0.03,
        ),
        # Parts cost what the whole costs, unless they have a price.
        (
            bill(
                "thinker",
                Usage(1_000, 100, cache_read=300, cache_creation=200, reasoning=60),
                told={
                    "input_audio": 100,
                    "input_image": 80,
                    "cache_creation_1h": 50,
                    "output_audio": 10,
                    "citation": 7,
                    "message": 2,
                    "web_search": 5,
                },
            ),
            (920 + 80 * 5 + 40 * 10 + 60 * 3 + 7 * 2) / 1e6 + 0.008,
        ),
        (
            bill("thinker", Usage(1_000, cache_read=1_000), told={"input_image": 80}),
            (920 + 80 * 5) / 1e6,
        ),
        (
            bill("writer", Usage(1_000, cache_creation=900), told={"cache_creation_1h": 400}),
            (100 + 900 * 2) / 1e6,
        ),
        # What the entry has no price for costs nothing.
        (bill("hearer", Usage(1_000, 50), told={"input_audio": 400}), 400 * 40 / 1e6),
        (bill("hearer", TOKENS), 0.0),
        (bill("reader", pages=7, told={"annotated_page": 3}), 4 * 0.004 + 3 * 0.005),
        (bill("eyes", pages=7, told={"annotated_page": 9}), 0.007),
        (bill("gpt-direct", Usage(1_000), provider="open_webui.direct", url=""), 0.001),
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


@pytest.mark.parametrize(
    ("charged", "cost"),
    [
        # Up to a dollar it is believed, and above that up to a hundred times the list price.
        (1.0, Cost(1.0, "provider")),
        (1.01, Cost(0.0098, "genai_prices")),
        (999.0, Cost(0.0098, "genai_prices")),
    ],
)
def test_a_charge_far_above_the_list_price_is_not_believed(charged: float, cost: Cost) -> None:
    sonnet = bill("claude-sonnet-4-5", Usage(2_600, 133, 0, 0), provider="anthropic")
    listed = Prices(PriceFile()).cost(sonnet)
    assert listed == Cost(0.009795, "genai_prices")
    found = Prices(PriceFile()).cost(replace(sonnet, charged=charged))
    assert found is not None
    assert (round(found.usd, 4), found.source) == (cost.usd, cost.source)


def test_a_dear_call_may_cost_many_times_its_list_price() -> None:
    dear = bill("gpt-4o", Usage(100_000, 10_000), url=OPENAI, charged=34.9)
    # A hundred times 0.25 + 0.10.
    assert Prices(PriceFile()).cost(dear) == Cost(34.9, "provider")
    assert Prices(PriceFile()).cost(replace(dear, charged=35.1)) == Cost(0.35, "genai_prices")


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-any", "gift", "helpdesk"])
def test_what_a_users_own_browser_answers_costs_nobody_else(prices: Prices, model: str) -> None:
    direct = bill(model, TOKENS, provider="open_webui.direct", url="", charged=0.5, picked=model)
    assert prices.cost(direct) is None
    assert is_own_affair(direct.provider)
    assert not is_own_affair("openai")


def test_what_a_function_says_of_money_is_not_believed(prices: Prices) -> None:
    pipe = bill("a-pipe", TOKENS, provider="open_webui.pipe", url="", charged=0.5)
    assert prices.cost(pipe) is None
    assert prices.cost(replace(pipe, model="gpt-any-pipe")) == Cost(1.0, "price_file")


def test_a_price_of_what_nobody_knows_is_none(prices: Prices) -> None:
    assert prices.cost(bill("pictures")) is None
    assert prices.cost(bill("local-8b")) is None
    assert prices.cost(bill("hearer")) is None


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
        # What was cached is input, whatever the provider says of that.
        (bill("gemini-2.5-flash", Usage(100, 50, cache_read=900)), (900 * 0.03 + 50 * 2.5) / 1e6),
        (bill("gemini-2.5-flash", Usage(1_000, 50, cache_read=900)),
         (100 * 0.3 + 900 * 0.03 + 50 * 2.5) / 1e6),
        (bill("gpt-audio", Usage(1_000, 500), told={"input_audio": 900, "output_audio": 400}),
         (100 * 2.5 + 900 * 32 + 100 * 10 + 400 * 64) / 1e6),
        # More audio than there is input.
        (bill("gpt-audio", Usage(1_000), told={"input_audio": 1_001}), 1_000 * 32 / 1e6),
        (bill("gpt-realtime", Usage(1_000, 200, cache_read=300), url=OPENAI,
              told={"input_audio": 600, "input_image": 100, "cache_read_audio": 200,
                    "output_audio": 150}),
         (200 * 4 + 400 * 32 + 100 * 5 + 300 * 0.4 + 50 * 16 + 150 * 64) / 1e6),
        # What came from a cache is text, as far as there is any.
        (bill("gemini-2.5-flash", Usage(1_000, cache_read=500), told={"input_audio": 700}),
         (500 * 1 + 300 * 0.03 + 200 * 0.1) / 1e6),
        (bill("claude-opus-4-5", Usage(1_000_000, 10, cache_creation=1_000_000),
              provider="anthropic", told={"cache_creation_1h": 400_000}), 7.75025),
        (bill("claude-opus-4-5", Usage(98_805, 5_120, 66_360, 32_435, 1_710)), 0.36394875),
        (bill("claude-opus-4-5", Usage(1_000, 10), provider="anthropic", told={"web_search": 3}),
         (1_000 * 5 + 10 * 25) / 1e6 + 0.03),
        (bill("gpt-5", Usage(1_000, 10), url=OPENAI, told={"web_search": 2, "file_search": 4}),
         (1_000 * 1.25 + 10 * 10) / 1e6 + 0.02 + 0.01),
        # Searches have no price at this model: the tokens keep theirs.
        (bill("gpt-4", Usage(1_000, 10), url=OPENAI, told={"web_search": 2}),
         (1_000 * 30 + 10 * 60) / 1e6),
        (bill("sonar-deep-research", Usage(33, 7_163 + 73_997, reasoning=73_997),
              provider="perplexity", told={"citation": 20_016, "web_search": 18}),
         (33 * 2 + 7_163 * 8 + 73_997 * 3 + 20_016 * 2) / 1e6 + 0.09),
        (bill("whisper-1", seconds=11.0, url=OPENAI), 0.0011),
        (bill("whisper-1", told={"second": 11}), 0.0011),
        (bill("voxtral-mini-latest", Usage(4, 635), seconds=203.0, provider="mistral_ai"),
         203 * 0.003 / 60),
        (bill("whisper-large-v3", seconds=3.0, provider="groq"), 10 * 0.111 / 3600),
        (bill("whisper-large-v3", seconds=30.0, provider="groq"), 30 * 0.111 / 3600),
        (bill("gpt-realtime-whisper", told={"second": 60}, url=OPENAI), 0.017),
        (bill("tts-1", characters=1_000, url=OPENAI), 0.015),
        (bill("mistral-ocr-latest", pages=3, provider="mistral_ai"), 0.012),
        (bill("mistral-ocr-latest", pages=3, provider="mistral_ai", told={"annotated_page": 1}),
         0.013),
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


def test_a_speed_that_the_list_knows_has_its_own_price() -> None:
    def usd(speed: str | None) -> float:
        cost = Prices(PriceFile()).cost(
            bill("claude-opus-4-8", Usage(1_000_000, 0), speed=speed, provider="anthropic")
        )
        assert cost is not None
        return cost.usd

    assert usd(None) == usd("standard") == 5
    assert usd("fast") == 10
