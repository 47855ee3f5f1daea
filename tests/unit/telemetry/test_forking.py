"""What becomes of all that a process knows when it forks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpSpanExporter,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from harness import collectors
from harness.otlp import Receiver
from opentelemetry.instrumentation.open_webui import deferred
from opentelemetry.instrumentation.open_webui.host.connections import Connections
from opentelemetry.instrumentation.open_webui.host.groups import Groups
from opentelemetry.instrumentation.open_webui.host.runtime import Runtime
from opentelemetry.instrumentation.open_webui.settings import Settings
from opentelemetry.instrumentation.open_webui.telemetry import channels, forking
from opentelemetry.instrumentation.open_webui.telemetry.forking import INSTANCE_ID, forked_id
from unit.sdk import Sdk, accountant, answer, asked, caller_named, points

SECONDS = 20


class Process:
    """An instrumented process that has served one call, and is at another."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.sdk = Sdk([self.reader])
        self.runtime = Runtime(
            Settings(), self.sdk.telemetry, Groups(Any, 30), Connections(Any, Any), accountant()
        )
        self.sdk.telemetry.begin()
        self.serve()
        self.under_way = self.runtime.start_call(asked(), caller_named())

    def serve(self) -> None:
        call = self.runtime.start_call(asked(), caller_named())
        call.read_message(answer())
        call.end()

    def told(self) -> dict[str, float]:
        """The sums of one collection."""
        self.sdk.telemetry.totals.release()
        data = self.reader.get_metrics_data()
        counted = ("open_webui.usage.requests", "open_webui.instrumentation.active")
        sums = {name: sum(point.value for point in points(data, name)) for name in counted}
        timed = points(data, "gen_ai.client.operation.duration")
        return {**sums, "timed": sum(point.count for point in timed)}

    def name(self) -> str:
        return str(self.sdk.meters._sdk_config.resource.attributes.get(INSTANCE_ID, ""))


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.runtime.active = False


def in_child(work: Callable[[], Any]) -> Any:
    """What work returns in a forked process, which has to come to an end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text)


def test_a_forked_process_has_nothing_to_tell(process: Process) -> None:
    silent = {"open_webui.usage.requests": 0, "open_webui.instrumentation.active": 0, "timed": 0}
    assert in_child(process.told) == silent
    assert process.told() == {
        "open_webui.usage.requests": 1, "open_webui.instrumentation.active": 1, "timed": 1,
    }  # fmt: skip


def test_one_that_serves_tells_what_it_served_under_a_name_of_its_own(process: Process) -> None:
    def serve() -> list[Any]:
        process.sdk.telemetry.begin()
        process.serve()
        return [process.told(), process.name(), len(process.sdk.tracers.resource.attributes)]

    of_parent = process.name()
    told, name, attributes = in_child(serve)
    assert told == {
        "open_webui.usage.requests": 1, "open_webui.instrumentation.active": 1, "timed": 1,
    }  # fmt: skip
    assert uuid.UUID(name)
    assert name != of_parent == process.name()
    assert attributes > 1


def test_calls_of_the_parent_are_the_parents(process: Process) -> None:
    def end() -> list[Any]:
        deferred.soon(process.under_way.end)
        process.runtime.finish()
        process.under_way.end()
        return [process.told()["open_webui.usage.requests"], len(process.sdk.events)]

    deferred.soon(lambda: None)
    assert in_child(end) == [0, 1]
    process.under_way.end()
    assert process.told()["open_webui.usage.requests"] == 2


def test_a_lock_that_a_thread_of_the_parent_held_is_free(process: Process) -> None:
    telemetry, consumer = process.sdk.telemetry, process.sdk.meters._measurement_consumer
    locks = [
        telemetry.totals._lock,
        telemetry.exports.tallies["metrics"]._lock,
        consumer._lock,
        *(storage._lock for storage in consumer._reader_storages.values()),
    ]
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        held.set()
        done.wait()
        for lock in reversed(locks):
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def serve() -> float:
        process.serve()
        telemetry.exports.tallies["metrics"].exported(0, failed=False)
        return process.told()["open_webui.usage.requests"]

    try:
        assert in_child(serve) == 1
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("old", "kept"), [("pod-7", True), ("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", False), ("", False)]
)
def test_a_name_that_was_given_is_to_be_seen_in_the_new_one(old: str, kept: bool) -> None:
    new = forked_id(old)
    assert new != old
    if kept:
        assert new == f"{old}-{os.getpid()}"
    else:
        assert uuid.UUID(new)


def test_all_that_describe_themselves_alike_do_so_afterwards() -> None:
    shared = Resource({INSTANCE_ID: "pod-7", "a": "b"})
    other = Resource({INSTANCE_ID: "pod-7"})
    meters, tracers = MeterProvider(resource=shared), SimpleNamespace(_resource=shared)
    forking.begin_anew([meters, tracers, SimpleNamespace(_resource=other)])
    name = f"pod-7-{os.getpid()}"
    assert dict(shared.attributes) == {INSTANCE_ID: name, "a": "b"}
    assert other.attributes[INSTANCE_ID] == name


def test_what_is_no_sdk_is_left_alone() -> None:
    forking.begin_anew([object(), SimpleNamespace(_resource=None, _measurement_consumer=None)])


def test_a_channel_is_opened_as_it_was() -> None:
    exporter = OTLPSpanExporter("https://127.0.0.1:1", headers={"k": "v"}, timeout=7)
    assert channels.is_grpc(exporter)
    before = (exporter._endpoint, exporter._insecure, exporter._headers, exporter._timeout)
    channels.close(exporter)
    assert (exporter._channel, exporter._client, exporter._credentials) == (None, None, None)
    channels.reopen(exporter)
    assert None not in (exporter._channel, exporter._client, exporter._credentials)
    assert before == (exporter._endpoint, exporter._insecure, exporter._headers, exporter._timeout)


def test_connections_of_the_parent_are_not_used() -> None:
    exporter = HttpSpanExporter("http://127.0.0.1:1")
    assert not channels.is_grpc(exporter)
    [session] = channels.sessions(exporter)
    assert isinstance(session, requests.Session)
    pools = [adapter.poolmanager for adapter in session.adapters.values()]
    channels.let_go(exporter)
    for adapter in session.adapters.values():
        assert adapter.poolmanager not in pools


FORKING_WHILE_IT_EXPORTS = """
import sys, threading, time
from pathlib import Path
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricsData, PeriodicExportingMetricReader
from opentelemetry.instrumentation.open_webui.telemetry.exporting import Exports

exporter = OTLPMetricExporter(endpoint=sys.argv[1], insecure=True)
exports = Exports()
exports.watch("metrics", MeterProvider(metric_readers=[PeriodicExportingMetricReader(exporter)]))
[watched] = exports._watched.values()
exporting = threading.Thread(target=exporter.export, args=[MetricsData([])], daemon=True)
exporting.start()
while watched.asked is None:
    time.sleep(0.01)
exports.before_fork()
print(exporting.is_alive(), [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads have no names")
def test_grpc_has_ended_when_a_process_forks_while_it_exports() -> None:
    with Receiver() as receiver, collectors.slow("grpc", receiver, 3.0) as endpoint:
        program = [sys.executable, "-c", FORKING_WHILE_IT_EXPORTS, endpoint]
        told = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)
    alive, _, threads = told.stdout.partition(" ")
    assert alive == "False"
    assert not any(name in threads for name in ("event_engine", "grpc", "timer_manager"))


def test_a_process_that_forks_before_it_serves_exports_nothing_until_it_does() -> None:
    sdk, exported = Sdk(), []
    exporter = OTLPSpanExporter("http://127.0.0.1:1")
    sdk.tracers._active_span_processor._span_processors[0].span_exporter = exporter
    exporter.export = lambda batch: exported.append(len(batch))  # type: ignore[method-assign]
    sdk.telemetry.before_fork()
    assert exporter._channel is None
    assert exporter.export([1]) is None
    assert exported == []
    assert points(sdk.reader.get_metrics_data(), "open_webui.instrumentation.active") == []
    sdk.telemetry.begin()
    assert exporter._channel is not None
    exporter.export([1])
    assert exported == [1]
    sdk.telemetry.before_fork()
    assert exporter._channel is not None
