"""The parts of a call never overlap, and are the whole together, whatever a provider says."""

from __future__ import annotations

import random

import pytest

from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.money.price_file import RATES
from opentelemetry.instrumentation.open_webui.money.quantities import pages_of, parts_of

TOLD = (
    "input_audio", "input_image", "input_video", "cache_read_audio", "cache_read_image",
    "cache_read_video", "cache_creation_1h", "output_audio", "output_image", "output_video",
)  # fmt: skip


def total(parts: dict[str, float], *kinds: str) -> float:
    return sum(amount for unit, amount in parts.items() if unit.startswith(kinds))


@pytest.mark.parametrize("seed", range(100))
def test_parts_fit_whatever_is_said(seed: int) -> None:
    rng = random.Random(seed)

    def some() -> int | None:
        return rng.choice((None, 0, rng.randrange(10), rng.randrange(2_000)))

    usage = Usage(some(), some(), some(), some(), some())
    told = {unit: amount for unit in TOLD if (amount := some())}
    parts = parts_of(usage, told)
    assert min(parts.values()) >= 0
    assert set(parts) <= set(RATES.values())
    read, created = usage.cache_read or 0, usage.cache_creation or 0
    whole = total(parts, "input", "cache_")
    assert whole == max(usage.input or 0, read + created)
    assert total(parts, "cache_read") == read
    assert total(parts, "cache_creation") == created
    assert total(parts, "output", "reasoning") == max(usage.output or 0, usage.reasoning or 0)
    for unit in TOLD:
        assert parts.get(unit, 0) <= max(told.get(unit, 0), read if "read" in unit else 0)


def test_what_nobody_knows_is_missing() -> None:
    assert "input" not in parts_of(Usage(output=3), {})
    assert "output" not in parts_of(Usage(3), {"output_audio": 3})
    assert "second" not in parts_of(Usage(3), {})
    assert parts_of(Usage(), {"second": 2.5})["second"] == 2.5
    assert parts_of(Usage(), {})["web_search"] == 0


def test_what_fits_is_as_told() -> None:
    usage = Usage(1_000, 100, cache_read=300, cache_creation=200, reasoning=10)
    told = {
        "input_audio": 400,
        "input_video": 50,
        "cache_read_audio": 250,
        "cache_creation_1h": 120,
        "output_image": 60,
        "citation": 7,
    }
    parts = {unit: amount for unit, amount in parts_of(usage, told).items() if amount}
    assert parts == {
        "input": 300,
        "input_audio": 150,
        "input_video": 50,
        "cache_read": 50,
        "cache_read_audio": 250,
        "cache_creation": 80,
        "cache_creation_1h": 120,
        "output": 30,
        "output_image": 60,
        "reasoning": 10,
        "citation": 7,
    }


@pytest.mark.parametrize(("annotated", "plain"), [(0, 7), (3, 4), (7, 0), (9, 0)])
def test_an_annotated_page_is_no_plain_one(annotated: int, plain: int) -> None:
    assert pages_of(7, {"annotated_page": annotated})["page"] == plain
