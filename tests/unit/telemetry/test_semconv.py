"""What is emitted, against the conventions: the registries' definitions, and their own released code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.util.genai.handler import TelemetryHandler

from harness.otlp import Event, Point, Span, parse_logs, parse_metrics, parse_traces
from opentelemetry.instrumentation.open_webui import names, providers
from opentelemetry.instrumentation.open_webui.calls import endpoints
from opentelemetry.instrumentation.open_webui.calls.live import LiveCall
from opentelemetry.instrumentation.open_webui.settings import LATEST_NAMES
from semconv.check import REGISTRY, VALUES, complaints
from unit.sdk import Sdk, answer, asked, begun, caller_named

CACHED = {
    "prompt_tokens_details": {"cached_tokens": 4, "cache_creation_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
AGENTS = {"gen_ai.invoke_agent.duration", "gen_ai.execute_tool.duration"}
RELEASED = {
    "gen_ai.client.operation.duration",
    "gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.client.operation.time_per_output_chunk",
    "gen_ai.client.token.usage",
}
COMING = {name for name in REGISTRY["metrics"] if name.startswith("gen_ai.client.inference.")}


class Exported(NamedTuple):
    spans: list[Span]
    points: list[Point]
    events: list[Event]

    def named(self, metric: str) -> list[Point]:
        return [point for point in self.points if point.metric == metric]

    @property
    def metrics(self) -> set[str]:
        return {point.metric for point in self.points if point.metric.startswith("gen_ai.")}


def exported(sdk: Sdk) -> Exported:
    """As it leaves the process."""
    sdk.telemetry.totals.release()
    data = sdk.reader.get_metrics_data()
    assert data is not None
    return Exported(
        parse_traces(encode_spans(sdk.spans.get_finished_spans())),
        parse_metrics(encode_metrics(data)),
        parse_logs(encode_logs(sdk.logs.get_finished_logs())),
    )


def start(sdk: Sdk, operation: str, provider: str = "openai", **more: Any) -> LiveCall:
    request = replace(asked(provider=provider, **more), operation=operation)
    caller = caller_named(chat_id="c", model_id="desk")
    return begun(sdk.telemetry, request, caller, ("team",))


def all_sorts(sdk: Sdk) -> None:
    """A turn with a tool, and calls of every operation, well and badly ended."""
    turn = sdk.telemetry.spans.start_turn(caller_named(model_id="desk", chat_id="c"))
    with sdk.telemetry.spans.current(turn.span):
        call = start(sdk, "chat", stream=True)
        feed = call.begin_answer(b"data:")
        for piece in ({"choices": [{"delta": {"content": "An"}}]}, answer(**CACHED)):
            feed(f"data: {json.dumps(piece)}\n\n".encode())
        call.end()
        for failed in (False, True):
            tool = sdk.telemetry.spans.start_tool("look_up", "call_1", "desk", "c")
            if failed:
                tool.broke(KeyError())
            tool.end()
    sdk.telemetry.spans.end_turn(turn, ("team",))
    turn = sdk.telemetry.spans.start_turn(caller_named(model_id=None))
    turn.broke(RuntimeError())
    sdk.telemetry.spans.end_turn(turn, ())
    sdk.telemetry.spans.start_tool("look_up", None, None, None).end()
    for endpoint in endpoints.ENDPOINTS:
        call = start(sdk, endpoint.operation, endpoint.provider("", ""), endpoint=endpoint)
        call.read_message(answer())
        call.end()
    call = start(sdk, "chat")
    call.call.status = 429
    call.end()
    start(sdk, "chat", providers.PIPE, address="", port=None).end()


@pytest.fixture(scope="module")
def today() -> Exported:
    sdk = Sdk()
    all_sorts(sdk)
    return exported(sdk)


@pytest.fixture(scope="module")
def latest() -> Exported:
    sdk = Sdk(semconv_stability_opt_in=f"http/dup, {LATEST_NAMES}")
    all_sorts(sdk)
    return exported(sdk)


def test_all_of_it_is_as_the_registries_define_it(today: Exported, latest: Exported) -> None:
    assert complaints(*today) == []
    assert complaints(*latest) == []
    assert len(today.spans) == len(latest.spans) > 20


def test_the_switch_renames_the_client_metrics_and_nothing_else(
    today: Exported, latest: Exported
) -> None:
    assert today.metrics == RELEASED | AGENTS
    assert latest.metrics == COMING | AGENTS | {"gen_ai.client.operation.duration"}
    for here, there in zip(today.spans, latest.spans, strict=True):
        assert (here.name, here.kind, set(here.attributes)) == (
            there.name,
            there.kind,
            set(there.attributes),
        )


def test_renamed_or_not_as_much_is_told(today: Exported, latest: Exported) -> None:
    def counts(points: list[Point]) -> int:
        return sum(point.count or 0 for point in points)

    calls = sum(span.kind == "client" or "pipe" in str(span.attributes) for span in today.spans)
    renamed = counts(latest.named("gen_ai.client.inference.duration"))
    other = latest.named("gen_ai.client.operation.duration")
    assert counts(today.named("gen_ai.client.operation.duration")) == calls
    assert renamed + counts(other) == calls
    assert not {p.attributes["gen_ai.operation.name"] for p in other} & names.INFERENCE
    for old, new in (
        ("time_to_first_chunk", "time_to_first_chunk"),
        ("time_per_output_chunk", "time_per_output_chunk"),
    ):
        [before] = today.named(f"gen_ai.client.operation.{old}")
        [after] = latest.named(f"gen_ai.client.inference.{new}")
        assert (before.count, before.bounds) == (after.count, after.bounds)
    for kind in ("input", "output"):
        old_sum = sum(
            point.sum or 0
            for point in today.named("gen_ai.client.token.usage")
            if point.attributes["gen_ai.token.type"] == kind
            and point.attributes["gen_ai.operation.name"] in names.INFERENCE
        )
        histograms = latest.named(f"gen_ai.client.inference.operation.{kind}_tokens")
        counters = latest.named(f"gen_ai.client.inference.usage.{kind}_tokens")
        assert sum(point.sum or 0 for point in histograms) == old_sum > 0
        assert sum(point.value or 0 for point in counters) == old_sum
        # Calls that tell nothing count as 0, so that they can be averaged over.
        assert counts(histograms) == renamed
    for part, amount in (
        ("cache_read.input", 4),
        ("cache_write.input", 3),
        ("reasoning.output", 2),
    ):
        counters = latest.named(f"gen_ai.client.inference.usage.{part}_tokens")
        assert sum(point.value or 0 for point in counters) == amount


def test_durations_of_turns_and_tools_equal_their_spans(today: Exported) -> None:
    for operation, metric in (
        ("invoke_agent", "gen_ai.invoke_agent.duration"),
        ("execute_tool", "gen_ai.execute_tool.duration"),
    ):
        spans = [s for s in today.spans if s.attributes["gen_ai.operation.name"] == operation]
        points = today.named(metric)
        assert sum(point.count or 0 for point in points) == len(spans)
        lasted = sum(span.end - span.start for span in spans) / 1e9
        assert sum(point.sum or 0 for point in points) == pytest.approx(lasted, abs=0.1)
        assert {point.attributes.get("error.type") for point in points} == {
            span.attributes.get("error.type") for span in spans
        }
        assert {point.exemplars[0].span_id for point in points} <= {s.span_id for s in spans}
    tools = today.named("gen_ai.execute_tool.duration")
    assert {point.attributes.get("gen_ai.agent.name") for point in tools} == {"desk", None}


WITHOUT = object()


def said(attribute: str, value: Any) -> Callable[[Any], Any]:
    """Change what a signal says of itself."""

    def change(signal: Any) -> Any:
        kept = {k: v for k, v in signal.attributes.items() if k != attribute}
        return replace(signal, attributes=kept if value is WITHOUT else {**kept, attribute: value})

    return change


def told(**changes: Any) -> Callable[[Any], Any]:
    return lambda signal: replace(signal, **changes)


WRITTEN = "gen_ai.usage.cache_creation.input_tokens"
PLANTED = [
    ("spans", said(WRITTEN, 3), f"chat: no registry defines the attribute {WRITTEN}"),
    ("spans", said("gen_ai.tool.name", "x"), "chat: gen_ai.tool.name does not belong to it"),
    ("spans", said("gen_ai.provider.name", WITHOUT), "chat: gen_ai.provider.name is missing"),
    ("spans", said("server.port", WITHOUT), "chat: server.port is missing"),
    ("spans", said("gen_ai.provider.name", "moonshot"), "has no value 'moonshot'"),
    ("spans", said("gen_ai.usage.input_tokens", "9"), "is '9', not int"),
    ("spans", said("gen_ai.request.stream", 1), "is 1, not boolean"),
    ("spans", said("gen_ai.response.finish_reasons", "stop"), "not string[]"),
    ("spans", told(status="error"), "chat: error.type is missing"),
    ("spans", told(kind="server"), "chat: its kind is server"),
    ("spans", told(name="chat"), "chat: a span is called 'chat', not 'chat m'"),
    ("points", told(metric="gen_ai.client.duration"), "no registry defines the metric"),
    ("points", told(unit="ms"), "its unit is ms, not s"),
    ("points", told(kind="sum", monotonic=True), "its instrument is counter, not histogram"),
    ("points", said("user.id", "u1"), "user.id does not belong to it"),
    ("points", said("gen_ai.operation.name", WITHOUT), "gen_ai.operation.name is missing"),
    ("events", told(name="open_webui.used"), "no event is called 'open_webui.used'"),
    ("events", said("gen_ai.system", "openai"), "no registry defines the attribute gen_ai.system"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "complaint"), PLANTED)
def test_what_is_planted_is_found(
    kind: str, change: Callable[[Any], Any], complaint: str, today: Exported
) -> None:
    signal = {
        "spans": next(s for s in today.spans if s.name == "chat m" and s.kind == "client"),
        "points": today.named("gen_ai.client.operation.duration")[0],
        "events": today.events[0],
    }[kind]
    nothing = Exported([], [], [])
    assert complaints(*nothing._replace(**{kind: [signal]})) == []
    [found] = complaints(*nothing._replace(**{kind: [change(signal)]}))
    assert complaint in found


def test_every_provider_that_the_registry_knows_is_told_by_its_address() -> None:
    known = {name for _, name in providers._BY_HOST} | {providers.OPENAI}
    # Google's two services have addresses of their own.
    assert set(REGISTRY["attributes"]["gen_ai.provider.name"]) - known == {"gcp.gen_ai"}
    assert known <= {
        *REGISTRY["attributes"]["gen_ai.provider.name"],
        *VALUES["gen_ai.provider.name"],
    }


@pytest.fixture(scope="module")
def theirs() -> Exported:
    """What the conventions' own library emits of the same things."""
    sdk = Sdk()
    handler = TelemetryHandler(sdk.tracers, sdk.meters, sdk.loggers)
    with handler.inference("openai", request_model="m", server_address="a", server_port=1) as one:
        one.conversation_id, one.response_model_name, one.response_id = "c", "m-1", "c1"
        one.finish_reasons, one.input_tokens, one.output_tokens = ["stop"], 9, 5
        one.cache_write_input_tokens, one.cache_read_input_tokens = 3, 4
        one.thinking_tokens = 2
        one.record_stream_chunk()
        one.record_stream_chunk()
    with handler.invoke_local_agent(agent_name="desk", conversation_id="c"):
        pass
    with handler.tool("look_up", tool_type="function", agent_name="desk") as tool:
        tool.tool_call_id = "call_1"
    return exported(sdk)


def test_the_same_metrics_as_the_released_library(today: Exported, theirs: Exported) -> None:
    assert today.metrics == theirs.metrics
    for metric in today.metrics:
        ours, other = today.named(metric)[0], theirs.named(metric)[0]
        assert (ours.unit, ours.kind, ours.bounds) == (other.unit, other.kind, other.bounds)
        told = {name for point in today.named(metric) for name in point.attributes}
        assert set(other.attributes) <= told


def test_the_same_attributes_as_the_released_library(today: Exported, theirs: Exported) -> None:
    for operation in ("chat", "invoke_agent", "execute_tool"):
        ours, other = (
            max(
                (s for s in side.spans if s.attributes["gen_ai.operation.name"] == operation),
                key=lambda span: len(span.attributes),
            )
            for side in (today, theirs)
        )
        conventional = {name for name in ours.attributes if name.startswith("gen_ai.")}
        released = {name for name in other.attributes if name.startswith("gen_ai.")}
        # The registry has it since; the library does not set it yet.
        newer = {"gen_ai.conversation.id"} if operation == "execute_tool" else set()
        assert conventional == released | newer
        assert ours.kind == other.kind
        assert ours.name == other.name
