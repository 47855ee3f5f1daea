from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError as Refused

from harness.disks import remount, small_disk
from harness.postgres import Postgres
from opentelemetry.instrumentation.open_webui.ledger import facts, migrating
from opentelemetry.instrumentation.open_webui.ledger.checking import check
from opentelemetry.instrumentation.open_webui.ledger.database import Database, of_file, of_url
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS, Period
from opentelemetry.instrumentation.open_webui.ledger.reading import latest, one, total
from opentelemetry.instrumentation.open_webui.ledger.schema import VERSION_TABLE, metadata
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.names import NO_PROVIDER, REFUSED_TASK
from unit.ledger.books import NOON, booking, many, older, summed

pytestmark = pytest.mark.database

_MAKE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.store import Store
Store(of_file(Path(sys.argv[1]))).open()
os.kill(os.getpid(), signal.SIGKILL)
"""

_OPEN_AND_WRITE = """
import sys
from opentelemetry.instrumentation.open_webui.ledger.database import of_url
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from unit.ledger.books import many
store = Store(of_url(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
store.open()
store.write(many(50, int(sys.argv[2])))
"""


def test_a_call_comes_back_as_it_was_booked(store: Store) -> None:
    booked = booking(
        NOON + 0.123,
        parent="0" * 31 + "1",
        chat="6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        units={"image": 2.0},
        estimated=2,
        error="429",
        trace="ab" * 16,
        cost=None,
        price_source=None,
        unpriced=True,
    )
    assert store.write([booked]) == 1
    with store.database.reading() as connection:
        call = one(connection, booked.id)
    assert call is not None
    told = booked._asdict()
    for name, other in (("parent", "parent_id"), ("chat", "chat_id"), ("trace", "trace_id")):
        told[other] = told.pop(name)
    del told["duration"], told["first_chunk"]
    assert {name: getattr(call, name) for name in told} == told
    assert (call.time, call.seconds, call.seconds_to_first_chunk) == (NOON + 0.123, 1.5, 0.3)


@pytest.mark.parametrize(
    "chat", ["local:abc", "channel:x", "sixteen-letters!", "é" * 8, "ünï-çödé"]
)
def test_any_id_of_a_chat_is_kept(store: Store, chat: str) -> None:
    store.write([booking(chat=chat)])
    with store.database.reading() as connection:
        assert latest(connection)[0].chat_id == chat


def test_what_is_written_twice_counts_once(store: Store) -> None:
    bookings = many(50)
    assert store.write(bookings[:30]) == 30
    assert store.write([*bookings, *bookings]) == 20
    assert Store(store.database).write(bookings) == 0
    with store.database.reading() as connection:
        assert total(connection, ALWAYS) == summed(bookings)
    assert not check(store.database).problems


def test_what_was_refused_is_a_row_and_in_no_sum(store: Store) -> None:
    made, refused = booking(NOON + 1), booking(NOON, task=REFUSED_TASK, provider=NO_PROVIDER)
    store.write([refused, made])
    with store.database.reading() as connection:
        assert len(latest(connection)) == 2
        for period in (
            ALWAYS,
            Period(int(NOON) - 1, int(NOON) + 7),
            Period(int(NOON), int(NOON) + 1),
        ):
            expected = summed([one for one in [made] if period.start <= NOON + 1 < period.end])
            assert total(connection, period) == expected
    assert not check(store.database).problems


def test_the_database_refuses_to_change_or_delete_calls(store: Store) -> None:
    store.write([booking()])
    statements = [
        "UPDATE usage_ledger_call SET cost = 0",
        "DELETE FROM usage_ledger_call",
        "UPDATE usage_ledger_audit SET action = ''",
    ]
    if store.database.is_sqlite:
        with store.database.writing() as connection:
            line = "INSERT INTO usage_ledger_audit (at, action, detail) VALUES (1, 'x', '{}')"
            connection.execute(text(line))
    else:
        statements.append("TRUNCATE usage_ledger_call")
    for statement in statements:
        with (
            pytest.raises(Refused, match="append-only"),
            store.database.writing() as connection,
        ):
            connection.execute(text(statement))
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).cost == 12_345


def test_many_who_open_and_write_at_once_make_one_ledger(database: Database) -> None:
    parts = [many(40, seed) for seed in range(8)]
    failures: list[Exception] = []

    def work(part: int) -> None:
        try:
            store = Store(database)
            store.open()
            for start in range(0, 40, 10):
                store.write(parts[part][start : start + 10])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with database.reading() as connection:
        assert total(connection, ALWAYS) == summed(one for part in parts for one in part)
    assert not check(database).problems


# Alembic does not compare this index, which is of an expression.
@pytest.mark.filterwarnings("ignore:.*usage_ledger_call_by_user")
def test_the_tables_are_as_the_migrations_make_them(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def ours(thing: object, name: str, kind: str, reflected: bool, compared: object) -> bool:
        return not (kind == "table" and name == VERSION_TABLE)

    with store.database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": ours, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_many_processes_migrate_an_older_ledger_at_once(database: Database, version: str) -> None:
    older(database, version)
    Store(database).write(many(300))
    url = database.engine.url.render_as_string(hide_password=False)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN_AND_WRITE, url, str(seed)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for seed in range(2, 5)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    for process in processes:
        process.wait()
    assert [process.returncode for process in processes] == [0, 0, 0]
    with database.reading() as connection:
        assert migrating.current(connection) == migrating.newest()
        # Who still wrote as the version before did is told so.
        assert int(facts.read(connection, facts.EPOCH) or 0) > 0
        expected = [*many(300), *(one for seed in range(2, 5) for one in many(50, seed))]
        assert total(connection, ALWAYS) == summed(expected)
    assert not check(database).problems


def test_users_in_the_same_groups_have_sums_in_common(store: Store) -> None:
    for user in ("u-alice", "u-bob"):
        store.write([booking(user_id=user, groups=("b", "a")), booking(user_id=user, groups=())])
    with store.database.reading() as connection:
        query = "SELECT count(DISTINCT membership_no) FROM usage_ledger_membership_sum"
        assert connection.execute(text(query)).scalar() == 3  # Everyone's are among them.


def test_sums_of_nothing_take_no_room(store: Store) -> None:
    store.write([booking(cost=None, error=None)])
    store.write([booking(cost=0, error="429")])
    with store.database.reading() as connection:
        for table in ("standing", "membership"):
            query = f"SELECT DISTINCT calls, errors, cost FROM usage_ledger_{table}_sum"
            assert connection.execute(text(query)).all() == [(2, 1, None)]


def test_postgres_compiles_nothing_that_is_read(postgres: Postgres) -> None:
    database = of_url(postgres.url)
    with database.reading() as connection:
        assert connection.exec_driver_sql("SHOW jit").scalar() == "off"
    with database.writing() as connection:
        assert connection.exec_driver_sql("SHOW jit").scalar() == "on"
    database.disconnect()


def test_a_ledger_of_a_newer_version_is_left_alone(store: Store) -> None:
    with store.database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(migrating.NewerLedger, match="9999, and this package knows those up to"):
        Store(store.database).open()


def test_who_writes_sees_that_the_ledger_is_of_a_newer_version_by_now(store: Store) -> None:
    store.write([booking()])
    # As a server with a newer version of the package, which takes over from ours.
    with store.database.writing() as connection:
        facts.begin_epoch(connection)
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(migrating.NewerLedger):
        store.write([booking()])
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 1


def test_the_view_shows_calls_with_their_texts(store: Store) -> None:
    store.write([booking(user_name="Zoë")])
    with store.database.reading() as connection:
        row = connection.execute(text("SELECT * FROM usage_ledger")).one()
    assert (row.user_name, row.model, row.picked, row.input_tokens) == (
        "Zoë",
        "gpt-std",
        "helpdesk",
        100,
    )
    assert float(row.usd) == pytest.approx(0.000012345)
    assert str(row.time).startswith("2026-09")


def test_a_disk_that_could_not_be_written_can_be_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        file = disk / "usage.db"
        subprocess.run([sys.executable, "-c", _MAKE_AND_DIE, str(file)], check=False)
        assert file.with_name("usage.db-wal").exists()
        remount(disk, "ro")
        # Each is kept, as they may be until the garbage is collected.
        stores = [Store(of_file(file)) for _ in range(3)]
        for store in stores[:2]:
            with pytest.raises(Refused, match="readonly"):
                store.open()
        remount(disk, "rw")
        for store in stores[1:]:
            store.open()
            store.write([booking()])
            store.database.disconnect()


def test_a_file_that_is_taken_away_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "usage.db"
    store = Store(of_file(file))
    store.open()
    store.write([booking()])
    file.rename(file.with_suffix(".old"))
    store.write([booking(), booking()])
    store.database.disconnect()
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 2
