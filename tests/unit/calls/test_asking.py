"""What asking for usage brings into a stream, and that it is taken out again, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.answers.stream import LONGEST_LINE
from opentelemetry.instrumentation.open_webui.calls.asking import UsageFilter, asking, may_ask

USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1}}
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DONE = "data: [DONE]"


def chunk(*choices: Any, **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": list(choices), **more}


def choice(content: str = "word", finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": content}, "finish_reason": finish}


EMPTY = {"index": 0, "delta": {}, "finish_reason": None}
PLAIN = [chunk(choice()), chunk(choice('"usage":null}')), chunk(choice("", "stop"))]

# What a model sends when asked, where it would send PLAIN unasked.
SHAPES: dict[str, list[dict[str, Any]]] = {
    "no choices": [*PLAIN, chunk(usage=USAGE)],
    "null in between": [
        *({**message, "usage": None} for message in PLAIN),
        chunk(usage=USAGE),
    ],
    "null in between, and more after it": [
        *({**message, "usage": None, "obfuscation": "x1"} for message in PLAIN),
        chunk(usage=USAGE, obfuscation="x2"),
    ],
    "null first": [
        *({"usage": None, **message} for message in PLAIN),
        {"usage": USAGE, **chunk()},
    ],
    "an empty choice": [*PLAIN, chunk(EMPTY, usage=USAGE)],
    "a choice without text": [
        *PLAIN,
        chunk({**EMPTY, "delta": {"role": "assistant", "content": ""}}, usage={**USAGE, "cost": 1}),
    ],
    "with what it cost": [*PLAIN, chunk(EMPTY, usage=USAGE, cost=0.25, provider="p")],
    "without the word": [*PLAIN, {**HEAD, "usage": USAGE}],
    "on the last chunk": [*PLAIN[:-1], {**PLAIN[-1], "usage": USAGE}],
    "on all chunks": [{**message, "usage": USAGE} for message in PLAIN],
    "in the middle": [
        *PLAIN[:-1],
        {**HEAD, "usage": USAGE, **{"choices": PLAIN[-1]["choices"]}},
    ],
}
UNASKED = {
    "null in between, and more after it": [{**message, "obfuscation": "x1"} for message in PLAIN],
}


def stream(messages: list[dict[str, Any]], end: str, separators: tuple[str, str]) -> bytes:
    texts = [json.dumps(message, separators=separators) for message in messages]
    lines = [": a comment", *(f"data: {text}" for text in texts), DONE]
    return "".join(line + end + end for line in lines).encode()


def spread(messages: list[dict[str, Any]], end: str) -> bytes:
    """With JSON that is written over several lines."""
    events = []
    for message in messages:
        lines = json.dumps(message, indent=1).splitlines()
        events.append("id: 1" + end + "".join(f"data: {line}{end}" for line in lines) + end)
    return "".join(events).encode()


def filtered(body: bytes, sizes: list[int], nulls: bool = False) -> bytes:
    taken, passed = UsageFilter(nulls), b""
    for size in sizes:
        passed += taken.feed(body[:size])
        body = body[size:]
    return passed + taken.feed(body) + taken.finish()


@given(
    st.sampled_from(sorted(SHAPES)),
    st.lists(st.integers(1, 120)),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_what_asking_brought_is_taken_out_whatever_its_shape(
    shape: str, sizes: list[int], end: str, separators: tuple[str, str]
) -> None:
    unasked = stream(UNASKED.get(shape, PLAIN), end, separators)
    assert filtered(stream(SHAPES[shape], end, separators), sizes) == unasked


@given(
    st.sampled_from(["no choices", "an empty choice", "with what it cost", "without the word"]),
    st.lists(st.integers(1, 120)),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_is_written_over_several_lines_goes_as_a_whole(
    shape: str, sizes: list[int], end: str
) -> None:
    assert filtered(spread(SHAPES[shape], end), sizes) == spread(PLAIN, end)


def test_an_object_without_end_passes_and_is_not_held_for_ever() -> None:
    body = b"data: {\n" * 20_000 + b"data: }"
    assert filtered(body, []) == body
    taken = UsageFilter()
    assert len(taken.feed(body)) > 100_000


def test_fields_without_data_are_not_held_for_ever() -> None:
    body = b"id: 12345678\n" * 20_000
    assert filtered(body, []) == body
    assert len(UsageFilter().feed(body)) > 100_000


@given(st.lists(st.integers(1, 120)), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_nulls_that_come_unasked_stay(sizes: list[int], separators: tuple[str, str]) -> None:
    unasked = [{**message, "usage": None} for message in PLAIN]
    asked = [*unasked[:-1], {**PLAIN[-1], "usage": USAGE}, chunk(usage=USAGE)]
    plain = stream(unasked, "\n", separators)
    assert filtered(stream(asked, "\n", separators), sizes, nulls=True) == plain


@pytest.mark.parametrize(
    "message",
    [
        chunk(usage=None, prompt_filter_results=[{"index": 0}]),
        chunk(usage=USAGE, citations=["https://example.org"]),
        chunk(EMPTY, usage=USAGE, timings={"prompt_n": 1}),
        chunk({**EMPTY, "delta": {"tool_calls": [{"index": 0}]}}, usage=USAGE),
        chunk({**EMPTY, "logprobs": {"content": [1]}}, usage=USAGE),
    ],
)
def test_what_rides_on_it_stays(message: dict[str, Any]) -> None:
    rest = {name: value for name, value in message.items() if name != "usage"}
    assert filtered(stream([message], "\n", (",", ":")), []) == stream([rest], "\n", (",", ":"))


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"choices":[],"x":{"usage":null}}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\"usage\\":null}"}}]}\n\n',
        b'data: {"choices":[],"usage"\n\n',
        b'data: "usage"\n\n',
        b'{"choices":[],"usage":{"prompt_tokens":1}}\n',
        b"event: usage\nid: 5\ndata: x\n\nretry: 5",
        b'data: {"choices":[],"usage":0}\n\n',
    ],
)
def test_nothing_else_is_touched(body: bytes) -> None:
    if body == b'data: {"choices":[],"usage":0}\n\n':
        assert filtered(body, []) == b'data: {"choices":[]}\n\n'
    else:
        assert filtered(body, []) == body


def test_an_event_goes_with_all_its_fields() -> None:
    event = b"event: message\nid: 7\n" + b"data: " + json.dumps(chunk(usage=USAGE)).encode()
    assert filtered(b"id: 6\ndata: x\n\n" + event + b"\n\nid: 8\ndata: y\n\n", []) == (
        b"id: 6\ndata: x\n\nid: 8\ndata: y\n\n"
    )


@given(st.binary(max_size=200), st.lists(st.integers(1, 20)))
def test_garbage_passes_in_any_pieces_as_in_one(body: bytes, sizes: list[int]) -> None:
    assert filtered(body, sizes) == filtered(body, [])
    if b"usage" not in body:
        assert filtered(body, sizes) == body


def test_a_long_line_passes_and_is_not_joined_at_each_piece() -> None:
    taken, piece = UsageFilter(), b"x" * 1_000
    passed = b"".join(taken.feed(piece) for _ in range(500))
    assert (passed, len(taken._held)) == (b"", 500)
    passed += b"".join(taken.feed(piece) for _ in range(LONGEST_LINE // 1_000))
    assert len(passed) > LONGEST_LINE
    assert len(passed + taken.finish()) == 500_000 + LONGEST_LINE // 1_000 * 1_000


@pytest.mark.parametrize(
    ("options", "may"),
    [
        ({}, True),
        ({"stream_options": None}, True),
        ({"stream_options": {"include_usage": False}}, True),
        ({"stream_options": {"include_usage": True}}, False),
        ({"stream_options": "include_usage"}, False),
        ({"stream_options": [1]}, False),
    ],
)
def test_only_where_the_option_has_a_place(options: dict[str, Any], may: bool) -> None:
    assert may_ask(options) is may


def test_a_body_is_asked_in_without_a_change_of_the_rest() -> None:
    body = b'{"model":"\xc3\xa4", "stream":true}'
    assert (
        asking(body, {}) == '{"stream_options":{"include_usage":true},"model":"ä", "stream":true}'
    )
