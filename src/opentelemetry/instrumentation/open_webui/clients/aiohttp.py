"""aiohttp, with which Open WebUI reaches most providers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from aiohttp import ClientResponse, FormData, WSMsgType
from aiohttp.streams import StreamReader

from ..call import ModelCall, Passage, given_up_with
from ..endpoints import Payload
from ..guard import guarded
from ..patching import Wrapper
from ..runtime import Runtime
from ..transport import Outgoing, carrying, json_payload, know_groups, outgoing

_CLOSED: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})
# Sound and pictures say nothing of themselves.
_MUTE: Final = ("audio/", "image/", "video/", "application/octet-stream")


def sends(runtime: Runtime) -> Wrapper:
    """Wrap ``aiohttp.ClientSession._request``: every request passes it, few call a model."""

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        # Most requests of Open WebUI's are none of ours, and end here.
        out = None if args and args[0] != "POST" else _read(runtime, args, kwargs)
        return wrapped(*args, **kwargs) if out is None else _send(out, wrapped, args, kwargs)

    return wrapper


@guarded
def _read(runtime: Runtime, args: Any, kwargs: Mapping[str, Any]) -> Outgoing | None:
    method, url = (*args, kwargs.get("method"), kwargs.get("str_or_url"))[:2]
    return outgoing(runtime, str(method), str(url), lambda: _payload(kwargs))


def _payload(kwargs: Mapping[str, Any]) -> Payload:
    if isinstance(kwargs.get("json"), dict):
        payload: Payload = kwargs["json"]
        return payload
    data = kwargs.get("data")
    return _form(data) if isinstance(data, FormData) else json_payload(data)


def _form(form: FormData) -> Payload:
    fields = ((options.get("name"), value) for options, _, value in form._fields)
    return {str(name): value for name, value in fields if isinstance(value, str)}


async def _send(
    out: Outgoing, wrapped: Callable[..., Awaitable[Any]], args: Any, kwargs: Mapping[str, Any]
) -> Any:
    await know_groups(out)
    response = await _send_once(out, wrapped, args, kwargs)
    if out.refused(response.status) and out.give_up_asking(await _body_of(response)):
        response = await _send_once(out, wrapped, args, kwargs)
    return response


async def _body_of(response: ClientResponse) -> bytes:
    try:
        # aiohttp keeps what was read, so Open WebUI reads the same afterwards.
        return await response.read()
    except Exception:
        return b""


async def _send_once(
    out: Outgoing, wrapped: Callable[..., Awaitable[Any]], args: Any, kwargs: Mapping[str, Any]
) -> Any:
    with carrying(out, _watch) as answered:
        if out.asks:
            kwargs = {**kwargs, "data": out.body(kwargs["data"])}
        return answered(await wrapped(*args, **kwargs))


@guarded
def _watch(call: ModelCall, response: ClientResponse) -> None:
    call.answered(response.status, response.headers)
    if response.content.at_eof():
        call.end()
        return
    body = WatchedBody(response.content, call)
    if response.content_type.startswith(_MUTE):
        body.passage.mute()
    response.content = cast(StreamReader, body)
    given_up_with(response, call)


def connects(runtime: Runtime) -> Wrapper:
    """Wrap ``aiohttp.ClientSession._ws_connect``: voice is spoken over a socket."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        socket = await wrapped(*args, **kwargs)
        _listen(runtime, socket, str(args[0] if args else kwargs["url"]))
        return socket

    return wrapper


@guarded
def _listen(runtime: Runtime, socket: Any, url: str) -> None:
    # The connection is configured, and compared, as an address of HTTP.
    out = outgoing(runtime, "POST", url.replace("ws", "http", 1), dict)
    if out is not None:
        socket.receive = Voice(out).watched(socket.receive)


class Voice:
    """The calls to a model in one conversation over a socket: each response is one.

    Source: the OpenAI API reference, Realtime server events.
    """

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._call: ModelCall | None = None

    def watched(self, receive: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return what receives a message, and hears when a response begins and ends."""

        async def received(*args: Any, **kwargs: Any) -> Any:
            try:
                message = await receive(*args, **kwargs)
            except BaseException as error:
                if self._call is not None:
                    self._call.fail(error)
                raise
            self._hear(message)
            return message

        return received

    @guarded
    def _hear(self, message: Any) -> None:
        text = message.data
        if not isinstance(text, str):
            if message.type in _CLOSED and self._call is not None:
                self._call.give_up()
        elif '"response.created"' in text:
            self._call = self._out.start()
        elif '"response.done"' in text and self._call is not None:
            self._call.read_message(json_payload(text))
            self._call.end()


class WatchedBody:
    """The body of a response, read as Open WebUI reads it, by whichever method that is.

    Stands in for aiohttp's ``StreamReader``. It is read once for every chunk and more, so the
    methods hand out the coroutine that reads and do not wait for it in one of their own.
    """

    __slots__ = ("__weakref__", "passage", "stream")

    def __init__(self, stream: StreamReader, call: ModelCall) -> None:
        self.stream = stream
        self.passage = Passage(call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type[StreamReader]:  # type: ignore[override]
        """Whoever asks what it is gets the answer that would be true without us."""
        return StreamReader

    # These come down to the methods below.
    __aiter__ = StreamReader.__aiter__
    iter_any = StreamReader.iter_any
    iter_chunked = StreamReader.iter_chunked
    iter_chunks = StreamReader.iter_chunks

    def readline(self, *args: Any, **options: Any) -> Awaitable[bytes]:
        """Watch ``StreamReader.readline``."""
        return self._read(self.stream.readline, args, options)

    async def read(self, n: int = -1) -> bytes:
        """Watch ``StreamReader.read``."""
        kept = await self._read(self.stream.read, (n,))
        return kept + self.passage.end() if n < 0 else kept

    def readany(self) -> Awaitable[bytes]:
        """Watch ``StreamReader.readany``."""
        return self._read(self.stream.readany)

    def readuntil(self, *args: Any, **options: Any) -> Awaitable[bytes]:
        """Watch ``StreamReader.readuntil``."""
        return self._read(self.stream.readuntil, args, options)

    def readexactly(self, n: int) -> Awaitable[bytes]:
        """Watch ``StreamReader.readexactly``."""
        return self._read(self.stream.readexactly, (n,))

    async def readchunk(self) -> tuple[bytes, bool]:
        """Watch ``StreamReader.readchunk``."""
        passage = self.passage
        try:
            piece, ends = await self.stream.readchunk()
        except BaseException as error:
            passage.fail(error)
            raise
        if piece:
            kept = passage.piece(piece)
            return kept, ends or not kept
        # An empty piece may also be the end of an HTTP chunk.
        return (piece, ends) if ends else (passage.end(), ends)

    async def _read(
        self,
        read: Callable[..., Awaitable[bytes]],
        args: tuple[Any, ...] = (),
        options: Mapping[str, Any] = _NONE,
    ) -> bytes:
        # An empty piece would read as the end of the body.
        while True:
            try:
                piece = await read(*args, **options)
            except BaseException as error:
                self.passage.fail(error)
                raise
            if not piece:
                return self.passage.end()
            kept = self.passage.piece(piece)
            if kept:
                return kept

    def set_exception(self, *args: Any, **options: Any) -> None:
        """Watch ``StreamReader.set_exception``: the response was closed, at its end or before."""
        self.passage.close()
        self.stream.set_exception(*args, **options)
