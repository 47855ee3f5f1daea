"""Turns under limits: what was let in runs to its end, and nothing gets round them."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from e2e import functions
from e2e.direct import DIRECT, with_app
from e2e.limited import LimitedServer, assert_refused, limit
from e2e.paths import PIXEL, environment
from harness.openwebui import VERSION, OpenWebUI, turn_body
from harness.postgres import Postgres
from harness.provider import Provider
from harness.seed import as_admin

CHAT = "/api/chat/completions"
TASKS = ["chat", "follow_up_generation", "tags_generation", "title_generation"]
PREFIXED = "p.gpt-std"
LOCAL = "localdesk" if VERSION >= (0, 8) else "counted"
"""A workspace model on another base than `helpdesk` has, where this version can call one."""


@pytest.fixture(scope="module")
def limited(
    provider: Provider, database: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LimitedServer]:
    env = {**environment(provider), "PGVECTOR_DB_URL": database.url}
    limited = LimitedServer(provider, tmp_path_factory.mktemp("limits"), env)
    with limited.server as server:
        functions.install(server, provider.openai_url)
        add_prefixed_connection(server)
        server.ask("GET", "/api/models?refresh=true", user="admin")
        yield limited


def add_prefixed_connection(server: OpenWebUI) -> None:
    """The provider once more, with something before the names of its models."""
    form = server.ask("GET", "/openai/config", user="admin", auth="session")
    lists = {key: form[key] for key in ("OPENAI_API_BASE_URLS", "OPENAI_API_KEYS")}
    configs = {str(len(form["OPENAI_API_KEYS"])): {"enable": True, "prefix_id": "p"}}
    more = {key: [*values, values[0]] for key, values in lists.items()}
    configs = {**form["OPENAI_API_CONFIGS"], **configs}
    as_admin(server, "/openai/config/update", {**form, **more, "OPENAI_API_CONFIGS": configs})


@pytest.fixture(autouse=True)
def _clean(limited: LimitedServer) -> None:
    limited.provider.wait_idle(0.2)
    limited.provider.clear()


def messages_of(limited: LimitedServer, user: str, chat: str) -> list[dict[str, Any]]:
    """The answers in a stored chat."""
    route = f"/api/v1/chats/{chat}"
    stored = limited.server.ask("GET", route, user=user, auth="session")["chat"]
    messages = stored["history"]["messages"].values()
    # Where the app keeps the chat, Open WebUI writes of an answer only what became of it.
    return [message for message in messages if message.get("role", "assistant") == "assistant"]


def error_of(message: dict[str, Any]) -> str:
    """The error that a stored answer shows; empty if it shows none."""
    error = message.get("error")
    return str(error.get("content", error)) if isinstance(error, dict) else str(error or "")


def said_in(message: dict[str, Any]) -> str:
    """What a stored answer says; 0.10 keeps it as items of output alone."""
    return str(message["content"] or message.get("output") or "")


def refused_turn(limited: LimitedServer, user: str, text: str, **fields: Any) -> str:
    """Send a message as the app does: the chat keeps it, with the sentence; returns the chat."""
    before = len(limited.provider.snapshot())
    chat = limited.turn(user, "helpdesk", text, **fields)
    assert any("request" in error_of(message) for message in messages_of(limited, user, chat))
    assert len(limited.provider.snapshot()) == before
    return chat


# --- what was let in ------------------------------------------------------------------------------


def test_a_turn_that_uses_up_a_limit_still_gets_its_title_tags_and_follow_ups(
    limited: LimitedServer,
) -> None:
    user = limited.somebody()
    limited.set(limit("one", 1, user=limited.id_of(user), counts_from="start"))
    chat = limited.turn(user, "helpdesk", "case=last")
    assert limited.served() == TASKS
    [answer] = messages_of(limited, user, chat)
    assert said_in(answer)
    assert not answer.get("error")
    refused_turn(limited, user, "case=next", chat_id=chat)


def test_a_refused_chat_goes_on_when_the_limit_is_lifted(limited: LimitedServer) -> None:
    user = limited.somebody()
    limited.refuse(user)
    chat = refused_turn(limited, user, "case=refused")
    refused_turn(limited, user, "case=refused", chat_id=chat)
    limited.lift()
    limited.turn(user, "helpdesk", "case=after", chat_id=chat, tasks=())
    assert limited.served() == ["chat"]
    assert said_in(messages_of(limited, user, chat)[-1])


@pytest.mark.skipif(VERSION < (0, 11), reason="the vector database of older ones has no place here")
def test_documents_are_in_the_answer_of_whoever_was_let_in(limited: LimitedServer) -> None:
    user = limited.somebody()
    limited.lift()
    files = {"file": ("a.txt", b"case=doc the moon is made of cheese", "text/plain")}
    route = "/api/v1/files/?process_in_background=false"
    file = limited.server.ask("POST", route, user=user, files=files)
    limited.provider.wait_idle(0.3)
    limited.provider.clear()
    # The upload counts, if the limit is first seen in the same second.
    limited.set(limit("two", 2, user=limited.id_of(user)))
    attached = [{"type": "file", "id": file["id"], "name": "a.txt", "status": "uploaded"}]
    limited.turn(user, "helpdesk", "case=ask of the moon", files=attached, tasks=())
    calls = limited.provider.snapshot()
    asked = {call.operation: str(call.body) for call in calls}
    assert asked.keys() >= {"embeddings", "chat"}
    assert "made of cheese" in asked["chat"]


def test_a_tool_loop_that_crosses_a_limit_ends_with_the_sentence(limited: LimitedServer) -> None:
    user = limited.somebody()
    limited.set(limit("one", 1, user=limited.id_of(user)))
    chat = limited.turn(user, "toolbox", "case=tools", tool_ids=["case_lookup"], tasks=())
    assert limited.served() == ["chat"]
    [answer] = messages_of(limited, user, chat)
    assert "1 request" in error_of(answer) + said_in(answer), answer


@pytest.mark.skipif(VERSION < (0, 12), reason="without a session, tools run in no loop")
def test_a_tool_loop_of_a_program_without_a_session_ends_with_the_sentence(
    limited: LimitedServer,
) -> None:
    user = limited.somebody()
    limited.set(limit("one", 1, user=limited.id_of(user)))
    body = turn_body("toolbox", "case=loop", chat_id="", tasks=(), tool_ids=["case_lookup"])
    del body["session_id"]
    chat = limited.server.new_chat(user, body)
    sent = {**body, "chat_id": chat, "stream": True}
    assert limited.server.request("POST", CHAT, user=user, json=sent).status == 200
    assert limited.served() == ["chat"]
    [answer] = messages_of(limited, user, chat)
    assert "1 request" in error_of(answer)


def test_pictures_in_a_turn_are_made(limited: LimitedServer) -> None:
    user = limited.somebody()
    limited.set(limit("one", 1, user=limited.id_of(user)))
    features = {"image_generation": True}
    params = {"function_calling": "legacy"}
    limited.turn(user, "gpt-std", "case=paint", features=features, params=params, tasks=())
    assert "image_generation" in {call.operation for call in limited.provider.snapshot()}


@pytest.mark.skipif(VERSION < (0, 9), reason="the app sends a request for each of them")
def test_each_of_several_models_is_looked_at(limited: LimitedServer) -> None:
    user = limited.somebody()
    limited.set(limit("none of one", 0, user=limited.id_of(user), models=[LOCAL]))
    for models in (["helpdesk", LOCAL], [LOCAL, "helpdesk"]):
        ids = {model: str(uuid.uuid4()) for model in models}
        listed = [{"model_id": model, "message_id": answer} for model, answer in ids.items()]
        answers = ids if VERSION < (0, 10) else listed
        chat = limited.turn(user, models[0], "case=two", message_ids=answers, tasks=())
        told = {message["model"]: message for message in messages_of(limited, user, chat)}
        assert "0 requests" in error_of(told[LOCAL])
        assert not error_of(told["helpdesk"])
        assert said_in(told["helpdesk"])


def test_what_is_nearly_used_is_told_beside_the_answer(limited: LimitedServer) -> None:
    user = limited.somebody()
    more = {"user": limited.id_of(user), "warn_at": "50 %"}
    limited.set(limit("Täglich", 4, **more))
    told = [
        limited.server.chat(user, "gpt-std", f"case=near-{number}").headers.get(
            "x-usage-limit-warning"
        )
        for number in range(4)
    ]
    assert told[0] is None
    assert told[-1] is not None
    assert told[-1].startswith("T%C3%A4glich; measure=requests; used=")


# --- ends -----------------------------------------------------------------------------------------


def test_what_was_held_back_is_let_go_at_every_end(limited: LimitedServer) -> None:
    """One call at a time may be in flight: whatever ended before must hold back nothing."""
    user = limited.somebody()
    server = limited.server
    limited.set(limit("ten", 10, user=limited.id_of(user)))
    body = {"model": "gpt-slow", "messages": [{"role": "user", "content": "case=cut"}]}
    for number in range(3):
        server.abandon("POST", CHAT, chunks=1, user=user, json={**body, "stream": True})
        assert number < 10
    chat = limited.turn(user, "gpt-slow", "case=stop", tasks=(), wait=False)
    time.sleep(0.5)
    for task in server.ask("GET", f"/api/tasks/chat/{chat}", user=user, auth="session")["task_ids"]:
        server.request("POST", f"/api/tasks/stop/{task}", user="admin", auth="session")
        server.request("POST", f"/api/tasks/chat/{chat}/stop", user=user, auth="session")
    limited.provider.wait_idle(1.0)
    used = len(limited.provider.snapshot())
    assert used < 10
    for number in range(10 - used):
        assert server.chat(user, "gpt-std", f"case=rest-{number}").status == 200
    assert server.chat(user, "gpt-std", "case=over").status == 429


def test_what_is_cut_off_counts(limited: LimitedServer) -> None:
    """Nobody reads for nothing by leaving before the provider has said what it costs."""
    user, text = limited.somebody(), "case=cut " + "word " * 3000
    limited.set(limit("some", 5000, "tokens", user=limited.id_of(user)))
    body = {"model": "gpt-slow", "messages": [{"role": "user", "content": text}], "stream": True}
    limited.server.abandon("POST", CHAT, chunks=1, user=user, json=body)
    limited.provider.wait_idle(0.5)
    assert limited.server.request("POST", CHAT, user=user, json=body).status == 429
    assert limited.served() == ["chat"]


# --- direct connections ---------------------------------------------------------------------------


def direct_turn(limited: LimitedServer, user: str, **fields: Any) -> None:
    """A turn that the user's own browser answers."""

    def turn(session: str) -> None:
        limited.turn(
            user, "gpt-std", "case=own", session_id=session, model_item=DIRECT, tasks=(), **fields
        )

    asyncio.run(with_app(limited.server, limited.provider, user, turn))


def test_what_a_browser_asks_by_itself_is_limited_only_where_that_is_said(
    limited: LimitedServer,
) -> None:
    user = limited.somebody()
    limited.refuse(user)
    direct_turn(limited, user)
    assert limited.served() == ["chat"]
    limited.refuse(user, direct=True)
    direct_turn(limited, user)
    assert limited.served() == []


def test_documents_that_would_be_missing_there_refuse_the_whole_turn(
    limited: LimitedServer,
) -> None:
    user = limited.somebody()
    limited.refuse(user)
    direct_turn(limited, user, files=[{"type": "file", "id": "any", "name": "a.txt"}])
    assert limited.served() == []


# --- attempts to get round it ---------------------------------------------------------------------


def attempt(limited: LimitedServer, route: str, body: dict[str, Any], **options: Any) -> None:
    """Send a request as somebody refused: it must not get through."""
    answer = limited.server.request("POST", route, user="alice", json=body, **options)
    # What has a chat is told in it, later; older versions answer some errors with nothing.
    assert answer.status >= 400 or "choices" not in answer.text, answer.text[:300]
    assert limited.served() == []


HELLO = [{"role": "user", "content": "case=try hello"}]
PLAIN = {"model": "gpt-std", "messages": HELLO}
FORGED = {
    "task": "title_generation", "chat_id": "another", "message_id": "x", "session_id": "y",
    "automation_id": "z", "internal": True, "direct": True, "user_id": "another",
}  # fmt: skip
ATTEMPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "forged-task": (CHAT, {**PLAIN, "metadata": FORGED}),
    "forged-task-raw": ("/openai/chat/completions", {**PLAIN, "metadata": FORGED}),
    "forged-chat": (CHAT, {**PLAIN, "chat_id": "channel:x", "session_id": "y", "id": "z"}),
    "automation": (CHAT, {**PLAIN, "automation_id": "z"}),
    "temporary": (CHAT, {**PLAIN, "chat_id": "local:1", "session_id": "y", "id": "z"}),
    "new-chat": (CHAT, {**PLAIN, "parent_id": None, "session_id": "y", "id": "z"}),
    "direct": (CHAT, {**PLAIN, "model_item": {"id": "mine", "direct": True}}),
    "direct-same": (CHAT, {**PLAIN, "model_item": {"id": "gpt-mini", "direct": True, "owned_by": "openai"}}),
    "direct-documents": (
        CHAT, {**PLAIN, "model_item": {"id": "gpt-std", "direct": True}, "files": [{"type": "text"}]},
    ),
    "workspace": (CHAT, {**PLAIN, "model": "helpdesk"}),
    "workspace-raw": ("/openai/chat/completions", {**PLAIN, "model": "helpdesk"}),
    "arena": (CHAT, {**PLAIN, "model": "arena"}),
    "pipe": (CHAT, {**PLAIN, "model": "async_pipes.calls"}),
    "no-model": (CHAT, {"messages": HELLO}),
    "odd-model": (CHAT, {**PLAIN, "model": ["gpt-std"]}),
    "models": (CHAT, {**PLAIN, "message_ids": {"gpt-std": "a", "gpt-mini": "b"}, "session_id": "y"}),
    "upper": ("/openai//chat/completions", PLAIN),
    "passed": ("/openai/v1/../chat/completions", PLAIN),
    "title": ("/api/v1/tasks/title/completions", {**PLAIN, "chat_id": "another"}),
    "moa": ("/api/v1/tasks/moa/completions", {**PLAIN, "prompt": "p", "responses": ["a"]}),
    "slash": ("/api/chat/completions/", PLAIN),
    "encoded": ("/api/chat/%63ompletions", PLAIN),
    "index": ("/ollama/api/chat/0", {**PLAIN, "model": "llama-std"}),
    "anothers-name": (CHAT, {**PLAIN, "user": "another", "user_id": "another"}),
    "batch": ("/openai/batches", {"input_file_id": "f", "endpoint": "/v1/chat/completions"}),
    "any-endpoint": ("/openai/v2/odd", {"model": "gpt-std", "input": "case=try"}),
    "image": ("/api/v1/images/generations", {"prompt": "case=try"}),
    "edit": ("/api/v1/images/edit", {"prompt": "case=try", "image": PIXEL}),
}  # fmt: skip


@pytest.fixture(scope="module")
def refused(limited: LimitedServer) -> LimitedServer:
    limited.refuse("alice")
    return limited


@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_in_a_request_gets_round_a_limit(refused: LimitedServer, name: str) -> None:
    attempt(refused, *ATTEMPTS[name])


@pytest.mark.parametrize("auth", ["session", "cookie"])
def test_no_way_to_sign_in_gets_round_it(refused: LimitedServer, auth: Any) -> None:
    attempt(refused, CHAT, PLAIN, auth=auth)
    attempt(refused, CHAT, PLAIN, auth=auth, headers=refused.server.browser_headers())


def test_a_new_key_does_not_get_round_it(refused: LimitedServer) -> None:
    made = refused.server.ask("POST", "/api/v1/auths/api_key", user="alice", auth="session")
    headers = {"Authorization": f"Bearer {made['api_key']}"}
    answer = refused.server.request("POST", CHAT, json=PLAIN, headers=headers)
    refused.server._world = None
    assert_refused(answer, refused)


def test_deleting_chats_gives_nothing_back(limited: LimitedServer) -> None:
    user = limited.somebody()
    limited.set(limit("one", 1, user=limited.id_of(user)))
    chat = limited.turn(user, "helpdesk", "case=gone", tasks=())
    limited.server.ask("DELETE", f"/api/v1/chats/{chat}", user=user, auth="session")
    assert limited.server.chat(user, "helpdesk", "case=more").status == 429
    refused_turn(limited, user, "case=more")
    limited.turn(user, "helpdesk", "case=more", chat_id=f"local:{uuid.uuid4()}")
    assert limited.served() == ["chat"]


def test_a_model_behind_others_is_limited(limited: LimitedServer) -> None:
    """By a workspace model or an arena."""
    user = limited.somebody()
    limited.set(limit("none of it", 0, user=limited.id_of(user), models=["gpt-std"]))
    assert limited.server.chat(user, "helpdesk", "case=behind").status == 429
    assert limited.served() == []
    if VERSION >= (0, 10):
        assert limited.server.chat(user, "arena", "case=behind").status == 429
        assert limited.served() == []
    assert limited.server.chat(user, "gpt-mini", "case=other").status == 200


def test_many_at_once_do_not_get_round_it(limited: LimitedServer) -> None:
    user = limited.somebody()
    limited.set(limit("five", 5, user=limited.id_of(user)))
    found: list[int] = []

    def ask() -> None:
        found.append(limited.server.chat(user, "gpt-std", "case=crowd").status)

    threads = [threading.Thread(target=ask) for _ in range(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] * 5 + [429] * 10
    assert len(limited.provider.snapshot()) == 5


def test_another_worker_is_no_way_round_it(
    provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> None:
    two = LimitedServer(provider, tmp_path_factory.mktemp("workers"), {}, workers=2)
    with two.server as server:
        user = two.somebody()
        two.set(limit("three", 3, user=two.id_of(user)))
        found = [server.chat(user, "gpt-std", "case=worker").status for _ in range(12)]
    assert found == [200] * 3 + [429] * 9


def told_of_run(limited: LimitedServer, route: str) -> str:
    """What is told of the last run of an automation."""
    runs = limited.server.ask("GET", f"{route}/runs", user="admin")
    runs = runs.get("items", runs) if isinstance(runs, dict) else runs
    if not runs or VERSION >= (0, 11):
        return str(runs[0]["error"] if runs else runs)
    # Older ones start the chat, and call this a success whatever becomes of it.
    return str([error_of(one) for one in messages_of(limited, "admin", runs[0]["chat_id"])])


@pytest.mark.skipif(VERSION < (0, 9), reason="there are no automations")
def test_an_automation_that_is_refused_is_told_as_failed(limited: LimitedServer) -> None:
    limited.lift()
    form = {
        "name": "Daily",
        "data": {
            "prompt": "case=auto hello",
            "model_id": "gpt-std",
            "rrule": "RRULE:FREQ=YEARLY",
        },
        "is_active": True,
    }
    deadline = time.monotonic() + 30
    # Open WebUI gives up on rules of recurrence that a busy machine does not evaluate in 2 s.
    while True:
        made = limited.server.request("POST", "/api/v1/automations/create", user="admin", json=form)
        if made.status == 200:
            break
        assert time.monotonic() < deadline, made.text[:500]
    limited.refuse("admin")
    route = f"/api/v1/automations/{made.json()['id']}"
    limited.server.ask("POST", f"{route}/run", user="admin", json={})
    deadline = time.monotonic() + 20
    while "0 requests" not in (told := told_of_run(limited, route)):
        assert time.monotonic() < deadline, told
        time.sleep(0.2)
    assert limited.served() == []
    assert limited.served() == []


def test_a_channel_is_no_way_round_it(limited: LimitedServer) -> None:
    limited.lift()
    channel = as_admin(limited.server, "/api/v1/channels/create", {"name": "room", "type": ""})
    limited.refuse("admin")
    said = {"content": "<@M:gpt-std|gpt-std> case=channel hello"}
    route = f"/api/v1/channels/{channel['id']}/messages/post"
    answer = limited.server.request("POST", route, user="admin", auth="session", json=said)
    assert answer.status == 200
    time.sleep(1.0)
    assert limited.served() == []


def test_the_prefix_of_a_connection_is_no_way_round_it(limited: LimitedServer) -> None:
    """The last one: it is known half a minute after it was set."""
    limited.set(limit("none of it", 0, user=limited.id_of("admin"), models=["gpt-std"]))
    ask = partial(limited.server.request, "POST", user="admin", json={**PLAIN, "model": PREFIXED})
    deadline = time.monotonic() + 45
    while ask(CHAT).status != 429:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    limited.provider.wait_idle(0.2)
    limited.provider.clear()
    assert [ask(route).status for route in (CHAT, "/openai/chat/completions")] == [429, 429]
    assert limited.served() == []


def test_nothing_of_ours_has_failed(limited: LimitedServer) -> None:
    assert "instrumentation failed" not in limited.server.log_text()
