from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui import OpenWebUIInstrumentor
from opentelemetry.instrumentation.open_webui import distro as module
from opentelemetry.instrumentation.open_webui.distro import (
    NAME,
    OpenWebUIConfigurator,
    OpenWebUIDistro,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OTEL_", "UVICORN_", "WEB_CONCURRENCY")):
            monkeypatch.delenv(name)
    # What the code under test sets by itself is taken back, too.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "argv", ["open-webui", "serve"])


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The distros and configurators that are installed."""
    found = [SimpleNamespace(name=NAME)]
    monkeypatch.setattr(module, "entry_points", lambda **_: found)
    return found


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    monkeypatch.setattr(module, "_configure_sdk", lambda _: done.append("ours"))
    return done


def test_it_is_the_distro_when_there_is_no_other(installed: list[SimpleNamespace]) -> None:
    assert isinstance(module.distro(), OpenWebUIDistro)


def test_it_gives_way_to_another_distro(installed: list[SimpleNamespace]) -> None:
    installed.append(SimpleNamespace(name="vendor"))
    assert module.distro() is None


@pytest.mark.parametrize(("named", "ours"), [("vendor", False), (NAME, True)])
def test_it_gives_way_to_a_named_distro(
    installed: list[SimpleNamespace], named: str, ours: bool
) -> None:
    installed.append(SimpleNamespace(name="vendor"))
    os.environ["OTEL_PYTHON_DISTRO"] = named
    assert (module.distro() is not None) is ours


def test_its_configurator_hands_over_to_the_other_one(
    installed: list[SimpleNamespace], configured: list[str]
) -> None:
    other = SimpleNamespace(configure=lambda **_: configured.append("theirs"))
    installed.append(SimpleNamespace(name="vendor", load=lambda: lambda: other))
    OpenWebUIConfigurator().configure()
    assert configured == ["theirs"]


def test_nothing_is_configured_before_open_webui_is_imported(
    installed: list[SimpleNamespace], configured: list[str]
) -> None:
    OpenWebUIConfigurator().configure()
    assert configured == []


@pytest.mark.parametrize(("own", "done"), [(False, ["ours"]), (True, [])])
def test_open_webuis_own_telemetry_is_left_alone(
    own: bool, done: list[str], configured: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    module._configure_for(SimpleNamespace(ENABLE_OTEL=own, ENABLE_OTEL_TRACES=True), {})  # type: ignore[arg-type]
    assert configured == done
    assert ("ENABLE_OTEL_METRICS" in caplog.text) is own
    assert "ENABLE_OTEL_TRACES is not" not in caplog.text


@pytest.mark.parametrize(("others", "loaded"), [("false", [NAME]), ("true", [NAME, "fastapi"])])
def test_it_is_quiet_unless_told_otherwise(others: str, loaded: list[str]) -> None:
    os.environ["OTEL_PYTHON_OPEN_WEBUI_LOAD_OTHERS"] = others
    distro, seen = OpenWebUIDistro(), []

    def entry_point(name: str) -> Any:
        instrumentor = SimpleNamespace(instrument=lambda **_: seen.append(name))
        return SimpleNamespace(name=name, load=lambda: lambda: instrumentor)

    distro.configure()
    for name in (NAME, "fastapi"):
        distro.load_instrumentor(entry_point(name))
    assert seen == loaded


@pytest.mark.parametrize(
    ("given", "metrics", "rest"),
    [
        ({}, "otlp", "otlp"),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "prometheus", "none"),
        (
            {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"},
            "prometheus",
            "otlp",
        ),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "console"}, "none", "none"),
    ],
)
def test_defaults(given: dict[str, str], metrics: str, rest: str) -> None:
    os.environ.update(given)
    module._set_defaults()
    assert os.environ["OTEL_METRICS_EXPORTER"] == metrics
    assert os.environ["OTEL_LOGS_EXPORTER"] == rest
    assert os.environ["OTEL_TRACES_EXPORTER"] == given.get("OTEL_TRACES_EXPORTER", rest)
    assert os.environ["OTEL_SERVICE_NAME"] == "open-webui"


def test_a_service_name_of_the_operator_is_kept() -> None:
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = "service.name=chat,a=b"
    module._set_defaults()
    assert "OTEL_SERVICE_NAME" not in os.environ


def test_each_process_has_an_instance_id() -> None:
    assert module.instance_id() != module.instance_id()
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = "service.instance.id=pod-7"
    assert module.instance_id() == "pod-7"
    os.environ["UVICORN_WORKERS"] = "2"
    assert module.instance_id() == f"pod-7-{os.getpid()}"


def test_what_cannot_be_meant_is_told_and_put_right(caplog: pytest.LogCaptureFixture) -> None:
    os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http"
    os.environ["OTEL_TRACES_EXPORTER"] = "otlp_http"
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://c:4318/v1/traces"
    module._set_defaults()
    module._check_exporters()
    module._check_protocols()
    assert os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/protobuf"
    assert os.environ["OTEL_TRACES_EXPORTER"] == "otlp"
    assert "OTEL_EXPORTER_OTLP_PROTOCOL='http' is not allowed" in caplog.text
    assert "OTEL_TRACES_EXPORTER='otlp_http' is not allowed" in caplog.text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT ends in a signal's path" in caplog.text


def test_prometheus_that_is_not_installed_is_dropped_with_advice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "entry_points", lambda **_: [])
    os.environ["OTEL_METRICS_EXPORTER"] = "prometheus"
    module._check_prometheus()
    assert os.environ["OTEL_METRICS_EXPORTER"] == "none"
    release = importlib.metadata.version("opentelemetry-exporter-prometheus")
    assert f"pip install opentelemetry-exporter-prometheus=={release}:" in caplog.text


@pytest.mark.parametrize(
    ("argv", "kept"),
    [
        (["uvicorn", "x:app"], True),
        (["uvicorn", "x:app", "--workers", "3"], False),
        (["uvicorn", "x:app", "--workers", "1"], True),
        (["gunicorn", "--workers=3", "x:app"], False),
        (["gunicorn", "-w", "3", "x:app"], False),
        (["gunicorn", "-w3", "x:app"], False),
        (["gunicorn", "--preload", "x:app"], False),
        (["gunicorn", "-c", "new-w3", "x:app"], True),
    ],
)
def test_prometheus_serves_one_worker_only(
    argv: list[str], kept: bool, monkeypatch: pytest.MonkeyPatch, installed: list[SimpleNamespace]
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    os.environ["OTEL_METRICS_EXPORTER"] = "prometheus,otlp"
    module._check_prometheus()
    assert os.environ["OTEL_METRICS_EXPORTER"] == ("prometheus,otlp" if kept else "otlp")


def test_gunicorn_takes_workers_from_a_variable(installed: list[SimpleNamespace]) -> None:
    os.environ["OTEL_METRICS_EXPORTER"] = "prometheus,otlp"
    os.environ["GUNICORN_CMD_ARGS"] = "--bind=:80 --workers=2"
    module._check_prometheus()
    assert os.environ["OTEL_METRICS_EXPORTER"] == "otlp"


def test_instrumenting_imports_nothing_of_open_webui() -> None:
    instrumentor = OpenWebUIInstrumentor()
    assert instrumentor.instrumentation_dependencies() == ()
    instrumentor.instrument()
    instrumentor.uninstrument()
    assert not [name for name in sys.modules if name.split(".")[0] == "open_webui"]


PROGRAM = """
import sys
from opentelemetry.instrumentation.open_webui import OpenWebUIInstrumentor

instrumentor = OpenWebUIInstrumentor()
instrumentor.instrument()
if "stop" in sys.argv:
    instrumentor.uninstrument()
if "open" in sys.argv:
    import open_webui
package = OpenWebUIInstrumentor.__module__ + "."
print(*(name.removeprefix(package) for name in sys.modules if name.startswith(package)))
print(instrumentor._patcher is not None)
"""


@pytest.mark.parametrize(
    ("words", "patched"), [((), False), (("open",), True), (("stop", "open"), False)]
)
def test_what_patches_is_loaded_with_open_webui_and_not_by_other_programs(
    words: tuple[str, ...], patched: bool, tmp_path: Path
) -> None:
    (tmp_path / "open_webui").mkdir()
    (tmp_path / "open_webui" / "__init__.py").touch()
    paths = os.pathsep.join((str(tmp_path), *sys.path))
    ran = subprocess.run(
        (sys.executable, "-c", PROGRAM, *words),
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, has_patcher = ran.stdout.splitlines()
    assert has_patcher == str(patched)
    assert patched == bool({"host.patching", "host.surfaces", "host.runtime"} & set(loaded.split()))
