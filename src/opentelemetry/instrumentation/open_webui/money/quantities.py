"""How much of each unit one call used: in parts that have a price each and never overlap.

A provider says how much of the input was audio, how much came from a cache, and only sometimes how
much of it was both; and a mistake of its own may make the parts larger than the whole. Here, all
parts fit, whatever was said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..answers.billed import MODALITIES
from ..answers.usage import Usage

Units = Mapping[str, float]
"""Amounts by the names that the price file has for their units."""

# What is known to be nothing where no answer speaks of it.
_COUNTED: Final = ("web_search", "file_search", "message")
_TAKEN: Final = (*_COUNTED, "citation", "second")


def parts_of(usage: Usage, told: Units) -> dict[str, float]:
    """Return the parts of the tokens, and what else was told; what nobody knows is missing."""
    parts: dict[str, float] = dict.fromkeys(_COUNTED, 0)
    parts.update((unit, told[unit]) for unit in _TAKEN if unit in told)
    if usage.input is not None or usage.cache_read or usage.cache_creation:
        parts.update(_input(usage, told))
    if usage.output is not None or usage.reasoning:
        parts.update(_output(usage, told))
    return parts


def pages_of(pages: int, told: Units) -> dict[str, float]:
    """Return the pages that were only read, and those that were annotated, too."""
    annotated = min(told.get("annotated_page", 0), pages)
    return {"page": pages - annotated, "annotated_page": annotated}


def _input(usage: Usage, told: Units) -> Units:
    read, created = usage.cache_read or 0, usage.cache_creation or 0
    # Some providers leave what was cached out of the input, by mistake.
    whole = max(usage.input or 0, read + created)
    if not told:
        return {
            "input": whole - read - created,
            "cache_read": read,
            "cache_creation": created,
        }
    for_an_hour = min(told.get("cache_creation_1h", 0), created)
    parts = {"cache_creation": created - for_an_hour, "cache_creation_1h": for_an_hour}
    # What is written to a cache is text, as far as anybody says.
    sizes = _shares("input", whole - created, told)
    cached = _cached(sizes, read, told)
    for modality, size in sizes.items():
        from_cache = cached[modality]
        parts[_named("input", modality)] = size - from_cache
        parts[_named("cache_read", modality)] = from_cache
    return parts


def _output(usage: Usage, told: Units) -> Units:
    whole = max(usage.output or 0, usage.reasoning or 0)
    reasoning = usage.reasoning or 0
    if not told:
        return {"output": whole - reasoning, "reasoning": reasoning}
    # Nobody thinks in sounds or pictures.
    parts = {
        _named("output", modality): size
        for modality, size in _shares("output", whole - reasoning, told).items()
    }
    return {**parts, "reasoning": reasoning}


def _named(kind: str, modality: str) -> str:
    return f"{kind}_{modality}" if modality else kind


def _shares(kind: str, whole: float, told: Units) -> dict[str, float]:
    """Return how much each modality has of a whole; what is left is text, named ``""``."""
    shares = {}
    for modality in MODALITIES:
        shares[modality] = min(told.get(_named(kind, modality), 0), whole)
        whole -= shares[modality]
    return {"": whole, **shares}


def _cached(sizes: Units, read: float, told: Units) -> dict[str, float]:
    """Return how much of each modality came from a cache: as told, else text before all others."""
    cached: dict[str, float] = {}
    for modality in MODALITIES:
        cached[modality] = min(told.get(f"cache_read_{modality}", 0), sizes[modality], read)
        read -= cached[modality]
    for modality, size in sizes.items():
        more = min(size - cached.get(modality, 0), read)
        cached[modality] = cached.get(modality, 0) + more
        read -= more
    return cached
