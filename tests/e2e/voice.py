"""A voice call."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientWebSocketResponse


class VoiceError(Exception):
    """What a voice call ended with, as the app shows it."""


@dataclass
class VoiceCall:
    """One end of a voice call, as the app has it."""

    socket: ClientWebSocketResponse

    async def say(self, case: str) -> None:
        """Say something, and listen to the answer."""
        sound = f"case={case} ".encode().ljust(4800, b"\0")
        await self._send("input_audio_buffer.append", audio=b64encode(sound).decode())
        await self._send("input_audio_buffer.commit")
        heard = await self._event("conversation.item.input_audio_transcription.completed")
        await self._send("bridge.respond", item_id=heard["item_id"])
        await self._event("response.done")

    async def tell_status(self) -> None:
        """Have the voice say that work is going on."""
        await self._send("bridge.status", status="working")
        await self._event("response.done")

    async def begin(self, token: str) -> None:
        await self._send("auth", token=token, chat_id=None, model_id="gpt-std")
        await self._event("bridge.ready")

    async def _send(self, kind: str, **fields: object) -> None:
        await self.socket.send_json({"type": kind, **fields})

    async def _event(self, kind: str) -> dict[str, Any]:
        while True:
            event = await self.socket.receive_json(timeout=20)
            if event["type"] == "bridge.error":
                raise VoiceError(event["message"])
            if event["type"] == kind:
                return dict(event)
