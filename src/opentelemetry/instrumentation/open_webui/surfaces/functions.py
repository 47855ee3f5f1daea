"""Models that are no server's: Function pipes, and connections that the user's browser makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .. import providers
from ..patching import Target
from .running import Given, Running, runs

_OF_A_MESSAGE: Final = frozenset({"session_id", "chat_id", "message_id"})


def _pipe(given: Given) -> str:
    """Return the pipe that a workspace model stands on, or the model itself."""
    model = given["form_data"]["model"]
    info = (given.get("models") or {}).get(model, {}).get("info") or {}
    base = info.get("base_model_id") if isinstance(info, Mapping) else None
    return str(base or model)


def _reaches_browser(given: Given) -> bool:
    """Open WebUI can ask the browser only for a message of a chat; it gives up otherwise."""
    metadata = given["form_data"].get("metadata") or {}
    return metadata.keys() >= _OF_A_MESSAGE


PIPE: Final = Running("chat", providers.PIPE, model=_pipe, delegates=True)
DIRECT: Final = Running(
    "chat",
    providers.DIRECT,
    model=lambda given: str(given["form_data"]["model"]),
    asks=_reaches_browser,
)

TARGETS: Final = (
    Target(
        "open_webui.functions",
        "generate_function_chat_completion",
        runs(PIPE),
        covers="chats with Function pipes",
    ),
    Target(
        "open_webui.utils.chat",
        "generate_direct_chat_completion",
        runs(DIRECT),
        covers="chats over direct connections",
    ),
)
