"""The doctor: says what the Open WebUI servers here do with this package, and what is to be mended.

It finds the servers that run, by their processes and the notes of those that are instrumented
(:mod:`~opentelemetry.instrumentation.open_webui.presence`), and tries where their variables send
telemetry with an empty export, which counts nowhere. Where no instrumented server runs, it imports
Open WebUI beside, to see what would be patched. What it prints is made for a bug report: it holds
no key, no password and no header.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.parse import urlsplit

from ..telemetry.destinations import port_of
from . import health, judging, servers
from .report import Report, Section
from .servers import Server
from .trial import Trial

SECONDS: Final = 8.0
"""How long the doctor takes at most, if nothing else is wished."""

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
_TOLD: Final = _PACKAGES[:2] + _PACKAGES[3:4]
_DEFAULT_PORT: Final = "8080"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
# Of the time, what printing and a busy machine need.
_SPARE: Final = 0.5


@dataclass(frozen=True)
class Options:
    """What is wished of the doctor."""

    everything: bool = False
    """Whether to print each line."""
    pid: int | None = None
    """The one server to look at, by any of its processes."""
    url: str | None = None
    """The one server to look at, by its address."""
    seconds: float = SECONDS
    """How long it may take."""


def examine(options: Options) -> int:
    """Print the report; return 0 if all is well, else 1."""
    began, report = time.monotonic(), Report()
    section = report.section("Servers")
    found = _chosen(options, section)
    if not found:
        report.unseen.append("no running server was")
    noted = [server for server in found if server.notes]
    trial = None if noted else Trial(next(filter(None, (s.environ for s in found)), {}))
    for server in found:
        judging.judge_server(
            section if len(found) == 1 else report.section(f"Server: {server.name}"), server
        )
    for title, environ in _environments(found, section):
        judging.judge_variables(report.section(f"Where telemetry goes{title}"), environ)
        settings = judging.judge_settings(report.section(f"Settings{title}"), environ)
        judging.judge_ledger(report.section(f"The ledger{title}"), settings, environ)
        judging.judge_limits(report.section(f"The limits{title}"), settings, environ)
    if trial is not None:
        left = options.seconds - _SPARE - (time.monotonic() - began)
        paths = report.section("Paths, if a server were started here")
        result = trial.result(left)
        judging.judge_trial(paths, result, options.seconds)
        if result is None:
            report.unseen.append("there was no time to see what would be patched")
    _versions(report.section("Versions beside the doctor"))
    sys.stdout.write(report.printed(everything=options.everything) + "\n")
    return 1 if report.failures else 0


def _chosen(options: Options, section: Section) -> list[Server]:
    """The servers to look at; says what was looked for in vain."""
    found = servers.find()
    if options.pid is not None:
        found = [server for server in found if options.pid in server.pids]
        if not found:
            section.bad(f"process {options.pid} is no Open WebUI server, or cannot be seen")
    elif options.url is not None:
        found = _at(options.url, found, section)
    elif not found:
        _look_at_usual_port(section)
    if len(found) == 1:
        section.title = f"Server: {found[0].name}"
    elif found:
        section.ok(f"{len(found)} run here")
    return found


def _at(url: str, found: list[Server], section: Section) -> list[Server]:
    url = url if "://" in url else f"http://{url}"
    try:
        host, port = urlsplit(url).hostname or "", port_of(url)
    except ValueError:
        section.bad(f"{url} is no address")
        return []
    here = [server for server in found if port in server.ports and host in _LOOPBACK]
    if here:
        return here
    answered = health.version_at(url)
    if answered is None:
        section.bad(f"no Open WebUI answers at {url}", "Start it, or correct the address")
    else:
        _tell_unseen(section, url, answered)
    return []


def _look_at_usual_port(section: Section) -> None:
    url = f"http://127.0.0.1:{os.environ.get('PORT') or _DEFAULT_PORT}"
    answered = health.version_at(url)
    if answered is None:
        section.note(
            f"none is to be seen here, and none answers at {url} (another one: --url). What follows"
            " is about a server started from this shell"
        )
    else:
        _tell_unseen(section, url, answered)


def _tell_unseen(section: Section, url: str, answered: str) -> None:
    section.bad(
        f"Open WebUI {answered} answers at {url}, and its process is not to be seen from here",
        "Run the doctor where it runs: in its container, as its user",
    )


def _environments(found: list[Server], section: Section) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The variables to look at, each once, and what to call them."""
    seen: list[Mapping[str, str]] = []
    for server in found:
        if server.environ is None:
            section.note(
                f"the variables of {server.name} may not be read: those of this shell are looked at"
            )
        environ = server.environ if server.environ is not None else os.environ
        ours = {name: value for name, value in environ.items() if "OTEL" in name}
        if ours not in seen:
            seen.append(ours)
            yield (f" (of {server.name})" if len(found) > 1 else ""), environ
    if not found:
        yield "", os.environ


def _versions(section: Section) -> None:
    section.ok(f"Python {platform.python_version()}, {platform.system()}, {sys.executable}")
    known = {}
    for package in _PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
        section.ok(f"{package} {known[package]}")
    told = [f"{package} {known[package]}" for package in _TOLD if package in known]
    section.brief = ", ".join([f"Python {platform.python_version()}", *told])
