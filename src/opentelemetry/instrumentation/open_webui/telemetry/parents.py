"""Where a span of ours belongs in a trace, when a client has had its say."""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context
from opentelemetry.propagate import extract
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    SpanContext,
    get_current_span,
    set_span_in_context,
)

from ..calls.scene import scene
from ..guard import guarded


def placed() -> dict[str, Any]:
    """Return the arguments of ``start_span`` that say where the span belongs: mostly none.

    Samplers follow the caller's trace, so that a request may ask that nothing of it be seen
    (``traceparent: 00-…-00``). A client is not to decide that. Where its trace is not recorded,
    ours begins anew, linked to it, and the sampler decides without it.
    """
    current = get_current_span().get_span_context()
    if not current.is_valid or current.trace_flags.sampled:
        return {}
    client = _client()
    if client is None or client.trace_id != current.trace_id:
        return {}
    # Without its trace state, which says what the client likes.
    link = Link(SpanContext(client.trace_id, client.span_id, True, client.trace_flags))
    return {"context": set_span_in_context(INVALID_SPAN), "links": [link]}


@guarded
def _client() -> SpanContext | None:
    """What the request being served says of the trace that it belongs to."""
    here = scene.get()
    if here is None:
        return None
    return get_current_span(extract(here.request.headers, Context())).get_span_context()
