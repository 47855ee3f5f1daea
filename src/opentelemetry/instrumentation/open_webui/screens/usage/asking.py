"""What is asked of the usage API, after its parameters were read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...ledger.reading import ALL, Only, Where
from .spans import Span

BOTH: Final = "both"
SOURCES: Final = (BOTH, "ui", "api", "background")
MOST_ROWS: Final = 1000
"""Rows of one page of an answer."""
SORTS: Final = ("cost", "tokens", "input", "output", "requests", "messages", "failed", "unpriced")
"""What rows of sums can be sorted by."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which calls of which time."""

    span: Span
    source: str = BOTH
    user_id: str | None = None
    group: str | None = None
    """Who was in a group of that name when calling."""
    model: str | None = None
    """The model that was picked in Open WebUI."""
    provider: str | None = None

    @property
    def where(self) -> Where:
        """Which calls."""
        return Where(
            user_id=self.user_id,
            group=self.group,
            source=None if self.source == BOTH else self.source,
            picked=self.model,
            provider=self.provider,
        )


@dataclass(frozen=True, slots=True)
class Paged:
    """Which rows of a list of sums, in which order."""

    sort: str = SORTS[0]
    descending: bool = True
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Listed:
    """Which of the calls, and which page of them."""

    only: Only = ALL
    before: str | None = None
    """The id of the last call of the page before."""
    limit: int = 50
