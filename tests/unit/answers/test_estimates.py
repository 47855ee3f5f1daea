from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.answers import estimates
from opentelemetry.instrumentation.open_webui.answers.estimates import (
    Estimator,
    Text,
    of_answer,
    of_request,
    rough_tokens,
    spoken,
)
from opentelemetry.instrumentation.open_webui.answers.stream import StreamReader
from opentelemetry.instrumentation.open_webui.answers.wires import (
    ANTHROPIC,
    OLLAMA,
    OPENAI,
    RESPONSES,
    Wire,
)
from opentelemetry.instrumentation.open_webui.calls.accounting import Accountant
from opentelemetry.instrumentation.open_webui.money.price_file import PriceFile
from opentelemetry.instrumentation.open_webui.money.pricing import Prices
from texts import errors

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}


@pytest.mark.parametrize(
    ("payload", "text", "messages"),
    [
        ({"messages": [{"role": "user", "content": "Hello"}]}, "Hello", 1),
        (
            {"messages": [{"role": "system", "content": "S"}, {"content": [{"type": "text", "text": "T"}]}]},
            "ST",
            2,
        ),
        ({"prompt": "Once", "suffix": "upon"}, "Once", 0),
        ({"input": ["a", "b"], "model": "m"}, "ab", 0),
        ({"system": "S", "messages": []}, "S", 0),
        ({"instructions": "I", "input": [{"role": "user", "content": [{"text": "T"}]}]}, "IT", 0),
        (
            {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"x": {"description": "D"}}}}]},
            "lookD",
            0,
        ),
        ({"messages": "nonsense", "input": None, "prompt": 3}, "nonsense", 0),
    ],
)  # fmt: skip
def test_what_a_model_is_given_to_read(
    payload: Mapping[str, Any], text: str, messages: int
) -> None:
    assert of_request(payload) == Text(len(text), text, messages)


@pytest.mark.parametrize(
    ("payload", "pictures"),
    [
        ({"messages": [{"content": [{"type": "text", "text": "T"}, IMAGE]}]}, 765),
        ({"messages": [{"content": [IMAGE, IMAGE]}, {"content": [IMAGE]}]}, 3 * 765),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {"detail": "low"}}]}]}, 85),
        ({"input": [{"content": [{"type": "input_image", "detail": "low"}]}]}, 85),
        ({"messages": [{"content": [{"type": "image", "source": {"data": "A"}}]}]}, 765),
        ({"messages": [{"role": "user", "content": "T", "images": ["A", "B"]}]}, 2 * 765),
        ({"contents": [{"parts": [{"inlineData": {"data": "A"}}, {"text": "T"}]}]}, 765),
        ({"messages": [{"content": "image_url"}], "images": 3}, 0),
    ],
)  # fmt: skip
def test_pictures_count(payload: Mapping[str, Any], pictures: int) -> None:
    assert of_request(payload).pictures == pictures
    assert Estimator().tokens(Text(4, "word", 0, pictures)) == 1 + pictures


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "Hi"}}], "id": "x"}, "Hi"),
        ({"choices": [{"text": "Hi"}]}, "Hi"),
        ({"choices": [{"delta": {"reasoning_content": "R", "reasoning": "R"}}]}, "R"),
        ({"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]}, "f{}"),
        ({"message": {"content": "Hi", "thinking": "T"}, "done": True}, "HiT"),
        ({"response": "Hi", "context": [1, 2]}, "Hi"),
        ({"output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]}, "Hi"),
        ({"type": "response.output_text.delta", "delta": "Hi", "item_id": "i"}, "Hi"),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}, "Hi"),
        ({"content": [{"type": "text", "text": "Hi"}], "model": "claude"}, "Hi"),
    ],
)  # fmt: skip
def test_what_a_model_said(message: Mapping[str, Any], text: str) -> None:
    assert "".join(spoken(message)) == text
    assert of_answer(message) == Text(len(text), text)


def test_the_rule_of_thumb() -> None:
    it = Estimator()
    assert it.tokens(Text(0)) == 0
    assert it.tokens(Text(1, "a")) == 1
    assert it.tokens(Text(400, "a")) == 100
    assert it.tokens(Text(400, "a", messages=3)) == 112


def test_the_rule_of_thumb_alone() -> None:
    assert rough_tokens(Text(0, pictures=765)) == 765
    assert rough_tokens(Text(1, "a")) == 1
    assert rough_tokens(Text(400, "a", messages=3, pictures=85)) == 197


def test_a_tokenizer_tells_how_dense_a_text_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert not estimates.is_cached()
    it = Estimator()
    it.load()
    assert it.tokens(Text(400, "word word")) == 100

    class Encoding:
        def encode(self, text: str, **_: Any) -> list[int]:
            return list(range(len(text) // 2))

    it._encoding = Encoding()
    assert it.tokens(Text(400, "word word wo")) == 200
    # What is decided before a call does not wait for it.
    body = {"messages": [{"role": "user", "content": "word " * 80}]}
    assert Accountant(Prices(PriceFile()), it).tokens(body) == 104


def test_how_far_off_estimates_are() -> None:
    """docs/numbers.md has the table."""
    for name, true, rule, sample in errors():
        assert true > 50
        assert abs(rule) < 0.45, name
        assert abs(sample) < 0.20, name


# --- streams --------------------------------------------------------------------------------------

PIECES = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=80)


def openai(piece: str) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}  # fmt: skip


def ollama(piece: str) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": piece}, "done": False}


def anthropic(piece: str) -> dict[str, Any]:
    delta = {"type": "text_delta", "text": piece}
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def responses(piece: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "item_id": "i", "delta": piece}


WIRES = [
    (OPENAI, openai, b"data: "),
    (OLLAMA, ollama, b""),
    (ANTHROPIC, anthropic, b"event: content_block_delta\ndata: "),
    (RESPONSES, responses, b"event: response.output_text.delta\ndata: "),
]


def said(wire: Wire, make: Any, prefix: bytes, pieces: list[str], *, ascii: bool) -> bytes:
    lines = [json.dumps(make(piece), ensure_ascii=ascii) for piece in pieces]
    return b"".join(prefix + line.encode("utf-8", "surrogatepass") + b"\n\n" for line in lines)


def measured(wire: Wire, body: bytes) -> Text:
    reader = StreamReader(wire)
    reader.feed(body)
    text = reader.finish().text
    assert text is not None
    return text


@pytest.mark.parametrize(
    ("wire", "make", "prefix"), WIRES, ids=["openai", "ollama", "anthropic", "responses"]
)
@given(pieces=PIECES, ascii=st.booleans())
def test_a_stream_is_measured_without_reading_all_of_it(
    wire: Wire, make: Any, prefix: bytes, pieces: list[str], ascii: bool
) -> None:
    pieces = [piece.encode("utf-8", "ignore").decode() or "x" for piece in pieces]
    body = said(wire, make, prefix, pieces, ascii=ascii)
    size = sum(map(estimates.utf8_size, pieces))
    found = measured(wire, body).size
    # To the byte where the first lines are all, or no character is written in more bytes than in
    # UTF-8; else as dense as the first lines.
    if len(pieces) <= 32 or (
        not ascii and all(piece.isprintable() and not set(piece) & set('"\\') for piece in pieces)
    ):
        assert found == size
    else:
        assert 0 <= found <= len(body)


@given(PIECES, st.lists(st.integers(1, 60)))
def test_any_pieces_measure_the_same(pieces: list[str], sizes: list[int]) -> None:
    body = said(OPENAI, openai, b"data: ", pieces, ascii=True)
    reader, rest = StreamReader(OPENAI), body
    for size in sizes:
        reader.feed(rest[:size])
        rest = rest[size:]
    reader.feed(rest)
    assert reader.finish().text == measured(OPENAI, body)


def test_what_announces_and_repeats_a_text_is_none_of_it() -> None:
    events = [
        {"type": "response.created", "response": {"instructions": "long " * 100, "output": []}},
        responses("Hi"),
        {"type": "response.output_text.done", "text": "Hi"},
        {
            "type": "response.incomplete",
            "response": {"status": "incomplete", "output": [{"content": [{"text": "Hi"}]}]},
        },
    ]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    assert measured(RESPONSES, body) == Text(2, "Hi")


def test_a_long_line_among_the_first_is_measured_like_the_others() -> None:
    pieces = ["word ", "x" * 50_000, *["word "] * 40]
    body = said(OPENAI, openai, b"data: ", pieces, ascii=False)
    assert measured(OPENAI, body).size == sum(map(len, pieces))
