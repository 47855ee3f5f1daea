"""Ollama: ``routers/ollama.py``, by its own API and by those it imitates."""

from __future__ import annotations

from typing import Final

from ... import providers
from ...calls.transport import Leaf
from ..patching import Target
from .leaf import announces

_ROUTER: Final = "open_webui.routers.ollama"


def _leaf(operation: str) -> Leaf:
    return Leaf(frozenset({operation}), provider=providers.ollama, picked=True)


TARGETS: Final = tuple(
    Target(_ROUTER, attribute, announces(_leaf(operation)), covers=covers, since=since)
    for attribute, operation, covers, since in (
        ("generate_chat_completion", "chat", "chats with Ollama", (0, 6)),
        ("generate_completion", "text_completion", "Ollama's /api/generate", (0, 6)),
        ("embed", "embeddings", "Ollama's /api/embed", (0, 6)),
        ("embeddings", "embeddings", "Ollama's /api/embeddings", (0, 6)),
        ("generate_openai_completion", "text_completion", "Ollama's /v1/completions", (0, 6)),
        ("generate_openai_chat_completion", "chat", "Ollama's /v1/chat/completions", (0, 6)),
        ("generate_openai_embeddings", "embeddings", "Ollama's /v1/embeddings", (0, 11)),
        ("generate_anthropic_messages", "chat", "Ollama's /v1/messages", (0, 8)),
        ("generate_responses", "chat", "Ollama's /v1/responses", (0, 9)),
    )
)
