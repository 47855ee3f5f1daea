"""Telling people in their chat that a limit is nearly used: a notice beside it, never in it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, Final

from ...guard import guarded, report
from ...limits.gate import NearlyUsed

_SOCKET: Final = "open_webui.socket.main"
_OF_A_MESSAGE: Final = ("user_id", "chat_id", "message_id", "session_id")
# Told once: by user, limit and the end of its window. Beyond this many, all may be told anew.
_MOST_TOLD: Final = 10_000
_told: set[tuple[str, str, float | None]] = set()
_running: set[asyncio.Task[None]] = set()


@guarded
def warn(warnings: Sequence[NearlyUsed], metadata: object) -> None:
    """Tell what is new of it to the browser that a message of a chat is shown in, if one is."""
    if not warnings or not isinstance(metadata, dict):
        return
    if not all(metadata.get(key) for key in _OF_A_MESSAGE):
        return
    if len(_told) > _MOST_TOLD:
        _told.clear()
    for one in warnings:
        key = (metadata["user_id"], one.limit, one.resets_at)
        if key not in _told:
            _told.add(key)
            task = asyncio.create_task(_tell(one.sentence, dict(metadata)))
            _running.add(task)
            task.add_done_callback(_running.discard)


async def _tell(sentence: str, metadata: dict[str, Any]) -> None:
    try:
        made = sys.modules[_SOCKET].get_event_emitter(metadata, update_db=False)
        emit = await made if asyncio.iscoroutine(made) else made
        notice = {"type": "notification", "data": {"type": "warning", "content": sentence}}
        await emit(notice)
    except Exception:
        report("a notice of limits")
