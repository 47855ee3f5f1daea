"""Replies in text: completions, the Responses API, Anthropic's Messages, Ollama's `generate`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from harness.replies import (
    JSON,
    MODELS,
    NDJSON,
    SSE,
    Piece,
    Prompt,
    Reply,
    Tokens,
    compact,
    count_tokens,
    gpt_nousage,
    gpt_std,
    ollama_end,
    ollama_time,
    openai_usage,
    response_model,
    sse,
    streamed,
    words_of,
)
from harness.replies_common import (
    CRASH,
    behaves,
    behaving,
    json_reply,
    plain_tokens_of,
    text_of,
    tokens_of,
)


def event(value: dict[str, Any]) -> bytes:
    """One server-sent event with its name."""
    return b"event: " + str(value["type"]).encode() + b"\n" + sse(value)


# --- chat completions of any model ----------------------------------------------------------------


def chat(prompt: Prompt) -> Reply:
    """A chat completion: of a listed model as listed, of any other by the end of its name."""
    model = MODELS.get(prompt.model)
    if model is not None and model.wire == "openai":
        return model.reply(prompt)
    return behaving(prompt, gpt_nousage if behaves(prompt, "-nousage", "-rejects") else gpt_std)


# --- completions ----------------------------------------------------------------------------------


def completion_object(
    prompt: Prompt, text: str | None, finish: str | None = None, **extra: object
) -> dict[str, Any]:
    """A `text_completion`, whole or a chunk; without text its `choices` are empty."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    return {
        "id": f"cmpl-{prompt.id}",
        "object": "text_completion",
        "created": prompt.created,
        "model": response_model(prompt),
        "choices": [] if text is None else [choice],
        **extra,
    }


def completion(prompt: Prompt) -> Reply:
    """A text completion: usage at the end of a stream when asked, always in a whole answer."""
    return behaving(prompt, completion_answer)


def completion_answer(prompt: Prompt) -> Reply:
    """A text completion of a model that works."""
    text = text_of(prompt)
    tokens = tokens_of(prompt, text)
    if not prompt.stream:
        usage = {} if tokens is None else {"usage": openai_usage(tokens)}
        return json_reply(completion_object(prompt, text, "stop", **usage), tokens)
    asked = prompt.asked_usage and tokens is not None
    extra = {"usage": None} if asked else {}
    chunks = [*((word, None) for word in words_of(text)), ("", "stop")]
    pieces = [Piece(sse(completion_object(prompt, *chunk, **extra))) for chunk in chunks]
    if asked and tokens is not None:
        end = completion_object(prompt, None, usage=openai_usage(tokens))
        pieces.append(Piece(sse(end), tokens))
    return streamed(pieces)


# --- the Responses API ----------------------------------------------------------------------------


def responses_usage(tokens: Tokens) -> dict[str, Any]:
    """The `usage` of a response."""
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cached or 0},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning or 0},
        "total_tokens": tokens.input + tokens.output,
    }


def response_object(
    prompt: Prompt, status: str, output: list[dict[str, Any]], tokens: Tokens | None
) -> dict[str, Any]:
    """A `response`, finished or not."""
    return {
        "id": f"resp_{prompt.id}",
        "object": "response",
        "created_at": prompt.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": response_model(prompt),
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None if tokens is None else responses_usage(tokens),
        "user": None,
        "metadata": {},
    }


def text_part(text: str) -> dict[str, Any]:
    """The content of a response's message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def response_item(prompt: Prompt, status: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """The message of a response."""
    return {
        "id": f"msg_{prompt.id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(parts),
    }


def response(prompt: Prompt) -> Reply:
    """An answer of the Responses API; its stream always tells usage, inside the last event."""
    # The error of this API has its fields beside its type.
    return behaving(prompt, response_answer, event({**CRASH, "type": "error"}))


def response_answer(prompt: Prompt) -> Reply:
    """A response of a model that works."""
    text = text_of(prompt)
    tokens = tokens_of(prompt, text)
    item = response_item(prompt, "completed", text_part(text))
    whole = response_object(prompt, "completed", [item], tokens)
    if not prompt.stream:
        return json_reply(whole, tokens)
    number = count()
    pieces = [
        Piece(event({**step, "sequence_number": next(number)}))
        for step in response_steps(prompt, text, item)
    ]
    last = {"type": "response.completed", "response": whole, "sequence_number": next(number)}
    return Reply(200, SSE, (*pieces, Piece(event(last), tokens)))


def response_steps(prompt: Prompt, text: str, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a stream but its last one."""
    begun = response_object(prompt, "in_progress", [], None)
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    empty = response_item(prompt, "in_progress")
    yield {"type": "response.output_item.added", "output_index": 0, "item": empty}
    yield {"type": "response.content_part.added", **at, "part": text_part("")}
    for word in words_of(text):
        yield {"type": "response.output_text.delta", **at, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": text, "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": text_part(text)}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}


# --- Anthropic's Messages -------------------------------------------------------------------------


def message_parts(tokens: Tokens) -> dict[str, int]:
    """The input as Anthropic splits it: `input_tokens` leave out all that has to do with a cache."""
    read, created = tokens.cached or 0, tokens.input // 5
    return {
        "input_tokens": tokens.input - read - created,
        "cache_creation_input_tokens": created,
        "cache_read_input_tokens": read,
    }


def message_object(prompt: Prompt, text: str | None, usage: dict[str, int]) -> dict[str, Any]:
    """A message, whole or just begun."""
    return {
        "id": f"msg_{prompt.id}",
        "type": "message",
        "role": "assistant",
        "model": response_model(prompt),
        "content": [] if text is None else [{"type": "text", "text": text}],
        "stop_reason": None if text is None else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


def message(prompt: Prompt) -> Reply:
    """An answer of the Messages API; its stream tells the input first and the output last."""
    error = {"type": "api_error", "message": CRASH["message"]}
    return behaving(prompt, message_answer, event({"type": "error", "error": error}))


def message_answer(prompt: Prompt) -> Reply:
    """A message of a model that works; usage is part of every message."""
    text = text_of(prompt)
    # The API does not say how much of its output was reasoning.
    told = replace(count_tokens(prompt, text), reasoning=None)
    parts = message_parts(told)
    if not prompt.stream:
        whole = message_object(prompt, text, {**parts, "output_tokens": told.output})
        return json_reply(whole, told, cache_creation_tokens=parts["cache_creation_input_tokens"])
    return Reply(200, SSE, tuple(message_pieces(prompt, text, told, parts)))


def message_pieces(
    prompt: Prompt, text: str, told: Tokens, parts: dict[str, int]
) -> Iterator[Piece]:
    """The events of a stream."""
    begun = message_object(prompt, None, {**parts, "output_tokens": 1})
    yield Piece(
        event({"type": "message_start", "message": begun}),
        replace(told, output=1),
        facts={"cache_creation_tokens": parts["cache_creation_input_tokens"]},
    )
    block = {"type": "text", "text": ""}
    yield Piece(event({"type": "content_block_start", "index": 0, "content_block": block}))
    yield Piece(event({"type": "ping"}))
    for word in words_of(text):
        delta = {"type": "text_delta", "text": word}
        yield Piece(event({"type": "content_block_delta", "index": 0, "delta": delta}))
    yield Piece(event({"type": "content_block_stop", "index": 0}))
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": told.output},
    }
    yield Piece(event(end), told)
    yield Piece(event({"type": "message_stop"}))


def counted(prompt: Prompt) -> Reply:
    """The answer of `count_tokens`."""
    return json_reply({"input_tokens": count_tokens(prompt, "").input})


# --- Ollama's generate ----------------------------------------------------------------------------


def generated_line(prompt: Prompt, text: str, **extra: object) -> dict[str, Any]:
    """One line of an answer."""
    head = {"model": prompt.model, "created_at": ollama_time(prompt), "response": text}
    return {**head, "done": False, **extra}


def is_unload(prompt: Prompt) -> bool:
    """Whether a request only makes Ollama free a model's memory."""
    return prompt.body.get("keep_alive") == 0 and not prompt.body.get("prompt")


def generated(prompt: Prompt) -> Reply:
    """An answer of `/api/generate`; counts in the last line."""
    if is_unload(prompt):
        return json_reply(generated_line(prompt, "", done=True, done_reason="unload"))
    error = "an error was encountered while running the model: CUDA error"
    return behaving(prompt, generated_answer, compact({"error": error}) + b"\n")


def generated_answer(prompt: Prompt) -> Reply:
    """An answer of a model that works."""
    text = text_of(prompt)
    tokens = plain_tokens_of(prompt, text)
    end = {**ollama_end(tokens), "context": [1, 2, 3]}
    if not prompt.stream:
        return Reply(200, JSON, (Piece(compact(generated_line(prompt, text, **end)), tokens),))
    lines = [Piece(compact(generated_line(prompt, word)) + b"\n") for word in words_of(text)]
    last = Piece(compact(generated_line(prompt, "", **end)) + b"\n", tokens)
    return Reply(200, NDJSON, (*lines, last))
