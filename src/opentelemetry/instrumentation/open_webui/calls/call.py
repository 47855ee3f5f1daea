"""One call to one model: started, chunks, usage, ended. The only place that starts and ends one."""

from __future__ import annotations

import asyncio
import functools
import random
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from .. import deferred
from ..answers import errors
from ..answers.answer import Answer
from ..answers.billed import usd
from ..answers.estimates import Text
from ..answers.fast_json import Message
from ..answers.stream import BodyReader, StreamReader, read_message, reader_of
from ..answers.usage import NOTHING
from ..bounds import MOST_IMAGES, bound, whole
from ..calls.caller import Caller
from ..guard import guarded, report
from ..money.pricing import Cost
from ..names import CANCELLED
from .accounting import Accountant
from .asking import UsageFilter
from .endpoints import Endpoint

if TYPE_CHECKING:
    from opentelemetry.trace import Span


@dataclass(frozen=True, slots=True)
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
    prompt: Text | None = None
    """The measure of what the model is given to read."""

    def __post_init__(self) -> None:
        """Bound what users write: the model, and how many images."""
        bound(self, "model", "address", "url")
        if self.images is not None:
            object.__setattr__(self, "images", whole(self.images, MOST_IMAGES))


_END: Final = object()
_CHARGED: Final = "x-litellm-response-cost"


class Recorder(Protocol):
    """What a call tells of itself, and to whom."""

    def start(self, call: ModelCall) -> Span:
        """Start the call's span."""

    def record(self, call: ModelCall) -> None:
        """Turn an ended call into telemetry."""


class ModelCall:
    """One request to a provider, from before it is sent to the last byte of its answer."""

    __slots__ = (
        "__weakref__",
        "_accountant",
        "_clock",
        "_ended",
        "_kind",
        "_left",
        "_on_end",
        "_reader",
        "_recorder",
        "answer",
        "asked",
        "attributes",
        "caller",
        "charged",
        "chunks",
        "cost",
        "delegated",
        "duration",
        "error",
        "estimated",
        "first_chunk",
        "groups",
        "id",
        "parent_id",
        "read_to_end",
        "span",
        "status",
        "unpriced",
        "usage",
        "usage_filter",
    )

    def __init__(
        self,
        recorder: Recorder,
        asked: Asked,
        caller: Caller,
        groups: tuple[str, ...],
        on_end: Callable[[ModelCall], None],
        *,
        accountant: Accountant,
        parent: ModelCall | None = None,
        usage_filter: UsageFilter | None = None,
    ) -> None:
        self.id = f"{random.getrandbits(128):032x}"
        self.parent_id = parent.id if parent is not None else None
        """The call that made this one: a pipe's, which answers by calling models itself."""
        self.asked = asked
        self.caller = caller
        self.groups = groups
        self.usage_filter = usage_filter
        """Keeps from the caller the usage that only we asked for."""
        self.answer = Answer()
        self.error: str | None = None
        self.status: int | None = None
        """The HTTP status of the provider's answer."""
        self.duration = 0.0
        """Seconds."""
        self.first_chunk: float | None = None
        """Seconds from the request to the first piece of a streamed answer."""
        self.chunks = 0
        self.read_to_end = False
        """Whether the end of the answer has come, and not only the end of who reads it."""
        self.usage = NOTHING
        """The tokens that it used, once it has ended; with those that are estimated."""
        self.estimated = NOTHING
        """The part of them that nobody reported."""
        self.charged: float | None = None
        """USD that the provider says it charged, in the head of its answer."""
        self.cost: Cost | None = None
        self.unpriced = False
        """Whether it used something whose price is not known."""
        self.delegated = False
        """Whether it called models itself: what its answer says of tokens is theirs."""
        self._recorder = recorder
        self._accountant = accountant
        self._reader: StreamReader | BodyReader | None = None
        self._on_end = on_end
        self._ended = False
        self._left: float | None = None
        self._kind = ""
        self.attributes: dict[str, Any] = {}
        """What the recorder says of the request, on the span and later in the event."""
        self.span = recorder.start(self)
        self._clock = time.perf_counter()

    @property
    def under_way(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended

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

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head of the provider's answer.

        Source: LiteLLM's proxy documentation, "Response Headers"; of a stream, the cost is not
        known when it begins.
        """
        self.status = status
        self._kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not self.asked.stream:
            self.charged = usd(headers.get(_CHARGED))

    def begin_answer(self, piece: bytes) -> Callable[[bytes], None]:
        """Take it that the first piece is there; return what reads this one and the others."""
        if self.asked.stream:
            self.first_chunk = time.perf_counter() - self._clock
        wire = self.asked.endpoint.wire
        self._reader = reader_of(wire, self._kind, piece, self.asked.stream)
        return self._reader.feed

    @guarded
    def read_message(self, message: Message) -> None:
        """Take an answer that came in one piece and is parsed already."""
        self.answer = read_message(self.asked.endpoint.wire, message)

    @guarded
    def end(self, error: str | None = None) -> None:
        """End the call. Only the first end counts.

        Args:
            error: ``error.type``; without it, what the answer or its HTTP status say.
        """
        if self._ended:
            return
        self._ended = True
        self.read_to_end = error is None
        self.duration = (self._left or time.perf_counter()) - self._clock
        self._finish_reading()
        self.error = self._error(error)
        try:
            self._accountant.settle(self)
            self._recorder.record(self)
        finally:
            self._on_end(self)

    @guarded
    def _finish_reading(self) -> None:
        if self._reader is not None:
            self.chunks = self._reader.chunks
            self.answer = self._reader.finish()
            self.chunks = self._reader.chunks

    def fail(self, error: BaseException) -> None:
        """End the call by an exception: the provider's status says more, if there is one."""
        if isinstance(error, GeneratorExit):
            # The garbage collector may be who closes a generator.
            self.give_up()
        elif isinstance(error, asyncio.CancelledError):
            self.end(CANCELLED)
        elif self.status is not None and self.refused:
            self.end(errors.of_status(self.status))
        else:
            self.end(errors.of_exception(_origin(error)))

    def leave(self) -> None:
        """Leave it to the process that this one was forked from, which goes on with it."""
        self._ended = True

    def give_up(self, last: Callable[[], object] | None = None) -> None:
        """End the call soon, because nobody reads its answer. Safe wherever a finaliser may run.

        Args:
            last: Reads what has come and nobody has read.
        """
        if not self._ended:
            self._left = self._left or time.perf_counter()
            deferred.soon(functools.partial(self._abandoned, last))

    def _abandoned(self, last: Callable[[], object] | None) -> None:
        if last is not None and not self._ended:
            last()
        # An error's answer says all by its status.
        self.end(None if self.refused else CANCELLED)

    def _error(self, error: str | None) -> str | None:
        # Whoever leaves after the answer is complete has missed nothing.
        if error == CANCELLED and self.answer.complete:
            error = None
        if error is None and self.status is not None and self.refused:
            error = errors.of_status(self.status)
        return error or self.answer.error


def _origin(error: BaseException) -> BaseException:
    """Return what a web framework's exception was raised for: its own name says nothing."""
    return (hasattr(error, "status_code") and error.__context__) or error


def _ignore(_piece: bytes) -> None:
    pass


class Passage:
    """What reads an answer on its way from the provider to Open WebUI, piece by piece."""

    __slots__ = ("_call", "_filter", "_read")

    def __init__(self, call: ModelCall) -> None:
        self._call = call
        self._filter = call.usage_filter
        self._read: Callable[[bytes], None] = self._begin

    def piece(self, piece: bytes) -> bytes:
        """Take a piece, and return what is to go on of it."""
        # Runs for every chunk, so what can fail is guarded here and not by a call more.
        try:
            self._read(piece)
            return piece if self._filter is None else self._filter.feed(piece)
        except Exception:
            report("the reading of an answer")
            return piece

    def _begin(self, piece: bytes) -> None:
        self._read = self._call.begin_answer(piece)
        self._read(piece)

    def mute(self) -> None:
        """Take it that the answer is nothing to be read, as sound and pictures are."""
        self._read = _ignore

    def end(self) -> bytes:
        """Take it that there is no more, and return what was held back."""
        self._call.end()
        return b"" if self._filter is None else self._filter.finish()

    def fail(self, error: BaseException) -> None:
        """Take it that the answer broke off."""
        self._call.fail(error)

    def close(self, rest: Callable[[], bytes] = bytes) -> None:
        """Take it that nobody reads on.

        Args:
            rest: Returns what has come and was not read; it may hold the usage.
        """
        self._call.give_up(lambda: self.piece(rest()))


def given_up_with(thing: Any, give_up: Callable[[], None]) -> None:
    """End a call by ``give_up`` when ``thing``, which would have, is thrown away unused."""
    finalizer = weakref.finalize(thing, give_up)
    finalizer.atexit = False  # type: ignore[misc]  # a property that mypy's stubs do not know


def watched(
    call: ModelCall, body: Any, inside: Callable[[], AbstractContextManager[Any]]
) -> AsyncIterator[Any]:
    """Return a body that this process makes, read as it passes and ending the call with it.

    Args:
        call: Ended once, whether the body ends, breaks, is given up or is never begun.
        body: The body to pass on, untouched.
        inside: Makes the context for each step of the body.
    """
    stream = _watch(call, body, inside)
    # A body that nobody begins to read is never closed either.
    given_up_with(stream, call.give_up)
    return stream


def _encoded(piece: object) -> bytes:
    # A pipe may say half an emoji.
    return str(piece).encode("utf-8", "replace")


async def _watch(
    call: ModelCall, body: Any, inside: Callable[[], AbstractContextManager[Any]]
) -> AsyncIterator[Any]:
    passage = Passage(call)
    pieces = aiter(body)
    try:
        while True:
            with inside():
                piece = await anext(pieces, _END)
            if piece is _END:
                break
            passage.piece(piece if isinstance(piece, bytes) else _encoded(piece))
            yield piece
        call.end()
    except BaseException as error:
        call.fail(error)
        raise
    finally:
        # Closing our generator must close Open WebUI's, which holds its resources.
        if hasattr(body, "aclose"):
            await body.aclose()
