"""A server that is configured for everything Open WebUI can call, and the table of all its paths."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

from e2e.functions import GIVEN, HTTP_KINDS, MADE
from e2e.truth import Expectation
from harness.openwebui import VERSION, OpenWebUI, RequestFailed, serves
from harness.provider import Provider, ServedCall
from harness.replies import find_case
from harness.replies_common import png

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
PIXEL = "data:image/png;base64," + base64.b64encode(png()).decode()


def connections(provider: Provider) -> dict[str, str]:
    """OpenAI connections of every kind; the first one that has a model serves it."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        (provider.openai_url, {"api_type": "responses", "model_ids": ["responses-std"]}),
        (provider.openai_url, {"provider": "litellm", "model_ids": ["claude-std"]}),
        (
            provider.azure_url,
            {"azure": True, "api_version": "2024-10-21", "model_ids": ["azure-std"]},
        ),
        (provider.azure_v1_url, {"azure": True, "model_ids": ["azure-v1-std"]}),
        (provider.pipelines_url, {}),
        (provider.openai_url, {}),
    ]
    return {
        "OPENAI_API_BASE_URLS": ";".join(url for url, _ in kinds),
        "OPENAI_API_KEYS": ";".join("provider-key" for _ in kinds),
        "OPENAI_API_CONFIGS": json.dumps({str(i): kind for i, (_, kind) in enumerate(kinds)}),
    }


def environment(provider: Provider) -> dict[str, str]:
    """All that a server needs to call the provider in every way."""
    return {
        **connections(provider),
        "BYPASS_MODEL_ACCESS_CONTROL": "true",
        "ENABLE_OPENAI_API_PASSTHROUGH": "true",
        "ENABLE_CUSTOM_MODEL_FALLBACK": "true",
        "DEFAULT_MODELS": "gpt-std",
        "ENABLE_EVALUATION_ARENA_MODELS": "true",
        "EVALUATION_ARENA_MODELS": json.dumps(
            [{"id": "arena", "name": "Arena", "meta": {"model_ids": ["gpt-std"]}}]
        ),
        "RAG_EMBEDDING_MODEL": "embed-std",
        "RAG_OPENAI_API_BASE_URL": provider.openai_url,
        "ENABLE_RAG_HYBRID_SEARCH": "true",
        "RAG_RERANKING_ENGINE": "external",
        "RAG_RERANKING_MODEL": "rerank-std",
        "RAG_EXTERNAL_RERANKER_URL": f"{provider.openai_url}/rerank",
        "AUDIO_TTS_ENGINE": "openai",
        "AUDIO_TTS_MODEL": "tts-std",
        "AUDIO_TTS_OPENAI_API_BASE_URL": provider.openai_url,
        "AUDIO_STT_ENGINE": "openai",
        "AUDIO_STT_MODEL": "whisper-std",
        "AUDIO_STT_OPENAI_API_BASE_URL": provider.openai_url,
        "ENABLE_IMAGE_GENERATION": "true",
        "IMAGE_GENERATION_ENGINE": "openai",
        "IMAGE_GENERATION_MODEL": "gpt-image-std",
        "IMAGES_OPENAI_API_BASE_URL": provider.openai_url,
        "ENABLE_IMAGE_EDIT": "true",
        "IMAGE_EDIT_ENGINE": "openai",
        "IMAGE_EDIT_MODEL": "gpt-image-std",
        "IMAGES_EDIT_OPENAI_API_BASE_URL": provider.openai_url,
        "AUDIO_REALTIME_ENABLED": "true",
        "AUDIO_REALTIME_OPENAI_API_BASE_URL": provider.openai_url,
        "AUDIO_REALTIME_OPENAI_API_KEY": "provider-key",
        "AUDIO_REALTIME_MODEL": "realtime-std",
        "ENABLE_MEMORIES": "true",
        "ENABLE_AUTOCOMPLETE_GENERATION": "true",
        "ENABLE_CHANNELS": "true",
        "ENABLE_DIRECT_CONNECTIONS": "true",
    }


@dataclass(frozen=True)
class Path:
    """One request on one path, and what has to be told of the calls that it makes."""

    name: str
    route: str
    body: dict[str, Any] | None = None
    expected: Expectation = field(default_factory=Expectation)
    user: str = "alice"
    headers: dict[str, str] = field(default_factory=dict)
    files: dict[str, Any] | None = None
    form: dict[str, str] | None = None
    own: ServedCall | None = None
    """The call that Open WebUI answers itself, which no provider sees."""
    own_expected: Expectation = field(default_factory=Expectation)
    status: int = 200
    since: tuple[int, int] = (0, 6)
    """The first version of Open WebUI that has the path, or is configured for it as here."""

    @property
    def case(self) -> str:
        """The mark in the request by which the provider knows it."""
        return find_case(json.dumps(self.body).encode()) or self.name

    def send(self, server: OpenWebUI) -> None:
        """Make the request; its answer must be what it would be without us."""
        options: dict[str, Any] = {"user": self.user, "headers": self.headers}
        if self.files is not None:
            options |= {"files": self.files, "data": self.form or {}}
        else:
            options |= {"json": self.body}
        answer = server.request("POST", self.route, **options)
        if answer.status != self.status:
            raise RequestFailed(f"{self.name}: {answer.status} {answer.text[:500]}")


def expect(**more: Any) -> Expectation:
    return Expectation(**more)


def text(name: str) -> str:
    return f"case={name} tell me something"


def messages(name: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text(name)}]


def chat(name: str, model: str, expected: Expectation | None = None, **more: Any) -> Path:
    fields = more.pop("fields", {})
    route = more.pop("route", "/api/chat/completions")
    body = {"model": model, "messages": messages(name), **fields}
    return Path(name, route, body, expected or Expectation(), **more)


def both(make: Any, name: str, *args: Any, **more: Any) -> list[Path]:
    """In one piece and as a stream."""
    fields = more.pop("fields", {})
    return [
        make(f"{name}-whole", *args, fields={**fields, "stream": False}, **more),
        make(f"{name}-stream", *args, fields={**fields, "stream": True}, **more),
    ]


def prompted(name: str, route: str, model: str, expected: Any = None, **more: Any) -> Path:
    fields = more.pop("fields", {})
    body = {"model": model, "prompt": text(name), **fields}
    return Path(name, route, body, expected or Expectation(), **more)


def given_input(name: str, route: str, model: str, expected: Any = None, **more: Any) -> Path:
    fields = more.pop("fields", {})
    body = {"model": model, "input": text(name), **fields}
    return Path(name, route, body, expected or Expectation(), **more)


def anthropic(name: str, route: str, model: str, expected: Any = None, **more: Any) -> Path:
    fields = {"max_tokens": 100, **more.pop("fields", {})}
    return chat(name, model, expected, route=route, fields=fields, **more)


def pipe(name: str, model: str, *, tokens: bool = False, error: str | None = None) -> Path:
    """A chat with a pipe: its own call, and those that the provider sees of it."""
    stream = name.endswith("stream")
    own = ServedCall(
        wire="openai", path="", model=model, stream=stream, asked_usage=False, user_id="alice",
        user_name="", chat_id="", case=f"{name}-own", task="chat", body=b"", headers={},
        status=200, provider="open_webui.pipe",
        input_tokens=GIVEN if tokens else None, output_tokens=MADE if tokens else None,
    )  # fmt: skip
    answered = Expectation(errors=(error,))
    return chat(name, model, own=own, own_expected=answered, fields={"stream": stream})


def calling(name: str, model: str) -> Path:
    """A pipe that answers by calling a model, by whatever way: the call is the pipe's."""
    made = pipe(name, model)
    return Path(name, made.route, made.body, expect(model_id=model), own=made.own)


def titling(name: str, model: str) -> Path:
    """The same, where the pipe is asked for a title."""
    own = replace(pipe(name, model).own, task="title_generation")
    body = {"model": model, "messages": messages(name), "chat_id": "c1"}
    route = "/api/v1/tasks/title/completions"
    return Path(name, route, body, expect(model_id=model, task="title_generation"), own=own)


def task(route: str, name: str, **fields: Any) -> Path:
    body = {"model": "gpt-std", "messages": messages(name), "chat_id": "c1", **fields}
    return Path(f"task-{route}", f"/api/v1/tasks/{route}/completions", body)


def pipes() -> list[Path]:
    rows = []
    for way in ("whole", "stream"):
        rows += [
            *(
                pipe(f"{kind.replace('_pipes.', '-')}-{way}", kind)
                for kind in (
                    "sync_pipes.text",
                    "sync_pipes.generator",
                    "sync_pipes.dict",
                    "async_pipes.text",
                    "async_pipes.generator",
                    "async_pipes.response",
                )
            ),
            pipe(f"sync-counting-{way}", "sync_pipes.counting", tokens=True),
            pipe(f"sync-raising-{way}", "sync_pipes.raising", error="_OTHER"),
            pipe(f"async-raising-{way}", "async_pipes.raising", error="_OTHER"),
            calling(f"calls-{way}", "async_pipes.calls"),
            calling(f"sync-requests-{way}", "sync_pipes.requests"),
            calling(f"sync-httpx-{way}", "sync_pipes.httpx"),
            calling(f"async-httpx-{way}", "async_pipes.httpx"),
            calling(f"async-aiohttp-{way}", "async_pipes.aiohttp"),
            *(calling(f"{kind}-pipe-{way}", f"http_pipes.{kind}") for kind in HTTP_KINDS),
        ]
    rows.append(titling("title-by-http", "http_pipes.httpx"))
    rows.append(titling("title-by-thread", "http_pipes.thread"))
    rows.append(titling("title-by-calls", "async_pipes.calls"))
    return rows  # fmt: skip


RETRIEVAL = {"task": "retrieval"}
AZURE = {"provider": "azure.ai.openai"}
ALL: list[Path] = [
    # Chats, by connections of every kind.
    *both(chat, "responses-connection", "responses-std", since=(0, 8)),
    *both(chat, "azure", "azure-std", expect(**AZURE), since=(0, 10)),
    *both(chat, "azure-v1", "azure-v1-std"),
    *both(chat, "pipelines-server", "pipe-server-std"),
    *both(chat, "arena", "arena", expect(model_id="arena"), since=(0, 10)),
    *both(chat, "fallback", "orphan", expect(model_id="orphan"), since=(0, 8)),
    # The Responses API.
    *both(given_input, "responses", "/openai/responses", "gpt-std", since=(0, 8)),
    *both(given_input, "responses-azure", "/openai/responses", "azure-std", expect(**AZURE), since=(0, 10)),
    # Anthropic Messages: converted, and passed through.
    *both(anthropic, "messages", "/api/v1/messages", "gpt-std", since=(0, 8)),
    *both(anthropic, "messages-ollama", "/api/message", "llama-std"),
    *both(anthropic, "messages-passed", "/api/v1/messages", "claude-std", since=(0, 8)),
    # The passthrough to OpenAI's API.
    *both(prompted, "proxied", "/openai/completions", "gpt-std"),
    given_input("proxied-embeddings", "/openai/embeddings", "embed-std"),
    # Ollama's own API, and those that it imitates; with and without a connection's number.
    *both(prompted, "generate", "/ollama/api/generate", "llama-std"),
    *both(prompted, "generate-0", "/ollama/api/generate/0", "llama-std", user="admin"),
    given_input("embed", "/ollama/api/embed", "embed-local"),
    given_input("embed-0", "/ollama/api/embed/0", "embed-local", user="admin"),
    prompted("embeddings", "/ollama/api/embeddings", "embed-local"),
    *both(chat, "chat-0", "llama-std", route="/ollama/api/chat/0", user="admin"),
    *both(prompted, "v1-completions", "/ollama/v1/completions", "llama-std"),
    *both(chat, "v1-chat", "llama-std", route="/ollama/v1/chat/completions"),
    *both(chat, "v1-chat-0", "llama-std", route="/ollama/v1/chat/completions/0", user="admin"),
    *both(anthropic, "v1-messages", "/ollama/v1/messages", "llama-std", since=(0, 8)),
    *both(given_input, "v1-responses", "/ollama/v1/responses", "llama-std", since=(0, 9)),
    given_input("v1-embeddings", "/ollama/v1/embeddings", "embed-local", since=(0, 11)),
    # Embeddings.
    given_input("embeddings-api", "/api/embeddings", "embed-std"),
    given_input("embeddings-v1", "/api/v1/embeddings", "embed-std"),
    given_input("embeddings-local", "/api/v1/embeddings", "embed-local"),
    given_input("embeddings-azure", "/api/v1/embeddings", "azure-std", expect(**AZURE), since=(0, 10)),
    # Tasks.
    task("title", "task-title"),
    task("tags", "task-tags"),
    task("follow_up", "task-follow_up"),
    task("queries", "task-queries", type="web_search"),
    task("image_prompt", "task-image_prompt", prompt=text("task-image_prompt")),
    task("auto", "task-auto", type="general", prompt=text("task-auto")),
    task("emoji", "task-emoji", prompt=text("task-emoji")),
    task("moa", "task-moa", prompt=text("task-moa"), responses=["a", "b"]),
    task("moa", "task-moa", prompt=text("task-moa"), responses=["a", "b"], stream=True),
    Path("task-arena", "/api/v1/tasks/title/completions",
         {"model": "arena", "messages": messages("task-arena")},
         expect(model_id="arena"), since=(0, 10)),
    # Speech, transcription, images.
    Path("speech", "/api/v1/audio/speech", {"input": text("speech"), "voice": "v"}),
    Path("transcription", "/api/v1/audio/transcriptions",
         files={"file": ("a.wav", b"RIFF case=transcription " + bytes(64), "audio/wav")}),
    Path("image", "/api/v1/images/generations", {"prompt": text("image"), "n": 2}),
    Path("image-edit", "/api/v1/images/edit", {"prompt": text("image-edit"), "image": PIXEL},
         since=(0, 10)),
    # Retrieval.
    Path("memory", "/api/v1/memories/add", {"content": text("memory")}, expect(**RETRIEVAL)),
    Path("memory-query", "/api/v1/memories/query", {"content": text("memory-query"), "k": 1},
         expect(**RETRIEVAL)),
    Path("index", "/api/v1/retrieval/process/text",
         {"name": "n", "content": text("index"), "collection_name": "c1"}, expect(**RETRIEVAL),
         user="admin", since=(0, 11)),
    Path("search", "/api/v1/retrieval/query/doc",
         {"collection_name": "c1", "query": text("search"), "k": 1}, expect(**RETRIEVAL),
         user="admin", since=(0, 11)),
    # Functions, and what they call behind Open WebUI's back.
    *pipes(),
]  # fmt: skip
HERE = [
    path for path in ALL if path.since <= VERSION and serves((path.body or {}).get("model", ""))
]
# ROWS="speech image": these alone, while working on them.
CHOSEN = os.environ.get("ROWS", "").split() or [path.name for path in HERE]
PATHS = [path for path in HERE if path.name in CHOSEN]
UNKNOWN = set(CHOSEN) - {path.name for path in HERE}
assert not UNKNOWN, f"no such rows: {UNKNOWN}"


def send_all(server: OpenWebUI, provider: Provider) -> list[ServedCall]:
    """Send all rows, one after the other; return the calls, with those that no provider sees."""
    provider.wait_idle(0.5)
    provider.clear()
    failed = []
    for path in PATHS:
        try:
            path.send(server)
        except RequestFailed as error:
            failed.append(str(error))
    assert not failed, "\n".join(failed)
    provider.wait_idle(0.5)
    return [*provider.snapshot(), *(path.own for path in PATHS if path.own is not None)]


def expectations() -> dict[str, Expectation]:
    """What is known of each case that the provider does not know."""
    expected = {path.case: path.expected for path in PATHS}
    return expected | {path.own.case: path.own_expected for path in PATHS if path.own is not None}
