"""requests, with which Open WebUI reranks, and some of its functions call providers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...guard import guarded
from ...wrapping import Wrapper, bound
from ..host import Host
from ..live import LiveCall
from ..transport import Carrying, Outgoing, make_ready_in_thread
from . import urllib3
from .bodies import asked, payload_of, read_at_once


def sends(runtime: Host) -> Wrapper:
    """Wrap ``requests.Session.send``, which every request passes."""

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        out = _read(runtime, bound(wrapped, args, kwargs)["request"])
        make_ready_in_thread(out)
        with Carrying(out, _watch) as answered:
            return answered(wrapped(*args, **kwargs))

    return wrapper


@guarded
def _read(runtime: Host, request: Any) -> Outgoing | None:
    body = lambda: payload_of(request.body, request.headers)  # noqa: E731
    return asked(runtime, request.method, request.url, body)


@guarded
def _watch(call: LiveCall, response: Any) -> None:
    if response._content_consumed:
        call.answered(response.status_code, response.headers)
        read_at_once(call, response.content)
    else:
        # It is read by way of urllib3, in whichever way it is.
        urllib3.watch(call, response.raw)
