"""The one place where exceptions of ours end, so that none reaches Open WebUI."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

_logger = logging.getLogger(__name__)
_reported: set[str] = set()

F = TypeVar("F", bound=Callable[..., Any])


def guarded(function: F) -> F:
    """Return ``None`` where ``function`` raises, and log it once per function."""

    @functools.wraps(function)
    def guard(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:
            report(function.__qualname__)
            return None

    return cast(F, guard)


def report(place: str) -> None:
    """Log the exception being handled, once per place: a hot path must not flood the log."""
    if place in _reported:
        return
    _reported.add(place)
    _logger.exception(
        "Open WebUI instrumentation failed in %s; Open WebUI is not affected, but this telemetry"
        " may be incomplete. Further failures here are not logged.",
        place,
    )
