"""Variables that say where telemetry goes, and cannot be meant so: which, and what was meant.

Only what is certain is found here, without asking anybody; whether a collector answers, the doctor
tries. Sources: OpenTelemetry Protocol Exporter (the ``OTEL_EXPORTER_OTLP_*`` variables), and
``open_webui/env.py`` and ``open_webui/utils/telemetry`` of Open WebUI 0.12.4 (those of
``ENABLE_OTEL``, which look alike and mean other things).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from .destinations import OWN, PROTOCOLS, SIGNALS, Own, path_of, protocol_of, without_secrets

_PATHS: Final = {signal: f"/v1/{signal}" for signal in SIGNALS}
_OWN_PROTOCOLS: Final = ("grpc", "http")


class Problem(NamedTuple):
    """What is wrong, and what to do about it, each in a sentence."""

    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.text}. {self.remedy}."


_LOST: Final = {"traces": "spans", "metrics": "usage metrics", "logs": "usage events"}


def own_problems(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what keeps telemetry from leaving by Open WebUI's own exporters.

    Args:
        settings: The names of ``open_webui.env`` and their values.
    """
    for signal, own in OWN.items():
        if not settings.get(own.switch):
            yield Problem(
                "ENABLE_OTEL=true makes Open WebUI export its own telemetry, and ours with it, but"
                f" {own.switch} is not true: {_LOST[signal]} go nowhere",
                "Set it, or leave ENABLE_OTEL out",
            )
            continue
        exporter = str(settings.get(own.exporter, ""))
        if exporter not in _OWN_PROTOCOLS:
            yield Problem(
                f"{own.exporter}={exporter!r} counts as grpc",
                "Open WebUI knows grpc and http there",
            )
        find = _own_http if exporter == "http" else _own_grpc
        yield from find(signal, own, str(settings.get(own.endpoint, "")), settings)


def _own_grpc(
    signal: str, own: Own, endpoint: str, settings: Mapping[str, Any]
) -> Iterator[Problem]:
    if endpoint.startswith("http://") and not settings.get(own.insecure):
        yield Problem(
            f"Open WebUI sends {signal} by gRPC with TLS to {without_secrets(endpoint)}, whatever"
            " the address begins with",
            f"If the collector speaks plain gRPC, set {own.insecure}=true; if it speaks HTTP, set"
            f" {own.exporter}=http and {own.endpoint}=http://…:4318{_PATHS[signal]}",
        )


def _own_http(
    signal: str, own: Own, endpoint: str, _settings: Mapping[str, Any]
) -> Iterator[Problem]:
    path = path_of(endpoint)
    if not path or path.endswith(_other_paths(signal)):
        yield Problem(
            f"Open WebUI sends {signal} by HTTP to {without_secrets(endpoint)}, as the address is"
            " written",
            f"Set {own.endpoint} to the address with {_PATHS[signal]} at its end",
        )


def _other_paths(signal: str) -> tuple[str, ...]:
    return tuple(path for other, path in _PATHS.items() if other != signal)


def meant_protocol(value: str) -> str:
    """Return what a protocol was meant to be that is none."""
    return PROTOCOLS[1] if value.lower().startswith("http") else PROTOCOLS[0]


def protocol_problems(environ: Mapping[str, str]) -> dict[str, Problem]:
    """Return what is wrong with protocols, by the name of the variable."""
    found = dict(protocol_of(signal, environ) for signal in SIGNALS)
    return {
        name: Problem(
            f"{name}={value!r} is not allowed; it must be {' or '.join(PROTOCOLS)}",
            f"Going on with {meant_protocol(value)}",
        )
        for name, value in found.items()
        if value not in PROTOCOLS
    }


def endpoint_problems(environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield addresses with which HTTP cannot arrive: the specification adds paths to only one."""
    by_http = [
        signal for signal in SIGNALS if protocol_of(signal, environ)[1].startswith(PROTOCOLS[1])
    ]
    shared = "OTEL_EXPORTER_OTLP_ENDPOINT"
    if by_http and path_of(environ.get(shared, "")).endswith(tuple(_PATHS.values())):
        yield Problem(
            f"{shared} ends in a signal's path, and the path of each signal is added to it",
            "Leave /v1/… out",
        )
    for signal in by_http:
        name = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
        path = path_of(environ.get(name, ""))
        if environ.get(name) and (not path or path.endswith(_other_paths(signal))):
            yield Problem(
                f"{name} is used as it is written",
                f"Let it end in {_PATHS[signal]}, or whatever path takes this signal",
            )


def exporter_problem(variable: str, given: str, known: Sequence[str]) -> Problem | None:
    """Return what is wrong with a list of exporters, if anything is.

    Args:
        variable: Which one it is.
        given: What it says.
        known: The exporters that are installed.
    """
    unknown = [name for name in map(str.strip, given.split(",")) if name not in (*known, "none")]
    if not unknown:
        return None
    return Problem(
        f"{variable}={given!r} is not allowed; it must be some of {', '.join(sorted(known))}, or"
        " none",
        "Going on with otlp",
    )
