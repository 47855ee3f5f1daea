"""One user turn in a chat: a span that lasts as long as any work of the turn does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .bounds import text_or_none
from .names import CONVERSATION_ID

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Turn:
    """Counts who still works on a turn, and ends it when nobody does.

    Open WebUI answers a chat request at once and goes on in tasks: an answer for each model, then
    title, tags and follow-ups. Each holds the turn while it runs.

    Args:
        span: The span of the turn.
        models: The models that were picked to answer.
        end: Ends the span.
    """

    __slots__ = ("_end", "_ended", "_holders", "models", "span")

    def __init__(self, span: Span, models: frozenset[str], end: Callable[[], None]) -> None:
        self.span = span
        self.models = models
        self._end = end
        self._ended = False
        self._holders = 0

    def in_chat(self, chat_id: object) -> None:
        """Take the id of the chat: a new chat gets it after its turn has begun."""
        known = text_or_none(chat_id)
        if known is not None:
            self.span.set_attribute(CONVERSATION_ID, known)

    def hold(self) -> None:
        """Keep the turn from ending until :meth:`release`."""
        self._holders += 1

    def release(self, *_: object) -> None:
        """Let go; the last one to do so ends the turn, once."""
        self._holders -= 1
        if self._holders == 0 and not self._ended:
            self._ended = True
            self._end()
