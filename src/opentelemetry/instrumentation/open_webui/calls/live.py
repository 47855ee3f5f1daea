"""A call that is under way: what it hears of its answer, and when. The only place that ends one."""

from __future__ import annotations

import asyncio
import functools
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from .. import deferred
from ..answers import errors
from ..answers.billed import usd
from ..answers.fast_json import Message
from ..answers.stream import BodyReader, StreamReader, read_message, reader_of
from ..guard import guarded
from ..names import CANCELLED
from .asking import UsageFilter
from .call import ModelCall

_CHARGED: Final = "x-litellm-response-cost"
# Bytes of an answer that may be kept to be read a moment later.
_MOST_KEPT: Final = 1 << 14


class LiveCall:
    """Times a call and reads its answer, to the first end that comes.

    Args:
        call: What it is of.
        ended: Takes the call when it has ended.
        usage_filter: Keeps from the caller the usage that only we asked for.
        waits: Whether nobody needs to know at its end what its answer says.
    """

    __slots__ = (
        "__weakref__", "_clock", "_ended", "_kind", "_left", "_lost", "_reader", "_waits", "call",
        "unread", "usage_filter",
    )  # fmt: skip

    def __init__(
        self,
        call: ModelCall,
        ended: Callable[[LiveCall], None],
        usage_filter: UsageFilter | None = None,
        *,
        waits: bool = False,
    ) -> None:
        self.call = call
        self.usage_filter = usage_filter
        self.unread = False
        """Whether it has ended, and its answer was left to :meth:`read`."""
        self._ended = ended
        self._waits = waits
        self._reader: StreamReader | BodyReader | None = None
        self._kind = ""
        self._left: float | None = None
        self._lost: weakref.ref[Any] | None = None
        self._clock = time.perf_counter()

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head of the provider's answer.

        Source: LiteLLM's proxy documentation, "Response Headers"; of a stream, the cost is not
        known when it begins.
        """
        self.call.status = status
        self._kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not self.call.asked.stream:
            charged = headers.get(_CHARGED)
            self.call.charged = None if charged is None else usd(charged)

    def begin_answer(self, piece: bytes) -> Callable[[bytes], None]:
        """Take it that the first piece is there.

        Returns:
            What reads this one and the others.
        """
        asked = self.call.asked
        if asked.stream:
            self.call.first_chunk = time.perf_counter() - self._clock
        self._reader = reader_of(asked.endpoint.wire, self._kind, piece, asked.stream)
        return self._reader.feed

    @guarded
    def read_message(self, message: Message) -> None:
        """Take an answer that came in one piece and is parsed already."""
        self.call.answer = read_message(self.call.asked.endpoint.wire, message)

    @guarded
    def end(self, error: str | None = None) -> None:
        """End the call. Only the first end counts.

        Args:
            error: ``error.type``; without it, what the answer or its HTTP status say.
        """
        call = self.call
        if call.ended:
            return
        call.ended = True
        self._lost = None
        call.read_to_end = error is None
        call.duration = (self._left or time.perf_counter()) - self._clock
        call.error = error
        # What an error means may depend on the answer.
        self.unread = self._waits and error is None and self._is_small()
        if not self.unread:
            self.read()
        self._ended(self)

    def _is_small(self) -> bool:
        reader = self._reader
        return type(reader) is BodyReader and reader.held <= _MOST_KEPT and not self.call.refused

    @guarded
    def read(self) -> None:
        """Read the answer of the ended call. To be called once."""
        self._finish_reading()
        self.call.error = _error(self.call, self.call.error)

    @guarded
    def _finish_reading(self) -> None:
        if self._reader is not None:
            self.call.chunks = self._reader.chunks
            self.call.answer = self._reader.finish()
            self.call.chunks = self._reader.chunks

    def end_with(self, thing: Any, give_up: Callable[[], None]) -> None:
        """End by ``give_up`` when ``thing``, which would have ended it, is thrown away unused.

        The call is known for as long as it is under way, and so is this; ``weakref.finalize`` would
        keep it beyond, at three times the cost.
        """
        self._lost = weakref.ref(thing, lambda _: give_up())

    def fail(self, error: BaseException) -> None:
        """End the call by an exception: the provider's status says more, if there is one."""
        if isinstance(error, GeneratorExit):
            # The garbage collector may be who closes a generator.
            self.give_up()
        elif isinstance(error, asyncio.CancelledError):
            self.end(CANCELLED)
        elif self.call.status is not None and self.call.refused:
            self.end(errors.of_status(self.call.status))
        else:
            self.end(errors.of_exception(_origin(error)))

    def give_up(self, last: Callable[[], object] | None = None) -> None:
        """End the call soon, because nobody reads its answer. Safe wherever a finaliser may run.

        Args:
            last: Reads what has come and nobody has read.
        """
        if not self.call.ended:
            self._left = self._left or time.perf_counter()
            deferred.soon(functools.partial(self._abandoned, last))

    def leave(self) -> None:
        """Leave it to the process that this one was forked from, which goes on with it."""
        self.call.ended = True

    def _abandoned(self, last: Callable[[], object] | None) -> None:
        if last is not None and not self.call.ended:
            last()
        # An error's answer says all by its status.
        self.end(None if self.call.refused else CANCELLED)


def _error(call: ModelCall, error: str | None) -> str | None:
    # Whoever leaves after the answer is complete has missed nothing.
    if error == CANCELLED and call.answer.complete:
        error = None
    if error is None and call.status is not None and call.refused:
        error = errors.of_status(call.status)
    return error or call.answer.error


def _origin(error: BaseException) -> BaseException:
    """Return what a web framework's exception was raised for: its own name says nothing."""
    return (hasattr(error, "status_code") and error.__context__) or error
