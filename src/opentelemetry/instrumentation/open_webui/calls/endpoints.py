"""The endpoints of providers: which request calls a model, how to read it and its answer.

One row per endpoint, told by the path of its address. Whatever function of Open WebUI sends the
request, and whichever HTTP client: a new endpoint is a new row. Users write paths and bodies as
they like (through the passthrough): nothing here raises, whatever is in them.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from .. import providers
from ..answers import wires
from ..answers.wires import ANTHROPIC, AUDIO, GEMINI, OLLAMA, OPENAI, RESPONSES, Wire
from ..bounds import MOST_IMAGES, whole
from ..names import OTHER

Payload = Mapping[str, Any]
"""The body of a request: parsed JSON, or the fields of a form."""
Units = Callable[[Payload], int | None]
"""Reads how much of something a request asks for."""

_IN_MARKUP = re.compile(r"<[^<>]*>")
# The model that an address names: Azure's deployments, Gemini's models.
_MODEL_IN_PATH = re.compile(r"/deployments/([^/:]+)|/models/([^/:]+):")
_LONGEST_QUERY: Final = 4096
_LONGEST_NUMBER: Final = 9
# Patterns are for the ends of paths; in longer ones they could be made to search for seconds.
_LONGEST_PATH: Final = 1_000


def _characters(payload: Payload) -> int | None:
    return next(
        (len(text) for text in map(payload.get, ("input", "text")) if isinstance(text, str)), None
    )


def _spoken_characters(payload: Payload) -> int | None:
    markup = payload.get("")
    if not isinstance(markup, str):
        return None
    said = _IN_MARKUP.sub("", markup)
    try:
        return len(html.unescape(said))
    except ValueError:  # A reference to a character by a number of thousands of digits.
        return len(said)


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
    characters: Units | None = None
    """Reads how many characters to speak."""
    images: Units | None = None
    """Reads how many images are asked for; what the answer holds counts more."""

    def model(self, path: str, query: str, payload: Payload) -> str | None:
        """Return the model that the request names."""
        for named in (payload.get("model"), payload.get("model_id")):
            if isinstance(named, str) and named:
                return named
        in_path = _MODEL_IN_PATH.search(plain_path(path))
        if in_path:
            return in_path.group(1) or in_path.group(2)
        in_query = parse_qs(query[:_LONGEST_QUERY]).get("model")
        return in_query[0] if in_query else None


def _speech(path: str, who: providers.Provider, units: Units) -> Endpoint:
    return Endpoint(path, "speech", OPENAI, who, has_tokens=False, characters=units)


def _transcription(path: str, who: providers.Provider) -> Endpoint:
    return Endpoint(path, "transcription", AUDIO, who, has_tokens=False)


def _images(path: str, operation: str, wire: Wire, who: providers.Provider) -> Endpoint:
    return Endpoint(path, operation, wire, who, has_tokens=False, images=_n)


def _gemini(method: str, operation: str, **more: Any) -> Endpoint:
    return Endpoint(f"/models/[^/]+:{method}", operation, GEMINI, providers.gemini, **more)


def _claude(method: str, **more: Any) -> Endpoint:
    # As Google serves it, whose addresses name the model.
    return Endpoint(f"/models/[^/]+:{method}", "chat", ANTHROPIC, **more)


# Source: the API references of the providers, as of 2026.
ENDPOINTS: Final = (
    Endpoint("/api/chat", "chat", OLLAMA, providers.ollama, streams_by_default=True),
    Endpoint("/api/generate", "text_completion", OLLAMA, providers.ollama, streams_by_default=True),
    Endpoint("/api/embed", "embeddings", OLLAMA, providers.ollama, speaks=False),
    Endpoint("/api/embeddings", "embeddings", OLLAMA, providers.ollama, speaks=False),
    Endpoint("/chat/completions", "chat", OPENAI, asks_usage=True),
    Endpoint("/completions", "text_completion", OPENAI, asks_usage=True),
    Endpoint("/responses", "chat", RESPONSES),
    Endpoint("/responses/compact", "chat", RESPONSES),
    Endpoint("/messages", "chat", ANTHROPIC),
    Endpoint("/embeddings", "embeddings", OPENAI, speaks=False),
    Endpoint("/rerank", "rerank", OPENAI, has_tokens=False),
    Endpoint("/ocr", "ocr", wires.OCR, has_tokens=False),
    _speech("/audio/speech", providers.openai_compatible, _characters),
    _speech("/text-to-speech/[^/]+(/stream)?", providers.elevenlabs, _characters),
    _speech("/cognitiveservices/v1", providers.azure_speech, _spoken_characters),
    _transcription("/audio/transcriptions", providers.openai_compatible),
    _transcription("/audio/translations", providers.openai_compatible),
    _transcription("/listen", providers.deepgram),
    _transcription("/transcriptions:transcribe", providers.azure_speech),
    _images("/images/generations", "image_generation", wires.IMAGES, providers.openai_compatible),
    _images("/images/(edits|variations)", "image_edit", wires.IMAGES, providers.openai_compatible),
    _images("/models/[^/]+:predict", "image_generation", GEMINI, providers.gemini),
    _images("/sdapi/v1/txt2img", "image_generation", wires.IMAGES, providers.automatic1111),
    Endpoint("/realtime", "realtime", RESPONSES),
    _gemini("generateContent", "generate_content"),
    _gemini("streamGenerateContent", "generate_content", streams_by_default=True),
    _gemini("(batchEmbedContents|embedContent)", "embeddings", speaks=False),
    _gemini("predictLongRunning", OTHER, has_tokens=False),
    _claude("rawPredict"),
    _claude("streamRawPredict", streams_by_default=True),
    Endpoint("/moderations", OTHER, OPENAI, has_tokens=False),
    # An assistant's run, and its going on with what its tools found.
    Endpoint(
        "/threads(/[^/]+)?/runs(/[^/]+/submit_tool_outputs)?", OTHER, OPENAI, has_tokens=False
    ),
)  # fmt: skip
_PATTERNS: Final = tuple(
    (re.compile(f".*{endpoint.path}", re.DOTALL), endpoint) for endpoint in ENDPOINTS
)


def _of(path: str) -> Endpoint:
    return next(endpoint for endpoint in ENDPOINTS if endpoint.path == path)


CHAT: Final = _of("/chat/completions")
RERANK: Final = _of("/rerank")
IMAGES: Final = _of("/images/generations")
ANY: Final = Endpoint("", OTHER, OPENAI, has_tokens=False)
"""An endpoint that we do not know, of a request that names a model."""

# Requests about models that call none: what lists, makes, keeps or only counts, and what puts work
# off until later (batches, fine-tuning), which nobody waits for and which is billed on its own.
_MANAGEMENT: Final = re.compile(
    r".*("
    r"/api/(pull|push|create|copy|delete|show|tags|ps|version)|/filter/(inlet|outlet)"
    r"|/(de)?tokenize|/apply-template|/utils/[^/]+|/models(/[^/:]+)*|/openai/deployments(/[^/]+)?"
    r"|/messages/(count_tokens|batches(/.*)?)|/responses/(input_tokens|[^/]+/cancel)"
    r"|/(batches|batch/jobs|fine_tuning|fine-tunes|assistants|files|uploads|vector_stores"
    r"|containers|evals|organization|chatkit|skills)(/.*)?"
    r"|/threads(/(?!.*runs).*)?|/threads/[^/]+/runs/[^/]+(/cancel)?"
    r"|/realtime/(sessions|transcription_sessions|client_secrets|translations/client_secrets)"
    r"|/cachedContents(/.*)?|/(models|tunedModels)/[^/]+:(countTokens|computeTokens|batch.*|asyncBatch.*)"
    r")",
    re.DOTALL,
)

# Ends as Anthropic's address does, and only keeps what an assistant will be asked.
_KEPT_MESSAGE: Final = re.compile(r".*/threads/[^/]+/messages", re.DOTALL)


def find(path: str, payload: Payload, method: str = "POST") -> Endpoint | None:
    """Return the endpoint of a request, or ``None`` if it calls no model.

    By the references of all providers, only a POST calls a model: with GET and the like, what is
    stored is listed, changed and deleted at the same addresses. Servers that take other methods
    nevertheless need a body, which names the model.
    """
    names_model = isinstance(payload.get("model"), str)
    if method != "POST" and not names_model:
        return None
    endpoint = _known(path) if len(path) <= _LONGEST_PATH else _of_path(path)
    if endpoint is ANY:
        return ANY if method == "POST" and names_model else None
    return (
        None if endpoint is not None and endpoint.wire is OLLAMA and _unloads(payload) else endpoint
    )


def _of_path(path: str) -> Endpoint | None:
    """Return the endpoint at a path: `ANY` if we do not know it, ``None`` if it calls no model."""
    path = plain_path(path)
    if _KEPT_MESSAGE.fullmatch(path):
        return None
    for pattern, endpoint in _PATTERNS:
        if pattern.fullmatch(path):
            return endpoint
    return None if _MANAGEMENT.fullmatch(path) else ANY


# There are few paths, but users may write any.
_known = functools.lru_cache(maxsize=256)(_of_path)


def plain_path(path: str) -> str:
    """Return a path as servers take it: decoded, without empty steps, and without `.` and `..`."""
    steps: list[str] = []
    for step in unquote(path).split("/"):
        if step == "..":
            del steps[-1:]
        elif step not in ("", "."):
            steps.append(step)
    return ("/" + "/".join(steps))[-_LONGEST_PATH:]


def _unloads(payload: Payload) -> bool:
    """Whether the request only makes Ollama free a model's memory."""
    return payload.get("keep_alive") == 0 and not (
        payload.get("prompt") or payload.get("messages") or payload.get("input")
    )
