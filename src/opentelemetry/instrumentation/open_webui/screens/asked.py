"""What a screen asks for: times, group, source, as they stand in its request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..ledger.periods import ALWAYS, Period
from ..ledger.reading import Where

UI, API = "ui", "api"
SOURCES: Final = (UI, API)
"""What a screen can be narrowed to; without it, everything counts, background work, too."""
DAILY: Final = "daily"
_TOKENS: Final = "tokens"
_MOST_USERS: Final = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters of Analytics."""

    start: int | None = None
    """Unix time in seconds; ``None`` for since ever."""
    end: int | None = None
    """The last second that counts; ``None`` for until now."""
    group_ids: tuple[str, ...] = ()
    """The group asked for and those below it; empty for everybody."""
    source: str | None = None
    """One of :data:`SOURCES`."""
    limit: int = _MOST_USERS
    by_tokens: bool = False
    """Whether tokens are to be ranked and drawn, and not messages."""
    granularity: str = DAILY
    compare: bool = False

    @property
    def period(self) -> Period:
        """When the calls began."""
        return Period(self.start or 0, self.end + 1 if self.end else ALWAYS.end)

    @property
    def where(self) -> Where:
        """Which calls."""
        return Where(group_ids=self.group_ids, source=self.source)

    @property
    def is_bounded(self) -> bool:
        """Whether it has a beginning and an end, in this order: else nothing is before it."""
        return bool(self.start and self.end and self.start <= self.end)


def asked(given: Mapping[str, Any], source: str | None, group_ids: tuple[str, ...]) -> Asked:
    """Read the parameters.

    Args:
        given: Arguments of Open WebUI's endpoint, which has checked their types.
        source: As it stands in the address, from whoever wrote it.
        group_ids: See :attr:`Asked.group_ids`.
    """
    return Asked(
        start=given.get("start_date") or None,
        end=given.get("end_date") or None,
        group_ids=group_ids,
        source=source if source in SOURCES else None,
        limit=max(0, given.get("limit", _MOST_USERS)),
        by_tokens=given.get("metric") == _TOKENS,
        granularity=str(given.get("granularity", DAILY)),
        compare=bool(given.get("compare")),
    )
