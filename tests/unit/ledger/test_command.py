from __future__ import annotations

import csv
import io
import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from harness.postgres import Postgres
from opentelemetry.instrumentation.open_webui.__main__ import main
from opentelemetry.instrumentation.open_webui.ledger import chargeback, printing
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.finding import found
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS
from opentelemetry.instrumentation.open_webui.ledger.reading import Sums
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.settings import PREFIX
from unit.ledger.books import NOON, booking, many, summed

pytestmark = pytest.mark.database

EVIL = '=HYPERLINK("http://evil","x")'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


@pytest.fixture
def filled(file: Path) -> Store:
    store = Store(of_file(file))
    store.open()
    store.write(many(200))
    return store


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (PREFIX + "LEDGER", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["opentelemetry-open-webui", "ledger", *arguments])
    return main()


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_report_is_found_and_equals_the_calls(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "report", "--format", "csv", "--by", "user,model") == 0
    rows = rows_of(capsys.readouterr().out)
    whole = summed(many(200))
    assert sum(int(row["requests"]) for row in rows) == whole.calls
    assert sum(Decimal(row["cost USD"]) for row in rows) == Decimal(whole.cost) / 10**9
    assert {row["user"] for row in rows} == {f"User {number}" for number in range(6)}


@pytest.mark.parametrize("rule", [("split",), ("first", "--priority", "c,b")])
def test_what_is_charged_is_the_total_to_the_nano_dollar(
    filled: Store,
    rule: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ("report", "--charge", *rule, "--format", "csv")
    assert run(monkeypatch, *command) == 0
    first = capsys.readouterr().out
    rows = rows_of(first)
    whole = summed(many(200))
    assert sum(Decimal(row["cost USD"]) for row in rows) == Decimal(whole.cost) / 10**9
    assert sum(int(row["requests"]) for row in rows) == whole.calls
    assert {row["group"] for row in rows} <= {"a", "b", "c", "(none)"}
    filled.write([booking(NOON + 90 * 86_400, user_id="u-new", user_name="New")])
    assert run(monkeypatch, *command, "--to", "2026-10-31") == 0
    assert capsys.readouterr().out == first


def test_shares_are_whole_and_the_rest_goes_to_the_first() -> None:
    shares = chargeback.split(("a", "b", "c"), Sums(calls=1, cost=11))
    assert [shares[name].cost for name in "abc"] == [4, 4, 3]
    assert [shares[name].calls for name in "abc"] == [1, 0, 0]
    rule = chargeback.first(("z", "b"))
    assert list(rule(("a", "b"), Sums(1))) == ["b"]
    assert list(rule(("d", "c"), Sums(1))) == ["c"]


def test_calls_without_a_price_are_listed(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "report", "--charge", "split")
    told = capsys.readouterr().out
    assert "Without a known price" in told
    assert "gpt-mini" in told.partition("Without a known price")[2]
    with filled.database.reading() as connection:
        found = chargeback.unpriced(connection, ALWAYS)
    assert sum(used.unpriced for used in found.values()) == summed(many(200)).unpriced


def test_a_spreadsheet_runs_nothing_of_an_export(
    filled: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled.write([booking(user_name=EVIL, groups=("+1", "@x"), picked="-1+2;=3")])
    output = tmp_path / "calls.csv"
    assert run(monkeypatch, "export", "--output", str(output), "--user", "u-alice") == 0
    (row,) = rows_of(output.read_text("utf-8"))
    assert row["user_name"] == f"'{EVIL}"
    assert (row["groups"], row["picked"]) == ("'+1; '@x", "'-1+2;'=3")
    assert row["cost_usd"] == "0.000012345"
    assert run(monkeypatch, "export", "--format", "json", "--user", "u-alice") == 0
    assert json.loads(capsys.readouterr().out)["user_name"] == EVIL


def test_an_export_has_all_calls(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "export")
    assert {row["id"] for row in rows_of(capsys.readouterr().out)} == {one.id for one in many(200)}


def test_keeping_it_in_order(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check") == 0
    assert "200 calls" in capsys.readouterr().out
    assert run(monkeypatch, "forget", "u-1") == 0
    assert "forgotten-" in capsys.readouterr().out
    assert run(monkeypatch, "forget", "u-1") == 1
    assert run(monkeypatch, "prune", "--days", "1") == 0
    assert run(monkeypatch, "check") == 0
    filled.write([booking()])
    with filled.database.writing() as connection:
        connection.execute(text("UPDATE usage_ledger_membership_sum SET calls = calls + 1"))
    capsys.readouterr()
    assert run(monkeypatch, "check") == 1
    assert "Something is wrong" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("report", "--month", "2026-13"), 2, "--month: a month is 2026-11"),
        (("report", "--from", "yesterday"), 2, "--from: a day is"),
        (("report", "--zone", "Mars/Olympus"), 2, "is no time zone"),
        (("report", "--by", "moon"), 2, "'moon' is none of user, group"),
        (("check", "--database", "/nowhere/usage.db"), 1, "there is no file"),
        (("check", "--database", "mysql://me:secret@h/x"), 1, "mysql is not supported"),
        (("check", "--database", "postgresql://me:secret@127.0.0.1:1/x"), 1, "refused"),
        (("check", "--database", "postgresql+asyncpg://h/x"), 1, "asyncpg is not supported: use"),
    ],
)
def test_what_is_wrong_is_named(
    filled: Store,
    arguments: tuple[str, ...],
    status: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *arguments) == status
    error = capsys.readouterr().err
    assert told in error
    assert "secret" not in error
    assert "Traceback" not in error


def test_where_there_is_none_it_says_how_to_name_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    assert run(monkeypatch, "check") == 1
    assert "--database PATH-OR-URL" in capsys.readouterr().err
    of_file(file).engine.connect().close()
    assert run(monkeypatch, "check") == 1
    assert "there is no ledger in" in capsys.readouterr().err


def test_a_ledger_of_another_version_is_named(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for version, told in (("9999", "Use the package of the server"), ("0000", "brought up")):
        with filled.database.writing() as connection:
            connection.execute(text(f"UPDATE usage_ledger_version SET version_num = '{version}'"))
        assert run(monkeypatch, "report") == 1
        assert told in capsys.readouterr().err


def test_it_finds_the_database_of_open_webui(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from opentelemetry.instrumentation.open_webui.ledger.database import of_url
    from unit.ledger.conftest import emptied

    database = of_url(postgres.url)
    emptied(database)
    store = Store(database)
    store.open()
    store.write(many(20))
    database.disconnect()
    monkeypatch.setenv("DATABASE_URL", postgres.url)
    assert run(monkeypatch, "check") == 0
    assert "20 calls" in capsys.readouterr().out


def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = io.StringIO()
    records = [
        {"user": "多拉" * 20, "requests": 1_234_567},
        {"user": "e\u0301" * 60, "requests": 1},
    ]
    printing.as_table(records, ("user", "requests"), out)
    lines = out.getvalue().splitlines()
    assert max(printing._width(line) for line in lines) <= 40
    assert lines[2].endswith("1,234,567")
    assert "…" in lines[2]


PARTS = {"TYPE": "postgresql", "USER": "me", "HOST": "db", "PORT": "5433", "NAME": "webui"}


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        ({"DATABASE_URL": "postgres://me:pw@db/webui"}, "me:***@db/webui"),
        ({f"DATABASE_{part}": value for part, value in PARTS.items()}, "me@db:5433/webui"),
        (
            {f"DATABASE_{part}": v for part, v in {**PARTS, "PASSWORD": "pw"}.items()},
            "me:***@db:5433/webui",
        ),
        (
            {
                "DATABASE_URL": "postgres://me@db/webui",
                PREFIX + "LEDGER": "postgresql://me@other/usage",
            },
            "me@other/usage",
        ),
    ],
)
def test_it_is_where_open_webui_has_its_own_data(environ: dict[str, str], where: str) -> None:
    database = found(None, environ)
    assert database.name.partition("//")[2] == where
