"""One call to one model: the value that passes through, from its start to who is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from opentelemetry.trace import INVALID_SPAN, Span

from .. import ids
from ..answers.answer import SILENCE, Answer
from ..answers.estimates import Text
from ..answers.usage import NOTHING, Usage
from ..bounds import MOST_IMAGES, bound, whole
from ..money.pricing import Cost
from .caller import Caller
from .endpoints import Endpoint

Measure = Callable[[], Text | None]
"""Returns the measure of a text; ``None`` where it is not known, or nobody wants to know."""


def _unmeasured() -> Text | None:
    return None


# Not frozen, which would double what it costs to make one. Nobody changes it.
@dataclass(slots=True)
class Asked:
    """What the provider was asked for."""

    endpoint: Endpoint
    operation: str
    provider: str
    model: str
    stream: bool
    address: str = ""
    """Host of the provider; empty where the model runs in this process."""
    port: int | None = None
    characters: int | None = None
    """Characters to speak."""
    images: int | None = None
    """Images to make."""
    url: str = ""
    """The address without its query, as far as texts may be long."""
    prompt: Measure = _unmeasured
    """Measures what the model is given to read."""

    def __post_init__(self) -> None:
        """Bound what users write: the model, and how many images."""
        bound(self, "model", "address", "url")
        if self.images is not None:
            self.images = whole(self.images, MOST_IMAGES)


@dataclass(slots=True, eq=False)
class ModelCall:
    """One request to a provider, from before it is sent to the last byte of its answer.

    Others work on it: :mod:`~.live` reads its answer and times it, :mod:`~.accounting` settles it,
    and who is a :class:`Listener` tells of it.
    """

    asked: Asked
    caller: Caller
    groups: tuple[str, ...] = ()
    parent_id: str | None = None
    """The call that made this one: a pipe's, which answers by calling models itself."""
    id: str = field(default_factory=ids.new)
    ended: bool = False
    answer: Answer = SILENCE
    error: str | None = None
    status: int | None = None
    """The HTTP status of the provider's answer."""
    duration: float = 0.0
    """Seconds."""
    first_chunk: float | None = None
    """Seconds from the request to the first piece of a streamed answer."""
    chunks: int = 0
    read_to_end: bool = False
    """Whether the end of the answer has come, and not only the end of who reads it."""
    usage: Usage = NOTHING
    """The tokens that it used, once it has ended; with those that are estimated."""
    estimated: Usage = NOTHING
    """The part of them that nobody reported."""
    charged: float | None = None
    """USD that the provider says it charged, in the head of its answer."""
    cost: Cost | None = None
    unpriced: bool = False
    """Whether it used something whose price is not known."""
    delegated: bool = False
    """Whether it called models itself: what its answer says of tokens is theirs."""
    unsettled: Callable[[], None] | None = None
    """Reads the answer and settles the call, where that was left until somebody tells of it."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """What telemetry says of the request, on the span and later in the event."""
    span: Span = INVALID_SPAN
    """The span that tells of it."""

    @property
    def refused(self) -> bool:
        """Whether the provider answered with an error instead."""
        return self.status is not None and self.status >= 400

    @property
    def characters(self) -> int | None:
        """Characters that were spoken."""
        return self.asked.characters if self.error is None else None

    @property
    def images(self) -> int | None:
        """Images that were made."""
        if self.error is not None:
            return None
        return self.asked.images if self.answer.images is None else self.answer.images

    @property
    def per_chunk(self) -> float | None:
        """Mean seconds between the chunks of a stream; ``None`` with fewer than two."""
        if self.first_chunk is None or self.chunks < 2:
            return None
        return (self.duration - self.first_chunk) / (self.chunks - 1)


class Listener(Protocol):
    """Who is told of calls: telemetry is one, and others fail apart from it."""

    def started(self, call: ModelCall) -> None:
        """Take it that a call is about to be sent."""

    def ended(self, call: ModelCall) -> None:
        """Take it that a call has ended: all is known of it, or will be (``unsettled``)."""
