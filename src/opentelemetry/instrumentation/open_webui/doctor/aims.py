"""Where the variables of a server send each signal, and by which exporter."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from ..telemetry.destinations import OWN, PROTOCOLS, SIGNALS, endpoint_of, port_of, protocol_of
from ..telemetry.variables import meant_protocol, protocol_problems

_GRPC, _HTTP = PROTOCOLS
_TRUE: Final = "true"


@dataclass(frozen=True)
class Aim:
    """One signal and where it goes."""

    signal: str
    exporter: str
    """``otlp``, or another one that is only told."""
    protocol: str = ""
    endpoint: str = ""
    variable: str = ""
    """The variable that names the address, or would."""
    says_protocol: str = ""
    """The variable that names the protocol, or would."""
    by_open_webui: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """What Open WebUI gives to its exporters, where the variables alone do not say it."""

    @property
    def host(self) -> str:
        """The host; empty if the address has none."""
        try:
            return urlsplit(self.endpoint).hostname or ""
        except ValueError:
            return ""

    @property
    def port(self) -> int:
        """The port."""
        return port_of(self.endpoint)

    @property
    def by_grpc(self) -> bool:
        """Whether it goes by gRPC; by HTTP otherwise."""
        return self.protocol == _GRPC


def aims(environ: Mapping[str, str]) -> list[Aim]:
    """Return where each signal goes, for a server with these variables."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == _TRUE:
        return [Aim(signal, "none") for signal in SIGNALS]
    if own_settings(environ)["ENABLE_OTEL"]:
        return list(_by_open_webui(own_settings(environ)))
    known = _put_right(environ)
    return [aim for signal in SIGNALS for aim in _by_variables(signal, known)]


def _by_variables(signal: str, environ: Mapping[str, str]) -> Iterator[Aim]:
    own, shared = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    says, protocol = protocol_of(signal, environ)
    endpoint = endpoint_of(signal, environ)
    for exporter in exporters_of(signal, environ):
        if exporter == "otlp":
            named = own if environ.get(own) else shared
            yield Aim(signal, exporter, protocol, endpoint, named, says)
        else:
            yield Aim(signal, exporter)


def _put_right(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The variables as a server goes on with them."""
    wrong = protocol_problems(environ)
    return {**environ, **{name: meant_protocol(environ[name]) for name in wrong}}


def exporters_of(signal: str, environ: Mapping[str, str]) -> list[str]:
    """Return the exporters of a signal, with the defaults of our set-up."""
    given = environ.get(f"OTEL_{signal.upper()}_EXPORTER")
    if given is None:
        elsewhere = environ.get("OTEL_METRICS_EXPORTER", "otlp") != "otlp"
        given = "none" if elsewhere and not has_endpoint(environ) else "otlp"
    return [name.strip() for name in given.split(",") if name.strip()] or ["none"]


def has_endpoint(environ: Mapping[str, str]) -> bool:
    """Whether any OTLP endpoint is named."""
    return any(
        name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("ENDPOINT") for name in environ
    )


def own_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``open_webui.env`` makes of the variables (as of Open WebUI 0.12.4)."""
    settings: dict[str, Any] = {"ENABLE_OTEL": _is_on(environ, "ENABLE_OTEL")}
    first = OWN[SIGNALS[0]]
    for own in OWN.values():
        settings[own.switch] = _is_on(environ, own.switch)
        settings[own.insecure] = _is_on(environ, own.insecure, first.insecure)
        settings[own.exporter] = _first(environ, "grpc", own.exporter, first.exporter).lower()
        for name, shared, default in (
            (own.endpoint, first.endpoint, "http://localhost:4317"),
            (own.username, first.username, ""),
            (own.password, first.password, ""),
        ):
            settings[name] = _first(environ, default, name, shared)
    return settings


def _by_open_webui(settings: Mapping[str, Any]) -> Iterator[Aim]:
    for signal, own in OWN.items():
        if not settings[own.switch]:
            yield Aim(signal, "none", by_open_webui=True)
            continue
        by_http = settings[own.exporter] == "http"
        endpoint = settings[own.endpoint]
        options: dict[str, Any] = {"endpoint": endpoint}
        who, password = settings[own.username], settings[own.password]
        if who and password:
            said = f"Basic {b64encode(f'{who}:{password}'.encode()).decode()}"
            options["headers"] = {"authorization": said}
        if not by_http:
            options["insecure"] = settings[own.insecure]
        address = endpoint if "://" in endpoint else f"//{endpoint}"
        protocol = _HTTP if by_http else _GRPC
        names = (own.endpoint, own.exporter)
        yield Aim(signal, "otlp", protocol, address, *names, by_open_webui=True, options=options)


def _is_on(environ: Mapping[str, str], *names: str) -> bool:
    return _first(environ, "", *names).lower() == _TRUE


def _first(environ: Mapping[str, str], default: str, *names: str) -> str:
    return next((environ[name] for name in names if name in environ), default)
