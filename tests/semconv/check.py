"""Compares what was exported with the registries' own definitions, as Weaver's live check does.

`registry.json` has the definitions, written by `dev/semconv.py`. What they do not have stands in the
tables here, each with its reason; what begins with `open_webui.` is ours, by docs/telemetry.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.otlp import Event, Point, Receiver, Span

REGISTRY: Final = json.loads((Path(__file__).parent / "registry.json").read_text())
SCOPE: Final = "opentelemetry.instrumentation.open_webui"
OURS: Final = "open_webui."
EVENTS: Final = frozenset(("open_webui.usage",))

# Attributes that the registries define, on signals for which they do not.
_WHO: Final = "who calls, which is what the library is for"
EXTRA_ON_SPANS: Final = {
    "user.id": _WHO,
    "user.name": _WHO,
    "user.roles": _WHO,
    "http.route": "on which route of Open WebUI the caller came",
}
_LIKE_A_CHAT: Final = "some providers tell it of embeddings, too"
EXTRA_ON_EMBEDDINGS: Final = {
    "gen_ai.conversation.id": "files of a chat are embedded for it",
    "gen_ai.response.id": _LIKE_A_CHAT,
    "gen_ai.response.finish_reasons": _LIKE_A_CHAT,
    "gen_ai.usage.output_tokens": _LIKE_A_CHAT,
    "gen_ai.usage.cache_read.input_tokens": _LIKE_A_CHAT,
}
EXTRA_ON_METRICS: Final = {
    "error.type": "tells failed calls apart in all that is measured of calls"
}
# Values that a custom name may be given for, because no well-known one applies.
_NO_NAME: Final = "no operation of the registry is this"
VALUES: Final = {
    "gen_ai.operation.name": {
        "rerank": _NO_NAME,
        "speech": _NO_NAME,
        "transcription": _NO_NAME,
        "realtime": _NO_NAME,
        "image_generation": _NO_NAME,
        "image_edit": _NO_NAME,
        "ocr": _NO_NAME,
        "_OTHER": "a request that asks a model for something that the library does not know",
    },
    "gen_ai.provider.name": {
        "ollama": "the registry has no name for it",
        "elevenlabs": "the registry has no name for it",
        "deepgram": "the registry has no name for it",
        "automatic1111": "the registry has no name for it",
        "comfyui": "the registry has no name for it",
        "azure.ai.speech": "another service than Azure's inference and OpenAI",
        "open_webui.pipe": "a function in Open WebUI's process",
        "open_webui.direct": "whatever the user's browser is connected to",
    },
}
# Of these the registry says that they have any value beside those that it knows.
OPEN: Final = frozenset(("error.type",))

_SPANS: Final = {
    "embeddings": "gen_ai.embeddings.client",
    "invoke_agent": "gen_ai.invoke_agent.internal",
    "execute_tool": "gen_ai.execute_tool.internal",
}
_INFERENCE: Final = "gen_ai.client.inference"
_NAMED: Final = {
    "gen_ai.invoke_agent.internal": "gen_ai.agent.name",
    "gen_ai.execute_tool.internal": "gen_ai.tool.name",
}
# A pipe runs in the process; the registry allows for that in a note.
_KINDS: Final = {_INFERENCE: ("client", "internal")}
_INSTRUMENTS: Final = {("sum", True): "counter", ("sum", False): "updowncounter"}
_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "double": lambda value: isinstance(value, float),
    "boolean": lambda value: isinstance(value, bool),
    "string[]": lambda value: isinstance(value, tuple) and all(isinstance(v, str) for v in value),
}


@dataclass(frozen=True)
class Signal:
    """What a span or a data point says, and what its conditions hang on."""

    name: str
    attributes: Mapping[str, Any]
    failed: bool = False
    levels: Mapping[str, str] | None = None
    """Requirement levels by attribute; ``None`` for a signal of our own."""
    extra: Collection[str] = ()
    """What it may have beside those."""

    def complaints(self) -> Iterator[str]:
        """What is missing, what nobody defines, and what has the wrong type or value."""
        for attribute in self.levels or ():
            if attribute not in self.attributes and self._needs(attribute):
                yield f"{self.name}: {attribute} is missing"
        for attribute, value in self.attributes.items():
            if not attribute.startswith(OURS):
                yield from self._of_attribute(attribute, value)

    def _needs(self, attribute: str) -> bool:
        level = (self.levels or {})[attribute]
        if level == "required":
            return True
        if not level.startswith("conditionally_required"):
            return False
        return {
            "error.type": self.failed,
            "server.port": "server.address" in self.attributes,
            # We always know them.
            "gen_ai.agent.name": self.name.startswith("invoke_agent"),
            "gen_ai.provider.name": True,
        }.get(attribute, False)

    def _of_attribute(self, attribute: str, value: Any) -> Iterator[str]:
        kind = REGISTRY["attributes"].get(attribute)
        if kind is None:
            yield f"{self.name}: no registry defines the attribute {attribute}"
        elif self.levels is not None and attribute not in {*self.levels, *self.extra}:
            yield f"{self.name}: {attribute} does not belong to it"
        elif isinstance(kind, list):
            if attribute not in OPEN and value not in {*kind, *VALUES.get(attribute, ())}:
                yield f"{self.name}: {attribute} has no value {value!r}"
        elif not _TYPES[kind](value):
            yield f"{self.name}: {attribute} is {value!r}, not {kind}"


def of_receiver(receiver: Receiver) -> list[str]:
    """Everything that is wrong in what a receiver got of us."""
    return complaints(receiver.spans, receiver.points, receiver.events)


def complaints(
    spans: Iterable[Span], points: Iterable[Point], events: Iterable[Event]
) -> list[str]:
    """Everything that is wrong in what we exported, each complaint once."""
    found = [line for span in spans if span.scope == SCOPE for line in _of_span(span)]
    found += [line for point in points if point.scope == SCOPE for line in _of_point(point)]
    found += [line for event in events if event.scope == SCOPE for line in _of_event(event)]
    return sorted(set(found))


def _of_span(span: Span) -> Iterator[str]:
    operation = str(span.attributes.get("gen_ai.operation.name"))
    kind = _SPANS.get(operation, _INFERENCE)
    definition = REGISTRY["spans"][kind]
    called = f"{operation} {span.attributes.get(_NAMED.get(kind, 'gen_ai.request.model'))}"
    if span.name != called:
        yield f"{operation}: a span is called {span.name!r}, not {called!r}"
    if span.kind not in _KINDS.get(kind, (definition["kind"],)):
        yield f"{operation}: its kind is {span.kind}"
    extra = {**EXTRA_ON_SPANS, **(EXTRA_ON_EMBEDDINGS if operation == "embeddings" else {})}
    yield from Signal(
        operation, span.attributes, span.status == "error", definition["attributes"], extra
    ).complaints()


def _of_point(point: Point) -> Iterator[str]:
    definition = REGISTRY["metrics"].get(point.metric)
    if definition is None:
        if not point.metric.startswith(OURS):
            yield f"no registry defines the metric {point.metric}"
        yield from Signal(point.metric, point.attributes).complaints()
        return
    instrument = _INSTRUMENTS.get((point.kind, point.monotonic), point.kind)
    for what, told in (("instrument", instrument), ("unit", point.unit)):
        if told != definition[what]:
            yield f"{point.metric}: its {what} is {told}, not {definition[what]}"
    yield from Signal(
        point.metric,
        point.attributes,
        levels=definition["attributes"],
        extra=EXTRA_ON_METRICS,
    ).complaints()


def _of_event(event: Event) -> Iterator[str]:
    if event.name not in EVENTS:
        yield f"no event is called {event.name!r}"
    yield from Signal(event.name, event.attributes).complaints()
