"""Turns of a chat: one trace of all that a message sets off.

Requests as the browser app sends them; `test_browser.py` has the app itself.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from e2e.servers import instrumented
from e2e.truth import Expectation, Truth, assert_equal
from harness.openwebui import OpenWebUI
from harness.otlp import Receiver, Span
from harness.provider import Provider
from semconv.check import of_receiver

UI = Expectation(source="ui")
TASKS = {"title_generation", "tags_generation", "follow_up_generation"}


@pytest.fixture(scope="module")
def server(provider: Provider, receiver: Receiver) -> Iterator[OpenWebUI]:
    with instrumented(provider, receiver) as server:
        yield server


@pytest.fixture(autouse=True)
def _clean(server: OpenWebUI, provider: Provider) -> None:
    provider.wait_idle(0.3)
    provider.clear()


def spans_of(receiver: Receiver, chat_id: str, name: str) -> list[Span]:
    """The spans of the turn in that chat, once the turn has ended."""
    turn = receiver.wait_for(
        lambda r: [
            span
            for span in r.spans
            if span.name == name and span.attributes.get("gen_ai.conversation.id") == chat_id
        ]
    )[-1]
    time.sleep(1.2)
    return [turn, *(s for s in receiver.spans if s.trace_id == turn.trace_id and s is not turn)]


def assert_true(
    server: OpenWebUI, provider: Provider, receiver: Receiver, **expected: Expectation
) -> None:
    """Events of this test's calls against the provider's log; the accounts are in test_calls."""
    calls = provider.snapshot()
    events = receiver.wait_for(lambda r: matching(r, calls))
    truth = Truth(server.world, calls, expected).counts()
    told = sum(amount for (metric, _), amount in truth.items() if metric.endswith("usage.tokens"))
    names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    assert sum(event.attributes.get(name, 0) for event in events for name in names) == told
    assert sorted(event.attributes["open_webui.task"] for event in events) == sorted(
        call.task for call in calls
    )


def matching(receiver: Receiver, calls: list) -> list:
    chats = {call.chat_id for call in calls}
    found = [e for e in receiver.events if e.attributes.get("gen_ai.conversation.id") in chats]
    return found if len(found) == len(calls) else []


def test_a_turn_is_one_trace_with_its_tasks(
    server: OpenWebUI, provider: Provider, receiver: Receiver
) -> None:
    chat = server.turn("alice", "helpdesk", "case=turn")
    assert_true(server, provider, receiver, turn=Expectation("ui", "helpdesk"))
    turn, *calls = spans_of(receiver, chat, "invoke_agent helpdesk")
    assert turn.kind == "internal"
    assert turn.attributes["gen_ai.agent.name"] == "helpdesk"
    assert turn.attributes["open_webui.source"] == "ui"
    assert turn.attributes["open_webui.auth"] == "session"
    assert turn.attributes["user.name"] == "Alice Example"
    assert turn.attributes["open_webui.user.groups"] == ("research", "teaching")
    assert {call.attributes["open_webui.task"] for call in calls} == {"chat", *TASKS}
    for call in calls:
        assert call.parent_id == turn.span_id
        assert turn.start <= call.start <= call.end <= turn.end
        assert call.attributes["open_webui.source"] == "ui"
        assert call.attributes["open_webui.model.id"] == "helpdesk"
        assert call.attributes["gen_ai.request.model"] == "gpt-std"
        assert call.attributes["gen_ai.conversation.id"] == chat


def test_a_tool_loop_is_several_calls_and_a_tool_run(
    server: OpenWebUI, provider: Provider, receiver: Receiver
) -> None:
    chat = server.turn("bob", "toolbox", "case=tools", tool_ids=["case_lookup"], tasks=())
    assert_true(server, provider, receiver, tools=Expectation("ui", "toolbox"))
    turn, *spans = spans_of(receiver, chat, "invoke_agent toolbox")
    tools = [span for span in spans if span.name.startswith("execute_tool")]
    calls = [span for span in spans if span.kind == "client"]
    assert [tool.name for tool in tools] == ["execute_tool look_up"]
    assert tools[0].attributes["gen_ai.tool.call.id"]
    assert tools[0].attributes["gen_ai.agent.name"] == "toolbox"
    assert tools[0].attributes["gen_ai.conversation.id"] == chat
    assert len(calls) == 2 == len(provider.snapshot())
    assert {span.parent_id for span in spans} == {turn.span_id}
    assert calls[0].attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)


def test_several_models_answer_one_message_in_one_turn(
    server: OpenWebUI, provider: Provider, receiver: Receiver
) -> None:
    answers = [
        {"model_id": model, "message_id": str(uuid.uuid4())} for model in ("helpdesk", "localdesk")
    ]
    chat = server.turn("alice", "helpdesk", "case=two", message_ids=answers, tasks=())
    calls = provider.snapshot()
    assert sorted(call.model for call in calls) == ["gpt-std", "llama-std"]
    turn, *spans = spans_of(receiver, chat, "invoke_agent helpdesk")
    assert {
        (span.attributes["open_webui.model.id"], span.attributes["gen_ai.request.model"])
        for span in spans
    } == {("helpdesk", "gpt-std"), ("localdesk", "llama-std")}
    assert max(span.end for span in spans) <= turn.end


def test_a_temporary_chat_counts_like_any_other(
    server: OpenWebUI, provider: Provider, receiver: Receiver
) -> None:
    chat = f"local:{uuid.uuid4()}"
    server.turn("carol", "gpt-std", "case=temporary", chat_id=chat)
    provider.wait_idle(1)
    assert_true(server, provider, receiver, temporary=UI)
    _, *calls = spans_of(receiver, chat, "invoke_agent gpt-std")
    assert len(calls) == len(provider.snapshot()) >= 1


def test_a_stopped_answer_ends_once_with_what_is_known(
    server: OpenWebUI, provider: Provider, receiver: Receiver
) -> None:
    chat = server.turn("alice", "gpt-slow", "case=stop", tasks=(), wait=False)
    time.sleep(1)
    server.ask("POST", f"/api/tasks/chat/{chat}/stop", user="alice", auth="session")
    provider.wait_idle(0.3)
    turn, call = spans_of(receiver, chat, "invoke_agent gpt-slow")
    assert call.attributes["error.type"] == turn.attributes["error.type"] == "cancelled"
    assert call.end <= turn.end


def test_a_failed_answer_marks_the_call_and_the_turn(
    server: OpenWebUI, provider: Provider, receiver: Receiver
) -> None:
    chat = server.turn("alice", "gpt-500", "case=failed", tasks=())
    for span in spans_of(receiver, chat, "invoke_agent gpt-500"):
        assert span.attributes["error.type"] == "500"
        assert span.status == "error"


def test_prompted_tools_are_spans_too(
    server: OpenWebUI, provider: Provider, receiver: Receiver
) -> None:
    """Tools that a prompt makes the model choose: the way before native tool calls."""
    chat = server.turn(
        "bob",
        "gpt-std",
        "case=prompted",
        tool_ids=["case_lookup"],
        params={"function_calling": "legacy"},
        tasks=(),
    )
    _, *spans = spans_of(receiver, chat, "invoke_agent gpt-std")
    tasks = [span.attributes["open_webui.task"] for span in spans if span.kind == "client"]
    assert sorted(tasks) == ["chat", "function_calling"]
    assert [span.name for span in spans if span.kind == "internal"] == ["execute_tool look_up"]


def test_how_long_turns_and_tools_took_is_measured(receiver: Receiver) -> None:
    """Of all of the above."""
    for span, metric, name in (
        ("invoke_agent", "gen_ai.invoke_agent.duration", "gen_ai.agent.name"),
        ("execute_tool", "gen_ai.execute_tool.duration", "gen_ai.tool.name"),
    ):
        spans = [s for s in receiver.spans if s.attributes.get("gen_ai.operation.name") == span]
        counted = {p.series: p for p in receiver.points if p.metric == metric}.values()
        assert sum(point.count or 0 for point in counted) == len(spans) > 0
        for attribute in (name, "error.type"):
            assert {p.attributes.get(attribute) for p in counted} == {
                s.attributes.get(attribute) for s in spans
            }
        assert sum(point.sum or 0 for point in counted) == pytest.approx(
            sum(s.end - s.start for s in spans) / 1e9, rel=0.1, abs=0.01
        )


def measured(receiver: Receiver, histogram: str) -> int:
    latest = {p.series: p.count or 0 for p in receiver.points if p.metric == histogram}
    return sum(latest.values())


def test_usage_of_turns_equals_what_the_provider_served(
    provider: Provider,
) -> None:
    """Last, on a server of its own, so that nothing of the tests above is in the accounts."""
    latest = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup,gen_ai_latest_experimental"}
    with Receiver() as receiver, instrumented(provider, receiver, latest) as server:
        for number, (user, model) in enumerate(
            [("alice", "helpdesk"), ("bob", "llama-std"), ("carol", "gpt-cumulative")]
        ):
            server.turn(user, model, f"case=turn-{number}")
        provider.wait_idle(1)
        expected = {
            "turn-0": Expectation("ui", "helpdesk"),
            "turn-1": Expectation("ui"),
            "turn-2": Expectation("ui"),
        }
        calls = provider.snapshot()
        assert len(calls) == 12
        assert_equal(receiver, Truth(server.world, calls, expected))
        assert receiver.wait_for(lambda r: measured(r, "gen_ai.client.inference.duration")) >= 12
        assert not measured(receiver, "gen_ai.client.operation.duration")
        assert of_receiver(receiver) == []
