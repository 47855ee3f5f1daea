"""One row for each way of calling a model: caller, request, expected tags."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from e2e.servers import PREFIX, instrumented
from e2e.truth import Expectation, Truth, assert_equal
from harness.openwebui import Auth, OpenWebUI, serves
from harness.otlp import Receiver
from harness.provider import Provider, ServedCall

API = "/api/chat/completions"
API_V1 = "/api/v1/chat/completions"
OPENAI = "/openai/chat/completions"
OLLAMA = "/ollama/api/chat"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


PLAIN = Expectation()
UI = Expectation(source="ui")
GIVEN_UP = Expectation(errors=("cancelled",))


@dataclass(frozen=True)
class Case:
    """One request, and what has to be told of it."""

    name: str
    user: str
    model: str
    expected: Expectation = PLAIN
    path: str = API
    stream: bool = False
    auth: Auth = "api_key"
    reported_auth: str = "api_key"
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    abandon_after: int | None = None


def failing(*errors: str | None) -> Expectation:
    return Expectation(errors=errors)


def usage_option(value: bool) -> dict[str, Any]:
    return {"stream_options": {"include_usage": value}}


def picked(model: str) -> Expectation:
    return Expectation(model_id=model)


def both(name: str, model: str, expected: Expectation = PLAIN, **options: Any) -> list[Case]:
    """A request in one piece and as a stream."""
    user = options.pop("user", "alice")
    return [
        Case(f"{name}-whole", user, model, expected, **options),
        Case(f"{name}-stream", user, model, expected, stream=True, **options),
    ]


SESSION: dict[str, Any] = {"auth": "session", "reported_auth": "session"}
# The first stream of a model goes unasked, and what it tells is learned for the others.
FIRST_STREAMS = [
    Case(f"first-{model}", "alice", model, stream=True)
    for model in (
        "gpt-std", "gpt-mini", "gpt-cumulative", "gpt-delta-usage", "gpt-some", "gpt-nousage",
        "gpt-rejects", "gpt-slow", "gpt-llamacpp", "gpt-split", "gpt-crlf",
    )
]  # fmt: skip
ALL = [
    *FIRST_STREAMS,
    # Every entry, both wires.
    *both("api", "gpt-std"),
    *both("api-v1", "gpt-std", path=API_V1),
    *both("ollama", "llama-std"),
    *both("ollama-v1", "llama-std", path=API_V1),
    *both("raw-openai", "gpt-std", path=OPENAI),
    *both("raw-ollama", "llama-std", path=OLLAMA),
    # Every caller.
    *both("bob", "gpt-std", user="bob"),
    *both("carol", "gpt-mini", user="carol"),
    *both("dora", "llama-mini", user="dora"),
    *both("admin", "gpt-std", user="admin"),
    *both("script", "gpt-std", **SESSION),
    *both("cookie", "gpt-std", auth="cookie", reported_auth="session"),
    *both("page", "gpt-std", UI, headers=SAME_ORIGIN, **SESSION),
    *both("page-raw", "gpt-std", UI, path=OPENAI, headers=SAME_ORIGIN, **SESSION),
    *both("key-on-a-page", "gpt-std", headers=SAME_ORIGIN),
    # A workspace model on a base model.
    *both("workspace", "helpdesk", picked("helpdesk")),
    *both("workspace-ollama", "localdesk", picked("localdesk")),
    *both("workspace-raw", "helpdesk", picked("helpdesk"), path=OPENAI),
    *both("workspace-asks-usage", "counted", picked("counted")),
    # Every way of reporting usage.
    *both("cumulative", "gpt-cumulative"),
    *both("delta", "gpt-delta-usage"),
    *both("some", "gpt-some"),
    *both("none", "gpt-nousage"),
    *both("llamacpp", "gpt-llamacpp"),
    *both("split", "gpt-split"),
    *both("crlf", "gpt-crlf"),
    *both("none-ollama", "llama-nousage"),
    Case("asked", "alice", "gpt-std", stream=True, fields=usage_option(True)),
    Case("asked-not-to", "alice", "gpt-std", stream=True, fields=usage_option(False)),
    # Failures.
    *both("429", "gpt-429", failing("429")),
    *both("500", "gpt-500", failing("500")),
    *both("500-text", "gpt-500-text", failing("500")),
    *both("error-inside", "gpt-sse-error", failing("server_error")),
    *both("cut", "gpt-cut", failing("ClientPayloadError")),
    *both("500-ollama", "llama-500", failing("500")),
    Case("error-inside-ollama", "alice", "llama-stream-error", failing("_OTHER"), stream=True),
    Case("cut-ollama-whole", "alice", "llama-cut", failing("ClientPayloadError")),
    Case("cut-ollama-stream", "alice", "llama-cut", failing("ClientPayloadError"), stream=True),
    Case("abandoned", "alice", "gpt-slow", GIVEN_UP, stream=True, abandon_after=3),
    Case("abandoned-raw", "bob", "gpt-slow", GIVEN_UP, path=OPENAI, stream=True, abandon_after=3),
    Case("abandoned-ollama", "bob", "llama-slow", GIVEN_UP, stream=True, abandon_after=3),
    # A model that refuses the option is asked by the first of these only, which is no failure.
    Case("rejects-first", "alice", "gpt-rejects", stream=True),
    Case("rejects-later", "alice", "gpt-rejects", stream=True),
    # What a client writes into its own body is not Open WebUI's metadata.
    Case(
        "forged", "alice", "gpt-std", path=OPENAI,
        fields={"metadata": {"task": "title_generation", "session_id": "x", "internal": "x"}},
    ),
    Case(
        "forged-chat", "alice", "gpt-std",
        fields={"automation_id": "x", "metadata": {"task": "title_generation", "internal": True}},
    ),
    # Models that do not exist call nobody.
    Case("unknown-model", "alice", "no-such-model"),
]  # fmt: skip
CASES = [case for case in ALL if serves(case.model)]


@pytest.fixture(scope="module")
def server(provider: Provider, receiver: Receiver) -> Iterator[OpenWebUI]:
    settings = {f"{PREFIX}GROUPS_CACHE_SECONDS": "1"}
    with instrumented(provider, receiver, settings, experienced=False) as server:
        yield server


@pytest.fixture(scope="module")
def served(server: OpenWebUI, provider: Provider) -> list[ServedCall]:
    """All rows of the table, one after the other."""
    for case in CASES:
        send(server, case)
    provider.wait_idle(0.5)
    return [call for call in provider.snapshot() if not call.is_refusal]


def send(server: OpenWebUI, case: Case) -> None:
    body = {
        "model": case.model,
        "messages": [{"role": "user", "content": f"case={case.name} tell me something"}],
        "stream": case.stream,
        **case.fields,
    }
    options: dict[str, Any] = {
        "user": case.user,
        "auth": case.auth,
        "json": body,
        "headers": case.headers,
    }
    if case.abandon_after is None:
        server.request("POST", case.path, **options)
    else:
        server.abandon("POST", case.path, chunks=case.abandon_after, **options)


def test_every_case_that_calls_a_model_reached_the_provider(served: list[ServedCall]) -> None:
    cases = {call.case for call in served}
    assert cases == {case.name for case in CASES} - {"unknown-model"}


def test_reported_usage_equals_what_the_provider_served(
    server: OpenWebUI, served: list[ServedCall], receiver: Receiver
) -> None:
    expectations = {case.name: case.expected for case in CASES}
    assert_equal(receiver, Truth(server.world, served, expectations))


def test_each_served_call_is_one_span_and_one_event(
    served: list[ServedCall], receiver: Receiver
) -> None:
    receiver.wait_for(lambda r: len(r.events) >= len(served) and len(r.spans) >= len(served))
    time.sleep(1.5)  # Whatever is told twice comes late.
    spans = {span.span_id: span for span in receiver.spans}
    assert len(receiver.spans) == len(receiver.events) == len(served)
    assert len({event.attributes["open_webui.call.id"] for event in receiver.events}) == len(served)
    for event in receiver.events:
        span = spans[event.span_id]
        assert event.name == "open_webui.usage"
        assert span.kind == "client"
        assert span.name == f"chat {span.attributes['gen_ai.request.model']}"
        assert span.attributes.items() <= event.attributes.items()


def test_spans_say_what_only_spans_say(
    server: OpenWebUI, served: list[ServedCall], receiver: Receiver, provider: Provider
) -> None:
    spans = receiver.wait_for(lambda r: r.spans if len(r.spans) >= len(served) else None)
    by_tokens = {
        (
            span.attributes["gen_ai.usage.input_tokens"],
            span.attributes["gen_ai.usage.output_tokens"],
        ): span
        for span in spans
        if "gen_ai.usage.input_tokens" in span.attributes
    }
    cases = {case.name: case for case in CASES}
    checked = 0
    for call in served:
        span = by_tokens.get((call.input_tokens, call.output_tokens))
        if span is None:
            continue
        checked += 1
        case, user = cases[call.case], server.world.user_with_id(call.user_id)
        assert span.attributes["open_webui.auth"] == case.reported_auth
        assert span.attributes["http.route"] == case.path
        assert span.attributes["user.roles"] == (user.role,)
        assert span.attributes["open_webui.user.groups"] == tuple(sorted(user.groups))
        assert span.attributes.get("gen_ai.request.stream", False) is call.stream
        assert span.attributes["server.address"] == "127.0.0.1"
        assert span.attributes["server.port"] == provider.port
        assert ("gen_ai.response.time_to_first_chunk" in span.attributes) is call.stream
    assert checked > 30


def test_usage_that_nobody_reported_is_marked(served: list[ServedCall], receiver: Receiver) -> None:
    cases = {case.name: case for case in CASES}
    silent = sum(
        call.input_tokens is None and cases[call.case].expected.errors == (None,) for call in served
    )
    marked = [
        event
        for event in receiver.events
        if event.attributes.get("open_webui.usage.estimated")
        and event.attributes["open_webui.call.status"] == "ok"
    ]
    assert len(marked) == silent


def test_an_aborted_stream_used_what_it_had_streamed(
    served: list[ServedCall], receiver: Receiver
) -> None:
    aborted = [call for call in served if call.case.startswith("abandoned")]
    events = receiver.wait_for(
        lambda r: [event for event in r.events if event.attributes.get("error.type") == "cancelled"]
    )
    assert len(events) == len(aborted) >= 2
    for event in events:
        assert event.attributes["open_webui.usage.estimated"] is True
        assert event.attributes["gen_ai.usage.input_tokens"] > 5
        # Some words of the three chunks that were read, and of what was on its way.
        assert 1 <= event.attributes["gen_ai.usage.output_tokens"] < 60


def test_histograms_count_calls_but_name_no_user(
    served: list[ServedCall], receiver: Receiver
) -> None:
    points = [point for point in receiver.points if point.metric.startswith("gen_ai.client.")]
    assert {point.metric for point in points} == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
    }
    for point in points:
        assert not [
            name
            for name in point.attributes
            if name.startswith(("user.", "open_webui.user", "open_webui.group"))
        ]
    latest = {
        point.series: point.count
        for point in points
        if point.metric == "gen_ai.client.operation.duration"
    }
    assert sum(filter(None, latest.values())) == len(served)
    ids = {span.span_id for span in receiver.spans}
    assert any(exemplar.span_id in ids for point in points for exemplar in point.exemplars)


def test_groups_follow_the_database_within_the_cache_time(
    server: OpenWebUI, provider: Provider, receiver: Receiver, served: list[ServedCall]
) -> None:
    for step, change in (("joined", server.add_to_group), ("left", server.remove_from_group)):
        change("carol", "research")
        time.sleep(1.1)
        server.chat("carol", "gpt-std", f"case=group-{step}")
        groups = ("research",) if step == "joined" else ()
        receiver.wait_for(
            lambda r, groups=groups: r.events[-1].attributes["user.name"]
            == server.world.user("carol").name
            and r.events[-1].attributes["open_webui.user.groups"] == groups
        )


def test_nothing_private_leaves(
    server: OpenWebUI, receiver: Receiver, served: list[ServedCall]
) -> None:
    told = repr([receiver.spans, receiver.points, receiver.events])
    secrets = ["tell me something", *(user.api_key for user in server.world.users.values())]
    secrets += [user.token for user in server.world.users.values()]
    answers = [call.body.decode()[:40] for call in served]
    assert not [secret for secret in (*secrets, *answers) if secret in told]
