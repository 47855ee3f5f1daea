"""The stand-in provider: what it tells a client is what it logs."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
import pytest

from harness.provider import Provider, ServedCall
from harness.replies_common import png

USER = {"X-OpenWebUI-User-Id": "u1", "X-OpenWebUI-User-Name": "Ann%20Lee"}
WORKFLOW = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dream.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"batch_size": 2}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a boat case=comfy"}},
    "9": {"class_type": "SaveImage", "inputs": {}},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def client(provider: Provider) -> Iterator[httpx.Client]:
    provider.clear()
    with httpx.Client(base_url=provider.base_url, headers=USER, trust_env=False) as client:
        yield client


def only_call(provider: Provider) -> ServedCall:
    provider.wait_idle(0.0)
    [call] = provider.snapshot()
    assert call.finished
    assert (call.user_id, call.user_name) == ("u1", "Ann Lee")
    return call


def test_who_has_an_answer_finds_its_numbers_in_the_log(
    provider: Provider, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = Provider._tell
    monkeypatch.setattr(Provider, "_tell", lambda *args: time.sleep(0.1) or note(*args))
    client.post("/v1/chat/completions", json={"model": "gpt-std", "messages": []})
    [call] = provider.snapshot()
    assert call.finished
    assert call.input_tokens


def is_png(data: str) -> bool:
    return base64.b64decode(data).startswith(b"\x89PNG\r\n\x1a\n")


def events(text: str) -> list[dict[str, Any]]:
    """The data of an event stream; a name has to fit its data."""
    found = []
    for block in text.strip().split("\n\n"):
        *name, data = block.split("\n")
        assert data.startswith("data: ")
        if data == "data: [DONE]":
            continue
        found.append(json.loads(data.removeprefix("data: ")))
        assert name in ([], [f"event: {found[-1].get('type')}"])
    return found


def chat_body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello case=one"}], **more}


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["/v1", "/ollama/v1"])
def test_completion(provider: Provider, client: httpx.Client, base: str) -> None:
    body = {"model": "davinci", "prompt": "hello case=one"}
    answer = client.post(f"{base}/completions", json=body).json()
    call = only_call(provider)
    assert (call.operation, call.model, call.case) == ("text_completion", "davinci", "one")
    assert call.provider == ("ollama" if "ollama" in base else "openai")
    assert answer["choices"][0]["text"].startswith("[one]")
    assert answer["usage"]["prompt_tokens"] == call.input_tokens
    assert answer["usage"]["completion_tokens"] == call.output_tokens
    assert not call.stream


def test_a_streamed_completion_tells_usage_only_when_asked(
    provider: Provider, client: httpx.Client
) -> None:
    body = {"model": "davinci", "prompt": "hello", "stream": True}
    quiet = events(client.post("/v1/completions", json=body).text)
    assert all("usage" not in chunk for chunk in quiet)
    assert only_call(provider).input_tokens is None
    provider.clear()
    asked = {**body, "stream_options": {"include_usage": True}}
    *chunks, last = events(client.post("/v1/completions", json=asked).text)
    call = only_call(provider)
    assert call.stream
    assert call.asked_usage
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == call.output_tokens


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/responses",
        "/ollama/v1/responses",
        "/azure/openai/deployments/responses-std/responses?api-version=1",
        "/azure-v1/openai/v1/responses",
    ],
)
def test_response(provider: Provider, client: httpx.Client, path: str, stream: bool) -> None:
    said = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "case=r"}],
    }
    body = {"model": "responses-std", "input": [said], "stream": stream}
    answer = client.post(path, json=body)
    if stream:
        *steps, last = events(answer.text)
        kinds = [step["type"] for step in steps]
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert kinds.count("response.output_text.delta") > 3
        assert last["type"] == "response.completed"
        assert [step["sequence_number"] for step in steps] == list(range(len(steps)))
    value = last["response"] if stream else answer.json()
    call = only_call(provider)
    assert (call.operation, call.model, call.case, call.stream) == (
        "chat", "responses-std", "r", stream,
    )  # fmt: skip
    assert value["usage"]["input_tokens"] == call.input_tokens
    assert value["usage"]["input_tokens_details"]["cached_tokens"] == call.cached_tokens
    assert value["usage"]["output_tokens_details"]["reasoning_tokens"] == call.reasoning_tokens
    assert value["usage"]["total_tokens"] == call.input_tokens + call.output_tokens
    assert value["output"][0]["content"][0]["text"].startswith("[r]")


def test_a_task_is_told_from_the_input_of_a_response(
    provider: Provider, client: httpx.Client
) -> None:
    text = "### Task:\nGenerate a concise title"
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    client.post("/v1/responses", json={"model": "responses-std", "input": [said]})
    assert only_call(provider).task == "title_generation"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("base", ["/v1", "/ollama/v1"])
def test_message(provider: Provider, client: httpx.Client, base: str, stream: bool) -> None:
    answer = client.post(f"{base}/messages", json=chat_body("claude-std", stream=stream))
    if stream:
        found = events(answer.text)
        usage = {**found[0]["message"]["usage"]}
        assert usage["output_tokens"] == 1
        [delta] = [event for event in found if event["type"] == "message_delta"]
        usage.update(delta["usage"])
        assert found[-1] == {"type": "message_stop"}
    else:
        usage = answer.json()["usage"]
    call = only_call(provider)
    read, created = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    assert min(read, created, usage["input_tokens"]) > 0
    assert call.input_tokens == usage["input_tokens"] + read + created
    assert (call.cached_tokens, call.cache_creation_tokens) == (read, created)
    assert call.output_tokens == usage["output_tokens"]
    assert call.reasoning_tokens is None
    assert call.operation == "chat"


def test_counting_tokens_is_no_call(provider: Provider, client: httpx.Client) -> None:
    answer = client.post("/v1/messages/count_tokens", json=chat_body("claude-std")).json()
    assert answer["input_tokens"] > 0
    assert provider.snapshot() == []


@pytest.mark.parametrize("stream", [None, False])
def test_generate(provider: Provider, client: httpx.Client, stream: bool | None) -> None:
    body = {
        "model": "llama-std",
        "prompt": "case=g",
        **({} if stream is None else {"stream": False}),
    }
    answer = client.post("/ollama/api/generate", json=body)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    call = only_call(provider)
    assert (call.operation, call.provider, call.case) == ("text_completion", "ollama", "g")
    assert call.stream == (stream is None) == (len(lines) > 1)
    assert "".join(line["response"] for line in lines).startswith("[g]")
    assert lines[-1]["done"]
    assert lines[-1]["prompt_eval_count"] == call.input_tokens
    assert lines[-1]["eval_count"] == call.output_tokens


def test_unloading_is_no_call(provider: Provider, client: httpx.Client) -> None:
    body = {"model": "llama-std", "keep_alive": 0, "prompt": ""}
    answer = client.post("/ollama/api/generate", json=body).json()
    assert (answer["done"], answer["done_reason"], answer["response"]) == (True, "unload", "")
    assert provider.snapshot() == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/ollama/v1/chat/completions", "ollama"),
        ("/azure/openai/deployments/azure-std/chat/completions?api-version=1", "openai"),
        ("/azure-v1/openai/v1/chat/completions", "openai"),
        ("/mistral/v1/chat/completions", "mistral_ai"),
        ("/pipelines/chat/completions", "openai"),
    ],
)
def test_chat_of_any_model(provider: Provider, client: httpx.Client, path: str, name: str) -> None:
    body = chat_body("azure-std")
    if "deployments" in path:
        del body["model"]
    usage = client.post(path, json=body).json()["usage"]
    call = only_call(provider)
    assert (call.operation, call.provider, call.model) == ("chat", name, "azure-std")
    assert usage["prompt_tokens"] == call.input_tokens


# --- behaviours -----------------------------------------------------------------------------------

TEXT_PATHS = ("/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/rerank")


@pytest.mark.parametrize("path", [*TEXT_PATHS, "/v1/audio/speech", "/v1/images/generations"])
@pytest.mark.parametrize(("model", "status"), [("gpt-429", 429), ("other-500", 500)])
def test_failure(
    provider: Provider, client: httpx.Client, path: str, model: str, status: int
) -> None:
    answer = client.post(path, json={"model": model, "input": "x", "prompt": "x"})
    call = only_call(provider)
    assert answer.status_code == call.status == status
    assert answer.json()["error"]["message"]
    assert (call.input_tokens, call.characters, call.images) == (None, None, None)


@pytest.mark.parametrize("path", TEXT_PATHS[:3])
def test_a_stream_that_is_cut_or_crashes(
    provider: Provider, client: httpx.Client, path: str
) -> None:
    body = {"input": "x", "prompt": "x", "stream": True}
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(path, json={"model": "gpt-cut", **body})
    answer = client.post(path, json={"model": "gpt-sse-error", **body})
    *_, error = events(answer.text)
    assert "error" in (error.get("type"), *error)
    provider.wait_idle(0.0)
    cut, crashed = provider.snapshot()
    assert not cut.finished
    assert crashed.finished


def test_a_stream_in_fragments_is_the_same(provider: Provider, client: httpx.Client) -> None:
    answer = client.post("/v1/messages", json=chat_body("claude-split", stream=True))
    assert events(answer.text)[-1] == {"type": "message_stop"}
    call = only_call(provider)
    assert call.cache_creation_tokens
    assert call.output_tokens


# --- vectors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1)])
@pytest.mark.parametrize(
    "path", ["/v1/embeddings", "/azure/openai/deployments/embed-std/embeddings?api-version=1"]
)
def test_embeddings(
    provider: Provider, client: httpx.Client, path: str, given: object, count: int
) -> None:
    answer = client.post(path, json={"input": given}).json()
    call = only_call(provider)
    assert [len(item["embedding"]) for item in answer["data"]] == [8] * count
    assert answer["usage"] == {
        "prompt_tokens": call.input_tokens,
        "total_tokens": call.input_tokens,
    }
    assert (call.operation, call.output_tokens) == ("embeddings", None)
    assert call.model == ("embed-std" if "azure" in path else "")


def test_ollama_embeddings(provider: Provider, client: httpx.Client) -> None:
    body = {"model": "embed-local", "input": ["a case=e", "b"]}
    answer = client.post("/ollama/api/embed", json=body).json()
    call = only_call(provider)
    assert len(answer["embeddings"]) == 2
    assert answer["prompt_eval_count"] == call.input_tokens
    assert (call.provider, call.stream, call.output_tokens) == ("ollama", False, None)
    provider.clear()
    body = {"model": "embed-local", "prompt": "a"}
    assert len(client.post("/ollama/api/embeddings", json=body).json()["embedding"]) == 8
    assert only_call(provider).input_tokens is None


def test_rerank(provider: Provider, client: httpx.Client) -> None:
    body = {"model": "jina", "query": "case=k", "documents": ["a", "b", "c"], "top_n": 3}
    answer = client.post("/v1/rerank", json=body).json()
    call = only_call(provider)
    assert sorted(result["index"] for result in answer["results"]) == [0, 1, 2]
    assert answer["usage"] == {"total_tokens": call.input_tokens}
    assert (call.operation, call.output_tokens, call.case) == ("rerank", None, "k")


# --- sound ----------------------------------------------------------------------------------------


def test_speech(provider: Provider, client: httpx.Client) -> None:
    body = {"model": "tts-1", "input": "read this case=s", "voice": "alloy"}
    answer = client.post("/v1/audio/speech", json=body)
    call = only_call(provider)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert len(answer.content) > 200
    assert (call.operation, call.characters, call.case) == ("speech", 16, "s")
    assert (call.input_tokens, call.output_tokens) == (None, None)


def test_speech_of_mistral(provider: Provider, client: httpx.Client) -> None:
    body = {"model": "voxtral", "input": "four", "voice_id": "calm"}
    answer = client.post("/mistral/v1/audio/speech", json=body).json()
    assert base64.b64decode(answer["audio_data"])
    call = only_call(provider)
    assert (call.provider, call.characters) == ("mistral_ai", 4)


def test_speech_of_azure(provider: Provider, client: httpx.Client) -> None:
    markup = "<speak version='1.0'><voice name='x'>salt &amp; pepper case=a</voice></speak>"
    answer = client.post(
        "/azurespeech/cognitiveservices/v1",
        content=markup,
        headers={"Content-Type": "application/ssml+xml"},
    )
    call = only_call(provider)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert (call.provider, call.operation, call.model) == ("azure.ai.speech", "speech", "")
    assert (call.characters, call.case) == (len("salt & pepper case=a"), "a")


def test_transcription_of_a_form(provider: Provider, client: httpx.Client) -> None:
    answer = client.post(
        "/v1/audio/transcriptions",
        data={"model": "whisper-1", "language": "en"},
        files={"file": ("a.wav", b"RIFF case=in-the-file \x00\xff")},
    ).json()
    call = only_call(provider)
    assert (call.operation, call.model, call.case) == ("transcription", "whisper-1", "in-the-file")
    assert answer["usage"] == {"type": "duration", "seconds": call.seconds}
    assert call.seconds
    assert call.input_tokens is None


def test_transcription_in_tokens(provider: Provider, client: httpx.Client) -> None:
    sound = {"data": base64.b64encode(b"RIFF case=hidden").decode(), "format": "wav"}
    body = {"model": "gpt-4o-transcribe", "input_audio": sound}
    usage = client.post("/v1/audio/transcriptions", json=body).json()["usage"]
    call = only_call(provider)
    assert (usage["type"], call.seconds, call.case) == ("tokens", None, "hidden")
    assert (usage["input_tokens"], usage["output_tokens"]) == (
        call.input_tokens,
        call.output_tokens,
    )


def test_transcription_of_mistral_and_azure(provider: Provider, client: httpx.Client) -> None:
    form: dict[str, Any] = {"files": {"file": ("a.mp3", b"x")}, "data": {"model": "voxtral"}}
    usage = client.post("/mistral/v1/audio/transcriptions", **form).json()["usage"]
    call = only_call(provider)
    assert (usage["prompt_audio_seconds"], usage["prompt_tokens"]) == (
        call.seconds, call.input_tokens,
    )  # fmt: skip
    assert (call.provider, call.model) == ("mistral_ai", "voxtral")
    provider.clear()
    path = "/azurespeech/speechtotext/transcriptions:transcribe?api-version=1"
    answer = client.post(path, files={"audio": ("a.mp3", b"x")}, data={"definition": "{}"}).json()
    call = only_call(provider)
    assert answer["durationMilliseconds"] == call.seconds * 1000
    assert answer["combinedPhrases"][0]["text"]
    assert (call.provider, call.model) == ("azure.ai.speech", "")


# --- images ---------------------------------------------------------------------------------------


def test_png_is_valid() -> None:
    image = pytest.importorskip("PIL.Image")
    from io import BytesIO

    with image.open(BytesIO(png(7))) as opened:
        assert (opened.size, opened.getpixel((0, 0))) == ((1, 1), (0, 0, 7))


@pytest.mark.parametrize("model", ["dall-e-3", "gpt-image-1"])
def test_images(provider: Provider, client: httpx.Client, model: str) -> None:
    body = {"model": model, "prompt": "case=i", "n": 2}
    answer = client.post("/v1/images/generations", json=body).json()
    call = only_call(provider)
    assert all(is_png(item["b64_json"]) for item in answer["data"])
    assert (call.operation, call.images, call.case) == ("image_generation", 2, "i")
    usage = answer.get("usage", {})
    assert usage.get("input_tokens") == call.input_tokens
    assert usage.get("output_tokens") == call.output_tokens
    assert bool(usage) == (model == "gpt-image-1")


def test_image_edit(provider: Provider, client: httpx.Client) -> None:
    data = {"model": "gpt-image-1", "prompt": "case=edit", "n": "3"}
    files = {"image": ("image.png", png(), "image/png")}
    answer = client.post("/v1/images/edits", data=data, files=files).json()
    call = only_call(provider)
    assert len(answer["data"]) == call.images == 3
    assert (call.operation, call.case, call.model) == ("image_edit", "edit", "gpt-image-1")
    assert answer["usage"]["input_tokens"] == call.input_tokens


def test_images_of_gemini(provider: Provider, client: httpx.Client) -> None:
    body = {"instances": {"prompt": "case=p"}, "parameters": {"sampleCount": 2}}
    answer = client.post("/gemini/models/imagen-3:predict", json=body).json()
    call = only_call(provider)
    assert all(is_png(item["bytesBase64Encoded"]) for item in answer["predictions"])
    assert (call.provider, call.model, call.images) == ("gcp.gemini", "imagen-3", 2)
    assert call.input_tokens is None
    provider.clear()
    body = {"contents": [{"parts": [{"text": "case=c"}]}]}
    answer = client.post("/gemini/models/gemini-2.5-image:generateContent", json=body).json()
    call = only_call(provider)
    [part] = answer["candidates"][0]["content"]["parts"]
    assert is_png(part["inlineData"]["data"])
    assert (call.operation, call.model, call.images, call.case) == (
        "image_generation", "gemini-2.5-image", 1, "c",
    )  # fmt: skip
    assert answer["usageMetadata"]["promptTokenCount"] == call.input_tokens
    assert answer["usageMetadata"]["candidatesTokenCount"] == call.output_tokens


def test_images_of_automatic1111(provider: Provider, client: httpx.Client) -> None:
    assert client.get("/a1111/sdapi/v1/options").json()["sd_model_checkpoint"]
    body = {"prompt": "case=a", "batch_size": 2}
    answer = client.post("/a1111/sdapi/v1/txt2img", json=body).json()
    call = only_call(provider)
    assert all(map(is_png, answer["images"]))
    assert (call.provider, call.model, call.images, call.case) == ("automatic1111", "", 2, "a")


def test_images_of_comfyui(provider: Provider, client: httpx.Client) -> None:
    async def generate() -> list[str]:
        """As Open WebUI does it."""
        async with (
            aiohttp.ClientSession(headers=USER) as session,
            session.ws_connect(f"{provider.comfyui_url}/ws?clientId=c1") as socket,
        ):
            body = {"prompt": WORKFLOW, "client_id": "c1"}
            async with session.post(f"{provider.comfyui_url}/prompt", json=body) as answer:
                prompt_id = (await answer.json())["prompt_id"]
            async for message in socket:
                event = message.json()
                if event["type"] == "executing" and event["data"]["node"] is None:
                    assert event["data"]["prompt_id"] == prompt_id
                    break
            async with session.get(f"{provider.comfyui_url}/history/{prompt_id}") as answer:
                outputs = (await answer.json())[prompt_id]["outputs"]
            return [image["filename"] for image in outputs["9"]["images"]]

    names = asyncio.run(asyncio.wait_for(generate(), 5))
    call = only_call(provider)
    assert len(names) == call.images == 2
    assert (call.provider, call.operation) == ("comfyui", "image_generation")
    assert (call.model, call.case) == ("dream.safetensors", "comfy")
    params = {"filename": names[0], "subfolder": "", "type": "output"}
    seen = client.get("/comfyui/view", params=params)
    assert (seen.headers["content-type"], seen.content[:4]) == ("image/png", b"\x89PNG")
    files = {"image": ("cat.png", png(), "image/png")}
    uploaded = client.post("/comfyui/api/upload/image", data={"type": "input"}, files=files)
    assert uploaded.json()["name"] == "cat.png"
    assert "CheckpointLoaderSimple" in client.get("/comfyui/object_info").json()


# --- realtime, pipelines, lists -------------------------------------------------------------------


def test_realtime(provider: Provider, client: httpx.Client) -> None:
    async def talk() -> list[dict[str, Any]]:
        heard = []
        async with (
            aiohttp.ClientSession(headers=USER) as session,
            session.ws_connect(f"{provider.openai_url}/realtime?model=gpt-realtime") as socket,
        ):
            heard.append(await socket.receive_json())
            sound = base64.b64encode(b"case=spoken!").decode()
            for event, last in (
                ({"type": "session.update", "session": {}}, "session.updated"),
                ({"type": "input_audio_buffer.append", "audio": sound}, None),
                (
                    {"type": "input_audio_buffer.commit"},
                    "conversation.item.input_audio_transcription.completed",
                ),
                (
                    {"type": "response.create", "response": {"metadata": {"a": "b"}}},
                    "response.done",
                ),
                ({"type": "response.create"}, "response.done"),
            ):
                await socket.send_json(event)
                while last and heard[-1]["type"] != last:
                    heard.append(await socket.receive_json())
                heard.append({"type": "turn over"})
        return heard

    heard = asyncio.run(asyncio.wait_for(talk(), 5))
    provider.wait_idle(0.0)
    calls = provider.snapshot()
    done = [event["response"] for event in heard if event["type"] == "response.done"]
    assert heard[0]["type"] == "session.created"
    assert len(calls) == len(done) == 2
    assert done[0]["id"] != done[1]["id"]
    assert done[0]["metadata"] == {"a": "b"}
    [transcript] = [event["transcript"] for event in heard if "transcript" in event]
    assert "case=spoken" in transcript
    deltas = [event for event in heard if event["type"] == "response.output_audio.delta"]
    assert all(len(base64.b64decode(event["delta"])) % 2 == 0 for event in deltas)
    for call, response in zip(calls, done, strict=True):
        assert (call.operation, call.model, call.case) == ("realtime", "gpt-realtime", "spoken")
        assert call.user_id == "u1"
        assert call.finished
        assert response["usage"]["input_tokens"] == call.input_tokens
        assert response["usage"]["output_tokens"] == call.output_tokens
        cached = response["usage"]["input_token_details"]["cached_tokens"]
        assert cached == call.cached_tokens


def test_pipelines(provider: Provider, client: httpx.Client) -> None:
    listed = client.get("/pipelines/models").json()
    assert listed["pipelines"] is True
    [pipe] = listed["data"]
    assert pipe["pipeline"] == {"type": "pipe", "valves": False}
    body = chat_body(pipe["id"])
    for side in ("inlet", "outlet"):
        path = f"/pipelines/{pipe['id']}/filter/{side}"
        assert client.post(path, json={"user": {}, "body": body}).json() == body
    assert provider.snapshot() == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models", "embed-std"),
        ("/v1/models", "responses-std"),
        ("/v1/models", "claude-std"),
        ("/azure/openai/models?api-version=1", "azure-std"),
        ("/azure-v1/openai/v1/models", "azure-v1-std"),
        ("/pipelines/models", "pipe-server-std"),
    ],
)
def test_listed_models(client: httpx.Client, path: str, name: str) -> None:
    assert name in [model["id"] for model in client.get(path).json()["data"]]


def test_listed_local_models(client: httpx.Client) -> None:
    models = client.get("/ollama/api/tags").json()["models"]
    assert "embed-local" in [model["name"] for model in models]


def test_addresses(provider: Provider, client: httpx.Client) -> None:
    assert provider.azure_url.endswith("/azure")
    assert provider.azure_v1_url.endswith("/azure-v1/openai/v1")
    assert provider.gemini_url.endswith("/gemini")
    assert provider.a1111_url.endswith("/a1111")
    assert provider.mistral_url.endswith("/mistral/v1")
    assert provider.azure_speech_url.endswith("/azurespeech")
    assert provider.pipelines_url.endswith("/pipelines")


def test_a_listed_chat_model_is_logged_as_before(provider: Provider, client: httpx.Client) -> None:
    usage = client.post("/v1/chat/completions", json=chat_body("gpt-std")).json()["usage"]
    call = only_call(provider)
    assert (call.wire, call.provider, call.operation) == ("openai", "openai", "chat")
    assert usage["prompt_tokens"] == call.input_tokens
    assert client.post("/v1/chat/completions", json=chat_body("unlisted")).status_code == 404
