"""The usage API in an app like Open WebUI's: who may see what, pages, formats, refusals."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import pairwise, product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.testclient import TestClient
from starlette.staticfiles import StaticFiles

from opentelemetry.instrumentation.open_webui import guard
from opentelemetry.instrumentation.open_webui.host.patching import MAIN, Patcher
from opentelemetry.instrumentation.open_webui.host.surfaces import usage
from opentelemetry.instrumentation.open_webui.ledger.booking import Booking, milliseconds_of
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.ledger import Off, Unavailable
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.settings import Settings
from unit.ledger.books import NOON, Readable, booking, many

pytestmark = pytest.mark.database

API = "/api/v1/usage"
BERLIN = ZoneInfo("Europe/Berlin")
FORMULA = "=HYPERLINK(evil)"
BOOKINGS = [
    *many(300),
    *(booking(NOON - number, user_id="u-alice", model="gpt-std", picked="desk") for number in range(7)),
    booking(
        user_id="u-eve", user_name=FORMULA, groups=(FORMULA,), picked=FORMULA, model=FORMULA,
        cost=None, unpriced=True, estimated=3, chat=FORMULA,
    ),
]  # fmt: skip
DAYS = "from=2026-08-01&to=2026-11-30"
PEOPLE = {
    "u-alice": SimpleNamespace(id="u-alice", name="Alice", email="alice@example.org"),
    "u-1": SimpleNamespace(id="u-1", name="<script>alert(1)</script>", email="one@example.org"),
    "u-2": SimpleNamespace(id="u-2", name="Two", email="two@example.org"),
    "u-eve": SimpleNamespace(id="u-eve", name=FORMULA, email="+eve@example.org"),
    "admin": SimpleNamespace(id="admin", name="Ada", email="ada@example.org"),
}
MINE = ("mine", "mine/calls")
OF_ALL = ("summary", "users", "groups", "models", "calls", "chargeback")
OTHERS = (
    "leaderboard", "leaderboard/me", "mine/limits", "limits", "limits/preview", "limits/{number}",
    "limits/grants", "limits/grants/{number}",
)  # fmt: skip


def get_verified_user(request: Request) -> Any:
    """Open WebUI's: by a header here, or by the cookie."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    user = PEOPLE.get(token or request.cookies.get("token", ""))
    if user is None:
        raise HTTPException(401, "Not authenticated")
    role = "admin" if user.id == "admin" else "user"
    return SimpleNamespace(**vars(user), role=role, timezone="Europe/Berlin")


class Users:
    settings: dict[str, Any]

    def __init__(self) -> None:
        self.settings = {}

    async def get_users_by_user_ids(self, user_ids: list[str]) -> list[Any]:
        return [
            SimpleNamespace(
                **vars(PEOPLE[user]), settings=SimpleNamespace(**self.settings.get(user, {}))
            )
            for user in user_ids
            if user in PEOPLE
        ]

    async def get_users(self, filter: Any, skip: int, limit: int) -> Any:
        wanted = filter["query"].lower()
        found = [one for one in PEOPLE.values() if wanted in (one.name + one.email).lower()]
        return {"users": found[skip : skip + limit], "total": len(found)}

    async def update_user_settings_by_id(self, user_id: str, updated: dict[str, Any]) -> None:
        self.settings.setdefault(user_id, {}).update(updated)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(
        of_file(tmp_path_factory.mktemp("ledger") / "usage.db"), lambda name: f"id-{name}"
    )
    store.open()
    store.write(BOOKINGS)
    return store


@pytest.fixture(scope="module")
def ledger(store: Store) -> Readable:
    return Readable(store)


@contextlib.contextmanager
def open_webui(folder: Path) -> Iterator[FastAPI]:
    """As far as it matters here: its sign-in, its users, and a page for all else."""
    app = FastAPI()

    @app.get("/api/v1/users/usage")
    @app.get("/api/v1/usages")
    @app.get("/usages")
    async def other() -> str:
        return "theirs"

    (folder / "index.html").write_text("the app")
    app.mount("/", StaticFiles(directory=folder, html=True))
    main, auth = ModuleType(MAIN), ModuleType("open_webui.utils.auth")
    users = ModuleType("open_webui.models.users")
    main.app, auth.get_verified_user = app, get_verified_user  # type: ignore[attr-defined]
    users.Users = Users()  # type: ignore[attr-defined]
    made = {module.__name__: module for module in (ModuleType("open_webui"), main, auth, users)}
    before = {name: sys.modules.pop(name, None) for name in made}
    sys.modules.update(made)
    yield app
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    with open_webui(tmp_path) as app:
        yield app


def install(ledger: Any, leaderboard: str = "off") -> Patcher:
    runtime = SimpleNamespace(
        active=True, ledger=ledger, settings=Settings(leaderboard=leaderboard), limits=None
    )
    patcher = Patcher(usage.TARGETS, lambda: runtime)  # type: ignore[arg-type,return-value]
    patcher.install()
    return patcher


@pytest.fixture(autouse=True)
def nothing_was_reported() -> None:
    guard._reported.clear()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, ledger: Readable) -> Iterator[TestClient]:
    with open_webui(tmp_path_factory.mktemp("app")) as app:
        patcher = install(ledger)
        yield TestClient(app, raise_server_exceptions=False)
        patcher.remove()


@pytest.fixture(params=["anonymous", "named"])
def board(app: FastAPI, ledger: Readable, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    patcher = install(ledger, request.param)
    yield TestClient(app)
    patcher.remove()


def by(user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {user}"}


def get(client: TestClient, path: str, user: str = "admin") -> Any:
    found = client.get(f"{API}/{path}", headers=by(user))
    assert found.status_code == 200, found.text
    return found.json()


def of(user: str | None = None) -> list[Booking]:
    return [one for one in BOOKINGS if user in (None, one.user_id)]


def assert_amounts(shown: dict[str, Any], calls: list[Booking]) -> None:
    assert shown["requests"] == len(calls)
    assert shown["messages"] == sum(one.task == "chat" for one in calls)
    assert shown["tokens"] == sum((one.input or 0) + (one.output or 0) for one in calls)
    assert shown["unpriced_requests"] == sum(one.unpriced for one in calls)
    assert shown["estimated_requests"] == sum(one.estimated > 0 for one in calls)
    assert shown["failed"] == sum(one.error is not None for one in calls)
    cost = sum(one.cost or 0 for one in calls)
    assert Decimal(shown["cost_usd"] or 0) == Decimal(cost) / 10**9
    if shown["cost_usd"] is None:
        assert all(one.unpriced for one in calls)


@pytest.mark.parametrize("user", ["u-alice", "u-1", "u-eve", "admin"])
def test_everybody_sees_their_own(client: TestClient, user: str) -> None:
    mine = get(client, f"mine?{DAYS}", user)
    assert_amounts(mine["total"], of(user))
    assert mine["you"]["user_id"] == user
    assert mine["you"]["is_admin"] is (user == "admin")
    calls = get(client, f"mine/calls?{DAYS}&limit=1000", user)["data"]
    assert sorted(call["id"] for call in calls) == sorted(one.id for one in of(user))


@pytest.mark.parametrize("every", ["day", "week", "month"])
def test_the_parts_of_a_chart_are_all_of_it(client: TestClient, every: str) -> None:
    found = get(client, f"summary?{DAYS}&every={every}")
    for part, following in pairwise([*found["data"], {"begin": "9999"}]):
        its = [one for one in BOOKINGS if part["begin"] <= day_of(one) < following["begin"]]
        assert_amounts(part, its)


@pytest.mark.parametrize("every", ["day", "month"])
def test_the_parts_of_a_chart_are_told_by_model(client: TestClient, every: str) -> None:
    found = get(client, f"summary?{DAYS}&every={every}&split=model")
    assert {one["model"] for part in found["data"] for one in part["models"]} == {
        one.picked for one in BOOKINGS
    }
    for part in found["data"]:
        for name in ("requests", "tokens"):
            assert sum(one[name] for one in part["models"]) == part[name]
        costs = sum(Decimal(one["cost_usd"] or 0) for one in part["models"])
        assert costs == Decimal(part["cost_usd"] or 0)
    assert get(client, f"summary?{DAYS}&every={every}")["data"][0]["models"] is None
    assert client.get(f"{API}/summary?split=model&format=csv", headers=by("admin")).is_success


def day_of(one: Booking) -> str:
    return datetime.fromtimestamp(milliseconds_of(one) / 1000, BERLIN).date().isoformat()


@pytest.mark.parametrize("path", [*MINE, *OF_ALL, "openapi.json"])
def test_nobody_sees_anything(client: TestClient, path: str) -> None:
    assert client.get(f"{API}/{path}").status_code == 401
    assert client.get(f"{API}/{path}", headers=by("somebody")).status_code == 401


@pytest.mark.parametrize("query", ["", "?source=api", "?user_id=u-1", "?group=a"])
def test_what_others_use_is_for_admins(client: TestClient, query: str) -> None:
    ways = (by("u-1"), {"Cookie": "token=u-1"}, {**by("u-1"), "Cookie": "token=admin"})
    for path, headers in product(OF_ALL, ways):
        found = client.get(f"{API}/{path}{query}", headers=headers)
        assert (found.status_code, found.json()) == (
            403,
            {"detail": "Only admins see what others use."},
        )


@pytest.mark.parametrize("name", ["user_id", "user", "id", "group", "group_id", "role", "token"])
def test_no_parameter_shows_what_is_anothers(client: TestClient, name: str) -> None:
    for path, user in product(MINE, ("u-1", "admin")):
        found = client.get(f"{API}/{path}?{name}=u-alice", headers=by(user))
        assert found.status_code == 422
        assert name in found.text


def test_the_cookie_will_do_to_look_and_never_to_change(board: TestClient) -> None:
    cookie = {"Cookie": "token=u-1"}
    assert board.get(f"{API}/mine", headers=cookie).status_code == 200
    found = board.put(f"{API}/leaderboard/me", json={"shown": False}, headers=cookie)
    assert found.status_code == 403
    assert get(board, "leaderboard", "u-1")["you_are_shown"] is True


def test_a_foreign_page_reads_nothing_by_the_cookie(client: TestClient) -> None:
    cookie = {"Cookie": "token=admin"}
    for path in (*MINE, *OF_ALL, "openapi.json"):
        foreign = {**cookie, "Origin": "https://elsewhere.example"}
        assert client.get(f"{API}/{path}", headers=cookie).status_code == 200
        found = client.get(f"{API}/{path}", headers=foreign)
        assert (found.status_code, "Authorization" in found.text) == (403, True), path
        assert client.get(f"{API}/{path}", headers={**foreign, **by("admin")}).status_code == 200


@pytest.mark.parametrize("path", OF_ALL[:5])
@pytest.mark.parametrize("source", ["both", "ui", "api", "background"])
def test_it_is_narrowed(client: TestClient, path: str, source: str) -> None:
    most = "" if path == "summary" else "&limit=1000"
    found = get(client, f"{path}?{DAYS}&source={source}&user_id=u-2&group=b&model=helpdesk{most}")
    right = [
        one
        for one in BOOKINGS
        if one.user_id == "u-2" and "b" in one.groups and source in ("both", one.source)
        and one.picked == "helpdesk"
    ]  # fmt: skip
    if path == "calls":
        assert sorted(call["id"] for call in found["data"]) == sorted(one.id for one in right)
    elif path == "summary":
        assert_amounts(found["total"], right)
        assert_amounts(
            {**found["total"], "requests": sum(p["requests"] for p in found["data"])}, right
        )
    else:
        wanted = {"users": "u-2", "groups": "b", "models": "helpdesk"}[path]
        [row] = [row for row in found["data"] if wanted in row.values()]
        assert_amounts(row, right)


def test_users_have_their_names_of_today_and_are_found_by_them(client: TestClient) -> None:
    rows = {row["user_id"]: row for row in get(client, f"users?{DAYS}")["data"]}
    assert (rows["u-alice"]["user"], rows["u-alice"]["email"]) == ("Alice", "alice@example.org")
    assert (rows["u-3"]["user"], rows["u-3"]["email"]) == ("User 3", None)
    found = get(client, f"users?{DAYS}&search=ALICE@")
    assert [row["user_id"] for row in found["data"]] == ["u-alice"]
    assert get(client, f"users?{DAYS}&search=nobody")["data"] == []


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["cost", "tokens", "requests", "unpriced"])
def test_rows_are_sorted_and_pages_add_up(client: TestClient, sort: str, order: str) -> None:
    name = {"cost": "cost_usd", "unpriced": "unpriced_requests"}.get(sort, sort)
    path, rows = f"users?{DAYS}&sort={sort}&order={order}&limit=2", []
    while path:
        answer = get(client, path)
        assert len(answer["data"]) <= 2
        rows += answer["data"]
        path = (answer["next"] or "").removeprefix(f"{API}/")
    assert len(rows) == answer["total"] == len({one.user_id for one in BOOKINGS})
    values = [Decimal(row[name] or 0) for row in rows]
    assert values == sorted(values, reverse=order == "desc")
    assert len({row["user_id"] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    "path", ["calls", "calls?failed=true", "calls?unpriced=true", "mine/calls"]
)
def test_pages_of_calls_have_each_call_once_newest_first(client: TestClient, path: str) -> None:
    user = "u-1" if path == "mine/calls" else "admin"
    right = {
        one.id
        for one in BOOKINGS
        if ("mine" not in path or one.user_id == user)
        and ("failed" not in path or one.error)
        and ("unpriced" not in path or one.unpriced)
    }
    path, found = f"{path}{'&' if '?' in path else '?'}{DAYS}&limit=7", []
    while path:
        answer = get(client, path, user)
        assert len(answer["data"]) <= 7
        found += answer["data"]
        path = (answer["next"] or "").removeprefix(f"{API}/")
    assert len(found) == len(right)
    assert {call["id"] for call in found} == right
    assert [call["id"] for call in found] == sorted(right, reverse=True)


def test_groups_are_charged_to_the_nano_dollar(client: TestClient) -> None:
    for rule in ("charge=split", "charge=first&priority=b,a"):
        found = get(client, f"chargeback?{DAYS}&{rule}")
        assert_amounts(found["total"], BOOKINGS)
        for name in ("requests", "tokens", "failed"):
            assert sum(row[name] for row in found["data"]) == found["total"][name]
        costs = sum(Decimal(row["cost_usd"] or 0) for row in found["data"])
        assert costs == Decimal(found["total"]["cost_usd"])
        assert sum(row["unpriced_requests"] for row in found["unpriced"]) == sum(
            one.unpriced for one in BOOKINGS
        )


@pytest.mark.parametrize("path", ["mine", "mine/calls", *OF_ALL])
def test_a_spreadsheet_runs_nothing(client: TestClient, path: str) -> None:
    found = client.get(f"{API}/{path}?{DAYS}&format=csv", headers=by("admin"))
    assert found.headers["content-type"].startswith("text/csv")
    assert "attachment" in found.headers["content-disposition"]
    rows = list(csv.reader(io.StringIO(found.text)))
    assert len(rows) >= (1 if path == "mine/calls" else 2)
    assert all(len(row) == len(rows[0]) for row in rows)
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@")]
    if path in ("users", "groups", "models", "chargeback"):
        assert f"'{FORMULA}" in cells


@pytest.mark.parametrize("path", [*MINE, *OF_ALL])
def test_who_has_it_gets_nothing_but_that(client: TestClient, path: str) -> None:
    address = f"{API}/{path}?{DAYS}"
    etag = client.get(address, headers=by("admin")).headers["etag"]
    again = client.get(address, headers={**by("admin"), "If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert "private" in again.headers["cache-control"]
    other = client.get(f"{address}&source=ui", headers={**by("admin"), "If-None-Match": etag})
    assert other.status_code in (200, 304 if path in MINE else 200)


WRONG = {
    "source=all": 422,
    "period=ever": 422,
    "from=yesterday": 422,
    "from=2026-02-30": 422,
    "from=2026-02-02&to=2026-02-01": 400,
    "from=0001-01-01": 400,
    "to=9999-12-31": 400,
    "month=2026-13": 400,
    "month=2026-1": 422,
    "month=2026-11&period=7d": 400,
    "zone=Mars/Olympus": 400,
    "zone=../../etc/passwd": 400,
    f"zone={'x' * 65}": 422,
    f"model={'x' * 257}": 422,
    "format=xml": 422,
}


@pytest.mark.parametrize("query", WRONG)
def test_what_makes_no_sense_is_refused(
    client: TestClient, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (*MINE, *OF_ALL):
        found = client.get(f"{API}/{path}?{query}", headers=by("admin"))
        assert found.status_code == WRONG[query]
        assert found.json()["detail"]
    assert not caplog.records


@pytest.mark.parametrize(
    "query",
    [
        "mine?every=hour&period=all&from=",
        "mine?every=minute",
        "users?limit=0",
        "users?limit=1001",
        "users?offset=-1",
        "users?offset=99999999999999999999",
        "users?sort=name",
        "mine/calls?limit=100000",
        "mine/calls?before=1' OR 1=1",
        "mine/calls?failed=perhaps",
        f"calls?route={'/' * 300}",
        "mine?model=a%00b",
        "mine/calls?task=%00",
        "calls?user_id=%00",
        f"chargeback?priority={'a,' * 3000}",
        "chargeback?charge=all",
    ],
)
def test_parameters_are_bounded(client: TestClient, query: str) -> None:
    assert client.get(f"{API}/{query}", headers=by("admin")).status_code == 422


def test_a_chart_of_too_many_parts_is_refused(client: TestClient) -> None:
    found = client.get(f"{API}/mine?every=hour&from=1990-01-01", headers=by("admin"))
    assert found.status_code == 400
    assert "choose longer ones" in found.json()["detail"]


def test_days_are_those_of_who_asks(client: TestClient) -> None:
    assert get(client, "mine?month=2026-10")["period"] == {
        "first": "2026-10-01",
        "last": "2026-10-31",
        "zone": "Europe/Berlin",
    }
    hours = get(client, "mine?from=2026-10-25&to=2026-10-25&every=hour")["data"]
    assert len(hours) == 25
    assert hours[0]["begin"] == "2026-10-25T00:00:00+02:00"
    assert len(get(client, "mine?month=2026-10&zone=UTC")["data"]) == 31


def test_there_is_no_leaderboard_unless_it_is_wished_for(client: TestClient) -> None:
    for answer in (
        client.get(f"{API}/leaderboard", headers=by("u-1")),
        client.put(f"{API}/leaderboard/me", json={"shown": True}, headers=by("u-1")),
    ):
        assert answer.status_code == 404


def test_the_leaderboard_names_nobody_against_their_wish(board: TestClient) -> None:
    places = get(board, "leaderboard?period=all", "u-1")
    mode = places["mode"]
    users = ["u-1", "u-2", "u-alice", "u-eve"]
    tokens = {user: sum((o.input or 0) + (o.output or 0) for o in of(user)) for user in users}
    ranked = sorted(users, key=lambda user: -tokens[user])
    assert [place["tokens"] for place in places["data"]] == [tokens[user] for user in ranked]
    assert [place["is_you"] for place in places["data"]] == [user == "u-1" for user in ranked]
    names = {place["user"] for place in places["data"]}
    everyone = {PEOPLE[user].name for user in users}
    assert names == (everyone if mode == "named" else {PEOPLE["u-1"].name, None})
    assert "u-alice" not in str(places)
    done = board.put(f"{API}/leaderboard/me", json={"shown": False}, headers=by("u-1"))
    assert done.status_code == 204
    assert len(get(board, "leaderboard?period=all", "u-2")["data"]) == 3
    mine = get(board, "leaderboard?period=all", "u-1")
    assert mine["you_are_shown"] is False
    assert not any(place["is_you"] for place in mine["data"])


@pytest.mark.parametrize(
    ("error", "logged"), [(Unavailable("away"), 0), (RuntimeError("broken"), 1)]
)
def test_without_a_ledger_to_read_it_says_so(
    client: TestClient,
    ledger: Readable,
    error: Exception,
    logged: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ledger, "error", error)
    for path in (*MINE, *OF_ALL):
        found = client.get(f"{API}/{path}", headers=by("admin"))
        assert (found.status_code, found.json()["detail"]) == (
            503,
            "The usage ledger cannot be read now.",
        )
    assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == logged
    assert client.get("/api/v1/users/usage").json() == "theirs"


def test_a_failure_of_ours_stays_ours(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(sys.modules["open_webui.models.users"], "Users")
    found = client.get(f"{API}/users?{DAYS}", headers=by("admin"))
    assert found.status_code == 503
    assert "usage API" in caplog.text


def test_all_else_is_open_webuis(client: TestClient) -> None:
    assert client.get("/").text == "the app"
    for path in ("/api/v1/users/usage", "/api/v1/usages", "/usages"):
        assert client.get(path).text == '"theirs"'
    for path in (f"{API}/", f"{API}/nothing", f"{API}/mine/nothing", "/usage/nothing"):
        assert client.get(path, headers=by("admin")).status_code == 404
    assert client.post(f"{API}/mine", headers=by("admin")).status_code == 405


def test_the_api_is_described(client: TestClient) -> None:
    told = get(client, "openapi.json", "u-1")
    paths = {f"{API}/{path}" for path in (*MINE, *OF_ALL, *OTHERS)}
    assert set(told["paths"]) == paths
    names = [one["name"] for one in told["paths"][f"{API}/mine/calls"]["get"]["parameters"]]
    assert {"from", "to", "month", "zone", "source", "before", "limit", "failed"} <= set(names)
    assert "user_id" not in names
    shape = told["components"]["schemas"]["OfCall"]["properties"]
    assert set(get(client, "calls?period=all")["data"][0]) == set(shape)


def test_afterwards_nothing_of_it_is_there(app: FastAPI, ledger: Readable) -> None:
    client = TestClient(app)
    for made in (lambda: install(ledger), lambda: install(Off())):
        patcher = made()
        patcher.remove()
        assert client.get(f"{API}/mine", headers=by("admin")).status_code == 404
        assert client.get("/usage").status_code == 404
    patcher = install(Off())
    assert client.get(f"{API}/mine", headers=by("admin")).status_code == 404
    patcher.remove()


def test_a_process_without_open_webui_loads_nothing_of_it() -> None:
    code = (
        f"import sys, {usage.__name__}; assert not {{'sqlalchemy', 'fastapi'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
