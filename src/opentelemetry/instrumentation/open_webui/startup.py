"""What is on, in one line of the log when the server starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from . import compat
from .destinations import SIGNALS, by_open_webui, destination
from .guard import guarded
from .patching import ABSENT, PATCHED
from .telemetry import Telemetry
from .version import __version__

_logger = logging.getLogger(__name__)

_NO_SDK: Final = "nowhere (no SDK is set up: start with opentelemetry-instrument)"
_GIVEN: Final = "the provider that was given"


@guarded
def tell_what_is_on(states: Iterable[str], telemetry: Telemetry) -> None:
    """Log the line.

    Args:
        states: What became of each path: see :meth:`~.patching.Patcher.state`.
        telemetry: Where spans, metrics and events are handed over.
    """
    _logger.info(
        "Open WebUI instrumentation %s is on. Open WebUI %s: %s. Telemetry: %s.",
        __version__,
        compat.version_text() or "(no version)",
        _paths(list(states)),
        _destinations(telemetry),
    )


def _paths(states: Sequence[str]) -> str:
    covered = states.count(PATCHED)
    absent = sum(state.startswith(ABSENT) for state in states)
    return f"{covered} of {len(states) - absent} paths covered, {absent} not in use here"


def _destinations(telemetry: Telemetry) -> str:
    """Where each signal goes; those that go the same way are named together."""
    told: dict[str, list[str]] = {}
    for signal, (given, working) in zip(SIGNALS, telemetry.providers(), strict=True):
        where = destination(signal) if working or by_open_webui() else _NO_SDK
        told.setdefault(_GIVEN if given else where, []).append(signal)
    return "; ".join(f"{', '.join(signals)} to {where}" for where, signals in told.items())
