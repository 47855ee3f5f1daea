"""Work of Open WebUI's own that calls models or tools: a span, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.trace import Status, StatusCode, set_span_in_context

from .. import names
from ..answers import errors
from ..guard import guarded

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

Ended = Callable[[float, str | None, "Context"], None]
"""Hears how many seconds work took, its ``error.type``, and the context of its span."""


class Work:
    """A turn of a chat, or one run of a tool.

    Args:
        span: Its span, which has just begun.
        ended: Hears of its end.
    """

    __slots__ = ("_begun", "_ended", "_error", "span")

    def __init__(self, span: Span, ended: Ended) -> None:
        self.span = span
        self._ended = ended
        self._error: str | None = None
        self._begun = time.perf_counter()

    @guarded
    def fail(self, kind: str = names.OTHER) -> None:
        """Mark it as failed, by an ``error.type``; the first one counts."""
        if self._error is None:
            self._error = kind
            self.span.set_attribute(names.ERROR_TYPE, kind)
            self.span.set_status(Status(StatusCode.ERROR))

    @guarded
    def broke(self, error: Exception) -> None:
        """Mark it as failed. The error's message is left out: it may quote a prompt."""
        self.fail(errors.of_exception(error))

    @guarded
    def end(self) -> None:
        """End the span and record how long it was. To be called once."""
        seconds = time.perf_counter() - self._begun
        self.span.end()
        self._ended(seconds, self._error, set_span_in_context(self.span))
