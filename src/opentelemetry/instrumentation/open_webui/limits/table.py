"""Limits and grants that are kept in the ledger's database, and changed there by administrators."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from ..ledger import facts
from ..ledger.database import Database
from ..ledger.facts import insert_of
from ..ledger.schema import audits, rules, since
from .rules import (
    MOST_GRANTS,
    MOST_LIMITS,
    Grant,
    Limit,
    RuleError,
    Rules,
    as_mapping,
    grant_as_mapping,
    grant_of,
    limit_of,
    parse,
)

_logger = logging.getLogger(__name__)

LIMIT: Final = "limit"
GRANT: Final = "grant"
_PLURAL: Final = {LIMIT: "limits", GRANT: "grants"}
_MOST: Final = {LIMIT: MOST_LIMITS, GRANT: MOST_GRANTS}


class Unknown(Exception):
    """There is no such limit or grant."""


class Kept(NamedTuple):
    """All limits and grants, by their numbers."""

    limits: dict[int, Limit]
    grants: dict[int, Grant]

    def rules(self) -> Rules:
        """Return them without the numbers."""
        return Rules(tuple(self.limits.values()), tuple(self.grants.values()))


class Table:
    """The rules that are kept in the database."""

    def __init__(self) -> None:
        self._version: str | None = None

    def refresh(self, database: Callable[[], Database]) -> tuple[Rules, dict[str, int]] | None:
        """Return the rules, and since when each limit is known, if they have changed."""
        with database().reading() as connection:
            version = facts.read(connection, facts.LIMITS) or ""
            if version == self._version:
                return None
            found = kept(connection).rules()
        self._version = version
        return found, first_seen(database(), found.limits)


def first_seen(database: Database, limits: Iterable[Limit]) -> dict[str, int]:
    """Return since when each limit is known (Unix time), by id; a new one is from now on.

    So is one that a clock ahead of ours has seen first: until then, our calls would not count.
    """
    limit_ids = [limit.id for limit in limits]
    if not limit_ids:
        return {}
    now = int(time.time())
    with database.reading() as connection:
        known = known_since(connection, limit_ids)
    new = [limit_id for limit_id in limit_ids if known.get(limit_id, math.inf) > now]
    if not new:
        return known
    with database.writing() as connection:
        rows = [{"limit_id": limit_id, "at": now} for limit_id in sorted(new)]
        added = insert_of(connection.dialect.name)(since)
        earlier = added.on_conflict_do_update(
            index_elements=["limit_id"],
            set_={"at": added.excluded.at},
            where=since.c.at > added.excluded.at,
        )
        connection.execute(earlier, rows)
        if not known.keys().isdisjoint(new):
            _have_read_anew(connection)
        return known_since(connection, limit_ids)


def known_since(connection: Connection, limit_ids: Collection[str]) -> dict[str, int]:
    """Return since when limits are known (Unix time), by id, as far as they are."""
    query = select(since.c.limit_id, since.c.at).where(since.c.limit_id.in_(limit_ids))
    return {row.limit_id: row.at for row in connection.execute(query)}


def kept(connection: Connection) -> Kept:
    """Return all limits and grants; what cannot be read any more is left out, and logged."""
    found = Kept({}, {})
    query = select(rules).order_by(rules.c.kind.desc(), rules.c.no)
    for row in connection.execute(query):
        try:
            spec = json.loads(row.spec)
            if row.kind == LIMIT:
                found.limits[row.no] = limit_of(spec)
            else:
                found.grants[row.no] = grant_of(spec, tuple(found.limits.values()))
        except ValueError as error:
            _logger.error(
                "Open WebUI instrumentation: %s %s in the ledger cannot be read: %s",
                row.kind,
                row.no,
                error,
            )
    return found


def create(connection: Connection, kind: str, spec: object, by: str) -> int:
    """Add a limit or a grant; return its number.

    Args:
        connection: Of :meth:`~..ledger.database.Database.writing`.
        kind: :data:`LIMIT` or :data:`GRANT`.
        spec: What it says.
        by: The id of who adds it.

    Raises:
        RuleError: It says what it may not.
    """
    before = kept(connection)
    told = _checked(before, kind, None, spec)
    number = connection.execute(
        insert(rules).values(kind=kind, spec=_dumped(told)).returning(rules.c.no)
    ).scalar_one()
    _note(connection, f"{kind}_create", by, {"number": number, "now": told})
    return int(number)


def change(connection: Connection, kind: str, number: int, spec: object, by: str) -> None:
    """Put another limit or grant in the place of one; the same arguments.

    Raises:
        RuleError: It says what it may not.
        Unknown: There is none of that number.
    """
    before = kept(connection)
    was = _told(before, kind, number)
    told = _checked(before, kind, number, spec)
    connection.execute(update(rules).where(rules.c.no == number).values(spec=_dumped(told)))
    _note(connection, f"{kind}_change", by, {"number": number, "was": was, "now": told})


def remove(connection: Connection, kind: str, number: int, by: str) -> None:
    """Take a limit or a grant out.

    Raises:
        RuleError: Grants are to it.
        Unknown: There is none of that number.
    """
    before = kept(connection)
    was = _told(before, kind, number)
    _checked(before, kind, number, None)
    connection.execute(delete(rules).where(rules.c.no == number))
    if kind == LIMIT:
        gone = before.limits[number].id
        connection.execute(delete(since).where(since.c.limit_id == gone))
    _note(connection, f"{kind}_delete", by, {"number": number, "was": was})


def replace_all(connection: Connection, given: Rules, by: str) -> None:
    """Put other limits and grants in the place of all that there are."""
    before = kept(connection)
    now = whole(given)
    if whole(before.rules()) == now:
        return
    connection.execute(delete(rules))
    rows = [
        {"kind": kind, "spec": _dumped(spec)}
        for kind in (LIMIT, GRANT)
        for spec in now[_PLURAL[kind]]
    ]
    if rows:
        connection.execute(insert(rules), rows)
    stay = {limit.id for limit in given.limits}
    gone = [limit.id for limit in before.limits.values() if limit.id not in stay]
    connection.execute(delete(since).where(since.c.limit_id.in_(gone)))
    _note(connection, "limits_replace", by, {"was": whole(before.rules()), "now": now})


def whole(given: Rules) -> dict[str, list[dict[str, Any]]]:
    """Return all limits and grants as :func:`~.rules.parse` reads them."""
    return {
        "limits": [as_mapping(limit) for limit in given.limits],
        "grants": [grant_as_mapping(grant, given.limits) for grant in given.grants],
    }


def _told(before: Kept, kind: str, number: int) -> Mapping[str, Any]:
    if kind == LIMIT and number in before.limits:
        return as_mapping(before.limits[number])
    if kind == GRANT and number in before.grants:
        return grant_as_mapping(before.grants[number], tuple(before.limits.values()))
    raise Unknown(f"there is no {kind} {number}")


def _checked(before: Kept, kind: str, number: int | None, spec: object) -> Mapping[str, Any]:
    """Return what a limit or a grant says, if all of them are allowed together with it.

    Args:
        before: Those that there are.
        kind: What it is.
        number: Which of them it is put in the place of; ``None`` if it is added.
        spec: What it is to say; ``None`` if one is taken out.
    """
    others = Kept(dict(before.limits), dict(before.grants))
    of_kind: dict[int, Any] = others.limits if kind == LIMIT else others.grants
    if number is not None:
        of_kind.pop(number)
    if len(of_kind) >= _MOST[kind]:
        raise RuleError((), f"there may be at most {_MOST[kind]:,} {_PLURAL[kind]}")
    told: Mapping[str, Any] = {}
    all_of_them = whole(others.rules())
    if spec is not None:
        read = (
            as_mapping(limit_of(spec))
            if kind == LIMIT
            else grant_as_mapping(
                grant_of(spec, tuple(others.limits.values())), tuple(others.limits.values())
            )
        )
        told = read
        all_of_them[_PLURAL[kind]].append(read)
    try:
        parse(all_of_them)
    except RuleError as error:
        raise RuleError((), error.problem) from None
    return told


def _dumped(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, ensure_ascii=False)


def _note(connection: Connection, action: str, by: str, detail: Mapping[str, Any]) -> None:
    """Leave a line in the audit, and have all processes read the rules anew."""
    said = json.dumps({"by": by, **detail}, ensure_ascii=False)
    connection.execute(insert(audits).values(at=int(time.time()), action=action, detail=said))
    _have_read_anew(connection)


def _have_read_anew(connection: Connection) -> None:
    version = facts.number(connection, facts.LIMITS, hold=True)
    facts.write(connection, facts.LIMITS, version + 1)
