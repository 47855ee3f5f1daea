"""Variables that say where telemetry goes, and cannot be meant so."""

from __future__ import annotations

from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.telemetry.variables import (
    endpoint_problems,
    exporter_problem,
    meant_protocol,
    own_problems,
    protocol_problems,
)

HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


def own(endpoint: str = "http://c:4317", exporter: str = "grpc", **more: Any) -> dict[str, Any]:
    """What `open_webui.env` makes of the variables: those of metrics and logs follow the first."""
    values: dict[str, Any] = {"ENABLE_OTEL": True}
    for signal, prefix in (("TRACES", ""), ("METRICS", "METRICS_"), ("LOGS", "LOGS_")):
        values |= {
            f"ENABLE_OTEL_{signal}": True,
            f"OTEL_{prefix}EXPORTER_OTLP_ENDPOINT": endpoint,
            f"OTEL_{prefix}OTLP_SPAN_EXPORTER": exporter,
            f"OTEL_{prefix}EXPORTER_OTLP_INSECURE": False,
        }
    return {**values, **more}


INSECURE = {f"OTEL_{part}EXPORTER_OTLP_INSECURE": True for part in ("", "METRICS_", "LOGS_")}
PATHS = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/v1/traces",
    "OTEL_METRICS_EXPORTER_OTLP_ENDPOINT": "http://c:4318/v1/metrics",
    "OTEL_LOGS_EXPORTER_OTLP_ENDPOINT": "http://c:4318/v1/logs",
}


@pytest.mark.parametrize(
    "settings",
    [
        own(**INSECURE),
        own("https://c:4317"),
        own("c:4317"),
        own(exporter="http", **PATHS),
        own("http://c/otlp/any", exporter="http"),
    ],
)
def test_what_may_be_meant_is_left_alone(settings: dict[str, Any]) -> None:
    assert list(own_problems(settings)) == []


def test_tls_to_a_plain_address_is_told_for_each_signal() -> None:
    found = [str(problem) for problem in own_problems(own("http://me:secret@c:4317"))]
    assert len(found) == 3
    for text, part in zip(found, ("", "METRICS_", "LOGS_"), strict=True):
        assert f"set OTEL_{part}EXPORTER_OTLP_INSECURE=true" in text
        assert f"set OTEL_{part}OTLP_SPAN_EXPORTER=http" in text
        assert "http://c:4317" in text
        assert "secret" not in text


def test_a_switch_that_is_off_is_told() -> None:
    [problem] = own_problems(own(**INSECURE, ENABLE_OTEL_LOGS=False))
    assert "ENABLE_OTEL_LOGS is not true: usage events go nowhere" in problem.text


def test_http_without_a_path_or_with_that_of_another_signal_is_told() -> None:
    found = [problem.remedy for problem in own_problems(own("http://c:4318", exporter="http"))]
    assert [text.split()[1] for text in found] == list(PATHS)
    found = [
        problem.remedy for problem in own_problems(own("http://c/v1/traces/", exporter="http"))
    ]
    assert [text.split()[1] for text in found] == list(PATHS)[1:]


def test_an_exporter_that_open_webui_does_not_know_is_told() -> None:
    settings = own(**INSECURE, OTEL_OTLP_SPAN_EXPORTER="http/protobuf")
    [problem] = own_problems(settings)
    assert str(problem).startswith("OTEL_OTLP_SPAN_EXPORTER='http/protobuf' counts as grpc")


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("http", "http/protobuf"),
        ("http/json", "http/protobuf"),
        ("HTTP", "http/protobuf"),
        ("tcp", "grpc"),
    ],
)
def test_a_protocol_that_is_none_is_told_and_guessed(value: str, meant: str) -> None:
    name = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"
    [(key, problem)] = protocol_problems({name: value}).items()
    assert key == name
    assert problem.text == f"{name}={value!r} is not allowed; it must be grpc or http/protobuf"
    assert problem.remedy == f"Going on with {meant}"
    assert meant_protocol(value) == meant


def test_a_protocol_is_read_as_the_sdk_reads_it() -> None:
    assert protocol_problems({}) == {}
    assert protocol_problems({"OTEL_EXPORTER_OTLP_PROTOCOL": " grpc "}) == {}
    # Which nobody reads.
    given = {
        f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL": "grpc" for signal in ("TRACES", "METRICS", "LOGS")
    }
    assert protocol_problems({**given, "OTEL_EXPORTER_OTLP_PROTOCOL": "http"}) == {}


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({**HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ""),
        ({**HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/otlp/"}, ""),
        (
            {**HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/v1/traces"},
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/v1/traces"}, ""),
        ({**HTTP, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c/v1/metrics"}, ""),
        (
            {**HTTP, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"},
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        ),
        (
            {**HTTP, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://c/v1/traces"},
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        ),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, ""),
        ({**HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://[c"}, ""),
    ],
)
def test_an_address_at_which_nothing_can_arrive_is_told(
    environ: dict[str, str], named: str
) -> None:
    found = [problem.text.split()[0] for problem in endpoint_problems(environ)]
    assert found == ([named] if named else [])


def test_an_exporter_that_is_not_installed_is_told() -> None:
    known = ("otlp", "console")
    assert exporter_problem("V", "otlp, console", known) is None
    assert exporter_problem("V", "none", known) is None
    problem = exporter_problem("V", "otlp_http", known)
    assert problem is not None
    assert problem.text == "V='otlp_http' is not allowed; it must be some of console, otlp, or none"
