"""What the doctor says of a ledger, and of the ledger of a running server."""

from __future__ import annotations

import builtins
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from harness.openwebui import HOST, free_port
from harness.postgres import Postgres
from opentelemetry.instrumentation.open_webui.doctor import books, judging
from opentelemetry.instrumentation.open_webui.doctor.report import BAD, NOTE, OK, Line, Section
from opentelemetry.instrumentation.open_webui.doctor.servers import Server
from opentelemetry.instrumentation.open_webui.host.ledger_state import booked
from opentelemetry.instrumentation.open_webui.host.presence import Booked, Note
from opentelemetry.instrumentation.open_webui.ledger.database import of_url
from opentelemetry.instrumentation.open_webui.ledger.ledger import Off
from opentelemetry.instrumentation.open_webui.ledger.schema import VERSION_TABLE
from opentelemetry.instrumentation.open_webui.ledger.spool import Spool
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.settings import Settings
from unit.ledger.books import many
from unit.ledger.processes import ledger_in
from unit.ledger.test_ledger import book, eventually

pytestmark = pytest.mark.database

LEDGER = "OTEL_PYTHON_OPEN_WEBUI_LEDGER"


def judged(environ: dict[str, str]) -> Line:
    """The one thing that is said of the ledger of a server with these variables."""
    section = Section("")
    judging.judge_ledger(section, Settings.load({}, environ), environ)
    (line,) = section.lines
    return line


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Those of a server whose data are in a folder."""
    return {LEDGER: "true", "DATA_DIR": str(tmp_path)}


def test_a_ledger_that_is_well(store: Store, environ: dict[str, str], tmp_path: Path) -> None:
    store.write(many(12))
    before = (tmp_path / "usage.db").read_bytes()
    line = judged(environ)
    assert line.mark == OK
    assert line.text == (
        f"{tmp_path}/usage.db: 12 calls, its tables are current, it can be written"
    )
    assert (tmp_path / "usage.db").read_bytes() == before


def test_a_ledger_that_is_off() -> None:
    assert judged({}) == Line(OK, "off")


def test_a_ledger_that_is_yet_to_be_made(environ: dict[str, str], tmp_path: Path) -> None:
    line = judged(environ)
    assert line.mark == NOTE
    assert f"no ledger at {tmp_path}/usage.db: it is made when" in line.text


def test_a_ledger_that_is_away() -> None:
    line = judged({LEDGER: f"postgresql://me:secret@{HOST}:{free_port()}/usage"})
    assert line.mark == BAD
    assert "onnection refused" in line.text
    assert "secret" not in line.printed()


def test_a_ledger_that_is_no_database(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "usage.db").write_bytes(b"This is no database. " * 500)
    line = judged(environ)
    assert line.mark == BAD
    assert "file is not a database" in line.text


@pytest.mark.parametrize(
    ("version", "said"), [("0000", "older than"), ("9999", "this package knows those up to")]
)
def test_a_ledger_of_another_version(
    store: Store, environ: dict[str, str], version: str, said: str
) -> None:
    with store.database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'"))
    line = judged(environ)
    assert line.mark == BAD
    assert said in line.text


def test_a_ledger_that_cannot_be_written(
    store: Store, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "_PATIENCE", 0.05)
    with closing(sqlite3.connect(tmp_path / "usage.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        line = judged(environ)
    assert line.mark == BAD
    assert "database is locked" in line.text


def test_a_ledger_that_may_only_be_read() -> None:
    with Postgres() as postgres:
        store = Store(of_url(postgres.url))
        store.open()
        with store.database.writing() as connection:
            for statement in (
                "CREATE ROLE reader LOGIN",
                "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
            ):
                connection.execute(text(statement))
        store.database.disconnect()
        line = judged({LEDGER: postgres.url.replace("postgres@", "reader@")})
    assert line.mark == BAD
    assert "permission denied" in line.text


def test_calls_that_wait_for_it_are_told(environ: dict[str, str], tmp_path: Path) -> None:
    spool = Spool(tmp_path, "usage.db")
    spool.append(many(3))
    section = Section("")
    books.judge(section, environ)
    assert f"1 files of calls wait in {tmp_path}" in section.lines[-1].text
    spool.let_go()


def test_what_it_needs_may_not_be_there(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, globals: Any = None, locals: Any = None, *more: Any) -> Any:
        if globals is not None and globals.get("__name__") == judging.__name__ and not name:
            raise ImportError("No module named 'sqlalchemy'")
        return real(name, globals, locals, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    line = judged(environ)
    assert line.mark == BAD
    assert "[ledger]" in line.remedy


# Of a running server


def told(state: Booked) -> list[Line]:
    """What is said of a process whose ledger fares so."""
    section = Section("")
    judging.judge_server(section, Server(7, notes=[Note(pid=7, ledger=state)]))
    return [line for line in section.lines if "ledger" in line.text]


FINE = Booked(on=True, where="/data/usage.db", written=5)


def test_a_process_tells_how_its_ledger_fares(tmp_path: Path) -> None:
    assert booked(Off()) == Booked()
    ledger = ledger_in(tmp_path)
    book(ledger, many(5))
    fine = replace(FINE, where=f"{tmp_path}/usage.db")
    # While the database is opened, calls wait in a file.
    eventually(lambda: booked(ledger) == replace(fine, spooled=ledger.spooled))
    ledger.close()


def test_a_process_without_a_ledger_says_nothing_of_it() -> None:
    assert told(Booked()) == []


def test_a_process_whose_ledger_is_well() -> None:
    (line,) = told(FINE)
    assert (line.mark, line.text) == (
        OK,
        "process 7: ledger /data/usage.db: 5 calls written, 0 waited in a file, 0 lost",
    )


@pytest.mark.parametrize(
    ("state", "mark", "said"),
    [
        (
            replace(FINE, problem="disk is full", queued=3, spool_files=1, behind=7.0),
            BAD,
            "cannot be written: disk is full; 3 calls in memory and 1 files of calls wait, for 7 s",
        ),
        (replace(FINE, queued=3, behind=90.0), NOTE, "the ledger is late: 3 calls"),
        (replace(FINE, lost=4), BAD, "the ledger has lost 4 calls"),
    ],
)
def test_what_a_ledger_suffers_is_told(state: Booked, mark: str, said: str) -> None:
    line = told(state)[0]
    assert line.mark == mark
    assert said in line.text
