"""httpx, with which functions call providers, and with it the SDKs that are made on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from ..call import ModelCall, Passage, given_up_with
from ..guard import guarded
from ..patching import Wrapper, bound
from ..runtime import Runtime
from ..transport import (
    Outgoing,
    carrying,
    json_payload,
    know_groups,
    know_groups_in_thread,
    outgoing,
)


def sends(runtime: Runtime) -> Wrapper:
    """Wrap ``httpx.Client.send``, which every request passes."""

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        out = _read(runtime, bound(wrapped, args, kwargs)["request"])
        know_groups_in_thread(out)
        with carrying(out, _watch) as answered:
            return answered(wrapped(*args, **kwargs))

    return wrapper


def sends_async(runtime: Runtime) -> Wrapper:
    """Wrap ``httpx.AsyncClient.send``."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        out = _read(runtime, bound(wrapped, args, kwargs)["request"])
        await know_groups(out)
        with carrying(out, _watch) as answered:
            return answered(await wrapped(*args, **kwargs))

    return wrapper


@guarded
def _read(runtime: Runtime, request: Any) -> Outgoing | None:
    out = outgoing(runtime, request.method, str(request.url), lambda: _payload(request))
    if out is not None:
        out.asks = False  # What a function asks for by itself is its own affair.
    return out


def _payload(request: Any) -> Any:
    # A body that is made while it is sent cannot be read before.
    return json_payload(getattr(request, "_content", None))


@guarded
def _watch(call: ModelCall, response: Any) -> None:
    call.answered(response.status_code, response.headers)
    passage = Passage(call)
    if response.is_stream_consumed:
        passage.piece(response.content)
        passage.end()
        return
    response.iter_bytes = _watched(response.iter_bytes, passage)
    response.aiter_bytes = _watched_async(response.aiter_bytes, passage)
    given_up_with(response, call)


def _watched(iter_bytes: Callable[..., Iterator[bytes]], passage: Passage) -> Any:
    def watched(*args: Any, **kwargs: Any) -> Iterator[bytes]:
        try:
            for piece in iter_bytes(*args, **kwargs):
                passage.piece(piece)
                yield piece
            passage.end()
        except BaseException as error:
            passage.fail(error)
            raise

    return watched


def _watched_async(iter_bytes: Callable[..., AsyncIterator[bytes]], passage: Passage) -> Any:
    async def watched(*args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        try:
            async for piece in iter_bytes(*args, **kwargs):
                passage.piece(piece)
                yield piece
            passage.end()
        except BaseException as error:
            passage.fail(error)
            raise

    return watched
