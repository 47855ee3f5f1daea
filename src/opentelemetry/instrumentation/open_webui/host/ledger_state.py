"""How the ledger fares, told as metrics and to the doctor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .. import bounds, names
from ..ledger.ledger import Ledger, Off
from ..telemetry.destinations import without_secrets
from ..telemetry.telemetry import Telemetry
from .presence import Booked

Reading = Callable[[Ledger], float]

_COUNTERS: Final[tuple[tuple[names.Metric, Reading], ...]] = (
    (names.LEDGER_WRITTEN, lambda ledger: ledger.written),
    (names.LEDGER_SPOOLED, lambda ledger: ledger.spooled),
    (names.LEDGER_LOST, lambda ledger: ledger.lost + ledger.refused),
)
_GAUGES: Final[tuple[tuple[names.Metric, Reading], ...]] = (
    (names.LEDGER_QUEUE, lambda ledger: ledger.queued),
    (names.LEDGER_SPOOL_FILES, lambda ledger: ledger.spool_files),
    (names.LEDGER_BEHIND, lambda ledger: ledger.behind_seconds),
)


def tell(ledger: Ledger, telemetry: Telemetry) -> None:
    """Show all of it, for as long as the process exports."""
    for metrics, counts in ((_COUNTERS, True), (_GAUGES, False)):
        for metric, read in metrics:
            telemetry.show(metric, _bound(read, ledger), counts=counts)


def booked(ledger: Ledger | Off) -> Booked:
    """Return what a process tells of its ledger."""
    if isinstance(ledger, Off):
        return Booked()
    where = ledger.where
    return Booked(
        on=True,
        where=without_secrets(where) if "://" in where else where,
        written=ledger.written,
        queued=ledger.queued,
        spooled=ledger.spooled,
        spool_files=ledger.spool_files,
        lost=ledger.lost + ledger.refused,
        behind=float(ledger.behind_seconds),
        problem=bounds.text(ledger.problem),
    )


def _bound(read: Reading, ledger: Ledger) -> Callable[[], float]:
    return lambda: read(ledger)
