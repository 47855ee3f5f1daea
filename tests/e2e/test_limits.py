"""Every path to a model, asked by somebody whom the limits refuse: the answer, and who tells it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import anthropic
import ollama
import openai
import pytest
from aiohttp import ClientSession

import harness
from e2e import functions
from e2e.limited import LimitedServer, assert_refused, limit
from e2e.paths import HERE, Path, environment
from e2e.voice import VoiceCall, VoiceError
from harness import node
from harness.openwebui import VERSION, Answer
from harness.postgres import Postgres
from harness.provider import Provider
from harness.seed import WorkspaceModel, create_model

# `index` fills what `search` then finds nothing in.
ROWS = [path for path in HERE if path.name != "search"]
SDKS = FilePath(harness.__file__).parent / "sdks"
OF_JAVASCRIPT = {
    "openai": "RateLimitError", "openai, streamed": "RateLimitError",
    "openai, embeddings": "RateLimitError", "anthropic": "RateLimitError",
    "anthropic, streamed": "RateLimitError", "ollama": "ResponseError",
    "ollama, streamed": "ResponseError",
}  # fmt: skip
"""What `ask.mjs` asks by which of them, and the error that it raises where it is refused."""
ANTHROPIC = ("/api/message", "/api/v1/messages", "/ollama/v1/messages")


@pytest.fixture(scope="module")
def limited(
    provider: Provider, database: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LimitedServer]:
    env = {**environment(provider), "PGVECTOR_DB_URL": database.url}
    limited = LimitedServer(provider, tmp_path_factory.mktemp("limits"), env)
    with limited.server as server:
        functions.install(server, provider.openai_url)
        create_model(server, WorkspaceModel("orphan", "Orphan", "gone", {}, {}))
        server.ask("GET", "/api/models?refresh=true", user="admin")
        limited.refuse("alice", "admin")
        yield limited


@pytest.fixture(autouse=True)
def _clean(limited: LimitedServer) -> None:
    limited.provider.wait_idle(0.1)
    limited.provider.clear()


def send(limited: LimitedServer, path: Path) -> Answer:
    """Send a row of the table, whatever comes of it."""
    options: dict[str, Any] = {"user": path.user, "headers": path.headers}
    if path.files is not None:
        options |= {"files": path.files, "data": path.form or {}}
    else:
        options |= {"json": path.body}
    return limited.server.request("POST", path.route, **options)


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.name)
def test_who_is_refused_is_told_so_and_no_provider_is_asked(
    limited: LimitedServer, path: Path
) -> None:
    answer = send(limited, path)
    assert_refused(answer, limited)
    body = answer.json()
    sentence = body["detail"]
    assert "0 requests" in sentence
    facts = body["error"]
    if path.route.startswith(ANTHROPIC):
        assert body["type"] == "error"
        assert facts["type"] == "rate_limit_error"
        assert facts["message"] == sentence
    elif path.route.startswith("/ollama/api/"):
        assert body["error"] == sentence
        facts = body
    else:
        assert facts["message"] == sentence
    assert facts["code"] == "usage_limit_exceeded"
    assert facts["limit"] == f"none for {path.user}"
    assert (facts["used"], facts["allowed"]) == (0, 0)
    assert facts["resets_at"] > 1_700_000_000


def test_nothing_of_ours_has_failed(limited: LimitedServer) -> None:
    assert "instrumentation failed" not in limited.server.log_text()


# --- what programs make of it ---------------------------------------------------------------------


def test_the_sdk_of_openai_raises_its_rate_limit_error_at_once(limited: LimitedServer) -> None:
    client = openai.OpenAI(
        base_url=f"{limited.server.base_url}/api/v1",
        api_key=limited.server.world.user("alice").api_key,
    )
    before = refusals(limited)
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(
                model="gpt-std", messages=[{"role": "user", "content": "hello"}], stream=stream
            )
        assert raised.value.code == "usage_limit_exceeded"
        assert "0 requests" in str(raised.value)
    with pytest.raises(openai.RateLimitError):
        client.embeddings.create(model="embed-std", input="hello")
    assert refusals(limited) == before + 3


@pytest.mark.skipif(VERSION < (0, 8), reason="the route is not there under this name")
def test_the_sdk_of_anthropic_raises_its_rate_limit_error_at_once(limited: LimitedServer) -> None:
    client = anthropic.Anthropic(
        base_url=f"{limited.server.base_url}/api",
        api_key=limited.server.world.user("alice").api_key,
    )
    before = refusals(limited)
    with pytest.raises(anthropic.RateLimitError) as raised:
        client.messages.create(
            model="gpt-std", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
        )
    assert "0 requests" in str(raised.value)
    assert refusals(limited) == before + 1


@pytest.mark.skipif(VERSION < (0, 8), reason="before, Ollama's names have tags")
def test_the_client_of_ollama_raises_its_error_at_once(limited: LimitedServer) -> None:
    key = limited.server.world.user("alice").api_key
    client = ollama.Client(
        f"{limited.server.base_url}/ollama", headers={"Authorization": f"Bearer {key}"}
    )
    before = refusals(limited)
    with pytest.raises(ollama.ResponseError) as raised:
        client.chat("llama-std", messages=[{"role": "user", "content": "hello"}])
    assert raised.value.status_code == 429
    assert "0 requests" in raised.value.error
    assert refusals(limited) == before + 1


def test_the_sdks_for_javascript_raise_their_errors_at_once(limited: LimitedServer) -> None:
    node.install(SDKS, "what the SDKs for JavaScript do")
    before, key = refusals(limited), limited.server.world.user("alice").api_key
    asked = [name for name in OF_JAVASCRIPT if VERSION >= (0, 8) or name.startswith("openai")]
    command = ["node", "ask.mjs", limited.server.base_url, key, *asked]
    done = subprocess.run(command, cwd=SDKS, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    raised = json.loads(done.stdout)
    for name in asked:
        assert raised[name]["error"] == OF_JAVASCRIPT[name]
        assert raised[name]["status"] == 429
        assert "0 requests" in raised[name]["text"]
    assert refusals(limited) == before + len(asked)


def refusals(limited: LimitedServer) -> int:
    """How many answers with this status the server's log has."""
    return limited.server.log_text().count(" 429")


# --- uploads, searches and voice ------------------------------------------------------------------


@pytest.mark.skipif(VERSION < (0, 11), reason="the vector database of older ones has no place here")
def test_a_search_of_documents_is_refused_and_not_empty(limited: LimitedServer) -> None:
    limited.lift()
    fill = {"name": "n", "content": "case=fill a text", "collection_name": "c2"}
    limited.server.ask("POST", "/api/v1/retrieval/process/text", user="admin", json=fill)
    query = {"collection_name": "c2", "query": "case=find text", "k": 1}
    route = "/api/v1/retrieval/query/doc"
    found = limited.server.ask("POST", route, user="admin", json=query)
    assert found["documents"] != [[]]
    limited.refuse("alice", "admin")
    answer = limited.server.request("POST", route, user="admin", json=query)
    assert_refused(answer, limited)


@pytest.mark.skipif(VERSION < (0, 11), reason="the vector database of older ones has no place here")
def test_an_upload_that_cannot_be_read_says_why(limited: LimitedServer) -> None:
    files = {"file": ("a.txt", b"case=upload a text to read", "text/plain")}
    answer = limited.server.request("POST", "/api/v1/files/", user="alice", files=files)
    if answer.status == 200:
        # It is read in the background, and its page shows how that went.
        route = f"/api/v1/files/{answer.json()['id']}/process/status?stream=true"
        told = limited.server.request("GET", route, user="alice").events()[-1]
        assert told["status"] == "failed"
        assert "0 requests" in told["error"]
    else:
        assert_refused(answer, limited)
    assert limited.served() == []


@pytest.mark.skipif(VERSION < (0, 12), reason="there are no voice calls")
def test_a_voice_call_ends_with_the_sentence(limited: LimitedServer) -> None:
    with pytest.raises(VoiceError, match="0 requests"):
        speak(limited, 1)
    assert limited.served() == []


def speak(limited: LimitedServer, times: int) -> None:
    """Have a voice call, in which somebody asks so many things."""

    async def call() -> None:
        url = f"{limited.server.base_url}/api/v1/audio/realtime"
        async with ClientSession() as session, session.ws_connect(url) as socket:
            voice = VoiceCall(socket)
            await voice.begin(limited.server.world.user("alice").token)
            for number in range(times):
                await voice.say(f"voice-{number}")

    asyncio.run(call())


@pytest.mark.skipif(VERSION < (0, 12), reason="there are no voice calls")
def test_a_voice_call_that_crosses_a_limit_ends_with_the_sentence(limited: LimitedServer) -> None:
    user, model = limited.id_of("alice"), "realtime-std"
    limited.set(limit("two", 2, user=user, models=[model], counts_from="now"))
    with pytest.raises(VoiceError, match="2 requests of realtime-std"):
        speak(limited, 3)
    assert [call.model for call in limited.provider.snapshot()] == [model, model]
    with pytest.raises(VoiceError, match="2 requests of realtime-std"):
        speak(limited, 1)
    limited.refuse("alice", "admin")


def test_what_is_free_again_is_served(limited: LimitedServer, tmp_path: FilePath) -> None:
    limited.lift()
    assert limited.server.chat("alice", "gpt-std", "case=again").status == 200
    assert limited.served() == ["chat"]
