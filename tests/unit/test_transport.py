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

from opentelemetry.instrumentation.open_webui.clients.aiohttp import sends
from opentelemetry.instrumentation.open_webui.connections import Connections
from opentelemetry.instrumentation.open_webui.groups import Groups
from opentelemetry.instrumentation.open_webui.runtime import Runtime
from opentelemetry.instrumentation.open_webui.settings import Settings
from opentelemetry.instrumentation.open_webui.surfaces.leaf import announces
from opentelemetry.instrumentation.open_webui.surfaces.openai import CHAT
from unit.sdk import Sdk, accountant, answer

OPTION = b'"stream_options":{"include_usage":true}'
BODY = b'{"model":"base","stream":true,"messages":[{"role":"user","content":"\xc3\xa4 {"}]}'


class Provider:
    """Keeps the bodies it gets; refuses the option if told to."""

    def __init__(self, refuses: bool = False) -> None:
        self.bodies: list[bytes] = []
        self.refuses = refuses

    async def __call__(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        if self.refuses and b"stream_options" in self.bodies[-1]:
            return web.json_response({"error": "unknown stream_options"}, status=400)
        return web.json_response(answer())


class World:
    def __init__(self, provider: Provider, **settings: Any) -> None:
        self.provider, self.sdk = provider, Sdk()

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
            Connections(connections),
            accountant(),
        )

    def run(self, body: bytes = BODY, path: str = "/v1/chat/completions", times: int = 1) -> None:
        async def go() -> None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self.provider)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            base = runner.addresses[0]
            url = f"http://{base[0]}:{base[1]}{path}"
            async with aiohttp.ClientSession() as session:
                for _ in range(times):
                    await self.call(session, url, body)
            await runner.cleanup()

        asyncio.run(go())

    async def call(self, session: aiohttp.ClientSession, url: str, body: bytes) -> Any:
        async def leaf(request: Any, form_data: dict[str, Any], user: Any) -> Any:
            send = sends(self.runtime)
            sent = await send(session._request, None, ("POST", url), {"data": body})
            return await sent.json()

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


def test_the_option_is_all_that_is_added() -> None:
    world = World(Provider())
    world.run()
    [sent] = world.provider.bodies
    assert sent.replace(OPTION + b",", b"", 1) == BODY
    assert json.loads(sent)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace(b'"stream":true', b'"stream":false'),
        BODY.replace(b"{", b"{" + OPTION + b",", 1),
        b"no json",
    ],
)
def test_what_needs_no_option_is_sent_as_it_is(body: bytes) -> None:
    world = World(Provider())
    world.run(body)
    assert world.provider.bodies == [body]


def test_the_setting_leaves_requests_alone() -> None:
    world = World(Provider(), ask_usage=False)
    world.run()
    assert world.provider.bodies == [BODY]
    assert len(world.sdk.events) == 1


def test_options_of_the_client_are_kept() -> None:
    world = World(Provider())
    world.run(BODY.replace(b"{", b'{"stream_options":{"other":1},', 1))
    [sent] = world.provider.bodies
    assert json.loads(sent)["stream_options"] == {"other": 1, "include_usage": True}


def test_a_refusal_is_a_call_of_its_own_is_retried_and_remembered() -> None:
    world = World(Provider(refuses=True))
    world.run(times=2)
    assert [b"stream_options" in body for body in world.provider.bodies] == [True, False, False]
    assert world.provider.bodies[1:] == [BODY, BODY]
    assert world.errors == ["400", None, None]


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
