from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from opentelemetry.instrumentation.open_webui.telemetry.batching import (
    LARGEST,
    log_batches,
    metric_batches,
    point_count,
    span_batches,
)

# The longest texts that we set: four bytes in UTF-8 for each character.
LONGEST = "\N{OWL}" * 256
WORST = {f"attribute.{number}": LONGEST for number in range(12)}
RESOURCE = Resource({"service.name": LONGEST, "host.name": LONGEST, "numbers": [1, 2, 3]})

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scalars = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats())
lists = st.one_of(st.lists(texts, max_size=5), st.lists(st.floats(), max_size=5)).map(tuple)
values = st.one_of(scalars, lists)
attributes = st.dictionaries(texts.filter(bool), values, max_size=6)


def collected(
    rows: Sequence[dict[str, Any]], *, exponential: bool = False, resource: Resource = RESOURCE
) -> Any:
    """A collection with a counter and a histogram, each with these attributes, and exemplars."""
    reader = InMemoryMetricReader()
    view = View(
        instrument_type=Histogram,
        aggregation=ExponentialBucketHistogramAggregation()
        if exponential
        else ExplicitBucketHistogramAggregation(),
    )
    provider = MeterProvider([reader], resource=resource, views=[view])
    meter = provider.get_meter("scope", "1.0", "https://schema", {"shard": 1})
    counter, histogram = meter.create_counter("c", "{token}", "about"), meter.create_histogram("h")
    context = sampled()
    for number, row in enumerate(rows):
        counter.add(number, row)
        histogram.record(number * 1.5, row, context)
    return reader.get_metrics_data()


def sampled() -> Any:
    """The context of a sampled span, so that histograms take exemplars."""
    return set_span_in_context(NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(1))))


def points_of(data: Any) -> list[Any]:
    return [
        (metric.name, point)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


def spans_of(rows: Sequence[dict[str, Any]], name: str = "span") -> Sequence[Any]:
    kept, provider = InMemorySpanExporter(), TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("scope", "1.0", schema_url="https://schema", attributes={"a": "b"})
    state = TraceState([("vendor", "value" * 20)])
    link = Link(SpanContext(1, 2, False, TraceFlags(1), state), {"link": LONGEST})
    for row in rows:
        span = tracer.start_span(name, attributes=row, links=[link])
        span.add_event(name, row)
        span.set_status(Status(StatusCode.ERROR, name))
        span.end()
    return kept.get_finished_spans()


def records_of(rows: Sequence[dict[str, Any]], body: Any = None) -> Sequence[Any]:
    kept, provider = InMemoryLogRecordExporter(), LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    for row in rows:
        provider.get_logger("scope", "1.0", "https://schema", {"a": "b"}).emit(
            timestamp=1,
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            event_name="event",
            body=body,
            attributes=row,
        )
    return kept.get_finished_logs()


@pytest.mark.large
@pytest.mark.parametrize("exponential", [False, True])
def test_metrics_with_the_worst_values_stay_below_and_none_is_lost(exponential: bool) -> None:
    data = collected([{**WORST, "n": n} for n in range(400)], exponential=exponential)
    batches = list(metric_batches(data))
    sizes = [encode_metrics(batch).ByteSize() for batch in batches]
    assert sum(sizes) > 2 * 4 * 1024**2
    assert max(sizes) <= LARGEST
    # Not many more requests than it takes.
    assert min(sizes[:-1]) > LARGEST * 0.9
    assert [p for batch in batches for p in points_of(batch)] == points_of(data)
    assert sum(map(point_count, batches)) == point_count(data) == 800


@pytest.mark.large
def test_spans_and_events_with_the_worst_values_stay_below_and_none_is_lost() -> None:
    rows = [{**WORST, "n": n} for n in range(512)]
    spans, records = spans_of(rows, LONGEST), records_of(rows, {"body": [LONGEST, b"x", None, 1.5]})
    for items, batches, encode in (
        (spans, list(span_batches(spans)), encode_spans),
        (records, list(log_batches(records)), encode_logs),
    ):
        assert max(encode(batch).ByteSize() for batch in batches) <= LARGEST  # type: ignore[operator]
        assert encode(items).ByteSize() > 4 * 1024**2  # type: ignore[operator]
        assert [one for batch in batches for one in batch] == list(items)


@given(st.lists(attributes, min_size=1, max_size=5), st.booleans())
def test_no_request_is_larger_than_reckoned(rows: list[dict[str, Any]], exponential: bool) -> None:
    """A limit that just holds all, by its real size, must make the reckoned size split it."""
    data = collected(rows, exponential=exponential)
    for items, split, encode in (
        (data, metric_batches, encode_metrics),
        (spans_of(rows), span_batches, encode_spans),
        (records_of(rows), log_batches, encode_logs),
    ):
        for largest in (300, 1000, 3000):
            for batch in split(items, largest):  # type: ignore[operator]
                several = point_count(batch) > 1 if items is data else len(batch) > 1
                assert not several or encode(batch).ByteSize() <= largest  # type: ignore[operator]


def test_what_fits_is_left_as_it_is() -> None:
    data = collected([{"a": "b"}])
    assert [id(batch) for batch in metric_batches(data)] == [id(data)]
    spans = spans_of([{"a": "b"}])
    assert [id(batch) for batch in span_batches(spans)] == [id(spans)]


def test_nothing_stays_one_request() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(
        [reader], views=[View(instrument_type=Counter, aggregation=DropAggregation())]
    )
    provider.get_meter("scope").create_counter("c").add(1)
    provider.get_meter("scope").create_histogram("h").record(1)
    data = reader.get_metrics_data()
    assert len(list(metric_batches(data))) == 1
    assert list(span_batches(())) == [()]


def test_an_item_too_large_goes_alone() -> None:
    rows = [{"n": 1}, {"n": 2, "text": "x" * LARGEST}, {"n": 3}]
    assert [len(batch) for batch in span_batches(spans_of(rows))] == [1, 1, 1]
    assert [point_count(batch) for batch in metric_batches(collected(rows))] == [1, 1, 2, 1, 1]
