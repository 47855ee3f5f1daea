"""Variables that were meant for us and change nothing: which, and what they were meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_ALIKE: Final = 0.8
# What people write for the prefix, without underscores; small differences from these count, too.
_PREFIXES: Final = ("OTELPYTHONOPENWEBUI", "OTELOPENWEBUI", "OPENWEBUIOTEL")
_OURS: Final = _PREFIXES[0]


def misspelt(
    environ: Iterable[str], prefix: str, names: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield each such variable, and the one that was meant, empty if that cannot be told.

    Where the prefix is not just ours with other underscores, the rest has to be like a setting,
    too: OpenTelemetry, Open WebUI and others have variables that begin much like ours.

    Args:
        environ: The names of all variables.
        prefix: What our variables begin with.
        names: What they end with.
    """
    for key in sorted(set(environ) - {prefix + name for name in names}):
        meant = _meant(key.upper().split("_"), names)
        if meant or key.upper().replace("_", "").startswith(_OURS):
            yield key, prefix + meant if meant else ""


def _meant(words: Sequence[str], names: Sequence[str]) -> str:
    for number in range(1, len(words)):
        if _alike("".join(words[:number]), _PREFIXES):
            alike = _alike("_".join(words[number:]), names)
            if alike:
                return alike[0]
    return ""


def _alike(text: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(text, known, 1, _ALIKE)
