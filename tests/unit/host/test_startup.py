"""The line of the log that says what is on."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from opentelemetry.instrumentation.open_webui import __version__
from opentelemetry.instrumentation.open_webui.host.patching import Target
from opentelemetry.instrumentation.open_webui.host.startup import tell_what_is_on
from opentelemetry.instrumentation.open_webui.settings import Settings
from opentelemetry.instrumentation.open_webui.telemetry import telemetry
from opentelemetry.instrumentation.open_webui.telemetry.destinations import (
    destination,
    without_secrets,
)
from unit.sdk import Sdk

OTLP = {f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("TRACES", "METRICS", "LOGS")}
SECRET = "http://user:s3cr3t@collector:4318/path?key=s3cr3t"


@pytest.mark.parametrize(
    ("environ", "signal", "told"),
    [
        (OTLP, "traces", "http://localhost:4317 (grpc)"),
        (
            {**OTLP, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "logs",
            "http://localhost:4318 (http/protobuf)",
        ),
        ({**OTLP, "OTEL_EXPORTER_OTLP_ENDPOINT": SECRET}, "logs", "http://collector:4318/path"),
        (
            {**OTLP, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://other/v1"},
            "metrics",
            "https://other:443/v1 (grpc)",
        ),
        (
            {"OTEL_METRICS_EXPORTER": "prometheus, otlp", "OTEL_EXPORTER_PROMETHEUS_PORT": "1234"},
            "metrics",
            "port 1234, for Prometheus and http://localhost:4317 (grpc)",
        ),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "metrics", "port 9464, for Prometheus"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "traces", "nowhere (OTEL_TRACES_EXPORTER=none)"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "traces", "exporter console"),
        ({**OTLP, "OTEL_SDK_DISABLED": "TRUE"}, "traces", "nowhere (OTEL_SDK_DISABLED=true)"),
        ({}, "traces", "where this program sends it"),
    ],
)
def test_says_where_a_signal_goes(environ: dict[str, str], signal: str, told: str) -> None:
    assert destination(signal, environ).startswith(told)
    assert "s3cr3t" not in destination(signal, environ)


def test_says_where_open_webui_sends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SimpleNamespace(
        ENABLE_OTEL=True,
        ENABLE_OTEL_TRACES=True,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://user:s3cr3t@collector:4317",
        OTEL_OTLP_SPAN_EXPORTER="grpc",
    )
    monkeypatch.setitem(sys.modules, "open_webui.env", environment)
    assert destination("traces", OTLP) == "http://collector:4317 (grpc, by Open WebUI)"
    assert destination("logs", OTLP) == "nowhere (ENABLE_OTEL_LOGS is not true)"


def test_an_address_that_is_none_shows_nothing() -> None:
    assert without_secrets("http://user:p4ss/word@collector") == "(no address)"


def test_it_is_one_line(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)
    sdk = Sdk()
    states = ["patched", "patched", "missing", "failed: E", "absent: not in use", "absent in this"]
    path = Target("open_webui.main", "x", lambda _: None, covers="x")
    beside = [(replace(path, is_path=False), state) for state in states]
    tell_what_is_on([*((path, state) for state in states), *beside], sdk.telemetry)
    [record] = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        f"Open WebUI instrumentation {__version__} is on. Open WebUI (no version): 2 of 4 paths"
        " covered, 2 not in use here. Telemetry: traces, metrics, logs to the provider that was"
        " given."
    )


def test_says_that_nothing_is_set_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tell_what_is_on([], telemetry.Telemetry(Settings()))
    assert "traces, metrics, logs to nowhere (no SDK is set up" in caplog.text


def test_says_what_open_webui_leaves_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "open_webui.env", SimpleNamespace(ENABLE_OTEL=True))
    tell_what_is_on([], telemetry.Telemetry(Settings()))
    assert "logs to nowhere (ENABLE_OTEL_LOGS is not true)." in caplog.text
    assert "no SDK" not in caplog.text
