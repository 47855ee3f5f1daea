"""Calls that nobody sent one by one: mentions, automations, timers, sub-agents, and turns' helpers.

Each test compares what it set off with the provider's log, on one server for all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from e2e.paths import environment
from e2e.servers import instrumented
from e2e.truth import Expectation, Further, assert_equal, reported
from harness.openwebui import Auth, OpenWebUI, turn_body
from harness.otlp import Event, Receiver, Span
from harness.postgres import Postgres
from harness.provider import Provider, ServedCall
from harness.seed import as_admin

UI = Expectation("ui")
TASKS = {"title_generation", "tags_generation", "follow_up_generation"}
SETTINGS = {
    "USER_PERMISSIONS_FEATURES_AUTOMATIONS": "true",
    "ENABLE_SUBAGENTS": "true",
    "SUBAGENTS_BACKGROUND_ENABLED": "true",
    "ENABLE_CONTEXT_COMPACTION": "true",
    "ENABLE_TOOL_PERMISSIONS": "true",
    "ENABLE_MEMORY_BACKGROUND_REVIEW": "true",
    "MEMORIES_REVIEW_INTERVAL_TURNS": "1",
}
WRITERS = [
    {"principal_type": "user", "principal_id": "*", "permission": permission}
    for permission in ("read", "write")
]
# A new series is announced in one export and moves in the next one.
SETTLED = 6

Judge = Callable[[ServedCall], Expectation]


class Watch:
    """What happens from now on, as the provider and the receiver see it."""

    def __init__(self, server: OpenWebUI, provider: Provider, receiver: Receiver) -> None:
        self.server, self.provider, self.receiver = server, provider, receiver
        self.restart()

    def restart(self) -> None:
        """Begin anew: what was before is of no interest."""
        self.provider.wait_idle(0.5)
        exports = exports_of_metrics(self.receiver)
        self.receiver.wait_for(lambda r: exports_of_metrics(r) >= exports + SETTLED)
        self.provider.clear()
        self._spans, self._events = len(self.receiver.spans), len(self.receiver.events)
        self._before = reported(self.receiver)

    def events(self) -> list[Event]:
        """The events since then."""
        return self.receiver.events[self._events :]

    def spans(self) -> list[Span]:
        """The spans that have ended since then."""
        return self.receiver.spans[self._spans :]

    def turns(self, model: str, count: int = 1) -> list[Span]:
        """The turns with a model in the order of their beginning, once they have ended."""
        name = f"invoke_agent {model}"
        self.receiver.wait_for(lambda _: len(named(self.spans(), name)) >= count, 30)
        self.provider.wait_idle(0.5)
        found = sorted(named(self.spans(), name), key=lambda span: span.start)
        assert len(found) == count
        return found

    def check(self, judge: Judge | Expectation) -> list[ServedCall]:
        """Compare accounts, events and spans with the provider's calls, and return the calls."""
        served = self.provider.snapshot()
        calls = [replace(call, case=str(number)) for number, call in enumerate(served)]
        expected = {
            call.case: judge if isinstance(judge, Expectation) else judge(before)
            for call, before in zip(calls, served, strict=True)
        }
        assert calls
        assert_equal(
            self.receiver, Further(self.server.world, calls, expected, before=self._before)
        )
        events = self.receiver.wait_for(lambda _: at_least(self.events(), len(calls)))
        assert len({event.attributes["open_webui.call.id"] for event in events}) == len(calls)
        assert Counter(map(told, events)) == Counter(map(tokens, served))
        spans = self.receiver.wait_for(lambda _: at_least(clients(self.spans()), len(calls)))
        assert {span.span_id for span in spans} == {event.span_id for event in events}
        assert len(spans) == len(events) == len(calls)
        return served

    def above(self, span: Span) -> Iterator[str]:
        """The ids of the spans that a span is below of, the nearest first."""
        parents = {span.span_id: span.parent_id for span in self.spans()}
        above = span.parent_id
        while above:
            yield above
            above = parents.get(above, "")

    def within(self, turn: Span) -> list[Span]:
        """All spans below a turn."""
        return [span for span in self.spans() if turn.span_id in self.above(span)]


def told(event: Event) -> tuple[Any, ...]:
    names = ("gen_ai.request.model", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    return tuple(event.attributes.get(name) for name in names)


def tokens(call: ServedCall) -> tuple[Any, ...]:
    return call.model, call.input_tokens, call.output_tokens


def exports_of_metrics(receiver: Receiver) -> int:
    return sum(signal == "metrics" for _, signal in receiver.exports)


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def clients(spans: list[Span]) -> list[Span]:
    return [span for span in spans if span.kind == "client"]


def at_least(things: list[Any], count: int) -> list[Any]:
    return things if len(things) >= count else []


def tasks_of(spans: list[Span]) -> list[Any]:
    return sorted(span.attributes["open_webui.task"] for span in clients(spans))


def asked(call: ServedCall) -> str:
    """What the user said last before this call."""
    messages = json.loads(call.body).get("messages") or []
    return next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")


def assert_together(watch: Watch, turn: Span) -> None:
    """Every call is part of the turn's tree."""
    assert len(clients(watch.within(turn))) == len(clients(watch.spans()))
    assert {span.trace_id for span in watch.within(turn)} == {turn.trace_id}


def assert_whole(watch: Watch, turn: Span) -> None:
    """Every call is part of the turn's tree, and its own turn lasts as long as it does."""
    assert_together(watch, turn)
    turns = {span.span_id: span for span in watch.spans() if span.name.startswith("invoke_agent")}
    for span in clients(watch.spans()):
        own = next(turns[above] for above in watch.above(span) if above in turns)
        assert own.start <= span.start <= span.end <= own.end, span.name


@pytest.fixture(scope="module")
def server(provider: Provider, receiver: Receiver, database: Postgres) -> Iterator[OpenWebUI]:
    env = {**environment(provider), **SETTINGS, "PGVECTOR_DB_URL": database.url}
    with instrumented(provider, receiver, env) as server:
        server.ask("GET", "/api/models?refresh=true", user="admin")
        # A server that was never used has nothing to export, and we wait for its exports.
        server.chat("admin", "gpt-std", "case=first")
        yield server


@pytest.fixture
def watch(server: OpenWebUI, provider: Provider, receiver: Receiver) -> Watch:
    return Watch(server, provider, receiver)


def turn_with_retrieval(source: str, model: str, user: str) -> Judge:
    """What is true of a turn whose model Open WebUI helps by searching."""
    of_chat = Expectation(source, model, user=user)
    of_search = Expectation(source, user=user, task="retrieval")
    return lambda call: of_chat if call.operation == "chat" else of_search


def post(server: OpenWebUI, path: str, form: object, user: str = "alice") -> Any:
    """Post a form as the browser app does."""
    headers = server.browser_headers()
    return server.ask("POST", path, user=user, auth="session", json=form, headers=headers)


@pytest.fixture(scope="module")
def channel(server: OpenWebUI) -> str:
    form = {"name": "lounge", "access_grants": WRITERS}
    return str(as_admin(server, "/api/v1/channels/create", form)["id"])


def test_mentions_in_a_channel_are_background(
    server: OpenWebUI, channel: str, watch: Watch
) -> None:
    text = "case=mention <@M:helpdesk|Help Desk> or <@M:localdesk|Local Desk>, which river?"
    post(server, f"/api/v1/channels/{channel}/messages/post", {"content": text})
    turns = [*watch.turns("helpdesk"), *watch.turns("localdesk")]
    picked = {"gpt-std": "helpdesk", "llama-std": "localdesk"}
    calls = watch.check(lambda call: Expectation("background", picked[call.model], user="alice"))
    assert sorted(call.model for call in calls) == sorted(picked)
    for turn in turns:
        assert turn.attributes["open_webui.source"] == "background"
        assert turn.attributes["open_webui.auth"] == "session"
        assert turn.attributes["gen_ai.conversation.id"] == f"channel:{channel}"
        assert tasks_of(watch.within(turn)) == ["chat"]


@pytest.mark.parametrize(
    ("target", "tasks"),
    [
        # Open WebUI reviews what it could remember of it, and does remember what it found.
        ("chat", ["chat", "chat", "memory_review", "retrieval"]),
        ("channel", ["chat", "chat"]),
    ],
)
def test_an_automation_is_background_in_one_trace(
    server: OpenWebUI, channel: str, watch: Watch, target: str, tasks: list[str]
) -> None:
    data = {
        "prompt": f"case=automation-{target}",
        "model_id": "toolbox",
        "rrule": "RRULE:FREQ=YEARLY",
        "target": {"type": target, "channel_id": channel},
    }
    made = post(server, "/api/v1/automations/create", {"name": "Report", "data": data})
    watch.restart()
    post(server, f"/api/v1/automations/{made['id']}/run", {})
    [turn] = watch.turns("toolbox")
    watch.check(turn_with_retrieval("background", "toolbox", "alice"))
    assert turn.attributes["open_webui.source"] == "background"
    assert turn.attributes["open_webui.auth"] == "internal"
    assert_together(watch, turn)
    assert tasks_of(watch.within(turn)) == tasks
    assert [span.name for span in watch.within(turn) if span.kind == "internal"] == [
        "execute_tool look_up"
    ]


@pytest.mark.parametrize(
    ("auth", "source", "background"),
    [("session", "ui", False), ("session", "ui", True), ("api_key", "api", False)],
)
def test_a_sub_agent_belongs_to_the_turn_that_sent_for_it(
    server: OpenWebUI, watch: Watch, auth: Auth, source: str, background: bool
) -> None:
    work = json.dumps({"task": "case=delegated look around", "background": background})
    body = turn_body("gpt-tools", f"tool=delegate_task {work}", chat_id=None, tasks=())
    headers = server.browser_headers() if auth == "session" else {}
    path = "/api/chat/completions"
    server.ask("POST", path, user="alice", auth=auth, json=body, headers=headers)
    turn, *others = watch.turns("gpt-tools", 3 if background else 2)
    calls = watch.check(Expectation(source, user="alice"))
    assert len(calls) == (5 if background else 4)
    assert_whole(watch, turn)
    [tool] = named(watch.spans(), "execute_tool delegate_task")
    assert tool.parent_id == turn.span_id
    assert others[0].parent_id == tool.span_id
    for span in (turn, *others, *clients(watch.spans())):
        assert span.attributes["open_webui.source"] == source
        assert span.attributes["user.name"] == "Alice Example"
        assert span.attributes["open_webui.user.groups"] == ("research", "teaching")


def test_retrieval_in_a_turn_belongs_to_it(server: OpenWebUI, watch: Watch) -> None:
    content = {"file": ("river.txt", b"The quiet river counts seven tokens.", "text/plain")}
    path = "/api/v1/files/?process_in_background=false"
    file = server.ask("POST", path, user="alice", auth="session", files=content)
    watch.restart()
    files = [{"type": "file", "id": file["id"], "name": "river.txt", "file": file}]
    chat = server.turn("alice", "helpdesk", "case=rag which river?", files=files, tasks=())
    [turn] = watch.turns("helpdesk")
    calls = watch.check(turn_with_retrieval("ui", "helpdesk", "alice"))
    assert {call.path for call in calls} >= {"/v1/embeddings", "/v1/rerank"}
    assert_whole(watch, turn)
    assert turn.attributes["gen_ai.conversation.id"] == chat
    assert set(tasks_of(watch.within(turn))) == {"chat", "query_generation", "retrieval"}


def next_turn(server: OpenWebUI, chat: str, model: str, text: str, **fields: Any) -> None:
    """A further turn of Alice's in a chat, below its last message."""
    stored = server.ask("GET", f"/api/v1/chats/{chat}", user="alice", auth="session")
    last = stored["chat"]["history"]["currentId"]
    body = turn_body(model, text, chat_id=chat, tasks=(), parent_id=last, **fields)
    message = {**body["user_message"], "parentId": last}  # type: ignore[dict-item]
    post(server, "/api/chat/completions", {**body, "user_message": message})


def test_context_compaction_is_a_task_of_the_turn(server: OpenWebUI, watch: Watch) -> None:
    chat = server.turn("alice", "helpdesk", "case=compaction the first", tasks=())
    watch.restart()
    params = {"compact_token_threshold": 1}
    next_turn(server, chat, "helpdesk", "case=compaction the second", params=params)
    [turn] = watch.turns("helpdesk")
    watch.check(Expectation("ui", "helpdesk"))
    assert_whole(watch, turn)
    assert tasks_of(watch.within(turn)) == ["chat", "context_compaction"]


def test_context_compaction_on_demand_is_a_task(server: OpenWebUI, watch: Watch) -> None:
    chat = server.turn("alice", "helpdesk", "case=compaction by hand", tasks=())
    watch.restart()
    assert post(server, f"/api/v1/chats/{chat}/compact", {})["compacted"]
    [call] = watch.check(Expectation("ui", "helpdesk"))
    assert call.task == "context_compaction"


def test_a_timer_is_background_when_it_fires(server: OpenWebUI, watch: Watch) -> None:
    form = json.dumps({"prompt": "case=fired time is up", "at": "1s"})
    server.turn("alice", "gpt-tools", f"tool=timer {form}", tasks=())
    turn, fired = watch.turns("gpt-tools", 2)
    calls = watch.check(
        lambda call: UI if "tool=timer" in asked(call) else Expectation("background", user="alice")
    )
    assert len(calls) == 3
    assert turn.attributes["open_webui.source"] == "ui"
    assert fired.attributes["open_webui.source"] == "background"
    assert fired.attributes["open_webui.auth"] == "internal"
    assert fired.trace_id != turn.trace_id
    assert len(clients(watch.within(turn))) == 2
    assert len(clients(watch.within(fired))) == 1


@pytest.mark.parametrize(
    ("auth", "source", "action"),
    [("session", "ui", "approve"), ("session", "ui", "reject"), ("api_key", "api", "approve")],
)
def test_a_turn_goes_on_once_its_tool_is_approved(
    server: OpenWebUI, watch: Watch, auth: Auth, source: str, action: str
) -> None:
    params = {"tool_approval_mode": "ask"}
    fields = {"params": params, "tool_ids": ["case_lookup"], "tasks": ()}
    chat = server.turn("bob", "toolbox", "case=approval", **fields)
    watch.turns("toolbox")
    assert len(watch.check(Expectation("ui", "toolbox"))) == 1
    assert not named(watch.spans(), "execute_tool look_up")
    watch.restart()
    history = server.ask("GET", f"/api/v1/chats/{chat}", user="bob", auth="session")["chat"][
        "history"
    ]
    message = history["currentId"]
    output = history["messages"][message]["output"]
    [call_id] = [item["call_id"] for item in output if item["type"] == "function_call"]
    path = f"/api/v1/chats/{chat}/messages/{message}/resolve"
    headers = server.browser_headers() if auth == "session" else {}
    form = {"call_id": call_id, "action": action}
    server.ask("POST", path, user="bob", auth=auth, json=form, headers=headers)
    [turn] = watch.turns("toolbox")
    assert len(watch.check(Expectation(source, "toolbox"))) == 1
    assert_whole(watch, turn)
    assert turn.attributes["open_webui.source"] == source
    ran = 1 if action == "approve" else 0
    assert len(named(watch.within(turn), "execute_tool look_up")) == ran


def test_memory_in_a_turn_belongs_to_it(server: OpenWebUI, watch: Watch) -> None:
    form = {"content": "Carol likes quiet rivers."}
    server.ask("POST", "/api/v1/memories/add", user="carol", json=form)
    watch.restart()
    server.turn("carol", "helpdesk", "case=memory", features={"memory": True}, tasks=())
    [turn] = watch.turns("helpdesk")
    watch.check(turn_with_retrieval("ui", "helpdesk", "carol"))
    # Searched before the answer, reviewed after it, and what the review found is kept.
    tasks = ["chat", "memory_review", "retrieval", "retrieval"]
    assert tasks_of(watch.within(turn)) == tasks
    assert_whole(watch, turn)


def test_memory_as_a_tool_is_part_of_the_tools_run(server: OpenWebUI, watch: Watch) -> None:
    form = json.dumps({"content": "Dora likes loud rivers."})
    features = {"memory": True}
    server.turn("dora", "gpt-tools", f"tool=add_memory {form}", features=features, tasks=())
    [turn] = watch.turns("gpt-tools")
    watch.check(turn_with_retrieval("ui", "gpt-tools", "dora"))
    assert_together(watch, turn)
    [tool] = named(watch.within(turn), "execute_tool add_memory")
    assert tasks_of(watch.within(tool)) == ["retrieval"]


def test_tasks_of_an_arenas_turn_have_its_model_id(server: OpenWebUI, watch: Watch) -> None:
    server.turn("alice", "arena", "case=arena")
    [turn] = watch.turns("arena")
    watch.check(Expectation("ui", "arena"))
    assert_whole(watch, turn)
    assert set(tasks_of(watch.within(turn))) == {"chat", *TASKS}
    for span in clients(watch.within(turn)):
        assert span.attributes["open_webui.model.id"] == "arena"
        assert span.attributes["gen_ai.request.model"] == "gpt-std"


def test_the_server_has_nothing_to_complain_about(server: OpenWebUI) -> None:
    log = server.log_text()
    assert "ended span" not in log
    # All that it says is what is on.
    complaints = [line for line in log.splitlines() if "Open WebUI instrumentation" in line]
    assert [line for line in complaints if " is on. " not in line] == []
