"""What providers bill beside plain tokens, and what they say that they charged.

Some tokens have prices of their own (audio, pictures, what is kept in a cache for an hour), and so
have some other things (searches, seconds of audio). All are read here, by the names that the price
file has for them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..bounds import MOST_SECONDS, MOST_USD, number, text_or_none
from .fast_json import Message
from .usage import count, dropped

MODALITIES: Final = ("audio", "image", "video")
# As Chat Completions, Responses and Realtime have it.
INPUT_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
OUTPUT_DETAILS: Final = (
    "completion_tokens_details",
    "output_tokens_details",
    "output_token_details",
)
_WRITTEN: Final = {"ephemeral_1h_input_tokens": "cache_creation_1h"}
_SEARCHED: Final = {"web_search_requests": "web_search"}
_OF_INPUT: Final = {
    **{f"{kind}_tokens": f"input_{kind}" for kind in MODALITIES},
    **{f"cached_{kind}_tokens": f"cache_read_{kind}" for kind in MODALITIES},
    "cached_tokens_details": {f"{kind}_tokens": f"cache_read_{kind}" for kind in MODALITIES},
    "cache_creation_token_details": _WRITTEN,
    **_SEARCHED,
}
_OF_OUTPUT: Final = {f"{kind}_tokens": f"output_{kind}" for kind in MODALITIES}
# The unit that each key of a `usage` object counts, or the same for the object under it. Sources:
# the API references of OpenAI (Chat Completions, Realtime, Images), Anthropic (`cache_creation`,
# `server_tool_use`), Perplexity (`citation_tokens`, `num_search_queries`), xAI
# (`server_side_tool_usage_details`, and of voice `billable_audio_seconds`, `input_text_messages`)
# and Mistral (`prompt_audio_seconds`, `pages_processed_annotation`); LiteLLM and New API.
_UNITS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(INPUT_DETAILS, _OF_INPUT),
    **dict.fromkeys(OUTPUT_DETAILS, _OF_OUTPUT),
    "cache_creation": _WRITTEN,
    "claude_cache_creation_1_h_tokens": "cache_creation_1h",
    "server_tool_use": _SEARCHED,
    "server_side_tool_usage_details": {
        "web_search_calls": "web_search",
        "file_search_calls": "file_search",
    },
    "num_search_queries": "web_search",
    "citation_tokens": "citation",
    "prompt_audio_seconds": "second",
    "billable_audio_seconds": "second",
    "seconds": "second",
    "input_text_messages": "message",
    "pages_processed_annotation": "annotated_page",
}
_OF_TOOLS: Final[Mapping[str, Any]] = {"web_search": {"num_requests": "web_search"}}
_CALLED: Final = {"web_search_call": "web_search", "file_search_call": "file_search"}
_COSTS: Final = frozenset(("cost", "cost_in_usd_ticks", "estimated_cost", "cost_details"))
# Gemini counts the pages of a document as pictures.
_OF_GEMINI: Final = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}
# These bill the grounding of an answer once, those after them each search.
_GROUNDED_AT_ONCE: Final = re.compile(r"(?:.*/)?gemini-[12]\b")
_TICKS: Final = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Billed:
    """What an answer says of its bill, beside the tokens."""

    units: Mapping[str, float] = field(default_factory=dict)
    """How much of each unit that may have a price of its own; none of them is 0."""
    charged: float | None = None
    """USD that the provider says it charged."""
    speed: str | None = None
    """The speed at which it was answered, as Anthropic has prices for."""

    def updated(self, other: Billed) -> Billed:
        """Return what both say, one after the other: what is said once stays said."""
        units = {
            unit: max(self.units.get(unit, 0), other.units.get(unit, 0))
            for unit in (*self.units, *other.units)
        }
        known = [usd for usd in (self.charged, other.charged) if usd is not None]
        return Billed(units, max(known, default=None), other.speed or self.speed)


NOTHING: Final = Billed()


def nested(message: Message, *keys: str) -> Message:
    """Return the first object under one of the keys, or an empty one."""
    for key in keys:
        value = message.get(key)
        if isinstance(value, dict):
            return value
    return {}


def billed_of(usage: Message, message: Message) -> Billed:
    """Read a ``usage`` object, whatever its style, and what stands around it."""
    units: dict[str, float] = {}
    if "promptTokenCount" in usage:
        _count_gemini(units, usage, message)
    else:
        _count(units, usage, _UNITS)
        _count_tools(units, message)
    charged, speed = _charged(usage), text_or_none(usage.get("speed"))
    return Billed(units, charged, speed) if units or charged is not None or speed else NOTHING


def usd(value: object) -> float | None:
    """Return a cost of one call, which may stand in a text; ``None`` for anything else."""
    if value is None:
        return None
    try:
        known = number(float(value) if isinstance(value, str) else value, MOST_USD)
    except ValueError:
        known = None
    if known is None:
        dropped("a cost that is none or that is incredible", value)
    return known


def _count(units: dict[str, float], usage: Message, table: Mapping[str, Any]) -> None:
    for key, value in usage.items():
        unit = table.get(key)
        if unit is None or not value:
            continue
        if not isinstance(unit, str):
            if isinstance(value, dict):
                _count(units, value, unit)
        elif amount := number(value, MOST_SECONDS) if unit == "second" else count(value):
            units[unit] = max(units.get(unit, 0), amount)


def _count_tools(units: dict[str, float], message: Message) -> None:
    """Count the calls of tools that OpenAI bills: of the web only what was searched, not read.

    Source: the OpenAI API reference, Responses.
    """
    if "tool_usage" in message:
        _count(units, nested(message, "tool_usage"), _OF_TOOLS)
    if "output" not in message:
        return
    called = Counter(
        _CALLED.get(str(item.get("type")))
        for item in _objects(message.get("output"))
        if nested(item, "action").get("type", "search") == "search"
    )
    for unit, times in called.items():
        if unit is not None:
            units.setdefault(unit, times)


def _count_gemini(units: dict[str, float], usage: Message, message: Message) -> None:
    """Count what the Gemini API tells.

    Source: the Gemini API reference (``usageMetadata``, ``groundingMetadata``) and its prices.
    """
    for name, kind in (
        ("promptTokensDetails", "input"),
        ("toolUsePromptTokensDetails", "input"),
        ("cacheTokensDetails", "cache_read"),
        ("candidatesTokensDetails", "output"),
    ):
        for item in _objects(usage.get(name)):
            modality = _OF_GEMINI.get(str(item.get("modality")))
            if modality is not None and (tokens := count(item.get("tokenCount"))):
                unit = f"{kind}_{modality}"
                units[unit] = units.get(unit, 0) + tokens
    searched = [
        len(queries)
        for candidate in _objects(message.get("candidates"))
        if isinstance(
            queries := nested(candidate, "groundingMetadata").get("webSearchQueries"), list
        )
    ]
    if any(searched):
        at_once = _GROUNDED_AT_ONCE.match(str(message.get("modelVersion")))
        units["web_search"] = 1 if at_once else sum(searched)


def _objects(value: object) -> list[Message]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _charged(usage: Message) -> float | None:
    """Read what the provider charged, in USD.

    Source: the API references of OpenRouter (``usage.cost``, with ``cost_details`` where the key of
    the upstream provider is one's own), Perplexity (``usage.cost.total_cost``), xAI
    (``cost_in_usd_ticks``) and DeepInfra (``estimated_cost``); LiteLLM can be set to do as
    OpenRouter.
    """
    if _COSTS.isdisjoint(usage):
        return None
    cost = usage.get("cost")
    if isinstance(cost, dict):
        return usd(cost.get("total_cost")) if cost.get("currency", "USD") == "USD" else None
    told = usd(cost)
    if told is None:
        told = _of_ticks(usage.get("cost_in_usd_ticks"))
    if told is None:
        told = usd(usage.get("estimated_cost"))
    return _with_upstream(told, usage)


def _of_ticks(ticks: object) -> float | None:
    known = number(ticks, MOST_USD * _TICKS)
    return None if known is None else known / _TICKS


def _with_upstream(told: float | None, usage: Message) -> float | None:
    """Add what an upstream provider charged by itself, where the key was one's own."""
    own, upstream = usage.get("is_byok"), _upstream(nested(usage, "cost_details"))
    if upstream is None:
        # Somebody has a bill then, and nobody says how high it is.
        return None if own is True and not told else told
    # Without the word, only what costs less than its upstream was paid there.
    if own is True or (own is None and (told is None or told < upstream)):
        return usd((told or 0) + upstream)
    return told


def _upstream(details: Message) -> float | None:
    whole = usd(details.get("upstream_inference_cost"))
    if whole is not None:
        return whole
    parts = [
        usd(value) for name, value in details.items() if str(name).startswith("upstream_inference_")
    ]
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
