"""Direct connections: providers that the user's own browser calls, asked over its socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import socketio
from aiohttp import ClientSession

from harness.openwebui import OpenWebUI
from harness.provider import Provider


@dataclass
class DirectApp:
    """The browser app, as far as it calls providers itself."""

    socket: socketio.AsyncClient
    provider: str
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def answer(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Do what the server asks for; other events are only for show."""
        if event["data"]["type"] != "request:chat:completion":
            return None
        asked = event["data"]["data"]
        if asked["form_data"].get("stream"):
            begun: asyncio.Future[dict[str, Any]] = asyncio.Future()
            task = asyncio.create_task(self._stream(asked["form_data"], asked["channel"], begun))
            self._tasks.add(task)
            return await begun
        async with self._call(asked["form_data"]) as response:
            return dict(await response.json())

    async def _stream(
        self, form: dict[str, Any], channel: str, begun: asyncio.Future[dict[str, Any]]
    ) -> None:
        async with self._call(form) as response:
            # An error is told as it came, without its status.
            begun.set_result({"status": True} if response.ok else await response.json())
            async for line in response.content:
                if response.ok and line.strip():
                    await self.socket.emit(channel, line.decode().strip())
        await self.socket.emit(channel, {"done": True})

    @asynccontextmanager
    async def _call(self, form: dict[str, Any]) -> AsyncIterator[Any]:
        url = f"{self.provider}/chat/completions"
        async with ClientSession() as session, session.post(url, json=form) as response:
            yield response


async def with_app(
    server: OpenWebUI, provider: Provider, user: str, work: Callable[[str], None]
) -> None:
    """Do work in another thread while the app is there, whose session it is given."""
    socket = socketio.AsyncClient()
    socket.on("events", DirectApp(socket, provider.openai_url).answer)
    await socket.connect(
        server.base_url,
        headers={"Origin": server.base_url},
        auth={"token": server.world.user(user).token},
        transports=["websocket"],
        socketio_path="/ws/socket.io",
    )
    try:
        await asyncio.to_thread(work, str(socket.get_sid()))
    finally:
        await socket.disconnect()


DIRECT: dict[str, Any] = {
    "id": "gpt-std",
    "name": "My own",
    "direct": True,
    "info": {"meta": {"capabilities": {"usage": True}}},
}
