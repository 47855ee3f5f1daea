from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.calls.scene import Scene, scene
from opentelemetry.instrumentation.open_webui.host import compat
from opentelemetry.instrumentation.open_webui.host.identity import (
    find_caller,
    find_user_id,
    pseudonym,
    source_of_chat,
    user_id_in,
)
from opentelemetry.instrumentation.open_webui.settings import Settings
from unit.sdk import caller_named

ADA = SimpleNamespace(id="u1", name="Ada", email="Ada@Example.org", role="admin")
API = "/api/chat/completions"


class Tasks(str, Enum):
    """As Open WebUI writes it."""

    DEFAULT = lambda task="": task or "generation"  # noqa: E731
    NEW = "new_in_a_later_version"


def request(
    auth: str | None = "jwt", route: str = API, metadata: Any = None, **headers: str
) -> Any:
    state = SimpleNamespace(**({"auth_type": auth} if auth else {}))
    if metadata is not None:
        state.metadata = metadata
    return SimpleNamespace(
        state=state, scope={"route": SimpleNamespace(path=route)}, headers=headers
    )


def internal() -> Any:
    """Work that Open WebUI has of its own, in the name of a user."""
    asked = request("jwt", route="/api/v1/subagents/internal")
    asked.state.internal = True
    return asked


SAME = {"sec-fetch-site": "same-origin"}
SOURCES: list[tuple[Any, dict[str, Any], str, str]] = [
    (request("api_key"), {}, "api", "api_key"),
    (request("api_key", **SAME), {"session_id": "s"}, "api", "api_key"),
    (request("jwt"), {}, "api", "session"),
    (request("jwt"), {"session_id": "s"}, "ui", "session"),
    (request("jwt", **SAME), {}, "ui", "session"),
    (request("jwt", **{"sec-fetch-site": "cross-site"}), {}, "api", "session"),
    (request("jwt", referer="http://chat.local/c/1", host="chat.local"), {}, "ui", "session"),
    (request("jwt", referer="http://evil.local/", host="chat.local"), {}, "api", "session"),
    (request("jwt", referer="http://chat.local/", host="app:8080"), {}, "api", "session"),
    (
        request(
            "jwt",
            referer="http://chat.local/",
            host="app:8080",
            **{"x-forwarded-host": "chat.local"},
        ),
        {},
        "ui",
        "session",
    ),
    (
        request(
            "jwt",
            origin="http://chat.local",
            host="app:8080",
            **{"x-forwarded-host": "a, chat.local"},
        ),
        {},
        "ui",
        "session",
    ),
    (request("jwt", referer="http://configured.local:81/c", host="app:8080"), {}, "ui", "session"),
    # What a client writes makes it no work of Open WebUI's own.
    (request("jwt"), {"session_id": "s", "automation_id": "a"}, "ui", "session"),
    (request("api_key"), {"automation_id": "a", "internal": True}, "api", "api_key"),
    (request("api_key"), {"chat_id": "channel:1"}, "api", "api_key"),
    (
        request("jwt", route="/api/v1/channels/{id}/messages/post"),
        {"session_id": "s", "chat_id": "channel:1"},
        "background",
        "session",
    ),
    (internal(), {"session_id": "s"}, "background", "session"),
    (request(None), {}, "background", "internal"),
]


@pytest.mark.parametrize(("asked", "metadata", "source", "auth"), SOURCES)
def test_source_and_auth(
    asked: Any,
    metadata: dict[str, Any],
    source: str,
    auth: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compat, "_own_hosts", frozenset({"configured.local:81"}))
    form = {"model": "m", "metadata": metadata}
    caller = find_caller(Settings(), asked, ADA, form)
    assert (caller.source, caller.auth) == (source, auth)
    assert source_of_chat(asked, form) == source


def test_the_request_metadata_wins_but_lacks_the_task() -> None:
    asked = request(metadata={"chat_id": "c", "session_id": "s"})
    form = {"model": "m", "metadata": {"task": "title_generation", "chat_id": "x"}}
    caller = find_caller(Settings(), asked, ADA, form)
    assert (caller.task, caller.chat_id) == ("title_generation", "c")


@pytest.mark.parametrize(
    "route",
    [
        "/openai/chat/completions",
        "/ollama/api/chat",
        "/api/embeddings",
        "/api/v1/embeddings",
        "/api/v1/messages",
    ],
)
def test_metadata_that_a_client_wrote_is_not_believed(route: str) -> None:
    form = {"model": "m", "metadata": {"task": "x", "session_id": "s", "internal": True}}
    caller = find_caller(Settings(), request(route=route), ADA, form)
    assert (caller.task, caller.source, caller.route) == ("chat", "api", route)


@pytest.fixture
def within() -> Iterator[Callable[..., None]]:
    """Sets the scene, for the test only."""
    tokens = []
    yield lambda **what: tokens.append(scene.set(Scene(request(), **what)))
    for token in reversed(tokens):
        scene.reset(token)


def test_a_chat_inherits_the_picked_model_and_a_task_does_not(within: Any) -> None:
    within(model_id="desk")
    chat = find_caller(Settings(), request(), ADA, {"model": "m"})
    form = {"model": "m", "metadata": {"task": "t"}}
    task = find_caller(Settings(), request(), ADA, form)
    assert (chat.model_id, task.model_id) == ("desk", "m")


def test_a_task_that_an_arena_answers_was_picked_as_the_arena(within: Any) -> None:
    within(model_id="desk", dispatched="arena")
    form = {"model": "m", "metadata": {"task": "t"}}
    assert find_caller(Settings(), request(), ADA, form).model_id == "arena"


def test_what_a_pipe_calls_was_picked_as_the_pipe(within: Any) -> None:
    within(call=SimpleNamespace(caller=caller_named(model_id="pipe")))
    assert find_caller(Settings(), request(), ADA, {"model": "m"}).model_id == "pipe"


def test_what_names_neither_request_nor_user_takes_those_being_served(within: Any) -> None:
    within(user=ADA, source="ui")
    caller = find_caller(Settings(), task="retrieval", picked=False)
    assert (caller.user_id, caller.source, caller.task) == ("u1", "ui", "retrieval")
    assert (caller.route, caller.model_id) == (API, None)


def test_outside_any_request_it_is_the_system() -> None:
    caller = find_caller(Settings())
    assert (caller.user_id, caller.source, caller.auth) == ("system", "background", "internal")


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        ("name", "Ada"),
        ("email", "Ada@Example.org"),
        ("hash", pseudonym("ada@example.org", "pepper")),
        ("none", None),
    ],
)
def test_identity(identity: str, shown: str | None) -> None:
    settings = Settings(user_identity=identity, user_hash_salt="pepper")
    caller = find_caller(settings, request(), ADA, {"model": "m"})
    assert (caller.user_id, caller.user_name, caller.roles) == ("u1", shown, ("admin",))


def test_pseudonyms_need_the_salt_to_be_guessed() -> None:
    assert pseudonym("a", "k") != pseudonym("a", "l")
    assert len(pseudonym("a", "k")) == 16


def test_work_of_nobody_is_the_systems() -> None:
    caller = find_caller(Settings(), request(None), None, {"model": "m"})
    assert (caller.user_id, caller.user_name, caller.roles) == ("system", "system", ())


@pytest.mark.parametrize("user", [None, ADA])
def test_the_id_alone_is_that_of_the_caller(user: Any) -> None:
    asked = request()
    expected = find_caller(Settings(), asked, user).user_id
    assert find_user_id(asked, user) == user_id_in(Scene(asked, user)) == expected


@pytest.mark.parametrize(
    ("named", "task"),
    [
        (None, "chat"),
        ("", "chat"),
        ("title_generation", "title_generation"),
        (Tasks.NEW, "new_in_a_later_version"),
        ("new_in_a_later_version", "new_in_a_later_version"),
        ("random-1", "unknown"),
        ("x" * 1000, "unknown"),
        (["title_generation"], "unknown"),
        ({"task": 1}, "unknown"),
    ],
)
def test_tasks_are_open_webuis_own(monkeypatch: Any, named: Any, task: str) -> None:
    monkeypatch.setitem(sys.modules, "open_webui.constants", SimpleNamespace(TASKS=Tasks))
    form = {"model": "m", "metadata": {"task": named}}
    found = find_caller(Settings(), request(), ADA, form).task
    assert found == task
    assert type(found) is str
