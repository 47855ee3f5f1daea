"""An answer is read by its own form, whatever was asked for; errors are found whatever their name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.answers.answer import Answer
from opentelemetry.instrumentation.open_webui.answers.stream import reader_of
from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.answers.wires import (
    ANTHROPIC,
    AUDIO,
    GEMINI,
    OLLAMA,
    OPENAI,
    RESPONSES,
    Wire,
)

SSE, JSON, NDJSON = "text/event-stream", "application/json", "application/x-ndjson"
KINDS = [SSE, JSON, NDJSON, "", "application/octet-stream", "text/plain"]
WORDS = [
    {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in "abc"
]
LAST = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USED = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}
CHUNKS = [*WORDS, LAST, USED]
WHOLE = {
    "choices": [{"message": {"content": "abc"}, "finish_reason": "stop"}],
    "usage": USED["usage"],
}
OLLAMAS = [
    {"message": {"content": "abc"}, "done": False},
    {"done": True, "prompt_eval_count": 9, "eval_count": 5},
]
GEMINIS = [
    {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1, "totalTokenCount": 10}},
    {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 14}},
]  # fmt: skip


def sse(messages: list[Any], end: str = "\n", data: str = "data: ") -> bytes:
    texts = [*map(json.dumps, messages), "[DONE]"]
    return "".join(f"{data}{text}{end}{end}" for text in texts).encode()


def in_lines(messages: list[Any]) -> bytes:
    """As an event stream has JSON that is written over several lines."""
    texts = [json.dumps(message, indent=1).splitlines() for message in messages]
    return "".join("".join(f"data: {line}\n" for line in text) + "\n" for text in texts).encode()


FORMS: dict[str, tuple[Wire, bytes]] = {
    "events": (OPENAI, sse(CHUNKS)),
    "events, CRLF": (OPENAI, sse(CHUNKS, "\r\n")),
    "events, lone CR": (OPENAI, sse(CHUNKS, "\r")),
    "events without a space": (OPENAI, sse(CHUNKS, data="data:")),
    "events after the mark of the encoding": (OPENAI, b"\xef\xbb\xbf" + sse(CHUNKS)),
    "events after a blank line": (OPENAI, b"\r\n\n " + sse(CHUNKS)),
    "events with a space before": (OPENAI, sse(CHUNKS, data=" data: ")),
    "events after a comment": (OPENAI, b": hold on\n\nid: 1\n" + sse(CHUNKS)),
    "events over several lines": (OPENAI, in_lines(CHUNKS)),
    "an event that is a whole answer": (OPENAI, sse([WHOLE])),
    "one message": (OPENAI, json.dumps(WHOLE).encode()),
    "one message, over several lines": (OPENAI, json.dumps(WHOLE, indent=2).encode()),
    "one message after the mark": (OPENAI, b"\xef\xbb\xbf \n" + json.dumps(WHOLE).encode()),
    "lines": (OPENAI, "\n".join(map(json.dumps, CHUNKS)).encode()),
    "Ollama's lines": (OLLAMA, "\n".join(map(json.dumps, OLLAMAS)).encode()),
    "Ollama's one message": (OLLAMA, json.dumps({**OLLAMAS[0], **OLLAMAS[1]}).encode()),
    "Gemini's events": (GEMINI, sse(GEMINIS)),
    "Gemini's list": (GEMINI, json.dumps(GEMINIS, indent=1).encode()),
    "a transcription's events": (AUDIO, sse([{"type": "transcript.text.delta", "delta": "abc"}, {"type": "transcript.text.done", "usage": {"input_tokens": 9, "output_tokens": 5}}])),
}  # fmt: skip


def read(wire: Wire, body: bytes, kind: str, streams: bool, sizes: list[int]) -> Answer:
    first = sizes[0] if sizes else len(body)
    reader = reader_of(wire, kind, body[:first], streams)
    for size in sizes:
        reader.feed(body[:size])
        body = body[size:]
    reader.feed(body)
    return reader.finish()


@given(
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(KINDS),
    st.booleans(),
    st.lists(st.integers(12, 60), max_size=20),
)
def test_every_form_is_read_whatever_was_asked_and_whatever_it_says_it_is(
    form: str, kind: str, streams: bool, sizes: list[int]
) -> None:
    wire, body = FORMS[form]
    answer = read(wire, body, kind, streams, sizes)
    usage = answer.total().usage
    assert (usage.input, usage.output) == (9, 5)
    assert answer.error is None


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("form", [form for form in FORMS if FORMS[form][0] is OPENAI])
def test_a_text_is_measured_in_every_form(form: str, streams: bool) -> None:
    body = FORMS[form][1].replace(b'"usage"', b'"unused"')
    answer = read(OPENAI, body, "", streams, [])
    assert answer.text is not None
    assert answer.text.size == 3


ERRORS: dict[str, tuple[Wire, bytes, str]] = {
    "error": (OPENAI, sse([{"error": {"code": 400}}]), "400"),
    "an error that is a text": (OPENAI, sse([{"error": "no"}]), "_OTHER"),
    "an error after some words": (OPENAI, sse([*WORDS, {"error": {"code": "server_error"}}]), "server_error"),
    "an event": (OPENAI, b'event: error\ndata: {"code": 400, "details": "no"}\n\n', "400"),
    "an event with choices": (OPENAI, sse(WORDS)[:-14] + b'event: error\ndata: {"choices": []}\n\n', "_OTHER"),
    "a field": (OPENAI, b'error: {"code": 503, "message": "no"}\n\n', "503"),
    "in the choice": (OPENAI, sse([*WORDS, {"choices": [{"delta": {}, "error": {"code": 502}}]}]), "502"),
    "a reason": (OPENAI, sse([*WORDS, {"choices": [{"delta": {}, "finish_reason": "error"}]}]), "_OTHER"),
    "by a type": (OPENAI, sse([{"choices": None, "error_type": "server_error", "error_message": "no"}]), "server_error"),
    "a detail": (OPENAI, sse([{"detail": "no"}]), "_OTHER"),
    "details of a form": (OPENAI, b'{"detail": [{"loc": ["body"]}]}', "_OTHER"),
    "an object": (OPENAI, sse([{"object": "error", "message": "no", "code": 400}]), "400"),
    "a base": (OPENAI, sse([{"choices": None, "base_resp": {"status_code": 1004}}]), "_OTHER"),
    "a message alone": (OPENAI, b'{"message": "Internal server error"}', "_OTHER"),
    "of Responses": (RESPONSES, sse([{"type": "error", "code": "server_error"}]), "server_error"),
    "of Responses, failed": (RESPONSES, sse([{"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error"}}}]), "server_error"),
    "of Anthropic": (ANTHROPIC, sse([{"type": "error", "error": {"type": "overloaded_error"}}]), "overloaded_error"),
    "of Ollama": (OLLAMA, b'{"message": {"content": "a"}, "done": false}\n{"error": "no"}\n', "_OTHER"),
    "of Gemini": (GEMINI, b'[{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]', "429"),
}  # fmt: skip


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(("wire", "body", "error"), ERRORS.values(), ids=ERRORS)
def test_errors_inside_a_200_by_whatever_name(
    wire: Wire, body: bytes, error: str, streams: bool
) -> None:
    assert read(wire, body, "", streams, []).error == error


@pytest.mark.parametrize(
    "message",
    [
        {"choices": [{"delta": {"content": "a"}}], "base_resp": {"status_code": 0}},
        {"choices": [{"delta": {"content": "a"}, "error": None}], "error": None, "detail": None},
        {"data": [{"embedding": [1]}], "message": "success", "code": 0},
        {"code": 200, "message": "success"},
        {"text": "detail", "detail": "more of it"},
        {"results": [], "data": [1], "msg": "ok"},
        {"id": "x", "object": "chat.completion.chunk"},
    ],
)
def test_what_is_no_error(message: dict[str, Any]) -> None:
    assert read(OPENAI, sse([message]), "", True, []).error is None


@pytest.mark.parametrize("place", [("choices", 0), ("x_groq",)])
def test_usage_elsewhere(place: tuple[Any, ...]) -> None:
    usage = {"usage": {"prompt_tokens": 9, "completion_tokens": 5}}
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunk = (
        {"choices": [{**choice, **usage}]}
        if place[0] == "choices"
        else {"choices": [choice], "x_groq": usage}
    )
    assert read(OPENAI, sse([*WORDS, chunk]), SSE, True, []).total().usage == Usage(9, 5)


def test_timings_beside_the_usage_know_the_cache() -> None:
    timings = {"prompt_n": 5, "cache_n": 4, "predicted_n": 5}
    body = sse([*WORDS, {**USED, "timings": timings}])
    assert read(OPENAI, body, SSE, True, []).total().usage == Usage(9, 5, cache_read=4)


@pytest.mark.parametrize("size", [100_000, 400_000])
def test_usage_before_the_data_of_a_long_answer(size: int) -> None:
    head = b'{"model":"m","usage":{"prompt_tokens":9,"total_tokens":9},"data":['
    body = head + b"0.25," * (size // 5) + b"0]}"
    reader = reader_of(OPENAI, JSON, body[:1000], False)
    for start in range(0, len(body), 1000):
        reader.feed(body[start : start + 1000])
    assert reader.finish().total().usage == Usage(9)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # Of the cache only the parts are said.
        ([{"input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20}}, {"output_tokens": 3}], Usage(55, 3, None, 50)),
        # A gateway says 0 input, or the input again without the cache, beside the output.
        ([{"input_tokens": 1500, "cache_read_input_tokens": 300}, {"input_tokens": 0, "output_tokens": 42}], Usage(1800, 42, 300)),
        ([{"input_tokens": 1500, "cache_read_input_tokens": 300}, {"input_tokens": 1500, "output_tokens": 42}], Usage(1800, 42, 300)),
        ([{"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 1500, "output_tokens": 42}], Usage(1500, 42)),
        ([{"input_tokens": 7}, {"output_tokens": 3}, {"output_tokens": 9}], Usage(7, 9)),
    ],
)  # fmt: skip
def test_a_0_erases_nothing_and_gives_way(events: list[dict[str, int]], expected: Usage) -> None:
    first, *later = events
    messages = [
        {"type": "message_start", "message": {"usage": first}},
        *({"type": "message_delta", "delta": {}, "usage": one} for one in later),
    ]
    assert read(ANTHROPIC, sse(messages), SSE, True, []).total().usage == expected
