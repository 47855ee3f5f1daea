"""Every model of the list: what we make of a call's amounts costs what the list itself says."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as Listed
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TieredPrices

from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.money.price_file import PriceFile
from opentelemetry.instrumentation.open_webui.money.pricing import LISTED, Bill, Prices, of_model

MODELS = [(provider, model) for provider in get_snapshot().providers for model in provider.models]
UNITS = {name for names in LISTED.values() for name in names}


def prices_of(model: Any) -> dict[str, Decimal | TieredPrices]:
    found = vars(model.get_prices(datetime.now(tz=UTC)))
    return {key: price for key, price in found.items() if price is not None}


def test_everything_that_the_list_has_a_price_for_is_passed_on() -> None:
    from genai_prices.units import _get_registry

    unit_of = _get_registry().unit_for_price_key
    priced = {unit_of(key).usage_key for _, model in MODELS for key in prices_of(model)}
    assert priced - UNITS - {"requests"} == set()
    assert {"audio_seconds", "cache_write_1h_tokens", "web_searches", "input_tokens"} <= priced


def amounts(rng: random.Random) -> tuple[Bill, Listed]:
    """A call, and the same in the words of the list."""
    some = lambda: rng.choice((0, rng.randrange(1_000), rng.randrange(300_000)))  # noqa: E731
    audio, image, video, text = some(), some(), some(), some()
    read = {"audio": rng.randint(0, audio), "image": rng.randint(0, image), "video": 0}
    cached_text = rng.randint(0, text)
    written = some()
    for_an_hour = rng.randint(0, written)
    reasoning, out = some(), {one: some() for one in ("audio", "image", "video")}
    said = sum(out.values()) + reasoning + some()
    cached = cached_text + sum(read.values())
    citation, searches, files, messages = some(), some(), some(), some()
    seconds, characters, pages = float(some()), some(), some()
    annotated = rng.randint(0, pages)
    given = audio + image + video + text + written
    told = {
        "input_audio": audio,
        "input_image": image,
        "input_video": video,
        **{f"cache_read_{one}": amount for one, amount in read.items()},
        **{f"output_{one}": amount for one, amount in out.items()},
        "cache_creation_1h": for_an_hour,
        "citation": citation,
        "web_search": searches,
        "file_search": files,
        "message": messages,
        "annotated_page": annotated,
    }
    return (
        Bill(
            "m", None, None, "openai", "",
            Usage(given, said, cached, written, reasoning),
            seconds=seconds, characters=characters, pages=pages, told=told,
        ),
        Listed(
            input_tokens=given,
            input_audio_tokens=audio,
            input_image_tokens=image,
            input_video_tokens=video,
            cache_read_tokens=cached,
            cache_audio_read_tokens=read["audio"],
            cache_image_read_tokens=read["image"],
            cache_video_read_tokens=0,
            cache_write_tokens=written,
            cache_write_5m_tokens=written - for_an_hour,
            cache_write_1h_tokens=for_an_hour,
            output_tokens=said + citation,
            output_audio_tokens=out["audio"],
            output_image_tokens=out["image"],
            output_video_tokens=out["video"],
            output_reasoning_tokens=reasoning,
            output_citation_tokens=citation,
            audio_seconds=seconds,
            input_audio_seconds=seconds,
            input_characters=characters,
            input_document_pages=pages,
            input_annotated_document_pages=annotated,
            web_searches=searches,
            storage_searches=files,
            input_text_messages=messages,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_a_call_costs_what_the_list_says(seed: int) -> None:
    rng = random.Random(seed)
    for provider, model in MODELS:
        bill, listed = amounts(rng)
        theirs = model.calc_price(listed, provider).total_price
        ours = of_model(bill, provider, model)
        assert (ours or 0) == theirs, (provider.id, model.id)


@pytest.mark.parametrize("seed", range(3))
def test_plain_tokens_cost_what_the_list_says(seed: int) -> None:
    """Most calls, which are not reckoned by the list but by its rates."""
    rng = random.Random(seed)
    for provider, model in MODELS:
        read, written = rng.choice((0, rng.randrange(9_000))), rng.choice((0, rng.randrange(900)))
        given = read + written + rng.randrange(300_000)
        made = rng.randrange(9_000)
        thought = rng.choice((0, made // 2))
        listed = {name: 0 for names in LISTED.values() for name in names} | {
            "input_tokens": given,
            "cache_read_tokens": read,
            "cache_write_tokens": written,
            "cache_write_5m_tokens": written,
            "output_tokens": made,
            "output_reasoning_tokens": thought,
        }
        theirs = model.calc_price(Listed(**listed), provider).total_price
        bill = Bill("m", None, None, "openai", "", Usage(given, made, read, written, thought))
        assert (of_model(bill, provider, model) or 0) == theirs, (provider.id, model.id)


def test_nothing_that_a_provider_says_makes_the_list_fail() -> None:
    rng = random.Random(7)
    some = lambda: rng.choice((None, 0, rng.randrange(50), rng.randrange(1_000_000)))  # noqa: E731
    for provider, model in MODELS:
        usage = Usage(some(), some(), some(), some(), some())
        told = {unit: amount for unit in LISTED if (amount := some())}
        bill = Bill("m", None, None, "openai", "", usage, pages=some(), told=told)
        cost = of_model(bill, provider, model)
        assert cost is None or cost >= 0, (provider.id, model.id)


BY_TIME = [
    (provider, model, price)
    for provider, model in MODELS
    if (price := prices_of(model).get("audio_hours")) is not None
    and provider.id in ("openai", "groq", "mistral", "x-ai")
]
NAMES = {"openai": "openai", "groq": "groq", "mistral": "mistral_ai", "x-ai": "x_ai"}


@pytest.mark.parametrize(
    ("provider", "model", "price"), BY_TIME, ids=[model.id for _, model, _ in BY_TIME]
)
def test_each_model_that_is_paid_by_the_second(
    provider: Any, model: Any, price: Decimal, caplog: pytest.LogCaptureFixture
) -> None:
    url = "https://api.openai.com/v1/audio/transcriptions"
    for seconds in ({"seconds": 90.0}, {"told": {"second": 90}}):
        bill = Bill(model.id, None, None, NAMES[provider.id], url, Usage(), **seconds)
        cost = Prices(PriceFile()).cost(bill)
        assert cost is not None
        assert cost.usd == pytest.approx(float(price) * 90 / 3600, abs=1e-12)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_there_are_models_that_are_paid_by_the_second() -> None:
    assert {"whisper-1", "voxtral-mini-2602", "whisper-large-v3"} <= {m.id for _, m, _ in BY_TIME}
