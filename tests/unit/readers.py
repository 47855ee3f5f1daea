"""Every way in which a function may ask a model and read the answer; each returns what it read."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import shutil
import urllib.request
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import httpx2
import openai
import requests
import urllib3

Reader = Callable[[str, bool], Any]
"""Asks at an address, for a stream or not."""

READERS: dict[str, Reader] = {}
JSON = {"Content-Type": "application/json"}


def form(stream: bool) -> dict[str, Any]:
    return {"model": "base", "messages": [], "stream": stream}


def body(stream: bool) -> bytes:
    return json.dumps(form(stream)).encode()


def reader(name: str) -> Callable[[Reader], Reader]:
    def keep(function: Reader) -> Reader:
        READERS[name] = function
        return function

    return keep


HTTPX_WAYS: dict[str, Callable[[Any], Any]] = {
    "read": lambda answer: answer.read(),
    "iter_bytes": lambda answer: b"".join(answer.iter_bytes()),
    "iter_bytes by 7": lambda answer: b"".join(answer.iter_bytes(7)),
    "iter_raw": lambda answer: b"".join(answer.iter_raw()),
    "iter_lines": lambda answer: list(answer.iter_lines()),
    "iter_text": lambda answer: "".join(answer.iter_text()),
    "stream": lambda answer: b"".join(answer.stream),
}
HTTPX_ASYNC_WAYS = ("aread", "aiter_bytes", "aiter_raw", "aiter_lines", "aiter_text")


def _httpx(module: ModuleType) -> None:
    @reader(f"{module.__name__} post")
    def _(url: str, stream: bool) -> Any:
        return module.post(url, json=form(stream), verify=False).content

    @reader(f"{module.__name__} async post")
    def _(url: str, stream: bool) -> Any:
        async def ask() -> Any:
            async with module.AsyncClient(verify=False) as client:
                return (await client.post(url, json=form(stream))).content

        return asyncio.run(ask())

    for way, read in HTTPX_WAYS.items():
        _httpx_stream(module, way, read)
    for way in HTTPX_ASYNC_WAYS:
        _httpx_async_stream(module, way)


def _httpx_stream(module: ModuleType, way: str, read: Callable[[Any], Any]) -> None:
    @reader(f"{module.__name__} {way}")
    def _(url: str, stream: bool) -> Any:
        with module.Client(verify=False).stream("POST", url, json=form(stream)) as answer:
            return read(answer)


def _httpx_async_stream(module: ModuleType, way: str) -> None:
    @reader(f"{module.__name__} {way}")
    def _(url: str, stream: bool) -> Any:
        async def ask() -> Any:
            async with (
                module.AsyncClient(verify=False) as client,
                client.stream("POST", url, json=form(stream)) as answer,
            ):
                return await _all(getattr(answer, way)())

        return asyncio.run(ask())


async def _all(found: Any) -> Any:
    """What comes of an asynchronous iterator, whatever its pieces, or of a coroutine."""
    if not hasattr(found, "__aiter__"):
        return await found
    pieces = [piece async for piece in found]
    return b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)


_httpx(httpx)
_httpx(httpx2)


def until_empty(read: Callable[[], bytes]) -> bytes:
    return b"".join(iter(read, b""))


def _requests(way: str, read: Callable[[Any], Any], *, stream: bool = True) -> None:
    @reader(f"requests {way}")
    def _(url: str, streamed: bool) -> Any:
        with requests.Session() as session:
            return read(session.post(url, json=form(streamed), stream=stream))


_requests("post", lambda answer: answer.content, stream=False)
_requests("content", lambda answer: answer.content)
_requests("iter_content", lambda answer: b"".join(answer.iter_content(7)))
_requests("iter_content as it comes", lambda answer: b"".join(answer.iter_content(None)))
_requests("iter_lines", lambda answer: list(answer.iter_lines()))
_requests("raw.read", lambda answer: answer.raw.read())
_requests("raw.read by 7", lambda answer: until_empty(lambda: answer.raw.read(7)))
_requests("raw.read decoded", lambda answer: answer.raw.read(decode_content=True))
_requests("raw.stream", lambda answer: b"".join(answer.raw.stream(7)))
_requests("raw", lambda answer: b"".join(answer.raw))


def _urllib3(way: str, read: Callable[[Any], Any], **options: Any) -> None:
    @reader(f"urllib3 {way}")
    def _(url: str, stream: bool) -> Any:
        with urllib3.PoolManager() as pool:
            given = {"preload_content": False, **options}
            return read(pool.request("POST", url, body=body(stream), headers=JSON, **given))


_urllib3("request", lambda answer: answer.data, preload_content=True)
_urllib3("data", lambda answer: answer.data)
_urllib3("read", lambda answer: answer.read())
_urllib3("read by 7", lambda answer: until_empty(lambda: answer.read(7)))
_urllib3("read1", lambda answer: until_empty(answer.read1))
_urllib3("stream", lambda answer: b"".join(answer.stream(7)))
_urllib3("stream undecoded", lambda answer: b"".join(answer.stream(7, decode_content=False)))
_urllib3("iteration", lambda answer: b"".join(answer))
_urllib3("undecoded", lambda answer: answer.read(), decode_content=False)


@reader("urllib3 pool")
def _(url: str, stream: bool) -> Any:
    parts = urlsplit(url)
    with urllib3.HTTPConnectionPool(str(parts.hostname), parts.port) as pool:
        return pool.urlopen("POST", parts.path, body=body(stream), headers=JSON).data


def _into(answer: Any) -> bytes:
    read, buffer = b"", bytearray(7)
    while size := answer.readinto(buffer):
        read += buffer[:size]
    return read


def _copied(answer: Any) -> bytes:
    copy = io.BytesIO()
    shutil.copyfileobj(answer, copy, 7)
    return copy.getvalue()


FILE_WAYS: dict[str, Callable[[Any], Any]] = {
    "read": lambda answer: answer.read(),
    "read by 7": lambda answer: until_empty(lambda: answer.read(7)),
    "read1": lambda answer: until_empty(answer.read1),
    "readline": lambda answer: until_empty(answer.readline),
    "readlines": lambda answer: answer.readlines(),
    "iteration": list,
    "readinto": _into,
    "copy": _copied,
    "buffered": lambda answer: io.BufferedReader(answer).read(),
}


def _urllib(way: str, read: Callable[[Any], Any]) -> None:
    @reader(f"urllib {way}")
    def _(url: str, stream: bool) -> Any:
        with urllib.request.urlopen(urllib.request.Request(url, body(stream), JSON)) as answer:
            return read(answer)

    @reader(f"http.client {way}")
    def _(url: str, stream: bool) -> Any:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port)
        connection.request("POST", parts.path, body(stream), JSON)
        answer = connection.getresponse()
        try:
            return read(answer)
        finally:
            connection.close()


for _way, _read in FILE_WAYS.items():
    _urllib(_way, _read)


def _aiohttp(way: str, read: Callable[[Any], Any]) -> None:
    @reader(f"aiohttp {way}")
    def _(url: str, stream: bool) -> Any:
        async def ask() -> Any:
            async with (
                aiohttp.ClientSession() as session,
                session.request("post", url, json=form(stream)) as answer,
            ):
                return await _all(read(answer))

        return asyncio.run(ask())


_aiohttp("read", lambda answer: answer.read())
_aiohttp("content", lambda answer: answer.content)
_aiohttp("iter_any", lambda answer: answer.content.iter_any())


@reader("aiohttp compressed")
def _(url: str, stream: bool) -> Any:
    async def ask() -> Any:
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(url, json=form(stream)) as answer,
        ):
            return await answer.content.read()

    return asyncio.run(ask())


def sdk(url: str) -> dict[str, Any]:
    return {"base_url": url.removesuffix("/chat/completions"), "api_key": "k", "max_retries": 0}


@reader("openai")
def _(url: str, stream: bool) -> Any:
    with openai.OpenAI(**sdk(url)) as client:
        answer: Any = client.chat.completions.create(**form(stream))
        return [chunk.to_json() for chunk in answer] if stream else answer.to_json()


@reader("openai async")
def _(url: str, stream: bool) -> Any:
    async def ask() -> Any:
        async with openai.AsyncOpenAI(**sdk(url)) as client:
            answer: Any = await client.chat.completions.create(**form(stream))
            if stream:
                return [chunk.to_json() async for chunk in answer]
            return answer.to_json()

    return asyncio.run(ask())


@reader("openai raw")
def _(url: str, stream: bool) -> Any:
    with openai.OpenAI(**sdk(url)) as client:
        create: Any = client.chat.completions.with_streaming_response.create
        with create(**form(stream)) as answer:
            return list(answer.iter_lines())
