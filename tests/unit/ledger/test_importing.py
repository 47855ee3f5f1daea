"""What Open WebUI had before the ledger, from tables as it makes them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from opentelemetry.instrumentation.open_webui.ledger import importing
from opentelemetry.instrumentation.open_webui.ledger.checking import check
from opentelemetry.instrumentation.open_webui.ledger.importing import Import
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS
from opentelemetry.instrumentation.open_webui.ledger.place import Host
from opentelemetry.instrumentation.open_webui.ledger.reading import Where, latest, sums, total
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from unit.ledger.books import booking

pytestmark = pytest.mark.database

MADE = (
    "CREATE TABLE chat_message (id TEXT PRIMARY KEY, chat_id TEXT, user_id TEXT, role TEXT,"
    " model_id TEXT, usage JSON, error JSON, created_at BIGINT)",
    'CREATE TABLE "group" (id TEXT PRIMARY KEY, name TEXT)',
    "CREATE TABLE group_member (id TEXT PRIMARY KEY, group_id TEXT, user_id TEXT)",
)
DAY_BEFORE = int(time.time()) - 86_400


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{tmp_path}/webui.db")
    with engine.begin() as connection:
        for statement in MADE:
            connection.execute(text(statement))
        connection.execute(text("""INSERT INTO "group" VALUES ('g-1', 'research')"""))
        connection.execute(text("INSERT INTO group_member VALUES ('m', 'g-1', 'u-1')"))
    return engine


def add(engine: Engine, **values: Any) -> None:
    plain = {
        "id": f"c-{values.get('number', 0)}",
        "chat_id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        "user_id": "u-1",
        "role": "assistant",
        "model_id": "gpt-std",
        "usage": {"input_tokens": 10, "output_tokens": 4},
        "error": None,
        "created_at": DAY_BEFORE,
    }
    values.pop("number", None)
    row = {**plain, **values}
    row["usage"], row["error"] = json.dumps(row["usage"]), json.dumps(row["error"])
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO chat_message VALUES (:id, :chat_id, :user_id, :role, :model_id,"
                " :usage, :error, :created_at)"
            ),
            row,
        )


def add_ten_in_parts_of_three(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_AT_ONCE", 3)
    for number in range(10):
        add(engine, number=number)


def imported(store: Store, engine: Engine | None) -> Import:
    work = Import(lambda: Host(None, engine))
    while work.step(store) is not None:
        pass
    return work


def test_stored_answers_are_taken_over_and_marked(store: Store, engine: Engine) -> None:
    add(engine, number=1)
    add(engine, number=2, role="user")
    add(engine, number=3, usage={"prompt_tokens": 7, "completion_tokens": 1, "cost": 0.5})
    add(engine, number=4, usage=None, created_at=DAY_BEFORE * 1000)
    add(engine, number=5, error={"content": "no"}, user_id="u-2")
    add(engine, number=6, created_at=int(time.time()) + 1000)
    imported(store, engine)
    with store.database.reading() as connection:
        found = {call.input: call for call in latest(connection, Where(user_id="u-1"))}
        assert set(found) == {10, 7, None}
        assert {call.imported for call in found.values()} == {True}
        assert (found[10].unpriced, found[10].cost, found[10].source) == (True, None, "ui")
        assert (found[7].cost, found[7].price_source) == (500_000_000, "provider")
        assert found[None].time == DAY_BEFORE
        assert found[10].groups == ("research",)
        assert latest(connection, Where(user_id="u-2"))[0].error == "_OTHER"
        assert sums(connection, ALWAYS, Where(group_id="g-1")).get((), None) is not None
        assert total(connection, ALWAYS).calls == 4
    assert not check(store.database).problems


def test_it_is_done_once_however_often_it_is_begun(
    store: Store, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_ten_in_parts_of_three(engine, monkeypatch)
    # The first process is killed after its first step; its time is over at once.
    monkeypatch.setattr(importing, "_LEASE", -1.0)
    assert Import(lambda: Host(None, engine)).step(store) is not None
    imported(store, engine)
    add(engine, number=100)
    imported(store, engine)
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 10


def test_two_processes_do_not_do_it_at_once(
    store: Store, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_ten_in_parts_of_three(engine, monkeypatch)
    first, second = Import(lambda: Host(None, engine)), Import(lambda: Host(None, engine))
    assert first.step(store) == importing._NEXT
    assert second.step(store) == importing._LEASE
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 3
    while first.step(store) is not None:
        pass
    assert second.step(store) is None


def test_who_began_it_by_a_clock_that_was_ahead_keeps_nobody_out(
    store: Store, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_ten_in_parts_of_three(engine, monkeypatch)
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda now=time.time: now() + 1000.0)
        assert Import(lambda: Host(None, engine)).step(store) == importing._NEXT
    imported(store, engine)
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 10


def test_a_version_without_such_a_table_has_nothing(store: Store, tmp_path: Path) -> None:
    store.write([booking()])
    imported(store, create_engine(f"sqlite:///{tmp_path}/older.db"))
    imported(store, None)
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 1
