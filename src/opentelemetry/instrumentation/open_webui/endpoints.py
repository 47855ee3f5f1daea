"""The endpoints of providers: which request calls a model, how to read it and its answer.

One row per endpoint, told by the path of its address. Whatever function of Open WebUI sends the
request, and whichever HTTP client: a new endpoint is a new row.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from . import providers, wires
from .bounds import MOST_IMAGES, whole
from .names import OTHER
from .wires import ANTHROPIC, AUDIO, GEMINI, OLLAMA, OPENAI, RESPONSES, Wire

Payload = Mapping[str, Any]
"""The body of a request: parsed JSON, or the fields of a form."""

_IN_MARKUP = re.compile(r"<[^>]*>")
# The model that an address names: Azure's deployments, Gemini's models.
_MODEL_IN_PATH = re.compile(r"/(?:deployments|models)/([^/:]+)")
_LONGEST_NUMBER: Final = 9
# Patterns are for the ends of paths; in longer ones they could be made to search for seconds.
_LONGEST_PATH: Final = 2_000


def _no_units(_payload: Payload) -> int | None:
    return None


def _characters(payload: Payload) -> int | None:
    text = payload.get("input", payload.get("text"))
    return len(text) if isinstance(text, str) else None


def _spoken_characters(payload: Payload) -> int | None:
    markup = payload.get("")
    if not isinstance(markup, str):
        return None
    return len(html.unescape(_IN_MARKUP.sub("", markup)))


def _n(payload: Payload) -> int | None:
    wanted = payload.get("n", payload.get("batch_size"))
    # In a form it is a text.
    written = isinstance(wanted, str) and wanted.isdecimal() and len(wanted) <= _LONGEST_NUMBER
    return whole(int(wanted) if written else wanted, MOST_IMAGES)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One kind of request that calls a model."""

    path: str
    """Regular expression for the end of the path."""
    operation: str
    wire: Wire
    provider: providers.Provider = providers.openai_compatible
    streams_by_default: bool = False
    asks_usage: bool = False
    """Whether a stream reports usage only when ``stream_options`` asks for it."""
    has_tokens: bool = True
    """Whether the provider is expected to say how many tokens it used."""
    speaks: bool = True
    """Whether what it answers is a text, which is made of tokens."""
    characters: Callable[[Payload], int | None] = _no_units
    """Characters to speak."""
    images: Callable[[Payload], int | None] = _no_units
    """Images asked for; what the answer holds counts more."""

    def model(self, path: str, query: str, payload: Payload) -> str | None:
        """Return the model that the request names."""
        named = payload.get("model") or payload.get("model_id")
        if isinstance(named, str) and named:
            return named
        in_path = _MODEL_IN_PATH.search(path)
        in_query = parse_qs(query).get("model") if not in_path else None
        return in_path.group(1) if in_path else in_query[0] if in_query else None


def _speech(path: str, who: providers.Provider, units: Callable[[Payload], int | None]) -> Endpoint:
    return Endpoint(path, "speech", OPENAI, who, has_tokens=False, characters=units)


def _transcription(path: str, who: providers.Provider) -> Endpoint:
    return Endpoint(path, "transcription", AUDIO, who, has_tokens=False)


def _images(path: str, operation: str, wire: Wire, who: providers.Provider) -> Endpoint:
    return Endpoint(path, operation, wire, who, has_tokens=False, images=_n)


ENDPOINTS: Final = (
    Endpoint("/api/chat", "chat", OLLAMA, providers.ollama, streams_by_default=True),
    Endpoint("/api/generate", "text_completion", OLLAMA, providers.ollama, streams_by_default=True),
    Endpoint("/api/embed", "embeddings", OLLAMA, providers.ollama, speaks=False),
    Endpoint("/api/embeddings", "embeddings", OLLAMA, providers.ollama, speaks=False),
    Endpoint("/chat/completions", "chat", OPENAI, asks_usage=True),
    Endpoint("/completions", "text_completion", OPENAI, asks_usage=True),
    Endpoint("/responses", "chat", RESPONSES),
    Endpoint("/messages", "chat", ANTHROPIC),
    Endpoint("/embeddings", "embeddings", OPENAI, speaks=False),
    Endpoint("/rerank", "rerank", OPENAI, has_tokens=False),
    Endpoint("/ocr", "ocr", wires.OCR, has_tokens=False),
    _speech("/audio/speech", providers.openai_compatible, _characters),
    _speech("/text-to-speech/[^/]+", providers.elevenlabs, _characters),
    _speech("/cognitiveservices/v1", providers.azure_speech, _spoken_characters),
    _transcription("/audio/transcriptions", providers.openai_compatible),
    _transcription("/listen", providers.deepgram),
    _transcription("/transcriptions:transcribe", providers.azure_speech),
    _images("/images/generations", "image_generation", wires.IMAGES, providers.openai_compatible),
    _images("/images/edits", "image_edit", wires.IMAGES, providers.openai_compatible),
    _images("/models/[^/]+:predict", "image_generation", GEMINI, providers.gemini),
    _images("/sdapi/v1/txt2img", "image_generation", wires.IMAGES, providers.automatic1111),
    Endpoint("/realtime", "realtime", RESPONSES),
    Endpoint("/models/[^/]+:generateContent", "generate_content", GEMINI, providers.gemini),
)  # fmt: skip
_PATTERNS: Final = tuple((re.compile(f".*{endpoint.path}/?"), endpoint) for endpoint in ENDPOINTS)


def _of(path: str) -> Endpoint:
    return next(endpoint for endpoint in ENDPOINTS if endpoint.path == path)


CHAT: Final = _of("/chat/completions")
RERANK: Final = _of("/rerank")
IMAGES: Final = _of("/images/generations")
ANY: Final = Endpoint("", OTHER, OPENAI, has_tokens=False)
"""An endpoint that we do not know, of a request that names a model."""

# Requests about models that call none.
_MANAGEMENT: Final = re.compile(
    r".*(/api/(pull|push|create|copy|delete|show|tags|ps|version)|/messages/count_tokens"
    r"|/models(/[^/:]+)*|/filter/(inlet|outlet)|/tokenize|/apply-template)/?"
)


def find(path: str, payload: Payload) -> Endpoint | None:
    """Return the endpoint of a POST request, or ``None`` if it calls no model."""
    path = path[-_LONGEST_PATH:]
    for pattern, endpoint in _PATTERNS:
        if pattern.fullmatch(path):
            return None if _unloads(payload) else endpoint
    if _MANAGEMENT.fullmatch(path) or not isinstance(payload.get("model"), str):
        return None
    return ANY


def _unloads(payload: Payload) -> bool:
    """Whether the request only makes Ollama free a model's memory."""
    return payload.get("keep_alive") == 0 and not (
        payload.get("prompt") or payload.get("messages") or payload.get("input")
    )
