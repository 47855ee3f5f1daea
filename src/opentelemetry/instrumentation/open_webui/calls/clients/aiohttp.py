"""aiohttp, with which Open WebUI reaches most providers."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import ClientError, ClientResponse, ClientResponseError, FormData, WSMsgType
from aiohttp.hdrs import CONTENT_LENGTH
from aiohttp.streams import StreamReader

from ...answers.encodings import Plain, is_packed
from ...answers.stream import begins_with_error, shows_itself
from ...guard import guarded, report
from ...wrapping import Wrapper
from ..endpoints import Payload
from ..host import Host
from ..live import LiveCall
from ..passage import Passage
from ..transport import Carrying, Outgoing, json_payload, make_ready, outgoing
from .arrivals import put_back, watch
from .bodies import payload_of

_CLOSED: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
# Sound and pictures say nothing of themselves.
_MUTE: Final = ("audio/", "image/", "video/")
_BYTES: Final = "application/octet-stream"
_EVENTS: Final = "text/event-stream"
_ERRORS: Final = 400
# A refusal comes at once; the first word of an answer may take its time, and must not wait for us.
_PATIENCE: Final = 5.0
_LONGEST_BEGINNING: Final = 1 << 16


def sends(runtime: Host) -> Wrapper:
    """Wrap ``aiohttp.ClientSession._request``: every request passes it, few call a model."""

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        # Most requests of Open WebUI's are none of ours, and end here.
        method = args[0] if args else kwargs.get("method")
        body = kwargs.get("data") is not None or kwargs.get("json") is not None
        out = _read(runtime, args, kwargs) if body or method == "POST" else None
        return wrapped(*args, **kwargs) if out is None else _send(out, wrapped, args, kwargs)

    return wrapper


@guarded
def _read(runtime: Host, args: Any, kwargs: Mapping[str, Any]) -> Outgoing | None:
    method, url = (*args, kwargs.get("method"), kwargs.get("str_or_url"))[:2]
    out = outgoing(runtime, str(method), str(url), lambda: _payload(kwargs))
    if out is not None and out.asks and is_packed(kwargs.get("data")):
        out.asks = False  # There is no place for a wish.
    return out


def _payload(kwargs: Mapping[str, Any]) -> Payload:
    if isinstance(kwargs.get("json"), dict):
        payload: Payload = kwargs["json"]
        return payload
    data = kwargs.get("data")
    return _form(data) if isinstance(data, FormData) else payload_of(data, kwargs.get("headers"))


def _form(form: FormData) -> Payload:
    fields = ((options.get("name"), value) for options, _, value in form._fields)
    return {str(name): value for name, value in fields if isinstance(value, str)}


async def _send(
    out: Outgoing, wrapped: Callable[..., Awaitable[Any]], args: Any, kwargs: Mapping[str, Any]
) -> Any:
    await make_ready(out)
    watch = _watch if _is_unpacked(wrapped, kwargs) else _watch_packed
    with Carrying(out, functools.partial(watch, out.runtime)) as answered:
        response = await _ask(out, wrapped, args, kwargs) if out.asks else None
        return answered(await wrapped(*args, **kwargs) if response is None else response)


async def _ask(
    out: Outgoing, wrapped: Callable[..., Awaitable[Any]], args: Any, kwargs: Mapping[str, Any]
) -> ClientResponse | None:
    """Send the request with our wish for usage; where that is refused, without it.

    Nothing has reached who waits for the answer until then: to them it is one request. Returns
    ``None`` where the wish has no place.
    """
    body = kwargs.get("data")
    asking = out.body(body) if isinstance(body, (str, bytes)) else None
    if asking is None:
        out.asks = False
        return None
    response: ClientResponse = await wrapped(*args, **{**kwargs, "data": asking})
    with _closing_if_given_up(response):
        if not await _may_be_refusal(out, response):
            return response
    response.close()
    response = await wrapped(*args, **kwargs)
    with _closing_if_given_up(response):
        out.stop_asking(came=not await _is_error(out, response))
    return response


@contextmanager
def _closing_if_given_up(response: ClientResponse) -> Iterator[None]:
    try:
        yield
    except BaseException:
        response.close()
        raise


async def _may_be_refusal(out: Outgoing, response: ClientResponse) -> bool:
    if response.status >= _ERRORS:
        return out.may_be_refused(response.status)
    return not out.is_proven and await _is_error(out, response)


async def _is_error(out: Outgoing, response: ClientResponse) -> bool:
    """Whether an answer is an error: by its status, or by its first event, waited for a moment."""
    if response.status >= _ERRORS:
        return True
    try:
        return begins_with_error(out.asked.endpoint.wire, await _beginning(response.content))
    except Exception:
        report("the look at the beginning of a stream")
        return False


async def _beginning(content: StreamReader) -> bytes:
    """Return the first bytes of a body up to its first word, and leave them where they are."""
    kept, seen, deadline = b"", 0, asyncio.get_running_loop().time() + _PATIENCE
    try:
        while not content.at_eof() and len(kept) < _LONGEST_BEGINNING:
            left = deadline - asyncio.get_running_loop().time()
            kept += await asyncio.wait_for(content.readany(), left)
            if shows_itself(kept[seen:]):
                break
            seen = kept.rfind(b"\n") + 1
    except (TimeoutError, ClientError):
        pass  # Whoever reads the body meets the same.
    put_back(content, kept)
    return kept


def _is_unpacked(send: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether the session decompresses what comes, as it does if it is not told otherwise."""
    wanted, session = kwargs.get("auto_decompress"), getattr(send, "__self__", None)
    return bool(getattr(session, "auto_decompress", True) if wanted is None else wanted)


class PackedPassage(Passage):
    """What reads an answer that passes compressed."""

    __slots__ = ("_plain",)

    def __init__(self, call: LiveCall, encoding: str | None) -> None:
        super().__init__(call)
        self._plain = Plain(encoding)

    def piece(self, piece: bytes) -> None:
        """Take a piece."""
        for part in self._plain.pieces(piece):
            super().piece(part)


@guarded
def _watch_packed(host: Host, call: LiveCall, response: ClientResponse) -> None:
    call.usage_filter = None
    _look(host, call, response, PackedPassage(call, response.headers.get("Content-Encoding")))


@guarded
def _watch(host: Host, call: LiveCall, response: ClientResponse) -> None:
    _look(host, call, response, Passage(call))


def _look(host: Host, call: LiveCall, response: ClientResponse, passage: Passage) -> None:
    call.answered(response.status, response.headers)
    if response.content.at_eof():
        call.end()
        return
    kind = response.content_type
    if kind != _EVENTS or _is_measured(host, response):
        call.usage_filter = None
    # Bytes of no known kind are sound, too; a chat's answer may come without a kind.
    mute = kind.startswith(_MUTE) or (kind == _BYTES and not call.call.asked.endpoint.has_tokens)
    watch(response, call, passage, mute=mute)


def _is_measured(host: Host, response: ClientResponse) -> bool:
    """Whether the client knows how long the answer is, so that nothing can be taken out."""
    return CONTENT_LENGTH in response.headers and host.passes_length_on()


def connects(runtime: Host) -> Wrapper:
    """Wrap ``aiohttp.ClientSession._ws_connect``: voice is spoken over a socket."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        url = str(args[0] if args else kwargs["url"])
        await make_ready(_voice(runtime, url))
        try:
            socket = await wrapped(*args, **kwargs)
        except BaseException as error:
            _refuse(runtime, url, error)
            raise
        _listen(runtime, socket, url)
        return socket

    return wrapper


def _voice(runtime: Host, url: str) -> Outgoing | None:
    # The connection is configured, and compared, as an address of HTTP.
    return outgoing(runtime, "POST", url.replace("ws", "http", 1), dict)


@guarded
def _listen(runtime: Host, socket: Any, url: str) -> None:
    out = _voice(runtime, url)
    if out is not None:
        socket.receive = Voice(out).watched(socket.receive)


@guarded
def _refuse(runtime: Host, url: str, error: BaseException) -> None:
    """Take it that the provider, or the way to it, lets nobody speak: one call, which failed."""
    out = _voice(runtime, url)
    call = None if out is None else out.start()
    if call is not None:
        if isinstance(error, ClientResponseError):
            call.answered(error.status, error.headers or {})
        call.fail(error)


class Voice:
    """The calls to a model in one conversation over a socket: each response is one.

    Source: the OpenAI API reference, Realtime server events.
    """

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._call: LiveCall | None = None

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
