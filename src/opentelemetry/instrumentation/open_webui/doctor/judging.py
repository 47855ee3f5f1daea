"""What is said of a running server, of the variables, of the trial: findings in words."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Final

from ..host.patching import ABSENT, PATCHED
from ..host.presence import Booked, Checked, Note
from ..host.startup import NO_SDK
from ..money.price_file import PriceFile, PriceFileError
from ..settings import PREFIX, Settings
from ..telemetry import variables
from ..telemetry.destinations import without_secrets
from . import aims, probe, remedies
from .report import BAD, OK, Line, Section
from .servers import Server
from .trial import Result

_NAME: Final = "open_webui"
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
# Until a server has imported Open WebUI, it leaves no note.
_YOUNG_SECONDS: Final = 60.0
_LATE_SECONDS: Final = 10.0


def judge_server(section: Section, server: Server) -> None:
    """Say what a running server does."""
    if not server.notes:
        _judge_uninstrumented(section, server)
    for note in server.notes:
        _judge_note(section, note)


def _judge_uninstrumented(section: Section, server: Server) -> None:
    section.note(f"started as: {server.command}")
    text = f"the server of {server.name} has left no note: it is not instrumented"
    if server.age is not None and server.age < _YOUNG_SECONDS:
        text += f", or not ready yet (it was started {server.age:.0f} s ago)"
    section.bad(text, _how_to_instrument(server))


def _how_to_instrument(server: Server) -> str:
    disabled = (server.environ or {}).get(_DISABLED, "")
    if _NAME in map(str.strip, disabled.split(",")):
        return f"Take {_NAME} out of {_DISABLED}, and start it anew"
    if server.is_launched:
        return (
            "It was started with opentelemetry-instrument: install this release of the package"
            f" where it runs ({server.command.split(' ')[0]}), and start it anew. If it is there"
            " (the server's log says 'is on'), let it write to its directory for temporary files"
        )
    return "Start it with opentelemetry-instrument before that command"


def _judge_note(section: Section, note: Note) -> None:
    who = f"process {note.pid}"
    name = f", {note.instance}" if note.instance else ""
    section.ok(
        f"{who}: instrumented ({note.version}), Open WebUI {note.open_webui}, OpenTelemetry"
        f" {note.opentelemetry}{name}"
    )
    section.ok(f"{who}: {note.paths}; {note.calls} calls to models so far")
    for lacking in note.missing:
        section.bad(f"{who}: {lacking}", "Report it, with this text")
    for signal, where in note.destinations.items():
        _judge_destination(section, f"{who}: {signal}", where)
    for signal, exported in note.exports.items():
        told = f"{exported.failures} of {exported.exports} exports failed"
        if exported.failing:
            dropped = f", {exported.dropped} items were given up" if exported.dropped else ""
            section.bad(f"{who}: {signal}: the last export failed ({told}{dropped})", _BELOW)
        elif exported.failures or exported.dropped:
            section.note(f"{who}: {signal}: {told}, {exported.dropped} items were given up")
    _judge_booked(section, who, note.ledger)
    _judge_checked(section, who, note.limits)
    for text in note.errors:
        section.bad(text)
    for text in note.warnings:
        section.note(text)


_BELOW: Final = "'Where telemetry goes' says why, unless the collector is back by now"


def _judge_booked(section: Section, who: str, booked: Booked) -> None:
    if not booked.on:
        return
    waits = (
        f"{booked.queued} calls in memory and {booked.spool_files} files of calls wait,"
        f" for {booked.behind:.0f} s"
    )
    if booked.problem:
        section.bad(
            f"{who}: the ledger cannot be written: {booked.problem}; {waits}",
            "'The ledger' says more, unless it is back by now. Nothing is lost while there is room",
        )
    elif booked.behind > _LATE_SECONDS:
        section.note(f"{who}: the ledger is late: {waits}")
    if booked.lost:
        section.bad(
            f"{who}: the ledger has lost {booked.lost} calls",
            "The server's log says why, once: docs/ledger.md, 'What may be lost'",
        )
    section.ok(
        f"{who}: ledger {booked.where or '(not opened yet)'}: {booked.written} calls written,"
        f" {booked.spooled} waited in a file, {booked.lost} lost"
    )


def _judge_checked(section: Section, who: str, checked: Checked) -> None:
    if not checked.on:
        return
    if checked.problem:
        section.bad(
            f"{who}: limits cannot be checked: {checked.problem}",
            "Until they can, LIMITS_FAIL says what becomes of calls. 'The limits' says more",
        )
    elif not checked.known:
        section.note(f"{who}: the limits in {checked.where} are not read yet")
    if checked.unchecked:
        section.note(f"{who}: {checked.unchecked} calls were let in or refused unchecked")
    section.ok(
        f"{who}: limits in {checked.where}: {checked.limits} in force, {checked.refused} calls"
        f" refused, {checked.unchecked} unchecked"
    )


def _judge_destination(section: Section, what: str, where: str) -> None:
    if where == NO_SDK:
        section.bad(f"{what} goes {where}", "Start the server with opentelemetry-instrument")
    elif where.startswith("nowhere"):
        section.note(f"{what} goes {where}")
    else:
        section.ok(f"{what} to {where}")


def judge_variables(section: Section, environ: Mapping[str, str]) -> None:
    """Say where telemetry goes, and whether it arrives."""
    for problem in _problems(environ):
        section.bad(problem.text, problem.remedy)
    known = aims.aims(environ)
    for aim in known:
        if aim.exporter != "otlp":
            section.note(f"{aim.signal}: {_elsewhere(aim, environ)}")
    with _overheard():
        outcomes = probe.tried(known, environ)
    for line, signals in _alike(outcomes).items():
        section.lines.append(replace(line, text=f"{', '.join(signals)}: {line.text}"))
    if any(name.startswith("OTEL_EXPORTER_OTLP") and "HEADERS" in name for name in environ):
        section.ok("headers are set")


def _alike(outcomes: Iterable[probe.Outcome]) -> dict[Line, list[str]]:
    """What is said of each outcome, and the signals of which it is said."""
    told: dict[Line, list[str]] = {}
    for outcome in outcomes:
        told.setdefault(_said(outcome), []).append(outcome.aim.signal)
    return told


def _said(outcome: probe.Outcome) -> Line:
    aim = outcome.aim
    by = f"{aim.protocol}, by Open WebUI" if aim.by_open_webui else aim.protocol
    where = f"{without_secrets(aim.endpoint)} ({by})"
    if outcome.well:
        return Line(OK, f"{where} takes it")
    problem = remedies.explained(outcome)
    return Line(BAD, f"{where}: {problem.text}", problem.remedy)


def _problems(environ: Mapping[str, str]) -> Iterator[variables.Problem]:
    own = aims.own_settings(environ)
    if own["ENABLE_OTEL"]:
        yield from variables.own_problems(own)
        return
    for name, problem in variables.protocol_problems(environ).items():
        meant = variables.meant_protocol(environ[name])
        yield variables.Problem(problem.text, f"Write {name}={meant}, if that is meant")
    yield from variables.endpoint_problems(environ)


def _elsewhere(aim: aims.Aim, environ: Mapping[str, str]) -> str:
    if aim.exporter == "none":
        return "goes nowhere, as the variables say"
    if aim.exporter != "prometheus":
        return f"exporter {aim.exporter}"
    host = environ.get("OTEL_EXPORTER_PROMETHEUS_HOST", "localhost")
    port = environ.get("OTEL_EXPORTER_PROMETHEUS_PORT", "9464")
    hint = " (which no other container reaches: 0.0.0.0 would be)" if host == "localhost" else ""
    return f"to be read at {host}:{port}/metrics{hint}; a new series shows 0 to the first reading"


def judge_settings(section: Section, environ: Mapping[str, str]) -> Settings:
    """Say which settings are in force, and return them."""
    with _overheard() as complaints:
        settings = Settings.load({}, environ)
    given = [name for name in _settings() if environ.get(PREFIX + name.upper())]
    for name in _settings():
        value = getattr(settings, name)
        if name == "user_hash_salt":
            value = "(set)" if value else "(not set)"
        section.ok(f"{name} = {value}{' (from the environment)' if name in given else ''}")
    for complaint in complaints:
        section.bad(complaint)
    known = ", ".join(name.upper() for name in given)
    section.brief = f"{len(_settings())} settings; given: {known or 'none'}"
    _judge_prices(section, settings.price_file)
    return settings


def _settings() -> list[str]:
    return [item.name for item in fields(Settings)]


def _judge_prices(section: Section, path: str) -> None:
    file = PriceFile(path)
    try:
        file.load()
    except PriceFileError as error:
        section.bad(f"prices: {error}. {file.without()}")
    else:
        section.ok(f"prices: {len(file.entries)} of your own, then the list prices")


def judge_ledger(section: Section, settings: Settings, environ: Mapping[str, str]) -> None:
    """Say how the ledger is, if there is to be one."""
    if settings.ledger == "false":
        section.ok("off")
        return
    try:
        from . import books  # It needs what an installation elsewhere may not have.
    except ImportError as error:
        section.bad(
            f"there is no ledger: {error}",
            "pip install 'opentelemetry-instrumentation-open-webui[ledger]'",
        )
    else:
        books.judge(section, environ)


def judge_limits(section: Section, settings: Settings, environ: Mapping[str, str]) -> None:
    """Say how the limits are, if there are to be any."""
    if not settings.limits:
        section.ok("off")
        return
    try:
        from . import caps  # The same.
    except ImportError:
        section.bad("nobody is limited: there is no ledger", "'The ledger' says why")
    else:
        caps.judge(section, settings.limits_file, environ)


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Listen to our loggers, and keep them off the screen."""
    texts: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    logger, listener = logging.getLogger("opentelemetry"), Listener(logging.WARNING)
    logger.addHandler(listener)
    before, logger.propagate = logger.propagate, False
    try:
        yield texts
    finally:
        logger.removeHandler(listener)
        logger.propagate = before


def judge_trial(section: Section, result: Result | None, seconds: float) -> None:
    """Say what became of the import of Open WebUI."""
    if result is None:
        section.note(
            f"importing Open WebUI took too long to look at (the doctor takes {seconds:g} s)."
            " Its paths were not looked at: --seconds 60 waits"
        )
        return
    if result.error:
        section.bad(f"Open WebUI cannot be imported: {result.error}", "Mend its installation")
        for text in result.said:
            section.note(text)
        return
    newer = f": newer than known ({result.newest})" if result.newest else ""
    (section.note if newer else section.ok)(f"Open WebUI {result.version}{newer}")
    for state, what in result.states:
        _judge_path(section, state, what)
    section.brief = f"Open WebUI {result.version}: {result.paths}"


def _judge_path(section: Section, state: str, what: str) -> None:
    if state == PATCHED or state.startswith(ABSENT):
        section.ok(f"{state}: {what}")
    else:
        section.bad(f"{state}: {what}", "Report it, with this text")
