"""Where a model call starts: the HTTP request that Open WebUI sends to the provider.

A surface announces that a call is coming (:class:`Leaf`, :class:`Announced`); the request itself
then says which model is asked for, where, and whether it streams, after Open WebUI has resolved
workspace models, prefixes and connections. A surface that ends up sending nothing has called no
model, and one that sends twice has called twice. What nobody announced is looked at once: sent to a
configured provider, it is a call on an unknown path.

Knows no HTTP client: each has a module of its own in ``clients``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from . import endpoints
from .call import Asked, ModelCall
from .caller import Caller
from .endpoints import Endpoint, Payload
from .fast_json import loads
from .guard import guarded, report
from .providers import Provider
from .runtime import Runtime

_USAGE_OPTION: Final = '"stream_options":{"include_usage":true}'
_OPTION_NAMES: Final = (b"stream_options", b"include_usage")
# As `multipart/form-data` (RFC 7578) has a field that is no file.
_FORM_FIELDS: Final = re.compile(r'form-data; name="(\w+)"\r\n\r\n([^\r\n]{1,200})\r\n')
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A function of Open WebUI that calls a provider: how to know its request among others."""

    operations: frozenset[str] = frozenset()
    """The operations that it may call for; any, if empty."""
    operation: str | None = None
    """What the call is for, where the endpoint serves several ends."""
    provider: Provider | None = None
    """Who is called, where the address does not say."""
    task: str | None = None
    """Open WebUI's task, where no metadata name one."""
    anywhere: Endpoint | None = None
    """The endpoint, where its address is free to choose."""
    picked: bool = False
    """Whether the model that is called answers for the one that the caller picked."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A call that is coming: from which function of Open WebUI, on whose behalf."""

    runtime: Runtime
    leaf: Leaf
    caller: Caller


announced: Final[ContextVar[Announced | None]] = ContextVar("open_webui_announced", default=None)


class Outgoing:
    """One request to a provider: what it asks for, and whether we ask for usage with it."""

    __slots__ = ("asked", "asks", "caller", "connection", "payload", "runtime")

    def __init__(
        self,
        runtime: Runtime,
        caller: Caller,
        asked: Asked,
        connection: str,
        payload: Payload,
    ) -> None:
        self.runtime = runtime
        self.caller = caller
        self.asked = asked
        self.connection = connection
        self.payload = payload
        self.asks = (
            asked.stream
            and asked.endpoint.asks_usage
            and runtime.may_ask_usage(connection)
            and not _asks_usage(payload)
        )

    def start(self) -> ModelCall | None:
        """Start the call that this request is."""
        call = self._start()
        # What nobody reads, nobody hides.
        self.asks = self.asks and call is not None
        return call

    @guarded
    def _start(self) -> ModelCall:
        return self.runtime.start_call(self.asked, self.caller, hides_usage=self.asks)

    def body(self, body: str | bytes) -> str | bytes:
        """Return what to send; without our wish for usage, the same."""
        return (_ask_usage(body, self.payload) if self.asks else None) or body

    def refused(self, status: int) -> bool:
        """Whether the answer may be a refusal of our wish for usage."""
        return self.asks and 400 <= status < 500

    def give_up_asking(self, answer: bytes) -> bool:
        """Whether the provider refused the option; then it is not asked again, now or later."""
        if not any(name in answer for name in _OPTION_NAMES):
            return False
        self.asks = False
        self.runtime.refused_usage(self.connection)
        return True


async def know_groups(out: Outgoing | None) -> None:
    """Wait, for a moment at most, until the groups of who calls are known."""
    try:
        if out is not None and not out.runtime.groups.fresh(out.caller.user_id):
            await out.runtime.groups.wait(out.caller.user_id)
    except Exception:
        report("the wait for a user's groups")


@guarded
def know_groups_in_thread(out: Outgoing | None) -> None:
    """Do the same where a thread calls, which has no event loop to hold up."""
    if out is not None:
        out.runtime.groups.wait_in_thread(out.caller.user_id)


@contextmanager
def carrying(
    out: Outgoing | None, watch: Callable[[ModelCall, Any], None]
) -> Iterator[Callable[[Any], Any]]:
    """Hold while the request is sent; give the response to what this yields, and it is watched."""
    call = out.start() if out is not None else None
    if out is None or call is None:
        yield lambda response: response
        return

    def answered(response: Any) -> Any:
        watch(call, response)
        return response

    try:
        with out.runtime.telemetry.current(call.span):
            yield answered
    except BaseException as error:
        call.fail(error)
        raise


@guarded
def outgoing(
    runtime: Runtime, method: str, url: str, body: Callable[[], Payload]
) -> Outgoing | None:
    """Return the model call that a request is, if it is one.

    Args:
        runtime: What watches over unannounced requests.
        method: The HTTP method.
        url: The whole address.
        body: Reads the request's body, when it comes to that.
    """
    coming = announced.get()
    if method.upper() != "POST" or not (coming or runtime.connections.has(url)):
        return None
    if not runtime.active:
        return None
    parts, payload = urlsplit(url), body()
    endpoint = endpoints.find(parts.path, payload)
    expected = _expected(coming.leaf, endpoint) if coming is not None else None
    if coming is not None and expected is not None:
        return _outgoing(runtime, coming.leaf, coming.caller, parts, expected, payload)
    if endpoint is None or not runtime.connections.has(url):
        return None
    leaf = Leaf(provider=runtime.connections.provider(url))
    caller = runtime.unknown_caller(endpoint.operation, parts.path)
    return _outgoing(runtime, leaf, caller, parts, endpoint, payload)


def _expected(leaf: Leaf, endpoint: Endpoint | None) -> Endpoint | None:
    if leaf.anywhere is not None:
        return leaf.anywhere
    if endpoint is None or (leaf.operations and endpoint.operation not in leaf.operations):
        return None
    return endpoint


def _outgoing(
    runtime: Runtime,
    leaf: Leaf,
    caller: Caller,
    parts: SplitResult,
    endpoint: Endpoint,
    payload: Payload,
) -> Outgoing:
    host = parts.hostname or ""
    model = endpoint.model(parts.path, parts.query, payload)
    connection = f"{parts.scheme}://{parts.netloc}{parts.path}"
    asked = Asked(
        endpoint=endpoint,
        operation=leaf.operation or endpoint.operation,
        provider=(leaf.provider or endpoint.provider)(host, parts.path),
        model=model or caller.model_id or "unknown",
        stream=bool(payload.get("stream", endpoint.streams_by_default)),
        address=host,
        port=port_of(parts),
        characters=endpoint.characters(payload),
        images=endpoint.images(payload),
        url=connection,
        prompt=runtime.accountant.measure(endpoint, payload),
    )
    return Outgoing(runtime, caller, asked, connection, payload)


def port_of(parts: SplitResult) -> int | None:
    """Return the port of an address, the scheme's own one if it names none."""
    return parts.port or _PORTS.get(parts.scheme)


def json_payload(body: object) -> Payload:
    """Return the JSON object in a body, or the short fields of a form.

    A text that is neither stands under the name ``""``.
    """
    if not isinstance(body, (str, bytes, bytearray)) or not body:
        return {}
    try:
        payload = loads(bytes(body) if isinstance(body, bytearray) else body)
    except ValueError:
        text = body if isinstance(body, str) else bytes(body).decode("utf-8", "replace")
        return {"": text, **dict(_FORM_FIELDS.findall(text))}
    return payload if isinstance(payload, dict) else {}


def _asks_usage(payload: Payload) -> bool:
    options = payload.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


@guarded
def _ask_usage(body: str | bytes, payload: Mapping[str, Any]) -> str | bytes:
    """Return the body with the option; the rest of it stays byte for byte what it was."""
    if "stream_options" in payload:
        options = {**(payload["stream_options"] or {}), "include_usage": True}
        return json.dumps({**payload, "stream_options": options})
    text = body if isinstance(body, str) else body.decode()
    brace = text.index("{") + 1
    return f"{text[:brace]}{_USAGE_OPTION},{text[brace:]}"
