"""Tokens of one answer, as a value, and what counts as a number of them."""

from __future__ import annotations

import logging
import math
import re
from typing import Final, NamedTuple

from ..bounds import MOST_TOKENS, whole

_logger = logging.getLogger(__name__)
_dropped: set[str] = set()
_NUMBER: Final = re.compile(r"\d{1,12}(?:\.\d{1,12})?")


class Usage(NamedTuple):
    """Tokens of one answer; ``None`` where the provider said nothing.

    ``input`` includes what was read from or written to a cache, ``output`` includes reasoning, as
    the GenAI conventions define them.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_creation: int | None = None
    reasoning: int | None = None

    def __bool__(self) -> bool:
        return self.input is not None or self.output is not None

    def gaining(self, later: Usage) -> Usage:
        """Return what both say together: the later count, unless it is a 0 after another one."""
        if self is NOTHING:
            return later
        return Usage(
            *(
                mine if yours is None or (yours == 0 and mine is not None) else yours
                for mine, yours in zip(self, later, strict=True)
            )
        )

    def lacking(self, other: Usage) -> Usage:
        """Return these counts, and those of another where there is none."""
        return other.filled(self)

    def highest(self, other: Usage) -> Usage:
        """Return the higher one of each count."""
        if self is NOTHING:
            return other
        return Usage(
            *(
                yours if mine is None else mine if yours is None else max(mine, yours)
                for mine, yours in zip(self, other, strict=True)
            )
        )

    def filled(self, guessed: Usage) -> Usage:
        """Return these counts with those that are guessed in their place."""
        return Usage(
            *(mine if guess is None else guess for mine, guess in zip(self, guessed, strict=True))
        )


NOTHING: Final = Usage()
"""What is known before anything was said."""


def added(*counts: int | None) -> int | None:
    """Return the sum of what is known; ``None`` if nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def count(value: object) -> int | None:
    """Return a token count, or ``None`` for anything that is not one.

    Some write it as a text, and OpenRouter weighs what pictures took by a fraction of a token.
    """
    # Nearly always it ends here.
    if value is None or (type(value) is int and 0 <= value <= MOST_TOKENS):
        return value
    known = whole(_rounded(value), MOST_TOKENS)
    if known is None:
        dropped("a token count that is none", value)
    return known


def _rounded(value: object) -> object:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    finite = isinstance(value, float) and math.isfinite(value)
    return round(value) if finite else value  # type: ignore[call-overload]  # known to be a float


def dropped(what: str, value: object) -> None:
    """Say once that something a provider reports of usage cannot be used."""
    if what not in _dropped:
        _dropped.add(what)
        _logger.warning(
            "Open WebUI instrumentation: a provider reports %s (%s); it is left out. This is said"
            " once.",
            what,
            type(value).__name__,  # What it holds may be anything, also somebody's words.
        )
