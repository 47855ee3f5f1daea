"""OpenAI-compatible providers: ``routers/openai.py``, and Anthropic's own API beside it."""

from __future__ import annotations

from typing import Final

from ...calls.transport import Leaf
from ..patching import MAIN, Target
from .leaf import announces

_ROUTER: Final = "open_webui.routers.openai"

CHAT: Final = Leaf(frozenset({"chat"}), picked=True)
EMBEDDINGS: Final = Leaf(frozenset({"embeddings"}), picked=True)
SPEECH: Final = Leaf(frozenset({"speech"}))
ANYTHING: Final = Leaf()

TARGETS: Final = (
    Target(
        _ROUTER,
        "generate_chat_completion",
        announces(CHAT),
        covers="chats with OpenAI-compatible providers",
    ),
    Target(_ROUTER, "responses", announces(CHAT), covers="the Responses API", since=(0, 8)),
    Target(
        _ROUTER,
        "embeddings",
        announces(EMBEDDINGS),
        covers="embeddings from OpenAI-compatible providers",
        since=(0, 6, 43),
    ),
    Target(_ROUTER, "speech", announces(SPEECH), covers="speech by /openai/audio/speech"),
    Target(_ROUTER, "proxy", announces(ANYTHING), covers="the passthrough to OpenAI's API"),
    Target(
        MAIN,
        "passthrough_anthropic_messages",
        announces(CHAT),
        covers="Anthropic Messages, passed through",
        since=(0, 12),
    ),
)
