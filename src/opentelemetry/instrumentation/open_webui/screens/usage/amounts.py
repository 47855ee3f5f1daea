"""Numbers as the usage API tells them. Money is a text, which loses nothing; unpriced is not 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from typing_extensions import TypedDict

from ...ledger.booking import NANO
from ...ledger.reading import Sums


class Amounts(TypedDict):
    """What calls add up to."""

    requests: int
    messages: int
    failed: int
    tokens: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_usd: str | None
    unpriced_requests: int
    estimated_requests: int


COLUMNS: Final = tuple(Amounts.__annotations__)
"""Their names."""


def amounts(sums: Sums) -> Amounts:
    """Return sums with the names that the API has for them."""
    return {
        "requests": sums.calls,
        "messages": sums.answers,
        "failed": sums.errors,
        "tokens": sums.input + sums.output,
        "input_tokens": sums.input,
        "output_tokens": sums.output,
        "cache_read_tokens": sums.cache_read,
        "cache_write_tokens": sums.cache_write,
        "reasoning_tokens": sums.reasoning,
        # Where nothing has a price, the cost is not 0 but unknown.
        "cost_usd": usd(sums.cost) if sums.cost or not sums.unpriced else None,
        "unpriced_requests": sums.unpriced,
        "estimated_requests": sums.estimated,
    }


def usd(nano: int | None) -> str | None:
    """Return an amount of nano-USD as a text in USD: at least the cents, and exactly."""
    if nano is None:
        return None
    sign, (whole, rest) = "-" if nano < 0 else "", divmod(abs(nano), NANO)
    digits = f"{rest:09}".rstrip("0")
    return f"{sign}{whole}.{digits:0<2}"


def rank(sums: Sums, sort: str) -> int:
    """Return what sums are sorted by: see :data:`~.asking.SORTS`."""
    return _RANKS[sort](sums)


_RANKS: Final[Mapping[str, Callable[[Sums], int]]] = {
    "cost": lambda sums: sums.cost,
    "tokens": lambda sums: sums.input + sums.output,
    "input": lambda sums: sums.input,
    "output": lambda sums: sums.output,
    "requests": lambda sums: sums.calls,
    "messages": lambda sums: sums.answers,
    "failed": lambda sums: sums.errors,
    "unpriced": lambda sums: sums.unpriced,
}
