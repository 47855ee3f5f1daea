"""A real HTTP server that answers as a provider does: in any framing, compressed or not."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import brotli
import zstandard

WORD = b'data: {"choices":[{"delta":{"content":"w"},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}\n\n'
STREAM = WORD * 20 + LAST + USAGE + b"data: [DONE]\n\n"
WHOLE = json.dumps(
    {
        "id": "c1",
        "model": "m-1",
        "object": "chat.completion",
        "created": 1,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "w" * 200},
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
    }
).encode()


def _gzip(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


def _raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("", bytes),
    "gzip": ("gzip", _gzip),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", _raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.ZstdCompressor().compress),
    "twice": ("deflate, gzip", lambda text: _gzip(zlib.compress(text))),
}
FRAMINGS = ("length", "chunked", "close")


@dataclass
class Server:
    """What it answers, and what it was asked."""

    url: str = ""
    packer: str = "plain"
    framing: str = "length"
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    halts: threading.Event = field(default_factory=threading.Event)
    """While it is not set, an answer that halts waits in its middle."""
    halting: bool = False

    @property
    def base(self) -> str:
        """The address of the connection."""
        return self.url.removesuffix("/chat/completions")


class Handler(BaseHTTPRequestHandler):
    """Answers by what its server is set to."""

    protocol_version = "HTTP/1.1"
    setting: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.setting.bodies.append(body)
        if self.path.endswith("?moved"):
            self.send_response(307)
            self.send_header("Location", self.setting.url)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif b'"stream":true' in body.replace(b" ", b""):
            self.answer(STREAM, "text/event-stream")
        else:
            self.answer(WHOLE, "application/json")

    do_GET = do_PUT = do_PATCH = do_POST

    def answer(self, text: bytes, kind: str) -> None:
        encoding, pack = PACKERS[self.setting.packer]
        packed = pack(text)
        self.send_response(self.setting.status)
        self.send_header("Content-Type", kind)
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.frame(packed)
        middle = len(packed) // 3
        self.part(packed[:middle])
        if self.setting.halting:
            self.setting.halts.wait(10)
        self.part(packed[middle:])
        if self.setting.framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")

    def frame(self, packed: bytes) -> None:
        match self.setting.framing:
            case "length":
                self.send_header("Content-Length", str(len(packed)))
            case "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            case _:
                self.send_header("Connection", "close")
        self.end_headers()

    def part(self, part: bytes) -> None:
        if self.setting.framing == "chunked":
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        else:
            self.wfile.write(part)
        self.wfile.flush()

    def handle(self) -> None:
        with suppress(ConnectionError):  # Who abandons an answer is gone.
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"setting": server}))
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1/chat/completions"
    try:
        yield server
    finally:
        server.halts.set()
        http.shutdown()
        http.server_close()
        thread.join()
