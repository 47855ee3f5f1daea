"""What the ledger costs, and how quick its answers are when it is full.

    make bench-ledger                     10 million calls of 2,000 users in two years, in SQLite
    make bench-ledger CALLS=1000000 URL=postgresql://…

The calls are made up, hour by hour: people chat in turns of four calls, programs call in bursts,
few of them a lot. Rows and sums are put in with bulk statements, in the order of time, so that the
database has to lay them out as it would have over the years.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy.exc import SQLAlchemyError

from bench import screens
from bench.results import Result, timed
from opentelemetry.instrumentation.open_webui import ids
from opentelemetry.instrumentation.open_webui.ledger import reading
from opentelemetry.instrumentation.open_webui.ledger.booking import Booking, milliseconds_of
from opentelemetry.instrumentation.open_webui.ledger.bulk import insert_many
from opentelemetry.instrumentation.open_webui.ledger.database import Database, of_file, of_url
from opentelemetry.instrumentation.open_webui.ledger.keeping import thin_out
from opentelemetry.instrumentation.open_webui.ledger.ledger import Ledger
from opentelemetry.instrumentation.open_webui.ledger.periods import Period, edges
from opentelemetry.instrumentation.open_webui.ledger.place import Place
from opentelemetry.instrumentation.open_webui.ledger.reading import Where
from opentelemetry.instrumentation.open_webui.ledger.schema import (
    DAY,
    EPOCH,
    MEASURES,
    MONTH,
    calls,
)
from opentelemetry.instrumentation.open_webui.ledger.schema import HOUR as HOUR_GRAIN
from opentelemetry.instrumentation.open_webui.ledger.store import Store, row_of
from opentelemetry.instrumentation.open_webui.ledger.sums import (
    HOURS_KEPT,
    month_of,
    start_of_month,
)
from unit.sdk import Sdk

USERS: Final = 2_000
GROUPS: Final = 50
MODELS: Final = 20
DAYS: Final = 730
HOUR: Final = 3600
START: Final = 1_735_689_600  # 2025-01-01
TASKS: Final = ("chat", "title_generation", "tags_generation", "follow_up_generation")
# How busy the hours of a day are.
PROFILE: Final = (1, 1, 1, 1, 1, 2, 3, 6, 10, 12, 12, 11, 9, 11, 12, 11, 10, 7, 5, 4, 3, 3, 2, 1)
WEEKEND: Final = 0.2
AT_ONCE: Final = 20_000


class Session(NamedTuple):
    """Some calls of one user in an hour."""

    user: int
    model: int
    source: str
    count: int


class Crowd:
    """People and programs, few of whom call a lot."""

    def __init__(self, seed: int = 7) -> None:
        self.rng = random.Random(seed)
        weights = [1 / (rank + 10) for rank in range(USERS)]
        self.total = list(itertools.accumulate(weights))

    def session(self) -> Session:
        """Return some calls of one of them."""
        rng = self.rng
        user = bisect.bisect(self.total, rng.random() * self.total[-1])
        model = (user * 7 + int(rng.expovariate(1.2))) % MODELS
        if user % 5 == 0:
            return Session(user, model, "api", 1 + int(rng.expovariate(1 / 25)))
        return Session(user, model, "ui", 4 * (1 + int(rng.expovariate(1 / 2))))


def booking(
    user: int, model: int, source: str, task: str, moment: int, rng: random.Random
) -> Booking:
    """One call."""
    call_id = moment << 80 | 0x7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)
    chat = f"{rng.getrandbits(32):08x}-0000-4000-8000-{rng.getrandbits(48):012x}"
    return Booking(
        id=f"{call_id:032x}",
        parent=None,
        user_id=f"{user:08x}-1111-4111-8111-111111111111",
        user_name=f"User {user}",
        groups=tuple(sorted({f"group {user % GROUPS}", f"group {user * 3 % GROUPS}"})),
        source=source,
        auth="session" if source == "ui" else "api_key",
        route="/api/chat/completions",
        task=task,
        operation="chat",
        provider="openai",
        model=f"model-{model}" if task == "chat" else "model-task",
        picked=f"model-{model}",
        chat=chat if source == "ui" else None,
        duration=rng.randrange(300, 60_000),
        first_chunk=rng.randrange(100, 3000) if task == "chat" else None,
        input=rng.randrange(50, 20_000),
        output=rng.randrange(1, 2_000),
        cache_read=rng.randrange(10_000) if rng.random() < 0.4 else None,
        cache_write=None,
        reasoning=rng.randrange(1000) if rng.random() < 0.2 else None,
        estimated=0,
        units=None,
        cost=rng.randrange(10_000, 50_000_000),
        price_source="genai_prices",
        unpriced=False,
        error="429" if rng.random() < 0.01 else None,
        trace=f"{rng.getrandbits(128):032x}",
    )


def hours(count: int) -> Iterator[tuple[int, int]]:
    """Yield the hours (Unix time) and how many calls begin in each."""
    weights = [
        PROFILE[hour % 24] * (WEEKEND if (START // 86_400 + hour // 24 + 3) % 7 >= 5 else 1)
        for hour in range(DAYS * 24)
    ]
    share, left = count / sum(weights), 0.0
    for hour, weight in enumerate(weights):
        left += weight * share
        yield START + hour * HOUR, int(left)
        left -= int(left)


def made(count: int) -> Iterator[list[Booking]]:
    """Yield the calls of each hour, in the order of time."""
    crowd = Crowd()
    rng = crowd.rng
    for hour, wanted in hours(count):
        found: list[Booking] = []
        while len(found) < wanted:
            user, model, source, size = crowd.session()
            size = min(size, wanted - len(found))
            begin = hour * 1000 + rng.randrange(HOUR * 900)
            for number in range(size):
                task = TASKS[number % 4] if source == "ui" else "chat"
                moment = min(begin + number * 4000, hour * 1000 + HOUR * 1000 - 1)
                found.append(booking(user, model, source, task, moment, rng))
        found.sort()
        yield found


def fill(store: Store, count: int) -> None:
    """Put the calls in, and their sums after them."""
    waiting: list[Booking] = []
    done, began = 0, time.monotonic()
    for bookings in itertools.chain(made(count), [None]):
        waiting += bookings or ()
        if len(waiting) >= AT_ONCE or (bookings is None and waiting):
            with store.database.writing(600) as connection:
                rows = [_row(store, connection, one) for one in waiting]
                insert_many(connection, calls, rows)
            store.numbers.kept()
            done += len(waiting)
            waiting.clear()
            show(f"{done:,} of {count:,} calls, {done / (time.monotonic() - began):,.0f} a second")
    kept = HOURS_KEPT[store.database.engine.dialect.name]
    kept_from = START + (DAYS - kept) * 86_400
    for owner, keys, tables, hours_from in (
        ("standing", "c.standing_no", "", kept_from),
        ("membership", "0", "", START),
        (
            "membership",
            "s.membership_no",
            "JOIN usage_ledger_standing s ON s.no = c.standing_no",
            kept_from,
        ),
    ):
        show(f"sums by {owner}")
        with store.database.writing(3600) as connection:
            for grain, seconds, since in ((HOUR_GRAIN, HOUR, hours_from), (DAY, 86_400, START)):
                connection.exec_driver_sql(_sums(owner, keys, tables, grain, seconds, since))
    for owner in ("standing", "membership"):
        _months(store.database, owner)
    thin_out(store.database, kept_from)
    with store.database.engine.connect() as connection:
        if store.database.is_sqlite:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    print(file=sys.stderr)


def _row(store: Store, connection: Any, one: Booking) -> tuple[Any, ...]:
    standing = store.numbers.standing(connection, one)
    kind = store.numbers.kind(connection, one)
    return row_of(one, milliseconds_of(one) // 1000, standing.user_no, standing.no, kind.no)


def _sums(owner: str, key: str, tables: str, grain: int, seconds: int, since: int) -> str:
    """Those of a grain, from a moment on, in the order of time, as they come about."""
    amounts = {
        "calls": "count(*)",
        "answers": "sum(CASE WHEN k.task = 'chat' THEN 1 END)",
        "errors": "sum(CASE WHEN k.error IS NOT NULL THEN 1 END)",
        "unpriced": "NULL",
        "estimated": "NULL",
        **{
            name: f"nullif(sum(c.{name}), 0)"
            for name in ("input", "output", "cache_read", "cache_write", "reasoning", "cost")
        },
    }
    return (
        f"INSERT INTO usage_ledger_{owner}_sum"
        f" SELECT {key}, {grain}, (c.at + {EPOCH}) / {seconds}, k.line_no,"
        f" {', '.join(amounts[name] for name in MEASURES)}"
        f" FROM usage_ledger_call c JOIN usage_ledger_kind k ON k.no = c.kind_no {tables}"
        f" WHERE c.at >= {since - EPOCH} GROUP BY 1, 3, 4 ORDER BY 3, 1"
    )


def _months(database: Database, owner: str) -> None:
    table = f"usage_ledger_{owner}_sum"
    measures = ", ".join(f"sum({name})" for name in MEASURES)
    days = START // 86_400 + DAYS
    with database.writing(3600) as connection:
        for month in range(month_of(START), month_of(days * 86_400) + 1):
            first, end = (start_of_month(one) // 86_400 for one in (month, month + 1))
            connection.exec_driver_sql(
                f"INSERT INTO {table} SELECT {owner}_no, {MONTH}, {month}, line_no, {measures}"
                f" FROM {table} WHERE grain = {DAY} AND bucket >= {first} AND bucket < {end}"
                " GROUP BY 1, 4 ORDER BY 1"
            )


def show(line: str) -> None:
    """Say how far it has come, over the line before."""
    print(f"\r{line:<70}", end="", file=sys.stderr, flush=True)


# What is measured


def size(database: Database, count: int) -> Iterator[Result]:
    """What a call takes on the disk."""
    if database.file is not None:
        total = database.file.stat().st_size
    else:
        with database.reading() as connection:
            total = connection.exec_driver_sql(
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
                " WHERE c.relname LIKE 'usage_ledger%%' AND c.relkind = 'r'"
            ).scalar_one()
    yield Result("size of a call, with all sums", float(total) / count, 200, "bytes")
    for name, part in _parts(database):
        yield Result(f"  of these, {name}", part / count, None, "bytes")


def _parts(database: Database) -> list[tuple[str, float]]:
    query = (
        "SELECT name, sum(pgsize) FROM dbstat GROUP BY 1 ORDER BY 2 DESC LIMIT 6"
        if database.is_sqlite
        else "SELECT relname, pg_relation_size(oid) FROM pg_class"
        " WHERE relname LIKE 'usage_ledger%%' ORDER BY 2 DESC LIMIT 6"
    )
    try:
        with database.reading() as connection:
            return [(name, float(part)) for name, part in connection.exec_driver_sql(query)]
    except SQLAlchemyError:  # SQLite can be built without it.
        return []


def answers(database: Database) -> Iterator[Result]:
    """The questions of the pages, over the last month and the last year of the calls."""
    with database.reading() as connection:
        _, last = reading.ends(connection) or (0, 0)
        heaviest = max(
            reading.sums(connection, Period(0, last), by=("user",)).items(),
            key=lambda item: item[1].calls,
        )[0][0]
        a_group = reading.known_groups(connection)[5][1]
        zone = ZoneInfo("Europe/Berlin")
        now = float(last)

        def ask(by: Sequence[str], period: Period, where: Where) -> Callable[[], object]:
            return lambda: reading.sums(connection, period, where, by, now=now)

        def chart(period: Period, where: Where, by: Sequence[str]) -> Callable[[], object]:
            of = edges(period, "day", zone)
            return lambda: reading.series(connection, of, where, by, now=now)

        # To the second, as the page asks: with what is left of days and hours.
        spans = (
            ("a month", Period(last - 30 * 86_400 - 1234, last + 1), 100),
            ("a year", Period(last - 365 * 86_400 - 1234, last + 1), 300),
        )
        for name, period, most in spans:
            for what, where in (
                ("everybody", Where()),
                ("a group", Where(group=a_group)),
                ("API", Where(source="api")),
            ):
                for by in ((), ("picked",), ("user",)):
                    label = f"{name}, {what}, by {' and '.join(by) or 'nothing'}"
                    yield Result(label, timed(ask(by, period, where)), most, "ms")
                yield Result(
                    f"{name}, {what}, a chart by day and model",
                    timed(chart(period, where, ("picked",))),
                    most,
                    "ms",
                )
        month = spans[0][1]
        yield Result("a user's month", timed(ask((), month, Where(user_id=heaviest))), 5, "ms")
        yield Result(
            "a user's month, by model",
            timed(ask(("picked",), month, Where(user_id=heaviest))),
            5,
            "ms",
        )
        yield Result(
            "a user's last 50 calls",
            timed(lambda: reading.latest(connection, Where(user_id=heaviest))),
            2,
            "ms",
        )
        yield Result("the last 50 calls", timed(lambda: reading.latest(connection)), 2, "ms")
        yield from screens.answers(connection, heaviest)


def writing(store: Store) -> Iterator[Result]:
    """What the threads do, at 200 calls a second and at 1,000."""
    crowd = Crowd(11)
    for batch, count in ((20, 4_000), (100, 10_000)):
        some = _fresh(crowd, count)
        store.write(_fresh(crowd, 5_000))
        began = time.process_time()
        for start in range(0, count, batch):
            store.write(some[start : start + batch])
        taken = (time.process_time() - began) / count
        yield Result(f"writer, batches of {batch}", taken * 1e6, 100, "µs of CPU a row")


def _fresh(crowd: Crowd, count: int) -> list[Booking]:
    """Calls of now, as a server at work has them: several of each user at a time."""
    found: list[Booking] = []
    while len(found) < count:
        user, model, source, size = crowd.session()
        for number in range(size):
            task = TASKS[number % 4] if source == "ui" else "chat"
            found.append(booking(user, model, source, task, time.time_ns() // 1_000_000, crowd.rng))
    return found[:count]


def calling(folder: Path) -> Iterator[Result]:
    """What the end of a call waits for."""
    ledger = Ledger(
        lambda: Place("bench", folder, lambda: of_file(folder / "calling.db")), lambda _name: None
    )
    ledger.begin()
    live = Sdk().call(groups=("research", "teaching"))
    live.end()
    taken = []
    for _ in range(200):
        began = time.perf_counter()
        for _ in range(50):
            ledger.ended(live.call)
        taken.append((time.perf_counter() - began) / 50)
        time.sleep(0.01)
    yield Result("caller, median", statistics.median(taken) * 1e6, 10, "µs")
    ledger.close()
    assert ledger.written


def work(folder: str, per_second: int, seconds: float, report: Any) -> None:
    """One of two workers that share a file."""
    path = Path(folder)
    ledger = Ledger(
        lambda: Place("bench", path, lambda: of_file(path / "usage.db")), lambda _name: None
    )
    ledger.begin()
    time.sleep(2)
    crowd = Crowd(random.randrange(1 << 30))
    some = _fresh(crowd, int(per_second * seconds))
    before, due = ledger.spooled, time.perf_counter()
    for one in some:
        ledger._queue.append(one._replace(id=ids.new()))
        due += 1 / per_second
        time.sleep(max(0.0, due - time.perf_counter()))
    ledger.close()
    report.put((ledger.written, ledger.spooled - before, ledger.problem))


def together(file: Path) -> Iterator[Result]:
    """Two workers that write 500 calls a second into one file."""
    report: Any = multiprocessing.get_context("spawn").Queue()
    seconds = 20.0
    workers = [
        multiprocessing.get_context("spawn").Process(
            target=work, args=(str(file.parent), 250, seconds, report)
        )
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    done = [report.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    yield Result("two workers, 500 calls a second: written", sum(one[0] for one in done), None, "")
    yield Result("  of these, after a wait in the spool", sum(one[1] for one in done), None, "")
    yield Result("  lock errors", sum(bool(one[2]) for one in done), 0, "")


def opening(database: Database) -> Iterator[Result]:
    """What the start of a server with a full ledger waits for, beside the server."""

    def again() -> None:
        database.disconnect()
        Store(database).open()

    yield Result("opening a full ledger", timed(again) / 1000, 0.2, "s")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--url", help="a PostgreSQL; SQLite if not given")
    parser.add_argument("--folder", help="where the file is, and stays")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        file = folder / "usage.db"
        database = of_url(options.url) if options.url else of_file(file)
        store = Store(database, str)
        store.open()
        with database.reading() as connection:
            is_empty = reading.ends(connection) is None
        if is_empty:
            fill(store, options.calls)
            if not database.is_sqlite:
                with database.engine.connect() as connection:
                    connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
                        "VACUUM ANALYZE"
                    )
        print(f"{options.calls:,} calls of {USERS:,} users in {DAYS} days, {database.engine.name}")
        parts: list[Iterator[Result]] = [
            size(database, options.calls),
            opening(database),
            answers(database),
            calling(Path(temporary)),
            writing(store),
        ]
        if database.is_sqlite:
            parts.append(together(file))
        for result in itertools.chain.from_iterable(parts):
            print(result, flush=True)
        database.disconnect()


if __name__ == "__main__":
    main()
