"""Admin → Analytics: what its five requests are answered with.

The shapes are those of Open WebUI 0.12, whose older versions know a part of them. A *message* is an
answer that somebody asked for, by chat or API; tokens are of all calls. All functions block.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from ..ledger import reading
from ..ledger.periods import ALWAYS
from ..ledger.reading import Sums
from .asked import API, Asked
from .parts import Chart, Part, chart

Answer = dict[str, Any]
_SHOWN: Final = ("answers", "input", "output")


def summary(connection: Connection, asked: Asked) -> Answer:
    """Answer ``/summary``, but for the chats."""
    models = _by(connection, asked, "picked")
    users = reading.users_by(connection, asked.period, asked.where)
    return {
        "total_messages": sum(sums.answers for sums in models.values()),
        "total_models": len(models),
        "total_users": users.get((), 0),
    }


def models(connection: Connection, asked: Asked) -> Answer:
    """Answer ``/models``, but for the chats."""
    found = _by(connection, asked, "picked")
    users = reading.users_by(connection, asked.period, asked.where, ("picked",))
    return {
        "models": [
            {"model_id": model, "count": found[model].answers, "unique_users": users[model,]}
            for model in sorted(found, key=lambda model: -found[model].answers)
        ]
    }


def users(connection: Connection, asked: Asked) -> Answer:
    """Answer ``/users``, with the names that the ledger knows."""
    found = _by(connection, asked, "user")

    def rank(user: str) -> tuple[int, int]:
        sums = found[user]
        return (-_value(sums, asked.by_tokens), -sums.answers)

    top = sorted(found, key=rank)[: asked.limit]
    names = reading.names_of(connection, top)
    return {
        "users": [
            {
                "user_id": user,
                "name": names.get(user),
                "count": found[user].answers,
                **_tokens(found[user]),
            }
            for user in top
        ]
    }


def tokens(connection: Connection, asked: Asked) -> Answer:
    """Answer ``/tokens``."""
    found = _by(connection, asked, "picked")
    everything = sum(found.values(), Sums())
    return {
        "models": [
            {"model_id": model, "message_count": found[model].answers, **_tokens(found[model])}
            for model in sorted(found, key=lambda model: -_total(found[model]))
        ],
        "total_input_tokens": everything.input,
        "total_output_tokens": everything.output,
        "total_tokens": _total(everything),
    }


def daily(connection: Connection, asked: Asked) -> Answer:
    """Answer ``/daily``.

    Raises:
        TooManyParts: The period is too long for its granularity.
    """
    if asked.start is None or asked.end is None:
        return _since_ever(connection, asked)
    start, end = asked.period.start, asked.period.end - 1
    if start > end:
        return {"data": []}
    parts = chart(start, end, asked.granularity)
    here = _drawn(connection, asked, parts)
    entries: list[Answer] = [
        {"date": part.date, "models": here.get(part.date, {})} for part in parts.parts
    ]
    if asked.compare:
        earlier = parts.before()
        there = _drawn(connection, asked, earlier)
        for entry, part, previous in zip(entries, parts.parts, earlier.parts, strict=True):
            entry.update(_span(part))
            entry["previous"] = {"models": there.get(part.date, {}), **_span(previous)}
    return {"data": entries}


def _since_ever(connection: Connection, asked: Asked) -> Answer:
    """Without a beginning or an end only parts count in which something was."""
    oldest = next(reading.oldest_first(connection, ALWAYS, at_once=1), None)
    start = max(asked.period.start, int(oldest.time) if oldest else 0)
    end = asked.period.end - 1 if asked.end else int(time.time())
    if oldest is None or start > end:
        return {"data": []}
    parts = chart(start, end, asked.granularity)
    here = _drawn(connection, asked, parts)
    return {"data": [{"date": date, "models": here[date]} for date in sorted(here)]}


def _drawn(connection: Connection, asked: Asked, parts: Chart) -> dict[str, dict[str, int]]:
    """Return the values of each model in each part."""
    found: dict[str, dict[str, int]] = {}
    measures = ("input", "output") if asked.by_tokens else ("answers",)
    series = reading.series(connection, parts.edges, asked.where, ("picked",), measures=measures)
    for date, sums in zip(parts.dates, series, strict=True):
        for (model,), amounts in sums.items():
            values = found.setdefault(date, {})
            values[model] = values.get(model, 0) + _value(amounts, asked.by_tokens)
    return found


def _by(connection: Connection, asked: Asked, name: str) -> dict[str, Sums]:
    found = reading.sums(connection, asked.period, asked.where, (name,), measures=_SHOWN)
    return {key: sums for (key,), sums in found.items()}


def _value(sums: Sums, by_tokens: bool) -> int:
    return _total(sums) if by_tokens else sums.answers


def _total(sums: Sums) -> int:
    return sums.input + sums.output


def _tokens(sums: Sums) -> Answer:
    return {
        "input_tokens": sums.input,
        "output_tokens": sums.output,
        "total_tokens": _total(sums),
    }


def _span(part: Part) -> Answer:
    return {
        "start": datetime.fromtimestamp(part.start).isoformat(),
        "end": datetime.fromtimestamp(part.end).isoformat(),
    }


# What only Open WebUI knows: the chats that it keeps, and who somebody is today.


def with_chats_of_all(answer: Answer, theirs: Mapping[str, Any], asked: Asked) -> Answer:
    """Add the number of chats to a summary; a call by API is in none."""
    return {**answer, "total_chats": 0 if asked.source == API else theirs["total_chats"]}


def with_chats(answer: Answer, theirs: Mapping[str, Any], asked: Asked) -> Answer:
    """Add the number of chats to each model; before 0.10, Open WebUI counts none of them."""
    known = {model["model_id"]: model.get("unique_chats", 0) for model in theirs["models"]}
    chats = {} if asked.source == API else known
    return {
        "models": [
            {**model, "unique_chats": chats.get(model["model_id"], 0)} for model in answer["models"]
        ]
    }


def with_people(answer: Answer, people: Mapping[str, tuple[str, str]]) -> Answer:
    """Add names and addresses as they are today; who has gone keeps the name of then.

    Args:
        answer: Of :func:`users`.
        people: Names and addresses by user id.
    """
    return {
        "users": [
            {**user, **dict(zip(("name", "email"), people.get(user["user_id"], ()), strict=False))}
            for user in answer["users"]
        ]
    }
