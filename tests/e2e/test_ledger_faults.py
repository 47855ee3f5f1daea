"""What befalls the ledger of a real server costs no answer, and no call once it is over."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy.exc import SQLAlchemyError

from e2e.servers import PREFIX
from harness.disks import fill, remount, small_disk
from harness.openwebui import OpenWebUI
from harness.postgres import Postgres
from harness.provider import Provider
from harness.seed import seeded_server
from opentelemetry.instrumentation.open_webui.ledger.checking import check
from opentelemetry.instrumentation.open_webui.ledger.database import Database, of_file, of_url
from opentelemetry.instrumentation.open_webui.ledger.migrating import current, newest
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS
from opentelemetry.instrumentation.open_webui.ledger.reading import total
from opentelemetry.instrumentation.open_webui.ledger.schema import VERSION_TABLE
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from unit.ledger.books import many, older

DISK = 4 << 20
SOON = 60.0
CALLERS = 4


class Books:
    """A server and its ledger."""

    def __init__(self, server: OpenWebUI, provider: Provider) -> None:
        self.server = server
        self.provider = provider

    @property
    def url(self) -> str:
        return self.server.extra_env[PREFIX + "LEDGER"]

    def rows(self) -> int:
        """How many calls are in it; -1 as long as there is none."""
        database = of_url(self.url)
        try:
            with database.reading() as connection:
                return total(connection, ALWAYS).calls
        except SQLAlchemyError:
            return -1
        finally:
            database.disconnect()

    def ask(self, times: int = 3) -> None:
        """Let somebody ask; each has to be answered."""
        for _ in range(times):
            assert self.server.chat("alice", "gpt-std", "case=faults").content()

    def says(self, text: str) -> None:
        """Wait until the log does."""
        eventually(lambda: text in self.server.log_text())

    def becomes_whole(self, before: int = 0) -> None:
        """Wait until all that the provider served is in it, and look whether sums equal rows.

        Args:
            before: How many calls it had before.
        """
        self.provider.wait_idle(0.2)
        served = len(self.provider.snapshot())
        eventually(lambda: self.rows() == before + served)
        database = of_url(self.url)
        assert not check(database).problems
        database.disconnect()

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Let several ask all the time; each has to be answered."""
        stop = Event()

        def caller() -> None:
            while not stop.is_set():
                self.ask(1)

        with ThreadPoolExecutor(CALLERS) as callers:
            asking = [callers.submit(caller) for _ in range(CALLERS)]
            try:
                yield
            finally:
                stop.set()
        for one in asking:
            one.result()


def eventually(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with small_disk(tmp_path_factory.mktemp("faults") / "disk", DISK) as disk:
        yield disk


@pytest.fixture(scope="module")
def books(provider: Provider, disk: Path) -> Iterator[Books]:
    """A server whose ledger is on a disk of its own."""
    env = {PREFIX + "LEDGER": f"sqlite:///{disk}/usage.db", "OTEL_SDK_DISABLED": "true"}
    with seeded_server(provider, launcher="instrument", env=env) as server:
        books = Books(server, provider)
        provider.clear()
        books.ask()
        books.becomes_whole()
        yield books


@pytest.fixture
def other(disk: Path) -> Iterator[sqlite3.Connection]:
    """Another program that has the file open."""
    with closing(sqlite3.connect(disk / "usage.db", isolation_level=None)) as other:
        yield other


def test_a_locked_file_and_then_one_of_a_newer_version(
    books: Books, other: sqlite3.Connection
) -> None:
    version = other.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0]
    other.execute("BEGIN IMMEDIATE")
    books.ask()
    books.says("cannot be written: database is locked")
    other.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    other.execute("COMMIT")
    books.says("this package knows those up to")
    before = books.rows()
    books.ask()
    other.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", [version])
    books.becomes_whole()
    assert books.rows() >= before + 3


def test_a_full_disk(books: Books, disk: Path) -> None:
    filler = fill(disk)
    # The last page may have room for some.
    for _ in range(100):
        books.ask(1)
        if "disk is full" in books.server.log_text():
            break
    books.says("disk is full")
    books.ask()
    filler.unlink()
    books.becomes_whole()


def test_a_server_that_is_killed_and_comes_back_to_a_disk_that_cannot_be_written(
    books: Books, disk: Path
) -> None:
    books.provider.wait_idle(0.2)
    before, served = books.rows(), len(books.provider.snapshot())
    assert before == served
    books.ask(20)
    # What ended longer ago than a moment is written by now, however busy the machine is.
    eventually(lambda: books.rows() >= before + 20)
    books.server.kill()
    remount(disk, "ro")
    books.server.start()
    books.ask()
    books.says("cannot be written: attempt to write a readonly database")
    remount(disk, "rw")
    books.becomes_whole()


def test_a_ledger_of_the_version_before_is_brought_up_to_date_without_a_pause(
    books: Books, disk: Path
) -> None:
    """However long it takes: here it begins only once the server is up and has answered."""
    books.server.stop()
    file = disk / "older.db"
    database = of_file(file)
    older(database, "0001")
    before = many(3000)
    Store(database).write(before)
    books.server.extra_env[PREFIX + "LEDGER"] = f"sqlite:///{file}"
    books.provider.clear()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        books.server.start()
        books.ask()
        assert version_of(database) == "0001"
        other.execute("COMMIT")
    while version_of(database) == "0001":
        assert books.server.request("GET", "/health", timeout=5.0).status == 200
    books.ask()
    books.becomes_whole(len(before))
    assert version_of(database) == newest()
    database.disconnect()


def version_of(database: Database) -> str | None:
    with database.reading() as connection:
        return current(connection)


def test_a_postgres_that_is_away_and_then_crashes(books: Books) -> None:
    postgres = Postgres()
    books.server.stop()
    books.server.extra_env[PREFIX + "LEDGER"] = postgres.url
    books.provider.clear()
    books.server.start()
    books.ask()
    books.says("Connection refused")
    with postgres:
        books.becomes_whole()
        with books.traffic():
            before = books.rows()
            eventually(lambda: books.rows() > before + 20)
            postgres.restart()
            back = books.rows()
            eventually(lambda: books.rows() > back + 20)
        books.becomes_whole()
        books.server.stop()
