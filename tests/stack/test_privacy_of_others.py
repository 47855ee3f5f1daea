"""With the privacy switch on, no text that anybody puts anywhere into OTLP leaves the collector."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiohttp import web
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from harness.otlp import PROTOBUF, Receiver, body_of
from harness.programs import CONFIGS, Collector
from stack.reports import lines, wait_for

SECRET = "Rumpelstilz"
OURS = "opentelemetry.instrumentation.open_webui"
SALT = "0123456789abcdef0123456789abcdef"
TRACE, ROOT, CHILD, GRANDCHILD = b"t" * 16, b"r" * 8, b"c" * 8, b"g" * 8
KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
NOW = time.time_ns()
# Strings and bytes of the protocol that are no text.
IDS = {"trace_id": TRACE, "span_id": CHILD, "parent_span_id": ROOT}


class Stores(Receiver):
    """Stands where Jaeger and Prometheus do, and keeps what arrives as it is, too."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = b""

    def make_app(self) -> web.Application:
        app = super().make_app()
        app.router.add_post("/api/v1/otlp/v1/metrics", self._metrics)
        app.middlewares.append(self._keep)
        return app

    @web.middleware
    async def _keep(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.raw += await body_of(request)
        return await handler(request)


@pytest.fixture
def stores() -> Iterator[Stores]:
    with Stores() as stores:
        yield stores


@pytest.fixture
def collector(stores: Stores, tmp_path: Path) -> Iterator[Collector]:
    env = {"PRIVACY_SALT": SALT}
    with Collector(tmp_path, stores.base_url, stores.base_url, "privacy", env=env) as running:
        yield running


# Messages with a secret in every place that the protocol has.


def filled(message: Message) -> Message:
    """The message with the secret in all its fields that can hold a text, at any depth."""
    for field in message.DESCRIPTOR.fields:
        if field.name == "entity_refs":
            pass  # nothing in a collector reaches them: see privacy.yaml
        elif field.message_type is not None:
            fill_message(message, field)
        elif field.name in IDS:
            setattr(message, field.name, IDS[field.name])
        elif field.name.endswith("time_unix_nano"):
            setattr(message, field.name, NOW)
        elif field.type == FieldDescriptor.TYPE_STRING:
            text = f"vendor={SECRET}" if field.name == "trace_state" else SECRET
            if field.is_repeated:
                getattr(message, field.name).append(text)
            else:
                setattr(message, field.name, text)
    return message


def fill_message(message: Message, field: FieldDescriptor) -> None:
    if field.message_type.name == "KeyValue":
        getattr(message, field.name).extend(attributes())
    elif field.message_type.name == "AnyValue":
        getattr(message, field.name).string_value = SECRET
    elif field.message_type.name == "Metric":
        for kind in KINDS:
            for name in (SECRET, f"http.{SECRET.lower()}", f"webui.users.{kind}"):
                fill_metric(getattr(message, field.name).add(), kind, name)
    elif field.containing_oneof is not None:
        pass  # a metric's data, which `fill_metric` chooses
    elif field.is_repeated:
        filled(getattr(message, field.name).add())
    else:
        filled(getattr(message, field.name))


def fill_metric(metric: Any, kind: str, name: str) -> None:
    filled(metric)
    metric.name = name
    filled(getattr(metric, kind))
    if kind in ("sum", "histogram", "exponential_histogram"):
        getattr(metric, kind).aggregation_temporality = 2


def attributes() -> Iterator[KeyValue]:
    """One of each kind, with a key that nobody knows; and two that names are hashed in."""
    yield KeyValue(key=SECRET, value={"string_value": SECRET})
    yield KeyValue(key=f"{SECRET}.bytes", value={"bytes_value": SECRET.encode()})
    listed = {"array_value": {"values": [{"string_value": SECRET}]}}
    mapped = {"kvlist_value": {"values": [{"key": SECRET, "value": {"string_value": SECRET}}]}}
    yield KeyValue(key=f"{SECRET}.list", value=listed)
    yield KeyValue(key=f"{SECRET}.map", value=mapped)
    yield KeyValue(key="user.name", value={"string_value": SECRET})
    yield KeyValue(key="open_webui.user.groups", value=listed)


def attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value={"string_value": value})


def send(collector: Collector, signal: str, message: Message) -> None:
    httpx.post(
        f"{collector.otlp}/v1/{signal}",
        content=message.SerializeToString(),
        headers={"Content-Type": PROTOBUF},
        trust_env=False,
    ).raise_for_status()


def assert_kept_secret(stores: Stores, collector: Collector) -> None:
    files = b"".join(path.read_bytes() for path in collector.ledger.glob("*"))
    assert re.findall(rb"(?is).{0,60}" + SECRET.encode(), stores.raw + files) == []


def test_spans(stores: Stores, collector: Collector) -> None:
    message = filled(ExportTraceServiceRequest())
    assert message.ByteSize() > 1000
    [foreign] = message.resource_spans[0].scope_spans
    linked = foreign.spans[0]
    assert linked.links[0].trace_state == f"vendor={SECRET}"
    assert (linked.name, linked.status.message, linked.events[0].name) == (SECRET,) * 3
    # The same without links, with more that says what it is; and what the library sends.
    span = foreign.spans.add()
    span.CopyFrom(linked)
    del span.links[:]
    span.span_id, span.kind = ROOT, span.SPAN_KIND_SERVER
    span.ClearField("parent_span_id")
    span.attributes.append(attribute("http.route", "/api/chat/completions"))
    span.events.add(name="exception")
    silent = foreign.spans.add()
    silent.CopyFrom(linked)
    del silent.links[:], silent.events[:]
    unknown = foreign.spans.add(trace_id=TRACE, span_id=GRANDCHILD, parent_span_id=ROOT)
    unknown.attributes.append(KeyValue(key="http.route", value={"int_value": 1}))
    unknown.attributes.append(KeyValue(key="gen_ai.operation.name", value={"bool_value": True}))
    mixed = {"values": [{"int_value": 1}, {"kvlist_value": {}}, {}]}
    unknown.attributes.append(KeyValue(key="gen_ai.request.model", value={"array_value": mixed}))
    ours = message.resource_spans[0].scope_spans.add()
    ours.scope.name, ours.scope.version = OURS, "1.2.3"
    for number, (name, keys) in enumerate(NAMES.items()):
        own = ours.spans.add(name=name, trace_id=TRACE, span_id=bytes([number + 1]) * 8)
        own.parent_span_id = ROOT
        own.links.add(trace_id=TRACE, span_id=GRANDCHILD)
        own.attributes.extend(attribute(key, value) for key, value in keys.items())
    send(collector, "traces", message)
    stores.wait_for(lambda r: len(r.spans) == 3 + len(NAMES))
    assert_kept_secret(stores, collector)
    [root] = [span for span in stores.spans if not span.parent_id]
    assert [event.name for event in root.events] == ["event", "exception"]
    others = {span.name for span in stores.spans if span.scope == "other"}
    assert others == {"Server /api/chat/completions", "Unspecified", "true [1,{},null]"}
    assert {span.name for span in stores.spans if span.scope == OURS} == set(NAMES)
    for span in stores.spans:
        assert (span.trace_id, span.parent_id or root.span_id) == (TRACE.hex(), ROOT.hex())
        if span.scope == OURS:
            assert span.scope_version == "1.2.3"
            assert span.links == ((TRACE.hex(), GRANDCHILD.hex()),)


NAMES = {
    "chat gpt": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt"},
    "invoke_agent desk": {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "desk",
    },
    "execute_tool look": {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"},
}


def test_metrics(stores: Stores, collector: Collector) -> None:
    message = filled(ExportMetricsServiceRequest())
    [foreign] = message.resource_metrics[0].scope_metrics
    assert len(foreign.metrics) == 3 * len(KINDS)
    histogram = next(metric for metric in foreign.metrics if metric.HasField("histogram"))
    assert histogram.histogram.data_points[0].exemplars[0].filtered_attributes[0].key == SECRET
    fill_metric(foreign.metrics.add(), "gauge", "webui.users.total")
    ours = message.resource_metrics[0].scope_metrics.add()
    ours.scope.name = OURS
    for kind in KINDS:
        metric = ours.metrics.add()
        fill_metric(metric, kind, f"open_webui.{kind}")
        metric.description, metric.unit = "What it counts", "{token}"
    send(collector, "metrics", message)
    expected = {"webui.users.total", *(f"open_webui.{kind}" for kind in KINDS)}
    stores.wait_for(lambda r: r.metrics() == expected)
    assert_kept_secret(stores, collector)
    points = {point.metric: point for point in stores.points}
    assert points["open_webui.histogram"].exemplars[0].trace_id == TRACE.hex()
    assert points["open_webui.sum"].unit == "{token}"
    assert points["webui.users.total"].unit == ""
    assert points["webui.users.total"].scope == "other"


def test_log_records(stores: Stores, collector: Collector) -> None:
    message = filled(ExportLogsServiceRequest())
    [foreign] = message.resource_logs[0].scope_logs
    [record] = foreign.log_records
    assert (record.event_name, record.severity_text, record.body.string_value) == (SECRET,) * 3
    usage = foreign.log_records.add()
    usage.CopyFrom(record)
    usage.event_name = "open_webui.usage"
    usage.attributes.append(attribute("gen_ai.request.model", "gpt"))
    send(collector, "logs", message)
    [line] = wait_for(lambda: collector.ledger.exists() and lines(collector.ledger))
    assert_kept_secret(stores, collector)
    assert line["gen_ai.request.model"] == "gpt"
    assert set(line) == {"gen_ai.request.model", "user.name", "open_webui.user.groups"}


def test_what_cannot_be_judged_does_not_pass() -> None:
    config = yaml.safe_load((CONFIGS / "privacy.yaml").read_text())
    for name, processor in config["processors"].items():
        assert name.startswith("redaction") or processor["error_mode"] == "propagate"
