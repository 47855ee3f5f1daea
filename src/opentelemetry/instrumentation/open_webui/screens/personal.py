"""Settings → Usage: what the ledger says of one user, in place of what Open WebUI counted.

Open WebUI counts the messages that it stores; so chats, tools, streaks of chats and what users
wrote stay its own. Answers and tokens are the ledger's: of all calls, by API as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from ..ledger import reading
from ..ledger.periods import ALWAYS, Period, edges
from ..ledger.reading import Sums, Where
from .asked import UI

Day = dict[str, Any]
_TOP: Final = 5
_SHOWN: Final = ("answers", "input", "output")


@dataclass(frozen=True, slots=True)
class Personal:
    """What one user used."""

    ever: Mapping[tuple[str, str], Sums]
    """By picked model and source."""
    days: Sequence[Mapping[str, Sums]]
    """By picked model, for each day of the period."""


def read(connection: Connection, user_id: str, start: int, end: int, zone: str | None) -> Personal:
    """Read what one user used. Blocks.

    Args:
        connection: The ledger's.
        user_id: Who asks.
        start: Unix time in seconds.
        end: The last second.
        zone: The time zone of the days; UTC, if there is none of that name.
    """
    where, period = Where(user_id=user_id), Period(start, end + 1)
    inner = [edge for edge in edges(period, "day", _zone(zone)) if start < edge <= end]
    series = reading.series(
        connection, [start, *inner, end + 1], where, ("picked",), measures=_SHOWN
    )
    return Personal(
        reading.sums(connection, ALWAYS, where, ("picked", "source"), measures=_SHOWN),
        [{model: sums for (model,), sums in day.items()} for day in series],
    )


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def merged(theirs: Mapping[str, Any], mine: Personal) -> dict[str, Any]:
    """Return Open WebUI's own answer with the ledger's numbers in it."""
    days = [_day(*pair) for pair in zip(theirs["heatmap"], mine.days, strict=True)]
    models = _added_up(mine.days)
    top = sorted(models.items(), key=lambda item: -item[1].answers)[:_TOP]
    totals = _totals(theirs["totals"], mine, days, models)
    return {
        **theirs,
        "totals": totals,
        "heatmap": days,
        "weekly_heatmap": _weekly(days),
        "cumulative_heatmap": _cumulative(days),
        "insights": _insights(totals, mine, [model for model, _ in top]),
        "top_models": [_model(*item) for item in top],
    }


def _day(theirs: Day, mine: Mapping[str, Sums]) -> Day:
    """What is no answer of a model's was written by the user."""
    written = theirs["messages"] - sum(theirs["models"].values())
    answers = {model: sums.answers for model, sums in mine.items() if sums.answers}
    return {
        **theirs,
        "messages": written + sum(answers.values()),
        "tokens": sum(map(_total, mine.values())),
        "models": answers,
    }


def _totals(
    theirs: Mapping[str, Any],
    mine: Personal,
    days: Sequence[Day],
    models: Mapping[str, Sums],
) -> dict[str, Any]:
    ever = sum(mine.ever.values(), Sums())
    answers = sum(sums.answers for sums in models.values())
    current, longest = _streaks(days)
    return {
        **theirs,
        "lifetime_tokens": _total(ever),
        "input_tokens": ever.input,
        "output_tokens": ever.output,
        "peak_daily_tokens": max((day["tokens"] for day in days), default=0),
        "current_streak": current,
        "longest_streak": longest,
        "active_days": sum(day["messages"] > 0 for day in days),
        "models_used": len({model for model, _ in mine.ever}),
        "messages": theirs["user_messages"] + answers,
        "assistant_messages": answers,
    }


def _insights(totals: Mapping[str, Any], mine: Personal, top: Sequence[str]) -> dict[str, Any]:
    in_chats = sum(_total(sums) for (_, source), sums in mine.ever.items() if source == UI)
    messages = totals["messages"]
    return {
        "most_used_model": top[0] if top else None,
        "average_tokens_per_chat": _ratio(in_chats, totals["total_chats"]),
        "average_messages_per_active_day": _ratio(messages, totals["active_days"]),
        "user_message_share": _ratio(100 * totals["user_messages"], messages),
        "assistant_message_share": _ratio(100 * totals["assistant_messages"], messages),
    }


def _model(model: str, sums: Sums) -> dict[str, Any]:
    return {
        "model_id": model,
        "messages": sums.answers,
        "input_tokens": sums.input,
        "output_tokens": sums.output,
        "total_tokens": _total(sums),
    }


def _added_up(days: Iterable[Mapping[str, Sums]]) -> dict[str, Sums]:
    models: dict[str, Sums] = {}
    for day in days:
        for model, sums in day.items():
            models[model] = models.get(model, Sums()) + sums
    return models


def _streaks(days: Sequence[Day]) -> tuple[int, int]:
    """Return how many days with messages follow each other: until today, and at most."""
    longest = running = 0
    for day in days:
        running = running + 1 if day["messages"] > 0 else 0
        longest = max(longest, running)
    return running, longest


def _weekly(days: Iterable[Day]) -> list[Day]:
    weeks: dict[str, list[Day]] = {}
    for day in days:
        of = date.fromisoformat(day["date"])
        weeks.setdefault((of - timedelta(days=of.weekday())).isoformat(), []).append(day)
    return [_sum(monday, its) for monday, its in weeks.items()]


def _cumulative(days: Iterable[Day]) -> list[Day]:
    until: list[Day] = []
    for day in days:
        until.append(_sum(day["date"], [*until[-1:], day]))
    return until


def _sum(name: str, days: Sequence[Day]) -> Day:
    models: Counter[str] = Counter()
    for day in days:
        models.update(day["models"])
    measures = {key: sum(day[key] for day in days) for key in ("messages", "chats", "tokens")}
    return {"date": name, **measures, "models": dict(models)}


def _total(sums: Sums) -> int:
    return sums.input + sums.output


def _ratio(amount: int, parts: int) -> float:
    return round(amount / parts, 1) if parts else 0
