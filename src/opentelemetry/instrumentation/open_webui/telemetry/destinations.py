"""Where telemetry goes, by the variables that say so: for people to read, without secrets."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

SIGNALS: Final = ("traces", "metrics", "logs")

_DEFAULT_PORTS: Final = {"grpc": 4317, "http/protobuf": 4318}
_PROMETHEUS_PORT: Final = "9464"
PROTOCOLS: Final = ("grpc", "http/protobuf")
"""What ``OTEL_EXPORTER_OTLP_PROTOCOL`` may hold, of what the Python exporters speak."""


@dataclass(frozen=True, slots=True)
class Own:
    """The variables by which Open WebUI's own ``ENABLE_OTEL`` exports one signal."""

    switch: str
    endpoint: str
    exporter: str
    insecure: str
    username: str
    password: str


def _own(signal: str, prefix: str) -> Own:
    return Own(
        switch=f"ENABLE_OTEL_{signal}",
        endpoint=f"OTEL_{prefix}EXPORTER_OTLP_ENDPOINT",
        exporter=f"OTEL_{prefix}OTLP_SPAN_EXPORTER",
        insecure=f"OTEL_{prefix}EXPORTER_OTLP_INSECURE",
        username=f"OTEL_{prefix}BASIC_AUTH_USERNAME",
        password=f"OTEL_{prefix}BASIC_AUTH_PASSWORD",
    )


OWN: Final = {
    "traces": _own("TRACES", ""),
    "metrics": _own("METRICS", "METRICS_"),
    "logs": _own("LOGS", "LOGS_"),
}
"""The span exporter's variables have no signal in their names, and the others default to them."""


def destination(signal: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return where a signal goes, in words."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "nowhere (OTEL_SDK_DISABLED=true)"
    if by_open_webui():
        return _of_open_webui(signal)
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    if variable not in environ:
        return "where this program sends it"
    exporters = [name.strip() for name in environ[variable].split(",")]
    return " and ".join(_of_exporter(name, signal, variable, environ) for name in exporters)


def by_open_webui() -> bool:
    """Whether Open WebUI exports telemetry itself, and ours with it."""
    return bool(getattr(_environment(), "ENABLE_OTEL", False))


def endpoint_of(signal: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the OTLP endpoint of a signal, as the exporter specification says.

    Source: OpenTelemetry Protocol Exporter; Python's default protocol is gRPC.
    """
    default = f"http://localhost:{_DEFAULT_PORTS.get(protocol_of(signal, environ)[1], 4317)}"
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    endpoint = own or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or default
    return endpoint if "://" in endpoint else f"//{endpoint}"


def without_secrets(endpoint: str) -> str:
    """Return an address without the user, the password and the query that it may hold."""
    try:
        parts = urlsplit(endpoint)
        return f"{parts.scheme or 'grpc'}://{parts.hostname}:{port_of(endpoint)}{parts.path}"
    except ValueError:
        # What it says may quote a password.
        return "(no address)"


def port_of(endpoint: str) -> int:
    """Return the port of an address."""
    parts = urlsplit(endpoint)
    return parts.port or {"https": 443, "http": 80}.get(parts.scheme, 4317)


def path_of(endpoint: str) -> str:
    """Return the path of an address, without a slash at its end."""
    try:
        return urlsplit(endpoint).path.rstrip("/")
    except ValueError:
        return ""


def protocol_of(signal: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that names the protocol of a signal, and what it says."""
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    for name in names:
        if environ.get(name):
            return name, environ[name].strip()
    return names[-1], PROTOCOLS[0]


def _of_exporter(name: str, signal: str, variable: str, environ: Mapping[str, str]) -> str:
    if name == "otlp":
        address = without_secrets(endpoint_of(signal, environ))
        return f"{address} ({protocol_of(signal, environ)[1]})"
    if name == "prometheus":
        port = environ.get("OTEL_EXPORTER_PROMETHEUS_PORT") or _PROMETHEUS_PORT
        return f"port {port}, for Prometheus"
    return f"nowhere ({variable}=none)" if name == "none" else f"exporter {name}"


def _of_open_webui(signal: str) -> str:
    own, environment = OWN[signal], _environment()
    if not getattr(environment, own.switch, False):
        return f"nowhere ({own.switch} is not true)"
    endpoint, protocol = (
        str(getattr(environment, name, "")) for name in (own.endpoint, own.exporter)
    )
    address = endpoint if "://" in endpoint else f"//{endpoint}"
    return f"{without_secrets(address)} ({protocol}, by Open WebUI)"


def _environment() -> Any:
    return sys.modules.get("open_webui.env")
