"""Attributes reach the SDK as by its public ways, and whoever may look at them sees them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry._logs import NoOpLogger
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeter
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Histogram,
    MeterProvider,
)
from opentelemetry.sdk.metrics._internal.exemplar import ExemplarFilter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracer,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from opentelemetry.instrumentation.open_webui.telemetry import handing

START: dict[str, Any] = {"model": "m", "stream": True, "groups": ("a", "b")}
END: dict[str, Any] = {"tokens": 9, "cost": 0.5, "model": "n"}


class Looking(sampling.Sampler):
    """Samples, and remembers the attributes that it was shown."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: Any = None,
        attributes: Any = None, links: Any = None, *_: Any,
    ) -> sampling.SamplingResult:  # fmt: skip
        self.seen.append(dict(attributes or {}))
        return sampling.SamplingResult(sampling.Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self) -> str:
        return "looking"


class Reading(SpanProcessor):
    """Remembers the attributes that spans start with."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        self.seen.append(dict(span.attributes))


def spans(**options: Any) -> tuple[handing.Spans, TracerProvider, InMemorySpanExporter]:
    provider, exporter = TracerProvider(**options), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return handing.Spans(provider.get_tracer("t")), provider, exporter


def one(started: handing.Spans, exporter: InMemorySpanExporter) -> dict[str, Any]:
    span = started.start("s", START)
    handing.set_attributes(span, END)
    span.end()
    return dict(exporter.get_finished_spans()[-1].attributes or {})


@pytest.mark.parametrize(
    "sampler",
    [
        sampling.ALWAYS_ON,
        sampling.DEFAULT_ON,
        sampling.TraceIdRatioBased(1.0),
        sampling.ParentBasedTraceIdRatio(1.0),
        sampling.ParentBased(Looking()),
        Looking(),
    ],
)
def test_a_span_has_all_attributes(sampler: sampling.Sampler) -> None:
    started, _, exporter = spans(sampler=sampler)
    assert one(started, exporter) == {**START, **END}


def test_the_sdk_cleans_none_of_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (started, _, exporter), (sent, records) = spans(), events()
    for method in ("__setitem__", "_set_items"):  # of one SDK, and of a newer one
        monkeypatch.setattr(
            BoundedAttributes, method, lambda *_: pytest.fail("cleaned"), raising=False
        )
    assert one(started, exporter) == {**START, **END}
    sent.emit(dict(START), timestamp=5)
    assert emitted(records).log_record.attributes == START


@pytest.mark.parametrize("nest", [lambda sampler: sampler, sampling.ParentBased])
def test_a_sampler_that_looks_sees_those_of_the_start(nest: Callable[[Any], Any]) -> None:
    looking = Looking()
    started, _, _ = spans(sampler=nest(looking))
    started.start("s", START)
    assert looking.seen == [START]


def test_a_processor_that_looks_sees_those_of_the_start_though_it_came_later() -> None:
    started, provider, exporter = spans()
    one(started, exporter)
    reading = Reading()
    provider.add_span_processor(reading)
    started.start("s", START)
    assert reading.seen == [START]


def test_limits_of_spans_hold() -> None:
    started, _, exporter = spans(span_limits=SpanLimits(max_attribute_length=1))
    assert one(started, exporter)["groups"] == ("a", "b")
    started, _, exporter = spans(span_limits=SpanLimits(max_span_attributes=2))
    assert len(one(started, exporter)) == 2


def test_an_ended_span_takes_nothing() -> None:
    started, _, _ = spans()
    ended: Any = started.start("s", START)
    ended.end()
    handing.set_attributes(ended, END)
    assert dict(ended.attributes) == START


def test_an_unsampled_span_takes_nothing() -> None:
    started, _, exporter = spans(sampler=sampling.ALWAYS_OFF)
    handing.set_attributes(started.start("s", START), END)
    assert not exporter.get_finished_spans()
    handing.set_attributes(handing.Spans(NoOpTracer()).start("s", START), END)


def events() -> tuple[handing.Events, InMemoryLogRecordExporter]:
    provider, exporter = LoggerProvider(), InMemoryLogRecordExporter()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return handing.Events(provider.get_logger("l")), exporter


def emitted(exporter: InMemoryLogRecordExporter) -> Any:
    return exporter.get_finished_logs()[-1]


def test_an_event_is_as_by_the_public_way() -> None:
    sent, exporter = events()
    fields: dict[str, Any] = {"timestamp": 5, "event_name": "e", "observed_timestamp": 6}
    sent.emit(dict(START), **fields)
    ours = emitted(exporter)
    assert sent._limits is not None
    sent._logger.emit(attributes=START, **fields)
    theirs = emitted(exporter)
    assert ours.to_json() == theirs.to_json()
    assert ours.log_record.attributes == dict(theirs.log_record.attributes)
    assert ours.dropped_attributes == 0


@pytest.mark.parametrize(
    ("variable", "value", "length"),
    [("OTEL_ATTRIBUTE_COUNT_LIMIT", "2", 2), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "0", 3)],
)
@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
def test_limits_of_events_hold(
    variable: str, value: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    sent, exporter = events()
    sent.emit(dict(START), timestamp=5, event_name="e")
    attributes = emitted(exporter).log_record.attributes
    assert len(attributes) == length
    assert attributes.get("model", "") == ""


def test_a_logger_that_is_not_the_sdks_is_given_the_same() -> None:
    handing.Events(NoOpLogger("l")).emit(dict(START), timestamp=5)


class Keeping(MetricReader):
    """Is asked for what there is, and keeps it."""

    kept: Any = None

    def _receive_metrics(self, metrics_data: Any, *_: Any, **__: Any) -> None:
        self.kept = metrics_data

    def shutdown(self, *_: Any, **__: Any) -> None:
        pass

    def points(self) -> list[Any]:
        self.kept = None
        self.collect()
        found = [] if self.kept is None else self.kept.resource_metrics
        return [
            (point.attributes, point.count, point.sum, [one.value for one in point.exemplars])
            for resource in found
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]


SETS: list[dict[str, Any]] = [{"model": "m", "type": kind} for kind in ("input", "output")]
IN_SPAN = set_span_in_context(
    NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1)))
)


def moment() -> handing.Moment:
    """Now, in a span that is sampled."""
    return handing.Moment(IN_SPAN, time.time_ns())


def leads(bound: handing.Bound, amount: float, attributes: dict[str, Any]) -> bool:
    """Whether the shorter way is taken."""
    assert bound._way is not None
    return bound._way.leads(amount, attributes, moment())


def temporality(kind: AggregationTemporality) -> dict[type, AggregationTemporality]:
    return {Histogram: kind}


@pytest.mark.parametrize(
    "view", [{}, {"attribute_keys": {"type"}}, {"aggregation": DropAggregation()}]
)
@pytest.mark.parametrize("kind", list(AggregationTemporality)[1:])
def test_numbers_in_a_histogram_are_as_by_the_public_way(
    view: dict[str, Any], kind: AggregationTemporality
) -> None:
    shown = []
    for bind in (handing.Bound, Plainly):
        readers = [Keeping(preferred_temporality=temporality(kind)) for _ in range(2)]
        views = [View(instrument_name="h", **view)] if view else []
        provider = MeterProvider(readers, views=views)
        histogram = provider.get_meter("m").create_histogram("h")
        bounds = [bind(histogram, attributes) for attributes in SETS]
        shown.append([])
        for number in range(4):
            now = moment()
            for bound in bounds:
                for amount in (1, 2.5, number):
                    bound.record(amount, now)
            # One reader asks each time, the other at the end.
            shown[-1].append(readers[0].points())
        shown[-1].append(readers[1].points())
    assert shown[0] == shown[1]


class Plainly:
    """The public way."""

    def __init__(self, histogram: Any, attributes: dict[str, Any]) -> None:
        self.record = lambda amount, now: histogram.record(amount, attributes, now.context)


class Small(ExemplarFilter):
    """Wants small numbers only as examples."""

    def should_sample(self, value: float, *_: Any) -> bool:
        return value < 3


@pytest.mark.parametrize("wanted", [Small(), AlwaysOffExemplarFilter(), AlwaysOnExemplarFilter()])
def test_what_is_an_example_is_decided_by_the_filter(wanted: ExemplarFilter) -> None:
    shown = []
    for bind in (handing.Bound, Plainly):
        reader = Keeping(preferred_temporality=temporality(AggregationTemporality.CUMULATIVE))
        provider = MeterProvider([reader], exemplar_filter=wanted)
        bound, now = bind(provider.get_meter("m").create_histogram("h"), SETS[0]), moment()
        for amount in (1, 20, 2, 200):
            bound.record(amount, now)
        shown.append(reader.points())
    assert shown[0] == shown[1]


def test_the_sdk_searches_each_sum_of_a_histogram_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Keeping(preferred_temporality=temporality(AggregationTemporality.CUMULATIVE))
    histogram = MeterProvider([reader]).get_meter("m").create_histogram("h")
    bound = handing.Bound(histogram, SETS[0])
    bound.record(1, moment())
    monkeypatch.setattr(type(histogram), "record", lambda *_: pytest.fail("searched"))
    bound.record(2, moment())
    assert [(count, total) for _, count, total, _ in reader.points()] == [(2, 3)]


def test_numbers_are_lost_with_no_sum_that_is_gone_and_reach_a_reader_that_came_later() -> None:
    reader = Keeping()
    provider = MeterProvider([reader])
    histogram: Any = provider.get_meter("m").create_histogram("h")
    bound = handing.Bound(histogram, SETS[0])
    bound.record(1, moment())
    bound.record(1, moment())
    consumer: Any = provider._measurement_consumer
    for storage in consumer._reader_storages.values():
        for match in storage._instrument_view_instrument_matches[histogram]:
            match._attributes_aggregation.clear()
    bound.record(5, moment())
    assert [(count, total) for _, count, total, _ in reader.points()] == [(1, 5)]
    consumer._reader_storages = dict(consumer._reader_storages)
    later = Keeping()
    storage = type(storage)(
        consumer._sdk_config,
        later._instrument_class_temporality,
        later._instrument_class_aggregation,
    )
    consumer._reader_storages[later] = storage
    bound.record(7, moment())
    assert storage._instrument_view_instrument_matches


def test_a_histogram_of_no_sdk_and_one_that_gets_its_sdk_later_take_numbers() -> None:
    handing.Bound(NoOpMeter("m").create_histogram("h"), SETS[0]).record(1, moment())
    later: Any = _ProxyMeterProvider().get_meter("m")
    bound = handing.Bound(later.create_histogram("h"), SETS[0])
    bound.record(1, moment())
    reader = Keeping()
    later.on_set_meter_provider(MeterProvider([reader]))
    bound.record(2, moment())
    assert leads(bound, 3, SETS[0])
    assert [(count, total) for _, count, total, _ in reader.points()] == [(2, 5)]


def test_a_sum_that_is_not_the_newest_or_ends_with_each_collection_is_left_to_the_sdk() -> None:
    histogram: Any = MeterProvider([Keeping()]).get_meter("m").create_histogram("h")
    for attributes in SETS:
        histogram.record(1, attributes)
    storages = histogram._measurement_consumer._reader_storages
    (storage,) = storages.values()
    (match,) = storage._instrument_view_instrument_matches[histogram]
    for attributes, resets in ((SETS[0], False), (SETS[1], True)):
        match._reset_on_collect = resets
        bound = handing.Bound(histogram, attributes)
        bound.record(1, moment())
        assert not leads(bound, 1, attributes)
