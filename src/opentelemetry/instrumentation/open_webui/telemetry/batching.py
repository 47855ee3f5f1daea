"""Splits what is exported, so that no request outgrows what a receiver takes.

A gRPC server takes messages of 4 MiB, a proxy in front of it often bodies of 1 MiB, and who sends
more is refused: with enough users for good, because the next export is as large. So sizes are
reckoned before encoding, by what OTLP's protobuf encoding takes at the most, and never below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

LARGEST: Final = 1_000_000
"""Bytes that a request may have at the most, unless one item alone has more."""

# A field is a tag, and a length or a number; lengths below 2 MiB take three bytes.
_FRAME: Final = 4
_NUMBER: Final = 11
# Ids, times, kinds, counts: all that is fixed.
_POINT: Final = 110
_EXEMPLAR: Final = 60
_RECORD: Final = 160

Item = TypeVar("Item")


def metric_batches(data: Any, largest: int = LARGEST) -> Iterator[Any]:
    """Split the SDK's ``MetricsData``; what fits as it is stays as it is."""
    sized = list(_points(data))
    heads = _Heads()
    batch: list[Any] = []
    size = 0
    for place, point, point_size in sized:
        added = point_size + heads.size(place)
        if batch and size + added > largest:
            yield _metrics_data(data, batch)
            batch, size = [], 0
            heads = _Heads()
            added = point_size + heads.size(place)
        batch.append((place, point))
        size += added
    yield data if len(batch) == len(sized) else _metrics_data(data, batch)


def span_batches(spans: Sequence[Any], largest: int = LARGEST) -> Iterator[Sequence[Any]]:
    """Split finished spans of the SDK."""
    return _batches(spans, _span_size, largest)


def log_batches(records: Sequence[Any], largest: int = LARGEST) -> Iterator[Sequence[Any]]:
    """Split log records of the SDK."""
    return _batches(records, _record_size, largest)


def point_count(data: Any) -> int:
    """Return how many data points the SDK's ``MetricsData`` holds."""
    return sum(
        len(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


def _batches(
    items: Sequence[Item], size_of: Callable[[Item], int], largest: int
) -> Iterator[Sequence[Item]]:
    start = size = 0
    for index, item in enumerate(items):
        added = size_of(item)
        if index > start and size + added > largest:
            yield items[start:index]
            start, size = index, 0
        size += added
    yield items[start:] if start else items


# Where a point belongs: resource, scope and metric of the SDK.
_Place = tuple[Any, Any, Any]


class _Heads:
    """What a request says once of each resource, scope and metric that is in it."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    def size(self, place: _Place) -> int:
        """Return what the place adds to the request if it is new there."""
        resource, scope, metric = place
        if id(metric) in self._told:
            return 0
        added = 0
        for part, size_of in (
            (resource, _resource_head),
            (scope, _scope_head),
            (metric, _metric_head),
        ):
            if id(part) not in self._told:
                self._told.add(id(part))
                added += size_of(part)
        return added


def _points(data: Any) -> Iterator[tuple[_Place, Any, int]]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                place = (resource, scope, metric)
                for point in metric.data.data_points:
                    yield place, point, _point_size(point)


def _metrics_data(data: Any, batch: Iterable[tuple[_Place, Any]]) -> Any:
    """Build the data that holds just these points, in their places."""
    tree: dict[int, tuple[Any, dict[int, tuple[Any, dict[int, tuple[Any, list[Any]]]]]]] = {}
    for (resource, scope, metric), point in batch:
        scopes = tree.setdefault(id(resource), (resource, {}))[1]
        metrics = scopes.setdefault(id(scope), (scope, {}))[1]
        metrics.setdefault(id(metric), (metric, []))[1].append(point)
    return replace(
        data,
        resource_metrics=[
            replace(
                resource,
                scope_metrics=[
                    replace(
                        scope,
                        metrics=[
                            replace(metric, data=replace(metric.data, data_points=points))
                            for metric, points in metrics.values()
                        ],
                    )
                    for scope, metrics in scopes.values()
                ],
            )
            for resource, scopes in tree.values()
        ],
    )


def _resource_head(metrics: Any) -> int:
    return _resource_size(metrics.resource) + _text(metrics.schema_url)


def _scope_head(metrics: Any) -> int:
    return _scope_size(metrics.scope) + _text(metrics.schema_url)


def _metric_head(metric: Any) -> int:
    return 6 * _FRAME + _text(metric.name) + _text(metric.description) + _text(metric.unit)


def _point_size(point: Any) -> int:
    size = _POINT + _attributes_size(point.attributes)
    for counts in ("bucket_counts", "explicit_bounds"):
        size += _NUMBER * len(getattr(point, counts, ()))
    for buckets in ("positive", "negative"):
        size += _NUMBER * len(getattr(getattr(point, buckets, None), "bucket_counts", ()))
    for exemplar in point.exemplars or ():
        size += _EXEMPLAR + _attributes_size(exemplar.filtered_attributes)
    return size


def _span_size(span: Any) -> int:
    size = _RECORD + _common_size(span) + _text(span.name) + _text(span.status.description)
    size += _state_size(span.context)
    for event in span.events:
        size += _RECORD + _text(event.name) + _attributes_size(event.attributes)
    for link in span.links:
        size += _RECORD + _state_size(link.context) + _attributes_size(link.attributes)
    return size


def _record_size(readable: Any) -> int:
    record = readable.log_record
    return (
        _RECORD
        + _common_size(readable)
        + _attributes_size(record.attributes)
        + _text(record.severity_text)
        + _text(record.event_name)
        + _value_size(record.body)
    )


def _common_size(item: Any) -> int:
    """Resource and scope: said once of each in a request, reckoned as if of each item."""
    return (
        _attributes_size(getattr(item, "attributes", None))
        + _resource_size(item.resource)
        + _scope_size(item.instrumentation_scope)
    )


def _resource_size(resource: Any) -> int:
    return 4 * _FRAME + _attributes_size(resource.attributes) + _text(resource.schema_url)


def _scope_size(scope: Any) -> int:
    if scope is None:
        return 4 * _FRAME
    return (
        6 * _FRAME
        + _text(scope.name)
        + _text(scope.version)
        + 2 * _text(scope.schema_url)
        + _attributes_size(scope.attributes)
    )


def _state_size(context: Any) -> int:
    return sum(_text(key) + _text(value) + 2 for key, value in context.trace_state.items())


def _attributes_size(attributes: Mapping[str, Any] | None) -> int:
    if not attributes:
        return 0
    size = 0
    for key, value in attributes.items():
        size += 2 * _FRAME + _text(key) + _value_size(value)
    return size


def _value_size(value: Any) -> int:
    if isinstance(value, str):
        return 2 * _FRAME + _text(value)
    if isinstance(value, bytes):
        return 2 * _FRAME + len(value)
    if isinstance(value, Mapping):
        return 3 * _FRAME + _attributes_size(value)
    if isinstance(value, Sequence):
        return 3 * _FRAME + sum(map(_value_size, value))
    return _FRAME + _NUMBER


def _text(text: str | None) -> int:
    """Return the bytes of a text in UTF-8."""
    if not text:
        return 0
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
