"""Handing attributes to the SDK that need no more cleaning: it would look at each of them again.

Ours are texts, numbers, truth values and tuples of texts, bounded where they enter (``bounds``).
The SDK makes sure of no more than that, three times for each call, at a fifth of a call's cost; and
for each number in a histogram it makes a key of all attributes anew. The shorter ways here are
taken only where the SDK is as we know it and no limit is set that could cut something; elsewhere,
the public ones are.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final, NamedTuple

from opentelemetry._logs import Logger, LogRecord
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Span, Tracer

from ..guard import guarded

# Attributes that a call may have beside those of others. A limit below twice as many may cut.
_MOST: Final = 64


def set_attributes(span: Span, attributes: dict[str, Any]) -> None:
    """Set attributes of a span that is under way."""
    held = getattr(span, "_attributes", None)
    known = getattr(held, "_dict", None)
    if (
        type(held) is BoundedAttributes
        and type(known) is dict
        and len(known) < _MOST
        and held.max_value_len is None
        and (held.maxlen is None or held.maxlen >= 2 * _MOST)
        and span.is_recording()
    ):
        known.update(attributes)
    else:
        span.set_attributes(attributes)


class Spans:
    """Starts spans.

    Args:
        tracer: Where they go.
    """

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self._seen: object = None
        self._unread = False

    def is_unseen(self) -> bool:
        """Whether nobody looks at a span when it starts."""
        processors = getattr(getattr(self.tracer, "span_processor", None), "_span_processors", None)
        if processors is not self._seen:
            self._seen = processors
            self._unread = _do_not_read(processors) and _reads_none(self.tracer)
        return self._unread

    def start(self, name: str, attributes: dict[str, Any], **options: Any) -> Span:
        """Start a span. Whoever looks at its attributes when it starts sees all of them."""
        if not self.is_unseen():
            return self.tracer.start_span(name, attributes=attributes, **options)
        span = self.tracer.start_span(name, **options)
        set_attributes(span, attributes)
        return span


def _do_not_read(processors: object) -> bool:
    """Whether these processors, of all there are, do nothing with a span that starts."""
    from opentelemetry.sdk.trace import SpanProcessor, export

    idle = (SpanProcessor, export.BatchSpanProcessor, export.SimpleSpanProcessor)
    methods = {kind.on_start for kind in idle}
    return isinstance(processors, tuple) and all(
        type(processor).on_start in methods for processor in processors
    )


def _reads_none(tracer: Any) -> bool:
    """Whether a tracer's sampler decides without the attributes, as the SDK's own ones do."""
    from opentelemetry.sdk.trace import sampling

    own = (type(sampling.ALWAYS_ON), type(sampling.ALWAYS_OFF), sampling.TraceIdRatioBased)
    nested = (sampling.ParentBased, sampling.ParentBasedTraceIdRatio)

    def reads_none(sampler: object) -> bool:
        if type(sampler) in nested:
            return all(map(reads_none, vars(sampler).values()))
        return type(sampler) in own

    return reads_none(getattr(tracer, "sampler", None))


class Moment:
    """When numbers are recorded, and in which context: the same for all that a call tells.

    Args:
        context: Has the span that they belong to.
        now: Unix time, in nanoseconds.
    """

    __slots__ = ("_filter", "_samples", "context", "now")

    def __init__(self, context: Context, now: int) -> None:
        self.context = context
        self.now = now
        self._filter: object = None
        self._samples = False

    def samples(self, way: _Way, amount: float, attributes: dict[str, Any]) -> bool:
        """Whether the SDK wants a number as an example. Its own filters ask of the context only."""
        if self._filter is not None and self._filter is way.filter:
            return self._samples
        samples: bool = way.filter.should_sample(amount, self.now, attributes, self.context)
        if way.filters_by_context:
            self._filter, self._samples = way.filter, samples
        return samples


class _Number(NamedTuple):
    """A number as the SDK's sums take it: its own class costs four times as much to make."""

    value: float
    time_unix_nano: int
    instrument: Any
    context: Context
    attributes: dict[str, Any]


class Bound:
    """A histogram with one set of attributes.

    Args:
        histogram: Where numbers go.
        attributes: The set; not to be changed any more.
    """

    __slots__ = ("_attributes", "_histogram", "_way")

    def __init__(self, histogram: Histogram, attributes: dict[str, Any]) -> None:
        self._histogram: Any = histogram
        self._attributes = attributes
        self._way: _Way | None = None

    def record(self, amount: float, moment: Moment) -> None:
        """Record a number that is not negative.

        Args:
            amount: The number.
            moment: When, and in which context.
        """
        if self._way is not None and self._way.leads(amount, self._attributes, moment):
            return
        self._histogram.record(amount, self._attributes, moment.context)
        if self._way is None:
            # What is made before there is a provider is a stand-in until then.
            instrument = getattr(self._histogram, "_real_instrument", self._histogram)
            self._way = None if instrument is None else _Way(instrument, self._attributes)


class _Way:
    """From one of the SDK's histograms to the sums of a set of attributes, for each reader.

    The sums are those of the keys that the SDK has made when it recorded in this set before.

    Args:
        instrument: The histogram.
        attributes: The set.
    """

    __slots__ = (
        "_consumer", "_instrument", "_places", "_storages", "filter", "filters_by_context",
    )  # fmt: skip

    def __init__(self, instrument: Any, attributes: dict[str, Any]) -> None:
        self._instrument = instrument
        self._places: list[tuple[dict[Any, Any], Any]] = []
        try:
            self._find(attributes)
        except (AttributeError, ImportError, LookupError, TypeError):
            self._places.clear()  # It is another SDK.

    def _find(self, attributes: dict[str, Any]) -> None:
        from opentelemetry.sdk import metrics
        from opentelemetry.sdk.metrics._internal.measurement import Measurement

        if tuple(field.name for field in fields(Measurement)) != _Number._fields:
            raise LookupError
        self._consumer = self._instrument._measurement_consumer
        self.filter = self._consumer._sdk_config.exemplar_filter
        self.filters_by_context = type(self.filter) in (
            metrics.TraceBasedExemplarFilter,
            metrics.AlwaysOnExemplarFilter,
            metrics.AlwaysOffExemplarFilter,
        )
        self._storages = self._consumer._reader_storages
        for storage in self._storages.values():
            for match in storage._instrument_view_instrument_matches[self._instrument]:
                # A sum that ends with a collection is not to be touched but under its lock.
                if getattr(match, "_reset_on_collect", False):
                    raise LookupError
                sums = match._attributes_aggregation
                key = next(reversed(sums))
                if sums[key]._attributes != attributes:
                    raise LookupError
                self._places.append((sums, key))

    def leads(self, amount: float, attributes: dict[str, Any], moment: Moment) -> bool:
        """Record a number, and return whether this way led to all sums."""
        found: list[Any] = [sums.get(key) for sums, key in self._places]
        if not found or None in found or self._consumer._reader_storages is not self._storages:
            return False
        sampled = moment.samples(self, amount, attributes)
        number = _Number(amount, moment.now, self._instrument, moment.context, attributes)
        for one in found:
            one.aggregate(number, sampled)
        return True


class Events:
    """Emits events.

    Args:
        logger: Where they go.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger: Any = logger
        self._limits = _limits_that_cut_nothing(logger)
        self._made: Any = None if self._limits is None else self._make()

    def _make(self) -> Any:
        """Return an event as the SDK makes it: it does so with a dear copy of its attributes."""
        from opentelemetry.sdk._logs import ReadWriteLogRecord

        logger = self._logger
        return ReadWriteLogRecord(
            LogRecord(), logger.resource, logger.instrumentation_scope, self._limits
        )

    def emit(self, attributes: dict[str, Any], **fields: Any) -> None:
        """Emit an event.

        Args:
            attributes: Its attributes, which are the event's from now on.
            fields: What else a log record has.
        """
        if self._made is None:
            self._logger.emit(attributes=attributes, **fields)
            return
        event = object.__new__(type(self._made))
        vars(event).update(vars(self._made), log_record=LogRecord(attributes=attributes, **fields))
        self._logger.emit(event)


@guarded
def _limits_that_cut_nothing(logger: Logger) -> Any:
    """Return the limits of the SDK's records; ``None`` if they may cut, or it is another SDK."""
    from opentelemetry.sdk import _logs as sdk

    if type(logger) is not sdk.Logger:
        return None
    limits = getattr(logger, "_log_record_limits", None) or sdk.LogRecordLimits()
    cuts = any(
        value is not None and ("length" in name or value < 2 * _MOST)
        for name, value in vars(limits).items()
    )
    return None if cuts else limits
