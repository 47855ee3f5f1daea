"""The way of an answer from the provider to Open WebUI: each piece is read as it passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from ..guard import report
from .live import LiveCall

_END: Final = object()


class Passage:
    """What reads an answer on its way from the provider to Open WebUI, piece by piece."""

    __slots__ = ("_call", "_feed")

    def __init__(self, call: LiveCall) -> None:
        self._call = call
        self._feed: Callable[[bytes], None] = self._begin

    def piece(self, piece: bytes) -> None:
        """Take a piece."""
        # Runs for every chunk, so what can fail is guarded here and not by a call more.
        try:
            self._feed(piece)
        except Exception:
            report("the reading of an answer")

    def _begin(self, piece: bytes) -> None:
        self._feed = self._call.begin_answer(piece)
        self._feed(piece)

    def end(self) -> None:
        """Take it that there is no more."""
        self._call.end()

    def fail(self, error: BaseException) -> None:
        """Take it that the answer broke off."""
        self._call.fail(error)

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Take it that nobody reads on.

        Args:
            last: Reads what has come and is not read; it may hold the usage.
        """
        self._call.give_up(last)


def watched(
    call: LiveCall, body: Any, inside: Callable[[], AbstractContextManager[Any]]
) -> AsyncIterator[Any]:
    """Return a body that this process makes, read as it passes and ending the call with it.

    Args:
        call: Ended once, whether the body ends, breaks, is given up or is never begun.
        body: The body to pass on, untouched.
        inside: Makes the context for each step of the body.
    """
    stream = _watch(call, body, inside)
    # A body that nobody begins to read is never closed either.
    call.end_with(stream, call.give_up)
    return stream


def _encoded(piece: object) -> bytes:
    # A pipe may say half an emoji.
    return str(piece).encode("utf-8", "replace")


async def _watch(
    call: LiveCall, body: Any, inside: Callable[[], AbstractContextManager[Any]]
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
