"""A call's span is made when somebody asks for it, and is what it would have been at the start."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from opentelemetry.instrumentation.open_webui.telemetry.unmade import Unmade
from unit.sdk import Sdk

CONTEXT = SpanContext(1, 2, False, TraceFlags(TraceFlags.SAMPLED))
PASSED = sorted(
    name for name, value in vars(Span).items() if callable(value) and not name.startswith("_")
)


class Noting(SpanProcessor):
    """Notes which spans start."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started.append(span.name)


def test_nobody_asks_and_it_is_made_at_the_end_as_of_the_start() -> None:
    sdk = Sdk()
    around = sdk.tracers.get_tracer("t").start_span("around")
    token = attach(set_span_in_context(around))
    call, began = sdk.call(), time.time_ns()
    detach(token)
    time.sleep(0.05)
    assert isinstance(call.call.span, Unmade)
    assert call.call.span._make is not None
    call.end()
    (span,) = sdk.spans.get_finished_spans()
    assert span.start_time is not None
    assert span.start_time <= began
    assert span.parent == around.get_span_context()


def test_what_happens_inside_is_its_child() -> None:
    sdk = Sdk()
    call = sdk.call()
    with sdk.telemetry.spans.current(call.call.span):
        assert get_current_span() is call.call.span
        sdk.tracers.get_tracer("t").start_span("inside").end()
    call.end()
    inside, span = sdk.spans.get_finished_spans()
    assert inside.parent == span.get_span_context()


def test_who_looks_at_spans_that_start_sees_it_at_once() -> None:
    sdk, noting = Sdk(), Noting()
    sdk.tracers.add_span_processor(noting)
    sdk.call(model="m")
    assert noting.started == ["chat m"]


@pytest.mark.parametrize("method", PASSED)
def test_it_does_all_that_a_span_does(method: str) -> None:
    done: list[Any] = []

    class Noted(NonRecordingSpan):
        pass

    setattr(Noted, method, lambda _, *args, **kwargs: done.append((args, kwargs)))
    getattr(Unmade(lambda: Noted(CONTEXT)), method)(1, two=2)
    assert done == [((1,), {"two": 2})]


def test_threads_that_ask_at_once_get_the_same_one() -> None:
    both = threading.Barrier(2)

    def make() -> Span:
        both.wait(10)
        return NonRecordingSpan(CONTEXT)

    unmade, found = Unmade(make), list[Span]()
    threads = [threading.Thread(target=lambda: found.append(unmade.made())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 2
    assert found[0] is found[1] is unmade.made()


def test_one_that_cannot_be_made_is_none(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Span:
        raise RuntimeError("no sampler")

    assert Unmade(fail).made() is INVALID_SPAN
    assert "the start of a span" in caplog.text
