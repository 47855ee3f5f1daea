"""What the usage API answers with: sums and calls of the ledger, as JSON has them.

All functions take a connection of the ledger's and block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from ...ledger import chargeback as charging
from ...ledger import reading
from ...ledger.booking import ESTIMATED_INPUT, ESTIMATED_OUTPUT
from ...ledger.periods import Period
from ...ledger.reading import Call, Key, Sums, Where
from . import shapes
from .amounts import amounts, rank, usd
from .asking import SORTS, Asked, Paged
from .past import Past
from .spans import Span

SPLIT, FIRST = "split", "first"
CHARGES: Final = (SPLIT, FIRST)
"""How calls of users in several groups are charged."""
_PAST: Final = Past()


def overview(
    connection: Connection, asked: Asked, every: str | None, split: str | None = None
) -> shapes.Overview:
    """Return totals, by source, by model, and for each part of a chart.

    Args:
        connection: The ledger's.
        asked: Which calls.
        every: ``hour``, ``day``, ``week`` or ``month``; by the length of the period if not given.
        split: ``model``, if each part is to be told by model, too.
    """
    every = every or asked.span.every
    edges = asked.span.edges(every)
    found = reading.sums(connection, asked.span.period, asked.where, ("source", "picked"))
    parts = _parts(connection, edges, every, asked.where, ("picked",) if split else ())
    sources = _added_up(found, 0)
    models = _added_up(found, 1)
    return {
        "period": told(asked.span),
        "source": asked.source,
        "every": every,
        "total": amounts(sum(found.values(), Sums())),
        "sources": [{"source": name, **amounts(sources[name])} for name in sorted(sources)],
        "models": [{"model": name, **amounts(models[name])} for name in _ranked(models, SORTS[0])],
        "data": [
            _moment(_begin(edge, every, asked.span.zone), part, split)
            for (edge, _), part in zip(pairwise(edges), parts, strict=True)
        ],
    }


def _parts(
    connection: Connection, edges: Sequence[int], every: str, where: Where, by: Sequence[str]
) -> list[dict[Key, Sums]]:
    """Return the sums of each part. Months differ in length; each by itself is read quicker."""
    if every == "month":
        return [reading.sums(connection, Period(*part), where, by) for part in pairwise(edges)]
    return reading.series(connection, edges, where, by)


def _moment(begin: str, part: Mapping[Key, Sums], split: str | None) -> shapes.Moment:
    return {
        "begin": begin,
        **amounts(sum(part.values(), Sums())),
        "models": [_share(key[0], part[key]) for key in sorted(part)] if split else None,
    }


def _share(model: str, used: Sums) -> shapes.Share:
    told = amounts(used)
    return {
        "model": model,
        "requests": told["requests"],
        "tokens": told["tokens"],
        "cost_usd": told["cost_usd"],
    }


def summary(
    connection: Connection, asked: Asked, every: str | None, split: str | None = None
) -> shapes.Summary:
    """Return the same of everybody, and how many users that are."""
    users = reading.users_by(connection, asked.span.period, asked.where)
    return {**overview(connection, asked, every, split), "users": users.get((), 0)}


def users(
    connection: Connection, asked: Asked, paged: Paged, only: Sequence[str] | None = None
) -> shapes.Users:
    """Return a page of users, with the names that the ledger knows.

    Args:
        connection: The ledger's.
        asked: Which calls.
        paged: Which of them.
        only: The ids of those who may be among them; everybody, if not given.
    """
    found = _PAST.by(connection, "user", asked.span.period, asked.where)
    if only is not None:
        found = {user: found[user] for user in only if user in found}
    page = _page(found, paged)
    names = reading.names_of(connection, page)
    rows: list[shapes.OfUser] = [
        {"user_id": user, "user": names.get(user), "email": None, **amounts(found[user])}
        for user in page
    ]
    return {**_of(asked), "total": len(found), "data": rows, "next": None}


def groups(connection: Connection, asked: Asked, paged: Paged) -> shapes.Groups:
    """Return a page of groups; those of the same name are one."""
    found: dict[str, Sums] = {}
    sums = reading.sums(connection, asked.span.period, asked.where, ("group",))
    for ((_, name),), used in sums.items():
        found[name] = found.get(name, Sums()) + used
    rows: list[shapes.OfGroup] = [
        {"group": name, **amounts(found[name])} for name in _page(found, paged)
    ]
    return {**_of(asked), "total": len(found), "data": rows, "next": None}


def models(connection: Connection, asked: Asked, paged: Paged) -> shapes.Models:
    """Return a page of the models that were picked, and how many users each of them has."""
    found = _by(connection, asked, "picked")
    users = reading.users_by(connection, asked.span.period, asked.where, ("picked",))
    rows: list[shapes.OfModelAndUsers] = [
        {"model": name, "users": users.get((name,), 0), **amounts(found[name])}
        for name in _page(found, paged)
    ]
    return {**_of(asked), "total": len(found), "data": rows, "next": None}


def leaders(connection: Connection, asked: Asked, sort: str, most: int) -> list[tuple[str, Sums]]:
    """Return users who used anything, who used the most first."""
    found = _PAST.by(connection, "user", asked.span.period, asked.where)
    return [(user, found[user]) for user in _ranked(found, sort)[:most] if rank(found[user], sort)]


def chargeback(
    connection: Connection, asked: Asked, charge: str, priority: Sequence[str]
) -> shapes.Chargeback:
    """Return what each group is charged.

    Args:
        connection: The ledger's.
        asked: Which calls.
        charge: One of :data:`CHARGES`.
        priority: The order of groups for ``first``.
    """
    rule = charging.split if charge == SPLIT else charging.first(priority)
    used = _PAST.by(connection, "groups", asked.span.period, asked.where)
    charged = charging.shared(used, rule)
    missing = charging.unpriced(connection, asked.span.period, asked.where)
    return {
        **_of(asked),
        "charge": charge,
        "total": amounts(sum(charged.values(), Sums())),
        "unpriced": [_unpriced(*key, missing[key]) for key in sorted(missing)],
        "data": [{"group": name, **amounts(charged[name])} for name in sorted(charged)],
    }


def began(connection: Connection) -> float | None:
    """Return when the ledger's first call began (Unix time); ``None`` if there is none."""
    ends = reading.ends(connection)
    return None if ends is None else float(ends[0])


def call(one: Call, zone: ZoneInfo) -> shapes.OfCall:
    """Return a call as JSON has it, with its time in a time zone."""
    tokens = [amount for amount in (one.input, one.output) if amount is not None]
    return {
        "id": one.id,
        "parent_id": one.parent_id,
        "time": datetime.fromtimestamp(one.time, zone).isoformat(timespec="milliseconds"),
        "user_id": one.user_id,
        "user": one.user_name,
        "groups": list(one.groups),
        "source": one.source,
        "auth": one.auth,
        "route": one.route,
        "task": one.task,
        "operation": one.operation,
        "provider": one.provider,
        "model": one.picked,
        "provider_model": one.model,
        "chat_id": one.chat_id,
        "tokens": sum(tokens) if tokens else None,
        "input_tokens": one.input,
        "output_tokens": one.output,
        "cache_read_tokens": one.cache_read,
        "cache_write_tokens": one.cache_write,
        "reasoning_tokens": one.reasoning,
        "input_estimated": bool(one.estimated & ESTIMATED_INPUT),
        "output_estimated": bool(one.estimated & ESTIMATED_OUTPUT),
        "units": dict(one.units),
        "cost_usd": usd(one.cost),
        "price_source": one.price_source,
        "unpriced": one.unpriced,
        "seconds": one.seconds,
        "seconds_to_first_chunk": one.seconds_to_first_chunk,
        "error": one.error,
        "imported": one.imported,
    }


def told(span: Span) -> shapes.PeriodTold:
    """Return the days that an answer is of."""
    return {
        "first": span.first.isoformat(),
        "last": span.last.isoformat(),
        "zone": span.zone.key,
    }


def _of(asked: Asked) -> shapes.Told:
    return {"period": told(asked.span), "source": asked.source}


def _by(connection: Connection, asked: Asked, name: str) -> dict[str, Sums]:
    found = reading.sums(connection, asked.span.period, asked.where, (name,))
    return {key: sums for (key,), sums in found.items()}


def _added_up(found: Mapping[tuple[str, ...], Sums], place: int) -> dict[str, Sums]:
    sums: dict[str, Sums] = {}
    for key, used in found.items():
        sums[key[place]] = sums.get(key[place], Sums()) + used
    return sums


def _ranked(found: Mapping[str, Sums], sort: str) -> list[str]:
    """Return the names, those of the most first, and always in the same order."""
    return sorted(found, key=lambda name: (-rank(found[name], sort), name))


def _page(found: Mapping[str, Sums], paged: Paged) -> list[str]:
    names = _ranked(found, paged.sort)
    if not paged.descending:
        names.reverse()
    return names[paged.offset : paged.offset + paged.limit]


def _begin(moment: int, every: str, zone: ZoneInfo) -> str:
    clock = datetime.fromtimestamp(moment, zone)
    return clock.isoformat() if every == "hour" else clock.date().isoformat()


def _unpriced(provider: str, model: str, used: Sums) -> shapes.Unpriced:
    return {
        "provider": provider,
        "provider_model": model,
        "unpriced_requests": used.unpriced,
        "input_tokens": used.input,
        "output_tokens": used.output,
    }
