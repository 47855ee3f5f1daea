"""One call to one model: started, chunks, usage, ended. The only place that starts and ends one."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from .caller import Caller
from .guard import guarded, report
from .names import CANCELLED
from .usage import Answer, Message, StreamReader, Usage, Wire, read_whole

if TYPE_CHECKING:
    from opentelemetry.trace import Span


@dataclass(frozen=True, slots=True)
class Asked:
    """What the provider was asked for."""

    operation: str
    provider: str
    model: str
    stream: bool
    address: str
    port: int | None


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
        "_clock",
        "_ended",
        "_on_end",
        "_reader",
        "_recorder",
        "answer",
        "asked",
        "attributes",
        "caller",
        "chunks",
        "duration",
        "error",
        "first_chunk",
        "groups",
        "span",
        "started",
        "status",
    )

    def __init__(
        self,
        recorder: Recorder,
        wire: Wire,
        asked: Asked,
        caller: Caller,
        groups: tuple[str, ...],
        on_end: Callable[[ModelCall], None],
    ) -> None:
        self.asked = asked
        self.caller = caller
        self.groups = groups
        self.answer = Answer()
        self.error: str | None = None
        self.status: int | None = None
        """The HTTP status of the provider's answer."""
        self.duration = 0.0
        """Seconds."""
        self.first_chunk: float | None = None
        """Seconds from the request to the first piece of a streamed answer."""
        self.chunks = 0
        self._recorder = recorder
        self._reader = StreamReader(wire)
        self._on_end = on_end
        self._ended = False
        self.attributes: dict[str, Any] = {}
        """What the recorder says of the request, on the span and later in the event."""
        self.span = recorder.start(self)
        self._clock = time.perf_counter()

    @property
    def usage(self) -> Usage:
        """The tokens that the provider reported."""
        return self.answer.reports.total()

    @property
    def unreported(self) -> bool:
        """Whether the provider answered, and said nothing of tokens."""
        return not self.usage and (self.error is None or self.first_chunk is not None)

    @property
    def per_chunk(self) -> float | None:
        """Mean seconds between the chunks of a stream; ``None`` with fewer than two."""
        if self.first_chunk is None or self.chunks < 2:
            return None
        return (self.duration - self.first_chunk) / (self.chunks - 1)

    def begin_stream(self) -> Callable[[bytes], bool]:
        """Take it that the first piece is there; return what reads this one and all further ones.

        What is returned says of a piece whether it is one line that only reports usage.
        """
        self.first_chunk = time.perf_counter() - self._clock
        return self._reader.feed

    @guarded
    def read_whole(self, message: Message) -> None:
        """Take an answer that came in one piece."""
        self.answer = read_whole(self._reader.wire, message)

    @guarded
    def end(self, error: str | None = None) -> None:
        """End the call. Only the first end counts.

        Args:
            error: ``error.type``; without it, what the answer or its HTTP status say.
        """
        if self._ended:
            return
        self._ended = True
        self.duration = time.perf_counter() - self._clock
        if self.first_chunk is not None:
            self.answer = self._reader.finish()
            self.chunks = self._reader.chunks
        self.error = self._error(error)
        try:
            self._recorder.record(self)
        finally:
            self._on_end(self)

    def fail(self, error: BaseException) -> None:
        """End the call by an exception: the provider's status says more, if there is one."""
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self.end(CANCELLED)
        elif self.status is not None and self.status >= 400:
            self.end(str(self.status))
        else:
            self.end(type(_origin(error)).__qualname__)

    def _error(self, error: str | None) -> str | None:
        # Whoever leaves after the answer is complete has missed nothing.
        if error == CANCELLED and self.answer.complete:
            error = None
        if error is None and self.status is not None and self.status >= 400:
            error = str(self.status)
        return error or self.answer.error


def _origin(error: BaseException) -> BaseException:
    """Return what a web framework's exception was raised for: its own name says nothing."""
    return (hasattr(error, "status_code") and error.__context__) or error


# The blank line that ends an event of a stream.
_BLANK: Final = (b"\n", b"\r\n")


def watched(call: ModelCall, body: Any, hide_usage: bool) -> AsyncIterator[Any]:
    """Return the body of a streamed answer, read as it passes and ending the call with it.

    Args:
        call: Ended once, whether the body ends, breaks, is given up or is never begun.
        body: The body to pass on, untouched.
        hide_usage: Leave out the event that only reports usage, for who did not ask for it.
    """
    stream = _watch(call, body, hide_usage)
    # A body that nobody begins to read is never closed either.
    finalizer = weakref.finalize(stream, call.end, CANCELLED)
    finalizer.atexit = False  # type: ignore[misc]  # a property that mypy's stubs do not know
    return stream


async def _watch(call: ModelCall, body: Any, hide_usage: bool) -> AsyncIterator[Any]:
    hidden = False
    read = None
    try:
        async for piece in body:
            if hidden and piece in _BLANK:
                hidden = False
                continue
            # Runs for every chunk, so what can fail is guarded here and not by a call more.
            try:
                if read is None:
                    read = call.begin_stream()
                hidden = read(piece) and hide_usage
            except Exception:
                report("the reading of a stream")
                hidden = False
            if not hidden:
                yield piece
        call.end()
    except BaseException as error:
        call.fail(error)
        raise
    finally:
        # Closing our generator must close Open WebUI's, which holds the connection.
        if hasattr(body, "aclose"):
            await body.aclose()
