from __future__ import annotations

import json
import tracemalloc
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.answers import stream as module
from opentelemetry.instrumentation.open_webui.answers import usage as usage_module
from opentelemetry.instrumentation.open_webui.answers.answer import Answer
from opentelemetry.instrumentation.open_webui.answers.stream import (
    BodyReader,
    StreamReader,
    read_message,
)
from opentelemetry.instrumentation.open_webui.answers.usage import Usage, count
from opentelemetry.instrumentation.open_webui.answers.wires import (
    ANTHROPIC,
    AUDIO,
    GEMINI,
    IMAGES,
    OLLAMA,
    OPENAI,
    RESPONSES,
    Wire,
)

WIRES = [OPENAI, RESPONSES, ANTHROPIC, OLLAMA, AUDIO, IMAGES, GEMINI]


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
    "beside the choices, as Groq has it": (
        sse(text(), text(finish="stop", x_groq={"id": "r", **reported(9, 5)})),
        Usage(9, 5),
    ),
    "said in the text": (
        sse(text('{"usage": {"prompt_tokens": 99}}'), text(finish="stop")),
        Usage(),
    ),
}


@pytest.mark.parametrize(("body", "expected"), STREAMS.values(), ids=STREAMS)
def test_reads_every_style_of_reporting(body: bytes, expected: Usage) -> None:
    assert read(OPENAI, body).total().usage == expected


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
    assert answer.total().usage == expected
    assert (answer.complete, answer.model) == (True, read(OPENAI, body).model)


def events(*messages: Any) -> bytes:
    """An event stream that names its events and has no word for the end."""
    return b"".join(
        f"event: {message['type']}\ndata: {json.dumps(message)}\n\n".encode()
        for message in messages
    )


BODIES = {
    OPENAI: [body for body, _ in STREAMS.values()],
    RESPONSES: [
        events(
            {"type": "response.created", "response": {"id": "r", "model": "m", "usage": None}},
            {"type": "response.output_text.delta", "delta": "word"},
            {
                "type": "response.completed",
                "response": {
                    "id": "r", "model": "m", "status": "completed",
                    "usage": {"input_tokens": 9, "output_tokens": 5},
                },
            },
        )
    ],
    ANTHROPIC: [
        events(
            {
                "type": "message_start",
                "message": {"model": "c", "usage": {"input_tokens": 7, "cache_read_input_tokens": 2, "output_tokens": 1}},
            },
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "word"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        )
    ],
    OLLAMA: [
        ndjson(
            {"model": "m", "message": {"content": "word"}, "done": False},
            {"model": "m", "done": True, "prompt_eval_count": 9, "eval_count": 5},
        )
    ],
}  # fmt: skip
CASES = [(wire, body) for wire, bodies in BODIES.items() for body in bodies]


def in_pieces(wire: Wire, body: bytes, sizes: list[int]) -> Answer:
    reader, rest = StreamReader(wire), body
    for size in sizes:
        reader.feed(rest[:size])
        rest = rest[size:]
    reader.feed(rest)
    return reader.finish()


def told(answer: Answer) -> tuple[Any, ...]:
    """What has to be the same, however a stream comes."""
    known = (answer.model, answer.id, answer.finish_reasons, answer.error, answer.complete)
    return (answer.total().usage, answer.billed, answer.text, *known)


@given(
    case=st.sampled_from(CASES),
    changes=st.lists(
        st.tuples(st.integers(0, 600), st.integers(0, 40), st.binary(max_size=8)), max_size=3
    ),
    sizes=st.lists(st.integers(1, 60), max_size=30),
)
def test_any_bytes_in_any_pieces_give_the_same(
    case: tuple[Wire, bytes], changes: list[tuple[int, int, bytes]], sizes: list[int]
) -> None:
    """`make fuzz` runs this for longer: streams as they come, and damaged ones."""
    wire, body = case
    for at, length, put in changes:
        body = body[:at] + put + body[at + length :]
    assert told(in_pieces(wire, body, sizes)) == told(in_pieces(wire, body, []))


@pytest.mark.parametrize(("wire", "body"), CASES)
def test_every_wire_reports(wire: Wire, body: bytes) -> None:
    usage = read(wire, body).total().usage
    if wire is not OPENAI:
        assert (usage.input, usage.output) == (9, 5)


@given(st.lists(st.binary(max_size=60)), st.sampled_from(WIRES))
def test_garbage_is_never_an_error(pieces: list[bytes], wire: Wire) -> None:
    reader = StreamReader(wire)
    for piece in pieces:
        reader.feed(piece)
    reader.finish().total()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "usage",
                "choices",
                "error",
                "timings",
                "model",
                "done",
                "response",
                "message",
                "delta",
                "type",
                "status",
                "candidates",
                "usageMetadata",
                "data",
                "duration",
            ]
        ),
        json_values,
    )
)
def test_nonsense_messages_are_never_an_error(message: dict[str, Any]) -> None:
    for wire in WIRES:
        total = read_message(wire, message).total().usage
        assert all(value is None or value >= 0 for value in total)


@pytest.mark.parametrize(
    "value",
    ["", "x7", "7 ", "1e9", "-1", -1, None, True, float("nan"), float("inf"), 2**60, [7], {}],
)
def test_what_is_no_count_is_none(value: object) -> None:
    assert count(value) is None


@pytest.mark.parametrize(
    ("value", "tokens"),
    [(7, 7), (0, 0), (7.0, 7), ("7", 7), ("7.0", 7), (14417.92, 14418), ("14417.92", 14418)],
)
def test_counts_may_be_texts_and_fractions(value: object, tokens: int) -> None:
    assert count(value) == tokens


def test_what_is_left_out_is_said_once_and_not_quoted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_module, "_dropped", set())
    body = sse(text(), {"usage": {"prompt_tokens": ["a secret"], "completion_tokens": -1}})
    broken = b'data: {"usage": {"prompt_tokens": a secret}}\n\n'
    for _ in range(3):
        assert read(OPENAI, body + broken).total().usage == Usage()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "a token count that is none (list)" in said[0]
    assert "usage in a message that is no JSON" in said[1]
    assert "secret" not in caplog.text


def test_junk_nested_beyond_all_depth_is_left_out() -> None:
    deep = b'data: {"usage": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n"
    end = sse(text(finish="stop"), {"choices": [], **reported(9, 5)})
    assert read(OPENAI, sse(text())[:-14] + deep + end).total().usage == Usage(9, 5)


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
    assert answer.total().usage == Usage(9, 5)
    assert (answer.finish_reasons, answer.complete) == (["length"], True)
    assert read_message(OLLAMA, last).total().usage == Usage(9, 5)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "context_length_exceeded", "type": "server_error"}, "context_length_exceeded"),
        ({"code": "made_up", "type": "server_error"}, "server_error"),
        ({"code": None, "type": "server_error"}, "server_error"),
        ({"code": 503}, "503"),
        ({"message": "something about a person"}, "_OTHER"),
        ({"code": "a sentence with a name in it"}, "_OTHER"),
        ("overloaded", "_OTHER"),
    ],
)
def test_errors_inside_an_answer(error: object, kind: str) -> None:
    assert read(OPENAI, sse(text(), {"error": error})).error == kind
    assert read_message(OPENAI, {"error": error}).error == kind


@pytest.mark.parametrize(
    ("details", "kind"),
    [
        (
            {"type": "failed", "error": {"type": "x", "code": "rate_limit_exceeded"}},
            "rate_limit_exceeded",
        ),
        ({"type": "failed", "error": {"type": "server_error", "code": None}}, "server_error"),
        ({"type": "failed", "error": None}, "_OTHER"),
        (None, "_OTHER"),
    ],
)
def test_a_failed_response_of_a_voice_call_says_why(details: Any, kind: str) -> None:
    response = {"status": "failed", "status_details": details}
    message = {"type": "response.done", "response": response}
    assert read_message(RESPONSES, message).error == kind


def test_the_first_message_names_model_and_id() -> None:
    answer = read(OPENAI, b": a comment\n\n" + sse(text(), text(finish="stop")))
    assert (answer.model, answer.id, answer.finish_reasons) == ("m-1", "c1", ["stop"])


def test_an_unfinished_stream_is_not_complete() -> None:
    assert not read(OPENAI, b"data: " + json.dumps(text()).encode() + b"\n").complete


def test_responses() -> None:
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    done = {"id": "r1", "model": "m-1", "status": "completed", "usage": usage}
    begun = {**done, "status": "in_progress", "usage": None}
    body = b"".join(
        f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()
        for kind, more in (
            ("response.created", {"response": begun}),
            ("response.output_text.delta", {"delta": '"usage"'}),
            ("response.completed", {"response": done}),
        )
    )
    for answer in (read(RESPONSES, body), read_message(RESPONSES, done)):
        assert answer.total().usage == Usage(9, 5, cache_read=4, reasoning=2)
        assert (answer.model, answer.id, answer.complete) == ("m-1", "r1", True)
    failed = {
        "type": "response.failed",
        "response": {"status": "failed", "error": {"code": "invalid_prompt"}},
    }
    assert read(RESPONSES, sse(begun, failed)).error == "invalid_prompt"


def test_anthropic_leaves_cached_tokens_out_of_the_input_and_we_do_not() -> None:
    usage = {"input_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}
    begun = {"id": "m1", "model": "c-1", "usage": {**usage, "output_tokens": 1}}
    body = sse(
        {"type": "message_start", "message": begun},
        {"type": "content_block_delta", "delta": {"text": "w"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 5},
        },
    )
    whole = {**begun, "stop_reason": "end_turn", "usage": {**usage, "output_tokens": 5}}
    for answer in (read(ANTHROPIC, body), read_message(ANTHROPIC, whole)):
        assert answer.total().usage == Usage(9, 5, cache_read=4, cache_creation=3)
        assert (answer.model, answer.id, answer.finish_reasons) == ("c-1", "m1", ["end_turn"])


@pytest.mark.parametrize(
    ("wire", "message", "usage", "seconds", "images"),
    [
        (OPENAI, {"usage": {"total_tokens": 7}}, Usage(7), None, None),
        (OPENAI, {"usage": {"prompt_tokens": 7, "total_tokens": 7}}, Usage(7), None, None),
        (OLLAMA, {"embeddings": [], "prompt_eval_count": 7}, Usage(7), None, None),
        (AUDIO, {"usage": {"type": "duration", "seconds": 9}}, Usage(), 9, None),
        (AUDIO, {"usage": {"type": "tokens", "input_tokens": 3, "output_tokens": 2}}, Usage(3, 2),
         None, None),
        (AUDIO, {"usage": {"prompt_audio_seconds": 4, "prompt_tokens": 3}}, Usage(3), 4, None),
        (AUDIO, {"durationMilliseconds": 2500}, Usage(), 2.5, None),
        (AUDIO, {"metadata": {"duration": 1.5}}, Usage(), 1.5, None),
        (AUDIO, {"duration": float("nan")}, Usage(), None, None),
        (IMAGES, {"data": [{}, {}], "usage": {"input_tokens": 3, "output_tokens": 2}}, Usage(3, 2),
         None, 2),
        (IMAGES, {"images": ["x"]}, Usage(), None, 1),
        (GEMINI, {"predictions": [{}, {}]}, Usage(), None, 2),
        (GEMINI, {"candidates": [{"content": {"parts": [{"inlineData": {}}, {"text": ""}]}}],
                  "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}},
         Usage(3, 2), None, 1),
    ],
)  # fmt: skip
def test_what_is_no_chat(
    wire: Wire, message: Any, usage: Usage, seconds: float | None, images: int | None
) -> None:
    answer = read_message(wire, message)
    assert (answer.total().usage, answer.seconds, answer.images) == (usage, seconds, images)


def test_a_long_body_is_not_parsed_but_its_usage_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "loads", lambda _: pytest.fail("parsed"))
    vectors = b'{"data": [' + b"0.25," * 100_000
    for wire, end in (
        (OPENAI, b'0], "usage": {"prompt_tokens": 9, "total_tokens": 9}}'),
        (OLLAMA, b'0], "prompt_eval_count": 9}'),
    ):
        whole, pieces = BodyReader(wire), BodyReader(wire)
        whole.feed(vectors + end)
        for start in range(0, len(vectors), 9_000):
            pieces.feed(vectors[start : start + 9_000])
        pieces.feed(end)
        assert whole.finish().total().usage == pieces.finish().total().usage == Usage(9)


def test_counts_the_lines_that_carry_a_message() -> None:
    reader = StreamReader(OPENAI)
    reader.feed(sse(text(), text(finish="stop"), {"choices": [], **reported(9, 5)}))
    reader.finish()
    assert reader.chunks == 3


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("more", [{}, {"usage": None}])
def test_quiet_lines_are_not_parsed(
    separators: tuple[str, str], more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, parsed = StreamReader(OPENAI), list[bytes]()
    real = module.loads
    monkeypatch.setattr(module, "loads", lambda body: (parsed.append(body), real(body))[1])
    line = f"data: {json.dumps(text(**more), separators=separators)}\n".encode()
    for _ in range(4):
        reader.feed(line)
    reader.feed(sse({"choices": [], **reported(9, 5)}))
    reader.finish()
    # The first line, and the one that reports.
    assert (reader.chunks, len(parsed)) == (5, 2)


def long_stream(
    wire: Wire, odd: list[tuple[int, bytes]], blank: bytes, told: bool, endings: int = 4
) -> list[bytes]:
    """Lines of a stream, nearly all of which are quiet, with so many different endings."""
    quiet = wire.quiet[:endings]
    start, end = (b"", b"") if wire.in_lines else (b"data: ", blank)
    opening = b'{"content":"%s",' + (b"" if wire.in_lines else b'"choices":[{')
    lines = [
        start + opening % (b"w" * (200 + at % 7)) + quiet[at % len(quiet)] + b"\n" + end
        for at in range(200)
    ]
    for at, line in odd:
        lines.insert(at, line)
    last = [json.dumps(LAST_WORDS[wire]).encode()] if told else []
    return [*lines, *(start + line + b"\n" + end for line in last)]


def all_known(reader: StreamReader) -> tuple[Any, ...]:
    answer = reader.finish()
    said = {field.name: getattr(answer, field.name) for field in fields(answer)}
    return said.pop("reports").total(), said, reader.chunks


LAST_WORDS: dict[Wire, Any] = {
    OPENAI: text(finish="stop", **reported(9, 5)),
    OLLAMA: {"done": True, "prompt_eval_count": 9, "eval_count": 5},
}
ODD_LINES = [
    b": a comment\n",
    b"\n",
    b"data: {",
    b'"usage":{"prompt_tokens":8,"completion_tokens":4},"finish_reason":null}]}\n\n',
    b'data: {"error":{"message":"x"},"choices":[{"finish_reason":null}]}\r\n\r\n',
    b'{"eval_count":3,"done":false}\n{"eval_count":3,"done":false}\n',
    b"event: error\n",
    b'data: {"a":1,\ndata: "b":2}\n\n',
]


class EachByItself(StreamReader):
    """Looks at each line."""

    __slots__ = ()

    def _is_plain(self) -> bool:
        return False


@given(
    st.sampled_from([OPENAI, OLLAMA]),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(ODD_LINES)), max_size=5),
    st.sampled_from([b"", b"\n"]),
    st.booleans(),
    st.integers(1, 4),
    st.one_of(st.integers(1, 60), st.just(1000)),
)
@example(OPENAI, [(0, b"data: {"), (0, b"event: error\n"), (4, b"\n")], b"", False, 4, 1000)
@example(OPENAI, [(2, ODD_LINES[4]), (2, b"\n"), (0, b"data: {")], b"", False, 4, 1000)
@example(OPENAI, [(0, b'data: {"a":1,\n'), (1, b'data: "b":2}\n\n')], b"", False, 4, 1)
@example(OPENAI, [(120, ODD_LINES[3]), (130, b"\n"), (140, b"\n")], b"\n", True, 1, 30)
def test_many_lines_at_once_are_read_as_each_by_itself(
    wire: Wire, odd: list[tuple[int, bytes]], blank: bytes, told: bool, endings: int, many: int
) -> None:
    lines = long_stream(wire, odd, blank, told, endings)
    at_once, alone = StreamReader(wire), EachByItself(wire)
    for at in range(0, len(lines), many):
        at_once.feed(b"".join(lines[at : at + many]))
        at_once._read()
    alone.feed(b"".join(lines))
    assert all_known(at_once) == all_known(alone)


@pytest.mark.parametrize("ending", OPENAI.quiet + OLLAMA.quiet)
def test_quiet_lines_that_end_alike_are_counted_without_a_look_at_each(
    ending: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = OPENAI if ending in OPENAI.quiet else OLLAMA
    reader = StreamReader(wire)
    start = b'{"a":1,' if wire.in_lines else b'data: {"choices":[{'
    lines = [start + ending + b"\n\n"] * 40
    reader.feed(b"".join(lines))
    reader._read()
    monkeypatch.setattr(StreamReader, "_read_lines", lambda *_: pytest.fail("looked at each"))
    reader.feed(b"".join(lines))
    reader._read()
    assert reader.chunks == 80


@pytest.mark.parametrize("said", [b'"error":{"message":"x"}', b'"error": "x"'])
def test_an_error_is_found_among_many_quiet_lines_though_its_own_ends_like_them(
    said: bytes,
) -> None:
    lines = long_stream(OPENAI, [], b"\n", told=False)
    lines.insert(150, b"data: {" + said + b',"choices":[{"finish_reason":null}]}\n\n')
    reader = StreamReader(OPENAI)
    reader.feed(b"".join(lines))
    assert reader.finish().error is not None


def test_a_line_without_end_keeps_memory_bounded_and_its_usage() -> None:
    reader = StreamReader(OPENAI)
    reader.feed(b'data: {"output": "')
    tracemalloc.start()
    for _ in range(200):
        reader.feed(b"x" * 50_000)
    reader.feed(b'", "usage": {"prompt_tokens": 9, "completion_tokens": 5}}\n')
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert reader.finish().total().usage == Usage(9, 5)


def test_a_long_line_in_many_pieces_is_joined_when_its_end_is_there() -> None:
    reader = StreamReader(OPENAI)
    reader.feed(b'data: {"x": "')
    for _ in range(40):
        reader.feed(b"x" * 20_000)
    # Joined at each piece, it would be copied forty times.
    assert len(reader._rest) == 40
    reader.feed(b'", "usage": {"prompt_tokens": 9, "completion_tokens": 5}}\n')
    assert reader.finish().total().usage == Usage(9, 5)


@pytest.mark.parametrize("wire", [OPENAI, OLLAMA, ANTHROPIC, RESPONSES])
def test_memory_stays_the_same_however_long_a_stream_is(wire: Wire) -> None:
    line = (
        b'data: {"type":"content_block_delta.delta","choices":[{"index":0,"delta":'
        b'{"content":"a word"},"finish_reason":null}],"done":false}\n\n'
    )
    reader = StreamReader(wire)
    for _ in range(1_000):
        reader.feed(line)
    tracemalloc.start()
    for _ in range(20_000):
        reader.feed(bytes(bytearray(line)))
    # Other threads may take memory meanwhile.
    ours = [tracemalloc.Filter(True, file) for file in (module.__file__, __file__)]
    traces = tracemalloc.take_snapshot().filter_traces(ours).traces
    tracemalloc.stop()
    assert sum(trace.size for trace in traces) < 20_000
