"""What one call costs, in USD, and who says so. Pure functions of what was used.

Three sources, in this order: the operator's price file, who set it on purpose; what the provider
says that it charged, if that is credible; the list prices that ``genai-prices`` knows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from .. import providers
from ..answers.usage import Usage, dropped
from ..bounds import finite
from ..guard import report
from ..names import COST_FROM_FILE, COST_FROM_LIST, COST_FROM_PROVIDER
from .price_file import Entry, PriceFile
from .quantities import Units, pages_of, parts_of

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
    "moonshot_ai": "moonshotai",
    "perplexity": "perplexity",
    "x_ai": "x-ai",
}
# Models that nobody but their maker, or a cloud for them, can run: the list price is a good guess,
# whatever proxy is before them. Open weights run anywhere, at whatever cost.
_CLOSED: Final = re.compile(
    r"(?:gpt-(?!oss)|chatgpt-|o[1-9](?:-|$)|text-embedding-|whisper-1|tts-1|dall-e-|claude-|gemini-)"
)
# These run on the operator's own machines, or are functions.
_OWN: Final = frozenset((providers.OLLAMA, providers.COMFYUI, "automatic1111", providers.PIPE))
# A charge up to here is believed at once. One beyond it may be as many times the list price: fees
# of tools and of gateways come on top of that, mistakes of the unit are greater.
_BELIEVED: Final = 1.0
_TIMES: Final = 100

_INPUT: Final = ("input_tokens",)
_CACHED: Final = (*_INPUT, "cache_read_tokens")
_WRITTEN: Final = (*_INPUT, "cache_write_tokens")
_OUTPUT: Final = ("output_tokens",)
# The list wants to know sums, also of what it has no price for.
LISTED: Final[Mapping[str, tuple[str, ...]]] = {
    "input": _INPUT,
    "input_audio": (*_INPUT, "input_audio_tokens"),
    "input_image": (*_INPUT, "input_image_tokens"),
    "input_video": (*_INPUT, "input_video_tokens"),
    "cache_read": _CACHED,
    "cache_read_audio": (*_CACHED, "input_audio_tokens", "cache_audio_read_tokens"),
    "cache_read_image": (*_CACHED, "input_image_tokens", "cache_image_read_tokens"),
    "cache_read_video": (*_CACHED, "input_video_tokens", "cache_video_read_tokens"),
    "cache_creation": (*_WRITTEN, "cache_write_5m_tokens"),
    "cache_creation_1h": (*_WRITTEN, "cache_write_1h_tokens"),
    "output": _OUTPUT,
    "output_audio": (*_OUTPUT, "output_audio_tokens"),
    "output_image": (*_OUTPUT, "output_image_tokens"),
    "output_video": (*_OUTPUT, "output_video_tokens"),
    "reasoning": (*_OUTPUT, "output_reasoning_tokens"),
    "citation": (*_OUTPUT, "output_citation_tokens"),
    "second": ("audio_seconds", "input_audio_seconds"),
    "character": ("input_characters",),
    "page": ("input_document_pages",),
    "annotated_page": ("input_document_pages", "input_annotated_document_pages"),
    "web_search": ("web_searches",),
    "file_search": ("storage_searches",),
    "message": ("input_text_messages",),
}
"""In which amounts of the list each unit counts; it counts requests by itself."""
_NOTHING: Final = {name: 0 for names in LISTED.values() for name in names}
_PLAIN_RATES: Final = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
_MILLIONTH: Final = 6
# Answers and prices that are remembered: there are few models, but users may name any.
_MOST_KNOWN: Final = 1_000
_rates: dict[int, tuple[Any, _PlainRates | None]] = {}


@dataclass(slots=True)
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
    speed: str | None = None
    """The speed that the provider says it served at."""
    told: Units = field(default_factory=dict)
    """What the provider says of units beside those."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing but tokens was used, none of which is of a kind of its own."""
        return not (self.told or self.pages or self.seconds or self.characters)

    def amounts(self) -> dict[str, float]:
        """Return how much of each unit was used; what nobody knows is missing."""
        parts = parts_of(self.usage, self.told)
        if self.pages is not None:
            parts.update(pages_of(self.pages, self.told))
        others = {"image": self.images, "second": self.seconds, "character": self.characters}
        parts.update((unit, amount) for unit, amount in others.items() if amount is not None)
        return parts


class Cost(NamedTuple):
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
        if is_own_affair(bill.provider):
            return None
        return _charge(bill) or _cost(by_list(bill), COST_FROM_LIST)


def is_own_affair(provider: str) -> bool:
    """Whether a call costs nobody but its user, so that no price of it is missed."""
    return provider == providers.DIRECT


def _charge(bill: Bill) -> Cost | None:
    """Return what the provider says it charged, if that is credible."""
    # A function may ask whoever it likes; only who is configured is believed.
    if bill.charged is None or bill.provider == providers.PIPE:
        return None
    if bill.charged > _BELIEVED:
        listed = by_list(bill)
        if listed is not None and bill.charged > _TIMES * listed:
            dropped("a cost that is far above the list price", bill.charged)
            return None
    return Cost(bill.charged, COST_FROM_PROVIDER)


def _cost(usd: Decimal | None, source: str) -> Cost | None:
    known = None if usd is None else finite(float(usd))
    return None if known is None else Cost(known, source)


def by_entry(entry: Entry, bill: Bill) -> Decimal | None:
    """Return a cost by the price file. A unit that the entry has no price for costs nothing."""
    amounts = {"request": 1, **bill.amounts()}
    if not entry.knows_any(amounts):
        return None
    return sum(
        (
            rate * Decimal(repr(amount))
            for unit, amount in amounts.items()
            if amount and (rate := entry.rate(unit)) is not None
        ),
        Decimal(0),
    )


def by_list(bill: Bill) -> Decimal | None:
    """Return a cost by the list prices of ``genai-prices``; ``None`` if it has none."""
    if bill.provider in _OWN:
        return None
    try:
        found = _find(bill.answered, bill.model, bill.provider, bill.url)
        return None if found is None else of_model(bill, *found)
    except Exception:
        report("the list price of a call")
        return None


def load() -> None:
    """Import the list prices, which takes a moment, before a call has to wait for them."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def _listed(amounts: Units) -> dict[str, float]:
    """Return amounts as the list wants them: none missing, parts in all sums above them."""
    sums: dict[str, float] = dict(_NOTHING)
    for unit, amount in amounts.items():
        if amount:
            for name in LISTED.get(unit, ()):
                sums[name] += amount
    return sums


@functools.lru_cache(maxsize=_MOST_KNOWN)
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


def of_model(bill: Bill, provider: Any, model: Any) -> Decimal | None:
    """Return a cost by the price of a model in the list; ``None`` if it has none for this."""
    now, context = datetime.now(tz=UTC), _context(bill, model)
    price = model.get_prices(now, context)
    rates = None if context or not bill.is_plain else _plain_rates(price)
    if rates is not None:
        total = rates.cost(bill.usage)
    else:
        total = _by_genai_prices(_listed(bill.amounts()), provider, model, now, context)
    # Nothing was used, or nobody knows how much.
    if total is None:
        return None
    # Nothing of what was used may have a price, and zero is only for what is free.
    return total if total or _is_free(price) else None


def _context(bill: Bill, model: Any) -> dict[str, str]:
    """Return what else the price depends on."""
    if not model.price_variants:
        return {}
    known = {"service_tier": bill.tier, "speed": bill.speed}
    return {name: value for name, value in known.items() if value}


def _by_genai_prices(
    sums: dict[str, float], provider: Any, model: Any, now: datetime, context: dict[str, str]
) -> Decimal | None:
    from genai_prices import Usage

    if not any(sums.values()):
        return None
    total: Decimal = model.calc_price(
        # Of a mapping it would look for each of its units.
        Usage(**sums),
        provider,
        genai_request_timestamp=now,
        price_context=context,
    ).total_price
    return total


class _PlainRates(NamedTuple):
    """A price that is but USD for a million tokens of each kind, as nearly every one is.

    The list would take far longer over it. A test compares both on every model. Rates are whole
    numbers, which are multiplied faster than decimal ones, and as exactly.
    """

    places: int
    """By how many decimal places the rates are larger than USD for one token."""
    input: int
    output: int
    read: int | None
    written: int | None

    def cost(self, usage: Usage) -> Decimal | None:
        """Return what tokens cost; ``None`` if there were none."""
        read, written = usage.cache_read or 0, usage.cache_creation or 0
        given = max(usage.input or 0, read + written)
        made = max(usage.output or 0, usage.reasoning or 0)
        if not given and not made:
            return None
        total = self.output * made
        if self.read is not None:
            given -= read
            total += self.read * read
        if self.written is not None:
            given -= written
            total += self.written * written
        return Decimal(total + self.input * given).scaleb(-self.places)


def _plain_rates(price: Any) -> _PlainRates | None:
    """Return the rates of a price; ``None`` if it is more than plain ones."""
    known = _rates.get(id(price))
    # The price is kept, so that no other one can have its address.
    if known is None or known[0] is not price:
        if len(_rates) >= _MOST_KNOWN:
            _rates.clear()
        known = _rates[id(price)] = (price, _read_rates(price))
    return known[1]


def _read_rates(price: Any) -> _PlainRates | None:
    rates = vars(price)
    if any(map(_is_no_plain_rate, rates, rates.values())):
        return None
    known = {key: rates[key] for key in _PLAIN_RATES if rates.get(key) is not None}
    places = max(map(_places, known.values()), default=0)
    whole = {key: int(rate.scaleb(places)) for key, rate in known.items()}
    given, made, read, written = map(whole.get, _PLAIN_RATES)
    return _PlainRates(places + _MILLIONTH, given or 0, made or 0, read, written)


def _places(rate: Decimal) -> int:
    exponent = rate.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _is_no_plain_rate(key: str, rate: object) -> bool:
    if rate is None:
        return False
    if key in _PLAIN_RATES:
        return type(rate) is not Decimal
    # Searches and the like cost nothing where there were none.
    return key.endswith("_mtok") or key.startswith("requests")


def _is_free(price: object) -> bool:
    rates = [rate for rate in vars(price).values() if rate is not None]
    return bool(rates) and not any(rates)
