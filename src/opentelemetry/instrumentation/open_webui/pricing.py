"""What one call costs, in USD, and who says so. Pure functions of what was used.

Three sources, in this order: the operator's price file, who set it on purpose; what the provider
says that it charged; the list prices that ``genai-prices`` knows.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from .bounds import finite
from .guard import report
from .names import COST_FROM_FILE, COST_FROM_LIST, COST_FROM_PROVIDER
from .price_file import Entry, PriceFile
from .usage import Usage

# `gen_ai.provider.name` by its name in `genai-prices`. `openai` is not among them: any server that
# speaks its API is called so.
_PROVIDERS: Final = {
    "anthropic": "anthropic",
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "elevenlabs": "elevenlabs",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "groq": "groq",
    "mistral_ai": "mistral",
    "perplexity": "perplexity",
    "x_ai": "x-ai",
}
# Models that nobody but their maker, or a cloud for them, can run: the list price is a good guess,
# whatever proxy is before them. Open weights run anywhere, at whatever cost.
_CLOSED: Final = re.compile(
    r"(?:gpt-(?!oss)|chatgpt-|o[1-9](?:-|$)|text-embedding-|whisper-1|tts-1|dall-e-|claude-|gemini-)"
)
# These run on the operator's own machines, or are functions.
_OWN: Final = frozenset(("ollama", "comfyui", "automatic1111", "open_webui.pipe"))


@dataclass(frozen=True, slots=True)
class Bill:
    """What one call used, and of what."""

    model: str
    """The model that the provider was asked for."""
    picked: str | None
    """The model that the caller picked in Open WebUI."""
    answered: str | None
    """The model that the provider says it was."""
    provider: str
    url: str
    """The address of the request; empty where there is none."""
    usage: Usage
    images: int | None = None
    seconds: float | None = None
    characters: int | None = None
    pages: int | None = None
    charged: float | None = None
    """USD that the provider says it charged."""
    tier: str | None = None
    """The service tier that the provider says it served at."""

    def amounts(self) -> dict[str, float | None]:
        """Return how much of each unit was used; ``None`` where nobody knows."""
        usage = self.usage
        read, created = usage.cache_read or 0, usage.cache_creation or 0
        return {
            "input": None if usage.input is None else max(0, usage.input - read - created),
            "output": usage.output,
            "cache_read": usage.cache_read,
            "cache_creation": usage.cache_creation,
            "request": 1,
            "image": self.images,
            "second": self.seconds,
            "character": self.characters,
            "page": self.pages,
        }


@dataclass(frozen=True, slots=True)
class Cost:
    """A cost in USD, and its source: one of the values of ``open_webui.cost.source``."""

    usd: float
    source: str


class Prices:
    """All that is known of prices.

    Args:
        file: The operator's own.
    """

    def __init__(self, file: PriceFile) -> None:
        self.file = file

    def cost(self, bill: Bill) -> Cost | None:
        """Return what a call costs; ``None`` if no price of it is known."""
        if not self.file.usable:
            return None
        entry = self.file.find(bill.model, bill.picked, bill.provider, bill.url)
        if entry is not None:
            return _cost(by_entry(entry, bill), COST_FROM_FILE)
        if bill.charged is not None:
            return Cost(bill.charged, COST_FROM_PROVIDER)
        return _cost(by_list(bill), COST_FROM_LIST)


def _cost(usd: Decimal | None, source: str) -> Cost | None:
    known = None if usd is None else finite(float(usd))
    return None if known is None else Cost(known, source)


def by_entry(entry: Entry, bill: Bill) -> Decimal | None:
    """Return a cost by the price file. A unit that the entry has no price for costs nothing."""
    rates = dict(entry.rates)
    if "input" in rates:
        # Cached tokens are input tokens, unless they have a price of their own.
        rates.setdefault("cache_read", rates["input"])
        rates.setdefault("cache_creation", rates["input"])
    amounts = bill.amounts()
    known = [
        rate * Decimal(repr(amount))
        for unit, rate in rates.items()
        if (amount := amounts[unit]) is not None
    ]
    if not known and any(rates.values()):
        return None
    return sum(known, Decimal(0))


def by_list(bill: Bill) -> Decimal | None:
    """Return a cost by the list prices of ``genai-prices``; ``None`` if it has none."""
    if bill.provider in _OWN:
        return None
    usage = _listed_usage(bill)
    try:
        found = _find(bill.answered, bill.model, bill.provider, bill.url) if usage else None
        return None if found is None else _calculate(usage, *found, bill.tier)
    except Exception:
        report("the list price of a call")
        return None


def load() -> None:
    """Import the list prices, which takes a moment, before a call has to wait for them."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def _listed_usage(bill: Bill) -> dict[str, float]:
    usage = bill.usage
    amounts = {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_creation,
        "output_reasoning_tokens": usage.reasoning,
        "input_audio_seconds": bill.seconds,
        "input_characters": bill.characters,
        "input_document_pages": bill.pages,
    }
    return {name: amount for name, amount in amounts.items() if amount is not None}


@functools.lru_cache(maxsize=1000)
def _find(answered: str | None, model: str, provider: str, url: str) -> tuple[Any, Any] | None:
    """Return the provider and the model in the list, by the best name for which there is one."""
    from genai_prices.data_snapshot import get_snapshot  # It takes a moment to import, see `load`.

    where = _PROVIDERS.get(provider)
    # The provider names its model more exactly, and knows what stands behind a deployment.
    names = [name for name in (answered, model) if name]
    places: list[tuple[str, str | None, str | None]] = [
        (name, where, None if where else url) for name in names
    ]
    if not where:
        # Proxies may put the maker before the name.
        bare = (name.lower().rpartition("/")[2] for name in names)
        places += [(name, None, None) for name in bare if _CLOSED.match(name)]
    for name, provider_id, address in places:
        try:
            return get_snapshot().find_provider_model(name, None, provider_id, address)
        except LookupError:
            continue
    return None


def _calculate(
    usage: dict[str, float], provider: Any, model: Any, tier: str | None
) -> Decimal | None:
    from genai_prices import Usage

    found = model.calc_price(
        Usage(**usage),
        provider,
        genai_request_timestamp=datetime.now(tz=UTC),
        price_context={"service_tier": tier} if tier else None,
    )
    total: Decimal = found.total_price
    # Nothing of what was used may have a price, and zero is only for what is free.
    return total if total or _is_free(found.model_price) else None


def _is_free(price: object) -> bool:
    rates = [rate for rate in vars(price).values() if rate is not None]
    return bool(rates) and not any(rates)
