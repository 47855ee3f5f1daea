"""The limits of a server with these variables: whether they are read, and whether they refuse.

Each is tried with a made-up caller whom nothing is left: by the code that decides in the server, on
the sums of the ledger, in this process. Nothing is written, and no usage is told but that of what
many share.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ..ledger import finding
from ..ledger.database import Database, DatabaseError
from ..ledger.migrating import NewerLedger
from ..ledger.writer import told
from ..limits import holding, limits_file, table, words
from ..limits.accounts import Account
from ..limits.binding import pools
from ..limits.books import Books
from ..limits.gate import Refusal, Wanted
from ..limits.limits_file import LimitsFileError
from ..limits.rules import GROUP, USER, Limit, Rules
from .report import Section

_NOBODY: Final = "doctor"
_SOURCE: Final = "api"
_CHECK: Final = "opentelemetry-open-webui limits check FILE says the same"


def judge(section: Section, file: str, environ: Mapping[str, str]) -> None:
    """Say how the limits are.

    Args:
        section: Where to say it.
        file: The path of their file; empty if they are in the ledger.
        environ: The server's variables.
    """
    where = file or "the ledger"
    try:
        rules = limits_file.read(file) if file else None
        database = finding.found(None, environ)
        try:
            _judge_in(section, database, rules, where)
        finally:
            database.disconnect()
    except LimitsFileError as error:
        section.bad(f"the limits cannot be read: {error}", _CHECK)
    except finding.NoLedger as error:
        section.note(f"{error}: they hold when a server with this setting has started")
    except (DatabaseError, NewerLedger, SQLAlchemyError, OSError) as error:
        section.bad(f"the limits cannot be tried: {told(error)}", "'The ledger' says more")


def _judge_in(section: Section, database: Database, read: Rules | None, where: str) -> None:
    finding.ready(database)
    with database.reading() as connection:
        rules = table.kept(connection).rules() if read is None else read
        if not rules.limits:
            section.note(f"there are none in {where}: nobody is limited")
            return
        kept = [limit for limit in rules.limits if not limit.observe]
        failed = [limit.name for limit in _tried(section, connection, rules) if limit in kept]
    for name in failed:
        section.bad(f"{name} lets somebody in for whom nothing is left", "Report it")
    counts = f"{len(rules.limits)} limits, {len(rules.grants)} grants in {where}"
    observed = len(rules.limits) - len(kept)
    section.brief = f"{counts}: {len(kept) - len(failed)} refuse a made-up caller who has nothing"
    section.brief += f" left, {observed} only observe"
    section.ok(section.brief)


def _tried(section: Section, connection: Connection, rules: Rules) -> Iterator[Limit]:
    """Yield the limits that let in whom nothing is left; say how those that are shared stand."""
    now, books = time.time(), Books()
    spent = Rules(tuple(replace(limit, amount=0) for limit in rules.limits))
    books.take_rules(spent, table.known_since(connection, [limit.id for limit in rules.limits]))
    allowed = {limit.id: amount for limit, _, amount in pools(rules, now)}
    shown = set[str]()
    for limit in rules.limits:
        wanted = _made_up(limit)
        for account in books.accounts_of(wanted):
            account.looked_up(holding.used(connection, account, now), 0, False)
            if account.limit.id in allowed and account.key not in shown:
                shown.add(account.key)
                section.ok(_standing(account, allowed[account.limit.id], now))
        with books.locked():
            answer, _ = books.decide(wanted, None)
        if not isinstance(answer, Refusal):
            yield limit


def _made_up(limit: Limit) -> Wanted:
    """Return a call that a limit is for."""
    who = limit.who
    model = limit.models[0] if limit.models else _NOBODY
    return Wanted(
        who.name if who.kind == USER else _NOBODY,
        (who.name,) if who.kind == GROUP else (),
        model.replace("*", _NOBODY).replace("?", "x"),
        limit.source or _SOURCE,
        direct=limit.direct,
    )


def _standing(account: Account, allowed: int, now: float) -> str:
    limit = account.limit
    state = words.state(limit, account.who, account.span, account.used, allowed, now)
    return f"{limit.name}: {state}"
