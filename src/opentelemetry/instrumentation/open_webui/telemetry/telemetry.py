"""One ended call becomes a span, histograms, counters and an event. The OpenTelemetry side."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

from opentelemetry._logs import LoggerProvider
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider, set_span_in_context
from opentelemetry.util.types import AttributeValue

from .. import names
from ..calls.call import ModelCall
from ..guard import guarded, report
from ..money.price_file import PriceFile
from ..settings import Settings
from . import attributes, exporting, forking, readers
from .accounts import Accounts
from .events import Events
from .handing import Moment
from .histograms import Histograms
from .later import Later
from .sdk import Providers
from .spans import Spans
from .state import State
from .totals import Totals

# The SDK gives a collection up after this: with very many series it takes seconds.
_COLLECTION_MILLIS = 60_000

# Beside the metrics, which go out twice.
_AT_ONCE = (exporting.TRACES, exporting.LOGS)


class Telemetry:
    """What one instrumented process tells by OpenTelemetry, and when it begins and ends to.

    Args:
        settings: The settings in force.
        tracer_provider: Where spans go. ``None``, here and below, is the global provider, also when
            that is set later.
        meter_provider: Where metrics go.
        logger_provider: Where events go.
        price_file: The operator's own prices, to tell when they were changed.
    """

    def __init__(
        self,
        settings: Settings,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        price_file: PriceFile | None = None,
    ) -> None:
        self._shutdown_seconds = settings.shutdown_seconds
        self._sdk = Providers(tracer_provider, meter_provider, logger_provider)
        self._histograms = Histograms(self._sdk.meter(), latest_names=settings.latest_names)
        self.spans = Spans(self._histograms)
        self._accounts = Accounts(settings, self._sdk)
        self._events = Events()
        self._makers = (
            self.spans.ended, self._histograms.ended, self._accounts.ended, self._events.ended,
        )  # fmt: skip
        self._later = Later(self._tell)
        self.exports = exporting.Exports(self._accounts.exported)
        self._state = State(self.exports, price_file, self._accounts.be_read)
        self._tuned_to: object = None
        self.recorded = 0
        """Calls so far."""
        self._serves = False
        self._tune()
        self._accounts.open()
        self._state.open(self._sdk.meter())

    @property
    def totals(self) -> Totals:
        """What users and groups have used so far."""
        return self._accounts.totals

    def started(self, call: ModelCall) -> None:
        """Start the span of a call to a model."""
        self.spans.started(call)

    def ended(self, call: ModelCall) -> None:
        """Take an ended call; it is told of soon."""
        self.recorded += 1
        self._later.add(call)

    @guarded
    def _tell(self, call: ModelCall, ended: int) -> None:
        """Turn an ended call into all that is told of it; each part fails alone."""
        if self._tuned_to is None:
            self._tune()
        if call.unsettled is not None:
            call.unsettled()
        self.spans.make(call)
        outcome = attributes.of_outcome(call)
        moment = Moment(set_span_in_context(call.span), ended)
        for make in self._makers:
            try:
                make(call, outcome, moment)
            except Exception:
                report(make.__qualname__)

    def update_members(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Show in which groups users are now, by id; nobody becomes active by it."""
        self._accounts.update_members(groups)

    def show(self, metric: names.Metric, read: Callable[[], float], *, counts: bool) -> None:
        """Show a number of somebody else's as a metric: a counter, if it only grows."""
        self.show_each(metric, lambda: [(read(), {})], counts=counts)

    def show_each(
        self,
        metric: names.Metric,
        read: Callable[[], Sequence[tuple[float, Mapping[str, AttributeValue]]]],
        *,
        counts: bool,
    ) -> None:
        """Show numbers of somebody else's as a metric, each with its attributes."""
        self._state.show(self._sdk.meter(), metric, read, counts=counts)

    # The beginning

    def _tune(self) -> None:
        """Fit what is told to who is told, once there is a provider that exports."""
        provider = self._sdk.meters
        self._accounts.tune()
        self._histograms.limit_to(self.totals.shard_size)
        self._watch()
        self.exports.reopen()
        self._state.silent = False
        # The SDK's own, where there were but stand-ins.
        self.spans.go_to(self._sdk.tracer())
        self._events.go_to(self._sdk.logger())
        if hasattr(provider, "force_flush"):
            self._tuned_to = provider
            # The SDK shuts its providers down at exit, and what is registered last runs first.
            atexit.unregister(self.finish)
            atexit.register(self.finish)

    def _watch(self) -> None:
        for signal, provider in self._sdk.by_signal().items():
            self.exports.watch(signal, provider)

    @guarded
    def begin(self) -> None:
        """Export from now on; the providers may have been set since."""
        self._serves = True
        self._later.begin()
        self._tune()
        self.exports.go_on()

    def providers(self) -> Iterator[tuple[bool, bool]]:
        """Of spans, metrics and events: was their provider given, and does it export?"""
        return self._sdk.told()

    def instance_id(self) -> str:
        """Return the ``service.instance.id`` of this process; empty if it has none."""
        resources = readers.resources(self._sdk.by_signal().values())
        found = (resource.attributes.get(forking.INSTANCE_ID) for resource in resources)
        return next((str(name) for name in found if name), "")

    # Forks

    @guarded
    def before_fork(self) -> None:
        """Be ready for a fork, if this process serves nobody yet, and silent until it does."""
        if not (self._serves or self.recorded):
            self._watch()
            self.exports.before_fork()
            self._rest()

    @guarded
    def begin_anew(self) -> None:
        """Begin with nothing, and be silent until it serves: this process was forked."""
        self._serves, self.recorded = False, 0
        self._later.forget()
        self._rest()
        self._histograms.clear()
        self.totals.clear()
        self.exports.begin_anew()
        forking.begin_anew(self._sdk.by_signal().values())

    def _rest(self) -> None:
        self._state.silent, self._tuned_to = True, None

    # The end

    @guarded
    def flush(self, seconds: float | None = None) -> bool:
        """Export everything in the time that a stop may take; return whether all was tried."""
        atexit.unregister(self.finish)
        self._later.end()
        providers = self._sdk.by_signal()
        jobs = [functools.partial(_flush, providers[signal]) for signal in _AT_ONCE]
        return self.exports.end([self._flush_totals, *jobs], seconds or self._shutdown_seconds)

    def finish(self) -> None:
        """Export everything; the process ends, and neither we nor the SDK may delay that."""
        # Beside its workers there is a process that serves nobody and has nothing to tell.
        hurry = None if self.recorded else self._shutdown_seconds / 10
        if not self.flush(hurry):
            for provider in self._sdk.by_signal().values():
                if hasattr(provider, "shutdown"):
                    # It would wait for the same collector, for up to half a minute.
                    atexit.unregister(provider.shutdown)

    def detach(self) -> None:
        """Export everything and leave the providers as they were: the process goes on."""
        self.flush()
        self.exports.go_on()
        self.exports.restore()

    def _flush_totals(self) -> None:
        """First where new series start from, then their totals."""
        meters = self._sdk.meters
        if self.totals.announce():
            _flush(meters)
        self.totals.release()
        _flush(meters)


@guarded
def _flush(provider: object) -> None:
    flush = getattr(provider, "force_flush", None)
    if flush is not None:
        flush(_COLLECTION_MILLIS)
