"""Where a model call starts: the HTTP request that Open WebUI sends to the provider.

A surface announces that a call is coming (:class:`Leaf`, :class:`Announced`); the request itself
then says which model is asked for, where, and whether it streams, after Open WebUI has resolved
workspace models, prefixes and connections. A surface that ends up sending nothing has called no
model, and one that sends twice has called twice. What nobody announced is looked at once: sent by a
Function pipe, it is the pipe's; sent to a configured provider, it is a call on an unknown path.

Knows no HTTP client: each has a module of its own in ``clients``. Some are made on others; the
uppermost one is who calls (:class:`Carrying`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from ..answers.fast_json import loads
from ..calls.caller import Caller
from ..calls.scene import running_pipe
from ..guard import guarded, report
from ..providers import Provider
from . import endpoints, habits
from .asking import UsageFilter, asking, may_ask
from .call import Asked, Measure, ModelCall
from .endpoints import Endpoint, Payload
from .host import Host
from .live import LiveCall

# As `multipart/form-data` (RFC 7578) has a field that is no file.
_FORM_FIELDS: Final = re.compile(r'form-data; name="(\w+)"\r\n\r\n([^\r\n]{1,200})\r\n')
_MODEL: Final = re.compile(r'^\s*\{.{0,2000}?"model"\s*:\s*"([^"\\]{1,200})"', re.DOTALL)
_STREAMS: Final = re.compile(r'"stream"\s*:\s*true\b')
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


class Announced(NamedTuple):
    """A call that is coming: from which function of Open WebUI, on whose behalf."""

    runtime: Host
    leaf: Leaf
    caller: Caller


T = TypeVar("T")

announced: Final[ContextVar[Announced | None]] = ContextVar("open_webui_announced", default=None)


class Outgoing:
    """One request to a provider: what it asks for, and whether we ask for usage with it.

    Args:
        runtime: What is shared.
        caller: On whose behalf it is sent.
        asked: What it asks for.
        payload: Its body.
        own: Whether Open WebUI's own code sends it; only into such a request we put our wish.
    """

    __slots__ = ("_habit", "asked", "asks", "caller", "payload", "runtime", "under_way")

    def __init__(
        self, runtime: Host, caller: Caller, asked: Asked, payload: Payload, *, own: bool
    ) -> None:
        self.runtime = runtime
        self.caller = caller
        self.asked = asked
        self.payload = payload
        self.under_way = False
        """Whether a client is sending it, by way of others maybe."""
        streams = asked.stream and asked.endpoint.asks_usage and own
        self._habit = habits.key_of(asked.url, asked.model) if streams else ""
        self.asks = (
            streams
            and runtime.settings.ask_usage
            and may_ask(payload)
            and runtime.habits.asks(self._habit, asked.address)
        )

    def start(self) -> LiveCall | None:
        """Start the call that this request is."""
        call = self._start()
        # What nobody reads, nobody hides.
        self.asks = self.asks and call is not None
        return call

    @guarded
    def _start(self) -> LiveCall:
        hides = UsageFilter(self.runtime.habits.nulls(self._habit)) if self.asks else None
        return self.runtime.start_call(
            self.asked,
            self.caller,
            usage_filter=hides,
            on_end=self._learn if self._habit else None,
        )

    def body(self, body: str | bytes) -> str | bytes | None:
        """Return what to send with our wish for usage in it; ``None`` if it has no place there."""
        return asking(body, self.payload)

    @property
    def is_proven(self) -> bool:
        """Whether the model is known to take the option."""
        return self.runtime.habits.proven(self._habit)

    def may_be_refused(self, status: int) -> bool:
        """Whether an answer with an error may be for our wish."""
        return self.runtime.habits.may_refuse(self._habit, status)

    def stop_asking(self, *, came: bool) -> None:
        """Take it that the request was sent again without our wish, and whether that helped."""
        self.asks = False
        if came:
            self.runtime.habits.refused(self._habit)
        else:
            self.runtime.habits.failed_either_way(self._habit)

    def _learn(self, call: ModelCall) -> None:
        """Learn from an ended stream whether its model reports by itself, and takes our wish."""
        known, answer = self.runtime.habits, call.answer
        if self.asks and call.error is not None:
            known.failed_asked(self._habit)
        elif call.error is not None or not (call.read_to_end or answer.closed) or not call.chunks:
            return
        elif self.asks:
            known.came_asked(self._habit)
        elif "stream_options" not in self.payload:
            reported = bool(answer.reports.known)
            known.came_unasked(self._habit, reported=reported, nulls=answer.nulls)


_sending: Final[ContextVar[Outgoing | None]] = ContextVar("open_webui_sending", default=None)


async def make_ready(out: Outgoing | None) -> None:
    """Wait, for a moment at most, until the groups of who calls are known, and ask the limits.

    Raises:
        Exception: A limit refuses the call, and Open WebUI is to tell its user so.
    """
    if out is None:
        return
    try:
        if not out.runtime.groups.fresh(out.caller.user_id):
            await out.runtime.groups.wait(out.caller.user_id)
    except Exception:
        report("the wait for a user's groups")
    permitted = out.runtime.permit(out.caller, out.asked)
    if permitted is not None:
        await permitted


def make_ready_in_thread(out: Outgoing | None) -> None:
    """Do the same where a thread calls, which has no event loop to hold up."""
    if out is None:
        return
    try:
        out.runtime.groups.wait_in_thread(out.caller.user_id)
    except Exception:
        report("the wait for a user's groups")
    out.runtime.permit_in_thread(out.caller, out.asked)


class Carrying:
    """Hold while a request is sent; give the response to what this yields, and it is watched.

    Args:
        out: The request, if it calls a model.
        watch: Watches the response to it.
    """

    __slots__ = ("_call", "_current", "_out", "_sending", "_watch")

    def __init__(self, out: Outgoing | None, watch: Callable[[LiveCall, Any], None]) -> None:
        self._out = out
        self._watch = watch
        self._call: LiveCall | None = None

    def __enter__(self) -> Callable[[T], T]:
        out = self._out
        if out is not None:
            self._call = out.start()
        if out is None or self._call is None:
            return _as_it_is
        self._sending = _sending.set(out)
        self._current = out.runtime.current(self._call.call.span)
        self._current.__enter__()
        out.under_way = True
        return self._answered

    def _answered(self, response: T) -> T:
        out, call = self._out, self._call
        if out is not None and call is not None:
            if not out.asks:
                call.usage_filter = None
            self._watch(call, response)
        return response

    def __exit__(self, *raised: Any) -> None:
        if self._out is None or self._call is None:
            return
        self._current.__exit__(*raised)
        error: BaseException | None = raised[1]
        if error is not None:
            self._call.fail(error)
        self._out.under_way = False
        _sending.reset(self._sending)


def _as_it_is(response: T) -> T:
    return response


def _is_sent_already() -> bool:
    """Whether this request is the lower part of one that is being watched."""
    # Tasks that a client has begun meanwhile keep the variable; it ends for them, too.
    above = _sending.get()
    return above is not None and above.under_way


@guarded
def outgoing(runtime: Host, method: str, url: str, body: Callable[[], Payload]) -> Outgoing | None:
    """Return the model call that a request is, if it is one.

    Args:
        runtime: What watches over unannounced requests.
        method: The HTTP method.
        url: The whole address.
        body: Reads the request's body, when it comes to that.
    """
    coming, pipe = announced.get(), running_pipe()
    if coming is None and pipe is None and not runtime.connections.has(url):
        return None
    if not runtime.active or _is_sent_already():
        return None
    parts, payload = urlsplit(url), _safely(body) or {}
    endpoint = endpoints.find(parts.path, payload, method.upper())
    expected = _expected(coming.leaf, endpoint) if coming is not None else None
    if coming is not None and expected is not None:
        return _outgoing(runtime, coming.leaf, coming.caller, parts, expected, payload, own=True)
    if endpoint is None:
        return None
    configured = runtime.connections.has(url)
    if pipe is not None and (configured or _asks_model(runtime, url, parts, endpoint, payload)):
        caller = pipe.caller
    elif configured:
        caller = runtime.unknown_caller(endpoint.operation, parts.path)
    else:
        return None
    leaf = Leaf(provider=runtime.connections.provider(url))
    return _outgoing(runtime, leaf, caller, parts, endpoint, payload, own=False)


def _asks_model(
    runtime: Host, url: str, parts: SplitResult, endpoint: Endpoint, payload: Payload
) -> bool:
    """Whether a request to an address that nobody configured is a call to a model, and elsewhere.

    Args:
        runtime: Knows this server's own addresses.
        url: The whole address.
        parts: Its parts.
        endpoint: What the end of the address looks like.
        payload: The request's body.
    """
    named = endpoint.model(parts.path, parts.query, payload)
    if endpoint is endpoints.ANY or not named:
        return False
    return not _safely(runtime.connections.is_own, url)


def _expected(leaf: Leaf, endpoint: Endpoint | None) -> Endpoint | None:
    if leaf.anywhere is not None:
        return leaf.anywhere
    if endpoint is None or (leaf.operations and endpoint.operation not in leaf.operations):
        return None
    return endpoint


def _outgoing(
    runtime: Host,
    leaf: Leaf,
    caller: Caller,
    parts: SplitResult,
    endpoint: Endpoint,
    payload: Payload,
    *,
    own: bool,
) -> Outgoing:
    host, port = _server(parts.scheme, parts.netloc)
    model = _safely(endpoint.model, parts.path, parts.query, payload)
    asked = Asked(
        endpoint=endpoint,
        operation=leaf.operation or endpoint.operation,
        provider=(leaf.provider or endpoint.provider)(host, parts.path),
        model=model or caller.model_id or "unknown",
        stream=bool(payload.get("stream", endpoint.streams_by_default)),
        address=host,
        port=port,
        characters=endpoint.characters and _safely(endpoint.characters, payload),
        images=endpoint.images and _safely(endpoint.images, payload),
        url=f"{parts.scheme}://{parts.netloc}{parts.path}",
        prompt=_prompt(runtime, endpoint, payload, own=own),
    )
    return Outgoing(runtime, caller, asked, payload, own=own)


def _prompt(runtime: Host, endpoint: Endpoint, payload: Payload, *, own: bool) -> Measure:
    """Return what measures a prompt, which is needed where nobody tells its tokens."""
    measure = functools.partial(_safely, runtime.measure, endpoint, payload)
    if own:
        return measure
    # What a function has sent it may change while it reads the answer.
    measured = measure()
    return lambda: measured


@functools.lru_cache(maxsize=256)
def _server(scheme: str, netloc: str) -> tuple[str, int | None]:
    """Return the host and the port of an address."""
    parts = SplitResult(scheme, netloc, "", "", "")
    return parts.hostname or "", _safely(port_of, parts)


def _safely(read: Callable[..., T], *args: Any) -> T | None:
    """Return what is read of a request; a call is one also where something of it is odd."""
    try:
        return read(*args)
    except Exception:
        report("the reading of a request")
        return None


def port_of(parts: SplitResult) -> int | None:
    """Return the port of an address, the scheme's own one if it names none."""
    return parts.port or _PORTS.get(parts.scheme)


def json_payload(body: object) -> Payload:
    """Return the JSON object in a body, or the short fields of a form.

    A text that is neither stands under the name ``""``, beside the short fields that it shows.
    """
    if not isinstance(body, (str, bytes, bytearray)) or not body:
        return {}
    try:
        payload = loads(bytes(body) if isinstance(body, bytearray) else body)
    except ValueError:
        text = body if isinstance(body, str) else bytes(body).decode("utf-8", "replace")
        return {"": text, **dict(_FORM_FIELDS.findall(text)), **_fields_of_json(text)}
    return payload if isinstance(payload, dict) else {}


def _fields_of_json(text: str) -> Payload:
    """Return what matters of JSON that cannot be read as a whole, being nested too deep."""
    if not text.lstrip().startswith("{"):
        return {}
    model, streams = _MODEL.search(text), _STREAMS.search(text)
    return {
        **({"model": model.group(1)} if model else {}),
        **({"stream": True} if streams else {}),
    }
