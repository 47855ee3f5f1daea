"""Calls that no HTTP request stands for: a function of Open WebUI's process answers itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ...calls import endpoints
from ...calls.call import Asked, ModelCall
from ...calls.caller import Caller
from ...calls.endpoints import Endpoint
from ...calls.live import LiveCall
from ...calls.passage import watched
from ...calls.scene import Scene, present, scene
from ...calls.transport import announced, port_of
from ...guard import guarded
from ...host.identity import find_caller
from ...host.runtime import Runtime
from ...names import OTHER
from ...wrapping import Wrapper, bound
from .leaf import form_of

Given = Mapping[str, Any]
"""The arguments of the function, by name."""


@dataclass(frozen=True, slots=True)
class Running:
    """A function that is a call to a model from its first line to the end of what it returns."""

    operation: str
    provider: str
    model: Callable[[Given], str]
    endpoint: Endpoint = endpoints.CHAT
    """How to read what it returns."""
    address: Callable[[Given], str] = lambda _given: ""
    images: Callable[[Given], int | None] = lambda _given: None
    asks: Callable[[Given], bool] = lambda _given: True
    """Whether the function gets as far as to ask the model."""
    told: Callable[[BaseException], str | None] = lambda _error: None
    """The ``error.type`` that an exception of the function passes on, if it does."""
    delegates: bool = False
    """Whether it may answer by calling models itself."""


def runs(running: Running) -> Callable[[Runtime], Wrapper]:
    """Return what wraps an asynchronous function that is a call to a model."""

    def wrapper_for(runtime: Runtime) -> Wrapper:
        async def wrapper(
            wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any
        ) -> Any:
            call = _start(runtime, running, wrapped, args, kwargs)
            if call is None:
                return await wrapped(*args, **kwargs)
            inside = _inside(runtime, running, call.call)
            try:
                with inside():
                    result = await wrapped(*args, **kwargs)
            except BaseException as error:
                call.end(told) if (told := _told(running, error)) else call.fail(error)
                raise
            _answered(call, result, inside)
            return result

        return wrapper

    return wrapper_for


@guarded
def _start(
    runtime: Runtime, running: Running, function: Callable[..., Any], args: Any, kwargs: Any
) -> LiveCall | None:
    if not runtime.active:
        return None
    given = bound(function, args, kwargs)
    if not running.asks(given):
        return None
    url, form = running.address(given), form_of(given.get("form_data"))
    parts, prompt = urlsplit(url), runtime.measure(running.endpoint, form)
    asked = Asked(
        endpoint=running.endpoint,
        operation=running.operation,
        provider=running.provider,
        model=running.model(given),
        stream=bool(form.get("stream")),
        address=parts.hostname or "",
        port=port_of(parts),
        images=running.images(given),
        url=url,
        # Measured now: the function may change its form.
        prompt=lambda: prompt,
    )
    return runtime.start_call(asked, _caller(runtime, given))


def _caller(runtime: Runtime, given: Given) -> Caller:
    coming = announced.get()
    if coming is not None:
        return coming.caller
    form = given.get("form_data")
    picked = isinstance(form, Mapping)
    caller = find_caller(
        runtime.settings, given.get("request"), given.get("user"), form_of(form), picked=picked
    )
    runtime.groups.expect(caller.user_id)
    return caller


def _inside(
    runtime: Runtime, running: Running, call: ModelCall
) -> Callable[[], AbstractContextManager[None]]:
    here = present()
    own = here._replace(call=call, lent=False) if here is not None and running.delegates else here
    return lambda: inside(runtime, own, call)


@contextmanager
def inside(runtime: Runtime, own: Scene | None, call: ModelCall) -> Iterator[None]:
    """Hold while something runs that belongs to a call."""
    token = scene.set(own)
    try:
        with runtime.current(call.span):
            yield
    finally:
        scene.reset(token)


@guarded
def _told(running: Running, error: BaseException) -> str | None:
    return running.told(error)


@guarded
def _answered(
    call: LiveCall, result: Any, inside: Callable[[], AbstractContextManager[None]]
) -> None:
    body = getattr(result, "body_iterator", None)
    if body is not None:
        result.body_iterator = watched(call, body, inside)
        return
    if isinstance(result, Mapping):
        call.read_message(result)
    call.end(OTHER if result is None else None)
