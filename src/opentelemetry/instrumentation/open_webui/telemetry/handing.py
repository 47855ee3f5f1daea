"""Handing attributes to the SDK that need no more cleaning: it would look at each of them again.

Ours are texts, numbers, truth values and tuples of texts, bounded where they enter (``bounds``).
The SDK makes sure of no more than that, three times for each call, at a fifth of a call's cost; and
for each number in a histogram it makes a key of all attributes anew. The shorter ways here are
taken only where the SDK is as we know it and no limit is set that could cut something; elsewhere,
the public ones are.
"""

from __future__ import annotations

import time
from typing import Any, Final

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

    def start(self, name: str, attributes: dict[str, Any], **options: Any) -> Span:
        """Start a span. Whoever looks at its attributes when it starts sees all of them."""
        processors = getattr(getattr(self.tracer, "span_processor", None), "_span_processors", None)
        if processors is not self._seen:
            self._seen = processors
            self._unread = _do_not_read(processors) and _reads_none(self.tracer)
        if not self._unread:
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

    def record(self, amount: float, context: Context) -> None:
        """Record a number that is not negative.

        Args:
            amount: The number.
            context: Has the span that it belongs to.
        """
        if self._way is not None and self._way.leads(amount, self._attributes, context):
            return
        self._histogram.record(amount, self._attributes, context)
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

    __slots__ = ("_consumer", "_instrument", "_make", "_places", "_storages")

    def __init__(self, instrument: Any, attributes: dict[str, Any]) -> None:
        self._instrument = instrument
        self._places: list[tuple[dict[Any, Any], Any]] = []
        try:
            self._find(attributes)
        except (AttributeError, ImportError, LookupError, TypeError):
            self._places.clear()  # It is another SDK.

    def _find(self, attributes: dict[str, Any]) -> None:
        from opentelemetry.sdk.metrics._internal.measurement import Measurement

        self._make = Measurement
        self._consumer = self._instrument._measurement_consumer
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

    def leads(self, amount: float, attributes: dict[str, Any], context: Context) -> bool:
        """Record a number, and return whether this way led to all sums."""
        found: list[Any] = [sums.get(key) for sums, key in self._places]
        if not found or None in found or self._consumer._reader_storages is not self._storages:
            return False
        now = time.time_ns()
        samples = self._consumer._sdk_config.exemplar_filter.should_sample
        sampled = samples(amount, now, attributes, context)
        number = self._make(amount, now, self._instrument, context, attributes)
        for one in found:
            one.aggregate(number, sampled)
        return True


class Events:
    """Emits events.

    Args:
        logger: Where they go.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._record: Any = None
        self._limits = _limits_that_cut_nothing(logger)
        if self._limits is not None:
            from opentelemetry.sdk._logs import ReadWriteLogRecord

            self._record = ReadWriteLogRecord

    def emit(self, attributes: dict[str, Any], **fields: Any) -> None:
        """Emit an event.

        Args:
            attributes: Its attributes, which are the event's from now on.
            fields: What else a log record has.
        """
        logger: Any = self._logger
        if self._record is None:
            logger.emit(attributes=attributes, **fields)
            return
        event = self._record(
            LogRecord(**fields), logger.resource, logger.instrumentation_scope, self._limits
        )
        event.log_record.attributes = attributes
        logger.emit(event)


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
