"""Open WebUI's endpoints with ours in their place, in the shapes of each of its versions."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query
from fastapi.testclient import TestClient
from pydantic import BaseModel, create_model
from starlette.staticfiles import StaticFiles

from opentelemetry.instrumentation.open_webui import _screens, guard
from opentelemetry.instrumentation.open_webui.host.answering import HEADER
from opentelemetry.instrumentation.open_webui.host.patching import MAIN, Patcher
from opentelemetry.instrumentation.open_webui.host.surfaces import screens, server, usage
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.ledger import Off, Unavailable
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.screens import loader
from opentelemetry.instrumentation.open_webui.settings import Settings
from unit.ledger.books import NOON, Readable, booking

pytestmark = pytest.mark.database

ANALYTICS, USERS = "open_webui.routers.analytics", "open_webui.routers.users"
VERSIONS = ("0.8.12", "0.9.6", "0.10.2", "0.11.4", "0.12.4")
ADMIN, ALICE = {"X-User": "admin"}, {"X-User": "u-alice"}
PERIOD = f"start_date={NOON - 100}&end_date={NOON + 100}"
BOOKINGS = [
    booking(user_id="u-alice", user_name="Then", groups=("below",), source="api"),
    booking(user_id="u-alice", groups=("below",), source="ui", picked="desk"),
    booking(user_id="u-bob", user_name="Bob", groups=(), source="background", task="chat"),
    booking(NOON + 3600, user_id="u-bob", user_name="Bob", groups=(), source="api"),
]
OWN = "own"
"""The model in all of Open WebUI's own answers."""


def who(x_user: str = Header("")) -> Any:
    return SimpleNamespace(id=x_user, timezone="Europe/Berlin")


Anybody = Annotated[Any, Depends(who)]


def an_admin(user: Anybody) -> Any:
    if user.id != "admin":
        raise HTTPException(403, "not for you")
    return user


Admin = Annotated[Any, Depends(an_admin)]


def shapes_of(version: tuple[int, ...]) -> tuple[Any, Any]:
    """The answers that differ between versions: ``/models`` and ``/daily``."""
    optional: dict[str, Any] = {}
    if version >= (0, 10):
        optional = {"unique_users": (int, 0), "unique_chats": (int, 0)}
    model_entry = create_model("ModelEntry", model_id=(str, ...), count=(int, ...), **optional)
    spans: dict[str, Any] = {}
    if version >= (0, 12):
        spans = {
            "start": (str | None, None),
            "end": (str | None, None),
            "previous": (dict[str, Any] | None, None),
        }
    day = create_model("Day", date=(str, ...), models=(dict[str, int], ...), **spans)
    models_model = create_model("Models", models=(list[model_entry], ...))  # type: ignore[valid-type]
    days = create_model("Days", data=(list[day], ...))  # type: ignore[valid-type]
    return models_model, days


def analytics_of(version: tuple[int, ...]) -> ModuleType:
    """The router as that version has it, with an answer of its own to everything."""
    models_model, days = shapes_of(version)
    router = APIRouter()

    @router.get("/models", response_model=models_model)
    async def get_model_analytics(
        start_date: int | None = Query(None),
        end_date: int | None = Query(None),
        group_id: str | None = Query(None),
        user: Admin = None,
    ) -> Any:
        return models_model(models=[{"model_id": OWN, "count": 1, "unique_chats": 1}])

    @router.get("/users", response_model=Users)
    async def get_user_analytics(
        start_date: int | None = Query(None),
        end_date: int | None = Query(None),
        group_id: str | None = Query(None),
        limit: int = Query(50),
        metric: Literal["messages", "tokens"] = Query("messages"),
        user: Admin = None,
    ) -> Any:
        return Users(users=[{"user_id": OWN, "count": 1}])

    @router.get("/summary", response_model=Summary)
    async def get_summary(
        start_date: int | None = Query(None),
        end_date: int | None = Query(None),
        group_id: str | None = Query(None),
        user: Admin = None,
    ) -> Any:
        return Summary(total_messages=1, total_chats=3, total_models=1, total_users=1)

    @router.get("/daily", response_model=days)
    async def get_daily_stats(
        start_date: int | None = Query(None),
        end_date: int | None = Query(None),
        group_id: str | None = Query(None),
        granularity: str = Query("daily"),
        metric: Literal["messages", "tokens"] = Query("messages"),
        compare: bool = Query(False),
        user: Admin = None,
    ) -> Any:
        if compare and not start_date:
            raise HTTPException(400, "Comparison requires a bounded date range")
        return days(data=[{"date": "2026-01-01", "models": {OWN: 1}}])

    @router.get("/tokens", response_model=Tokens)
    async def get_token_usage(
        start_date: int | None = Query(None),
        end_date: int | None = Query(None),
        group_id: str | None = Query(None),
        user: Admin = None,
    ) -> Any:
        return Tokens(models=[], total_input_tokens=1, total_output_tokens=1, total_tokens=2)

    found = module_of(ANALYTICS, router)
    for function in (
        get_model_analytics,
        get_user_analytics,
        get_summary,
        get_daily_stats,
        get_token_usage,
    ):
        function.__module__ = ANALYTICS
        setattr(found, function.__name__, function)
    return found


class UserEntry(BaseModel):
    user_id: str
    name: str | None = None
    email: str | None = None
    count: int
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class Users(BaseModel):
    users: list[UserEntry]


class Summary(BaseModel):
    total_messages: int
    total_chats: int
    total_models: int
    total_users: int


class TokenEntry(BaseModel):
    model_id: str
    input_tokens: int
    output_tokens: int
    total_tokens: int
    message_count: int


class Tokens(BaseModel):
    models: list[TokenEntry]
    total_input_tokens: int
    total_output_tokens: int
    total_tokens: int


class Usage(BaseModel):
    totals: dict[str, Any]
    heatmap: list[dict[str, Any]]
    weekly_heatmap: list[dict[str, Any]] = []
    cumulative_heatmap: list[dict[str, Any]] = []
    insights: dict[str, Any] = {}
    top_models: list[dict[str, Any]] = []
    period: dict[str, int]


def module_of(name: str, router: APIRouter) -> ModuleType:
    found = ModuleType(name)
    found.router = router  # type: ignore[attr-defined]
    return found


def users_router() -> ModuleType:
    router = APIRouter()

    @router.get("/usage", response_model=Usage)
    async def get_user_usage_by_session_user(
        start_date: int | None = Query(None), user: Anybody = None
    ) -> Any:
        day = {"date": "2026-09-21", "messages": 1, "chats": 1, "tokens": 0, "models": {}}
        return Usage(
            totals={"user_messages": 1, "total_chats": 1},
            heatmap=[day],
            period={"start_date": NOON - 100, "end_date": NOON + 100, "days": 1},
        )

    get_user_usage_by_session_user.__module__ = USERS
    found = module_of(USERS, router)
    found.get_user_usage_by_session_user = get_user_usage_by_session_user  # type: ignore[attr-defined]
    return found


class Groups:
    @staticmethod
    async def get_all_groups() -> list[Any]:
        above = SimpleNamespace(id="id-above", parent_group_id=None)
        return [above, SimpleNamespace(id="id-below", parent_group_id="id-above")]


class People:
    """Synchronous, as before 0.9."""

    @staticmethod
    def get_users_by_user_ids(user_ids: list[str]) -> list[Any]:
        known = [SimpleNamespace(id="u-alice", name="Alice", email="alice@example.org")]
        return [user for user in known if user.id in user_ids]


class AsyncPeople:
    @staticmethod
    async def get_users_by_user_ids(user_ids: list[str]) -> list[Any]:
        return People.get_users_by_user_ids(user_ids)


@pytest.fixture
def ledger(tmp_path: Path) -> Readable:
    store = Store(of_file(tmp_path / "usage.db"), lambda name: f"id-{name}")
    store.open()
    store.write(BOOKINGS)
    return Readable(store)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "loader.js").write_text("operators();\n")
    (folder / "custom.css").write_text("")
    return folder


@pytest.fixture
def app(version: str, folder: Path) -> Iterator[FastAPI]:
    """Open WebUI of a version."""
    numbers = tuple(map(int, version.split(".")))
    analytics, users = analytics_of(numbers), users_router()
    app = FastAPI()
    app.include_router(analytics.router, prefix="/api/v1/analytics")
    app.include_router(users.router, prefix="/api/v1/users")
    app.mount("/static", StaticFiles(directory=folder))
    main, env = ModuleType(MAIN), ModuleType("open_webui.env")
    main.app, env.VERSION = app, version  # type: ignore[attr-defined]
    groups, people = ModuleType("open_webui.models.groups"), ModuleType("open_webui.models.users")
    groups.Groups = Groups  # type: ignore[attr-defined]
    people.Users = AsyncPeople if numbers >= (0, 9) else People  # type: ignore[attr-defined]
    made = {"open_webui": ModuleType("open_webui"), ANALYTICS: analytics, USERS: users, MAIN: main}
    made |= {module.__name__: module for module in (env, groups, people)}
    sys.modules.update(made)
    yield app
    for name in made:
        sys.modules.pop(name, None)


class Runtime(SimpleNamespace):
    active = True


def install(ledger: Any) -> Patcher:
    runtime = Runtime(ledger=ledger, connections=SimpleNamespace(listens=lambda _: None))
    incoming = next(target for target in server.TARGETS if target.wrapper is server.incoming)
    patcher = Patcher((incoming, *screens.TARGETS), lambda: runtime)  # type: ignore[arg-type,return-value]
    patcher.install()
    return patcher


@pytest.fixture
def client(app: FastAPI, ledger: Readable) -> Iterator[TestClient]:
    guard._reported.clear()
    patcher = install(ledger)
    yield TestClient(app)
    patcher.remove()


def get(client: TestClient, path: str, user: dict[str, str] = ADMIN) -> Any:
    found = client.get(f"/api/v1/{path}", headers=user)
    assert found.status_code == 200, found.text
    assert found.headers[HEADER] == "true"
    return found.json()


def test_analytics_are_answered_from_the_ledger(client: TestClient, version: str) -> None:
    summary = get(client, f"analytics/summary?{PERIOD}")
    assert summary == {
        "total_messages": 3,
        "total_chats": 3,
        "total_models": 2,
        "total_users": 2,
    }
    [helpdesk, desk] = get(client, f"analytics/models?{PERIOD}")["models"]
    numbers = tuple(map(int, version.split(".")))
    unique = {"unique_users": 2, "unique_chats": 0} if numbers >= (0, 10) else {}
    assert helpdesk == {"model_id": "helpdesk", "count": 2, **unique}
    assert desk["model_id"] == "desk"
    assert get(client, f"analytics/tokens?{PERIOD}")["total_tokens"] == 360
    [day] = get(client, f"analytics/daily?{PERIOD}&compare=true")["data"]
    assert day["models"] == {"helpdesk": 2, "desk": 1}
    spans = {"start", "end", "previous"} if numbers >= (0, 12) else set()
    assert set(day) == {"date", "models", *spans}


def test_users_have_their_names_of_today(client: TestClient) -> None:
    found = get(client, f"analytics/users?{PERIOD}")["users"]
    assert [(user["name"], user["email"], user["count"]) for user in found] == [
        ("Alice", "alice@example.org", 2),
        ("Bob", None, 1),
    ]
    assert len(get(client, f"analytics/users?{PERIOD}&limit=1")["users"]) == 1


@pytest.mark.parametrize(
    ("source", "messages"), [("api", 1), ("ui", 1), ("", 3), ("both", 3), ("background", 3)]
)
def test_the_source_is_chosen_in_the_address(
    client: TestClient, source: str, messages: int
) -> None:
    summary = get(client, f"analytics/summary?{PERIOD}&source={source}")
    assert summary["total_messages"] == messages
    assert summary["total_chats"] == (0 if source == "api" else 3)


def test_a_group_has_those_of_the_groups_below_it(client: TestClient, version: str) -> None:
    nested = tuple(map(int, version.split("."))) >= (0, 12)
    for group, users in {"id-below": 1, "id-above": int(nested), "nobody's": 0}.items():
        summary = get(client, f"analytics/summary?{PERIOD}&group_id={group}")
        assert summary["total_users"] == users


@pytest.mark.parametrize("name", ["summary", "models", "users", "daily", "tokens"])
def test_only_admins_see_everybody(client: TestClient, name: str) -> None:
    for user in (ALICE, {}):
        found = client.get(f"/api/v1/analytics/{name}?source=api", headers=user)
        assert (found.status_code, found.json()) == (403, {"detail": "not for you"})


# There is no such page before.
@pytest.mark.parametrize("version", VERSIONS[-2:], indirect=True)
def test_settings_usage_is_of_who_asks(client: TestClient) -> None:
    path = "users/usage?user_id=u-bob&user=u-bob&id=u-bob&source=api"
    mine = get(client, path, ALICE)
    assert mine["totals"]["lifetime_tokens"] == 240
    assert mine["totals"]["assistant_messages"] == 2
    assert get(client, path, {"X-User": "u-bob"})["totals"]["assistant_messages"] == 1
    assert get(client, path, {"X-User": "nobody"})["totals"]["lifetime_tokens"] == 0


@pytest.mark.parametrize(
    ("error", "reports"), [(Unavailable("being opened"), 0), (RuntimeError("broken"), 6)]
)
def test_open_webuis_own_answer_is_given_where_ours_fails(
    client: TestClient,
    ledger: Readable,
    error: Exception,
    reports: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger.error = error
    for _ in range(2):
        for path in ("summary", "models", "users", "daily", "tokens"):
            found = client.get(f"/api/v1/analytics/{path}?{PERIOD}", headers=ADMIN)
            assert found.status_code == 200
            assert HEADER not in found.headers
            assert "1" in found.text
        found = client.get("/api/v1/users/usage", headers=ALICE)
        assert found.json()["totals"] == {"user_messages": 1, "total_chats": 1}
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(logged) == reports


def test_what_open_webui_refuses_is_refused(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    found = client.get("/api/v1/analytics/daily?compare=true", headers=ADMIN)
    assert found.status_code == 400
    found = client.get("/api/v1/analytics/users?limit=many", headers=ADMIN)
    assert found.status_code == 422
    assert not caplog.records


@pytest.mark.parametrize(
    "query",
    [
        "start_date=1&end_date=99999999999",
        f"start_date={NOON - 400 * 86400}&end_date={NOON}&granularity=10m",
    ],
)
def test_a_chart_of_too_many_parts_is_open_webuis(
    client: TestClient, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = client.get(f"/api/v1/analytics/daily?{query}", headers=ADMIN)
    assert found.status_code == 200
    assert HEADER not in found.headers
    assert caplog.records == []


@pytest.mark.parametrize("path", ["analytics/summary", "analytics/models", "users/usage"])
def test_what_fails_in_open_webui_is_not_told_as_ours(
    app: FastAPI, ledger: Readable, path: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("its own")

    patcher = install(ledger)
    monkeypatch.setattr(BaseModel, "__init__", fail)
    with pytest.raises(RuntimeError, match="its own"):
        TestClient(app).get(f"/api/v1/{path}", headers=ADMIN)
    patcher.remove()
    assert caplog.records == []


def test_the_pages_script_is_ours_and_then_the_operators(client: TestClient, folder: Path) -> None:
    found = client.get(loader.PATH, headers={"If-None-Match": "*", "Range": "bytes=0-3"})
    assert found.status_code == 200
    assert found.content == loader.script() + b"operators();\n"
    assert found.headers["cache-control"] == "no-cache"
    assert "javascript" in found.headers["content-type"]
    assert not {"etag", "last-modified"} & set(found.headers)
    (folder / "loader.js").unlink()
    found = client.get(loader.PATH)
    assert found.status_code == 200
    assert found.content.startswith(loader.script())
    assert "javascript" in found.headers["content-type"]
    assert client.get("/static/custom.css").content == b""
    assert client.head(loader.PATH).status_code == 404


def test_all_is_as_it_was_afterwards(app: FastAPI, ledger: Readable) -> None:
    patcher = install(ledger)
    patcher.remove()
    client = TestClient(app)
    assert client.get("/api/v1/analytics/tokens", headers=ADMIN).json()["total_tokens"] == 2
    assert client.get(loader.PATH).content == b"operators();\n"


def test_without_a_ledger_all_is_as_it_was(app: FastAPI) -> None:
    patcher = install(Off())
    client = TestClient(app)
    found = client.get("/api/v1/analytics/tokens", headers=ADMIN)
    assert found.json()["total_tokens"] == 2
    assert HEADER not in found.headers
    assert client.get(loader.PATH).content == b"operators();\n"
    patcher.remove()


def test_screens_are_wrapped_where_there_is_a_ledger_and_they_are_wanted() -> None:
    assert _screens(Settings()) == _screens(Settings(ledger="true", screens=False)) == ()
    both = (*screens.TARGETS, *usage.TARGETS)
    assert _screens(Settings(ledger="true")) == both
    assert _screens(Settings(ledger="sqlite:////data/usage.db")) == both


def test_a_process_without_open_webui_loads_no_database() -> None:
    code = f"import sys, {screens.__name__}; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
