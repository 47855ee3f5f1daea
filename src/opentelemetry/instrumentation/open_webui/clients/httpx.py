"""httpx, with which functions call providers, and with it the SDKs that are made on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..call import ModelCall, given_up_with
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
from .bodies import read_at_once, watched, watched_async


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
    if response.is_stream_consumed:
        read_at_once(call, response.content)
        return
    response.iter_bytes = watched(call, response.iter_bytes)
    response.aiter_bytes = watched_async(call, response.aiter_bytes)
    given_up_with(response, call.give_up)
