"""The doctor: imports Open WebUI as a server does, looks at what was patched, sends one test call.

What it prints is made for a bug report: it holds no key, no password and no header. It serves
nothing and writes nothing but to a temporary directory, so it may run beside a running server.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import platform
import re
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.parse import urlsplit

from . import OpenWebUIInstrumentor, compat, endpoints, names, providers
from .call import Asked
from .caller import Caller
from .destinations import SIGNALS, by_open_webui, endpoint_of, port_of, without_secrets
from .distro import OpenWebUIConfigurator
from .patching import ABSENT, MAIN, PATCHED, Patcher
from .price_file import PriceFile, PriceFileError
from .runtime import Runtime
from .settings import PREFIX, Settings

_PACKAGES: Final = (
    "opentelemetry-instrumentation-open-webui",
    "open-webui",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation",
    "opentelemetry-exporter-otlp",
    "opentelemetry-exporter-prometheus",
    "genai-prices",
    "wrapt",
    "aiohttp",
    "httpx",
    "requests",
    "fastapi",
    "starlette",
)
_PATIENCE: Final = 3.0
# Of which a request may wait less than half for its answer.
_LAST_PATIENCE: Final = 12.0
_LONGEST_LINE: Final = 300
# User and password before the host, and the query: where addresses keep secrets.
_IN_ADDRESSES: Final = re.compile(r"(?<=//)[^/@\s]+@|\?\S*=\S*")
_TAIL: Final = 20

_OK: Final = "ok"
_NOTE: Final = "--"
_BAD: Final = "!!"

# Importing Open WebUI opens databases; the doctor's are its own, and empty.
_AWAY_FROM_YOURS: Final = {
    "REDIS_URL": "",
    "WEBSOCKET_MANAGER": "",
    "FROM_INIT_PY": "true",
}


@dataclass
class Report:
    """What is printed, and whether all is well."""

    well: bool = True

    def head(self, title: str) -> None:
        """Begin a section."""
        print(f"\n{title}")

    def line(self, mark: str, text: str) -> None:
        """Print one finding."""
        self.well = self.well and mark != _BAD
        print(f"  [{mark}] {_IN_ADDRESSES.sub('', text)[:_LONGEST_LINE]}")


class Overheard(logging.Handler):
    """Keeps what OpenTelemetry and we complain of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a complaint, once."""
        text = " ".join(record.getMessage().split())
        if text not in self.lines:
            self.lines.append(text)


def examine() -> int:
    """Print the report; return 0 if all is well, else 1."""
    report = Report()
    # Nobody waits for minutes of retries here; a time-out of your own counts.
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", "5")
    with overhearing() as overheard:
        _versions(report)
        _settings(report, overheard)
        with _elsewhere():
            imported = _import(report)
        if imported:
            _paths(report)
        answers = _destinations(report)
        if imported and answers:
            _test_call(report, overheard)
    print("\nAll is well." if report.well else "\nNot all is well: see the lines with [!!].")
    return 0 if report.well else 1


@contextlib.contextmanager
def overhearing() -> Iterator[Overheard]:
    """Listen to OpenTelemetry's loggers, ours among them, and keep them off the screen."""
    logger, overheard = logging.getLogger("opentelemetry"), Overheard()
    logger.addHandler(overheard)
    logger.propagate = False
    try:
        yield overheard
    finally:
        logger.removeHandler(overheard)
        logger.propagate = True


def _versions(report: Report) -> None:
    report.head("Versions")
    report.line(_OK, f"Python {platform.python_version()}, {platform.system()}")
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            report.line(_OK, f"{package} {version(package)}")


def _settings(report: Report, overheard: Overheard) -> None:
    report.head("Settings in force")
    before = len(overheard.lines)
    settings = Settings.load({})
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.name == "user_hash_salt":
            value = "(set)" if value else "(not set)"
        given = " (from the environment)" if os.environ.get(PREFIX + item.name.upper()) else ""
        report.line(_OK, f"{item.name} = {value}{given}")
    for complaint in overheard.lines[before:]:
        report.line(_BAD, complaint)
    _prices(report, settings.price_file)


def _prices(report: Report, path: str) -> None:
    file = PriceFile(path)
    try:
        file.load()
    except PriceFileError as error:
        report.line(_BAD, f"prices: {error}. {file.without()}")
    else:
        report.line(_OK, f"prices: {len(file.entries)} of your own, then the list prices")


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as directory:
        os.environ.update(_AWAY_FROM_YOURS)
        os.environ["DATA_DIR"] = directory
        os.environ["STATIC_DIR"] = f"{directory}/static"
        os.environ["DATABASE_URL"] = f"sqlite:///{directory}/webui.db"
        os.environ.setdefault("WEBUI_SECRET_KEY", "doctor")
        if os.environ.get("USE_SLIM_DOCKER", "").lower() != "true":
            os.environ["VECTOR_DB"] = "chroma"
        yield


def _import(report: Report) -> bool:
    report.head("Open WebUI")
    instrumentor = OpenWebUIInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        OpenWebUIConfigurator().configure()
        instrumentor.instrument()
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            importlib.import_module(MAIN)
    except BaseException as error:
        report.line(_BAD, f"cannot be imported: {type(error).__name__}: {error}")
        for text in said.getvalue().splitlines()[-_TAIL:]:
            report.line(_NOTE, text)
        return False
    newer = compat.version()[:2] > compat.NEWEST
    known = ".".join(map(str, compat.NEWEST))
    text = f"version {compat.version_text()}"
    report.line(_NOTE, f"{text}: newer than known ({known})") if newer else report.line(_OK, text)
    return True


def _paths(report: Report) -> None:
    report.head("Paths")
    patcher: Patcher = OpenWebUIInstrumentor()._patcher
    for target, state in patcher.states():
        mark = _OK if state == PATCHED else _NOTE if state.startswith(ABSENT) else _BAD
        report.line(mark, f"{state}: {target.module}.{target.attribute} ({target.covers})")


def _destinations(report: Report) -> bool:
    """Say where telemetry goes; return whether a test call may arrive anywhere."""
    report.head("Where telemetry goes")
    report.line(_OK, "by Open WebUI (ENABLE_OTEL=true)" if by_open_webui() else "by this package")
    answers = False
    for name in SIGNALS:
        exporter = os.environ.get(f"OTEL_{name.upper()}_EXPORTER", "otlp")
        if exporter != "otlp":
            report.line(_NOTE, f"{name}: exporter {exporter}")
            answers = answers or exporter != "none"
            continue
        endpoint = endpoint_of(name)
        problem = _unreachable(endpoint)
        text = f"{name}: otlp to {without_secrets(endpoint)}"
        report.line(_BAD if problem else _OK, f"{text}: {problem or 'answers'}")
        answers = answers or not problem
    if any(key.startswith("OTEL_EXPORTER_OTLP") and "HEADERS" in key for key in os.environ):
        report.line(_OK, "headers are set")
    return answers


def _unreachable(endpoint: str) -> str | None:
    try:
        address = urlsplit(endpoint).hostname or "", port_of(endpoint)
        socket.create_connection(address, timeout=_PATIENCE).close()
    except (OSError, ValueError) as error:
        return f"does not answer ({error})"
    return None


def _test_call(report: Report, overheard: Overheard) -> None:
    report.head("Test call")
    runtime: Runtime | None = OpenWebUIInstrumentor()._runtime
    if runtime is None:
        report.line(_BAD, "nothing was patched, so nothing can be told")
        return
    before = len(overheard.lines)
    call = runtime.start_call(_asked(), _caller())
    call.end()
    answered = runtime.telemetry.flush(_LAST_PATIENCE)
    complaints = overheard.lines[before:] + _failures(runtime, answered)
    for complaint in complaints:
        report.line(_BAD, complaint)
    recorded = call.span.get_span_context().is_valid
    if not recorded:
        report.line(_BAD, "no SDK is configured: start with opentelemetry-instrument")
    if recorded and not complaints:
        report.line(_OK, f"told as user {names.SYSTEM_USER}, model and task {names.DOCTOR}")


def _failures(runtime: Runtime, answered: bool) -> list[str]:
    found = [
        f"{signal}: {tally.failures} exports failed, {tally.dropped.total()} items were dropped"
        for signal, tally in runtime.telemetry.exports.tallies.items()
        if tally.failures or tally.dropped.total()
    ]
    return found if answered else [*found, f"no answer to an export in {_LAST_PATIENCE:g} s"]


def _asked() -> Asked:
    return Asked(endpoints.CHAT, "chat", providers.OPENAI, names.DOCTOR, stream=False)


def _caller() -> Caller:
    return Caller(
        user_id=names.SYSTEM_USER,
        user_name=names.SYSTEM_USER,
        roles=(),
        source="background",
        auth="internal",
        task=names.DOCTOR,
        chat_id=None,
        route=None,
        model_id=names.DOCTOR,
    )
