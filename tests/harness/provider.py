"""The stand-in model provider: real wire formats, known token numbers, a log of every call.

    with Provider() as provider:
        ...  # point OPENAI_API_BASE_URL at provider.openai_url
        provider.snapshot()

Run alone it prints its addresses: `python -m harness.provider --port 9000`.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from aiohttp import WSMsgType, web

from harness.replies import (
    JSON,
    MODELS,
    NDJSON,
    SSE,
    Model,
    Piece,
    Prompt,
    Reply,
    Tokens,
    Wire,
    parse_object,
    reply_to,
)
from harness.replies_comfyui import ComfyUI, workflow_model
from harness.replies_common import Endpoint, read_request
from harness.replies_endpoints import ENDPOINTS, LISTINGS, ollama_models, openai_models
from harness.replies_realtime import Realtime, is_call
from harness.webthread import WebThread

__all__ = ["MODELS", "Model", "Provider", "ServedCall"]

USER_ID = "X-OpenWebUI-User-Id"
USER_NAME = "X-OpenWebUI-User-Name"
CHAT_ID = "X-OpenWebUI-Chat-Id"
FIXED_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
MAX_BODY = 64 * 1024**2
STREAMS = (SSE, NDJSON)

SWITCHED = 101

# The chat endpoints that offer `MODELS` and nothing else.
CHATS = (
    Endpoint("/v1/chat/completions", "chat", reply_to, "openai", streams=True),
    Endpoint("/ollama/api/chat", "chat", reply_to, "ollama", streams=True),
)
REALTIME = Endpoint("/v1/realtime", "realtime", reply_to)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ServedCall:
    """One model call as the provider saw it.

    The token fields hold what was really told to the client: they are set once the bytes with
    the numbers have been written, and stay None if nothing was told.
    """

    wire: Wire
    path: str
    model: str
    stream: bool
    asked_usage: bool
    user_id: str
    user_name: str
    chat_id: str
    case: str
    task: str
    body: bytes
    headers: dict[str, str]
    status: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    finished: bool = False
    client_gone: bool = False
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    operation: str = "chat"
    """`gen_ai.operation.name`."""
    provider: str = ""
    """`gen_ai.provider.name`; the wire's name, if not given."""
    images: int | None = None
    characters: int | None = None
    seconds: float | None = None
    """Seconds of audio, where the provider says how much it heard."""
    pages: int | None = None
    charged: float | None = None
    """USD that the provider said it charged."""
    cache_creation_tokens: int | None = None
    """Part of `input_tokens`, as the cached tokens are."""

    def __post_init__(self) -> None:
        self.provider = self.provider or self.wire

    @property
    def is_refusal(self) -> bool:
        """Whether this was an error for the library's wish for usage: no call of anybody's."""
        return self.status >= 400 and self.body.startswith(ADDED_OPTION)


# How a body begins into which the library has put its wish for usage.
ADDED_OPTION = b'{"stream_options":{"include_usage":true},'


class Provider(WebThread):
    """Serves `MODELS` in the wire formats of OpenAI and Ollama, and further endpoints to any name.

    With `deterministic` two servers give identical bytes to the same request: ids, times and
    token numbers come from the request body alone. Without it a counter sets equal requests apart.
    """

    def __init__(self, port: int = 0, *, deterministic: bool = False) -> None:
        super().__init__(port)
        self.calls: list[ServedCall] = []
        self._deterministic = deterministic
        self._lock = threading.Lock()
        self._number = 0
        self._open = 0
        self._last_change = time.monotonic()
        self._comfyui = ComfyUI()

    @property
    def openai_url(self) -> str:
        """Base URL of the OpenAI-compatible API."""
        return f"{self.base_url}/v1"

    @property
    def ollama_url(self) -> str:
        """Base URL of the Ollama API."""
        return f"{self.base_url}/ollama"

    @property
    def azure_url(self) -> str:
        """Base URL of the resource of Azure OpenAI."""
        return f"{self.base_url}/azure"

    @property
    def azure_v1_url(self) -> str:
        """Base URL of Azure OpenAI's v1 API."""
        return f"{self.base_url}/azure-v1/openai/v1"

    @property
    def gemini_url(self) -> str:
        """Base URL of the Gemini API."""
        return f"{self.base_url}/gemini"

    @property
    def a1111_url(self) -> str:
        """Base URL of Automatic1111."""
        return f"{self.base_url}/a1111"

    @property
    def comfyui_url(self) -> str:
        """Base URL of ComfyUI."""
        return f"{self.base_url}/comfyui"

    @property
    def mistral_url(self) -> str:
        """Base URL of the Mistral API."""
        return f"{self.base_url}/mistral/v1"

    @property
    def azure_speech_url(self) -> str:
        """Base URL of Azure's speech service."""
        return f"{self.base_url}/azurespeech"

    @property
    def pipelines_url(self) -> str:
        """Base URL of a pipelines server."""
        return f"{self.base_url}/pipelines"

    def snapshot(self) -> list[ServedCall]:
        """Copies of the calls logged so far, in the order they began.

        Who has an answer finds it here: bytes leave and are noted in one step of the loop.
        """
        self.finish_step()
        with self._lock:
            return [replace(call) for call in self.calls]

    def clear(self) -> None:
        """Forget the calls logged so far."""
        with self._lock:
            self.calls.clear()

    def wait_idle(self, seconds: float = 1.0, timeout: float = 60.0) -> None:
        """Wait until no call has been open, begun or ended for `seconds`."""
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                idle = not self._open and time.monotonic() - self._last_change >= seconds
            if idle:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"provider still busy: {self._open} open calls")
            time.sleep(0.02)

    def make_app(self) -> web.Application:
        """The routes: models are listed, model calls are logged."""
        app = web.Application(client_max_size=MAX_BODY)
        for method, path, handler in self.routes():
            app.router.add_route(method, path, handler)
        return app

    def routes(self) -> list[tuple[str, str, Handler]]:
        """All routes; a further kind of call is one more `Endpoint`."""
        comfyui = self._comfyui
        queue = Endpoint(
            "/comfyui/prompt", "image_generation", comfyui.queue,
            provider="comfyui", other_model=workflow_model,
        )  # fmt: skip
        return [
            ("GET", "/v1/models", listing(openai_models())),
            ("GET", "/ollama/api/version", listing({"version": "0.12.3"})),
            ("GET", "/ollama/api/tags", listing(ollama_models())),
            ("GET", "/ollama/api/ps", listing({"models": []})),
            *(("GET", path, listing(value)) for path, value in LISTINGS.items()),
            *(
                ("POST", endpoint.path, self._calls(endpoint))
                for endpoint in (*CHATS, *ENDPOINTS, queue)
            ),
            ("GET", "/v1/realtime", self._realtime),
            ("POST", "/a1111/sdapi/v1/options", listing({})),
            ("GET", "/comfyui/ws", comfyui.listen),
            ("GET", "/comfyui/history/{id}", comfyui.history),
            ("GET", "/comfyui/view", comfyui.view),
            ("POST", "/comfyui/api/upload/image", comfyui.upload),
            ("POST", "/pipelines/{id}/filter/inlet", unfiltered),
            ("POST", "/pipelines/{id}/filter/outlet", unfiltered),
        ]

    def _calls(self, endpoint: Endpoint) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            kind = request.headers.get("Content-Type", "")
            in_path = request.match_info.get("model", "")
            prompt = read_request(endpoint, raw, kind, in_path, self._next_number())
            call = served_call(request, prompt, endpoint)
            if endpoint.calls_nothing(prompt):
                return await self._send(request, call, endpoint.reply(prompt), prompt)
            self._begin(call)
            try:
                return await self._send(request, call, endpoint.reply(prompt), prompt)
            finally:
                self._end(call)

        return handle

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        session = Realtime(request.query.get("model", ""))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(session.opening().decode())
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                prompt = session.read(message.data.encode(), self._next_number())
                await self._say(request, socket, session, prompt)
        return socket

    async def _say(
        self, request: web.Request, socket: web.WebSocketResponse, session: Realtime, prompt: Prompt
    ) -> None:
        call = served_call(request, prompt, REALTIME)
        if is_call(prompt):
            self._begin(call)
        try:
            self._update(call, status=SWITCHED)
            for piece in session.answer(prompt):
                await asyncio.sleep(piece.pause)
                await socket.send_str(piece.data.decode())
                self._tell(call, piece)
            self._update(call, finished=True)
        except (asyncio.CancelledError, ConnectionError):
            self._update(call, client_gone=True)
            raise
        finally:
            if is_call(prompt):
                self._end(call)

    async def _send(
        self, request: web.Request, call: ServedCall, reply: Reply, prompt: Prompt
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=self._headers(reply, prompt))
        if reply.content_type not in STREAMS and not reply.cut:
            response.content_length = reply.length
        self._update(call, status=reply.status)
        try:
            await self._write(request, response, call, reply)
        except (asyncio.CancelledError, ConnectionError):
            self._update(call, client_gone=True)
            raise
        return response

    async def _write(
        self, request: web.Request, response: web.StreamResponse, call: ServedCall, reply: Reply
    ) -> None:
        await response.prepare(request)
        for piece in reply.pieces:
            await asyncio.sleep(piece.pause)
            await response.write(piece.data)
            self._tell(call, piece)
        if reply.cut:
            await drop_connection(request)
            return
        await response.write_eof()
        self._update(call, finished=True)

    def _headers(self, reply: Reply, prompt: Prompt) -> dict[str, str]:
        fixed = {"Date": FIXED_DATE} if self._deterministic else {}
        return {
            "Content-Type": reply.content_type,
            "X-Request-Id": f"req_{prompt.id}",
            "X-Stand-In-Provider": prompt.wire,
            "Server": "stand-in",
            **fixed,
            **reply.headers,
        }

    def _next_number(self) -> int:
        if self._deterministic:
            return 0
        with self._lock:
            self._number += 1
            return self._number

    def _begin(self, call: ServedCall) -> None:
        with self._lock:
            self.calls.append(call)
            self._open += 1
            self._last_change = time.monotonic()

    def _end(self, call: ServedCall) -> None:
        with self._lock:
            call.ended = time.monotonic()
            self._open -= 1
            self._last_change = call.ended

    def _tell(self, call: ServedCall, piece: Piece) -> None:
        if piece.told is not None:
            self._update(call, **told_fields(piece.told))
        self._update(call, **piece.facts)

    def _update(self, call: ServedCall, **changes: float | None) -> None:
        with self._lock:
            for name, value in changes.items():
                setattr(call, name, value)


def served_call(request: web.Request, prompt: Prompt, endpoint: Endpoint) -> ServedCall:
    """The log entry of a call that has just begun."""
    headers = request.headers
    return ServedCall(
        wire=prompt.wire,
        path=request.path,
        model=prompt.model,
        stream=endpoint.streams and prompt.stream,
        asked_usage=prompt.asked_usage,
        user_id=headers.get(USER_ID, ""),
        # Open WebUI percent-encodes names, since headers are ASCII.
        user_name=unquote(headers.get(USER_NAME, "")),
        chat_id=headers.get(CHAT_ID, ""),
        case=prompt.case,
        task=prompt.task,
        body=prompt.raw,
        headers=dict(headers),
        operation=endpoint.operation,
        provider=endpoint.provider,
    )


def told_fields(tokens: Tokens) -> dict[str, int | None]:
    """Token counts by the names they have in a `ServedCall`."""
    return {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cached_tokens": tokens.cached,
        "reasoning_tokens": tokens.reasoning,
    }


async def drop_connection(request: web.Request) -> None:
    """Close the socket without ending the answer, once what was written has left."""
    await asyncio.sleep(0.02)
    if request.transport is not None:
        request.transport.close()


def listing(value: object) -> Handler:
    """A handler that always gives the same JSON and is not logged."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response(value, content_type=JSON)

    return handle


async def unfiltered(request: web.Request) -> web.StreamResponse:
    """A pipeline's filter that changes nothing: the body without the user that came with it."""
    form = parse_object(await request.read())
    return web.json_response(form.get("body", form), content_type=JSON)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--deterministic", action="store_true")
    options = parser.parse_args()
    with Provider(options.port, deterministic=options.deterministic) as provider:
        print(provider.openai_url, provider.ollama_url, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
