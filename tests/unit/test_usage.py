from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui import usage as module
from opentelemetry.instrumentation.open_webui.usage import (
    OLLAMA,
    OPENAI,
    Answer,
    StreamReader,
    Usage,
    Wire,
    count,
    read_whole,
)


def sse(*messages: Any, end: str = "\n\n") -> bytes:
    lines = [f"data: {json.dumps(message)}{end}" for message in messages]
    return "".join([*lines, f"data: [DONE]{end}"]).encode()


def ndjson(*messages: Any) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def text(content: str = "word", finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return {"id": "c1", "model": "m-1", "choices": [choice], **more}


def reported(given: int, made: int, **more: Any) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": given, "completion_tokens": made, **more}}


def read(wire: Wire, body: bytes) -> Answer:
    reader = StreamReader(wire)
    for line in body.splitlines(keepends=True):
        reader.feed(line)
    return reader.finish()


DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
STREAMS = {
    "at the end": (
        sse(text(), text(finish="stop"), {"choices": [], **reported(9, 5, **DETAILS)}),
        Usage(9, 5, cache_read=4, reasoning=2),
    ),
    "null in between": (
        sse(text(usage=None), text(finish="stop", usage=None), {"choices": [], **reported(9, 5)}),
        Usage(9, 5),
    ),
    "running totals": (sse(*(text(**reported(9, made)) for made in (1, 3, 3, 6))), Usage(9, 6)),
    "increments": (
        sse(text(**reported(9, 1)), text(**reported(0, 2)), text(**reported(0, 4))),
        Usage(9, 7),
    ),
    "increments without input": (
        sse(text(**reported(9, 1)), text(usage={"completion_tokens": 2})),
        Usage(9, 3),
    ),
    "increments and their sum": (
        sse(text(**reported(9, 1)), text(**reported(0, 2)), text(**reported(9, 3))),
        Usage(9, 3),
    ),
    "some": (sse(text(), text(**reported(9, 2)), text(), text(**reported(9, 5))), Usage(9, 5)),
    "none": (sse(text(), text(finish="stop")), Usage()),
    "before the choices": (
        sse({**reported(9, 5), **text()}, {**reported(9, 6), **text()}),
        Usage(9, 6),
    ),
    "timings": (
        sse(text(), text(finish="stop", timings={"prompt_n": 5, "cache_n": 4, "predicted_n": 7})),
        Usage(9, 7, cache_read=4),
    ),
    "said in the text": (
        sse(text('{"usage": {"prompt_tokens": 99}}'), text(finish="stop")),
        Usage(),
    ),
}


@pytest.mark.parametrize(("body", "expected"), STREAMS.values(), ids=STREAMS)
def test_reads_every_style_of_reporting(body: bytes, expected: Usage) -> None:
    assert read(OPENAI, body).reports.total() == expected


@given(st.sampled_from(sorted(STREAMS)), st.booleans(), st.lists(st.integers(1, 40)))
def test_any_pieces_give_the_same(style: str, crlf: bool, sizes: list[int]) -> None:
    body, expected = STREAMS[style]
    if crlf:
        body = body.replace(b"\n", b"\r\n")
    reader, rest = StreamReader(OPENAI), body
    for size in sizes:
        reader.feed(rest[:size])
        rest = rest[size:]
    reader.feed(rest)
    answer = reader.finish()
    assert answer.reports.total() == expected
    assert (answer.complete, answer.model) == (True, read(OPENAI, body).model)


@given(st.lists(st.binary(max_size=60)), st.sampled_from([OPENAI, OLLAMA]))
def test_garbage_is_never_an_error(pieces: list[bytes], wire: Wire) -> None:
    reader = StreamReader(wire)
    for piece in pieces:
        reader.feed(piece)
    reader.finish().reports.total()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["usage", "choices", "error", "timings", "model", "done"]), json_values
    )
)
def test_nonsense_messages_are_never_an_error(message: dict[str, Any]) -> None:
    for wire in (OPENAI, OLLAMA):
        total = read_whole(wire, message).reports.total()
        assert all(value is None or value >= 0 for value in total.counts())


@pytest.mark.parametrize(
    "value", ["7", -1, None, True, 1.5, float("nan"), float("inf"), 2**60, [7], {}]
)
def test_what_is_no_count_is_none(value: object) -> None:
    assert count(value) is None


def test_counts() -> None:
    assert (count(0), count(7), count(7.0)) == (0, 7, 7)


def test_ollama() -> None:
    last = {
        "model": "l",
        "done": True,
        "prompt_eval_count": 9,
        "eval_count": 5,
        "done_reason": "length",
    }
    answer = read(
        OLLAMA, ndjson({"model": "l", "done": False}, {"model": "l", "done": False}, last)
    )
    assert answer.reports.total() == Usage(9, 5)
    assert (answer.finish_reasons, answer.complete) == (["length"], True)
    assert read_whole(OLLAMA, last).reports.total() == Usage(9, 5)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "model_crashed", "type": "server_error"}, "model_crashed"),
        ({"code": None, "type": "server_error"}, "server_error"),
        ({"code": 503}, "503"),
        ({"message": "something about a person"}, "_OTHER"),
        ({"code": "a sentence with a name in it"}, "_OTHER"),
        ("overloaded", "_OTHER"),
    ],
)
def test_errors_inside_an_answer(error: object, kind: str) -> None:
    assert read(OPENAI, sse(text(), {"error": error})).error == kind
    assert read_whole(OPENAI, {"error": error}).error == kind


def test_the_first_message_names_model_and_id() -> None:
    answer = read(OPENAI, b": a comment\n\n" + sse(text(), text(finish="stop")))
    assert (answer.model, answer.id, answer.finish_reasons) == ("m-1", "c1", ["stop"])


def test_an_unfinished_stream_is_not_complete() -> None:
    assert not read(OPENAI, b"data: " + json.dumps(text()).encode() + b"\n").complete


def test_tells_which_line_only_reports_usage() -> None:
    reader = StreamReader(OPENAI)
    lines = sse(text(), text(finish="stop"), {"choices": [], **reported(9, 5)}).splitlines(
        keepends=True
    )
    assert [reader.feed(line) for line in lines] == [
        False,
        False,
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert reader.chunks == 3


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("more", [{}, {"usage": None}])
def test_quiet_lines_are_not_parsed(
    separators: tuple[str, str], more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = StreamReader(OPENAI)
    line = f"data: {json.dumps(text(**more), separators=separators)}\n".encode()
    reader.feed(line)
    monkeypatch.setattr(module, "loads", lambda _: pytest.fail("parsed"))
    for _ in range(3):
        reader.feed(line)
    assert reader.chunks == 4


def test_a_line_without_end_keeps_memory_bounded_and_its_usage() -> None:
    reader = StreamReader(OPENAI)
    reader.feed(b'data: {"output": "')
    tracemalloc.start()
    for _ in range(200):
        reader.feed(b"x" * 50_000)
    reader.feed(b'", "usage": {"prompt_tokens": 9, "completion_tokens": 5}}\n')
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert reader.finish().reports.total() == Usage(9, 5)
