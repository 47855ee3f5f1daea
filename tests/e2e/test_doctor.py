"""The doctor, run as people run it, beside servers as people start them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.servers import PREFIX, instrumented
from e2e.truth import Expectation, Truth, assert_equal
from harness import collectors
from harness.openwebui import HOST, SETTINGS, OpenWebUI, free_port
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import seeded_server
from opentelemetry.instrumentation.open_webui.doctor import aims, judging
from opentelemetry.instrumentation.open_webui.doctor.report import BAD, OK, Section

MODULE = [sys.executable, "-m", "opentelemetry.instrumentation.open_webui"]
SCRIPT = [str(Path(sys.executable).with_name("opentelemetry-open-webui"))]
NOTES = Path(tempfile.gettempdir()) / f"opentelemetry-open-webui-{os.getuid()}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def doctor(
    home: Path, *options: str, env: dict[str, str] | None = None, command: list[str] = MODULE
) -> subprocess.CompletedProcess[str]:
    """Run it in a shell that knows nothing of the server."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), **(env or {})}
    return subprocess.run(
        [*command, "doctor", "--seconds", "120", *options],
        cwd=home,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def about(server: OpenWebUI, home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return doctor(home, "--url", server.base_url, *options)


def note_of(server: OpenWebUI) -> dict[str, Any]:
    [pid] = [pid for pid in server.pids() if (NOTES / f"{pid}.json").exists()]
    return json.loads((NOTES / f"{pid}.json").read_text())


def wait_for_note(server: OpenWebUI, calls: int) -> None:
    deadline = time.monotonic() + 20
    while note_of(server)["calls"] != calls and time.monotonic() < deadline:
        time.sleep(0.1)


def test_all_is_well_beside_a_server_and_nothing_is_counted(
    provider: Provider, receiver: Receiver, tmp_path: Path
) -> None:
    provider.clear()
    limit = {"name": "T", "everyone": True, "measure": "tokens", "amount": 10**9, "per": "day"}
    limits = tmp_path.with_suffix(".yaml")
    limits.write_text(json.dumps({"limits": [limit]}))
    settings = {"LEDGER": "true", "LIMITS": "true", "LIMITS_FILE": str(limits)}
    env = {PREFIX + name: value for name, value in settings.items()}
    with instrumented(provider, receiver, env) as server:
        for _ in range(3):
            server.chat("alice", "gpt-std", "case=one")
        wait_for_note(server, calls=3)
        done = about(server, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("All is well.\n")
        assert f"port {server.port}" in done.stdout
        assert "instrumented (0." in done.stdout
        assert "3 calls to models so far" in done.stdout
        assert f"traces, metrics, logs: {receiver.endpoint} (http/protobuf) takes it" in done.stdout
        assert "[!!]" not in done.stdout
        file = server.data_dir / "usage.db"
        assert "The ledger\n  [ok] 3 calls\n" in done.stdout
        assert f"ledger {file}: 3 calls written, " in done.stdout
        assert f"1 limits, 0 grants in {limits}: 1 refuse a made-up caller" in done.stdout
        assert f"limits in {limits}: 1 in force, 0 calls refused, 0 unchecked" in done.stdout
        assert "ask_usage" not in done.stdout
        assert "ask_usage = True" in about(server, tmp_path, "--all").stdout
        truth = Truth(server.world, provider.snapshot(), {"one": Expectation()})
        assert len(truth.calls) == 3
        assert_equal(receiver, truth)
        assert len(receiver.events) == len(receiver.spans) == 3
        instances = {point.resource["service.instance.id"] for point in receiver.points}
        assert len(instances) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_note_is_the_users_alone_tells_nobody_and_goes_with_its_server(
    provider: Provider, receiver: Receiver, tmp_path: Path
) -> None:
    with instrumented(provider, receiver) as server:
        server.chat("alice", "gpt-std", "case=one")
        wait_for_note(server, 1)
        [note] = [
            NOTES / f"{pid}.json" for pid in server.pids() if (NOTES / f"{pid}.json").exists()
        ]
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        assert stat.S_IMODE(NOTES.stat().st_mode) == 0o700
        text = note.read_text()
        for private in ("alice", "Alice", "gpt-std", SETTINGS["OPENAI_API_KEY"]):
            assert private not in text
        server.stop(signal.SIGTERM)
        assert not note.exists()
        server.start()
        killed = int(note_of(server)["pid"])
        server.kill()
    done = doctor(tmp_path, "--pid", str(killed))
    assert f"process {killed} is no Open WebUI server" in done.stdout
    assert done.returncode == 1


def test_each_worker_is_told(provider: Provider, receiver: Receiver, tmp_path: Path) -> None:
    with instrumented(provider, receiver, workers=2) as server:
        done = about(server, tmp_path)
        assert done.returncode == 0, done.stdout
        assert done.stdout.count(": instrumented (0.") == 2


def test_a_server_without_us_is_told(provider: Provider, tmp_path: Path) -> None:
    with seeded_server(provider, launcher="plain") as server:
        done = about(server, tmp_path)
        assert done.returncode == 1
        assert "has left no note: it is not instrumented" in done.stdout
        assert "-> Start it with opentelemetry-instrument before that command" in done.stdout
        assert f"serve --host {HOST} --port {server.port}" in done.stdout
        assert (
            "patched: open_webui.routers.openai.generate_chat_completion"
            in about(server, tmp_path, "--all").stdout
        )


def test_what_a_server_suffers_is_told_with_the_remedy_and_no_secret(
    provider: Provider, receiver: Receiver, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("prices:\n  - model: m\n    per_image: -1")
    secrets = {
        "OPENAI_API_KEY": "sk-provider-secret",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer header-secret",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://me:url-secret@{HOST}:{free_port()}/v1/metrics?k=key-secret",
        "OTEL_PYTHON_OPEN_WEBUI_USER_IDENTITY": "hash",
        "OTEL_PYTHON_OPEN_WEBUI_USER_HASH_SALT": "salt-secret",
        "OTEL_PYTHON_OPEN_WEBUI_SERIES_LIMIT": "many",
        "OTEL_PYTHON_OPEN_WEBUI_PRICE_FILE": str(prices),
        "OTEL_PYTHON_OPENWEBUI_ASK_USAGE": "no",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    with instrumented(provider, receiver, secrets) as server:
        deadline = time.monotonic() + 30
        while not note_of(server)["exports"]["metrics"]["failing"] and time.monotonic() < deadline:
            time.sleep(0.2)
        done = about(server, tmp_path, "--all")
    assert done.returncode == 1
    top = done.stdout.partition("\n\n")[0]
    assert "OTEL_PYTHON_OPEN_WEBUI_SERIES_LIMIT='many'" in top
    assert "a whole number from 100" in top
    assert "did you mean OTEL_PYTHON_OPEN_WEBUI_ASK_USAGE?" in top
    assert "prices.yaml, line 3: per_image is '-1'" in top
    assert "metrics: the last export failed" in top
    assert f"[!!] metrics: http://{HOST}:" in top
    assert "nothing listens there" in top
    assert "traces" not in top
    assert "user_hash_salt = (set)" in done.stdout
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", [MODULE, SCRIPT])
def test_where_none_runs_it_looks_at_what_would(command: list[str], tmp_path: Path) -> None:
    hidden = tmp_path / "open_webui"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('broken installation')")
    url = f"http://{HOST}:{free_port()}"
    env = {"PYTHONPATH": str(tmp_path), "OTEL_TRACES_EXPORTER": "none"}
    done = doctor(tmp_path, "--url", url, env=env, command=command)
    assert done.returncode == 1
    assert f"no Open WebUI answers at {url}" in done.stdout
    assert "cannot be imported: ImportError: broken installation" in done.stdout
    assert "[--] traces: goes nowhere, as the variables say" in done.stdout


# What is wrong with a collector


def judged(environ: dict[str, str]) -> Section:
    section = Section("")
    judging.judge_variables(section, environ)
    return section


def sent_to(endpoint: str, protocol: str, **more: str) -> dict[str, str]:
    """Variables of a server that sends one signal there."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        **more,
    }


def with_tls(endpoint: str) -> str:
    return endpoint.replace("http://", "https://")


def without_tls(endpoint: str) -> str:
    return endpoint.replace("https://", "http://")


def as_it_is(endpoint: str) -> str:
    return endpoint


GRPC, HTTP = collectors.PROTOCOLS
TROUBLES = {
    "absent": (collectors.absent, GRPC, GRPC, as_it_is, "nothing listens there", "Start the collector"),
    "silent grpc": (collectors.silent, GRPC, GRPC, as_it_is, "says nothing", "Look into the log"),
    "silent http": (collectors.silent, HTTP, HTTP, as_it_is, "says nothing", "Look into the log"),
    "grpc to http": (collectors.taking, HTTP, GRPC, as_it_is, "speaks HTTP, and is asked by gRPC", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
    "http to grpc": (collectors.taking, GRPC, HTTP, as_it_is, "speaks gRPC, and is asked by HTTP", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
    "tls to plain grpc": (collectors.taking, GRPC, GRPC, with_tls, "speaks gRPC without TLS, and is asked with TLS", "begin with http://"),
    "tls to plain http": (collectors.taking, HTTP, HTTP, with_tls, "speaks HTTP without TLS, and is asked with TLS", "begin with http://"),
    "plain to tls grpc": (collectors.untrusted, GRPC, GRPC, without_tls, "speaks TLS, and is asked without", "begin with https://"),
    "plain to tls http": (collectors.untrusted, HTTP, HTTP, without_tls, "speaks TLS, and is asked without", "begin with https://"),
    "untrusted grpc": (collectors.untrusted, GRPC, GRPC, as_it_is, "certificate is not trusted (self-signed", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    "untrusted http": (collectors.untrusted, HTTP, HTTP, as_it_is, "certificate is not trusted (self-signed", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    "refusing http": (collectors.refusing, HTTP, HTTP, as_it_is, "answers 503: not now", "look into its log"),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_is_wrong_with_a_collector_is_told(trouble: str) -> None:
    collector, speaks, asked, change, text, remedy = TROUBLES[trouble]
    with collector(speaks) as endpoint:
        section = judged(sent_to(change(endpoint), asked))
    [line] = [line for line in section.lines if line.mark == BAD]
    assert text in line.text
    assert remedy in line.remedy


@pytest.mark.parametrize(
    ("status", "code", "text", "remedy"),
    [
        (401, "UNAUTHENTICATED", "answers 401: it does not accept who asks", "OTEL_EXPORTER_OTLP_HEADERS"),
        (403, "PERMISSION_DENIED", "answers 403: it does not accept who asks", "OTEL_EXPORTER_OTLP_HEADERS"),
        (404, "UNIMPLEMENTED", "answers 404: it takes no such signal", "OTEL_METRICS_EXPORTER=none"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("protocol", collectors.PROTOCOLS)
def test_a_refusal_is_told(protocol: str, status: int, code: str, text: str, remedy: str) -> None:
    with collectors.answering(protocol, status, code) as endpoint:
        section = judged(sent_to(endpoint, protocol))
    [line] = [line for line in section.lines if line.mark == BAD]
    assert text in line.text
    assert remedy in line.remedy


@pytest.mark.parametrize("protocol", collectors.PROTOCOLS)
def test_a_collector_that_takes_it_is_well(protocol: str) -> None:
    with collectors.taking(protocol) as endpoint:
        section = judged(sent_to(endpoint, protocol))
    assert [line.text for line in section.lines if line.mark == OK] == [
        f"metrics: {endpoint} ({protocol}) takes it"
    ]


OWN = {f"ENABLE_OTEL{part}": "true" for part in ("", "_METRICS")}


def test_open_webuis_own_export_is_tried_as_it_is_made() -> None:
    with collectors.taking(GRPC) as endpoint:
        own = {**OWN, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        lines = judged(own).lines
        [line] = [line for line in lines if line.text.startswith("metrics:") and line.mark == BAD]
        assert "speaks gRPC without TLS, and is asked with TLS" in line.text
        assert line.remedy == "Set OTEL_METRICS_EXPORTER_OTLP_INSECURE=true"
        lines = judged({**own, "OTEL_EXPORTER_OTLP_INSECURE": "true"}).lines
        assert f"metrics: {endpoint} (grpc, by Open WebUI) takes it" in [
            line.text for line in lines
        ]
    with collectors.taking(HTTP) as endpoint:
        lines = judged({**own, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}).lines
        [line] = [line for line in lines if line.text.startswith("metrics:") and line.mark == BAD]
        assert "OTEL_METRICS_OTLP_SPAN_EXPORTER=http" in line.remedy


READ = """
import json, open_webui.env as env
print("READ", json.dumps({key: getattr(env, key) for key in vars(env) if "OTEL" in key}))
"""


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"ENABLE_OTEL": "True", "ENABLE_OTEL_LOGS": "true", "OTEL_OTLP_SPAN_EXPORTER": "HTTP"},
        {"OTEL_EXPORTER_OTLP_INSECURE": "TRUE", "OTEL_LOGS_EXPORTER_OTLP_INSECURE": "no"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "a", "OTEL_METRICS_EXPORTER_OTLP_ENDPOINT": "b"},
        {"OTEL_BASIC_AUTH_USERNAME": "u", "OTEL_METRICS_BASIC_AUTH_PASSWORD": "p"},
    ],
)
def test_its_variables_are_read_as_open_webui_reads_them(
    given: dict[str, str], tmp_path: Path
) -> None:
    environ = {"PATH": os.environ["PATH"], **SETTINGS, "DATA_DIR": str(tmp_path), **given}
    done = subprocess.run(
        [sys.executable, "-c", READ], env=environ, capture_output=True, text=True, check=True
    )
    real = json.loads(done.stdout.partition("READ ")[2])
    assert aims.own_settings(environ) == {name: real[name] for name in aims.own_settings({})}


def test_a_shell_that_says_nothing_is_told_where_telemetry_goes() -> None:
    assert [aim.endpoint for aim in aims.aims({})] == ["http://localhost:4317"] * 3
    assert [aim.exporter for aim in aims.aims({"OTEL_METRICS_EXPORTER": "prometheus"})] == [
        "none", "prometheus", "none",
    ]  # fmt: skip
    assert {aim.exporter for aim in aims.aims({**otlp_of("x"), "OTEL_SDK_DISABLED": "true"})} == {
        "none"
    }


def test_a_protocol_that_is_none_is_taken_as_the_server_takes_it() -> None:
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http"}
    assert {(aim.endpoint, aim.protocol) for aim in aims.aims(environ)} == {
        ("http://localhost:4318", HTTP)
    }


def test_the_variable_that_is_set_is_named() -> None:
    absent = f"http://{HOST}:{free_port()}"
    section = judged(sent_to("x", GRPC, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=absent))
    [line] = [line for line in section.lines if line.mark == BAD]
    assert "correct OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" in line.remedy


def otlp_of(endpoint: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
