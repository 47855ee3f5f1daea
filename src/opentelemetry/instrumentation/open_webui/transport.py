"""Where a model call starts: the HTTP request that Open WebUI sends to the provider.

A surface announces that a call is coming (:class:`Leaf`, :class:`Pending`); the request itself
then says which model is asked for, where, and whether it streams, after Open WebUI has resolved
workspace models, prefixes and connections. A surface that ends up sending nothing has called no
model, and one that sends twice has called twice. What is not announced passes at the cost of one
look.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from .call import Asked, ModelCall, watched
from .caller import Caller
from .fast_json import loads
from .groups import Groups
from .guard import guarded, report
from .names import OTHER
from .runtime import Runtime
from .usage import Wire

_USAGE_OPTION: Final = '"stream_options":{"include_usage":true}'
_OPTION_NAMES: Final = (b"stream_options", b"include_usage")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A function of Open WebUI that calls a provider: how to know its request among others."""

    operation: str
    wire: Wire
    provider: Callable[[str], str]
    """The provider's name by its host."""
    path: str
    """How the path of the request ends."""
    streams_by_default: bool = False
    asks_usage: bool = False
    """Whether a stream reports usage only when ``stream_options`` asks for it."""


class Pending:
    """A call that a surface has announced, and the request that it became."""

    __slots__ = ("call", "caller", "hides_usage", "leaf", "runtime")

    def __init__(self, runtime: Runtime, leaf: Leaf, caller: Caller) -> None:
        self.runtime = runtime
        self.leaf = leaf
        self.caller = caller
        self.call: ModelCall | None = None
        self.hides_usage = False

    def fits(self, method: str, path: str) -> bool:
        """Whether a request is the announced one."""
        return method.upper() == "POST" and path.endswith(self.leaf.path)

    def start(self, asked: Asked) -> ModelCall:
        """Start a call; a retry ends the one before."""
        if self.call is not None:
            self.call.end()
        groups = self.runtime.groups.of(self.caller.user_id)
        self.call = self.runtime.start_call(self.leaf.wire, asked, self.caller, groups)
        return self.call

    def fail(self, error: BaseException) -> None:
        """Take an exception of the surface."""
        if self.call is not None:
            self.call.fail(error)

    def answered(self, result: Any) -> Any:
        """Take what the surface returns, and return it to its caller."""
        if self.call is None:
            return result
        body = getattr(result, "body_iterator", None)
        if body is not None:
            result.body_iterator = watched(self.call, body, self.hides_usage)
            return result
        if isinstance(result, dict):
            self.call.read_whole(result)
        # Of an answer that it could not read, Open WebUI returns nothing at all.
        self.call.end(OTHER if result is None else None)
        return result


pending: Final[ContextVar[Pending | None]] = ContextVar("open_webui_pending", default=None)


def request(wrapped: Callable[..., Awaitable[Any]], _instance: Any, args: Any, kwargs: Any) -> Any:
    """Wrap ``aiohttp.ClientSession._request``."""
    announced = pending.get()
    if announced is None:
        return wrapped(*args, **kwargs)
    return _send(announced, wrapped, args, kwargs)


async def _send(
    announced: Pending, wrapped: Callable[..., Awaitable[Any]], args: Any, kwargs: Any
) -> Any:
    outgoing = _read_request(announced, args, kwargs)
    if outgoing is None:
        return await wrapped(*args, **kwargs)
    groups = announced.runtime.groups
    if not groups.fresh(announced.caller.user_id):
        await _wait_for(groups, announced.caller.user_id)
    response = await outgoing.send(wrapped, args, kwargs)
    if outgoing.asks and await _refuses_option(response):
        outgoing.give_up_asking()
        response = await outgoing.send(wrapped, args, kwargs)
    return response


async def _wait_for(groups: Groups, user_id: str) -> None:
    try:
        await groups.wait(user_id)
    except Exception:
        report("the wait for a user's groups")


class Outgoing:
    """One request to a provider: what it asks for, and whether we ask for usage with it."""

    __slots__ = ("announced", "asked", "asks", "connection", "payload")

    def __init__(
        self, announced: Pending, asked: Asked, connection: str, payload: Mapping[str, Any]
    ) -> None:
        self.announced = announced
        self.asked = asked
        self.connection = connection
        self.payload = payload
        self.asks = (
            asked.stream
            and announced.leaf.asks_usage
            and announced.runtime.may_ask_usage(connection)
            and not _asks_usage(payload)
        )

    async def send(self, wrapped: Callable[..., Awaitable[Any]], args: Any, kwargs: Any) -> Any:
        """Send it as a call of its own."""
        call = self._start()
        if call is None:
            return await wrapped(*args, **kwargs)
        try:
            with self.announced.runtime.telemetry.current(call.span):
                response = await wrapped(*args, **self._with_option(kwargs))
        except BaseException as error:
            call.fail(error)
            raise
        call.status = response.status
        return response

    def give_up_asking(self) -> None:
        """Take it that this connection refuses the option, now and later."""
        self.asks = False
        self.announced.runtime.refused_usage(self.connection)

    @guarded
    def _start(self) -> ModelCall:
        self.announced.hides_usage = self.asks
        return self.announced.start(self.asked)

    def _with_option(self, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.asks:
            return kwargs
        body = _ask_usage(kwargs["data"], self.payload)
        return kwargs if body is None else {**kwargs, "data": body}


@guarded
def _read_request(announced: Pending, args: Any, kwargs: Mapping[str, Any]) -> Outgoing | None:
    method, url = (*args, kwargs.get("method"), kwargs.get("str_or_url"))[:2]
    parts = urlsplit(str(url))
    if not announced.fits(str(method), parts.path):
        return None
    payload = loads(kwargs["data"])
    leaf = announced.leaf
    host = parts.hostname or ""
    asked = Asked(
        operation=leaf.operation,
        provider=leaf.provider(host),
        model=str(payload.get("model") or announced.caller.model_id or "unknown"),
        stream=bool(payload.get("stream", leaf.streams_by_default)),
        address=host,
        port=parts.port or _PORTS.get(parts.scheme),
    )
    return Outgoing(announced, asked, f"{parts.scheme}://{parts.netloc}{parts.path}", payload)


def _asks_usage(payload: Mapping[str, Any]) -> bool:
    options = payload.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


@guarded
def _ask_usage(body: str | bytes, payload: Mapping[str, Any]) -> str | bytes | None:
    """Return the body with the option; the rest of it stays byte for byte what it was."""
    if "stream_options" in payload:
        options = {**(payload["stream_options"] or {}), "include_usage": True}
        return json.dumps({**payload, "stream_options": options})
    text = body if isinstance(body, str) else body.decode()
    brace = text.index("{") + 1
    return f"{text[:brace]}{_USAGE_OPTION},{text[brace:]}"


async def _refuses_option(response: Any) -> bool:
    if not 400 <= response.status < 500:
        return False
    try:
        # aiohttp keeps what was read, so Open WebUI reads the same afterwards.
        body: bytes = await response.read()
    except Exception:
        return False
    return any(name in body for name in _OPTION_NAMES)
