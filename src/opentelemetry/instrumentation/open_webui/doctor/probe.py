"""Tries where telemetry goes: an empty export of each signal, which counts nowhere.

It is sent by the exporters that the server uses, made from the same variables, once and for a few
seconds; where that fails, the address is asked what it speaks.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import requests

from ..telemetry.channels import sessions
from . import wire
from .aims import Aim
from .wire import Found

SECONDS: Final = 2.5
"""How long an answer to an export is waited for."""

_MODULES: Final = {
    ("traces", True): ("grpc.trace_exporter", "OTLPSpanExporter"),
    ("metrics", True): ("grpc.metric_exporter", "OTLPMetricExporter"),
    ("logs", True): ("grpc._log_exporter", "OTLPLogExporter"),
    ("traces", False): ("http.trace_exporter", "OTLPSpanExporter"),
    ("metrics", False): ("http.metric_exporter", "OTLPMetricExporter"),
    ("logs", False): ("http._log_exporter", "OTLPLogExporter"),
}
# What no exporter sends again.
_NO_SECOND_TRY: Final = 400
_PACKAGE: Final = "opentelemetry.exporter.otlp.proto."
# gRPC's own status, in HTTP's terms.
_STATUS: Final = {
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "UNIMPLEMENTED": 404,
    "RESOURCE_EXHAUSTED": 429,
}


@dataclass(frozen=True)
class Outcome:
    """What became of an export."""

    aim: Aim
    well: bool = False
    status: int = 0
    """The HTTP status of a refusal, or what gRPC means by that; 0 if there was no answer."""
    found: Found | None = None
    """What speaks there, where there was no answer."""
    with_tls: bool = False
    """Whether it was asked with TLS."""
    distrust: str = ""
    """Why the certificate is not trusted."""
    error: str = ""
    """What else went wrong: the exporter itself cannot be made."""


def tried(aims: Sequence[Aim], environ: Mapping[str, str]) -> list[Outcome]:
    """Try all at once; those that are not OTLP are left out.

    Args:
        aims: Where telemetry goes.
        environ: The variables of the server.
    """
    wanted = [aim for aim in aims if aim.exporter == "otlp"]
    if not wanted:
        return []
    with _Variables(environ), ThreadPoolExecutor(len(wanted)) as pool:
        return list(pool.map(_try, wanted))


class _Variables:
    """Have exporters see the variables of another process: they read their own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._theirs = {name: environ[name] for name in environ if name.startswith("OTEL_")}
        self._ours = {name: os.environ[name] for name in os.environ if name.startswith("OTEL_")}

    def __enter__(self) -> None:
        self._swap(self._ours, self._theirs)

    def __exit__(self, *_: object) -> None:
        self._swap(self._theirs, self._ours)

    def _swap(self, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        for name in old:
            os.environ.pop(name, None)
        os.environ.update(new)


def _try(aim: Aim) -> Outcome:
    try:
        exporter = _exporter(aim)
        ask: Callable[[Aim, Any], Outcome] = _by_grpc if aim.by_grpc else _by_http
        outcome = ask(aim, exporter)
    except Exception as error:
        name = getattr(error, "filename", None)
        # What is no matter of a file may quote a header.
        file = f": {name}" if name else ""
        return Outcome(aim, error=f"{type(error).__name__}{file}")
    if outcome.well or outcome.status:
        return outcome
    return _looked_into(outcome)


def _exporter(aim: Aim) -> Any:
    module, name = _MODULES[aim.signal, aim.by_grpc]
    exporter = getattr(importlib.import_module(_PACKAGE + module), name)
    more = {} if aim.by_grpc else {"session": _Session()}
    return exporter(timeout=SECONDS, **aim.options, **more)


class _Session(requests.Session):
    """Remembers the last status, and has nothing tried again."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 0

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send once; what is refused for now counts as refused."""
        try:
            answer = super().request(*args, **kwargs)
        except requests.exceptions.ConnectionError as error:
            # Exporters try again after other errors than this.
            raise requests.exceptions.Timeout(str(error)) from error
        self.status = answer.status_code
        answer.status_code = min(self.status, _NO_SECOND_TRY)
        return answer


def _by_http(aim: Aim, exporter: Any) -> Outcome:
    [session] = sessions(exporter)
    exporter.export(_nothing(aim.signal))
    tls = aim.endpoint.startswith("https")
    well = 200 <= session.status < 300
    return Outcome(aim, well, session.status, with_tls=tls)


def _by_grpc(aim: Aim, exporter: Any) -> Outcome:
    grpc: Any = importlib.import_module("grpc")  # not typed
    tls = not exporter._insecure
    try:
        exporter._client.Export(
            request=exporter._translate_data(_nothing(aim.signal)),
            metadata=exporter._headers,
            timeout=SECONDS,
        )
    except grpc.RpcError as error:
        code = getattr(error, "code", lambda: None)()
        return Outcome(aim, status=_STATUS.get(getattr(code, "name", ""), 0), with_tls=tls)
    return Outcome(aim, well=True, with_tls=tls)


def _nothing(signal: str) -> Any:
    if signal != "metrics":
        return []
    from opentelemetry.sdk.metrics.export import MetricsData

    return MetricsData(resource_metrics=[])


def _looked_into(outcome: Outcome) -> Outcome:
    aim = outcome.aim
    found = wire.speaks(aim.host, aim.port)
    distrust = ""
    if outcome.with_tls and found is Found.TLS:
        distrust = wire.distrusted(aim.host, aim.port, _authorities(aim.signal))
    return Outcome(aim, found=found, with_tls=outcome.with_tls, distrust=distrust)


def _authorities(signal: str) -> str | None:
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)
