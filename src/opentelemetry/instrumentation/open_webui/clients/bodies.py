"""Bodies that are read by iterating over them, as requests and httpx have them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..call import ModelCall, Passage


def read_at_once(call: ModelCall, content: bytes) -> None:
    """Read a body that has come already."""
    passage = Passage(call)
    passage.piece(content)
    passage.end()


def watched(call: ModelCall, iterate: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
    """Return what iterates over a body, which is read as it passes and ends the call."""
    passage = Passage(call)

    def watch(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with _ending(passage):
            for piece in iterate(*args, **kwargs):
                passage.piece(_bytes(piece))
                yield piece

    return watch


def watched_async(
    call: ModelCall, iterate: Callable[..., AsyncIterator[Any]]
) -> Callable[..., Any]:
    """Do the same with an asynchronous iterator."""
    passage = Passage(call)

    async def watch(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _ending(passage):
            async for piece in iterate(*args, **kwargs):
                passage.piece(_bytes(piece))
                yield piece

    return watch


@contextmanager
def _ending(passage: Passage) -> Iterator[None]:
    try:
        yield
        passage.end()
    except BaseException as error:
        passage.fail(error)
        raise


def _bytes(piece: Any) -> bytes:
    return piece if isinstance(piece, bytes) else str(piece).encode()
