from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExportResult,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry.instrumentation.open_webui.telemetry import batching, exporting
from opentelemetry.instrumentation.open_webui.telemetry.exporting import (
    LOGS,
    METRICS,
    TRACES,
    Exports,
)

FOREVER_MILLIS = 1e9
SECONDS = 1.0
NOWHERE = "http://127.0.0.1:9"  # the port "discard", where nobody listens
FAILS, RAISES = MetricExportResult.FAILURE, ValueError("cannot be encoded")


class Metrics(OTLPMetricExporter):
    """An OTLP exporter that sends nothing and does as it is told."""

    def __init__(self, *outcomes: MetricExportResult | Exception) -> None:
        super().__init__(endpoint=NOWHERE)
        self.outcomes = list(outcomes)
        self.batches: list[int] = []

    def export(self, metrics_data: Any, timeout_millis: float | None = 0, **_: Any) -> Any:
        self.batches.append(batching.point_count(metrics_data))
        outcome = self.outcomes.pop(0) if self.outcomes else MetricExportResult.SUCCESS
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def exports() -> Iterator[Exports]:
    made = Exports()
    yield made
    made.restore()


@pytest.fixture(autouse=True)
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of one data point."""
    monkeypatch.setitem(
        exporting._SPLITTERS, METRICS, lambda data: batching.metric_batches(data, 1)
    )


def metering(exporter: Any, *readers: MetricReader) -> MeterProvider:
    """A provider with three data points."""
    reader = PeriodicExportingMetricReader(exporter, FOREVER_MILLIS)
    provider = MeterProvider([reader, *readers], shutdown_on_exit=False)
    counter = provider.get_meter("scope").create_counter("c")
    for number in range(3):
        counter.add(1, {"n": number})
    return provider


@pytest.mark.parametrize("outcome", [FAILS, RAISES])
def test_a_request_that_fails_does_not_stop_the_others(exports: Exports, outcome: Any) -> None:
    exporter = Metrics(outcome)
    provider = metering(exporter)
    exports.watch(METRICS, provider)
    provider.force_flush()
    assert exporter.batches == [1, 1, 1]
    tally = exports.tallies[METRICS]
    assert (tally.failures, tally.dropped) == (1, {"export_failed": 1})
    provider.shutdown()


def test_a_part_that_fails_each_time_keeps_nothing_else_back() -> None:
    told: list[bool] = []
    exports = Exports(told.append)
    well = MetricExportResult.SUCCESS
    meters = metering(Metrics(FAILS, FAILS, FAILS, FAILS, well, well, FAILS, RAISES, FAILS))
    exports.watch(METRICS, meters)
    for _ in range(3):
        meters.force_flush()
    meters.shutdown()
    exports.restore()
    assert told == [False, True, False, True]


def test_the_result_is_that_of_the_worst_request(exports: Exports) -> None:
    exporter = Metrics(MetricExportResult.SUCCESS, FAILS)
    provider = metering(exporter)
    exports.watch(METRICS, provider)
    results = []
    watched = exporter.export
    exporter.export = lambda *a, **k: results.append(watched(*a, **k))  # type: ignore[method-assign]
    provider.force_flush()
    assert results == [FAILS]


def test_nothing_more_is_sent_once_the_time_of_an_export_that_fails_is_over(
    exports: Exports,
) -> None:
    exporter, kept = Metrics(FAILS), InMemoryMetricReader()
    provider = metering(exporter, kept)
    exports.watch(METRICS, provider)
    data = kept.get_metrics_data()
    assert exporter.export(data, timeout_millis=1e-6) == FAILS
    assert exporter.batches == [1]
    assert exports.tallies[METRICS].dropped == {"export_failed": 3}
    # One that succeeds may take longer.
    exporter.batches.clear()
    exporter.export(data, timeout_millis=1e-6)
    assert exporter.batches == [1, 1, 1]


def test_an_outage_is_told_when_it_begins_and_when_it_is_over(
    exports: Exports, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = Metrics(*[FAILS] * 6)
    provider = metering(exporter)
    exports.watch(METRICS, provider)
    for _ in range(4):
        provider.force_flush()
    ours = [record.getMessage() for record in caplog.records if "exporting" in record.name]
    assert [text.partition(": ")[2].partition(";")[0] for text in ours] == [
        "metrics cannot be exported",
        "metrics are exported again",
    ]
    assert "2 exports failed, with 6 items" in ours[1]


def test_what_finds_the_queue_full_is_counted(exports: Exports) -> None:
    tracers, loggers = (
        TracerProvider(shutdown_on_exit=False),
        LoggerProvider(shutdown_on_exit=False),
    )
    kept = InMemorySpanExporter()
    tracers.add_span_processor(BatchSpanProcessor(kept, 2, 1e9, 2))
    loggers.add_log_record_processor(
        BatchLogRecordProcessor(
            InMemoryLogRecordExporter(),
            max_queue_size=2,
            schedule_delay_millis=1e9,
            max_export_batch_size=2,
        )
    )
    gate = threading.Event()
    exports.watch(TRACES, tracers)
    exports.watch(LOGS, loggers)
    # While one batch is under way, the queue behind it fills.
    for signal, provider in ((TRACES, tracers), (LOGS, loggers)):
        [(exporter, processor)] = exporting.readers.exporters(provider)
        exporter.export = waiting(exporter.export, gate)
        for number in range(7):
            if signal == TRACES:
                tracers.get_tracer("t").start_span("s").end()
            else:
                loggers.get_logger("l").emit(body="x")
            if number == 1:
                wait_until(lambda queue=processor._queue: not queue)  # type: ignore[misc]
        assert exports.tallies[signal].dropped == {"queue_full": 3}
    gate.set()
    tracers.force_flush()
    assert len(kept.get_finished_spans()) == 4


def waiting(export: Any, gate: threading.Event) -> Any:
    def wait(batch: Any) -> Any:
        gate.wait(10)
        return export(batch)

    return wait


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_exporters_of_every_shape_are_found_once_and_left_as_they_were(exports: Exports) -> None:
    tracers, loggers = (
        TracerProvider(
            shutdown_on_exit=False, active_span_processor=ConcurrentMultiSpanProcessor(2)
        ),
        LoggerProvider(shutdown_on_exit=False),
    )
    spans = [InMemorySpanExporter(), OTLPSpanExporter(NOWHERE)]
    tracers.add_span_processor(SimpleSpanProcessor(spans[0]))
    tracers.add_span_processor(BatchSpanProcessor(spans[1]))
    logs = [InMemoryLogRecordExporter(), OTLPLogExporter(NOWHERE)]
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs[0]))
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs[1]))
    metric = Metrics()
    providers = {TRACES: tracers, LOGS: loggers, METRICS: metering(metric)}
    for _ in range(2):
        for signal, provider in providers.items():
            exports.watch(signal, provider)
    everything: list[Any] = [*spans, *logs, metric]
    assert all("export" in vars(exporter) for exporter in everything)
    tracers.get_tracer("t").start_span("s").end()
    assert len(spans[0].get_finished_spans()) == 1  # type: ignore[attr-defined]
    exports.restore()
    assert not any("export" in vars(exporter) for exporter in everything)
    assert not any(
        isinstance(getattr(processor, "_metrics", None), exporting._Drops)
        for provider in providers.values()
        for _, processor in exporting.readers.exporters(provider)
    )


def test_providers_that_are_no_sdks_are_left_alone(exports: Exports) -> None:
    for signal in exporting.SIGNALS:
        exports.watch(signal, object())


def test_exporters_that_are_not_otlp_get_all_at_once(exports: Exports) -> None:
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    seen: list[int] = []
    exporter.export = lambda spans: seen.append(len(spans))  # type: ignore[method-assign,assignment,func-returns-value]
    exports.watch(TRACES, tracers)
    for _ in range(3):
        tracers.get_tracer("t").start_span("s", attributes={"x": "y" * batching.LARGEST}).end()
    tracers.force_flush()
    assert seen == [3]


@pytest.mark.parametrize("exporter", [OTLPSpanExporter, GrpcExporter])
def test_at_the_end_nothing_waits_for_who_is_not_there(exports: Exports, exporter: Any) -> None:
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(exporter(endpoint=NOWHERE, timeout=60)))
    exports.watch(TRACES, tracers)
    tracers.get_tracer("t").start_span("s").end()
    # It would be tried again after one, two, four, … seconds, for a minute.
    assert exports.end([tracers.force_flush], 20)
    assert exports.tallies[TRACES].dropped == {"export_failed": 1}


def test_at_the_end_nobody_waits_for_who_does_not_answer(exports: Exports) -> None:
    hanging = threading.Event()
    exporter = Metrics()
    exporter.export = lambda *_a, **_k: hanging.wait(60)  # type: ignore[method-assign,assignment]
    provider = metering(exporter)
    exports.watch(METRICS, provider)
    began = time.monotonic()
    assert not exports.end([provider.force_flush], SECONDS)
    assert 0.3 < time.monotonic() - began < 30
    hanging.set()


def test_at_the_end_who_answers_slowly_is_waited_for(exports: Exports) -> None:
    exporter = Metrics()
    exporter.export = lambda *_a, **_k: time.sleep(0.25)  # type: ignore[method-assign]
    provider = metering(exporter)
    exports.watch(METRICS, provider)
    assert exports.end([provider.force_flush], SECONDS)
    provider.get_meter("scope").create_counter("d").add(1, {"n": 4})
    provider.get_meter("scope").create_counter("d").add(1, {"n": 5})
    # Five requests take longer than all may take.
    assert not exports.end([provider.force_flush], SECONDS)


def test_what_comes_after_an_end_is_tried_again(exports: Exports) -> None:
    exporter = OTLPSpanExporter(NOWHERE)
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    exports.watch(TRACES, tracers)
    assert exports.end([], SECONDS)
    [event] = exporting._back_offs(exporter)
    assert event.is_set()
    exports.go_on()
    assert not event.is_set()
