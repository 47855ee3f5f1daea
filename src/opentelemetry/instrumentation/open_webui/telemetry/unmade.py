"""A span that is made when somebody asks for it; who tells of its call does at last.

Only another instrumentation, a log with trace ids or a pipe asks whose child it is. Where none of
them is at work, nobody sees a span before its end, and it can be made then: with those of other
calls, on memory that is still warm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span

from ..guard import report


def _safely(make: Callable[[], Span]) -> Span:
    try:
        return make()
    except Exception:
        # Samplers and processors are anybody's; the call counts without its span, too.
        report("the start of a span")
        return INVALID_SPAN


def _passing(method: str) -> Callable[..., Any]:
    def passed(self: Unmade, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.made(), method)(*args, **kwargs)

    return passed


class Unmade(Span):
    """Stands for a span until it is made.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], Span]) -> None:
        self._make: Callable[[], Span] | None = make

    def made(self) -> Span:
        """Return the span, of which there is one, whichever threads ask for it."""
        make = self._make
        if make is not None:
            # The first one counts.
            vars(self).setdefault("_span", _safely(make))
            # What it was to be made of holds its call, which holds this.
            self._make = None
        span: Span = vars(self)["_span"]
        return span

    end = _passing("end")
    get_span_context = _passing("get_span_context")
    set_attributes = _passing("set_attributes")
    set_attribute = _passing("set_attribute")
    add_event = _passing("add_event")
    add_link = _passing("add_link")
    update_name = _passing("update_name")
    is_recording = _passing("is_recording")
    set_status = _passing("set_status")
    record_exception = _passing("record_exception")
