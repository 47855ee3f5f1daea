"""The tables of everything but chat on `/v1` and `/ollama`: endpoints, and what they list.

A further kind of call is one more row. Rows are found by their path alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.replies import EPOCH, Prompt, models_of
from harness.replies_comfyui import CHECKPOINT, OBJECT_INFO
from harness.replies_common import Endpoint
from harness.replies_media import (
    automatic1111,
    azure_transcription,
    gemini_content,
    gemini_predict,
    images,
    mistral_speech,
    mistral_transcription,
    ocr,
    speech,
    transcription,
)
from harness.replies_text import chat, completion, counted, generated, is_unload, message, response
from harness.replies_vectors import embeddings, ollama_embed, ollama_embedding, rerank

GEMINI = "gcp.gemini"
MISTRAL = "mistral_ai"
AZURE_SPEECH = "azure.ai.speech"


def always(prompt: Prompt) -> bool:
    """Every request is like that."""
    return True


def at(base: str, *endpoints: Endpoint, provider: str = "") -> tuple[Endpoint, ...]:
    """The same endpoints below a base path, of a provider."""
    return tuple(
        replace(endpoint, path=base + endpoint.path, provider=provider or endpoint.provider)
        for endpoint in endpoints
    )


CHAT = Endpoint("/chat/completions", "chat", chat, streams=True)
COMPLETIONS = Endpoint("/completions", "text_completion", completion, streams=True)
RESPONSES = Endpoint("/responses", "chat", response, streams=True)
MESSAGES = Endpoint("/messages", "chat", message, streams=True)
COUNT_TOKENS = Endpoint("/messages/count_tokens", "chat", counted, calls_nothing=always)
EMBEDDINGS = Endpoint("/embeddings", "embeddings", embeddings)

OPENAI = (
    COMPLETIONS,
    RESPONSES,
    MESSAGES,
    COUNT_TOKENS,
    EMBEDDINGS,
    Endpoint("/rerank", "rerank", rerank),
    Endpoint("/audio/speech", "speech", speech),
    Endpoint("/audio/transcriptions", "transcription", transcription),
    Endpoint("/images/generations", "image_generation", images),
    Endpoint("/images/edits", "image_edit", images),
)
OLLAMA = (
    Endpoint(
        "/api/generate", "text_completion", generated, "ollama", streams=True,
        calls_nothing=is_unload,
    ),
    Endpoint("/api/embed", "embeddings", ollama_embed, "ollama"),
    Endpoint("/api/embeddings", "embeddings", ollama_embedding, "ollama"),
)  # fmt: skip
GEMINI_MODELS = (
    Endpoint(":predict", "image_generation", gemini_predict),
    Endpoint(":generateContent", "image_generation", gemini_content),
)
MISTRAL_ENDPOINTS = (
    Endpoint("/ocr", "ocr", ocr),
    Endpoint("/audio/speech", "speech", mistral_speech),
    Endpoint("/audio/transcriptions", "transcription", mistral_transcription),
)
AZURE_AUDIO = (
    Endpoint("/cognitiveservices/v1", "speech", speech),
    Endpoint("/speechtotext/transcriptions:transcribe", "transcription", azure_transcription),
)
TXT2IMG = Endpoint("/sdapi/v1/txt2img", "image_generation", automatic1111)

ENDPOINTS = (
    *at("/v1", *OPENAI),
    *at("/ollama", *OLLAMA),
    *at(
        "/ollama/v1", CHAT, COMPLETIONS, RESPONSES, MESSAGES, COUNT_TOKENS, EMBEDDINGS,
        provider="ollama",
    ),
    *at("/azure/openai/deployments/{model}", CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS),
    *at("/azure-v1/openai/v1", CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS),
    *at("/gemini/models/{model}", *GEMINI_MODELS, provider=GEMINI),
    *at("/a1111", TXT2IMG, provider="automatic1111"),
    *at("/mistral/v1", CHAT, *MISTRAL_ENDPOINTS, provider=MISTRAL),
    *at("/azurespeech", *AZURE_AUDIO, provider=AZURE_SPEECH),
    *at("/pipelines", CHAT),
)  # fmt: skip


# --- what is listed -------------------------------------------------------------------------------


def model_list(*names: str, **extra: object) -> dict[str, Any]:
    """Models as OpenAI lists them; `extra` for each of them."""
    data = [
        {"id": name, "object": "model", "created": EPOCH, "owned_by": "openai", **extra}
        for name in names
    ]
    return {"object": "list", "data": data}


def openai_models() -> dict[str, Any]:
    """The body of `GET /v1/models`."""
    return model_list(*models_of("openai"))


def ollama_models() -> dict[str, object]:
    """The body of `GET /api/tags`; names carry no tag, so they are the ids Open WebUI shows."""
    return {"models": [ollama_model(name) for name in models_of("ollama")]}


def ollama_model(name: str) -> dict[str, object]:
    """One entry of `GET /api/tags`."""
    return {
        "name": name,
        "model": name,
        "modified_at": "2026-01-02T03:04:05.678Z",
        "size": 2_019_393_189,
        "digest": f"{abs(hash_name(name)):064x}",
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "3.2B",
            "quantization_level": "Q4_K_M",
        },
    }


def hash_name(name: str) -> int:
    """A number for a name, the same in every process."""
    return int.from_bytes(name.encode(), "big")


AZURE_MODELS = model_list("azure-std")
PIPE = "pipe-server-std"
PIPES = {
    **model_list(PIPE, name=PIPE, pipeline={"type": "pipe", "valves": False}),
    "pipelines": True,
}

LISTINGS: dict[str, object] = {
    "/azure/models": AZURE_MODELS,
    "/azure/openai/models": AZURE_MODELS,
    "/azure-v1/openai/v1/models": model_list("azure-v1-std"),
    "/mistral/v1/models": model_list("mistral-std"),
    "/mistral/v1/audio/voices": {"items": [{"id": "calm", "name": "Calm"}]},
    "/pipelines/models": PIPES,
    "/pipelines/pipelines": {"data": [{"id": PIPE, "name": PIPE, "type": "pipe", "valves": False}]},
    "/a1111/sdapi/v1/options": {"sd_model_checkpoint": CHECKPOINT},
    "/a1111/sdapi/v1/sd-models": [{"title": CHECKPOINT, "model_name": "standin"}],
    "/comfyui/object_info": OBJECT_INFO,
}
