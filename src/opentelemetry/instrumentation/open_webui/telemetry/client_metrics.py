"""The GenAI client metrics of ended calls, under the names of today or those to come.

Today's are what ``opentelemetry-util-genai`` 1.3b0 records. Those to come are in the conventions'
registry: inference gets duration and chunk metrics of its own, and tokens a histogram and a counter
for each of their kinds. Operations that are no inference keep their duration, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .. import names
from ..answers.usage import Usage
from ..calls.call import ModelCall
from .handing import Bound, Moment

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter

Attributes = dict[str, Any]
Recording = Callable[[ModelCall, Moment], None]
"""Records what one call tells: the call, and when, in the context of its span."""
Binding = Callable[[Attributes], Recording]
"""Returns what records calls that have these attributes, which are not changed any more."""

_INPUT: Final = {names.TOKEN_TYPE: "input"}
_OUTPUT: Final = {names.TOKEN_TYPE: "output"}
_MODALITY: Final = {names.TOKEN_MODALITY: names.UNKNOWN_MODALITY}


def histogram(meter: Meter, metric: names.Metric) -> Histogram:
    """Make a histogram as ``names`` has it."""
    return meter.create_histogram(
        metric.name,
        metric.unit,
        metric.description,
        explicit_bucket_boundaries_advisory=metric.buckets,
    )


def todays(meter: Meter) -> Binding:
    """Return what binds ``gen_ai.client.operation.*`` and ``gen_ai.client.token.usage``."""
    times = _times(meter, names.DURATION, names.FIRST_CHUNK, names.PER_CHUNK)
    tokens = histogram(meter, names.TOKEN_USAGE)

    def bind(attributes: Attributes) -> Recording:
        record_times = times(attributes)
        given, made = (Bound(tokens, {**attributes, **kind}) for kind in (_INPUT, _OUTPUT))

        def record(call: ModelCall, moment: Moment) -> None:
            record_times(call, moment)
            told = _told(call)
            for kind, amount in ((given, told.input), (made, told.output)):
                if amount is not None:
                    kind.record(amount, moment)

        return record

    return bind


def coming(meter: Meter) -> Binding:
    """Return what binds ``gen_ai.client.inference.*``, and other durations as today."""
    times = _times(
        meter, names.INFERENCE_DURATION, names.INFERENCE_FIRST_CHUNK, names.INFERENCE_PER_CHUNK
    )
    other = histogram(meter, names.DURATION)
    tokens = [
        histogram(meter, metric) for metric in (names.INFERENCE_INPUT, names.INFERENCE_OUTPUT)
    ]
    used = [_counter(meter, metric) for metric in _USED]

    def bind(attributes: Attributes) -> Recording:
        if attributes[names.OPERATION] not in names.INFERENCE:
            duration = Bound(other, attributes)
            return lambda call, moment: duration.record(call.duration, moment)
        record_times = times(attributes)
        kinds = [Bound(one, attributes) for one in tokens]
        # The conventions give the counters no `error.type`.
        counted = {**attributes, **_MODALITY}
        counted.pop(names.ERROR_TYPE, None)

        def record(call: ModelCall, moment: Moment) -> None:
            record_times(call, moment)
            told, usage = _told(call), call.usage
            amounts = (
                told.input, told.output, usage.cache_read, usage.cache_creation, usage.reasoning,
            )  # fmt: skip
            for kind, amount in zip(kinds, amounts, strict=False):
                kind.record(amount or 0, moment)
            for counter, amount in zip(used, amounts, strict=True):
                counter.add(amount or 0, counted, moment.context)

        return record

    return bind


_USED: Final = (
    names.USED_INPUT,
    names.USED_OUTPUT,
    names.USED_CACHE_READ,
    names.USED_CACHE_WRITE,
    names.USED_REASONING,
)


def _counter(meter: Meter, metric: names.Metric) -> Counter:
    return meter.create_counter(metric.name, metric.unit, metric.description)


def _times(meter: Meter, *metrics: names.Metric) -> Binding:
    histograms = [histogram(meter, metric) for metric in metrics]

    def bind(attributes: Attributes) -> Recording:
        whole, first, per_chunk = (Bound(one, attributes) for one in histograms)

        def record(call: ModelCall, moment: Moment) -> None:
            whole.record(call.duration, moment)
            if call.first_chunk is not None:
                first.record(call.first_chunk, moment)
            if (mean := call.per_chunk) is not None:
                per_chunk.record(mean, moment)

        return record

    return bind


def _told(call: ModelCall) -> Usage:
    """Input and output tokens that the provider told; estimates are none of its."""
    usage, estimated = call.usage, call.estimated
    if not estimated:
        return usage
    return Usage(
        usage.input if estimated.input is None else None,
        usage.output if estimated.output is None else None,
    )
