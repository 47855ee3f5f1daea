"""Bodies of aiohttp's responses, read where they arrive.

aiohttp feeds what comes to a ``StreamReader``, and Open WebUI reads from that, by whichever method.
Here the two containers in it become ones that tell: the buffer of each piece that is put in, by
one function, and the list of what to call at the end. Every read stays aiohttp's own. Between two
pieces a server does other work and memory goes cold, so that each function more would cost several
times what it does in a loop. (To make the ``StreamReader`` one of another class costs more than all
of this: Python makes the code of a class fast for objects of one class only.)
"""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from typing import Any, Final, cast

from aiohttp import ClientConnectionError, ClientResponse
from aiohttp.streams import StreamReader

from ...guard import guarded, report
from ..asking import UsageFilter
from ..live import LiveCall
from ..passage import Passage

# Bytes that are read at once.
_AT_ONCE: Final = 1 << 14


class Buffer(deque[bytes]):
    """aiohttp's buffer of what nobody has read yet; of this one nothing is heard but the end.

    Args:
        content: Has it.
        passage: What reads what comes into it.
    """

    __slots__ = ("content", "due", "passage", "pieces")

    def __init__(self, content: StreamReader, passage: Passage) -> None:
        super().__init__(content._buffer)
        self.content = content
        self.passage = passage
        self.pieces: list[bytes] = []
        """What has come since it was last read."""
        self.due = -1
        """After how many bytes of the body to read; the first piece is read at once."""

    put = deque.append
    """As ``append``, of which nothing is heard."""

    def read_until(self, total: int) -> None:
        """Have read what has come, and then nothing before much has come after so many bytes."""
        self.due = total + _AT_ONCE
        self.read()

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
        return piece

    def rest(self) -> bytes | None:
        """Return what was held back, at the end."""
        return None


class Watched(Buffer):
    """The same of a body that is read as it arrives."""

    __slots__ = ()

    def append(self, data: bytes) -> None:
        """Take the next piece."""
        self.pieces.append(data)
        total = self.content.total_bytes
        if total > self.due:
            self.read_until(total)
        self.put(data)


class Filtered(Buffer):
    """The same of a body of which is taken out what only we asked for.

    Args:
        content: Has it.
        passage: What reads what comes into it.
        usage_filter: Takes it out.
    """

    __slots__ = ("_usage_filter", "cuts_nulls")

    def __init__(self, content: StreamReader, passage: Passage, usage_filter: UsageFilter) -> None:
        super().__init__(content, passage)
        self._usage_filter = usage_filter
        self.cuts_nulls = usage_filter.cuts_nulls

    def append(self, data: bytes) -> None:
        """Take the next piece. aiohttp counts all of it, so what goes is taken off here."""
        self.pieces.append(data)
        content = self.content
        total = content.total_bytes
        if total > self.due:
            self.read_until(total)
        # Nearly each is one event, which is one line of data (100 is its "d"; 10 and 13 end lines),
        # with a null at its end or without. What the filter does to those is done here: of the
        # first, 13 bytes go.
        if self.cuts_nulls:
            start = data.removesuffix(b',"usage":null}\n\n')
            if start and data[-1] == 10 and start[0] == 100 and 10 not in start and 13 not in start:
                self.put(start + b"}\n\n")
                content._size -= 13
                content.total_bytes -= 13
                return
            if data.endswith(b"\n\n") and data.rfind(b'"usage"') < 0:
                self.put(data)
                return
        kept = self.kept(data)
        if kept:
            self.put(kept)
        content._size -= len(data) - len(kept)
        content.total_bytes -= len(data) - len(kept)

    def kept(self, piece: bytes) -> bytes:
        """Return what is to go on of a piece."""
        try:
            kept = self._usage_filter.feed(piece)
        except Exception:
            report("the hiding of usage")
            kept = piece
        self.cuts_nulls = self._usage_filter.cuts_nulls
        # Of what does not go on, aiohttp counts no bytes.
        self.due -= len(piece) - len(kept)
        return kept

    @guarded
    def rest(self) -> bytes | None:
        """Return what was held back, at the end."""
        return self._usage_filter.finish()


class Endings(list[Callable[[], None]]):
    """What aiohttp calls at the end of a body, and forgets then or when the body breaks off.

    Args:
        buffer: Of the body.
    """

    __slots__ = ("_buffer",)

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer.content._eof_callbacks)
        self._buffer = buffer

    def clear(self) -> None:
        """Take it that the body has come to its end, broke off, or that its response was closed."""
        super().clear()
        self._tell()

    @guarded
    def _tell(self) -> None:
        buffer = self._buffer
        content, error = buffer.content, buffer.content.exception()
        # Nothing of ours stays: it would keep the body, and be kept by it.
        content._buffer, content._eof_callbacks = deque(buffer), []
        if error is None:
            rest = buffer.rest()
            if rest:
                content._buffer.append(rest)
                content._size += len(rest)
                content.total_bytes += len(rest)
            buffer.end()
            return
        # As what aiohttp closes a response; whoever met an error closes it for that.
        if type(error) is ClientConnectionError:
            error = _raised_by(content)
        if error is None:
            buffer.give_up()
        else:
            buffer.fail(error)


# An aiohttp that lacks these is told of here, when it is to be patched.
attrgetter("_buffer", "_cursor", "_eof_callbacks", "_size", "total_bytes")(
    StreamReader(cast(Any, None), 0, loop=cast(Any, object()))
)


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
    content, usage_filter = response.content, call.usage_filter
    if mute or usage_filter is None:
        buffer = Buffer(content, passage) if mute else Watched(content, passage)
    else:
        buffer = Filtered(content, passage, usage_filter)
    call.end_with(response, buffer.give_up)
    came = b"".join(buffer)
    if came and not mute:
        buffer.pieces.append(came)
        buffer.read_until(content.total_bytes)
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
        content._eof_callbacks = Endings(buffer)
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
