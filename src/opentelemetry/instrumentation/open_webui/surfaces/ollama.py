"""Ollama: ``routers/ollama.py``."""

from __future__ import annotations

from typing import Final

from .. import providers
from ..patching import Target
from ..transport import Leaf
from ..usage import OLLAMA
from .leaf import announces

CHAT: Final = Leaf(
    operation="chat",
    wire=OLLAMA,
    provider=providers.ollama,
    path="/api/chat",
    streams_by_default=True,
)

TARGETS: Final = (
    Target(
        "open_webui.routers.ollama",
        "generate_chat_completion",
        announces(CHAT),
        covers="chats with Ollama",
    ),
)
