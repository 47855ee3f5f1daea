"""Many people at once, in one process: the library's own accounting, and the SDK as it sets it up.

Run as a program with the variables of a server; it prints what it measured, as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

from opentelemetry import _logs, metrics, trace
from opentelemetry.instrumentation.open_webui import distro
from opentelemetry.instrumentation.open_webui.calls.live import LiveCall
from opentelemetry.instrumentation.open_webui.settings import Settings
from opentelemetry.instrumentation.open_webui.telemetry.batching import metric_batches, point_count
from opentelemetry.instrumentation.open_webui.telemetry.telemetry import Telemetry
from unit.sdk import answer, asked, begun, caller_named

SOURCES = ("ui", "api")
GROUPS = 40
ROUNDS = 2
# Between two looks at the queues: calls do not come at once, as they do here.
PIECE = 200


def given(user: int, model: int) -> int:
    """Input tokens of a call: of each user and model another number."""
    return 1 + user * 7 + model


def made(user: int, model: int) -> int:
    """Output tokens of a call."""
    return 1 + user + model * 3


def user_id(number: int) -> str:
    """A user's id, as Open WebUI makes them."""
    return f"{number:08x}-1234-4abc-8def-0123456789ab"


def model_id(number: int) -> str:
    """The name of a model."""
    return f"provider/model-{number}-instruct"


class Exported:
    """Times the exports of metrics, from outside all that the library does, and keeps the last."""

    def __init__(self, exporter: Any) -> None:
        self.seconds: list[float] = []
        self.last: Any = None
        self._export = exporter.export
        exporter.export = self.export

    def export(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Export, and take the time."""
        self.last, began = data, time.perf_counter()
        try:
            return self._export(data, *args, **kwargs)
        finally:
            self.seconds.append(time.perf_counter() - began)


def foreign_providers() -> None:
    """Set up the SDK as Open WebUI does with ENABLE_OTEL=true."""
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "open-webui", "service.instance.id": "own"})
    tracers, loggers = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    trace.set_tracer_provider(tracers)
    _logs.set_logger_provider(loggers)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider([reader], resource=resource))


def calls(telemetry: Telemetry, users: int, models: int) -> Iterator[LiveCall]:
    """One call of each user to each model from each source."""
    rows = [(user, model, source) for user in range(users) for model in range(models)
            for source in SOURCES]  # fmt: skip
    for user, model, source in rows:
        caller = caller_named(user_id(user), user_name=f"Person {user} of Somewhere", source=source)
        groups = (f"group {user % GROUPS}",)
        call = begun(telemetry, asked(model_id(model)), caller, groups)
        call.read_message(answer(given(user, model), made(user, model)))
        yield call


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that is certain to come."""
    while not condition():
        time.sleep(0.1)


def main() -> None:
    """Count, export, measure, end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--foreign", action="store_true")
    options = parser.parse_args()
    foreign_providers() if options.foreign else distro._configure_sdk({})
    telemetry = Telemetry(Settings.load({}))
    telemetry.begin()
    [reader] = metrics.get_meter_provider()._sdk_config.metric_readers  # type: ignore[attr-defined]
    exported = Exported(reader._exporter)
    began = time.perf_counter()
    for _ in range(ROUNDS):
        for number, call in enumerate(calls(telemetry, options.users, options.models)):
            call.end()
            if number % PIECE == 0:
                trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
                _logs.get_logger_provider().force_flush()  # type: ignore[attr-defined]
    counted = time.perf_counter() - began
    # One export announces what is new; the next but one has begun after that was over.
    done = len(exported.seconds)
    wait_until(lambda: len(exported.seconds) >= done + 3)
    before = os.times()
    began = time.perf_counter()
    wait_until(lambda: len(exported.seconds) >= done + 4)
    after, interval = os.times(), time.perf_counter() - began
    began = time.perf_counter()
    ended = telemetry.flush(120)
    end = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        json.dumps(
            {
                "calls": ROUNDS * options.users * options.models * len(SOURCES),
                "seconds of all calls": round(counted, 1),
                "seconds of one export": round(exported.seconds[done + 3], 2),
                "seconds from one export to the next": round(interval, 2),
                "cpu seconds from one export to the next": round(
                    after.user + after.system - before.user - before.system, 2
                ),
                "seconds of the end": round(end, 2),
                "ended": ended,
                "peak memory in MB": peak,
                "points of one export": point_count(exported.last),
                "requests of one export": len(list(metric_batches(exported.last))),
                "MB of one export": round(encode_metrics(exported.last).ByteSize() / 1e6, 1),
                "failed exports": sum(one.failures for one in telemetry.exports.tallies.values()),
            }
        )
    )


if __name__ == "__main__":
    main()
