"""What is on: in one line of the log when the server starts, and in the note for the doctor."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from ..complaints import complaints
from ..guard import guarded
from ..ledger.ledger import Ledger, Off
from ..limits.off import Off as NoLimits
from ..telemetry.destinations import SIGNALS, by_open_webui, destination
from ..telemetry.telemetry import Telemetry
from ..version import __version__
from . import compat, ledger_state, presence
from .patching import ABSENT, PATCHED, Target

if TYPE_CHECKING:
    from ..limits.budget import Budget

_logger = logging.getLogger(__name__)

NO_SDK: Final = "nowhere (no SDK is set up: start with opentelemetry-instrument)"
_GIVEN: Final = "the provider that was given"
_MOST_LACKING: Final = 50


@guarded
def tell_what_is_on(states: Iterable[tuple[Target, str]], telemetry: Telemetry) -> None:
    """Log the line.

    Args:
        states: What became of each target: see :meth:`~.patching.Patcher.states`.
        telemetry: Where spans, metrics and events are handed over.
    """
    _logger.info(
        "Open WebUI instrumentation %s is on. Open WebUI %s: %s. Telemetry: %s.",
        __version__,
        compat.version_text() or "(no version)",
        paths(states),
        _destinations(telemetry),
    )


def note(
    states: Iterable[tuple[Target, str]],
    telemetry: Telemetry,
    ledger: Ledger | Off,
    limits: Budget | NoLimits,
) -> presence.Note:
    """Return what this process tells the doctor of itself."""
    known = list(states)
    lacking = [(target, state) for target, state in known if not _is_well(state)]
    return presence.own(
        version=__version__,
        open_webui=compat.version_text(),
        opentelemetry=_sdk_version(),
        instance=telemetry.instance_id(),
        paths=paths(known),
        missing=[f"{state}: {target.covers}" for target, state in lacking[:_MOST_LACKING]],
        calls=telemetry.recorded,
        destinations=dict(_where(telemetry)),
        errors=complaints.errors(),
        warnings=complaints.warnings(),
        exports={
            signal: presence.Exported(
                tally.exports, tally.failures, tally.dropped.total(), tally.failing
            )
            for signal, tally in telemetry.exports.tallies.items()
        },
        ledger=ledger_state.booked(ledger),
        limits=_checked(limits),
    )


def _checked(limits: Budget | NoLimits) -> presence.Checked:
    if isinstance(limits, NoLimits):
        return presence.Checked()
    from .limits_state import checked  # It brings SQLAlchemy.

    return checked(limits)


def _is_well(state: str) -> bool:
    return state == PATCHED or state.startswith(ABSENT)


def _sdk_version() -> str:
    try:
        return version("opentelemetry-sdk")
    except PackageNotFoundError:
        return ""


def paths(states: Iterable[tuple[Target, str]]) -> str:
    """Return in words how many of the paths to models are covered."""
    found = [state for target, state in states if target.is_path]
    covered = found.count(PATCHED)
    absent = sum(state.startswith(ABSENT) for state in found)
    return f"{covered} of {len(found) - absent} paths covered, {absent} not in use here"


def _destinations(telemetry: Telemetry) -> str:
    """Where each signal goes; those that go the same way are named together."""
    told: dict[str, list[str]] = {}
    for signal, where in _where(telemetry):
        told.setdefault(where, []).append(signal)
    return "; ".join(f"{', '.join(signals)} to {where}" for where, signals in told.items())


def _where(telemetry: Telemetry) -> Iterator[tuple[str, str]]:
    for signal, (given, working) in zip(SIGNALS, telemetry.providers(), strict=True):
        where = destination(signal) if working or by_open_webui() else NO_SDK
        yield signal, _GIVEN if given else where
