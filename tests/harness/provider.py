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

from aiohttp import web

from harness.replies import (
    EPOCH,
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
    models_of,
    read_prompt,
    reply_to,
)
from harness.webthread import WebThread

__all__ = ["MODELS", "Model", "Provider", "ServedCall"]

USER_ID = "X-OpenWebUI-User-Id"
USER_NAME = "X-OpenWebUI-User-Name"
CHAT_ID = "X-OpenWebUI-Chat-Id"
FIXED_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
MAX_BODY = 64 * 1024**2
STREAMS = (SSE, NDJSON)

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


class Provider(WebThread):
    """Serves `MODELS` in the wire formats of OpenAI and Ollama.

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

    @property
    def openai_url(self) -> str:
        """Base URL of the OpenAI-compatible API."""
        return f"{self.base_url}/v1"

    @property
    def ollama_url(self) -> str:
        """Base URL of the Ollama API."""
        return f"{self.base_url}/ollama"

    def snapshot(self) -> list[ServedCall]:
        """Copies of the calls logged so far, in the order they began."""
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
        """All routes; a further kind of call is one more `_calls(wire)` line."""
        return [
            ("GET", "/v1/models", listing(openai_models())),
            ("POST", "/v1/chat/completions", self._calls("openai")),
            ("GET", "/ollama/api/version", listing({"version": "0.12.3"})),
            ("GET", "/ollama/api/tags", listing(ollama_models())),
            ("GET", "/ollama/api/ps", listing({"models": []})),
            ("POST", "/ollama/api/chat", self._calls("ollama")),
        ]

    def _calls(self, wire: Wire) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            prompt = read_prompt(wire, raw, self._next_number())
            call = served_call(request, prompt)
            self._begin(call)
            try:
                return await self._send(request, call, reply_to(prompt), prompt)
            finally:
                self._end(call)

        return handle

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

    def _update(self, call: ServedCall, **changes: int | bool | None) -> None:
        with self._lock:
            for name, value in changes.items():
                setattr(call, name, value)


def served_call(request: web.Request, prompt: Prompt) -> ServedCall:
    """The log entry of a call that has just begun."""
    headers = request.headers
    return ServedCall(
        wire=prompt.wire,
        path=request.path,
        model=prompt.model,
        stream=prompt.stream,
        asked_usage=prompt.asked_usage,
        user_id=headers.get(USER_ID, ""),
        # Open WebUI percent-encodes names, since headers are ASCII.
        user_name=unquote(headers.get(USER_NAME, "")),
        chat_id=headers.get(CHAT_ID, ""),
        case=prompt.case,
        task=prompt.task,
        body=prompt.raw,
        headers=dict(headers),
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


def listing(value: dict[str, object]) -> Handler:
    """A handler that always gives the same JSON and is not logged."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response(value, content_type=JSON)

    return handle


def openai_models() -> dict[str, object]:
    """The body of `GET /v1/models`."""
    data = [
        {"id": name, "object": "model", "created": EPOCH, "owned_by": "openai"}
        for name in models_of("openai")
    ]
    return {"object": "list", "data": data}


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
