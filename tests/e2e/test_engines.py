"""Engines that an administrator can choose, voice calls, and what only a browser can set off.

One server for all of it; each test compares what it added to the accounts.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientSession

from e2e.direct import DIRECT, with_app
from e2e.paths import PIXEL, Path, environment, text
from e2e.servers import instrumented
from e2e.truth import Expectation, Further, assert_equal, reported
from e2e.voice import VoiceCall
from harness.openwebui import OpenWebUI, free_port
from harness.otlp import Event, Receiver, Span
from harness.postgres import Postgres
from harness.provider import Provider, ServedCall

ALICE = "alice"
# A series is announced in one export and moves in the next; the one before may be under way.
EXPORTS = 3
WORKFLOW = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "other"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
    "9": {"class_type": "SaveImage", "inputs": {}},
}
NODES = [
    {"type": "model", "key": "ckpt_name", "node_ids": ["4"]},
    {"type": "n", "key": "batch_size", "node_ids": ["5"]},
    {"type": "prompt", "key": "text", "node_ids": ["6"]},
]
EDIT_WORKFLOW = {**WORKFLOW, "5": {"class_type": "LoadImage", "inputs": {"image": ""}}}
EDIT_NODES = [NODES[0], NODES[2], {"type": "image", "key": "image", "node_ids": ["5"]}]


def engines(provider: Provider) -> dict[str, str]:
    """Addresses and keys of all engines; which of them is used, a test says."""
    return {
        **environment(provider),
        "IMAGES_GEMINI_API_BASE_URL": provider.gemini_url,
        "IMAGES_GEMINI_API_KEY": "provider-key",
        "IMAGES_EDIT_GEMINI_API_BASE_URL": provider.gemini_url,
        "IMAGES_EDIT_GEMINI_API_KEY": "provider-key",
        "AUTOMATIC1111_BASE_URL": provider.a1111_url,
        "COMFYUI_BASE_URL": provider.comfyui_url,
        "COMFYUI_WORKFLOW": json.dumps(WORKFLOW),
        "COMFYUI_WORKFLOW_NODES": json.dumps(NODES),
        "IMAGES_EDIT_COMFYUI_BASE_URL": provider.comfyui_url,
        "IMAGES_EDIT_COMFYUI_WORKFLOW": json.dumps(EDIT_WORKFLOW),
        "IMAGES_EDIT_COMFYUI_WORKFLOW_NODES": json.dumps(EDIT_NODES),
        "AUDIO_TTS_API_KEY": "provider-key",
        "AUDIO_TTS_OPENAI_API_KEY": "provider-key",
        "AUDIO_TTS_MISTRAL_API_KEY": "provider-key",
        "AUDIO_TTS_MISTRAL_API_BASE_URL": provider.mistral_url,
        "AUDIO_TTS_AZURE_SPEECH_BASE_URL": provider.azure_speech_url,
        "AUDIO_STT_MISTRAL_API_KEY": "provider-key",
        "AUDIO_STT_MISTRAL_API_BASE_URL": provider.mistral_url,
        "AUDIO_STT_AZURE_API_KEY": "provider-key",
        "AUDIO_STT_AZURE_REGION": "westeurope",
        "AUDIO_STT_AZURE_BASE_URL": provider.azure_speech_url,
        "RAG_OLLAMA_BASE_URL": provider.ollama_url,
        "RAG_AZURE_OPENAI_BASE_URL": provider.azure_url,
        "RAG_AZURE_OPENAI_API_KEY": "provider-key",
        "RAG_AZURE_OPENAI_API_VERSION": "2024-10-21",
    }


@pytest.fixture(scope="module")
def server(provider: Provider, receiver: Receiver) -> Iterator[OpenWebUI]:
    with Postgres() as database:
        env = {**engines(provider), "PGVECTOR_DB_URL": database.url}
        with instrumented(provider, receiver, env) as server:
            yield server


def configure(server: OpenWebUI, area: str, changes: dict[str, Any]) -> None:
    """Change the configuration of the running server."""
    admin: dict[str, Any] = {"user": "admin", "auth": "session"}
    config = server.ask("GET", f"/api/v1/{area}", **admin)
    for name, value in changes.items():
        config[name] = {**config[name], **value} if isinstance(value, dict) else value
    server.ask("POST", f"/api/v1/{area}/update", **admin, json=config)


# --- the accounts of one test ---------------------------------------------------------------------


class Accounts:
    """What is reported from now on."""

    def __init__(self, server: OpenWebUI, provider: Provider, receiver: Receiver) -> None:
        provider.wait_idle(0.3)
        provider.clear()
        self._server, self._provider, self._receiver = server, provider, receiver
        self._before, self._events = reported(receiver), len(receiver.events)

    def check(self, expected: dict[str, Expectation], *own: ServedCall) -> list[Event]:
        """Compare with what the provider served; returns the events, one for each call."""
        self._provider.wait_idle(0.3)
        calls = [*self._provider.snapshot(), *own]
        assert {call.case for call in calls} == set(expected)
        self._wait_for_exports()
        truth = Further(self._server.world, calls, expected, before=self._before)
        assert_equal(self._receiver, truth)
        self._receiver.wait_for(lambda r: len(r.events) >= self._events + len(calls))
        events = self._receiver.events[self._events :]
        ids = {event.span_id for event in events}
        assert len(ids) == len(events) == len(calls)
        self._receiver.wait_for(lambda r: ids <= {span.span_id for span in r.spans})
        return events

    def _wait_for_exports(self) -> None:
        """Wait until a call that should not be there would have been told, too."""
        begun = len(self._receiver.exports)
        self._receiver.wait_for(
            lambda r: [kind for _, kind in r.exports[begun:]].count("metrics") >= EXPORTS
        )


@pytest.fixture
def accounts(server: OpenWebUI, provider: Provider, receiver: Receiver) -> Accounts:
    return Accounts(server, provider, receiver)


# --- engines --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Engine:
    """One engine, and a request that it serves."""

    served: str
    """The end of the provider's path that has to be called."""
    area: str
    config: dict[str, Any]
    path: Path
    content: str = ""
    """The type of what is sent to the provider, where it matters."""


def asks(user: str | None = ALICE, **more: Any) -> Expectation:
    """Most engines are not told who asks."""
    return Expectation(user=user, **more)


def image(name: str, served: str, engine: str, model: str, **more: Any) -> Engine:
    errors, expected = more.pop("errors", (None,)), more.pop("expected", {})
    config = {"IMAGE_GENERATION_ENGINE": engine, "IMAGE_GENERATION_MODEL": model, **more}
    route, body = "/api/v1/images/generations", {"prompt": text(name), "n": 2}
    status = 200 if errors == (None,) else 400
    path = Path(name, route, body, asks(errors=errors, **expected), status=status)
    return Engine(served, "images/config", config, path)


def edit(name: str, served: str, engine: str, model: str) -> Engine:
    config = {"IMAGE_EDIT_ENGINE": engine, "IMAGE_EDIT_MODEL": model}
    body = {"prompt": text(name), "image": PIXEL}
    path = Path(name, "/api/v1/images/edit", body, asks(operation="image_edit"))
    return Engine(served, "images/config", config, path)


def speech(name: str, served: str, engine: str, model: str, expected: Expectation) -> Engine:
    config = {"tts": {"ENGINE": engine, "MODEL": model, "VOICE": "en-US-JennyNeural"}}
    body = {"input": f'case={name} Tom & Jerry\'s "tea" <for two>: 猫とねずみ', "voice": ""}
    return Engine(
        served, "audio/config", config, Path(name, "/api/v1/audio/speech", body, expected)
    )


def hearing(
    name: str, served: str, engine: str, model: str, expected: Expectation, **more: Any
) -> Engine:
    content = more.pop("content", "")
    config = {"stt": {"ENGINE": engine, "MODEL": model, **more}}
    sound = ("a.wav", f"RIFF case={name} ".encode() + bytes(64), "audio/wav")
    path = Path(name, "/api/v1/audio/transcriptions", None, expected, files={"file": sound})
    return Engine(served, "audio/config", config, path, content)


def embedding(name: str, served: str, engine: str, model: str, **more: Any) -> Engine:
    config = {"RAG_EMBEDDING_ENGINE": engine, "RAG_EMBEDDING_MODEL": model}
    expected = asks(None, task="retrieval", **more)
    path = Path(name, "/api/v1/memories/add", {"content": text(name)}, expected)
    return Engine(served, "retrieval/embedding", config, path)


PREDICT = {"IMAGES_GEMINI_ENDPOINT_METHOD": "predict"}
CONTENT = {"IMAGES_GEMINI_ENDPOINT_METHOD": "generateContent"}
JSON = {"OPENAI_API_REQUEST_FORMAT": "json", "content": "application/json"}
FORM = {"OPENAI_API_REQUEST_FORMAT": "multipart", "content": "multipart/form-data"}
NAMELESS = {"model": "unknown"}
# The library tells providers by their host, and ours is none of Mistral's.
MISTRAL = {"provider": "openai"}
HEARD = "/audio/transcriptions"
ENGINES = [
    # Images.
    image("predict", ":predict", "gemini", "imagen-std", **PREDICT),
    image("predict-429", ":predict", "gemini", "imagen-429", errors=("429",), **PREDICT),
    image("content", ":generateContent", "gemini", "gemini-std", **CONTENT),
    image("automatic1111", "/txt2img", "automatic1111", "", expected=NAMELESS),
    image("comfyui", "/comfyui/prompt", "comfyui", "comfy-std"),
    image("comfyui-500", "/comfyui/prompt", "comfyui", "comfy-500", errors=("_OTHER",)),
    edit("edit-gemini", ":generateContent", "gemini", "gemini-std"),
    edit("edit-comfyui", "/comfyui/prompt", "comfyui", "comfy-std"),
    # Transcriptions.
    hearing("hear-json", HEARD, "openai", "whisper-std", asks(None), **JSON),
    hearing("hear-tokens", HEARD, "openai", "gpt-4o-transcribe", asks(None), **FORM),
    hearing("hear-json-tokens", HEARD, "openai", "gpt-4o-transcribe", asks(None), **JSON),
    hearing("hear-mistral", HEARD, "mistral", "voxtral-std", asks(**MISTRAL)),
    hearing("hear-chat", "/chat/completions", "mistral", "mistral-std",
            asks(operation="transcription", **MISTRAL), MISTRAL_USE_CHAT_COMPLETIONS=True),
    hearing("hear-azure", ":transcribe", "azure", "", asks(**NAMELESS)),
    # Speech.
    speech("say-mistral", "/audio/speech", "mistral", "voxtral-tts", asks(**MISTRAL)),
    speech("say-azure", "/cognitiveservices/v1", "azure", "", asks(**NAMELESS)),
    speech("say-realtime", "/realtime", "openai-realtime", "realtime-std",
           asks(None, operation="speech")),
    # Embeddings for retrieval.
    embedding("embed-ollama", "/api/embed", "ollama", "embed-local"),
    embedding("embed-azure", "/deployments/azure-embed/embeddings", "azure_openai", "azure-embed",
              provider="azure.ai.openai"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.path.name)
def test_an_engine_counts_what_it_served(
    server: OpenWebUI, provider: Provider, accounts: Accounts, engine: Engine
) -> None:
    configure(server, engine.area, engine.config)
    engine.path.send(server)
    [event] = accounts.check({engine.path.case: engine.path.expected})
    assert event.attributes["http.route"] == engine.path.route
    [call] = provider.snapshot()
    assert call.path.endswith(engine.served)
    assert call.headers.get("Content-Type", "").startswith(engine.content)


def test_a_document_read_by_ocr_counts_its_pages(
    server: OpenWebUI, provider: Provider, accounts: Accounts
) -> None:
    openai = {"RAG_EMBEDDING_ENGINE": "openai", "RAG_EMBEDDING_MODEL": "embed-std"}
    configure(server, "retrieval/embedding", openai)
    ocr = {
        "CONTENT_EXTRACTION_ENGINE": "mistral_ocr",
        "MISTRAL_OCR_API_BASE_URL": provider.mistral_url,
        "MISTRAL_OCR_API_KEY": "provider-key",
        "MISTRAL_OCR_USE_BASE64": True,
    }
    configure(server, "retrieval/config", ocr)
    content = {"file": ("river.pdf", b"%PDF-1.4 a river", "application/pdf")}
    path = "/api/v1/files/?process_in_background=false"
    server.ask("POST", path, user=ALICE, files=content)
    # What is read bears no mark, nor does what is made of it.
    events = accounts.check({"": asks(task="retrieval", **MISTRAL)})
    operations = Counter(event.attributes["gen_ai.operation.name"] for event in events)
    assert set(operations) == {"ocr", "embeddings"}
    assert operations["ocr"] == 1
    assert [call.pages for call in provider.snapshot() if call.operation == "ocr"] != [None]


# --- voice calls ----------------------------------------------------------------------------------


async def converse(server: OpenWebUI, user: str, source: str) -> None:
    """A voice call of two questions and a remark."""
    url = f"{server.base_url}/api/v1/audio/realtime"
    # Browsers say so on a web socket, and nothing else of where they come from.
    headers = {"Origin": server.base_url} if source == "ui" else {}
    async with ClientSession() as session, session.ws_connect(url, headers=headers) as socket:
        call = VoiceCall(socket)
        await call.begin(server.world.user(user).token)
        await call.say(f"voice-{user}-1")
        await call.say(f"voice-{user}-2")
        await call.tell_status()


CALLERS = [("alice", "api"), ("bob", "ui"), ("carol", "ui")]


@pytest.mark.parametrize(
    "callers", [CALLERS[:1], CALLERS[1:2], CALLERS], ids=["client", "app", "at-once"]
)
def test_each_response_of_a_voice_call_is_a_call(
    server: OpenWebUI, accounts: Accounts, callers: list[tuple[str, str]]
) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(converse(server, *caller) for caller in callers))

    asyncio.run(all_at_once())
    expected = {
        f"voice-{user}-{number}": Expectation(source)
        for user, source in callers
        for number in (1, 2)
    }
    events = accounts.check(expected)
    assert len(events) == 3 * len(callers)
    for event in events:
        assert event.attributes["gen_ai.operation.name"] == "realtime"
        assert event.attributes["open_webui.auth"] == "session"


# --- direct connections ---------------------------------------------------------------------------


def direct_turn(
    server: OpenWebUI,
    provider: Provider,
    case: str,
    model: str = "gpt-std",
    error: str | None = None,
    **fields: Any,
) -> Expectation:
    """A turn that the browser's own connection answers."""

    def turn(session: str) -> None:
        more = {"session_id": session, "model_item": {**DIRECT, "id": model}, **fields}
        server.turn(ALICE, model, text(case), **more)

    asyncio.run(with_app(server, provider, ALICE, turn))
    return Expectation("ui", user=ALICE, provider="open_webui.direct", errors=(error,))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_direct_connection_is_counted_though_the_browser_calls(
    server: OpenWebUI, provider: Provider, accounts: Accounts, stream: bool
) -> None:
    case = f"direct-{stream}"
    expected = direct_turn(server, provider, case, stream=stream, tasks=())
    [event] = accounts.check({case: expected})
    assert [call.stream for call in provider.snapshot()] == [stream]
    assert event.attributes["gen_ai.usage.output_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_direct_connections_error_is_its_providers(
    server: OpenWebUI, provider: Provider, accounts: Accounts, stream: bool
) -> None:
    case, model, error = f"direct-429-{stream}", "gpt-429", "rate_limit_exceeded"
    expected = direct_turn(server, provider, case, model, error, stream=stream, tasks=())
    accounts.check({case: expected})


def test_what_never_reaches_the_browser_is_no_call(
    server: OpenWebUI, provider: Provider, accounts: Accounts
) -> None:
    """Open WebUI 0.12.4 gives up on titles and tags of direct connections before it asks."""
    accounts.check({"direct-tasks": direct_turn(server, provider, "direct-tasks")})


# --- images inside a turn -------------------------------------------------------------------------


def test_an_image_of_a_turn_belongs_to_it(
    server: OpenWebUI, accounts: Accounts, receiver: Receiver
) -> None:
    openai = {"IMAGE_GENERATION_ENGINE": "openai", "IMAGE_GENERATION_MODEL": "gpt-image-std"}
    configure(server, "images/config", openai)
    chat = server.turn(
        "bob", "helpdesk", text("picture"),
        features={"image_generation": True}, params={"function_calling": "legacy"}, tasks=(),
    )  # fmt: skip
    # The image's prompt is what a model has made of the question, without its mark.
    events = accounts.check({"picture": Expectation("ui", "helpdesk"), "": Expectation("ui")})
    assert len(events) == 3
    turn, *spans = receiver.wait_for(lambda r: trace_of(r, chat, 3))
    assert {span.parent_id for span in spans} == {turn.span_id}
    [made] = [s for s in spans if s.attributes["gen_ai.operation.name"] == "image_generation"]
    assert made.attributes["open_webui.model.id"] == "gpt-image-std"
    assert made.attributes["gen_ai.conversation.id"] == chat
    assert made.attributes["user.name"] == server.world.user("bob").name


def trace_of(receiver: Receiver, chat: str, calls: int) -> list[Span]:
    """The turn in a chat and its calls, once all of them are there."""
    for turn in receiver.spans:
        own = turn.attributes.get("gen_ai.conversation.id") == chat
        if own and turn.name.startswith("invoke_agent "):
            spans = [s for s in receiver.spans if s.trace_id == turn.trace_id and s is not turn]
            return [turn, *spans] if len(spans) == calls else []
    return []


# --- addresses that no setting can change ---------------------------------------------------------


SPEAK = Path(
    "unreachable",
    "/openai/audio/speech",
    {"model": "tts-std", "input": "case=unreachable hello", "voice": "alloy"},
    Expectation(errors=("ClientProxyConnectionError",)),
    status=500,
)
SEARCH = Path(
    "sought",
    "/api/v1/retrieval/process/web/search",
    {"queries": [text("sought")]},
    Expectation(errors=("ProxyError",), task="retrieval", provider="perplexity"),
    status=404,
)


@pytest.mark.parametrize(
    ("path", "model", "operation"),
    [(SPEAK, "tts-std", "speech"), (SEARCH, "sonar", "chat")],
    ids=["speech", "search"],
)
def test_a_call_to_an_address_of_its_own_that_fails_is_counted_once(
    unreachable: tuple[OpenWebUI, Receiver],
    provider: Provider,
    path: Path,
    model: str,
    operation: str,
) -> None:
    server, receiver = unreachable
    accounts = Accounts(server, provider, receiver)
    path.send(server)
    failed = ServedCall(
        wire="openai", path="", model=model, stream=False, asked_usage=False,
        user_id=server.world.user(ALICE).id, user_name="", chat_id="", case=path.name,
        task="chat", body=b"", headers={}, operation=operation,
    )  # fmt: skip
    accounts.check({path.name: path.expected}, failed)


@pytest.fixture(scope="module")
def unreachable(provider: Provider) -> Iterator[tuple[OpenWebUI, Receiver]]:
    """Some calls go to one address alone. A proxy that is not there keeps us from calling it."""
    env = {
        "OPENAI_API_BASE_URLS": f"{provider.openai_url};https://api.openai.com/v1",
        "OPENAI_API_KEYS": "provider-key;provider-key",
        "HTTPS_PROXY": f"http://127.0.0.1:{free_port()}",
        "ENABLE_WEB_SEARCH": "true",
        "WEB_SEARCH_ENGINE": "perplexity",
        "PERPLEXITY_API_KEY": "provider-key",
        "USER_PERMISSIONS_FEATURES_WEB_SEARCH": "true",
        "BYPASS_WEB_SEARCH_EMBEDDING_AND_RETRIEVAL": "true",
    }
    with Receiver() as receiver, instrumented(provider, receiver, env) as server:
        yield server, receiver
