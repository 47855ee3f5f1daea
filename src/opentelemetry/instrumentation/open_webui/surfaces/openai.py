"""OpenAI-compatible providers: ``routers/openai.py``."""

from __future__ import annotations

from typing import Final

from .. import providers
from ..patching import Target
from ..transport import Leaf
from ..usage import OPENAI
from .leaf import announces

CHAT: Final = Leaf(
    operation="chat",
    wire=OPENAI,
    provider=providers.openai_compatible,
    path="/chat/completions",
    asks_usage=True,
)

TARGETS: Final = (
    Target(
        "open_webui.routers.openai",
        "generate_chat_completion",
        announces(CHAT),
        covers="chats with OpenAI-compatible providers",
    ),
)
