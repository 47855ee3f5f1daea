"""httpx and httpx2, with which functions call providers, and the SDKs that are made on them.

httpx2 is httpx's successor by another name; what is used of it here is the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from ...guard import guarded
from ...wrapping import Wrapper, bound
from ..endpoints import Payload
from ..host import Host
from ..live import LiveCall
from ..transport import Carrying, Outgoing, make_ready, make_ready_in_thread
from .bodies import Watch, asked, payload_of, read_at_once


def sends(runtime: Host) -> Wrapper:
    """Wrap ``httpx.Client.send``, which every request passes."""

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        out = _read(runtime, bound(wrapped, args, kwargs)["request"])
        make_ready_in_thread(out)
        with Carrying(out, _watch) as answered:
            return answered(wrapped(*args, **kwargs))

    return wrapper


def sends_async(runtime: Host) -> Wrapper:
    """Wrap ``httpx.AsyncClient.send``."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        out = _read(runtime, bound(wrapped, args, kwargs)["request"])
        await make_ready(out)
        with Carrying(out, _watch) as answered:
            return answered(await wrapped(*args, **kwargs))

    return wrapper


@guarded
def _read(runtime: Host, request: Any) -> Outgoing | None:
    return asked(runtime, request.method, request.url, lambda: _payload(request))


def _payload(request: Any) -> Payload:
    # The fields of a form are there before the form is written. Any other body that is made while
    # it is sent cannot be read before.
    fields = getattr(request.stream, "fields", None)
    if fields is not None:
        named = ((field.name, getattr(field, "value", None)) for field in fields)
        return {name: value for name, value in named if isinstance(value, str)}
    return payload_of(getattr(request, "_content", None), request.headers)


@guarded
def _watch(call: LiveCall, response: Any) -> None:
    if response.is_stream_consumed:
        call.answered(response.status_code, response.headers)
        read_at_once(call, response.content)
        return
    watch = Watch(call).answered(response.status_code, response.headers)
    response.stream = WatchedStream(response.stream, watch)


class WatchedStream:
    """The body of a response as it comes: whatever else reads it is made on that.

    Stands in for a stream of httpx, which may be a synchronous one, an asynchronous one or both.
    """

    __slots__ = ("__weakref__", "_stream", "_watch")

    def __init__(self, stream: Any, watch: Watch) -> None:
        self._stream = stream
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """Whoever asks what it is gets the answer that would be true without us."""
        return type(self._stream)

    def __iter__(self) -> Iterator[bytes]:
        with self._watch.passing():
            for piece in self._stream:
                self._watch.take(piece)
                yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._watch.passing():
            async for piece in self._stream:
                self._watch.take(piece)
                yield piece

    def close(self) -> None:
        """Close the stream: nobody reads on."""
        self._watch.close()
        self._stream.close()

    async def aclose(self) -> None:
        """Close an asynchronous stream."""
        self._watch.close()
        await self._stream.aclose()
