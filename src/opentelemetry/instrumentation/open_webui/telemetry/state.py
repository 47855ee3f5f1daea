"""What a process says of itself: that it is there, its price file, and how its exports fare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.metrics import Meter, Observation
from opentelemetry.util.types import AttributeValue

from .. import names
from ..money.price_file import PriceFile
from . import exporting
from .observing import observe


class State:
    """Shows the state of this process, unless it is to be silent.

    Args:
        exports: How exports fare.
        price_file: The operator's own prices, to tell when they were changed.
        be_read: Hears of each collection.
    """

    def __init__(
        self,
        exports: exporting.Exports,
        price_file: PriceFile | None,
        be_read: Callable[[], None],
    ) -> None:
        self._exports = exports
        self._price_file = price_file
        self._be_read = be_read
        self.silent = False

    def open(self, meter: Meter) -> None:
        """Make the instruments. One always shows something: its absence tells of a cut."""
        for create, metric, read in (
            (meter.create_observable_gauge, names.ACTIVE, self._active),
            (meter.create_observable_gauge, names.PRICES_MODIFIED, self._prices_modified),
            (meter.create_observable_counter, names.EXPORT_FAILURES, self._failures),
            (meter.create_observable_counter, names.EXPORT_DROPPED, self._drops),
        ):
            observe(create, metric, self._unless_silent(read))

    def show(
        self,
        meter: Meter,
        metric: names.Metric,
        read: Callable[[], Sequence[tuple[float, Mapping[str, AttributeValue]]]],
        *,
        counts: bool,
    ) -> None:
        """Show numbers beside these.

        Args:
            meter: Makes the instrument.
            metric: What it is of.
            read: Returns the numbers, each with its attributes.
            counts: Whether they only grow.
        """
        create = meter.create_observable_counter if counts else meter.create_observable_gauge
        shown = self._unless_silent(lambda: [Observation(*number) for number in read()])
        observe(create, metric, shown)

    def _unless_silent(self, read: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
        return lambda: [] if self.silent else read()

    def _active(self) -> list[Observation]:
        self._be_read()
        return [Observation(1)]

    def _prices_modified(self) -> list[Observation]:
        at = self._price_file.modified if self._price_file else None
        return [] if at is None else [Observation(at)]

    def _failures(self) -> list[Observation]:
        return [
            Observation(tally.failures, {names.SIGNAL: signal})
            for signal, tally in self._exports.tallies.items()
        ]

    def _drops(self) -> list[Observation]:
        return [
            Observation(tally.dropped[reason], {names.SIGNAL: signal, names.ERROR_TYPE: reason})
            for signal, tally in self._exports.tallies.items()
            for reason in exporting.REASONS
        ]
