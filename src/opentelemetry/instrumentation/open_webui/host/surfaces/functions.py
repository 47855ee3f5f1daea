"""Models that are no server's: Function pipes, and connections that the user's browser makes."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from ... import providers
from ...answers import errors
from ...names import OTHER
from ..patching import Target
from .running import Given, Running, runs

# A longer one is told as the exception that it is.
_LONGEST_ERROR: Final = 1 << 14
_STATUS: Final = ("status", "status_code")
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


def _error_told(error: BaseException) -> str | None:
    """Return what the provider's error is, which the browser passes on as it came.

    Open WebUI raises it: of a stream as the text of a dictionary, of a whole answer as it is.
    """
    if type(error) is not Exception or len(error.args) != 1:
        return None
    told = error.args[0]
    if isinstance(told, str):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            told = ast.literal_eval(told[:_LONGEST_ERROR])
    if not isinstance(told, Mapping):
        return None
    inner = told.get("error")
    inner = inner if isinstance(inner, Mapping) else {}
    # Not every provider says its HTTP status in the body, and not by one name.
    said = (*map(inner.get, _STATUS), *map(told.get, _STATUS), inner.get("code"), inner.get("type"))
    kinds = (errors.of_answer({"code": value}) for value in (*said, told.get("code")))
    return next((kind for kind in kinds if kind != OTHER), OTHER)


PIPE: Final = Running("chat", providers.PIPE, model=_pipe, delegates=True)
DIRECT: Final = Running(
    "chat",
    providers.DIRECT,
    model=lambda given: str(given["form_data"]["model"]),
    asks=_reaches_browser,
    told=_error_told,
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
