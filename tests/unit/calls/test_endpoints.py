"""Which request calls a model, and for what: a row for each kind."""

from __future__ import annotations

import time
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.calls.endpoints import ANY, ENDPOINTS, Endpoint, find
from opentelemetry.instrumentation.open_webui.names import OTHER

M: dict[str, Any] = {"model": "m"}

# Method, path, body, and the operation; none where no model is called.
CALLS: list[tuple[str, str, dict[str, Any], str | None]] = [
    ("POST", "/v1/chat/completions", M, "chat"),
    ("POST", "/v1/chat/completions", {}, "chat"),
    ("POST", "/v1/chat/completions/", M, "chat"),
    ("POST", "/v1/completions", M, "text_completion"),
    ("POST", "/v1/fim/completions", M, "text_completion"),
    ("POST", "/v1/responses", M, "chat"),
    ("POST", "/v1/responses/compact", M, "chat"),
    ("POST", "/v1/messages", M, "chat"),
    ("POST", "/v1/embeddings", M, "embeddings"),
    ("POST", "/v2/rerank", M, "rerank"),
    ("POST", "/v1/ocr", M, "ocr"),
    ("POST", "/v1/audio/speech", M, "speech"),
    ("POST", "/v1/text-to-speech/voice", M, "speech"),
    ("POST", "/v1/text-to-speech/voice/stream", M, "speech"),
    ("POST", "/v1/audio/transcriptions", M, "transcription"),
    ("POST", "/v1/audio/translations", M, "transcription"),
    ("POST", "/v1/listen", {}, "transcription"),
    ("POST", "/v1/images/generations", M, "image_generation"),
    ("POST", "/v1/images/edits", M, "image_edit"),
    ("POST", "/v1/images/variations", {}, "image_edit"),
    ("POST", "/v1/moderations", {}, OTHER),
    ("POST", "/v1/threads/t1/runs", {"assistant_id": "a"}, OTHER),
    ("POST", "/v1/threads/runs", M, OTHER),
    ("POST", "/v1/threads/t1/runs/r1/submit_tool_outputs", {}, OTHER),
    ("POST", "/v1/videos", M, OTHER),
    ("POST", "/v1/something/new", M, OTHER),
    ("POST", "/v1/conversations", M, OTHER),
    ("POST", "/score", M, OTHER),
    # Azure, whose addresses name the deployment.
    ("POST", "/openai/deployments/d/chat/completions", {}, "chat"),
    ("POST", "/openai/deployments/d/extensions/chat/completions", {}, "chat"),
    ("POST", "/openai/deployments/d/completions", {}, "text_completion"),
    ("POST", "/openai/deployments/d/embeddings", {}, "embeddings"),
    ("POST", "/openai/deployments/d/images/generations", {}, "image_generation"),
    ("POST", "/openai/deployments/d/audio/translations", {}, "transcription"),
    ("POST", "/openai/v1/responses", M, "chat"),
    ("POST", "/models/chat/completions", M, "chat"),
    # Google.
    ("POST", "/v1beta/models/g:generateContent", {}, "generate_content"),
    ("POST", "/v1beta/models/g:streamGenerateContent", {}, "generate_content"),
    ("POST", "/v1/projects/p/publishers/google/models/g:streamGenerateContent", {}, "generate_content"),
    ("POST", "/v1beta/models/g:embedContent", {}, "embeddings"),
    ("POST", "/v1beta/models/g:batchEmbedContents", {}, "embeddings"),
    ("POST", "/v1beta/models/g:predict", {}, "image_generation"),
    ("POST", "/v1beta/models/g:predictLongRunning", {}, OTHER),
    ("POST", "/v1/publishers/anthropic/models/c@1:rawPredict", {}, "chat"),
    ("POST", "/v1/publishers/anthropic/models/c@1:streamRawPredict", {}, "chat"),
    ("POST", "/v1beta/openai/chat/completions", M, "chat"),
    ("POST", "/v1beta/models/g:countTokens", M, None),
    ("POST", "/v1beta/models/g:batchGenerateContent", M, None),
    ("POST", "/v1beta/models/g:asyncBatchEmbedContent", M, None),
    ("POST", "/v1beta/cachedContents", M, None),
    # Ollama.
    ("POST", "/api/chat", M, "chat"),
    ("POST", "/api/generate", M, "text_completion"),
    ("POST", "/api/embed", M, "embeddings"),
    ("POST", "/api/generate", {**M, "keep_alive": 0, "prompt": ""}, None),
    ("POST", "/v1/rerank", {**M, "keep_alive": 0, "query": "q"}, "rerank"),
    ("POST", "/api/pull", M, None),
    ("DELETE", "/api/delete", M, None),
    # However the address is written: what arrives at the provider counts.
    ("POST", "/v1/files/../chat/completions", M, "chat"),
    ("POST", "/v1/files/%2e%2e/chat/completions", M, "chat"),
    ("POST", "/v1//chat///completions//", M, "chat"),
    ("POST", "/v1/./chat/./completions", M, "chat"),
    ("POST", "/v1/chat%2Fcompletions", M, "chat"),
    ("POST", "/v1/%63hat/completions", M, "chat"),
    ("POST", "/v1/a%0Ab/chat/completions", M, "chat"),
    ("POST", "/v1/../../../v1/embeddings", M, "embeddings"),
    ("POST", "/v1beta/models/g%3AgenerateContent", {}, "generate_content"),
    ("POST", "/v1/chat/completions/../../files", M, None),
    # Other methods, where a server takes them; else, at the same addresses, they call none.
    ("PUT", "/v1/chat/completions", M, "chat"),
    ("GET", "/v1/chat/completions", M, "chat"),
    ("PATCH", "/v1/embeddings", M, "embeddings"),
    ("GET", "/v1/chat/completions", {}, None),
    ("DELETE", "/v1/responses", {}, None),
    ("GET", "/v1/models", {}, None),
    ("PUT", "/v1/something/new", M, None),
    # About models, and none is called.
    *(
        ("POST", path, M, None)
        for path in (
            "/v1/responses/input_tokens", "/v1/responses/r1/cancel", "/v1/fine_tuning/jobs",
            "/v1/fine_tuning/jobs/j/cancel", "/v1/fine-tunes", "/v1/assistants", "/v1/assistants/a",
            "/v1/files", "/v1/uploads/u/parts", "/v1/vector_stores", "/v1/vector_stores/v/search",
            "/v1/batches", "/v1/batch/jobs", "/v1/messages/batches", "/v1/messages/batches/b/cancel",
            "/v1/messages/count_tokens", "/v1/realtime/sessions", "/v1/realtime/client_secrets",
            "/v1/realtime/transcription_sessions", "/v1/threads", "/v1/threads/t/messages",
            "/v1/threads/t/runs/r", "/v1/threads/t/runs/r/cancel", "/v1/containers", "/v1/evals/e/runs",
            "/v1/chatkit/sessions", "/v1/models", "/v1/models/m", "/models/load", "/tokenize",
            "/detokenize", "/apply-template", "/utils/token_counter", "/filter/inlet", "/api/show",
            "/openai/deployments", "/openai/deployments/d", "/v1/organization/projects",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "operation"), CALLS)
def test_which_request_calls_a_model(
    method: str, path: str, body: dict[str, Any], operation: str | None
) -> None:
    found = find(path, body, method)
    assert (found and found.operation) == operation


@pytest.mark.parametrize(
    ("path", "query", "body", "model"),
    [
        ("/v1/chat/completions", "", M, "m"),
        ("/v1/text-to-speech/v", "", {"model_id": "e"}, "e"),
        ("/v1/text-to-speech/v", "", {"model": ["m"], "model_id": "e"}, "e"),
        ("/v1/chat/completions", "", {"model": 5}, None),
        ("/v1/chat/completions", "", {"model": {"model": "m"}}, None),
        ("/openai/deployments/gpt%204o/chat/completions", "", {}, "gpt 4o"),
        ("/openai//deployments/d/./embeddings", "", {"model": None}, "d"),
        ("/v1beta/models/g:embedContent", "", {}, "g"),
        ("/models/chat/completions", "", {}, None),
        ("/v1/listen", "model=nova", {}, "nova"),
        ("/v1/listen", "model=" + "x" * 100_000, {}, "x" * 4090),
        ("/v1/listen", "model", {}, None),
    ],
)
def test_the_model_that_a_request_names(
    path: str, query: str, body: dict[str, Any], model: str | None
) -> None:
    endpoint = find(path, body)
    assert endpoint is not None
    assert endpoint.model(path, query, body) == model


@pytest.mark.parametrize("wrong", ["²", "٣x", "", "-1", -1, 1.5, None, True, [], {}, "9" * 5000])
def test_what_is_no_number_is_no_number(wrong: object) -> None:
    body = {"model": wrong, "model_id": wrong, "input": wrong, "text": wrong, "n": wrong}
    for endpoint in (*ENDPOINTS, ANY):
        assert endpoint.images is None or endpoint.images(body) is None
        spoken = endpoint.characters and endpoint.characters(body)
        assert spoken is None or isinstance(wrong, str)
        endpoint.model("/x", "", body)
    for path in ("/v1/chat/completions", "/api/chat", "/other"):
        find(path, {**body, "keep_alive": wrong, "": wrong})


@pytest.mark.parametrize(
    ("markup", "characters"),
    [
        ("<speak><voice name='v'>a &amp; b</voice></speak>", 5),
        ("&#" + "9" * 5000 + ";", 5003),
        ("<" * 3, 3),
    ],
)
def test_the_characters_of_markup(markup: str, characters: int) -> None:
    endpoint: Endpoint | None = find("/cognitiveservices/v1", {})
    assert endpoint is not None
    assert endpoint.characters is not None
    assert endpoint.characters({"": markup}) == characters


def test_long_paths_and_texts_hold_nobody_up() -> None:
    began = time.perf_counter()
    for part in ("/threads", "/models/", "/files", "%2e%2e/", "a"):
        find(part * 10_000, {"model": "m"})
    find("/cognitiveservices/v1", {}).characters({"": "<" * 1_000_000})  # type: ignore[union-attr]
    assert time.perf_counter() - began < 1
