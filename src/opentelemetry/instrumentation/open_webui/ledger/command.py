"""``opentelemetry-open-webui ledger``: reports, exports, and what keeps a ledger in order."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, TextIO
from zoneinfo import ZoneInfo

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from . import chargeback
from .arguments import COLUMNS
from .checking import check
from .database import Database, DatabaseError
from .finding import NoLedger, found, ready
from .keeping import forget, prune
from .migrating import NewerLedger
from .periods import ALWAYS, Period, edges
from .printing import FORMATS, Record, as_csv, as_json, as_table, bar, usd
from .reading import Call, Sums, Where, names_of, oldest_first, sums, total
from .sums import DAY_SECONDS
from .writer import told

_MEASURES: Final = ("requests", "failed", "input tokens", "output tokens", "cost USD", "unpriced")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONTH: Final = re.compile(r"\d{4}-\d{2}")


def run(options: argparse.Namespace, environ: Mapping[str, str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        database = found(options.database, os.environ if environ is None else environ)
        try:
            ready(database)
            return _ACTIONS[options.action](database, options)
        finally:
            database.disconnect()
    except _Usage as error:
        print(f"ledger: {error}", file=sys.stderr)
        return 2
    except NoLedger as error:
        print(f"ledger: {error}. Name it: --database PATH-OR-URL", file=sys.stderr)
        return 1
    except (DatabaseError, NewerLedger, SQLAlchemyError, OSError) as error:
        print(f"ledger: {told(error)}", file=sys.stderr)
        return 1


class _Usage(Exception):
    """Something on the command line is wrong."""


def _report(database: Database, options: argparse.Namespace) -> int:
    period, where = _period(options), _where(options)
    write = FORMATS[options.format]
    with database.reading() as connection:
        if options.charge:
            _charge(connection, period, where, options)
            return 0
        by = _by(options.by)
        found = sums(connection, period, where, by)
        names = _names(connection, by, found)
        whole = total(connection, period, where)
    columns = [column for name in by for column in COLUMNS[name]] + list(_MEASURES)
    records = [_record(_cells(by, key, names), used) for key, used in _sorted(found)]
    write(records, columns, sys.stdout)
    if options.format == "table":
        print(f"\nIn all: {_sentence(whole)}")
    return 0


def _charge(
    connection: Connection, period: Period, where: Where, options: argparse.Namespace
) -> None:
    order = [name.strip() for name in options.priority.split(",") if name.strip()]
    rule = chargeback.split if options.charge == "split" else chargeback.first(order)
    charged = chargeback.charges(connection, period, rule, where)
    write = FORMATS[options.format]
    records = [_record({"group": name}, charged[name]) for name in sorted(charged)]
    if options.format != "table":
        write(records, ("group", *_MEASURES), sys.stdout)
        return
    write(records, ("group", *_MEASURES), sys.stdout)
    print(f"\nIn all: {_sentence(sum(charged.values(), start=Sums()))}")
    missing = chargeback.unpriced(connection, period, where)
    if missing:
        print("\nWithout a known price, and so not in the cost:")
        as_table(
            [
                _record({"provider": provider, "model": model}, used)
                for (provider, model), used in sorted(missing.items())
            ],
            ("provider", "model", "unpriced", "input tokens", "output tokens"),
            sys.stdout,
        )


def _by(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    wrong = [name for name in names if name not in COLUMNS]
    if wrong:
        raise _Usage(f"--by: {wrong[0]!r} is none of {', '.join(COLUMNS)}")
    return names


def _names(
    connection: Connection, by: Sequence[str], found: Iterable[tuple[Any, ...]]
) -> dict[str, str | None]:
    if "user" not in by:
        return {}
    place = list(by).index("user")
    return names_of(connection, {key[place] for key in found})


def _cells(
    by: Sequence[str], key: tuple[Any, ...], names: Mapping[str, str | None]
) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, value in zip(by, key, strict=True):
        if name == "user":
            cells |= {"user id": value, "user": names.get(value)}
        else:
            cells[COLUMNS[name][0]] = value[1] if name == "group" else value
    return cells


def _sorted(found: Mapping[tuple[Any, ...], Sums]) -> list[tuple[tuple[Any, ...], Sums]]:
    """The greatest first, and always in the same order."""
    return sorted(
        found.items(),
        key=lambda item: (-item[1].cost, -item[1].input - item[1].output, str(item[0])),
    )


def _record(cells: Record, used: Sums) -> dict[str, Any]:
    # Where nothing has a price, the cost is not 0 but unknown.
    cost = usd(used.cost) if used.cost or not used.unpriced else None
    amounts = (used.calls, used.errors, used.input, used.output, cost, used.unpriced)
    return {**cells, **dict(zip(_MEASURES, amounts, strict=True))}


def _sentence(used: Sums) -> str:
    return (
        f"{used.calls:,} requests, {used.input:,} input and {used.output:,} output tokens,"
        f" {usd(used.cost):f} USD, {used.unpriced:,} without a known price."
    )


def _export(database: Database, options: argparse.Namespace) -> int:
    period, where = _period(options), _where(options)
    show = bar("Calls") if options.output else _silent
    with database.reading() as connection, _opened(options.output) as out:
        count = total(connection, period, where).calls
        records = _counted(map(_exported, oldest_first(connection, period, where)), count, show)
        write = {"csv": as_csv, "json": as_json}[options.format]
        write(records, _EXPORTED, out)
    return 0


_EXPORTED: Final = tuple("cost_usd" if one.name == "cost" else one.name for one in fields(Call))


def _exported(call: Call) -> dict[str, Any]:
    cells = {one.name: getattr(call, one.name) for one in fields(Call)}
    cells["time"] = datetime.fromtimestamp(call.time, UTC).isoformat(timespec="milliseconds")
    cells["groups"] = "; ".join(call.groups)
    cells["units"] = "; ".join(f"{unit}: {amount:g}" for unit, amount in call.units.items())
    cells["cost_usd"] = usd(cells.pop("cost"))
    return cells


def _counted(
    records: Iterable[Record], count: int, show: Callable[[int, int], None]
) -> Iterator[Record]:
    step = max(1, count // 200)
    for number, record in enumerate(records, 1):
        yield record
        if number % step == 0 or number == count:
            show(number, count)


def _silent(_done: int, _of: int) -> None:
    pass


@contextlib.contextmanager
def _opened(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    # Lines of CSV bring their own ends.
    with open(path, "w", encoding="utf-8", newline="") as file:
        yield file


def _prune(database: Database, options: argparse.Namespace) -> int:
    taken = prune(database, int(time.time()) - options.days * DAY_SECONDS, bar("Months"))
    print(f"{taken.calls:,} calls of {usd(taken.cost):f} USD were taken out.")
    return 0


def _forget(database: Database, options: argparse.Namespace) -> int:
    done = forget(database, options.user)
    if done is None:
        print(f"ledger: no user {options.user} is in the ledger", file=sys.stderr)
        return 1
    print(f"The user is {done.pseudonym} from now on, in all {done.calls:,} calls.")
    return 0


def _check(database: Database, _options: argparse.Namespace) -> int:
    done = check(database, bar("Months"))
    for line in (*done.problems, *done.remarks):
        print(line)
    state = "Something is wrong." if done.problems else "All sums equal the calls."
    print(f"{done.calls:,} calls in {database.name}. {state}")
    return 1 if done.problems else 0


_ACTIONS: Final[Mapping[str, Callable[[Database, argparse.Namespace], int]]] = {
    "report": _report,
    "export": _export,
    "prune": _prune,
    "forget": _forget,
    "check": _check,
}


def _where(options: argparse.Namespace) -> Where:
    return Where(
        user_id=options.user,
        group=options.group,
        source=options.source,
        provider=options.provider,
        model=options.model,
        picked=options.picked,
    )


def _period(options: argparse.Namespace) -> Period:
    try:
        zone = ZoneInfo(options.zone)
    except (KeyError, ValueError, OSError):
        raise _Usage(f"--zone: {options.zone!r} is no time zone, such as Europe/Berlin") from None
    if options.month:
        start, end = _span(options.month, _MONTH, "month", zone, "--month: a month is 2026-11")
        return Period(start, end)
    start, end = ALWAYS.start, ALWAYS.end
    if options.start:
        start, _ = _span(options.start, _DAY, "day", zone, "--from: a day is 2026-11-30")
    if options.end:
        _, end = _span(options.end, _DAY, "day", zone, "--to: a day is 2026-11-30")
    return Period(start, end)


def _span(
    text: str, pattern: re.Pattern[str], every: str, zone: ZoneInfo, otherwise: str
) -> tuple[int, int]:
    """Return when a day or a month begins and ends."""
    try:
        if not pattern.fullmatch(text):
            raise ValueError
        day = datetime.fromisoformat(text if every == "day" else f"{text}-01")
        moment = int(day.replace(tzinfo=zone).timestamp())
        start, end = edges(Period(moment, moment + 1), every, zone)
    except (ValueError, OverflowError):
        raise _Usage(otherwise) from None
    return start, end
