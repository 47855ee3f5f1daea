"""The providers of OpenTelemetry's SDK that telemetry goes to: given ones, or the global ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry._logs import Logger, LoggerProvider
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.trace import Tracer, TracerProvider

from opentelemetry import _logs, metrics, trace

from .. import names
from ..version import __version__
from . import exporting


class Providers:
    """The three providers. ``None`` is the global one, also when that is set later.

    Args:
        tracers: Where spans go.
        meters: Where metrics go.
        loggers: Where events go.
    """

    def __init__(
        self,
        tracers: TracerProvider | None = None,
        meters: MeterProvider | None = None,
        loggers: LoggerProvider | None = None,
    ) -> None:
        self._tracers = tracers
        self._meters = meters
        self._loggers = loggers

    def tracer(self) -> Tracer:
        """Return the tracer of our scope."""
        return trace.get_tracer(
            names.SCOPE, __version__, self._tracers, schema_url=names.SCHEMA_URL
        )

    def meter(self, attributes: dict[str, Any] | None = None) -> Meter:
        """Return the meter of our scope; with attributes, of one that differs by them."""
        return metrics.get_meter(
            names.SCOPE,
            __version__,
            self._meters,
            schema_url=names.SCHEMA_URL,
            attributes=attributes,
        )

    def logger(self) -> Logger:
        """Return the logger of our scope."""
        return _logs.get_logger(
            names.SCOPE, __version__, self._loggers, schema_url=names.SCHEMA_URL
        )

    @property
    def meters(self) -> Any:
        """The provider of metrics in use now."""
        return self._meters or metrics.get_meter_provider()

    def by_signal(self) -> dict[str, Any]:
        """Return the providers in use now, by signal."""
        return {
            exporting.METRICS: self.meters,
            exporting.TRACES: self._tracers or trace.get_tracer_provider(),
            exporting.LOGS: self._loggers or _logs.get_logger_provider(),
        }

    def told(self) -> Iterator[tuple[bool, bool]]:
        """Of spans, metrics and events: was their provider given, and does it export?"""
        now = self.by_signal()
        for signal, given in (
            (exporting.TRACES, self._tracers),
            (exporting.METRICS, self._meters),
            (exporting.LOGS, self._loggers),
        ):
            yield given is not None, hasattr(now[signal], "force_flush")
