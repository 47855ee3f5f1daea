"""A surface, the transport and a real HTTP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from opentelemetry.instrumentation.open_webui import deferred
from opentelemetry.instrumentation.open_webui.calls.clients.aiohttp import sends
from opentelemetry.instrumentation.open_webui.calls.habits import key_of
from opentelemetry.instrumentation.open_webui.host.connections import Connections
from opentelemetry.instrumentation.open_webui.host.groups import Groups
from opentelemetry.instrumentation.open_webui.host.runtime import Runtime
from opentelemetry.instrumentation.open_webui.host.surfaces.leaf import announces
from opentelemetry.instrumentation.open_webui.host.surfaces.openai import CHAT
from opentelemetry.instrumentation.open_webui.settings import Settings
from unit.sdk import Sdk, accountant, answer, no_prefixes

OPTION = b'"stream_options":{"include_usage":true}'
BODY = b'{"model":"base","stream":true,"messages":[{"role":"user","content":"\xc3\xa4 {"}]}'


WORD = b'data: {"choices":[{"delta":{"content":"w"},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"
SILENT, REPORTING = WORD + LAST + DONE, WORD + LAST + USAGE + DONE
Answer = tuple[int, bytes]


class Provider:
    """Keeps the bodies it gets, and answers to a wish for usage otherwise than without."""

    def __init__(self, asked: Answer = (200, REPORTING), unasked: Answer = (200, SILENT)) -> None:
        self.bodies: list[bytes] = []
        self.answers = {True: asked, False: unasked}

    async def __call__(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        if b'"stream":true' not in self.bodies[-1]:
            return web.json_response(answer())
        status, text = self.answers[OPTION in self.bodies[-1]]
        if not status:
            assert request.transport is not None
            request.transport.close()
        kind = "text/event-stream" if text.startswith((b"data:", b":", b"event")) else "text/plain"
        response = web.StreamResponse(status=status or 200, headers={"Content-Type": kind})
        await response.prepare(request)
        await response.write(text)
        return response  # type: ignore[return-value]

    @property
    def asked(self) -> list[bool]:
        """Whether each request came with our wish."""
        return [OPTION in body for body in self.bodies]


async def everything(content: Any) -> bytes:
    return b"".join([piece async for piece, _ in content.iter_chunks()])


class World:
    def __init__(self, provider: Provider, **settings: Any) -> None:
        self.provider, self.sdk = provider, Sdk()
        self.seen: list[bytes] = []
        self.read: Callable[[Any], Awaitable[bytes]] = everything

        async def lookup(users: Sequence[str]) -> dict[str, list[str]]:
            return {user: ["b", "a"] for user in users}

        loaded = Settings.load(settings, {})
        self.configured: list[tuple[str, str]] = []

        async def connections() -> list[tuple[str, str]]:
            return self.configured

        self.runtime = Runtime(
            loaded,
            self.sdk.telemetry,
            Groups(lookup, 30),
            Connections(connections, no_prefixes),
            accountant(),
        )

    def run(
        self,
        body: bytes = BODY,
        path: str = "/v1/chat/completions",
        times: int = 1,
        *,
        knowing: bool = False,
        **sent: Any,
    ) -> None:
        """Send a body so often; `knowing` that the model's streams do not report unasked."""

        async def go() -> None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self.provider)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            base = runner.addresses[0]
            url = f"http://{base[0]}:{base[1]}{path}"
            self.key = key_of(url, "base")
            if knowing:
                self.runtime.habits.came_unasked(self.key, reported=False, nulls=False)
            async with aiohttp.ClientSession() as session:
                for _ in range(times):
                    await self.call(session, url, body, **sent)
            await runner.cleanup()

        asyncio.run(go())

    async def call(
        self, session: aiohttp.ClientSession, url: str, body: bytes, **options: Any
    ) -> Any:
        async def leaf(request: Any, form_data: dict[str, Any], user: Any) -> Any:
            send = sends(self.runtime)
            sent = await send(session._request, None, ("POST", url), options or {"data": body})
            self.seen.append(await self.read(sent.content))
            sent.close()

        request = SimpleNamespace(
            state=SimpleNamespace(auth_type="api_key"), scope={"path": "/x"}, headers={}
        )
        user = SimpleNamespace(id="u1", name="Ada", email="ada@example.org", role="user")
        wrapper: Callable[..., Awaitable[Any]] = announces(CHAT)(self.runtime)
        form = {"model": "desk", "metadata": {}}
        return await wrapper(leaf, None, (request, form), {"user": user})

    @property
    def errors(self) -> list[Any]:
        return [event.get("error.type") for event in self.sdk.events]


def test_the_request_says_what_is_called() -> None:
    world = World(Provider())
    world.run()
    [event] = world.sdk.events
    assert event["gen_ai.request.model"] == "base"
    assert event["open_webui.model.id"] == "desk"
    assert event["server.address"] == "127.0.0.1"
    assert event["open_webui.user.groups"] == ("a", "b")


def test_the_first_stream_of_a_model_goes_unasked_and_the_next_ones_are_asked() -> None:
    world = World(Provider())
    world.run(times=3)
    assert world.provider.asked == [False, True, True]
    assert world.seen == [SILENT] * 3
    tokens = [event.get("gen_ai.usage.output_tokens") for event in world.sdk.events]
    assert tokens == [None, 5, 5]


def test_a_model_that_reports_by_itself_is_left_alone() -> None:
    world = World(Provider(unasked=(200, REPORTING)))
    world.run(times=3)
    assert world.provider.bodies == [BODY] * 3
    assert world.seen == [REPORTING] * 3


def test_the_option_is_all_that_is_added() -> None:
    world = World(Provider())
    world.run(knowing=True)
    [sent] = world.provider.bodies
    assert sent.replace(OPTION + b",", b"", 1) == BODY
    assert json.loads(sent)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace(b'"stream":true', b'"stream":false'),
        BODY.replace(b"{", b"{" + OPTION + b",", 1),
        BODY.replace(b"{", b'{"stream_options":"include_usage",', 1),
        b"no json",
    ],
)
def test_what_needs_no_option_is_sent_as_it_is(body: bytes) -> None:
    world = World(Provider())
    world.run(body, knowing=True)
    assert world.provider.bodies == [body]


def test_a_body_that_aiohttp_makes_is_sent_as_it_is() -> None:
    world = World(Provider())
    world.run(knowing=True, json={**json.loads(BODY)})
    assert [json.loads(body) for body in world.provider.bodies] == [json.loads(BODY)]
    assert len(world.sdk.events) == 1


def test_the_setting_leaves_requests_alone() -> None:
    world = World(Provider(), ask_usage=False)
    world.run(knowing=True)
    assert world.provider.bodies == [BODY]
    assert len(world.sdk.events) == 1


def test_options_of_the_client_are_kept() -> None:
    world = World(Provider())
    world.run(BODY.replace(b"{", b'{"stream_options":{"other":1},', 1), knowing=True)
    [sent] = world.provider.bodies
    assert json.loads(sent)["stream_options"] == {"other": 1, "include_usage": True}


ERROR = b'data: {"error":{"code":400,"message":"stream_options"}}\n\n'
REFUSALS = {
    "400": (400, b'{"error":"unknown stream_options"}'),
    "422": (422, b"[]"),
    "500": (500, b"oops"),
    "403": (403, b""),
    "in the stream": (200, ERROR),
    "in the stream, after a comment": (200, b": wait\n\n" + ERROR),
    "as an event": (200, b'event: error\ndata: {"code":400}\n\n'),
    "after a role": (200, b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n' + ERROR),
    "in a body": (200, b'{"error":{"code":400}}'),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_nobodys_failure_and_is_remembered(refusal: Answer) -> None:
    world = World(Provider(asked=refusal))
    world.run(times=2, knowing=True)
    assert world.provider.asked == [True, False, False]
    assert world.provider.bodies[1:] == [BODY, BODY]
    assert world.seen == [SILENT, SILENT]
    assert world.errors == [None, None]


@pytest.mark.parametrize("failure", REFUSALS.values(), ids=REFUSALS)
def test_what_fails_either_way_is_no_refusal(failure: Answer) -> None:
    """Whatever a user writes to make it fail: the model is asked on."""
    other = (failure[0], failure[1] + b" ") if failure[0] >= 400 else failure
    world = World(Provider(asked=failure, unasked=other))
    world.run(times=2, knowing=True)
    assert world.provider.asked == [True, False, True, False]
    assert world.seen == [other[1], other[1]]
    assert len(world.errors) == 2
    assert world.runtime.habits.asks(world.key, "127.0.0.1")


def test_the_beginning_of_a_stream_that_was_looked_at_is_there_for_who_reads_it() -> None:
    long = b": " + b"x" * 70_000 + b"\n\n"
    world = World(Provider(asked=(200, long + REPORTING)))
    world.run(knowing=True)
    assert world.seen == [long + SILENT]
    assert world.errors == [None]


def test_a_request_elsewhere_is_no_call() -> None:
    world = World(Provider())
    world.run(path="/v1/models")
    assert world.provider.bodies == [BODY]
    assert world.sdk.events == []


def test_an_unreachable_provider_is_a_failed_call_that_raises_as_before() -> None:
    world = World(Provider())

    async def go() -> None:
        async with aiohttp.ClientSession() as session:
            await world.call(session, "http://127.0.0.1:9/v1/chat/completions", BODY)

    with pytest.raises(aiohttp.ClientConnectorError):
        asyncio.run(go())
    assert world.errors == ["ClientConnectorError"]


def test_a_failure_of_ours_reaches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Provider())
    monkeypatch.setattr(world.runtime, "start_call", lambda *_, **__: 1 / 0)
    world.run()
    assert world.provider.bodies == [BODY]
    assert world.sdk.events == []


def test_nothing_is_seen_when_it_is_off() -> None:
    world = World(Provider())
    world.runtime.active = False
    world.run()
    assert world.provider.bodies == [BODY]
    assert world.sdk.events == []


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace(b"\xc3\xa4", b"\\ud83d"),
        b'{"model":"base","stream":true,"messages":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        BODY.replace(b"{", b'{"n":"\xc2\xb2",', 1),
        BODY.replace(b"{", b'{"n":[{}],"input":7,"prompt":{},', 1),
        b"\xef\xbb\xbf" + BODY,
    ],
    ids=["half an emoji", "nested too deep", "no number", "odd fields", "a mark before"],
)
def test_a_request_that_is_odd_is_a_call_all_the_same(body: bytes) -> None:
    world = World(Provider(asked=(200, REPORTING), unasked=(200, REPORTING)))
    world.run(body)
    [event] = world.sdk.events
    assert event["gen_ai.request.model"] == "base"
    assert event["gen_ai.usage.output_tokens"] == 5
    assert world.provider.bodies == [body]


def test_what_had_come_when_the_reader_left_counts() -> None:
    """Open WebUI's code interpreter stops reading at a tag; the usage has come already then."""
    world = World(Provider(unasked=(200, REPORTING)))

    async def read(content: Any) -> bytes:
        line: bytes = await content.readline()
        await asyncio.sleep(0.05)
        return line

    world.read = read
    world.run()
    deferred.do()
    [event] = world.sdk.events
    assert event["gen_ai.usage.output_tokens"] == 5
    assert "error.type" not in event
