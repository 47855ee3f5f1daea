"""Bodies of aiohttp's responses, read where they arrive.

aiohttp feeds what comes to a ``StreamReader``, and Open WebUI reads from that, by whichever method.
Here this very object becomes one of a class that looks at each piece as it is fed, in one function;
every read stays aiohttp's own. Between two pieces a server does other work and memory goes cold, so
that each function more would cost several times what it does in a loop.
"""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from aiohttp import ClientConnectionError, ClientResponse
from aiohttp.streams import StreamReader

from ...guard import guarded, report
from ..asking import NULL_EVENT, UsageFilter
from ..live import LiveCall
from ..passage import Passage

# Bytes that are read at once.
_AT_ONCE: Final = 1 << 14
# What an event ends with, instead of the null.
_EVENT_END: Final = b"}\n\n"
# Bytes; to ask for a number is the cheapest of all searches.
_LF, _CR, _D = b"\n\rd"

_feed: Final = StreamReader.feed_data


class Buffer(deque[bytes]):
    """aiohttp's buffer of what nobody has read yet, and who watches what comes into it.

    It is the only part of a ``StreamReader`` that has room for that.

    Args:
        unread: What is in it.
        passage: What reads it.
        usage_filter: Takes out of it what only we asked for.
    """

    __slots__ = ("_usage_filter", "cuts_nulls", "due", "passage", "pieces")

    def __init__(
        self, unread: Iterable[bytes], passage: Passage, usage_filter: UsageFilter | None
    ) -> None:
        super().__init__(unread)
        self.passage = passage
        self.pieces: list[bytes] = []
        """What has come since it was last read."""
        self.due = -1
        """After how many bytes of the body to read; the first piece is read at once."""
        self._usage_filter = usage_filter
        self.cuts_nulls = usage_filter is not None and usage_filter.cuts_nulls

    def read(self) -> None:
        """Have read what has come."""
        data = b"".join(self.pieces)
        self.pieces.clear()
        if data:
            self.passage.piece(data)

    def end(self) -> None:
        """Take it that there is no more."""
        self.read()
        self.passage.end()

    def fail(self, error: BaseException) -> None:
        """Take it that the answer broke off."""
        self.read()
        self.passage.fail(error)

    def give_up(self) -> None:
        """Take it that nobody reads on. Runs as a finaliser, too, and so reads nothing yet."""
        self.passage.close(self.read)

    def kept(self, piece: bytes) -> bytes:
        """Return what is to go on of a piece."""
        usage_filter = self._usage_filter
        if usage_filter is None:
            return piece
        try:
            kept = usage_filter.feed(piece)
        except Exception:
            report("the hiding of usage")
            kept = piece
        self.cuts_nulls = usage_filter.cuts_nulls
        # Of what does not go on, aiohttp counts no bytes.
        self.due -= len(piece) - len(kept)
        return kept

    @guarded
    def rest(self) -> bytes:
        """Return what was held back, at the end."""
        return b"" if self._usage_filter is None else self._usage_filter.finish()


class Ending(StreamReader):
    """A body of which only the end is heard."""

    __slots__ = ()
    _buffer: Buffer

    def feed_eof(self) -> None:
        """Take it that there is no more."""
        rest = self._buffer.rest()
        if rest:
            _feed(self, rest)
        super().feed_eof()
        self._buffer.end()

    def set_exception(self, exc: BaseException, *args: Any, **options: Any) -> None:
        """Take it that the answer broke off, or that the response was closed."""
        super().set_exception(exc, *args, **options)
        # As what aiohttp closes a response; whoever met an error closes it for that.
        closed = type(exc) is ClientConnectionError
        error = _raised_by(self) if closed else exc
        if error is None:
            self._buffer.give_up()
        else:
            self._buffer.fail(error)


class Watched(Ending):
    """A body that is read as it arrives."""

    __slots__ = ()

    def feed_data(self, data: bytes, size: int = 0) -> Any:
        """Take the next piece."""
        buffer = self._buffer
        buffer.pieces.append(data)
        if self.total_bytes > buffer.due:
            buffer.due = self.total_bytes + _AT_ONCE
            buffer.read()
        return _feed(self, data)


class Filtered(Ending):
    """The same of which is taken out what only we asked for."""

    __slots__ = ()

    def feed_data(self, data: bytes, size: int = 0) -> Any:
        """Take the next piece."""
        buffer = self._buffer
        buffer.pieces.append(data)
        if self.total_bytes > buffer.due:
            buffer.due = self.total_bytes + _AT_ONCE
            buffer.read()
        # Nearly each is one event of one line of data with a null at its end. What the filter does
        # to that is done here, and by few calls: each takes a microsecond in a server.
        if buffer.cuts_nulls:
            start = data.removesuffix(NULL_EVENT)
            if (
                start
                and data[-1] == _LF
                and start[0] == _D
                and _LF not in start
                and _CR not in start
            ):
                return _feed(self, start + _EVENT_END)
        return _feed(self, buffer.kept(data))


# An aiohttp of which no body can become one of these is told of here, when it is to be patched.
StreamReader.__new__(StreamReader).__class__ = Filtered


@guarded
def _raised_by(content: StreamReader) -> BaseException | None:
    """Return what reading a body has raised, if that is being handled."""
    error = sys.exc_info()[1]
    while error is not None:
        frames = traceback.walk_tb(error.__traceback__)
        if any(frame.f_locals.get("self") is content for frame, _ in frames):
            return error
        error = error.__context__
    return None


def watch(response: ClientResponse, call: LiveCall, passage: Passage, *, mute: bool) -> None:
    """Have a body read as it arrives, and the call end with it.

    Args:
        response: Has the body, of which some may have come.
        call: Ends with it.
        passage: What reads it.
        mute: Whether it is nothing to be read.
    """
    content = response.content
    buffer = Buffer(content._buffer, passage, call.usage_filter)
    call.end_with(response, buffer.give_up)
    came = b"".join(buffer)
    if came and not mute:
        buffer.pieces.append(came)
        buffer.due = content.total_bytes + _AT_ONCE
        buffer.read()
    kept = buffer.kept(came) if came else came
    error = content.exception()
    if error is not None:
        buffer.fail(error)
        return
    if content.is_eof():
        kept += buffer.rest() or b""
        buffer.end()
    else:
        content._buffer = buffer
        content.__class__ = Ending if mute else (Watched if call.usage_filter is None else Filtered)
    if kept != came:
        with suppress(TimeoutError):  # Who reads meets the same.
            content.read_nowait()
            put_back(content, kept)


def put_back(content: StreamReader, data: bytes) -> None:
    """Put back what was read of a body, or what is to be read instead.

    As ``StreamReader.unread_data``, which warns each time that it will go.
    """
    if data:
        content._buffer.appendleft(data)
        content._size += len(data)
        content._cursor -= len(data)
