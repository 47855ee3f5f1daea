"""Whose trace a span of ours is in, behind a server span that follows what the client says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.propagate import extract
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import format_span_id, format_trace_id

from opentelemetry.instrumentation.open_webui.calls.scene import Scene, scene
from opentelemetry.instrumentation.open_webui.telemetry.parents import placed

TRACE, SPAN = "f" * 32, "1" * 16
HIDDEN, SHOWN = f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-01"
FOLLOWS = ParentBased(ALWAYS_ON)


class Server:
    """A server whose every request has a span, and what is recorded of it."""

    def __init__(self, sampler: Sampler) -> None:
        self._spans = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler)
        provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.tracer = provider.get_tracer("server")

    @contextmanager
    def request(self, **headers: str) -> Iterator[None]:
        token = scene.set(Scene(SimpleNamespace(headers=headers)))
        with self.tracer.start_as_current_span("request", context=extract(headers)):
            yield
        scene.reset(token)

    def ours(self, **headers: str) -> list[ReadableSpan]:
        """What is recorded of a call in a turn."""
        with self.request(**headers):
            turn = self.tracer.start_as_current_span("turn", **placed())
            with turn, self.tracer.start_as_current_span("call", **placed()):
                pass
        return [span for span in self._spans.get_finished_spans() if span.name != "request"]


def trace_of(span: ReadableSpan) -> str:
    return format_trace_id(span.context.trace_id)


def test_a_client_cannot_hide_what_it_does() -> None:
    call, turn = Server(FOLLOWS).ours(traceparent=HIDDEN, tracestate="vendor=secret")
    assert turn.parent is None
    [link] = turn.links
    assert format_trace_id(link.context.trace_id) == TRACE
    assert format_span_id(link.context.span_id) == SPAN
    assert not link.context.trace_state
    assert call.parent == turn.context
    assert trace_of(call) == trace_of(turn) != TRACE
    assert not call.links


def test_one_that_picks_an_id_which_is_left_out_does_not_either() -> None:
    # The last id is beyond every ratio.
    calls = [len(Server(TraceIdRatioBased(0.5)).ours(traceparent=SHOWN)) for _ in range(40)]
    assert set(calls) == {0, 2}


@pytest.mark.parametrize("headers", [{"traceparent": SHOWN}, {}, {"traceparent": "nonsense"}])
def test_what_is_recorded_stays_in_one_trace(headers: dict[str, str]) -> None:
    server = Server(FOLLOWS)
    call, turn = server.ours(**headers)
    assert turn.parent is not None
    assert not turn.links
    assert not call.links
    assert (trace_of(turn) == TRACE) == (headers.get("traceparent") == SHOWN)


@pytest.mark.parametrize("headers", [{"traceparent": HIDDEN}, {"traceparent": SHOWN}, {}])
def test_who_runs_the_server_has_the_last_word(headers: dict[str, str]) -> None:
    assert Server(ALWAYS_OFF).ours(**headers) == []


def test_a_share_is_a_share_for_clients_that_hide_and_others() -> None:
    for headers in ({"traceparent": HIDDEN}, {}):
        server = Server(ParentBased(TraceIdRatioBased(0.5)))
        recorded = [len(server.ours(**headers)) for _ in range(200)][-1]
        assert 100 < recorded < 300
        assert recorded % 2 == 0


@pytest.mark.parametrize("request_", [SimpleNamespace(), SimpleNamespace(headers=None)])
def test_a_request_without_headers_changes_nothing(request_: Any) -> None:
    server = Server(FOLLOWS)
    with server.request(traceparent=HIDDEN):
        token = scene.set(Scene(request_))
        assert placed() == {}
        scene.reset(token)
