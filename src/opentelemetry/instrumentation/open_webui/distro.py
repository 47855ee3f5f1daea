"""Zero-code set-up: what ``opentelemetry-instrument`` calls when this package is installed.

Open WebUI's environment pins OpenTelemetry, and ``opentelemetry-distro`` would move the pins;
without any distro nothing is exported. So this one configures the SDK by the standard ``OTEL_*``
variables. It steps aside for any other distro or configurator, and for Open WebUI's own
``ENABLE_OTEL=true``.

It is quiet: of all installed instrumentations it loads ours only, because Open WebUI's environment
holds nine others that would trace every database query and HTTP request beside the model calls.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import EntryPoint, version
from types import ModuleType
from typing import Any, Final

import wrapt
from opentelemetry.environment_variables import (
    OTEL_LOGS_EXPORTER,
    OTEL_METRICS_EXPORTER,
    OTEL_TRACES_EXPORTER,
)
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]
from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_CONFIGURATOR,
    OTEL_PYTHON_DISTRO,
)

# `opentelemetry-instrument` looks them up by this, and has read those of all packages already.
from opentelemetry.util._importlib_metadata import entry_points

from .guard import guarded
from .settings import Settings
from .telemetry import variables
from .telemetry.forking import INSTANCE_ID

_logger = logging.getLogger(__name__)

NAME: Final = "open_webui"
"""The name of our entry points: instrumentor, distro and configurator."""

_DISTROS: Final = "opentelemetry_distro"
_CONFIGURATORS: Final = "opentelemetry_configurator"
# Imported before anything of Open WebUI that uses OpenTelemetry, and by nothing else.
_ENVIRONMENT_MODULE: Final = "open_webui.env"
_EXPORTERS: Final = {
    OTEL_TRACES_EXPORTER: "opentelemetry_traces_exporter",
    OTEL_METRICS_EXPORTER: "opentelemetry_metrics_exporter",
    OTEL_LOGS_EXPORTER: "opentelemetry_logs_exporter",
}
_SERVICE_NAME: Final = "open-webui"
_PROMETHEUS: Final = "prometheus"
_WORKERS: Final = re.compile(r"(?<!\S)(?:--workers[ =]|-w[ =]?)(\d+)")


class OpenWebUIDistro(BaseDistro):  # type: ignore[misc]
    """Loads our instrumentation; the others too if the setting ``load_others`` says so."""

    def _configure(self, **kwargs: Any) -> None:
        # The instrumentor reads them next, and complains of what is wrong.
        self._settings = Settings.load({}, quiet=True)

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load an instrumentation, or leave it."""
        if entry_point.name == NAME or self._settings.load_others:
            super().load_instrumentor(entry_point, **kwargs)


class OpenWebUIConfigurator:
    """Configures the SDK when Open WebUI is imported: other programs are left alone."""

    def configure(self, **kwargs: Any) -> None:
        """Configure, or hand over to who should instead."""
        if _another_distro():
            _delegate(kwargs)
            return
        wrapt.register_post_import_hook(
            lambda module: _configure_for(module, kwargs), _ENVIRONMENT_MODULE
        )


def distro() -> BaseDistro | None:
    """Return our distro, or nothing, so that the loader takes the next one."""
    return None if _another_distro() else OpenWebUIDistro()


def _another_distro() -> bool:
    named = os.environ.get(OTEL_PYTHON_DISTRO)
    if named is not None:
        return named != NAME
    return any(entry_point.name != NAME for entry_point in entry_points(group=_DISTROS))


def _delegate(kwargs: dict[str, Any]) -> None:
    # The loader takes the first configurator there is, and that may be ours.
    if os.environ.get(OTEL_PYTHON_CONFIGURATOR) == NAME:
        _configure_sdk(kwargs)
        return
    for entry_point in entry_points(group=_CONFIGURATORS):
        if entry_point.name != NAME:
            entry_point.load()().configure(**kwargs)
            return


def _configure_for(environment: ModuleType, kwargs: dict[str, Any]) -> None:
    if getattr(environment, "ENABLE_OTEL", False):
        _check_own_telemetry(environment)
    else:
        _configure_sdk(kwargs)


def _check_own_telemetry(environment: ModuleType) -> None:
    for problem in variables.own_problems(vars(environment)):
        _logger.warning("Open WebUI instrumentation: %s", problem)


@guarded
def _configure_sdk(kwargs: dict[str, Any]) -> None:
    from opentelemetry.sdk._configuration import _OTelSDKConfigurator

    _set_defaults()
    _check_exporters()
    _check_protocols()
    _check_prometheus()
    kwargs = {**kwargs, "resource_attributes": {INSTANCE_ID: instance_id()}}
    configurator: Any = _OTelSDKConfigurator  # not typed
    try:
        configurator().configure(**kwargs)
    except Exception as error:
        if _PROMETHEUS not in _metric_exporters():
            raise
        _drop_prometheus(f"it failed: {error}")
        configurator().configure(**kwargs)


def instance_id() -> str:
    """Return the ``service.instance.id`` of this process.

    A value from ``OTEL_RESOURCE_ATTRIBUTES`` is kept, made unique where several workers share it.
    """
    given = dict(_given_resource_attributes()).get(INSTANCE_ID)
    if given is None:
        return str(uuid.uuid4())
    return f"{given}-{os.getpid()}" if _several_workers() else given


def _given_resource_attributes() -> Iterator[tuple[str, str]]:
    for item in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, sign, value = item.partition("=")
        if sign:
            yield name.strip(), value.strip()


def _set_defaults() -> None:
    if "service.name" not in dict(_given_resource_attributes()):
        os.environ.setdefault("OTEL_SERVICE_NAME", _SERVICE_NAME)
    # Who reads metrics elsewhere and names no OTLP endpoint has none to send the rest to.
    elsewhere = os.environ.get(OTEL_METRICS_EXPORTER, "otlp") != "otlp"
    default = "none" if elsewhere and not _has_endpoint() else "otlp"
    for exporter in _EXPORTERS:
        os.environ.setdefault(exporter, default)


def _check_exporters() -> None:
    for variable, group in _EXPORTERS.items():
        known = [entry_point.name for entry_point in entry_points(group=group)]
        # Without the extra it is not there, which is told below.
        problem = variables.exporter_problem(variable, os.environ[variable], (*known, _PROMETHEUS))
        if problem is not None:
            _logger.error("Open WebUI instrumentation: %s", problem)
            os.environ[variable] = "otlp"


def _check_protocols() -> None:
    for name, problem in variables.protocol_problems(os.environ).items():
        _logger.error("Open WebUI instrumentation: %s", problem)
        os.environ[name] = variables.meant_protocol(os.environ[name])
    for problem in variables.endpoint_problems(os.environ):
        _logger.warning("Open WebUI instrumentation: %s", problem)


def _has_endpoint() -> bool:
    return any(
        name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("ENDPOINT") for name in os.environ
    )


def _metric_exporters() -> list[str]:
    return [name.strip() for name in os.environ.get(OTEL_METRICS_EXPORTER, "").split(",")]


def _check_prometheus() -> None:
    if _PROMETHEUS not in _metric_exporters():
        return
    if not entry_points(group=_EXPORTERS[OTEL_METRICS_EXPORTER], name=_PROMETHEUS):
        _drop_prometheus(
            "it is not installed (pip install"
            f" opentelemetry-exporter-prometheus=={_release()}: the extra [prometheus] of this"
            " package)"
        )
    elif _several_workers():
        _drop_prometheus("one port cannot serve several workers")
    elif "--preload" in _command():
        _drop_prometheus("it would serve the process that forks the workers")


def _release() -> str:
    """The release of what comes out with the SDK, and demands just that one."""
    return version("opentelemetry-semantic-conventions")


def _drop_prometheus(why: str) -> None:
    _logger.error(
        "The Prometheus exporter is not used, because %s. Open WebUI runs on without it. Export by"
        " OTLP instead: OTEL_METRICS_EXPORTER=otlp and OTEL_EXPORTER_OTLP_ENDPOINT, to a collector"
        " or to Prometheus itself.",
        why,
    )
    rest = [name for name in _metric_exporters() if name != _PROMETHEUS]
    os.environ[OTEL_METRICS_EXPORTER] = ",".join(rest) or "none"


def _several_workers() -> bool:
    counts = [os.environ.get("UVICORN_WORKERS"), os.environ.get("WEB_CONCURRENCY")]
    counts += _WORKERS.findall(" ".join(_command()))
    return any(count is not None and count.isdigit() and int(count) > 1 for count in counts)


def _command() -> list[str]:
    """The arguments of the server; gunicorn takes some from a variable, too."""
    return [*sys.argv, *os.environ.get("GUNICORN_CMD_ARGS", "").split()]
