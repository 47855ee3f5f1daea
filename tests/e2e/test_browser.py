"""The shipped app in a real browser: what it sends is what counts as `ui`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from e2e.servers import instrumented
from e2e.truth import Expectation, Truth, assert_equal
from harness.browser import ANSWER, App, Browser, find_chromium
from harness.openwebui import OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium, and no right to install it"
)

UI = Expectation(source="ui")
EXPECTED = {
    "normal": UI,
    "again": UI,
    "two": UI,
    "temporary": UI,
    "tools": Expectation("ui", "toolbox"),
    "stop": Expectation("ui", errors=(None, "cancelled")),
    "key": Expectation(),
}


@pytest.fixture(scope="module")
def server(provider: Provider, receiver: Receiver) -> Iterator[OpenWebUI]:
    with instrumented(provider, receiver) as server:
        yield server


@pytest.fixture(scope="module")
def app(server: OpenWebUI) -> Iterator[App]:
    with (
        Browser() as browser,
        browser.sign_in(server.base_url, server.world.user("alice").token) as app,
    ):
        yield app


def test_what_a_person_does_in_the_app_equals_what_the_provider_served(
    server: OpenWebUI, provider: Provider, receiver: Receiver, app: App
) -> None:
    app.new_chat(["gpt-std"])
    converse(provider, app, "case=normal hello")
    chat = app.chat_id
    converse(provider, app, "case=again and more", answers=2)
    app.new_chat(["gpt-std", "llama-std"])
    converse(provider, app, "case=two both of you", answers=2)
    app.new_chat(["gpt-std"], temporary=True)
    converse(provider, app, "case=temporary keep nothing")
    app.new_chat(["toolbox"])
    converse(provider, app, "case=tools look it up")
    app.new_chat(["gpt-slow"])
    app.send("case=stop")
    wait_for_a_slow_answer(provider, app)
    app.stop()
    # The same person by API key, meanwhile, is another source.
    server.chat("alice", "gpt-std", "case=key")
    provider.wait_idle(1)

    calls = provider.snapshot()
    assert tasks_of(calls, "normal") == sorted(
        ["chat", "follow_up_generation", "tags_generation", "title_generation"]
    )
    assert tasks_of(calls, "two").count("chat") == 2
    assert tasks_of(calls, "tools").count("chat") == 2
    assert "chat" in tasks_of(calls, "temporary")
    assert [call.finished for call in calls if call.case == "stop" and call.task == "chat"] == [
        False
    ]
    assert_equal(receiver, Truth(server.world, calls, EXPECTED))
    assert_traces(receiver, len(calls), chat)


def converse(provider: Provider, app: App, text: str, answers: int = 1) -> None:
    """Send a message, and wait for the answer and for the tasks after it."""
    app.send(text)
    app.wait_for_answer(answers)
    provider.wait_idle(0.7)


def wait_for_a_slow_answer(provider: Provider, app: App) -> None:
    """Wait until the answer streams and the title beside it is made."""
    app.page.wait_for_selector(ANSWER)
    deadline = time.monotonic() + 20
    while not [c for c in provider.snapshot() if c.case == "stop" and c.task != "chat" and c.ended]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tasks_of(calls: list, case: str) -> list[str]:
    return sorted(call.task for call in calls if call.case == case)


def assert_traces(receiver: Receiver, calls: int, chat: str | None) -> None:
    """Each turn is one trace that holds all its calls and its tool run."""
    turns = receiver.wait_for(lambda r: turns_of(r, 6))
    models = sum(span.kind == "client" for span in receiver.spans)
    assert models == calls
    inside = {span.span_id for span in turns}
    for span in receiver.spans:
        if span.kind == "client" and span.attributes["open_webui.source"] == "ui":
            assert span.parent_id in inside
    assert [s.name for s in receiver.spans if s.parent_id in inside and s.kind == "internal"] == [
        "execute_tool look_up"
    ]
    assert {turn.attributes["gen_ai.conversation.id"] for turn in turns} >= {chat}


def turns_of(receiver: Receiver, count: int) -> list:
    turns = [span for span in receiver.spans if span.name.startswith("invoke_agent ")]
    return turns if len(turns) == count else []
