"""What others write, made safe to tell: texts short and printable, numbers credible.

Users, providers, pipes and tools write whatever they like. One name of megabytes, one broken
character or one number beyond 64 bits would cost a whole export, with everybody else's data in it.
So what they write is bounded where it enters our value types; whoever reads those later is safe.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from typing import Any, Final

LONGEST: Final = 256
"""Characters of a text, and so at most 1 KiB in UTF-8."""
MOST_GROUPS: Final = 64
"""Groups of a user that are told apart."""
MOST_REASONS: Final = 16
"""Finish reasons of one answer that are told."""

# More than any model reads at once (docs/numbers.md).
MOST_TOKENS: Final = 100_000_000
# More than anybody makes, hears, reads or pays for by one call.
MOST_IMAGES: Final = 1_000
MOST_PAGES: Final = 100_000
MOST_SECONDS: Final = 1e6
MOST_USD: Final = 1_000.0

CUT: Final = "…"
"""What comes after it tells texts apart whose beginnings are the same."""
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
# Scripts and emoji need these two joiners; other invisible characters only deceive.
_JOINERS: Final = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
# Python calls them unprintable, but they are: spaces, private characters, and those of a Unicode
# newer than Python's.
_PRINTABLE: Final = frozenset(("Zs", "Co", "Cn"))
# What is hashed of a long text, at each of its ends: megabytes must not hold up the event loop.
_HASHED: Final = 4096


def text(value: str) -> str:
    """Return a text that may be told: valid UTF-8, printable, at most :data:`LONGEST` long."""
    # Runs several times for every call, and nearly always ends here.
    if len(value) <= LONGEST and value.isprintable():
        return value
    kept = "".join(map(_printable, value[:LONGEST]))
    if len(value) <= LONGEST:
        return kept
    mark = CUT + _digest(value)
    return kept[: LONGEST - len(mark)] + mark


def text_or_none(value: object) -> str | None:
    """Return the same of a text that is not empty, and ``None`` of anything else."""
    return text(value) if isinstance(value, str) and value else None


def bound(thing: Any, *fields: str) -> None:
    """Bound the texts in fields of a value; what is no text there becomes ``None``."""
    for field in fields:
        value = getattr(thing, field)
        # As in `text`, which would cost a call.
        if value is None or (type(value) is str and len(value) <= LONGEST and value.isprintable()):
            continue
        object.__setattr__(thing, field, text(value) if isinstance(value, str) else None)


def whole(value: object, most: int) -> int | None:
    """Return a number of things, or ``None`` for anything that is none or that is incredible."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
    return value if known else None  # type: ignore[return-value]  # known to be one


def number(value: object, most: float) -> float | None:
    """Return an amount, or ``None`` for anything that is none or that is incredible."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most
    return float(value) if known else None  # type: ignore[arg-type]  # known to be a number


def finite(value: float) -> float | None:
    """Return an amount that can be told and added up; ``None`` for any other."""
    return value if math.isfinite(value) and value >= 0 else None


def _printable(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return character if unicodedata.category(character) in _PRINTABLE else _REPLACEMENT


def _digest(value: str) -> str:
    ends = value[:_HASHED] + value[-_HASHED:]
    seen = f"{len(value)}:{ends}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(seen, digest_size=4).hexdigest()
