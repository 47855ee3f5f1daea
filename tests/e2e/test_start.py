"""Every way of turning it on, each as people start it, with the accounts right at the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pytest

from e2e.servers import PREFIX, instrumented, otlp
from e2e.truth import USAGE_REQUESTS, USAGE_TOKENS, Expectation, Truth, assert_equal, reported
from harness import collectors
from harness.habits import teach
from harness.openwebui import HOST, OpenWebUI, free_port
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import seeded_data_dir, seeded_server
from opentelemetry.instrumentation.open_webui.telemetry.later import PAUSE

EXPECTED = {"one": Expectation(), "turn": Expectation(source="ui")}
OURS = "opentelemetry.instrumentation.open_webui"
BIN = Path(sys.executable).parent


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


def use(server: OpenWebUI, provider: Provider, calls: int = 6) -> Truth:
    """A little traffic of two users, and what the provider has to say of it."""
    for number in range(calls):
        user, model = ("alice", "gpt-std") if number % 2 else ("bob", "llama-std")
        server.chat(user, model, "case=one", stream=number % 3 == 0)
    provider.wait_idle(0.3)
    return Truth(server.world, provider.snapshot(), EXPECTED)


def instances(receiver: Receiver) -> set[object]:
    points = [point for point in receiver.points if point.metric == USAGE_REQUESTS]
    return {point.resource.get("service.instance.id") for point in points}


def assert_told_at_the_end(server: OpenWebUI, receiver: Receiver, truth: Truth) -> None:
    """With export intervals of a minute, everything is told by the clean shutdown."""
    assert reported(receiver) == {}
    server.stop(signal.SIGTERM)
    assert_equal(receiver, truth, timeout=1)
    assert len(receiver.events) == len(receiver.spans) == len(truth.calls)


def test_serve_tells_everything_on_sigterm(provider: Provider, receiver: Receiver) -> None:
    with instrumented(provider, receiver, interval=60) as server:
        truth = use(server, provider)
        [line] = what_is_on(server)
        assert re.search(r"\| INFO +\|", line)
        [(version, covered, known)] = re.findall(
            r"is on\. Open WebUI (\S+): (\d+) of (\d+) paths covered", line
        )
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert int(covered) == int(known) > 15
        assert f"traces, metrics, logs to {receiver.endpoint} (http/protobuf)." in line
        assert_told_at_the_end(server, receiver, truth)
        assert "Traceback" not in server.log_text()


def what_is_on(server: OpenWebUI) -> list[str]:
    """What the log says of it at start."""
    return [line for line in server.log_text().splitlines() if " is on. Open WebUI " in line]


def test_stop_in_the_middle_of_an_answer_ends_the_call(
    provider: Provider, receiver: Receiver
) -> None:
    with instrumented(provider, receiver, interval=60) as server:
        server.turn("alice", "gpt-slow", "case=turn", tasks=(), wait=False)
        wait_for_call(provider)
        server.stop(signal.SIGTERM)
        [event] = receiver.events
        assert event.attributes["error.type"] == "cancelled"
        assert event.attributes["open_webui.source"] == "ui"
        assert receiver.total(USAGE_REQUESTS) == 1


def wait_for_call(provider: Provider) -> None:
    deadline = time.monotonic() + 20
    while not provider.snapshot() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_each_of_several_workers_tells_everything_on_sigterm(
    provider: Provider, receiver: Receiver, temporality: str
) -> None:
    preference = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality}
    with instrumented(provider, receiver, preference, workers=2, interval=60) as server:
        truth = use(server, provider, calls=24)
        assert len(what_is_on(server)) == 2
        assert_told_at_the_end(server, receiver, truth)
        assert len(instances(receiver)) == 2


def test_start_script_of_the_image_without_dist_metadata(
    provider: Provider, receiver: Receiver, tmp_path: Path
) -> None:
    """The image starts the server by a shell script, and knows no package called open-webui."""
    with OpenWebUI(
        provider,
        copy_from=seeded_data_dir(),
        bin_dir=without_metadata(tmp_path),
        launcher="start.sh",
        workers=2,
        env={**otlp(receiver), "FROM_INIT_PY": "false", "FRONTEND_BUILD_DIR": frontend()},
    ) as server:
        truth = use(server, provider, calls=24)
        assert_equal(receiver, truth)


def frontend() -> str:
    [directory] = BIN.parent.glob("lib/python*/site-packages/open_webui/frontend")
    return str(directory)


def without_metadata(tmp_path: Path) -> Path:
    """This environment again, by links, less the metadata of Open WebUI."""
    environment = tmp_path / "image"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    [source] = BIN.parent.glob("lib/python*/site-packages")
    [target] = environment.glob("lib/python*/site-packages")
    for entry in source.iterdir():
        if not entry.name.startswith("open_webui-"):
            (target / entry.name).symlink_to(entry)
    command = (BIN / "opentelemetry-instrument").read_text().splitlines()[1:]
    script = environment / "bin" / "opentelemetry-instrument"
    script.write_text("\n".join([f"#!{environment}/bin/python", *command]))
    script.chmod(0o755)
    return environment / "bin"


def test_beside_open_webuis_own_telemetry(provider: Provider, receiver: Receiver) -> None:
    own = {
        "ENABLE_OTEL": "true",
        "ENABLE_OTEL_TRACES": "true",
        "ENABLE_OTEL_METRICS": "true",
        "ENABLE_OTEL_LOGS": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{receiver.endpoint}/v1/traces",
        "OTEL_METRICS_EXPORTER_OTLP_ENDPOINT": f"{receiver.endpoint}/v1/metrics",
        "OTEL_LOGS_EXPORTER_OTLP_ENDPOINT": f"{receiver.endpoint}/v1/logs",
        "OTEL_OTLP_SPAN_EXPORTER": "http",
        "OTEL_METRICS_EXPORT_INTERVAL_MILLIS": "500",
    }
    with instrumented(provider, receiver, own) as server:
        truth = use(server, provider)
        assert_equal(receiver, truth)
        calls = receiver.wait_for(lambda r: spans_of_calls(r, len(truth.calls)))
        receiver.wait_for(
            lambda r: {call.parent_id for call in calls} <= {span.span_id for span in r.spans}
        )
        parents = {span.span_id: span for span in receiver.spans}
        for call in calls:
            assert parents[call.parent_id].kind == "server"
        usage = [event for event in receiver.events if event.name == "open_webui.usage"]
        assert len(usage) == len(truth.calls)
        assert len(instances(receiver) - {None}) == 1
        [line] = what_is_on(server)
        assert f"traces to {receiver.endpoint}/v1/traces (http, by Open WebUI)" in line
        assert_no_client_hides_its_calls(server, receiver)


def test_open_webuis_own_telemetry_by_grpc_says_what_it_lacks(
    provider: Provider, receiver: Receiver
) -> None:
    own = {f"ENABLE_OTEL{part}": "true" for part in ("", "_TRACES", "_METRICS", "_LOGS")}
    with collectors.slow("grpc", receiver, 0.0) as endpoint:
        own |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_LOGS_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_METRICS_EXPORTER_OTLP_INSECURE": "true",
        }
        with instrumented(provider, receiver, own) as server:
            server.chat("alice", "gpt-std", "case=one")
            receiver.wait_for(lambda r: any(e.name == "open_webui.usage" for e in r.events))
            log = server.log_text()
            assert "set OTEL_EXPORTER_OTLP_INSECURE=true" in log
            assert "set OTEL_METRICS_EXPORTER_OTLP_INSECURE" not in log
            assert receiver.spans == []


def test_a_protocol_that_is_none_is_named_and_costs_nothing(
    provider: Provider, receiver: Receiver
) -> None:
    env = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http"}
    with instrumented(provider, receiver, env) as server:
        assert "OTEL_EXPORTER_OTLP_PROTOCOL='http' is not allowed" in server.log_text()
        assert_equal(receiver, use(server, provider))


def assert_no_client_hides_its_calls(server: OpenWebUI, receiver: Receiver) -> None:
    """Who says that a request is not to be recorded has its spans in a trace of their own."""
    trace, span = "f" * 32, "1" * 16
    hiding = {"traceparent": f"00-{trace}-{span}-00", "tracestate": "vendor=anything"}
    before = {one.span_id for one in receiver.spans}
    server.chat("alice", "gpt-std", "case=one", headers=hiding)
    server.turn("bob", "gpt-std", "case=turn", tasks=(), headers=hiding)
    usage = receiver.wait_for(
        lambda r: (e := [e for e in r.events if e.name == "open_webui.usage"][-2:])[1:]
        and e[1].attributes["open_webui.source"] == "ui"
        and e
    )
    assert [event.attributes["open_webui.source"] for event in usage] == ["api", "ui"]

    def new(r: Receiver) -> list:
        found = [s for s in r.spans if s.span_id not in before and s.scope == OURS]
        return found if len(found) == 3 else []

    spans = receiver.wait_for(new)
    assert {s.span_id for s in spans} >= {event.span_id for event in usage}
    traces = {s.trace_id for s in spans}
    assert traces == {event.trace_id for event in usage}
    assert len(traces) == 2
    assert trace not in traces
    assert [s.links for s in spans if not s.parent_id] == [((trace, span),)] * 2


def spans_of_calls(receiver: Receiver, count: int) -> list:
    spans = [span for span in receiver.spans if span.scope == OURS]
    return spans if len(spans) == count else []


def test_other_instrumentations_are_left_alone_unless_wanted(
    provider: Provider, receiver: Receiver
) -> None:
    with instrumented(provider, receiver) as server:
        assert_equal(receiver, use(server, provider))
        assert {span.scope for span in receiver.spans} == {
            "opentelemetry.instrumentation.open_webui"
        }
    receiver.clear()
    provider.clear()
    with instrumented(provider, receiver, {f"{PREFIX}LOAD_OTHERS": "true"}) as server:
        assert_equal(receiver, use(server, provider))
        receiver.wait_for(lambda r: "opentelemetry.instrumentation.fastapi" in scopes(r))


def scopes(receiver: Receiver) -> set[str]:
    return {span.scope for span in receiver.spans}


def test_prometheus_on_loopback_without_any_otlp_endpoint(provider: Provider) -> None:
    port = free_port()
    env = {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
    }
    server = seeded_server(provider, launcher="instrument", env=env)
    teach(server, provider)
    with server:
        truth = use(server, provider)
        time.sleep(2 * PAUSE)  # Ended calls wait for so long to be told of together.
        assert set(scrape(port).values()) == {0.0}
        total = {USAGE_REQUESTS: 0.0, USAGE_TOKENS: 0.0}
        for sample, value in scrape(port).items():
            for metric in total:
                if sample.startswith(metric.replace(".", "_") + "_total{"):
                    total[metric] += value
        assert total == {
            metric: sum(amount for (name, _), amount in truth.counts().items() if name == metric)
            for metric in total
        }
        assert "localhost:4317" not in server.log_text()


def scrape(port: int) -> dict[str, float]:
    """The samples of our counters."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    samples = [line.rsplit(" ", 1) for line in lines if re.match(r"open_webui_\w+_total\{", line)]
    return {name: float(value) for name, value in samples}


def test_prometheus_with_several_workers_is_refused_clearly(
    provider: Provider, receiver: Receiver
) -> None:
    env = {"OTEL_METRICS_EXPORTER": "prometheus,otlp"}
    with instrumented(provider, receiver, env, workers=2) as server:
        assert "one port cannot serve several workers" in server.log_text()
        assert "OTEL_EXPORTER_OTLP_ENDPOINT" in server.log_text()
        assert_equal(receiver, use(server, provider))


def test_a_taken_prometheus_port_does_not_stop_the_server(
    provider: Provider, receiver: Receiver
) -> None:
    env = {
        "OTEL_METRICS_EXPORTER": "prometheus,otlp",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(provider.port),
    }
    with instrumented(provider, receiver, env) as server:
        assert "The Prometheus exporter is not used" in server.log_text()
        assert_equal(receiver, use(server, provider))


def test_a_bad_setting_is_named_and_costs_nothing(provider: Provider, receiver: Receiver) -> None:
    env = {
        f"{PREFIX}USER_IDENTITY": "fullname",
        f"{PREFIX}SERIES_LIMIT": "many",
        "OTEL_PYTHON_OPENWEBUI_ASK_USAGE": "no",
    }
    with instrumented(provider, receiver, env) as server:
        log = server.log_text()
        assert f"{PREFIX}USER_IDENTITY='fullname'" in log
        assert "name, email, hash, none" in log
        assert f"{PREFIX}SERIES_LIMIT='many'" in log
        assert f"did you mean {PREFIX}ASK_USAGE?" in log
        assert log.count("OTEL_PYTHON_OPENWEBUI_ASK_USAGE is not a setting") == 1
        use(server, provider)
        receiver.wait_for(lambda r: len(r.events) == 6)
        # Whoever meant to hide names must not see them because of a typing error.
        assert not [event for event in receiver.events if "user.name" in event.attributes]


def test_a_collector_that_does_not_answer_costs_nothing(provider: Provider) -> None:
    closed = f"http://{HOST}:{free_port()}"
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": closed, "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    with seeded_server(provider, launcher="instrument", env=env) as server:
        use(server, provider)
        assert all(call.status == 200 for call in provider.snapshot())


BY_HAND = """
import os, signal, sys, threading
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.open_webui import OpenWebUIInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
import uvicorn

tracers, loggers = TracerProvider(), LoggerProvider()
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
instrumentor = OpenWebUIInstrumentor()
options = dict(tracer_provider=tracers, meter_provider=meters, logger_provider=loggers)
when = sys.argv[1]
if when == "before":
    instrumentor.instrument(**options)
from open_webui.main import app
if when != "before":
    instrumentor.instrument(**options)
def undo(*_):
    instrumentor.uninstrument()
    print("THREADS", [thread.name for thread in threading.enumerate()], flush=True)
signal.signal(signal.SIGUSR1, undo)
uvicorn.run(app, host=os.environ["HOST"], port=int(os.environ["PORT"]))
"""


class ByHand(OpenWebUI):
    """Open WebUI inside a program of somebody's own."""

    when = "before"

    def command(self) -> list[str]:
        script = self.run_dir / "by_hand.py"
        script.write_text(BY_HAND)
        return [str(self.bin_dir / "python"), str(script), self.when]


@contextmanager
def by_hand(
    provider: Provider, receiver: Receiver, when: str, env: Mapping[str, str] = MappingProxyType({})
) -> Iterator[OpenWebUI]:
    server = ByHand(provider, copy_from=seeded_data_dir(), env={**otlp(receiver), **env})
    server.when = when
    with server:
        yield server


@pytest.mark.parametrize("when", ["before", "after"])
def test_by_hand(provider: Provider, receiver: Receiver, when: str) -> None:
    with by_hand(provider, receiver, when) as server:
        assert_equal(receiver, use(server, provider))
        server.turn("alice", "gpt-std", "case=turn")
        truth = Truth(server.world, provider.snapshot(), EXPECTED)
        assert_equal(receiver, truth)


def everything(directory: Path) -> dict[str, str]:
    """The settings of a server in which all is on, and everybody is refused."""
    limit = {"name": "none", "everyone": True, "measure": "requests", "amount": 0, "per": "day"}
    file = directory / "limits.yaml"
    file.write_text(json.dumps({"limits": [limit]}))
    settings = {"LEDGER": "true", "LIMITS": "true", "LIMITS_FILE": str(file)}
    return {PREFIX + name: value for name, value in settings.items()}


def test_undone_by_hand_while_it_refuses(
    provider: Provider, receiver: Receiver, tmp_path: Path
) -> None:
    with by_hand(provider, receiver, "after", everything(tmp_path)) as server:
        chat = partial(server.chat, "alice", "gpt-std")
        assert chat("case=refused").status == 429
        assert provider.snapshot() == []
        assert server.request("GET", "/usage").status == 200
        assert server.process is not None
        server.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 20
        while "THREADS" not in server.log_text():
            assert time.monotonic() < deadline, server.log_text()[-3000:]
            time.sleep(0.1)
        [threads] = re.findall("THREADS (.*)", server.log_text())
        assert "usage" not in threads
        truth = use(server, provider)
        assert len(truth.calls) == 6
        assert not [call for call in truth.calls if call.asked_usage]
        assert "x-usage-limit-warning" not in chat("case=after").headers
        assert "Open WebUI" in server.request("GET", "/usage").text
    assert receiver.events == receiver.spans == []


RESTORED = """
import sys
import open_webui.main
from opentelemetry.instrumentation.open_webui import OpenWebUIInstrumentor
import threading
from concurrent.futures import ThreadPoolExecutor
import aiohttp, httpx, requests

def bindings():
    found = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("open_webui", "aiohttp"):
            found |= {(name, key): value for key, value in vars(module).items()}
    app = open_webui.main.app
    for number, route in enumerate(app.router.routes):
        found["route", number] = getattr(route, "endpoint", None)
        found["call", number] = getattr(getattr(route, "dependant", None), "call", None)
    found |= {("state", key): value for key, value in app.state._state.items()}
    for holder, names in (
        (aiohttp.ClientSession, ("_request", "_ws_connect")), (requests.Session, ("send",)),
        (httpx.Client, ("send",)), (httpx.AsyncClient, ("send",)),
        (threading.Thread, ("start",)), (ThreadPoolExecutor, ("submit",)),
    ):
        found |= {(holder, name): holder.__dict__[name] for name in names}
    found["lifespan"] = app.router.lifespan_context
    found["stack"] = app.router.middleware_stack
    return found

before = bindings()
OpenWebUIInstrumentor().instrument()
during = bindings()
changed = [key for key in before if during[key] is not before[key]]
OpenWebUIInstrumentor().uninstrument()
after = bindings()
left = [key for key in before if after[key] is not before[key]]
print("CHANGED", len(changed), "LEFT", left)
"""


def test_uninstrument_restores_every_binding(provider: Provider, tmp_path: Path) -> None:
    server = OpenWebUI(provider, copy_from=seeded_data_dir(), env=everything(tmp_path))
    try:
        done = subprocess.run(
            [sys.executable, "-c", RESTORED],
            env=server.environment(),
            cwd=server.run_dir,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        server.close()
    [(changed, left)] = re.findall(r"CHANGED (\d+) LEFT (.*)", done.stdout) or [("0", done.stderr)]
    assert int(changed) > 15
    assert left == "[]"


def test_other_programs_do_not_notice(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import sys; print([name for name in sys.modules if name.split('.')[0] in"
        " ('open_webui', 'aiohttp', 'fastapi') or name == 'opentelemetry.sdk.trace'])"
    )
    done = subprocess.run(
        [BIN / "opentelemetry-instrument", sys.executable, script],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
