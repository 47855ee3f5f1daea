"""What is billed beside plain tokens, by the words that providers have for it."""

from __future__ import annotations

from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.answers import wires
from opentelemetry.instrumentation.open_webui.answers.answer import Answer
from opentelemetry.instrumentation.open_webui.answers.billed import Billed, billed_of, usd
from opentelemetry.instrumentation.open_webui.answers.stream import read_message

COMPLETION = {"prompt_tokens": 1_000, "completion_tokens": 500}
SEARCHED = [
    {"type": "web_search_call", "action": {"type": "search", "query": "x"}},
    {"type": "web_search_call"},
    {"type": "web_search_call", "action": {"type": "open_page", "url": "x"}},
    {"type": "file_search_call"},
    {"type": "message"},
    "nonsense",
]


@pytest.mark.parametrize(
    ("usage", "around", "units"),
    [
        (COMPLETION, {}, {}),
        (
            {
                "prompt_tokens_details": {"audio_tokens": 900, "cached_tokens": 0},
                "completion_tokens_details": {"audio_tokens": 400, "image_tokens": None},
            },
            {},
            {"input_audio": 900, "output_audio": 400},
        ),
        # Realtime.
        (
            {
                "input_token_details": {
                    "text_tokens": 5,
                    "audio_tokens": 90,
                    "image_tokens": 30,
                    "cached_tokens": 64,
                    "cached_tokens_details": {"text_tokens": 4, "audio_tokens": 40},
                },
                "output_token_details": {"text_tokens": 7, "audio_tokens": 50},
            },
            {},
            {"input_audio": 90, "input_image": 30, "cache_read_audio": 40, "output_audio": 50},
        ),
        # Images, and OpenRouter's and LiteLLM's words for the same things.
        (
            {
                "input_tokens_details": {"text_tokens": 9, "image_tokens": 300},
                "output_tokens_details": {"image_tokens": 1_056, "text_tokens": 0},
            },
            {},
            {"input_image": 300, "output_image": 1_056},
        ),
        (
            {
                "prompt_tokens_details": {
                    "video_tokens": 800,
                    "audio_tokens": 20,
                    "cached_audio_tokens": 6,
                    "cache_creation_token_details": {
                        "ephemeral_5m_input_tokens": 10,
                        "ephemeral_1h_input_tokens": 20,
                    },
                    "web_search_requests": 3,
                }
            },
            {},
            {
                "input_video": 800,
                "input_audio": 20,
                "cache_read_audio": 6,
                "cache_creation_1h": 20,
                "web_search": 3,
            },
        ),
        # Anthropic.
        (
            {
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 600_000,
                    "ephemeral_1h_input_tokens": 400_000,
                },
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 7},
            },
            {},
            {"cache_creation_1h": 400_000, "web_search": 2},
        ),
        ({"claude_cache_creation_1_h_tokens": 7}, {}, {"cache_creation_1h": 7}),
        # OpenAI's Responses, which may count by themselves.
        ({"input_tokens": 9}, {"output": SEARCHED}, {"web_search": 2, "file_search": 1}),
        (
            {"input_tokens": 9},
            {"output": SEARCHED, "tool_usage": {"web_search": {"num_requests": 4}}},
            {"web_search": 4, "file_search": 1},
        ),
        # Perplexity, xAI and Mistral.
        (
            {"citation_tokens": 20_016, "num_search_queries": 18, "reasoning_tokens": 73_997},
            {},
            {"citation": 20_016, "web_search": 18},
        ),
        (
            {"server_side_tool_usage_details": {"web_search_calls": 5, "file_search_calls": 1}},
            {},
            {"web_search": 5, "file_search": 1},
        ),
        ({"billable_audio_seconds": 12.5, "input_text_messages": 3}, {},
         {"second": 12.5, "message": 3}),
        ({"prompt_audio_seconds": 203, "prompt_tokens": 4}, {}, {"second": 203}),
        ({"pages_processed": 9, "pages_processed_annotation": 8}, {}, {"annotated_page": 8}),
        # Gemini, whose documents are pictures and whose older models bill a search once.
        (
            {
                "promptTokenCount": 1_000,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 100},
                    {"modality": "AUDIO", "tokenCount": 300},
                    {"modality": "IMAGE", "tokenCount": 258},
                    {"modality": "DOCUMENT", "tokenCount": 342},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 200}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1_290}],
            },
            {"candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
             "modelVersion": "gemini-3.5-flash"},
            {
                "input_audio": 300,
                "input_image": 600,
                "cache_read_audio": 200,
                "output_image": 1_290,
                "web_search": 2,
            },
        ),
        (
            {"promptTokenCount": 9},
            {"candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
             "modelVersion": "gemini-2.5-flash"},
            {"web_search": 1},
        ),
    ],
)  # fmt: skip
def test_units(usage: dict[str, Any], around: dict[str, Any], units: dict[str, float]) -> None:
    assert billed_of(usage, around).units == units


UPSTREAM = {"upstream_inference_cost": 0.0360795}
SPLIT = {"upstream_inference_prompt_cost": 0.25, "upstream_inference_completions_cost": 0.5}


@pytest.mark.parametrize(
    ("usage", "charged"),
    [
        ({}, None),
        ({"cost": 0.5}, 0.5),
        ({"cost": "0.5"}, 0.5),
        ({"cost": 0}, 0.0),
        ({"cost": {"total_cost": 0.5, "input_tokens_cost": 0.1}}, 0.5),
        ({"cost": {"total_cost": 0.5, "currency": "USD"}}, 0.5),
        ({"cost": {"total_cost": 0.5, "currency": "EUR"}}, None),
        ({"cost_in_usd_ticks": 232_856_000}, 0.0232856),
        ({"cost": None, "cost_in_usd_ticks": 0}, 0.0),
        ({"estimated_cost": 0.0000268}, 0.0000268),
        # A key of one's own: what the gateway took, and what the provider behind it did.
        ({"cost": 0, "is_byok": True, "cost_details": UPSTREAM}, 0.0360795),
        ({"cost": 0.25, "is_byok": True, "cost_details": {"upstream_inference_cost": 5}}, 5.25),
        ({"cost": 0.25, "is_byok": True, "cost_details": SPLIT}, 1.0),
        ({"cost": 0.25, "is_byok": True,
          "cost_details": {**SPLIT, "upstream_inference_cost": 2}}, 2.25),
        ({"cost": 0, "is_byok": True,
          "cost_details": {"upstream_inference_input_cost": 0.25,
                           "upstream_inference_output_cost": 0.5}}, 0.75),
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, 19.95),
        # Without it, the upstream's cost is inside.
        ({"cost": 0.25, "is_byok": False, "cost_details": SPLIT}, 0.25),
        ({"cost": 0.75, "is_byok": False, "cost_details": SPLIT}, 0.75),
        ({"cost": 0.75, "cost_details": SPLIT}, 0.75),
        ({"cost": 0.75, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}, 0.75),
        ({"cost": 0.75, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, 0.75),
        # Somebody's bill, and nobody says how high it is.
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": 0, "is_byok": True}, None),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 9e11}}, None),
        ({"cost": 9e11}, None),
        ({"cost_in_usd_ticks": 9e30}, None),
        ({"cost_in_usd_ticks": -1}, None),
        ({"cost": True}, None),
        ({"cost": [1]}, None),
        ({"cost": float("nan")}, None),
        ({"cost": "much"}, None),
    ],
)  # fmt: skip
def test_charges(usage: dict[str, Any], charged: float | None) -> None:
    assert billed_of(usage, {}).charged == charged


@pytest.mark.parametrize("value", ["", "None", "nan", "-1", "1e99", -1, 1e99, True, {}, None])
def test_what_is_no_cost(value: object) -> None:
    assert usd(value) is None


def test_what_is_said_once_stays_said() -> None:
    first = Billed({"cache_creation_1h": 9, "web_search": 1}, charged=0.5, speed="fast")
    later = Billed({"cache_creation_1h": 0, "web_search": 3, "second": 2})
    assert first.updated(later) == Billed(
        {"cache_creation_1h": 9, "web_search": 3, "second": 2}, charged=0.5, speed="fast"
    )
    assert Billed().updated(first) == first.updated(Billed()) == first


@pytest.mark.parametrize("value", [-1, float("nan"), "many", [], {}, True, 10**30])
def test_nonsense_is_nothing(value: Any) -> None:
    details = {f"{one}_tokens": value for one in ("audio", "image", "video", "cached")}
    billed = billed_of(
        {
            "prompt_tokens_details": {**details, "cached_tokens_details": value},
            "completion_tokens_details": details,
            "cache_creation": {"ephemeral_1h_input_tokens": value},
            "server_tool_use": value,
            "num_search_queries": value,
            "seconds": value,
            "cost_details": value,
            "is_byok": value,
            "speed": value,
        },
        {"output": value, "tool_usage": value},
    )
    assert billed.units == {}
    assert billed.charged is None
    assert billed_of(
        {"promptTokenCount": 1, "promptTokensDetails": value}, {"candidates": value}
    ) == (Billed())


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (wires.OPENAI, {"usage": {"num_search_queries": 2}}),
        (wires.OPENAI, {"x_groq": {"usage": {"num_search_queries": 2}}}),
        (wires.RESPONSES, {"usage": {"input_tokens": 3}, "output": SEARCHED}),
        (
            wires.RESPONSES,
            {"type": "response.completed",
             "response": {"usage": {"input_tokens": 3}, "output": SEARCHED}},
        ),
        (wires.ANTHROPIC, {"usage": {"server_tool_use": {"web_search_requests": 2}}}),
        (
            wires.GEMINI,
            {"usageMetadata": {"promptTokenCount": 3}, "modelVersion": "gemini-3.5-flash",
             "candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}]},
        ),
    ],
)  # fmt: skip
def test_every_wire_is_read(wire: wires.Wire, message: dict[str, Any]) -> None:
    billed = read_message(wire, message).billed
    assert billed is not None
    assert billed.units["web_search"] == 2


def test_pages_and_seconds_are_read_where_they_stand() -> None:
    pages = {"usage_info": {"pages_processed": 9, "pages_processed_annotation": 8}}
    assert read_message(wires.OCR, pages).billed == Billed({"annotated_page": 8})
    heard = {"text": "x", "usage": {"type": "duration", "seconds": 11}}
    assert read_message(wires.AUDIO, heard).billed == Billed({"second": 11})


def test_events_of_anthropic_tell_one_after_the_other() -> None:
    answer = Answer()
    written = {"ephemeral_5m_input_tokens": 6, "ephemeral_1h_input_tokens": 4}
    start = {"input_tokens": 3, "cache_creation": written, "output_tokens": 1}
    for message in (
        {"type": "message_start", "message": {"model": "claude", "usage": start}},
        {"type": "message_delta", "delta": {},
         "usage": {"output_tokens": 9, "server_tool_use": {"web_search_requests": 1}}},
        {"type": "message_stop"},
    ):  # fmt: skip
        wires.ANTHROPIC.read(message, answer)
    assert answer.billed == Billed({"cache_creation_1h": 4, "web_search": 1})
