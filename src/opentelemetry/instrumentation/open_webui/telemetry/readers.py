"""What we need to know of the SDK's readers and processors, which it has no public way to ask.

Everything here is a guess with a safe answer: of an SDK that has moved its attributes, or of
another SDK, we take the defaults of the OpenTelemetry specification.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

# `OTEL_METRIC_EXPORT_INTERVAL` and its default, in milliseconds.
_INTERVAL_VARIABLE: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_DEFAULT_INTERVAL: Final = 60_000.0

# The specification's default cardinality limit is 2,000 attribute sets of an instrument.
_SHARD_SIZE: Final = 1_500
# A limit counts the set that the SDK folds into.
_KEPT_FREE: Final = 1

# An export that is slow, or waits for a collector, delays the next collection.
_SLACK_FACTOR: Final = 1.5
_MOST_SLACK: Final = 10.0

_PULLED: Final = "opentelemetry.exporter.prometheus"


def hold_seconds(provider: object) -> float:
    """Return the time in which each reader collects once: the longest interval, and slack."""
    readers = _readers(provider)
    longest = max((_interval(reader) for reader in readers), default=_default_interval()) / 1000
    return min(longest * _SLACK_FACTOR, longest + _MOST_SLACK)


def are_pulled(provider: object) -> bool:
    """Whether all readers wait to be read by others, who do not say when they come again."""
    readers = _readers(provider)
    return bool(readers) and all(_is_pulled(reader) for reader in readers)


def _is_pulled(reader: object) -> bool:
    return any(cls.__module__.startswith(_PULLED) for cls in type(reader).__mro__)


def _exports(reader: object) -> bool:
    return hasattr(reader, "_exporter")


def are_pushed(provider: object) -> bool:
    """Whether all readers export what they read, and so hear whether it came through."""
    readers = _readers(provider)
    return bool(readers) and all(map(_exports, readers))


def shard_size(provider: object) -> int:
    """Return how many attribute sets one instrument may carry without the SDK folding any."""
    config = getattr(provider, "_sdk_config", None)
    limits = [
        getattr(view, "_aggregation_cardinality_limit", None)
        for view in getattr(config, "views", None) or ()
    ]
    for reader in _readers(provider):
        limits += (getattr(reader, "_instrument_class_cardinality_limit", None) or {}).values()
    known = [limit - _KEPT_FREE for limit in limits if isinstance(limit, int)]
    return max(1, min([_SHARD_SIZE, *known]))


def exporters(provider: object) -> Iterator[tuple[Any, Any]]:
    """Return the exporters of a provider of any signal, each with the batches that it is given."""
    for reader in _readers(provider):
        if _exports(reader):
            yield reader._exporter, None
    for processor in _processors(provider):
        yield from _processors_exporters(processor)


def resources(providers: Iterable[Any]) -> Iterator[Any]:
    """Return the resources that providers of any signal describe themselves by."""
    for provider in providers:
        for holder, name in ((provider, "_resource"), (_config(provider), "resource")):
            resource = getattr(holder, name, None)
            if hasattr(resource, "attributes"):
                yield resource


def storages(providers: Iterable[Any]) -> Iterator[Any]:
    """Return what keeps the sums of synchronous instruments, for each reader."""
    for provider in providers:
        consumer = getattr(provider, "_measurement_consumer", None)
        for storage in tuple(getattr(consumer, "_reader_storages", {}).values()):
            if hasattr(storage, "_instrument_view_instrument_matches"):
                yield storage


def parts(providers: Iterable[Any]) -> Iterator[Any]:
    """Return all parts of providers that may have locks."""
    known = list(providers)
    yield from storages(known)
    for provider in known:
        yield provider
        yield getattr(provider, "_measurement_consumer", None)
        yield from _readers(provider)
        yield from tuple(getattr(provider, "_meters", {}).values())
        yield from _processors(provider)
        for exporter, _ in exporters(provider):
            yield exporter


def _processors(provider: object) -> Iterator[Any]:
    for attribute in ("_active_span_processor", "_multi_log_record_processor"):
        if hasattr(provider, attribute):
            yield getattr(provider, attribute)


def _config(provider: Any) -> Any:
    return getattr(provider, "_sdk_config", None)


def _processors_exporters(processor: Any) -> Iterator[tuple[Any, Any]]:
    for attribute in ("_span_processors", "_log_record_processors"):
        for each in getattr(processor, attribute, ()):
            yield from _processors_exporters(each)
    batches = getattr(processor, "_batch_processor", None)
    for holder, attribute in (
        (batches, "_exporter"),
        (processor, "span_exporter"),
        (processor, "_exporter"),
    ):
        if hasattr(holder, attribute):
            yield getattr(holder, attribute), batches
            return


def _readers(provider: object) -> tuple[Any, ...]:
    readers: Iterable[Any] | None = getattr(provider, "_metric_readers", None)
    if readers is None:
        readers = getattr(getattr(provider, "_sdk_config", None), "metric_readers", None)
    return tuple(readers or ())


def _interval(reader: object) -> float:
    interval = getattr(reader, "_export_interval_millis", None)
    if isinstance(interval, (int, float)) and 0 < interval < float("inf"):
        return float(interval)
    return _default_interval()


def _default_interval() -> float:
    try:
        return float(os.environ.get(_INTERVAL_VARIABLE, _DEFAULT_INTERVAL))
    except ValueError:
        return _DEFAULT_INTERVAL
