"""The Realtime API: what the provider says on a web socket after each event of the client."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from harness.replies import (
    Piece,
    Prompt,
    Tokens,
    answer_text,
    compact,
    count_tokens,
    find_case,
    meant_text,
    parse_object,
)
from harness.replies_common import base64_of, decoded

# A tenth of a second of silence: 16-bit samples at 24 kHz.
PCM = bytes(4800)
AUDIO_PIECES = 3


class Realtime:
    """One session. A response is a call of the model; all other events are not."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._said: list[bytes] = []
        self._case = ""
        self._events = 0
        self._item = ""

    def read(self, raw: bytes, number: int) -> Prompt:
        """Read an event of the client as if it were a request.

        Its case is the newest one of the session, and the body of a call is the session so far: a
        response is made from what was said before it.
        """
        event = parse_object(raw)
        self._case = find_case(raw) or find_case(decoded(event.get("audio"))) or self._case
        if event.get("type") != "input_audio_buffer.append":
            self._said.append(raw)
        digest = hashlib.sha256(meant_text(event).encode()).digest()
        return Prompt(
            wire="openai",
            model=self.model,
            body=event,
            raw=b"\n".join(self._said),
            task="chat",
            case=self._case,
            seed=int.from_bytes(digest[:6], "big") + number,
            # Equal events of a session must not share an id even where nothing is counted.
            number=number or len(self._said),
        )

    def opening(self) -> bytes:
        """What is said first."""
        return self._event("session.created", session=self._session({}))

    def answer(self, prompt: Prompt) -> list[Piece]:
        """What is said after an event."""
        kind = prompt.body.get("type")
        if kind == "session.update":
            session = prompt.body.get("session")
            updated = self._session(session if isinstance(session, dict) else {})
            return [Piece(self._event("session.updated", session=updated))]
        if kind == "input_audio_buffer.commit":
            return list(self._heard(prompt))
        return list(self._response(prompt)) if is_call(prompt) else []

    def _session(self, changes: dict[str, Any]) -> dict[str, Any]:
        return {"id": "sess_standin", "object": "realtime.session", "model": self.model, **changes}

    def _event(self, kind: str, **fields: object) -> bytes:
        self._events += 1
        return compact({"type": kind, "event_id": f"event_{self._events}", **fields})

    def _heard(self, prompt: Prompt) -> Iterator[Piece]:
        # Real transcripts tell the usage of the transcribing model too; this one is silent about
        # it, since it would be a second kind of call on the same socket.
        item = f"item_{prompt.id}"
        before, self._item = self._item or None, item
        yield Piece(
            self._event("input_audio_buffer.committed", item_id=item, previous_item_id=before)
        )
        yield Piece(
            self._event(
                "conversation.item.input_audio_transcription.completed",
                item_id=item,
                content_index=0,
                transcript=f"Please say something about case={prompt.case or 'none'}",
            )
        )

    def _response(self, prompt: Prompt) -> Iterator[Piece]:
        at = {"response_id": f"resp_{prompt.id}", "item_id": f"item_{prompt.id}"}
        place = {**at, "output_index": 0, "content_index": 0}
        begun = response_object(prompt, "in_progress", None)
        yield Piece(self._event("response.created", response=begun))
        for _ in range(AUDIO_PIECES):
            yield Piece(self._event("response.output_audio.delta", **place, delta=base64_of(PCM)))
        yield Piece(self._event("response.output_audio.done", **place))
        tokens = count_tokens(prompt, answer_text(prompt))
        told = Tokens(tokens.input, tokens.output, cached=tokens.cached)
        done = response_object(prompt, "completed", realtime_usage(told))
        yield Piece(self._event("response.done", response=done), told)


def is_call(prompt: Prompt) -> bool:
    """Whether an event of the client asks for a response."""
    return prompt.body.get("type") == "response.create"


def response_object(prompt: Prompt, status: str, usage: dict[str, Any] | None) -> dict[str, Any]:
    """A response, finished or not, with the metadata of its request."""
    asked = prompt.body.get("response")
    return {
        "id": f"resp_{prompt.id}",
        "object": "realtime.response",
        "status": status,
        "status_details": None,
        "output": [],
        "metadata": asked.get("metadata") if isinstance(asked, dict) else None,
        "usage": usage,
    }


def realtime_usage(tokens: Tokens) -> dict[str, Any]:
    """The `usage` of a response: text and sound."""
    spoken_in, spoken_out = tokens.input // 2, tokens.output // 2
    return {
        "total_tokens": tokens.input + tokens.output,
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "input_token_details": {
            "text_tokens": tokens.input - spoken_in,
            "audio_tokens": spoken_in,
            "image_tokens": 0,
            "cached_tokens": tokens.cached or 0,
            "cached_tokens_details": {"text_tokens": tokens.cached or 0, "audio_tokens": 0},
        },
        "output_token_details": {
            "text_tokens": tokens.output - spoken_out,
            "audio_tokens": spoken_out,
        },
    }
