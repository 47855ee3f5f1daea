"""Limits by the usage API: who may see and change them, and whom one would refuse."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from opentelemetry.instrumentation.open_webui.host.patching import Patcher
from opentelemetry.instrumentation.open_webui.host.surfaces import usage
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.limits.budget import Budget
from opentelemetry.instrumentation.open_webui.limits.off import Off
from opentelemetry.instrumentation.open_webui.names import NO_PROVIDER, REFUSED_TASK
from opentelemetry.instrumentation.open_webui.providers import DIRECT
from opentelemetry.instrumentation.open_webui.settings import Settings
from unit.host.test_usage_api import API, app, by
from unit.ledger.books import Readable, booking

pytestmark = pytest.mark.database

__all__ = ["app"]

LIMIT: dict[str, Any] = {
    "name": "Tokens",
    "everyone": True,
    "measure": "tokens",
    "amount": 500,
    "per": "month",
    "counts_from": "start",
}
FILE = "limits:\n- {name: Own, everyone: true, measure: requests, amount: 1, per: day}\n"
ROUTES = (
    ("GET", "limits"), ("POST", "limits"), ("POST", "limits/preview"), ("POST", "limits/grants"),
    ("PUT", "limits/1"), ("DELETE", "limits/1"), ("PUT", "limits/grants/1"), ("DELETE", "limits/grants/1"),
)  # fmt: skip


class Place:
    """A server with a ledger and limits, and what is asked of it."""

    def __init__(self, app: FastAPI, folder: Path, file: str | None = None) -> None:
        self.database = of_file(folder / "usage.db")
        self.store = Store(self.database, lambda name: f"id-{name}")
        self.store.open()
        self.book()
        path = folder / "limits.yaml"
        if file is not None:
            path.write_text(file)
        books = SimpleNamespace(database=lambda: self.database, book=lambda _: None)
        self.budget = Budget(books, file=str(path) if file is not None else "")
        self.budget.begin()
        self.client = TestClient(app)
        self.patcher = install(Readable(self.store), self.budget)
        self.wait()

    def book(self) -> None:
        """Two used 720 and 240 tokens, beside what was not asked, and what was by a key of their own."""
        now = time.time()
        calls = [booking(now, user_id="u-2", groups=("staff",)) for _ in range(6)]
        calls += [booking(now, user_id="u-1", picked="desk", groups=()) for _ in range(2)]
        refused = {"provider": NO_PROVIDER, "task": REFUSED_TASK, "input": 10**6}
        calls += [booking(now, user_id="u-1", groups=(), **refused)]
        direct = {"provider": DIRECT, "input": 1000, "output": 0}
        calls += [booking(now, user_id="u-2", groups=("staff",), **direct)]
        self.store.write(calls)

    def wait(self) -> None:
        """Until this process knows the limits."""
        deadline = time.monotonic() + 60
        while self.budget.books.rules is None and time.monotonic() < deadline:
            time.sleep(0.02)

    def ask(self, method: str, path: str, json: Any = None, user: str = "admin") -> Any:
        return self.client.request(method, f"{API}/{path}", json=json, headers=by(user))

    def close(self) -> None:
        self.patcher.remove()
        self.budget.close()
        self.database.disconnect()


class Groups:
    async def refresh(self, user_ids: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        return {user: ("staff",) if user == "u-2" else () for user in user_ids}


def install(ledger: Any, limits: Any) -> Patcher:
    runtime = SimpleNamespace(
        active=True, ledger=ledger, settings=Settings(), limits=limits, groups=Groups()
    )
    patcher = Patcher(usage.TARGETS, lambda: runtime)  # type: ignore[arg-type,return-value]
    patcher.install()
    return patcher


@pytest.fixture
def place(app: FastAPI, tmp_path: Path) -> Iterator[Place]:
    place = Place(app, tmp_path)
    yield place
    place.close()


def test_a_limit_is_made_changed_and_taken_out(place: Place) -> None:
    made = place.ask("POST", "limits", LIMIT)
    assert made.status_code == 201, made.text
    number = made.json()["number"]
    [listed] = place.ask("GET", "limits").json()["limits"]
    assert (listed["number"], listed["name"], listed["amount"]) == (number, "Tokens", 500)
    changed = place.ask("PUT", f"limits/{number}", {**LIMIT, "amount": 700})
    assert (changed.status_code, changed.json()["amount"]) == (200, 700)
    grant = {"limit": "Tokens", "user": "u-2", "more": "50 %", "until": "2099-01-01"}
    granted = place.ask("POST", "limits/grants", grant)
    assert granted.status_code == 201, granted.text
    assert place.ask("DELETE", f"limits/grants/{granted.json()['number']}").status_code == 204
    assert place.ask("DELETE", f"limits/{number}").status_code == 204
    assert place.ask("DELETE", f"limits/{number}").status_code == 404
    assert place.ask("GET", "limits").json()["limits"] == []


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_limits_are_for_admins_and_never_changed_by_the_cookie(
    place: Place, method: str, path: str
) -> None:
    body = None if method in ("GET", "DELETE") else LIMIT
    assert place.ask(method, path, body, user="u-1").status_code == 403
    assert place.client.request(method, f"{API}/{path}", json=body).status_code in (401, 403)
    if method != "GET" and "preview" not in path:
        by_cookie = {"Cookie": "token=admin"}
        answer = place.client.request(method, f"{API}/{path}", json=body, headers=by_cookie)
        assert (answer.status_code, "Authorization" in answer.text) == (403, True)
    assert place.ask("GET", "limits").json()["limits"] == []


WRONG: list[dict[str, Any]] = [
    {},
    {**LIMIT, "amount": -1},
    {**LIMIT, "per": "year"},
    {**LIMIT, "zone": "Mars"},
    {**LIMIT, "nobody": True},
    {**LIMIT, "name": "x" * 101},
    {**LIMIT, "group": "a"},
]


@pytest.mark.parametrize("spec", WRONG)
def test_what_a_limit_may_not_say_is_named(place: Place, spec: dict[str, Any]) -> None:
    for path in ("limits", "limits/preview"):
        answer = place.ask("POST", path, spec)
        assert answer.status_code == 422
        assert isinstance(answer.json()["detail"], str)


def test_what_is_too_much_is_not_read(place: Place) -> None:
    answer = place.ask("POST", "limits", {**LIMIT, "models": ["x" * 200] * 1000})
    assert answer.status_code == 413
    assert place.ask("PUT", "limits/99999999999", LIMIT).status_code == 422


def test_everybody_sees_what_is_left_to_them(place: Place) -> None:
    place.ask("POST", "limits", LIMIT)
    deadline = time.monotonic() + 60
    while not place.ask("GET", "mine/limits", user="u-1").json()["limits"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for user, used in (("u-1", 240), ("u-2", 720)):
        [mine] = place.ask("GET", "mine/limits", user=user).json()["limits"]
        assert (mine["used"], mine["allowed"], mine["left"]) == (used, 500, max(0, 500 - used))
    assert place.client.get(f"{API}/mine/limits").status_code == 401


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, {"u-2": 720}),
        ({"amount": 240}, {"u-2": 720, "u-1": 240}),
        ({"amount": 721}, {}),
        ({"amount": "unlimited"}, {}),
        ({"models": "desk", "amount": 100}, {"u-1": 240}),
        ({"measure": "requests", "amount": 2}, {"u-2": 6, "u-1": 2}),
        ({"source": "ui"}, {}),
        ({"direct": True}, {"u-2": 1720}),
        ({"everyone": None, "group": "staff", "amount": 1}, {"u-2": 720}),
        ({"everyone": None, "user": "u-1", "amount": 1}, {"u-1": 240}),
        ({"share": "shared", "amount": 960}, {None: 960}),
        ({"share": "shared", "amount": 961}, {}),
    ],
)
def test_whom_a_limit_would_refuse_is_shown_before_it_is_made(
    place: Place, changes: dict[str, Any], refused: dict[str | None, int]
) -> None:
    spec = {key: value for key, value in {**LIMIT, **changes}.items() if value is not None}
    found = place.ask("POST", "limits/preview", spec).json()
    assert {row["user_id"]: row["used"] for row in found["data"]} == refused
    assert found["refused"] == len(refused)
    assert place.ask("GET", "limits").json()["limits"] == []


def test_the_preview_counts_only_users_of_what_the_limit_is_for(place: Place) -> None:
    found = place.ask("POST", "limits/preview", {**LIMIT, "models": ["desk"]}).json()
    assert (found["users"], found["refused"]) == (1, 0)


def test_who_has_a_limit_of_their_own_is_not_refused_by_everybodys(place: Place) -> None:
    own = {**LIMIT, "name": "Own", "everyone": None, "user": "u-2", "amount": 10_000}
    made = place.ask("POST", "limits", {k: v for k, v in own.items() if v is not None})
    assert made.status_code == 201
    deadline = time.monotonic() + 60
    while place.ask("POST", "limits/preview", LIMIT).json()["refused"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_those_of_a_file_are_changed_there(app: FastAPI, tmp_path: Path) -> None:
    place = Place(app, tmp_path, FILE)
    found = place.ask("GET", "limits").json()
    assert (found["read_only"], [one["name"] for one in found["limits"]]) == (True, ["Own"])
    for method, path in (("POST", "limits"), ("PUT", "limits/1")):
        assert place.ask(method, path, LIMIT).status_code == 409
    assert place.ask("POST", "limits/preview", LIMIT).status_code == 200
    place.close()


def test_without_limits_there_are_none(app: FastAPI, tmp_path: Path) -> None:
    place = Place(app, tmp_path)
    place.patcher.remove()
    place.patcher = install(Readable(place.store), Off())
    assert place.ask("GET", "mine/limits", user="u-1").json() == {"limits": []}
    assert place.ask("GET", "limits").json()["source"] == "off"
    assert place.ask("POST", "limits", LIMIT).status_code == 409
    place.close()
