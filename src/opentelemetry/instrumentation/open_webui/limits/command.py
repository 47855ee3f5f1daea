"""``opentelemetry-open-webui limits``: checks, keeps and explains limits."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import yaml
from sqlalchemy.exc import SQLAlchemyError

from ..ledger.database import Database, DatabaseError
from ..ledger.finding import found, ready
from ..ledger.migrating import NewerLedger
from ..ledger.writer import told
from . import limits_file, table, words
from .limits_file import LimitsFileError
from .rules import Rules
from .standing import Standing, last_groups, standings_of

_BY: Final = "the command limits apply"
_SETTING: Final = "OTEL_PYTHON_OPEN_WEBUI_LIMITS_FILE"


def run(options: argparse.Namespace, environ: Mapping[str, str] | None = None) -> int:
    """Run the command; return its exit status."""
    environ = os.environ if environ is None else environ
    try:
        if options.action == "check":
            return _check(options)
        database = found(options.database, environ)
        try:
            ready(database)
            return _ACTIONS[options.action](database, options, environ)
        finally:
            database.disconnect()
    except (LimitsFileError, DatabaseError, NewerLedger, SQLAlchemyError, OSError) as error:
        text = str(error) if isinstance(error, LimitsFileError) else told(error)
        print(f"limits: {text}", file=sys.stderr)
        return 1


def _check(options: argparse.Namespace) -> int:
    print(f"{options.file} is right: {_counted(limits_file.read(options.file))}.")
    return 0


def _counted(rules: Rules) -> str:
    limits, grants = len(rules.limits), len(rules.grants)
    return f"{limits} limit{'s' * (limits != 1)}, {grants} grant{'s' * (grants != 1)}"


def _apply(database: Database, options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    rules = limits_file.read(options.file)
    with database.writing() as connection:
        table.replace_all(connection, rules, _BY)
    print(f"In {database.name} there are now {_counted(rules)}.")
    if environ.get(_SETTING):
        print(f"They do not hold while LIMITS_FILE is set: {environ[_SETTING]}.")
    return 0


def _export(database: Database, _options: argparse.Namespace, _environ: Mapping[str, str]) -> int:
    with database.reading() as connection:
        kept = table.whole(table.kept(connection).rules())
    yaml.safe_dump(kept, sys.stdout, allow_unicode=True, sort_keys=False)
    return 0


def _explain(database: Database, options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    file = options.file or environ.get(_SETTING)
    with database.reading() as connection:
        rules = limits_file.read(file) if file else table.kept(connection).rules()
        groups = tuple(options.group or last_groups(connection, options.user))
        since = table.known_since(connection, [limit.id for limit in rules.limits])
        found = standings_of(
            connection, rules, since, options.user, groups, time.time(), all_limits=True
        )
    print(f"User {options.user}, in {', '.join(groups) or 'no group'}:")
    for one in found:
        print(*_lines(one), sep="\n")
    return 0


def _lines(found: Standing) -> Iterator[str]:
    limit, allowed = found.decision.limit, found.decision.allowed
    holds = (
        ("is only observed" if limit.observe else "holds")
        if found.decision.holds
        else "does not hold"
    )
    yield f"{limit.name}: {holds}"
    yield f"    {found.decision.why}"
    if not found.decision.holds:
        return
    used = words.amount(found.used, limit.measure)
    if allowed is None or found.left is None:
        yield f"    {used} used, without a limit"
        return
    left = words.amount(found.left, limit.measure)
    back = words.moment(found.resets_at, limit.window.zone, found.now)
    yield f"    {used} of {words.amount(allowed, limit.measure)} used, {left} left, back {back}"


_ACTIONS: Final[Mapping[str, Callable[[Database, argparse.Namespace, Mapping[str, str]], int]]] = {
    "apply": _apply,
    "export": _export,
    "explain": _explain,
}
