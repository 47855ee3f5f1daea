"""Limits in the ledger: kept, changed with who and when, and what administrators are told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from opentelemetry.instrumentation.open_webui.ledger.database import Database
from opentelemetry.instrumentation.open_webui.ledger.ledger import Unavailable
from opentelemetry.instrumentation.open_webui.ledger.schema import audits
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.limits import admin, table
from opentelemetry.instrumentation.open_webui.limits.admin import AdminError
from opentelemetry.instrumentation.open_webui.limits.budget import Budget
from opentelemetry.instrumentation.open_webui.limits.rules import parse
from unit.ledger.books import booking

pytestmark = pytest.mark.database

PLAIN: dict[str, Any] = {
    "name": "Tokens", "everyone": True, "measure": "tokens", "amount": 1000, "per": "month",
    "counts_from": "start",
}  # fmt: skip
POOL = {**PLAIN, "name": "Money", "measure": "cost", "amount": "2.50", "share": "shared"}
GRANT = {"limit": "Tokens", "user": "u-alice", "more": "50 %", "until": "2099-12-04"}


class InDatabase:
    """A ledger of which only the database is needed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def database(self) -> Database:
        return self._database

    def book(self, booking: Any) -> None:
        raise AssertionError(booking)


@pytest.fixture
def budget(store: Store) -> Iterator[Budget]:
    budget = Budget(InDatabase(store.database))
    yield budget
    budget.close()


def audit(budget: Budget) -> list[tuple[str, dict[str, Any]]]:
    with budget.database().reading() as connection:
        rows = connection.execute(select(audits).order_by(audits.c.no)).all()
    assert all(abs(row.at - time.time()) < 600 for row in rows)
    return [(row.action, json.loads(row.detail)) for row in rows]


def rules_of(budget: Budget) -> Any:
    with budget.database().reading() as connection:
        return table.kept(connection).rules()


def test_limits_are_made_changed_and_deleted_with_who_and_when(budget: Budget) -> None:
    made = admin.create(budget, "limit", PLAIN, "admin-1")
    number = made["number"]
    granted = admin.create(budget, "grant", GRANT, "admin-1")
    assert rules_of(budget) == parse({"limits": [PLAIN], "grants": [GRANT]})
    changed = admin.change(budget, "limit", number, {**PLAIN, "amount": 5}, "admin-2")
    assert changed == {**made, "amount": 5}
    admin.delete(budget, "grant", granted["number"], "admin-2")
    admin.delete(budget, "limit", number, "admin-2")
    assert rules_of(budget) == parse({})
    found = audit(budget)
    assert [action for action, _ in found] == [
        "limit_create", "grant_create", "limit_change", "grant_delete", "limit_delete",
    ]  # fmt: skip
    assert [detail["by"] for _, detail in found] == ["admin-1"] * 2 + ["admin-2"] * 3
    assert (found[2][1]["was"]["amount"], found[2][1]["now"]["amount"]) == (1000, 5)


@pytest.mark.parametrize(
    ("kind", "spec", "status", "text"),
    [
        ("limit", {**PLAIN, "amount": -1}, 422, "amount: -1 must be a whole number"),
        ("limit", {**PLAIN, "name": "Other"}, 422, "counts the same as 'Tokens'"),
        ("limit", {**POOL, "name": "Tokens"}, 422, "is the name of another limit"),
        ("limit", "x", 422, "it must have keys"),
        ("grant", {**GRANT, "limit": "No"}, 422, "'No' is no limit"),
        ("rule", PLAIN, 404, "no 'rule'"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    budget: Budget, kind: str, spec: Any, status: int, text: str
) -> None:
    admin.create(budget, "limit", PLAIN, "admin")
    with pytest.raises(AdminError, match=text) as error:
        admin.create(budget, kind, spec, "admin")
    assert error.value.status == status
    assert rules_of(budget) == parse({"limits": [PLAIN]})
    assert len(audit(budget)) == 1


def test_a_limit_with_grants_stays(budget: Budget) -> None:
    number = admin.create(budget, "limit", PLAIN, "admin")["number"]
    admin.create(budget, "grant", GRANT, "admin")
    with pytest.raises(AdminError, match="is no limit") as error:
        admin.delete(budget, "limit", number, "admin")
    assert error.value.status == 422
    for change in (
        lambda: admin.delete(budget, "limit", 999, "admin"),
        lambda: admin.change(budget, "grant", 999, GRANT, "admin"),
    ):
        with pytest.raises(AdminError) as missing:
            change()
        assert missing.value.status == 404


def test_what_is_kept_in_a_file_is_changed_there(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(json.dumps({"limits": [PLAIN]}))
    budget = Budget(InDatabase(store.database), file=str(path))
    with pytest.raises(AdminError, match="kept in a file") as error:
        admin.create(budget, "limit", POOL, "admin")
    assert error.value.status == 409
    budget.books.take_rules(parse({"limits": [PLAIN]}), {})
    found = admin.listed(budget)
    assert (found["read_only"], found["source"]) == (True, "file")
    assert [one["number"] for one in found["limits"]] == [None]


def test_a_ledger_that_is_away_is_said(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Database:
        raise Unavailable("the ledger is being opened")

    monkeypatch.setattr(budget, "database", away)
    for ask in (
        lambda: admin.listed(budget),
        lambda: admin.mine(budget, "u", ()),
        lambda: admin.create(budget, "limit", PLAIN, "admin"),
    ):
        with pytest.raises(AdminError, match="the ledger is away") as error:
            ask()
        assert error.value.status == 503


def test_how_much_is_used_and_left(budget: Budget, store: Store) -> None:
    now = time.time()
    store.write([booking(now, cost=1_000_000_000), booking(now, user_id="u-bob", cost=500_000_000)])
    for spec in (PLAIN, POOL, {**PLAIN, "name": "O", "observe": True, "amount": 1}):
        admin.create(budget, "limit", spec, "admin")
    admin.create(budget, "grant", GRANT, "admin")
    table_now = rules_of(budget)
    budget.books.take_rules(table_now, {})
    listed = {one["name"]: one for one in admin.listed(budget)["limits"]}
    assert (listed["Money"]["used"], listed["Money"]["allowed"]) == (1.5, 2.5)
    assert (listed["Tokens"]["used"], listed["Tokens"]["allowed"]) == (None, 1000)
    mine = {one["name"]: one for one in admin.mine(budget, "u-alice", ("research",))["limits"]}
    assert set(mine) == {"Tokens", "Money"}
    tokens = mine["Tokens"]
    assert (tokens["used"], tokens["allowed"], tokens["left"]) == (120, 1500, 1380)
    assert tokens["resets_at"] > now
    assert "1,380 tokens are left" in tokens["sentence"]
    assert mine["Money"]["left"] == 1.0
    json.dumps([admin.listed(budget), admin.mine(budget, "u-alice", ())])


def test_what_cannot_be_read_any_more_is_left_out(
    budget: Budget, caplog: pytest.LogCaptureFixture
) -> None:
    admin.create(budget, "limit", PLAIN, "admin")
    with budget.database().writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO usage_ledger_limit (kind, spec) VALUES ('limit', '{\"name\": 5}')"
        )
    assert rules_of(budget) == parse({"limits": [PLAIN]})
    assert "cannot be read" in caplog.text


def test_rules_are_read_anew_when_somebody_changed_them(budget: Budget) -> None:
    source = table.Table()
    first = source.refresh(budget.database)
    assert first is not None
    assert source.refresh(budget.database) is None
    admin.create(budget, "limit", PLAIN, "admin")
    second = source.refresh(budget.database)
    assert second is not None
    assert second[1].keys() == {second[0].limits[0].id}


def test_a_limit_that_is_made_again_counts_anew(budget: Budget) -> None:
    number = admin.create(budget, "limit", PLAIN, "admin")["number"]
    limits = rules_of(budget).limits
    with budget.database().writing() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO usage_ledger_limit_since VALUES ('{limits[0].id}', 5)"
        )
    assert table.first_seen(budget.database(), limits) == {limits[0].id: 5}
    admin.delete(budget, "limit", number, "admin")
    assert table.first_seen(budget.database(), limits)[limits[0].id] > 5


def test_a_limit_that_was_first_seen_by_a_clock_that_is_ahead_counts_from_now_on(
    budget: Budget,
) -> None:
    admin.create(budget, "limit", PLAIN, "admin")
    other = table.Table()
    assert other.refresh(budget.database) is not None
    limits = rules_of(budget).limits
    with budget.database().writing() as connection:
        connection.exec_driver_sql("UPDATE usage_ledger_limit_since SET at = at + 3600")
    known = table.first_seen(budget.database(), limits)
    assert known[limits[0].id] <= time.time()
    told = other.refresh(budget.database)
    assert told is not None
    assert told[1] == known
    assert other.refresh(budget.database) is None
