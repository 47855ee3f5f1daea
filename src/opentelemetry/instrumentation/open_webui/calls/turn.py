"""One user turn in a chat: work that lasts as long as anybody is at it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..bounds import text_or_none
from ..names import CHAT_TASK, CONVERSATION_ID

if TYPE_CHECKING:
    from .call import ModelCall
    from .work import Work


class Turn:
    """Counts who still works on a turn, and ends it when nobody does.

    Open WebUI answers a chat request at once and goes on in tasks: an answer for each model, then
    title, tags and follow-ups. Each holds the turn while it runs.

    Args:
        work: Its span and how long it takes.
        models: The models that were picked to answer.
        chat_id: The chat, if it has an id yet.
        end: Ends the work.
    """

    __slots__ = ("_after", "_end", "_ended", "_holders", "chat_id", "models", "work")

    def __init__(
        self, work: Work, models: frozenset[str], chat_id: str | None, end: Callable[[], None]
    ) -> None:
        self.work = work
        self.models = models
        self.chat_id = chat_id
        self._end = end
        self._ended = False
        self._holders = 0
        self._after: list[Callable[[], None]] = []

    def in_chat(self, chat_id: object) -> None:
        """Take the id of the chat: a new chat gets it after its turn has begun."""
        known = text_or_none(chat_id)
        if known is not None:
            self.chat_id = known
            self.work.span.set_attribute(CONVERSATION_ID, known)

    def answered(self, call: ModelCall) -> None:
        """Take the end of a call: what the user waits for fails with it, titles and tags do not."""
        if call.error is not None and call.caller.task == CHAT_TASK and call.parent_id is None:
            self.work.fail(call.error)

    def after(self, do: Callable[[], None]) -> None:
        """Have something done when the turn has ended."""
        self._after.append(do)

    def hold(self) -> None:
        """Keep the turn from ending until :meth:`release`."""
        self._holders += 1

    def release(self, *_: object) -> None:
        """Let go; the last one to do so ends the turn, once."""
        self._holders -= 1
        if self._holders == 0 and not self._ended:
            self._ended = True
            try:
                self._end()
            finally:
                for do in self._after:
                    do()
