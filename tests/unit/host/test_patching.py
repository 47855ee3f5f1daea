"""On modules that stand in for Open WebUI's: bound by name, routed, and kept in the app's state."""

from __future__ import annotations

import asyncio
import importlib
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from opentelemetry.instrumentation.open_webui.host.patching import MAIN, Patcher, Target
from opentelemetry.instrumentation.open_webui.host.surfaces import TARGETS
from opentelemetry.instrumentation.open_webui.wrapping import bound

LEAF = "open_webui.leaf"


@pytest.fixture
def modules() -> Iterator[dict[str, ModuleType]]:
    """`leaf` has a routed function, `main` imports it by name and includes its router."""
    leaf, main = ModuleType(LEAF), ModuleType(MAIN)
    router = APIRouter()

    @router.get("/answer")
    async def answer(number: int = 1) -> dict[str, int]:
        return {"number": number}

    leaf.router, leaf.answer = router, answer  # type: ignore[attr-defined]
    app = FastAPI()
    app.include_router(router)
    app.state.HANDLER = answer
    main.app, main.get_answer = app, answer  # type: ignore[attr-defined]
    made = {"open_webui": ModuleType("open_webui"), LEAF: leaf, MAIN: main}
    sys.modules.update(made)
    yield made
    for name in made:
        sys.modules.pop(name, None)


def doubling(_runtime: Any) -> Any:
    async def wrapper(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        return {"number": 2 * (await wrapped(*args, **kwargs))["number"]}

    return wrapper


def patcher(*targets: Target) -> Patcher:
    return Patcher(targets, lambda: None)  # type: ignore[arg-type,return-value]


def references(modules: dict[str, ModuleType]) -> list[Any]:
    leaf, main = modules[LEAF], modules[MAIN]
    routes = [*leaf.router.routes, *main.app.router.routes]
    routed = [route for route in routes if getattr(route, "path", "") == "/answer"]
    calls = [thing for route in routed for thing in (route.endpoint, route.dependant.call)]
    return [leaf.answer, main.get_answer, main.app.state.HANDLER, *calls]


def test_every_reference_is_wrapped_and_restored(modules: dict[str, ModuleType]) -> None:
    before = references(modules)
    it = patcher(Target(LEAF, "answer", doubling, covers="answers"))
    it.install()
    assert not [old for old, new in zip(before, references(modules), strict=True) if old is new]
    assert TestClient(modules[MAIN].app).get("/answer?number=4").json() == {"number": 8}
    it.remove()
    assert [old is new for old, new in zip(before, references(modules), strict=True)] == [
        True
    ] * len(before)
    assert TestClient(modules[MAIN].app).get("/answer?number=4").json() == {"number": 4}


def test_a_missing_target_is_told_once_and_the_rest_works(
    modules: dict[str, ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    patcher(
        Target(LEAF, "answer", doubling, covers="answers"),
        Target(LEAF, "gone", doubling, covers="what is gone"),
        Target("open_webui.moved", "away", doubling, covers="what has moved"),
        Target("open_webui.extra", "maybe", doubling, covers="an extra", optional=True),
    ).install()
    assert TestClient(modules[MAIN].app).get("/answer").json() == {"number": 2}
    [record] = caplog.records
    assert "open_webui.leaf.gone, open_webui.moved.away" in record.getMessage()
    assert "Not covered: what is gone; what has moved." in record.getMessage()


@pytest.mark.parametrize(
    ("version", "state", "warning"),
    [
        ("0.10.2", "absent in this version (since 0.11)", ""),
        ("0.11.0", "missing", "lacks open_webui.leaf.gone"),
        ("0.13.0", "missing", "0.13.0 is newer than this instrumentation knows (0.12)"),
    ],
)
def test_what_a_version_lacks_and_what_it_has_lost_are_told_apart(
    modules: dict[str, ModuleType],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    state: str,
    warning: str,
) -> None:
    environment = ModuleType("open_webui.env")
    environment.VERSION = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "open_webui.env", environment)
    gone = Target(LEAF, "gone", doubling, covers="what is gone", since=(0, 11))
    it = patcher(Target(LEAF, "answer", doubling, covers="answers"), gone)
    it.install()
    assert TestClient(modules[MAIN].app).get("/answer").json() == {"number": 2}
    assert [found for _, found in it.states()] == ["patched", state]
    assert (warning in caplog.text) if warning else not caplog.records


def test_a_removed_patcher_patches_nothing_later(modules: dict[str, ModuleType]) -> None:
    before = references(modules)
    it = patcher(Target(LEAF, "answer", doubling, covers="answers"))
    it.remove()
    it.install()
    assert references(modules) == before


def test_what_comes_in_long_after_open_webui_is_wrapped_then(
    modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "late_client.py").write_text(
        "class Client:\n    async def send(self):\n        return {'number': 4}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    target = Target("late_client", "Client.send", doubling, covers="late", when=MAIN, optional=True)
    it = patcher(target)
    it.install()
    assert it.state(target) == "absent: not in use"
    client = importlib.import_module("late_client").Client()
    assert asyncio.run(client.send()) == {"number": 8}
    assert it.state(target) == "patched"
    it.remove()
    assert asyncio.run(client.send()) == {"number": 4}
    del sys.modules["late_client"]


def test_what_was_bound_keeps_no_object() -> None:
    class Client:
        def send(self, request: Any) -> None: ...

    client = Client()
    assert bound(client.send, ("r",), {}) == {"request": "r"}
    known = weakref.ref(client)
    del client
    assert known() is None


def test_arguments_are_bound_by_name() -> None:
    def function(request: Any, form_data: Any, url_idx: Any = None, user: Any = None) -> None: ...

    assert bound(function, ("r", "f"), {"user": "u"}) == {
        "request": "r",
        "form_data": "f",
        "user": "u",
    }


def test_the_page_about_versions_names_what_came_later() -> None:
    page = (Path(__file__).parents[3] / "docs" / "versions.md").read_text()
    rows = {line for line in page.splitlines() if line.startswith("| 0.")}
    for target in TARGETS:
        if target.since > (0, 6):
            since = f"| {'.'.join(map(str, target.since))} |"
            named = [row for row in rows if row.startswith(since) and target.covers in row]
            assert named, f"{since} {target.covers}"
