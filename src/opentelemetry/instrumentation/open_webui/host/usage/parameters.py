"""The parameters of the usage API, as they stand in an address: all bounded, none beside them."""

from __future__ import annotations

import time
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...bounds import LONGEST
from ...ledger.reading import Only
from ...screens.usage.asking import BOTH, MOST_ROWS, Asked, Listed, Paged
from ...screens.usage.spans import span, zone_of

# PostgreSQL takes no text with a NUL in it.
_Text = Annotated[str, Field(max_length=LONGEST, pattern=r"^[^\x00]*$")]
_MOST_OFFSET = 1_000_000

Sort = Literal["cost", "tokens", "input", "output", "requests", "messages", "failed", "unpriced"]
Every = Literal["hour", "day", "week", "month"]
Format = Literal["json", "csv"]
Source = Literal["both", "ui", "api", "background"]
Period = Literal["today", "7d", "30d", "90d", "365d", "month", "last_month", "all"]
_Zone = Annotated[str, Field(max_length=64)]
_ZONE = "The time zone of days, as `Europe/Berlin`; by default your own one, or UTC."
_SOURCE = "Where calls are from; `both` is everything."
_FORMAT = "`csv` for a spreadsheet."


class Spanned(BaseModel):
    """A period, where calls are from, and of what they are."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    period: Literal["today", "7d", "30d", "90d", "365d", "month", "last_month", "all"] | None = (
        Field(None, description="A period by name; `30d` if no other is given.")
    )
    first: date | None = Field(None, alias="from", description="From this day on: `2026-11-01`.")
    last: date | None = Field(None, alias="to", description="Up to and with this day.")
    month: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")] | None = Field(
        None, description="A month: `2026-11`."
    )
    zone: _Zone | None = Field(None, description=_ZONE)
    source: Source = Field(BOTH, description=_SOURCE)
    model: _Text | None = Field(None, description="The model that was picked in Open WebUI.")
    provider: _Text | None = Field(None, description="The provider.")
    format: Format = Field("json", description=_FORMAT)

    def asked(
        self,
        began: float | None,
        zone: str | None,
        user_id: str | None = None,
        group: str | None = None,
    ) -> Asked:
        """Return what is asked for.

        Args:
            began: When the ledger began (Unix time).
            zone: The time zone of who asks, if Open WebUI knows it.
            user_id: Whose calls; everybody's, if not given.
            group: Of which group.

        Raises:
            Wrong: It makes no sense.
        """
        days = span(
            self.period,
            self.first,
            self.last,
            self.month,
            zone_of(self.zone or zone),
            now=time.time(),
            began=began,
        )
        return Asked(days, self.source, user_id, group, self.model, self.provider)


class Charted(Spanned):
    """The same with a chart."""

    every: Every | None = Field(
        None, description="What the chart has a value for; by the length of the period."
    )
    split: Literal["model"] | None = Field(
        None, description="`model`: each part of the chart also by model."
    )


class _OfAll(BaseModel):
    """Whose calls, for who may see those of all."""

    user_id: _Text | None = Field(None, description="Only calls of this user.")
    group: _Text | None = Field(None, description="Only of who was in this group when calling.")


class ChartedOfAll(Charted, _OfAll):
    """A chart of everybody."""


class Sorted(Spanned, _OfAll):
    """A page of sums."""

    sort: Sort = Field("cost", description="What rows are sorted by.")
    order: Literal["desc", "asc"] = Field("desc", description="The most first, or the least.")
    offset: int = Field(0, ge=0, le=_MOST_OFFSET, description="How many rows to pass over.")
    limit: int = Field(50, ge=1, le=MOST_ROWS, description="How many rows.")

    @property
    def paged(self) -> Paged:
        """Which rows."""
        return Paged(self.sort, self.order == "desc", self.offset, self.limit)


class Searched(Sorted):
    """A page of users."""

    search: _Text | None = Field(None, description="Only users with this in name or e-mail.")


class History(Spanned):
    """A page of calls."""

    task: _Text | None = Field(None, description="Only calls of this task: `chat`, …")
    route: _Text | None = Field(None, description="Only calls by this route of Open WebUI.")
    operation: _Text | None = Field(None, description="Only calls of this operation.")
    auth: _Text | None = Field(None, description="Only `api_key`, `jwt`, …")
    failed: bool | None = Field(None, description="Only calls that failed, or that did not.")
    unpriced: bool | None = Field(None, description="Only calls without a known price, or with.")
    before: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = Field(
        None, description="Goes on after this call: take `next` instead."
    )
    limit: int = Field(50, ge=1, le=MOST_ROWS, description="How many calls at most.")

    @property
    def listed(self) -> Listed:
        """Which of them."""
        only = Only(self.route, self.task, self.operation, self.auth, self.failed, self.unpriced)
        return Listed(only, self.before, self.limit)


class HistoryOfAll(History, _OfAll):
    """A page of everybody's calls."""


class Charged(Spanned):
    """A chargeback."""

    charge: Literal["split", "first"] = Field(
        "split",
        description="Charge all groups of a user in equal parts, or the first by `priority`.",
    )
    priority: Annotated[str, Field(max_length=4096)] = Field(
        "", description="The order of groups for `first`, with commas."
    )

    @property
    def priorities(self) -> list[str]:
        """The order of groups."""
        return [name.strip() for name in self.priority.split(",") if name.strip()]


class Board(BaseModel):
    """Which leaderboard."""

    model_config = ConfigDict(extra="forbid")

    period: Period = Field("30d", description="A period by name.")
    zone: _Zone | None = Field(None, description=_ZONE)
    source: Source = Field(BOTH, description=_SOURCE)
    sort: Literal["tokens", "requests", "messages"] = Field(
        "tokens", description="What makes the first."
    )
    limit: int = Field(20, ge=1, le=100, description="How many places.")
    format: Format = Field("json", description=_FORMAT)

    def asked(self, began: float | None, zone: str | None) -> Asked:
        """Return what is asked for, as :meth:`Spanned.asked` does."""
        where = zone_of(self.zone or zone)
        days = span(self.period, None, None, None, where, now=time.time(), began=began)
        return Asked(days, self.source)


class Shown(BaseModel):
    """Whether somebody wishes to be on the leaderboard."""

    model_config = ConfigDict(extra="forbid")

    shown: bool
