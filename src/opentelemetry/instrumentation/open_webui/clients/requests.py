"""requests, with which Open WebUI reranks, and some of its functions call providers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..call import ModelCall, given_up_with
from ..guard import guarded
from ..patching import Wrapper, bound
from ..runtime import Runtime
from ..transport import Outgoing, carrying, json_payload, know_groups_in_thread, outgoing
from .bodies import read_at_once, watched


def sends(runtime: Runtime) -> Wrapper:
    """Wrap ``requests.Session.send``, which every request passes."""

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        out = _read(runtime, bound(wrapped, args, kwargs)["request"])
        know_groups_in_thread(out)
        with carrying(out, _watch) as answered:
            return answered(wrapped(*args, **kwargs))

    return wrapper


@guarded
def _read(runtime: Runtime, request: Any) -> Outgoing | None:
    out = outgoing(runtime, request.method, request.url, lambda: json_payload(request.body))
    if out is not None:
        out.asks = False  # What a function asks for by itself is its own affair.
    return out


@guarded
def _watch(call: ModelCall, response: Any) -> None:
    call.answered(response.status_code, response.headers)
    if response._content_consumed:
        read_at_once(call, response.content)
        return
    response.iter_content = watched(call, response.iter_content)
    given_up_with(response, call.give_up)
