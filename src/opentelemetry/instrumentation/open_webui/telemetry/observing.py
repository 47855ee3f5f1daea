"""Instruments that are asked for what they show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.metrics import Observation

from .. import names


def observe(
    create: Callable[..., Any], metric: names.Metric, read: Callable[[], list[Observation]]
) -> None:
    """Make an observable instrument.

    Args:
        create: A method of a meter.
        metric: What it is of.
        read: Returns what it shows, once for each collection.
    """
    create(metric.name, [lambda _options: read()], metric.unit, metric.description)
