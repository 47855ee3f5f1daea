"""What an export that failed means, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..telemetry.destinations import OWN
from ..telemetry.variables import Problem
from .aims import Aim
from .probe import SECONDS, Outcome
from .wire import Found

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PORTS: Final = {True: 4317, False: 4318}


def explained(outcome: Outcome) -> Problem:
    """Return what is wrong, and what to do."""
    if outcome.error:
        return Problem(f"its exporter cannot be made: {outcome.error}", "Mend that first")
    if outcome.status:
        return _refusal(outcome)
    return _silence(outcome)


def _refusal(outcome: Outcome) -> Problem:
    status = outcome.status
    for statuses, text, remedy in _REFUSALS:
        if status in statuses:
            return Problem(f"it answers {status}: {text}", remedy(outcome.aim))
    return Problem(
        f"it answers {status} to an empty export", "Look into the log of whoever answers there"
    )


def _credentials(aim: Aim) -> str:
    if aim.by_open_webui:
        own = OWN[aim.signal]
        return f"Set {own.username} and {own.password} to what it expects"
    return "Set OTEL_EXPORTER_OTLP_HEADERS to what it expects, as in authorization=Bearer%20…"


def _path(aim: Aim) -> str:
    path, exporter = f"/v1/{aim.signal}", f"OTEL_{aim.signal.upper()}_EXPORTER=none"
    if aim.by_grpc:
        instead = f"leave {OWN[aim.signal].switch} out" if aim.by_open_webui else f"set {exporter}"
        return f"Let the collector receive {aim.signal} there, or {instead}"
    if aim.by_open_webui or aim.variable != _ENDPOINT:
        return f"Let {aim.variable} end in {path}, or what it takes {aim.signal} at"
    return (
        f"Set {_ENDPOINT} to what {path} is added to (for Prometheus …/api/v1/otlp), or if it does"
        f" not take {aim.signal}, set {exporter}"
    )


def _later(_aim: Aim) -> str:
    return "It is there and takes nothing just now: look into its log"


_REFUSALS: Final[tuple[tuple[tuple[int, ...], str, Callable[[Aim], str]], ...]] = (
    ((401, 403), "it does not accept who asks", _credentials),
    ((404, 405), "it takes no such signal at this path", _path),
    ((429, 500, 502, 503, 504), "not now", _later),
)


def _silence(outcome: Outcome) -> Problem:
    aim, found = outcome.aim, outcome.found
    if outcome.distrust:
        return Problem(
            f"its certificate is not trusted ({outcome.distrust})",
            "Set OTEL_EXPORTER_OTLP_CERTIFICATE to a file with the certificate that signed it",
        )
    if found is Found.TLS:
        return _tls(outcome)
    if found in (Found.HTTP, Found.GRPC):
        return _plain(outcome, by_grpc=found is Found.GRPC)
    text = found.value if found is not None else "no answer"
    if found is Found.SILENT:
        text = f"{text} (for {SECONDS:g} s)"
    return Problem(text, _address(aim, found))


def _address(aim: Aim, found: Found | None) -> str:
    if found is Found.SILENT:
        return f"Look into the log of whoever listens there, or correct {aim.variable}"
    within = " (in a container, localhost is the container itself)" if _is_local(aim) else ""
    return f"Start the collector, or correct {aim.variable}{within}"


def _is_local(aim: Aim) -> bool:
    return aim.host in ("localhost", "127.0.0.1", "::1")


def _tls(outcome: Outcome) -> Problem:
    aim = outcome.aim
    if outcome.with_tls:
        return Problem(
            "it speaks TLS and does not answer",
            "It may want a certificate of the client: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and"
            " _CLIENT_KEY",
        )
    insecure = OWN[aim.signal].insecure if aim.by_open_webui else "OTEL_EXPORTER_OTLP_INSECURE"
    return Problem(
        "it speaks TLS, and is asked without",
        f"Let {aim.variable} begin with https://, without {insecure}",
    )


def _plain(outcome: Outcome, *, by_grpc: bool) -> Problem:
    """What speaks without TLS, and is asked with it, or for the other protocol."""
    aim = outcome.aim
    wrong = [] if aim.by_grpc == by_grpc else [_switched(aim)]
    spoken = "gRPC" if by_grpc else "HTTP"
    if outcome.with_tls:
        wrong.append(_without_tls(aim))
        text = f"it speaks {spoken} without TLS, and is asked with TLS"
    else:
        text = f"it speaks {spoken}, and is asked by {'gRPC' if aim.by_grpc else 'HTTP'}"
    return Problem(text, "; and ".join(wrong) or "Look into its log")


def _switched(aim: Aim) -> str:
    """How to ask by the other protocol, or at the other port."""
    by_http = "http" if aim.by_open_webui else "http/protobuf"
    setting = f"{aim.says_protocol}={by_http if aim.by_grpc else 'grpc'}"
    if aim.by_open_webui and aim.by_grpc:
        setting += f" and {aim.variable} with /v1/{aim.signal} at its end"
    port = _PORTS[aim.by_grpc]
    return f"Set {setting}, or name the port that speaks what it does now ({port})"


def _without_tls(aim: Aim) -> str:
    if aim.by_open_webui and aim.by_grpc:
        return f"Set {OWN[aim.signal].insecure}=true"
    return f"Let {aim.variable} begin with http://"
