"""What administrators and users ask about limits: plain values in, plain values out.

All functions block: from an event loop call them in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ..ledger.database import DatabaseError
from ..ledger.ledger import Unavailable
from ..ledger.writer import told
from . import standing, table, words
from .binding import Decision, pools
from .budget import Budget
from .rules import (
    COST,
    Limit,
    RuleError,
    Rules,
    as_mapping,
    grant_as_mapping,
    in_units,
)
from .standing import Standing
from .table import GRANT, LIMIT, Unknown

_KINDS: Final = (LIMIT, GRANT)
_PATIENCE: Final = 5.0


class AdminError(Exception):
    """Something cannot be done.

    Args:
        status: The HTTP status that says so.
        text: Why, for a person.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def listed(budget: Budget) -> dict[str, Any]:
    """Return all limits and grants, and how much is used of each limit.

    Returns:
        ``read_only`` and ``source`` (``file`` or ``ledger``); ``limits`` and ``grants`` as
        ``docs/limits.md`` has them, each with its ``number``, which is ``None`` in a file. A limit
        also has ``used`` (of a pool; else by who has used most of it, ``None`` if nobody has
        lately), ``allowed`` (``None`` if unlimited) and ``resets_at`` (Unix time).

    Raises:
        AdminError: 503 if the ledger cannot be read.
    """
    now = time.time()
    with _asking(), budget.database().reading() as connection:
        limits, grants = _numbered(connection, budget)
        rules = Rules(tuple(one for _, one in limits), tuple(one for _, one in grants))
        since = table.known_since(connection, [one.id for one in rules.limits])
        shared = {
            limit.id: standing.pool(connection, Decision(limit, allowed, True, ""), since, now)
            for limit, _, allowed in pools(rules, now)
        }
    return {
        "read_only": bool(budget.file),
        "source": "file" if budget.file else "ledger",
        "limits": [
            {"number": number, **as_mapping(one), **_state(budget, one, shared.get(one.id), now)}
            for number, one in limits
        ],
        "grants": [
            {"number": number, **grant_as_mapping(one, rules.limits)} for number, one in grants
        ],
    }


def create(budget: Budget, kind: str, spec: object, by: str) -> dict[str, Any]:
    """Add a limit or a grant; return it with its number.

    Args:
        budget: The limits.
        kind: ``limit`` or ``grant``.
        spec: What it says, as ``docs/limits.md`` has it.
        by: The id of who adds it.

    Raises:
        AdminError: 422 if it says what it may not, 409 if limits are kept in a file, 503 if the
            ledger cannot be written.
    """
    return _changed(budget, kind, lambda at: table.create(at, kind, spec, by))


def change(budget: Budget, kind: str, number: int, spec: object, by: str) -> dict[str, Any]:
    """Put another limit or grant in the place of one; as :func:`create`.

    Raises:
        AdminError: Also 404 if there is none of that number.
    """

    def put(connection: Connection) -> int:
        table.change(connection, kind, number, spec, by)
        return number

    return _changed(budget, kind, put)


def delete(budget: Budget, kind: str, number: int, by: str) -> None:
    """Take a limit or a grant out.

    Raises:
        AdminError: 404, 409, 422 or 503, as above.
    """
    with _writing(budget, kind) as connection:
        table.remove(connection, kind, number, by)


def mine(budget: Budget, user_id: str, groups: Sequence[str]) -> dict[str, Any]:
    """Return what holds for a user, what is used and left, and when it is back.

    Args:
        budget: The limits.
        user_id: Who.
        groups: The names of their groups.

    Raises:
        AdminError: 503 if the ledger cannot be read.
    """
    rules, now = budget.books.rules or Rules(), time.time()
    with _asking(), budget.database().reading() as connection:
        since = table.known_since(connection, [one.id for one in rules.limits])
        found = standing.standings_of(connection, rules, since, user_id, tuple(groups), now)
    return {"limits": [_mine(one) for one in found if not one.decision.limit.observe]}


def _mine(found: Standing) -> dict[str, Any]:
    limit, allowed = found.decision.limit, found.decision.allowed
    measure = limit.measure
    return {
        "name": limit.name,
        "measure": measure,
        "shared": limit.shared,
        "models": list(limit.models),
        "source": limit.source,
        "per": limit.window.per or f"{limit.window.hours} hours",
        "zone": limit.window.zone,
        "allowed": number(allowed, measure),
        "used": number(found.used, measure),
        "left": number(found.left, measure),
        "resets_at": found.resets_at,
        "warn": found.warns,
        "sentence": words.state(
            limit, found.account.who, found.account.span, found.used, allowed, found.now
        ),
        "why": found.decision.why,
    }


def number(amount: int | None, measure: str) -> int | float | None:
    """Return an amount as JSON has it: of costs, USD."""
    if amount is None or measure != COST:
        return amount
    return float(in_units(amount, measure))


def _numbered(
    connection: Connection, budget: Budget
) -> tuple[list[tuple[int | None, Limit]], list[tuple[int | None, Any]]]:
    if budget.file:
        rules = budget.books.rules or Rules()
        return [(None, one) for one in rules.limits], [(None, one) for one in rules.grants]
    kept = table.kept(connection)
    return list(kept.limits.items()), list(kept.grants.items())


def _state(budget: Budget, limit: Limit, pool: Standing | None, now: float) -> dict[str, Any]:
    allowed, used = limit.amount, None
    if pool is not None:
        allowed, used = pool.decision.allowed, pool.used
    elif not limit.shared:
        used = budget.books.most_used(limit)
    return {
        "used": number(used, limit.measure),
        "allowed": number(allowed, limit.measure),
        "resets_at": words.resets(limit.window.span(now), now),
    }


def _changed(budget: Budget, kind: str, do: Callable[[Connection], int]) -> dict[str, Any]:
    with _writing(budget, kind) as connection:
        number = do(connection)
        kept = table.kept(connection)
    if kind == LIMIT:
        return {"number": number, **as_mapping(kept.limits[number])}
    limits = tuple(kept.limits.values())
    return {"number": number, **grant_as_mapping(kept.grants[number], limits)}


@contextmanager
def _writing(budget: Budget, kind: str) -> Iterator[Connection]:
    if kind not in _KINDS:
        raise AdminError(404, f"there are {' and '.join(_KINDS)}, and no {kind!r}")
    if budget.file:
        raise AdminError(409, "the limits are kept in a file (LIMITS_FILE), and are changed there")
    with _asking():
        try:
            with budget.database().writing(_PATIENCE) as connection:
                yield connection
        except RuleError as error:
            raise AdminError(422, str(error)) from None
        except Unknown as error:
            raise AdminError(404, str(error)) from None


@contextmanager
def _asking() -> Iterator[None]:
    try:
        with suppress_instrumentation():
            yield
    except (Unavailable, DatabaseError, SQLAlchemyError, OSError) as error:
        raise AdminError(503, f"the ledger is away: {told(error)}") from None
