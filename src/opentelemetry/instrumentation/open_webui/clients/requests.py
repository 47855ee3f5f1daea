"""requests, with which Open WebUI reranks, and some of its functions call providers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..call import ModelCall, Passage, given_up_with
from ..guard import guarded
from ..patching import Wrapper, bound
from ..runtime import Runtime
from ..transport import Outgoing, carrying, json_payload, know_groups_in_thread, outgoing


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
    passage = Passage(call)
    if response._content_consumed:
        passage.piece(response.content)
        passage.end()
        return
    response.iter_content = _watched(response.iter_content, passage)
    given_up_with(response, call)


def _watched(iter_content: Callable[..., Iterator[bytes]], passage: Passage) -> Any:
    def watched(*args: Any, **kwargs: Any) -> Iterator[Any]:
        try:
            for piece in iter_content(*args, **kwargs):
                passage.piece(piece if isinstance(piece, bytes) else str(piece).encode())
                yield piece
            passage.end()
        except BaseException as error:
            passage.fail(error)
            raise

    return watched
