"""Every HTTP client, against a real server: whoever reads in whichever way, the tokens are read."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import http.client
import json
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
import urllib3
from yarl import URL

from opentelemetry.instrumentation.open_webui import deferred
from opentelemetry.instrumentation.open_webui.answers.estimates import of_request
from opentelemetry.instrumentation.open_webui.calls.scene import Scene
from opentelemetry.instrumentation.open_webui.calls.transport import outgoing
from opentelemetry.instrumentation.open_webui.host import compat
from opentelemetry.instrumentation.open_webui.host.connections import Connections
from opentelemetry.instrumentation.open_webui.host.groups import Groups
from opentelemetry.instrumentation.open_webui.host.identity import find_caller
from opentelemetry.instrumentation.open_webui.host.patching import Patcher
from opentelemetry.instrumentation.open_webui.host.runtime import Runtime
from opentelemetry.instrumentation.open_webui.host.surfaces import server as server_surface
from opentelemetry.instrumentation.open_webui.host.surfaces import threads
from opentelemetry.instrumentation.open_webui.host.surfaces.running import inside
from opentelemetry.instrumentation.open_webui.settings import Settings
from unit.readers import READERS, Reader, body, form
from unit.sdk import Sdk, accountant, asked, begun, caller_named, no_prefixes
from unit.served import FRAMINGS, PACKERS, Server, serving

CLIENTS = [
    replace(target, when="")
    for target in (*server_surface.TARGETS, *threads.TARGETS)
    if not target.module.startswith("open_webui")
]


class World:
    def __init__(self) -> None:
        self.sdk = Sdk()
        self.configured: list[tuple[str, str]] = []

        async def lookup(users: Any) -> dict[str, list[str]]:
            return {user: [] for user in users}

        async def connections() -> list[tuple[str, str]]:
            return self.configured

        self.runtime = Runtime(
            Settings.load({}, {}),
            self.sdk.telemetry,
            Groups(lookup, 30),
            Connections(connections, no_prefixes),
            accountant(),
        )
        caller = caller_named(task="title_generation", model_id="picked")
        self.pipe = begun(self.sdk.telemetry, asked("pipe"), caller)
        request = SimpleNamespace(
            state=SimpleNamespace(auth_type="api_key"), scope={"path": "/x"}, headers={}
        )
        self.scene = Scene(request, call=self.pipe.call)

    @contextlib.contextmanager
    def in_pipe(self) -> Iterator[None]:
        with inside(self.runtime, self.scene, self.pipe.call):
            yield

    @property
    def events(self) -> list[dict[str, Any]]:
        deferred.do()
        return self.sdk.events

    def configure(self, *pairs: tuple[str, str]) -> None:
        self.configured[:] = pairs
        asyncio.run(self.runtime.connections.load())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def world(server: Server, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    server.packer, server.framing, server.status, server.halting = "plain", "length", 200, False
    server.bodies.clear()
    world = World()
    patcher = Patcher(CLIENTS, lambda: world.runtime)
    patcher.install()
    assert {state for target, state in patcher.states()} == {"patched"}
    yield world
    patcher.remove()
    ours = [r.getMessage() for r in caplog.records if "instrumentation" in r.name]
    assert [line for line in ours if "failed in" in line] == []


def tokens(event: dict[str, Any]) -> tuple[Any, Any, Any]:
    return (
        event.get("gen_ai.usage.input_tokens"),
        event.get("gen_ai.usage.output_tokens"),
        event.get("error.type"),
    )


def outcome(read: Callable[[], Any]) -> Any:
    """What a reader gets, also where it is an error."""
    try:
        return read()
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    ("packer", "framing", "stream"),
    [
        ("plain", "length", False),
        ("plain", "chunked", True),
        ("plain", "close", True),
        ("gzip", "length", True),
        ("gzip", "chunked", False),
    ],
)
@pytest.mark.parametrize("ask", READERS.values(), ids=READERS)
def test_whatever_way_it_is_read_the_tokens_are(
    world: World, server: Server, ask: Reader, packer: str, framing: str, stream: bool
) -> None:
    server.packer, server.framing = packer, framing
    without = outcome(lambda: ask(server.url, stream))
    assert world.events == []
    with world.in_pipe():
        read = outcome(lambda: ask(server.url, stream))
    assert read == without
    [event] = world.events
    if isinstance(read, type):
        return  # They read no compressed text, and failed before, too.
    assert tokens(event) == (9, 5, None)
    assert event["gen_ai.request.model"] == "base"
    assert event["open_webui.model.id"] == "picked"
    assert event["open_webui.task"] == "title_generation"
    assert event["open_webui.call.parent_id"] == world.pipe.call.id
    assert world.pipe.call.delegated


@pytest.mark.parametrize("ended", [False, True])
def test_what_a_pipe_calls_after_its_end_leaves_it_what_it_used(world: World, ended: bool) -> None:
    if ended:
        world.pipe.end()
    with world.in_pipe():
        world.runtime.start_call(asked(), caller_named())
    assert world.pipe.call.delegated is not ended


@pytest.mark.parametrize("packer", [name for name in PACKERS if name not in ("plain", "gzip")])
@pytest.mark.parametrize(
    "way",
    [
        "httpx iter_raw",
        "httpx2 iter_lines",
        "requests raw.read",
        "urllib read",
        "urllib3 undecoded",
    ],
)
def test_what_passes_compressed_is_read_however_it_is(
    world: World, server: Server, way: str, packer: str
) -> None:
    server.packer, server.framing = packer, "chunked"
    for stream in (True, False):
        without = outcome(lambda: READERS[way](server.url, stream))  # noqa: B023
        with world.in_pipe():
            assert outcome(lambda: READERS[way](server.url, stream)) == without  # noqa: B023
    if not isinstance(without, type):
        assert [tokens(event) for event in world.events] == [(9, 5, None)] * 2


def test_what_a_pipe_sends_is_measured_before_the_pipe_may_change_it(world: World) -> None:
    world.runtime.accountant = accountant(estimates=True)
    sent: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "one"}]}
    with world.in_pipe():
        out = outgoing(world.runtime, "POST", "https://x.example/v1/messages", lambda: sent)
    before = of_request(sent)
    sent["messages"].append({"role": "user", "content": "another"})
    assert out is not None
    assert out.asked.prompt() == before


def test_a_provider_of_nobodys_is_none_outside_of_a_pipe(world: World, server: Server) -> None:
    for ask in READERS.values():
        ask(server.url, False)
    assert world.events == []


def test_a_configured_provider_counts_as_unknown_outside_of_a_pipe(
    world: World, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    world.configure(("openai.api_base_urls", server.base))
    for ask in READERS.values():
        ask(server.url, False)
    tasks = [event["open_webui.task"] for event in world.events]
    assert tasks == ["unknown"] * len(READERS)
    assert len([r for r in caplog.records if "that it does not know" in r.getMessage()]) == 1


def test_a_pipe_brings_no_warning(
    world: World, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.configure(("openai.api_base_urls", server.base))
    with world.in_pipe():
        for ask in READERS.values():
            ask(server.url, True)
    assert len(world.events) == len(READERS)
    assert [r for r in caplog.records if "open_webui" in r.name] == []


@pytest.mark.parametrize(
    ("path", "given", "counts"),
    [
        ("/v1/chat/completions", {"model": "m"}, True),
        ("/v1/messages", {"model": "m"}, True),
        ("/v1/models/g:generateContent", {}, True),
        ("/v1/chat/completions", {}, False),
        ("/v1/search", {"model": "m"}, False),
        ("/v1/files", {"model": "m"}, False),
    ],
)
def test_at_an_address_of_nobodys_a_pipe_calls_models_by_endpoints_that_are_known(
    world: World, server: Server, path: str, given: dict[str, Any], counts: bool
) -> None:
    with world.in_pipe():
        httpx.post(server.url.replace("/v1/chat/completions", path), json=given)
    assert len(world.events) == counts


def test_what_a_pipe_asks_of_open_webui_itself_is_counted_where_it_comes_in(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = httpx.URL(server.url).port
    world.runtime.connections.listens(("10.0.0.1", port))
    with world.in_pipe():
        httpx.post(server.url.replace("/v1/", "/api/"), json=form(False))
        assert world.events == []
        httpx.post(server.url, json=form(False))
        assert len(world.events) == 1
    monkeypatch.setattr(compat, "_own_hosts", frozenset({"chat.example"}))
    own = world.runtime.connections.is_own
    assert own("https://chat.example/api/chat/completions")
    assert own(f"http://10.0.0.1:{port}/ollama/api/chat")
    assert own(f"http://open-webui:{port}/api/v1/messages")
    assert not own("https://chat.example/litellm/v1/chat/completions")
    assert not own("https://openrouter.ai/api/v1/chat/completions")
    assert not own("http://ollama:11434/api/chat")


def test_an_error_is_one(world: World, server: Server) -> None:
    server.status = 429
    with world.in_pipe():
        httpx.post(server.url, json=form(False))
        httpx2.post(server.url, json=form(False))
        requests.post(server.url, json=form(False))
        urllib3.request("POST", server.url, json=form(False))
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(server.url, body(False)))
    assert [event["error.type"] for event in world.events] == ["429"] * 5


def test_a_server_that_is_not_there_is_one_failed_call(world: World) -> None:
    url = "http://127.0.0.1:9/v1/chat/completions"
    with world.in_pipe():
        for ask in READERS.values():
            outcome(lambda: ask(url, False))  # noqa: B023
    assert len(world.events) == len(READERS)
    assert not [event for event in world.events if not event.get("error.type")]


@pytest.mark.parametrize(
    ("base", "error"), [("", "401"), ("http://127.0.0.1:9/v1", "ClientConnectorError")]
)
def test_a_voice_that_is_let_in_by_nobody_has_failed(
    world: World, server: Server, base: str, error: str
) -> None:
    server.status = 401
    url = (base or server.base).replace("http", "ws") + "/realtime?model=voice"

    async def speak() -> None:
        async with aiohttp.ClientSession() as session:
            await session.ws_connect(url)

    with world.in_pipe(), pytest.raises(aiohttp.ClientError):
        asyncio.run(speak())
    [event] = world.events
    assert event["error.type"] == error
    assert event["gen_ai.operation.name"] == "realtime"
    assert event["gen_ai.request.model"] == "voice"


def test_redirects_and_retries_are_one_call(world: World, server: Server) -> None:
    url = server.url + "?moved"
    with world.in_pipe():
        requests.post(url, json=form(False))
        urllib3.request("POST", url, json=form(False))
        httpx.post(url, json=form(False), follow_redirects=True)
    assert len(server.bodies) == 6
    assert [tokens(event) for event in world.events] == [(9, 5, None)] * 3


def _first_of_httpx(module: Any) -> Callable[[str], Any]:
    def ask(url: str) -> None:
        with module.Client().stream("POST", url, json=form(True)) as answer:
            next(answer.iter_raw())

    return ask


def _first_of_requests(url: str) -> None:
    with requests.post(url, json=form(True), stream=True) as answer:
        next(answer.iter_content(10))


def _dropped_by_requests(url: str) -> None:
    next(requests.post(url, json=form(True), stream=True).iter_content(10))


def _first_of_urllib3(url: str) -> None:
    answer = urllib3.request("POST", url, json=form(True), preload_content=False)
    answer.read(10)
    answer.close()


def _first_of_urllib(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, body(True))) as answer:
        answer.read(10)


def _dropped_by_urllib(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, body(True))).readline()


def _unanswered(url: str) -> None:
    connection = http.client.HTTPConnection(str(httpx.URL(url).host), httpx.URL(url).port)
    connection.request("POST", "/v1/chat/completions", body(True))
    connection.close()


ABANDONED = {
    "httpx": _first_of_httpx(httpx),
    "httpx2": _first_of_httpx(httpx2),
    "requests": _first_of_requests,
    "requests, dropped": _dropped_by_requests,
    "urllib3": _first_of_urllib3,
    "urllib": _first_of_urllib,
    "urllib, dropped": _dropped_by_urllib,
    "http.client, unanswered": _unanswered,
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("ask", ABANDONED.values(), ids=ABANDONED)
def test_an_abandoned_answer_is_cancelled(
    world: World, server: Server, ask: Callable[[str], None], framing: str
) -> None:
    server.framing, server.halting = framing, True
    with world.in_pipe():
        ask(server.url)
    server.halts.set()
    gc.collect()
    server.halts.clear()
    [event] = world.events
    assert tokens(event) == (None, None, "cancelled")


OPENED: dict[str, Callable[[str], Any]] = {
    "httpx": lambda url: httpx.Client().send(
        httpx.Request("POST", url, json=form(True)), stream=True
    ),
    "requests": lambda url: requests.post(url, json=form(True), stream=True),
    "urllib": lambda url: urllib.request.urlopen(urllib.request.Request(url, body(True))),
    "urllib3": lambda url: urllib3.request("POST", url, json=form(True), preload_content=False),
}


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
def test_an_answer_that_is_closed_is_over_though_it_is_kept(
    world: World, server: Server, opened: Callable[[str], Any]
) -> None:
    server.halting = True
    with world.in_pipe():
        answer = opened(server.url)
    answer.close()
    server.halts.set()
    server.halts.clear()
    assert [tokens(event) for event in world.events] == [(None, None, "cancelled")]
    assert answer is not None


LINES: dict[str, Callable[[str], Any]] = {
    "httpx": lambda url: (
        httpx.Client().send(httpx.Request("POST", url, json=form(True)), stream=True).iter_lines()
    ),
    "requests": lambda url: requests.post(url, json=form(True), stream=True).iter_lines(),
    "urllib": lambda url: urllib.request.urlopen(urllib.request.Request(url, body(True))),
    "urllib3": lambda url: urllib3.request("POST", url, json=form(True), preload_content=False),
}


@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
def test_who_leaves_at_the_end_mark_has_missed_nothing(
    world: World, server: Server, lines: Callable[[str], Any]
) -> None:
    server.framing = "chunked"
    with world.in_pipe():
        for line in lines(server.url):
            if "[DONE]" in str(line):
                break
    del lines, line
    gc.collect()
    [event] = world.events
    assert tokens(event) == (9, 5, None)


def test_the_type_of_an_answer_is_what_it_was(world: World, server: Server) -> None:
    with world.in_pipe():
        answer = urllib.request.urlopen(urllib.request.Request(server.url, body(True)))
        raw = requests.post(server.url, json=form(True), stream=True).raw
        stream = httpx.Client().send(
            httpx.Request("POST", server.url, json=form(True)), stream=True
        )
    assert isinstance(answer, http.client.HTTPResponse)
    assert type(answer).__name__ == "HTTPResponse"
    assert isinstance(raw, urllib3.HTTPResponse)
    assert isinstance(stream.stream, httpx.SyncByteStream)
    stream.close()


# --- what is asked ---


# What these are is not told by their first bytes.
UNTOLD = ("br", "twice")


@pytest.mark.parametrize(
    ("packer", "named"),
    [
        (packer, named)
        for packer in PACKERS
        for named in (True, False)
        if packer != "raw deflate" and (named or packer not in UNTOLD)
    ],
)
def test_a_compressed_request_is_read(
    world: World, server: Server, packer: str, named: bool
) -> None:
    encoding, pack = PACKERS[packer]
    headers = {"CONTENT-encoding": encoding} if named and encoding else {}
    packed = pack(json.dumps({**form(False), "model": "packed"}).encode())
    with world.in_pipe():
        httpx.post(server.url, content=packed, headers=headers)
        httpx2.post(server.url, content=packed, headers=headers)
        requests.post(server.url, data=packed, headers=headers)
        urllib3.request("POST", server.url, body=packed, headers=headers)
        urllib.request.urlopen(urllib.request.Request(server.url, packed, headers)).read()
    assert server.bodies == [packed] * 5
    models = [event["gen_ai.request.model"] for event in world.events]
    assert models == ["packed"] * 5


BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("method", ["POST", "post", "PUT", "GET", "PATCH"])
@pytest.mark.parametrize(
    "path", ["/chat/completions", "//chat/completions", "/x/%2E%2E/embeddings"]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, BOM.__add__], ids=("plain", "gzip", "BOM"))
def test_however_it_is_sent_it_is_a_call(
    world: World, server: Server, method: str, path: str, pack: Callable[[bytes], bytes]
) -> None:
    """As the passthrough sends on what its users write."""
    world.configure(("openai.api_base_urls", server.base))
    packed = pack(body(False))

    async def send() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, URL(server.base + path, encoded=True), data=packed) as answer,
        ):
            await answer.read()

    asyncio.run(send())
    [event] = world.events
    assert tokens(event)[2] is None
    assert event["gen_ai.request.model"] == "base"
    assert server.bodies == [packed]


def test_who_lists_and_deletes_calls_no_model(world: World, server: Server) -> None:
    world.configure(("openai.api_base_urls", server.base))

    async def send() -> None:
        async with aiohttp.ClientSession() as session:
            for options in ({}, {"data": b""}, {"json": {"metadata": {}}}):
                async with session.get(server.url, **options) as answer:
                    await answer.read()

    asyncio.run(send())
    assert world.events == []


def test_a_form_is_read(world: World, server: Server) -> None:
    url, fields = server.base + "/audio/transcriptions", {"model": "whisper"}
    files = {"file": ("a.wav", b"RIFF", "audio/wav")}
    with world.in_pipe():
        httpx.post(url, data=fields, files=files)
        httpx2.post(url, data=fields, files=files)
        requests.post(url, data=fields, files=files)
        urllib3.request("POST", url, fields={**fields, **files})
    assert [event["gen_ai.request.model"] for event in world.events] == ["whisper"] * 4


def test_what_cannot_be_read_of_a_request_does_not_lose_it(world: World, server: Server) -> None:
    def pieces() -> Iterator[bytes]:
        yield body(False)

    world.configure(("openai.api_base_urls", server.base))
    with world.in_pipe():
        httpx.post(server.url, content=pieces(), headers={"content-length": str(len(body(False)))})
        httpx.post(server.url, content=b"\x1f\x8b no gzip")
        httpx.post(server.url, content=b"\xff\xfe no text")
    assert len(world.events) == 3


# --- threads ---


def ask_in_thread(url: str) -> None:
    thread = threading.Thread(target=lambda: httpx.post(url, json=form(False)))
    thread.start()
    thread.join()
    assert "run" not in vars(thread)


def ask_in_own_thread(url: str) -> None:
    class Own(threading.Thread):
        def run(self) -> None:
            requests.post(url, json=form(False))

    thread = Own()
    thread.start()
    thread.join()


def ask_in_executor(url: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(httpx.post, url, json=form(False)).result()


def ask_in_loops_executor(url: str) -> None:
    async def ask() -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, lambda: httpx2.post(url, json=form(False)))

    asyncio.run(ask())


def ask_in_asyncio_thread(url: str) -> None:
    asyncio.run(asyncio.to_thread(httpx.post, url, json=form(False)))


def ask_from_a_loop_elsewhere(url: str) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def ask() -> None:
        async with httpx.AsyncClient() as client:
            await client.post(url, json=form(False))

    asyncio.run_coroutine_threadsafe(ask(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.mark.parametrize(
    "ask",
    [
        ask_in_thread,
        ask_in_own_thread,
        ask_in_executor,
        ask_in_loops_executor,
        ask_in_asyncio_thread,
        ask_from_a_loop_elsewhere,
    ],
)
def test_what_a_pipes_threads_call_the_pipe_calls(
    world: World, server: Server, ask: Callable[[str], None]
) -> None:
    with world.in_pipe():
        ask(server.url)
    [event] = world.events
    assert event["open_webui.call.parent_id"] == world.pipe.call.id
    span = world.sdk.spans.get_finished_spans()[0]
    assert span.parent is not None
    assert span.parent.span_id == world.pipe.call.span.get_span_context().span_id


def test_a_thread_of_an_executor_is_nobodys(world: World, server: Server) -> None:
    with ThreadPoolExecutor(1) as pool:
        with world.in_pipe():
            pool.submit(int).result()
        pool.submit(httpx.post, server.url, json=form(False)).result()
    assert world.events == []


def test_a_thread_that_outlives_its_pipe_is_nobodys(world: World, server: Server) -> None:
    go = threading.Event()

    def late() -> None:
        go.wait(10)
        httpx.post(server.url, json=form(False))

    thread = threading.Thread(target=late)
    with world.in_pipe():
        thread.start()
    world.pipe.end()
    go.set()
    thread.join()
    assert len(world.events) == 1  # the pipe's own


def test_a_pipes_call_by_open_webui_keeps_its_task(world: World) -> None:
    with world.in_pipe():
        assert find_caller(Settings(), form={"model": "m"}).task == "title_generation"
        assert find_caller(Settings(), task="retrieval").task == "retrieval"
        form = {"model": "m", "metadata": {"task": "tags_generation"}}
        assert find_caller(Settings(), form=form).task == "tags_generation"
    assert find_caller(Settings(), form={"model": "m"}).task == "chat"


def test_all_is_as_it_was_when_it_is_off() -> None:
    originals = [httpx.Client.send, http.client.HTTPConnection.request, threading.Thread.start]
    patcher = Patcher(CLIENTS, lambda: World().runtime)
    patcher.install()
    patcher.remove()
    now = [httpx.Client.send, http.client.HTTPConnection.request, threading.Thread.start]
    assert originals == now
