"""An OTLP/HTTP receiver that keeps what it was sent as plain values.

with Receiver() as receiver:
    ...  # point OTEL_EXPORTER_OTLP_ENDPOINT at receiver.endpoint
    receiver.wait_for(lambda r: r.spans, timeout=10)
    receiver.increase("open_webui.usage.tokens")
"""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from aiohttp import web
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from harness.webthread import WebThread

Scalar = str | bool | int | float | bytes | None
Value = Scalar | tuple["Value", ...] | frozenset[tuple[str, "Value"]]
Attributes = dict[str, Value]
Items = frozenset[tuple[str, Value]]
Number = int | float
Kind = Literal["sum", "gauge", "histogram", "exponential_histogram", "summary"]
T = TypeVar("T")

PROTOBUF = "application/x-protobuf"
INSTANCE = "service.instance.id"
MAX_BODY = 256 * 1024**2

TEMPORALITIES: dict[int, str] = {
    metrics_pb2.AGGREGATION_TEMPORALITY_DELTA: "delta",
    metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE: "cumulative",
}
STATUSES: dict[int, str] = {
    trace_pb2.Status.STATUS_CODE_UNSET: "unset",
    trace_pb2.Status.STATUS_CODE_OK: "ok",
    trace_pb2.Status.STATUS_CODE_ERROR: "error",
}


@dataclass(frozen=True)
class SpanEvent:
    """An event on a span, such as an exception."""

    name: str
    time: int
    attributes: Attributes


@dataclass(frozen=True)
class Span:
    """A span; ids are lower-case hex, `parent_id` is empty for a root, times are nanoseconds."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Attributes
    start: int
    end: int
    status: str
    status_message: str
    scope: str
    scope_version: str
    resource: Attributes
    events: tuple[SpanEvent, ...]
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Exemplar:
    """A sample of a measurement with the span it was made in."""

    value: Number
    time: int
    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True)
class Point:
    """One data point. `value` is set for sums and gauges; `count`, `sum`, `buckets` otherwise."""

    metric: str
    unit: str
    kind: Kind
    temporality: str
    monotonic: bool
    attributes: Attributes
    value: Number | None
    count: int | None
    sum: float | None
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    time: int
    start_time: int
    scope: str
    scope_attributes: Attributes
    resource: Attributes
    exemplars: tuple[Exemplar, ...]

    @property
    def amount(self) -> Number:
        """What the point counts: its value, for a histogram the sum of its measurements."""
        return self.value if self.value is not None else (self.sum or 0)

    @property
    def series(self) -> Series:
        """The series that the point belongs to."""
        return Series(
            self.metric,
            str(self.resource.get(INSTANCE, "")),
            self.scope,
            frozenset(self.attributes.items()),
            frozenset(self.scope_attributes.items()),
        )


@dataclass(frozen=True)
class Series:
    """Identity of a series: the process it comes from, its scope and its attributes."""

    metric: str
    instance: str
    scope: str
    attributes: Items
    scope_attributes: Items


@dataclass(frozen=True)
class Event:
    """A log record; `name` is its event name."""

    name: str
    body: Value
    attributes: Attributes
    time: int
    trace_id: str
    span_id: str
    resource: Attributes
    scope: str
    severity: int = 0


@dataclass
class Received:
    """Everything parsed from one or more exports."""

    spans: list[Span] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


# --- parsing --------------------------------------------------------------------------------------


def parse_value(value: AnyValue) -> Value:
    """An attribute's value; arrays become tuples and maps sets of items, so all are hashable."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return tuple(parse_value(item) for item in value.array_value.values)
    if which == "kvlist_value":
        return frozenset(parse_attributes(value.kvlist_value.values).items())
    scalar: Scalar = getattr(value, str(which))
    return scalar


def parse_attributes(pairs: Iterable[KeyValue]) -> Attributes:
    """Attributes as a dict."""
    return {pair.key: parse_value(pair.value) for pair in pairs}


def parse_traces(request: ExportTraceServiceRequest) -> list[Span]:
    """The spans of an export."""
    return [
        parse_span(span, group.scope.name, group.scope.version, resource)
        for part in request.resource_spans
        for resource in [parse_attributes(part.resource.attributes)]
        for group in part.scope_spans
        for span in group.spans
    ]


def parse_span(span: trace_pb2.Span, scope: str, version: str, resource: Attributes) -> Span:
    """One span."""
    kind = trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower()
    return Span(
        name=span.name,
        kind=kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=parse_attributes(span.attributes),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        status=STATUSES.get(span.status.code, "unset"),
        status_message=span.status.message,
        scope=scope,
        scope_version=version,
        resource=resource,
        events=tuple(
            SpanEvent(event.name, event.time_unix_nano, parse_attributes(event.attributes))
            for event in span.events
        ),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def parse_metrics(request: ExportMetricsServiceRequest) -> list[Point]:
    """The data points of an export."""
    return [
        point
        for part in request.resource_metrics
        for resource in [parse_attributes(part.resource.attributes)]
        for group in part.scope_metrics
        for scope_attributes in [parse_attributes(group.scope.attributes)]
        for metric in group.metrics
        for point in parse_metric(metric, group.scope.name, scope_attributes, resource)
    ]


def parse_metric(
    metric: metrics_pb2.Metric, scope: str, scope_attributes: Attributes, resource: Attributes
) -> Iterator[Point]:
    """The points of one metric."""
    kind: Kind | None = metric.WhichOneof("data")
    if kind is None:
        return
    data = getattr(metric, kind)
    for point in data.data_points:
        yield Point(
            metric=metric.name,
            unit=metric.unit,
            kind=kind,
            temporality=TEMPORALITIES.get(getattr(data, "aggregation_temporality", 0), ""),
            monotonic=bool(getattr(data, "is_monotonic", False)),
            attributes=parse_attributes(point.attributes),
            value=number_of(point),
            count=getattr(point, "count", None),
            sum=getattr(point, "sum", None),
            bounds=tuple(getattr(point, "explicit_bounds", ())),
            buckets=tuple(getattr(point, "bucket_counts", ())),
            time=point.time_unix_nano,
            start_time=point.start_time_unix_nano,
            scope=scope,
            scope_attributes=scope_attributes,
            resource=resource,
            exemplars=tuple(parse_exemplar(item) for item in getattr(point, "exemplars", ())),
        )


def number_of(point: Message) -> Number | None:
    """The number in a number point or an exemplar."""
    if "value" not in point.DESCRIPTOR.oneofs_by_name:
        return None
    which = point.WhichOneof("value")
    return None if which is None else getattr(point, which)


def parse_exemplar(exemplar: metrics_pb2.Exemplar) -> Exemplar:
    """One exemplar."""
    return Exemplar(
        value=number_of(exemplar) or 0,
        time=exemplar.time_unix_nano,
        trace_id=exemplar.trace_id.hex(),
        span_id=exemplar.span_id.hex(),
        attributes=parse_attributes(exemplar.filtered_attributes),
    )


def parse_logs(request: ExportLogsServiceRequest) -> list[Event]:
    """The log records of an export."""
    return [
        parse_event(record, group.scope.name, resource)
        for part in request.resource_logs
        for resource in [parse_attributes(part.resource.attributes)]
        for group in part.scope_logs
        for record in group.log_records
    ]


def parse_event(record: LogRecord, scope: str, resource: Attributes) -> Event:
    """One log record; older exporters put the event's name into an attribute."""
    attributes = parse_attributes(record.attributes)
    return Event(
        name=getattr(record, "event_name", "") or str(attributes.get("event.name", "")),
        body=parse_value(record.body),
        attributes=attributes,
        time=record.time_unix_nano or record.observed_time_unix_nano,
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        resource=resource,
        scope=scope,
        severity=record.severity_number,
    )


def decompress(body: bytes, encoding: str) -> bytes:
    """A request body without its content encoding."""
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "deflate":
        return zlib.decompress(body)
    return body


# --- reading counters -----------------------------------------------------------------------------


def series_of(points: Iterable[Point], metric: str) -> dict[Series, list[Point]]:
    """The points of a metric by series, each in the order of time."""
    found: dict[Series, list[Point]] = defaultdict(list)
    for point in points:
        if point.metric == metric:
            found[point.series].append(point)
    return {series: sorted(own, key=lambda point: point.time) for series, own in found.items()}


def series_increase(points: list[Point]) -> Number:
    """What a back end makes of one series.

    For a cumulative series that is its last value minus its first one: what it already held when
    it was first exported is lost, as it is with an anchored `increase` in Prometheus.
    """
    if points[0].temporality == "delta":
        return sum(point.amount for point in points)
    return points[-1].amount - points[0].amount


def increase(points: Iterable[Point], metric: str) -> dict[Items, Number]:
    """Increase of a metric by its attributes, summed over processes and scopes."""
    totals: dict[Items, Number] = defaultdict(int)
    for series, own in series_of(points, metric).items():
        totals[series.attributes] += series_increase(own)
    return dict(totals)


def unannounced(points: Iterable[Point], metric: str) -> list[Series]:
    """Series of a metric whose first exported value was not zero."""
    return [series for series, own in series_of(points, metric).items() if own[0].amount]


# --- the server -----------------------------------------------------------------------------------


class Receiver(WebThread):
    """Accepts OTLP over HTTP with protobuf bodies.

    Set `reply_status` to something else than 200 to play a collector that refuses exports; what
    it refuses is not kept.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.reply_status = 200
        self.exports: list[tuple[float, str]] = []
        self._received = Received()
        self._changed = threading.Condition()

    @property
    def endpoint(self) -> str:
        """Value for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return self.base_url

    @property
    def spans(self) -> list[Span]:
        """Spans received so far."""
        with self._changed:
            return list(self._received.spans)

    @property
    def points(self) -> list[Point]:
        """Data points received so far, in the order of arrival."""
        with self._changed:
            return list(self._received.points)

    @property
    def events(self) -> list[Event]:
        """Log records received so far."""
        with self._changed:
            return list(self._received.events)

    def clear(self) -> None:
        """Forget everything; series then count as first exported at their next point."""
        with self._changed:
            self._received = Received()
            self.exports.clear()

    def wait_for(self, predicate: Callable[[Receiver], T], timeout: float = 15.0) -> T:
        """Wait until `predicate(receiver)` is truthy, and return its value."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (value := predicate(self)):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"not received in {timeout} s; {self.summary()}")
                self._changed.wait(left)
        return value

    def increase(self, metric: str) -> dict[Items, Number]:
        """`increase` of the points received so far."""
        return increase(self.points, metric)

    def total(self, metric: str, attributes: Mapping[str, Value] | None = None) -> Number:
        """Increase of a metric, summed over all series that have `attributes`."""
        wanted = set((attributes or {}).items())
        return sum(value for key, value in self.increase(metric).items() if wanted <= key)

    def unannounced(self, metric: str) -> list[Series]:
        """Series whose first exported value was not zero: a back end cannot see that move."""
        return unannounced(self.points, metric)

    def metrics(self) -> set[str]:
        """Names of the metrics received so far."""
        return {point.metric for point in self.points}

    def summary(self) -> str:
        """What was received so far, in a line."""
        received = self._received
        return (
            f"{len(received.spans)} spans, {len(received.points)} points, "
            f"{len(received.events)} events in {len(self.exports)} exports"
        )

    def make_app(self) -> web.Application:
        """The three OTLP routes."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/v1/traces", self._traces)
        app.router.add_post("/v1/metrics", self._metrics)
        app.router.add_post("/v1/logs", self._logs)
        return app

    async def _traces(self, request: web.Request) -> web.Response:
        message = ExportTraceServiceRequest.FromString(await body_of(request))
        received = Received(spans=parse_traces(message))
        return self._answer("traces", received, ExportTraceServiceResponse())

    async def _metrics(self, request: web.Request) -> web.Response:
        message = ExportMetricsServiceRequest.FromString(await body_of(request))
        received = Received(points=parse_metrics(message))
        return self._answer("metrics", received, ExportMetricsServiceResponse())

    async def _logs(self, request: web.Request) -> web.Response:
        message = ExportLogsServiceRequest.FromString(await body_of(request))
        received = Received(events=parse_logs(message))
        return self._answer("logs", received, ExportLogsServiceResponse())

    def _answer(self, signal: str, received: Received, reply: Message) -> web.Response:
        if self.reply_status != 200:
            return web.Response(status=self.reply_status)
        with self._changed:
            self.exports.append((time.monotonic(), signal))
            self._received.spans += received.spans
            self._received.points += received.points
            self._received.events += received.events
            self._changed.notify_all()
        return web.Response(body=reply.SerializeToString(), content_type=PROTOBUF)


async def body_of(request: web.Request) -> bytes:
    """The protobuf bytes of an export; aiohttp undoes the encodings it knows by itself."""
    body = await request.read()
    encoding = request.headers.get("Content-Encoding", "")
    return decompress(body, encoding) if body[:2] == b"\x1f\x8b" else body
