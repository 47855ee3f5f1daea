"""The way of an answer from the provider to Open WebUI: each piece is read as it passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from ..guard import report
from .live import LiveCall

_END: Final = object()


def _ignore(_piece: bytes) -> bool:
    return False


class Passage:
    """What reads an answer on its way from the provider to Open WebUI, piece by piece."""

    __slots__ = ("_call", "_filter", "_skim")

    def __init__(self, call: LiveCall) -> None:
        self._call = call
        self._filter = call.usage_filter
        self._skim: Callable[[bytes], bool | None] = self._begin

    def piece(self, piece: bytes) -> bytes:
        """Take a piece, and return what is to go on of it."""
        # Runs for every chunk, so what can fail is guarded here and not by a call more.
        try:
            quiet, taken = self._skim(piece), self._filter
            if taken is None:
                return piece
            return taken.of_quiet(piece) if quiet else taken.feed(piece)
        except Exception:
            report("the reading of an answer")
            return piece

    def _begin(self, piece: bytes) -> bool | None:
        self._skim = self._call.begin_answer(piece)
        return self._skim(piece)

    def mute(self) -> None:
        """Take it that the answer is nothing to be read, as sound and pictures are."""
        self._skim = _ignore

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
