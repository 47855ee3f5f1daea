"""What the replies of all further endpoints share: reading a request, and how models behave.

The models of the chat endpoints are listed in `replies.MODELS`. Everywhere else any name will do,
and the end of a name says how its model behaves: `gpt-429` as well as `whisper-429`.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from harness.replies import (
    JSON,
    SLOW_CHUNKS,
    SLOW_PACE,
    SLOW_WHOLE,
    Piece,
    Prompt,
    Reply,
    Tokens,
    Wire,
    answer_text,
    compact,
    count_tokens,
    error_body,
    find_case,
    gpt_429,
    gpt_500,
    gpt_500_text,
    gpt_rejects,
    guess_task,
    llama_500,
    meant_text,
    parse_object,
    split_piece,
    sse,
)

Build = Callable[[Prompt], Reply]

# --- an endpoint, and reading what it is asked ----------------------------------------------------


def never(prompt: Prompt) -> bool:
    """No request is like that."""
    return False


def no_model(body: Mapping[str, Any]) -> str:
    """A body names its model in `model` or not at all."""
    return ""


@dataclass(frozen=True)
class Endpoint:
    """One path of the provider, what calling it means, and the reply to a call."""

    path: str
    operation: str
    reply: Build
    wire: Wire = "openai"
    provider: str = ""
    """`gen_ai.provider.name`; the wire's name, if not given."""
    streams: bool = False
    """Whether there is a stream to ask for."""
    calls_nothing: Callable[[Prompt], bool] = never
    """Whether a request calls no model; it is answered but not logged."""
    other_model: Callable[[Mapping[str, Any]], str] = no_model
    """Finds the model of a body without `model`."""


def read_request(
    endpoint: Endpoint, raw: bytes, content_type: str, model_in_path: str, number: int
) -> Prompt:
    """Read a request body of any kind: JSON, a form, or markup."""
    body = read_body(raw, content_type)
    model = str(body.get("model") or model_in_path or endpoint.other_model(body))
    meant = {**body, "model": model} if model else body
    digest = hashlib.sha256(meant_text(meant).encode("utf-8", "surrogatepass")).digest()
    return Prompt(
        wire=endpoint.wire,
        model=model,
        body=body,
        raw=raw,
        task=guess_task({"messages": said(body)}),
        case=find_case(raw) or find_case(spoken(body)),
        seed=int.from_bytes(digest[:6], "big") + number,
        number=number,
    )


def read_body(raw: bytes, content_type: str) -> dict[str, Any]:
    """The body as an object: a form by its fields, markup as `text`."""
    if content_type.startswith("multipart/"):
        return read_form(raw, content_type)
    if "xml" in content_type:
        return {"text": raw.decode("utf-8", "replace")}
    return parse_object(raw)


def read_form(raw: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a multipart form; a file is described, so that it is part of the seed."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + raw)
    return {
        str(part.get_param("name", "", "content-disposition")): read_field(part)
        for part in form.iter_parts()
    }


def read_field(part: Message) -> str | dict[str, Any]:
    """The value of a form field."""
    data = part.get_payload(decode=True) or b""
    assert isinstance(data, bytes)
    if part.get_filename() is None:
        return data.decode("utf-8", "replace")
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def said(body: Mapping[str, Any]) -> list[Any]:
    """What a request says, as messages, whichever API it is for."""
    texts = [body.get(name) for name in ("system", "instructions", "prompt", "input")]
    messages = [body.get(name) for name in ("messages", "input")]
    return [
        *({"content": text} for text in texts if isinstance(text, str)),
        *(message for some in messages if isinstance(some, list) for message in some),
    ]


def spoken(body: Mapping[str, Any]) -> bytes:
    """The audio in a JSON body; as base64 it would hide a case mark."""
    parts = [part for message in said(body) for part in content_of(message)]
    sounds = [body.get("input_audio"), *(part.get("input_audio") for part in parts)]
    return b"\n".join(
        decoded(sound.get("data")) for sound in sounds if isinstance(sound, dict) and sound
    )


def content_of(message: object) -> list[dict[str, Any]]:
    """The parts of a message that has parts."""
    content = message.get("content") if isinstance(message, dict) else None
    return [p for p in content if isinstance(p, dict)] if isinstance(content, list) else []


def decoded(data: object) -> bytes:
    """The bytes of base64; none, if it is not base64."""
    try:
        return base64.b64decode(str(data), validate=True)
    except ValueError:
        return b""


def number_in(body: Mapping[str, Any], name: str, default: int = 1) -> int:
    """A whole number of a JSON body or of a form, where it is text."""
    value = str(body.get(name, ""))
    return int(value) if value.isdecimal() else default


# --- how models behave ----------------------------------------------------------------------------


def behaves(prompt: Prompt, *endings: str) -> bool:
    """Whether the model behaves in one of these ways, by the end of its name."""
    return prompt.model.removesuffix(":latest").endswith(endings)


def gone_500(prompt: Prompt) -> Reply:
    """A server error with the JSON body of the wire."""
    return llama_500(prompt) if prompt.wire == "ollama" else gpt_500(prompt)


FAILURES: dict[str, Build] = {
    "-429": gpt_429,
    "-500": gone_500,
    "-500-text": gpt_500_text,
}
CRASH = error_body("The model crashed", "server_error", code="server_error")


def behaving(prompt: Prompt, answer: Build, crash: bytes = sse({"error": CRASH})) -> Reply:
    """The reply of `answer`, as far as the model behaves; `crash` is an error within a stream."""
    for ending, failure in FAILURES.items():
        if behaves(prompt, ending):
            return failure(prompt)
    if behaves(prompt, "-rejects") and "stream_options" in prompt.body:
        return gpt_rejects(prompt)
    reply = answer(prompt)
    # By its type, since only an event stream or lines can break off between two pieces.
    streamed = len(reply.pieces) > 1
    if behaves(prompt, "-sse-error", "-stream-error"):
        return crashed(reply, crash) if streamed else json_reply({"error": CRASH})
    if behaves(prompt, "-cut"):
        return cut(reply, streamed)
    return paced(prompt, reply, streamed)


def crashed(reply: Reply, crash: bytes) -> Reply:
    """A stream that ends in an error after a few pieces."""
    return replace(reply, pieces=(*reply.pieces[:4], Piece(crash)))


def cut(reply: Reply, streamed: bool) -> Reply:
    """A reply whose connection drops in the middle."""
    if streamed:
        return replace(reply, pieces=reply.pieces[:4], cut=True)
    data = reply.pieces[0].data
    return replace(reply, pieces=(Piece(data[: len(data) // 2]),), cut=True)


def paced(prompt: Prompt, reply: Reply, streamed: bool) -> Reply:
    """A reply at the pace, in the fragments and with the line ends of its model."""
    pieces = reply.pieces
    if behaves(prompt, "-slow"):
        pause = SLOW_PACE if streamed else SLOW_WHOLE
        pieces = tuple(replace(piece, pause=pause) for piece in pieces)
    if streamed and behaves(prompt, "-split"):
        pieces = tuple(part for piece in pieces for part in split_piece(piece))
    if streamed and behaves(prompt, "-crlf"):
        pieces = tuple(replace(p, data=p.data.replace(b"\n", b"\r\n")) for p in pieces)
    return replace(reply, pieces=pieces)


def text_of(prompt: Prompt) -> str:
    """The answer's text; that of a slow stream is long."""
    if prompt.stream and behaves(prompt, "-slow"):
        return " ".join(f"slow{index}" for index in range(SLOW_CHUNKS))
    return answer_text(prompt)


def tokens_of(prompt: Prompt, text: str) -> Tokens | None:
    """The counts of an answer; none of a model that keeps them to itself."""
    return None if behaves(prompt, "-nousage", "-rejects") else count_tokens(prompt, text)


def plain_tokens_of(prompt: Prompt, text: str) -> Tokens | None:
    """The counts of an answer without details."""
    tokens = tokens_of(prompt, text)
    return None if tokens is None else replace(tokens, cached=None, reasoning=None)


def json_reply(value: object, told: Tokens | None = None, /, **facts: float) -> Reply:
    """A whole answer in JSON."""
    return Reply(200, JSON, (Piece(compact(value), told, facts=facts),))


# --- made-up data ---------------------------------------------------------------------------------

VECTOR_SIZE = 8
PNG = "image/png"


def vector(text: str) -> list[float]:
    """An embedding: equal texts have equal ones."""
    digest = hashlib.sha256(text.encode()).digest()
    return [round(byte / 127.5 - 1, 4) for byte in digest[:VECTOR_SIZE]]


def png(seed: int = 0) -> bytes:
    """A valid image of one pixel, whose colour is made from `seed`."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = b"\0" + seed.to_bytes(8, "big")[-3:]
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixel)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def base64_of(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()
