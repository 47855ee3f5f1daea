"""The GenAI client metrics of ended calls, under the names of today or those to come.

Today's are what ``opentelemetry-util-genai`` 1.3b0 records. Those to come are in the conventions'
registry: inference gets duration and chunk metrics of its own, and tokens a histogram and a counter
for each of their kinds. Operations that are no inference keep their duration, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from .. import names
from ..calls.call import ModelCall

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Counter, Histogram, Meter

Attributes = dict[str, Any]
Recording = Callable[[ModelCall, Attributes, "Context"], None]
"""Records what one call tells: the call, its attributes, the context of its span."""

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


def todays(meter: Meter) -> Recording:
    """Return what records ``gen_ai.client.operation.*`` and ``gen_ai.client.token.usage``."""
    times = _times(meter, names.DURATION, names.FIRST_CHUNK, names.PER_CHUNK)
    tokens = histogram(meter, names.TOKEN_USAGE)

    def record(call: ModelCall, attributes: Attributes, context: Context) -> None:
        times(call, attributes, context)
        for kind, amount in zip((_INPUT, _OUTPUT), _told(call), strict=True):
            if amount is not None:
                tokens.record(amount, {**attributes, **kind}, context)

    return record


def coming(meter: Meter) -> Recording:
    """Return what records ``gen_ai.client.inference.*``, and other durations as today."""
    times = _times(
        meter, names.INFERENCE_DURATION, names.INFERENCE_FIRST_CHUNK, names.INFERENCE_PER_CHUNK
    )
    other = histogram(meter, names.DURATION)
    tokens = [
        histogram(meter, metric) for metric in (names.INFERENCE_INPUT, names.INFERENCE_OUTPUT)
    ]
    used = [_counter(meter, metric) for metric in _USED]

    def record(call: ModelCall, attributes: Attributes, context: Context) -> None:
        if call.asked.operation not in names.INFERENCE:
            other.record(call.duration, attributes, context)
            return
        times(call, attributes, context)
        told = [amount or 0 for amount in _told(call)]
        for one, amount in zip(tokens, told, strict=True):
            one.record(amount, attributes, context)
        # The conventions give the counters no `error.type`.
        counted = {**attributes, **_MODALITY}
        counted.pop(names.ERROR_TYPE, None)
        for counter, amount in zip(used, (*told, *_parts(call)), strict=True):
            counter.add(amount, counted, context)

    return record


_USED: Final = (
    names.USED_INPUT,
    names.USED_OUTPUT,
    names.USED_CACHE_READ,
    names.USED_CACHE_WRITE,
    names.USED_REASONING,
)


def _counter(meter: Meter, metric: names.Metric) -> Counter:
    return meter.create_counter(metric.name, metric.unit, metric.description)


def _times(meter: Meter, *metrics: names.Metric) -> Recording:
    whole, first, per_chunk = (histogram(meter, metric) for metric in metrics)

    def record(call: ModelCall, attributes: Attributes, context: Context) -> None:
        whole.record(call.duration, attributes, context)
        if call.first_chunk is not None:
            first.record(call.first_chunk, attributes, context)
        if (mean := call.per_chunk) is not None:
            per_chunk.record(mean, attributes, context)

    return record


def _told(call: ModelCall) -> Iterator[int | None]:
    """Input and output tokens that the provider told; estimates are none of its."""
    usage, estimated = call.usage, call.estimated
    yield usage.input if estimated.input is None else None
    yield usage.output if estimated.output is None else None


def _parts(call: ModelCall) -> Iterator[int]:
    usage = call.usage
    for amount in (usage.cache_read, usage.cache_creation, usage.reasoning):
        yield amount or 0
