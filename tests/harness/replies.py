"""What the stand-in provider answers: one reply for each model behaviour, as plain data.

A reply is built before a byte of it is sent, so every behaviour can be read and tested without a
server. `MODELS` is the table of all of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Wire = Literal["openai", "ollama"]

JSON = "application/json"
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
TEXT = "text/plain; charset=utf-8"

EPOCH = 1_760_000_000
PACE = 0.002
SLOW_CHUNKS = 60
SLOW_PACE = 0.2
SLOW_WHOLE = 4.0
SPLIT_BYTES = 7
MAX_INPUT_WORDS = 20_000

# The beginnings of Open WebUI's default prompt templates, older wordings included.
TASK_MARKS: tuple[tuple[str, str], ...] = (
    ("Generate a concise title", "title_generation"),
    ("Generate a concise, 3-5 word title", "title_generation"),
    ("Generate 1-3 broad tags", "tags_generation"),
    ("Generate a detailed prompt for am image generation", "image_prompt_generation"),
    ("Predict 3-5 useful messages", "follow_up_generation"),
    ("Suggest 3-5 relevant follow-up", "follow_up_generation"),
    ("Analyze the chat history to determine the necessity of generating", "query_generation"),
    ("You are an autocompletion system", "autocomplete_generation"),
    ("Your task is to reflect the speaker's likely facial expression", "emoji_generation"),
    (
        "You have been provided with a set of responses from various models",
        "moa_response_generation",
    ),
    ("Summarize the conversation history that will be compacted", "context_compaction"),
    ("Available Tools: ", "function_calling"),
    ("You are Open WebUI's private memory reviewer", "memory_review"),
)
TASK_MARK_WITHIN = 200

# How a user message names the tool to call: `tool=timer {"prompt": "…", "at": "1s"}`.
TOOL_MARK = re.compile(r"tool=(\w+)(?: (\{[^{}]*\}))?")

TASK_ANSWERS: dict[str, str] = {
    "title_generation": '{"title": "Stand-in Title"}',
    "tags_generation": '{"tags": ["science", "testing"]}',
    "follow_up_generation": '{"follow_ups": ["What else is known?", "How was it measured?"]}',
    "query_generation": '{"queries": []}',
    "image_prompt_generation": '{"prompt": "a lighthouse at dusk, oil on canvas"}',
    "autocomplete_generation": '{"text": "and so on"}',
    "emoji_generation": "😊",
    "memory_review": '{"operations": [{"action": "add", "content": "The tests are thorough."}]}',
}

WORDS = (
    "quiet river counts seven tokens while amber lanterns drift beyond marble gardens and every "
    "careful reader notes which model spoke first under winter light"
)
VOCABULARY = tuple(WORDS.split(" "))


@dataclass(frozen=True)
class Tokens:
    """What a client knows about usage once certain bytes have reached it."""

    input: int
    output: int
    cached: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True)
class Piece:
    """Bytes sent in one write, after a pause."""

    data: bytes
    told: Tokens | None = None
    pause: float = PACE
    facts: Mapping[str, float] = field(default_factory=dict)
    """What else these bytes tell, by the names of a `ServedCall`."""


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    content_type: str
    pieces: tuple[Piece, ...]
    cut: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Bytes of the whole answer."""
        return sum(len(piece.data) for piece in self.pieces)


@dataclass(frozen=True)
class Prompt:
    """A request, read: everything a reply is made from."""

    wire: Wire
    model: str
    body: dict[str, Any]
    raw: bytes
    task: str
    case: str
    seed: int
    number: int

    @property
    def stream(self) -> bool:
        """Whether the answer is streamed; Ollama does so unless told otherwise."""
        return bool(self.body.get("stream", self.wire == "ollama"))

    @property
    def asked_usage(self) -> bool:
        """Whether the client asked for usage in the stream."""
        options = self.body.get("stream_options")
        return isinstance(options, dict) and bool(options.get("include_usage"))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the request."""
        messages = self.body.get("messages")
        return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []

    @property
    def id(self) -> str:
        """An id that is the same for the same request and number."""
        return hashlib.sha256(f"{self.seed}-{self.number}".encode()).hexdigest()[:24]

    @property
    def created(self) -> int:
        """A moment derived from the request rather than from the clock."""
        return EPOCH + self.seed % 10_000_000


def read_prompt(wire: Wire, raw: bytes, number: int) -> Prompt:
    """Read a request body; `number` sets two equal requests apart (0 for none)."""
    body = parse_object(raw)
    digest = hashlib.sha256(meant_text(body).encode("utf-8", "surrogatepass")).digest()
    return Prompt(
        wire=wire,
        model=str(body.get("model", "")),
        body=body,
        raw=raw,
        task=guess_task(body),
        case=find_case(raw),
        seed=int.from_bytes(digest[:6], "big") + number,
        number=number,
    )


def meant_text(body: dict[str, Any]) -> str:
    """A request as text without its wish for usage.

    Asking for usage changes what is told at the end of a stream, and nothing else of it.
    """
    meant = {name: value for name, value in body.items() if name != "stream_options"}
    return json.dumps(meant, sort_keys=True, ensure_ascii=False)


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`, or an empty one."""
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def find_case(raw: bytes) -> str:
    """The newest `case=…` mark in a request; later messages overrule the history."""
    marks = re.findall(r"case=([\w.-]+)", raw.decode("utf-8", "replace"))
    return marks[-1].rstrip(".-") if marks else ""


def guess_task(body: dict[str, Any]) -> str:
    """Open WebUI's task, told from the wording of its default prompts alone."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else []:
        start = message_text(message)[:TASK_MARK_WITHIN]
        for mark, task in TASK_MARKS:
            if mark in start:
                return task
    return "chat"


def message_text(message: object) -> str:
    """The text of one message, whichever of the two shapes it has."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def answer_text(prompt: Prompt) -> str:
    """The answer: what Open WebUI expects of a task, else some words that vary by request."""
    if prompt.task == "function_calling":
        return chosen_tool(prompt)
    if prompt.task in TASK_ANSWERS:
        return TASK_ANSWERS[prompt.task]
    count = 8 + prompt.seed % 23
    start = prompt.seed % len(VOCABULARY)
    words = [VOCABULARY[(start + index) % len(VOCABULARY)] for index in range(count)]
    return " ".join([f"[{prompt.case or 'no case'}]", *words])


def chosen_tool(prompt: Prompt) -> str:
    """The first tool that a prompt offers, called with its case for every parameter."""
    [name, *_] = re.findall(r'Available Tools: \[\{"name":\s*"(\w+)"', said_by_system(prompt)) or [
        ""
    ]
    call = {"name": name, "parameters": {"case": prompt.case}}
    return json.dumps({"tool_calls": [call] if name else []})


def said_by_system(prompt: Prompt) -> str:
    """The text of the system message."""
    return str(next((m["content"] for m in prompt.messages if m.get("role") == "system"), ""))


def count_tokens(prompt: Prompt, text: str) -> Tokens:
    """Made-up counts that tell calls apart: they vary with the words and with the request."""
    words = len(re.findall(r"\w+", meant_text(prompt.body)))
    tokens_in = 10 + min(words, MAX_INPUT_WORDS) + prompt.seed * 7 % 97
    tokens_out = 5 + len(text.split()) + prompt.seed * 11 % 53
    return Tokens(tokens_in, tokens_out, cached=tokens_in // 3, reasoning=tokens_out // 4)


def words_of(text: str) -> list[str]:
    """`text` in small increments that join to it again."""
    return re.findall(r"\S+\s*", text)


def compact(value: object) -> bytes:
    """JSON the way providers write it: without spaces, and escapes only of half characters."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


# --- OpenAI ---------------------------------------------------------------------------------------


def openai_usage(tokens: Tokens) -> dict[str, Any]:
    """The `usage` object; details only where they are known."""
    usage: dict[str, Any] = {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
    }
    if tokens.cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": tokens.cached, "audio_tokens": 0}
    if tokens.reasoning is not None:
        usage["completion_tokens_details"] = {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    return usage


def response_model(prompt: Prompt) -> str:
    """The dated name a provider answers with when asked for the short one."""
    return f"{prompt.model}-2025-08-07"


def openai_chunk(
    prompt: Prompt, delta: dict[str, Any] | None, finish: str | None = None, **extra: object
) -> dict[str, Any]:
    """One `chat.completion.chunk`; without a delta its `choices` are empty."""
    choices = [] if delta is None else [openai_choice(delta, finish)]
    return {
        "id": f"chatcmpl-{prompt.id}",
        "object": "chat.completion.chunk",
        "created": prompt.created,
        "model": response_model(prompt),
        "service_tier": "default",
        "system_fingerprint": "fp_standin",
        "choices": choices,
        **extra,
    }


def openai_choice(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    """The only choice of a chunk."""
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def sse(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + (value if isinstance(value, bytes) else compact(value)) + b"\n\n"


DONE = sse(b"[DONE]")


def deltas_of(prompt: Prompt, text: str) -> list[tuple[dict[str, Any], str | None]]:
    """The deltas of an answer with their finish reasons."""
    first: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    return [
        (first, None),
        *(({"content": word}, None) for word in words_of(text)),
        ({}, "stop"),
    ]


def openai_json(prompt: Prompt, message: dict[str, Any], finish: str, **extra: object) -> bytes:
    """A whole `chat.completion`."""
    return compact(
        {
            "id": f"chatcmpl-{prompt.id}",
            "object": "chat.completion",
            "created": prompt.created,
            "model": response_model(prompt),
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            ],
            "service_tier": "default",
            "system_fingerprint": "fp_standin",
            **extra,
        }
    )


def text_message(text: str) -> dict[str, Any]:
    """An assistant's message."""
    return {"role": "assistant", "content": text, "refusal": None, "annotations": []}


def whole(prompt: Prompt, tokens: Tokens | None) -> Reply:
    """An unstreamed answer, with usage if there is any to tell."""
    extra = {} if tokens is None else {"usage": openai_usage(tokens)}
    data = openai_json(prompt, text_message(answer_text(prompt)), "stop", **extra)
    return Reply(200, JSON, (Piece(data, tokens),))


def streamed(pieces: Sequence[Piece]) -> Reply:
    """A finished event stream."""
    return Reply(200, SSE, (*pieces, Piece(DONE)))


def usage_at_end(prompt: Prompt, tokens: Tokens) -> list[Piece]:
    """The chunk without choices that a stream ends with when usage was asked for."""
    if not prompt.asked_usage:
        return []
    return [Piece(sse(openai_chunk(prompt, None, usage=openai_usage(tokens))), tokens)]


def standard_pieces(
    prompt: Prompt, deltas: Sequence[tuple[dict[str, Any], str | None]]
) -> list[Piece]:
    """Chunks without usage: the field is null once it was asked for, else absent."""
    extra = {"usage": None} if prompt.asked_usage else {}
    return [Piece(sse(openai_chunk(prompt, *delta, **extra))) for delta in deltas]


def gpt_std(prompt: Prompt) -> Reply:
    """Like OpenAI: usage at the end of a stream when asked, always in a whole answer."""
    text = answer_text(prompt)
    tokens = count_tokens(prompt, text)
    if not prompt.stream:
        return whole(prompt, tokens)
    pieces = standard_pieces(prompt, deltas_of(prompt, text))
    return streamed([*pieces, *usage_at_end(prompt, tokens)])


def plain_counts(prompt: Prompt) -> Tokens:
    """Counts without details."""
    return replace(count_tokens(prompt, answer_text(prompt)), cached=None, reasoning=None)


def shares(total: int, parts: int) -> list[int]:
    """`total` in uneven parts, so that neither the largest nor the last one is the sum."""
    even = [total // parts] * parts
    even[parts // 2] += total - sum(even)
    return even


def running(prompt: Prompt, parts: int) -> list[Tokens]:
    """Cumulative counts over `parts` chunks."""
    tokens = plain_counts(prompt)
    steps = shares(tokens.output, parts)
    return [replace(tokens, output=sum(steps[: index + 1])) for index in range(parts)]


def charge(tokens: Tokens) -> float:
    """What some providers say that an answer cost: a sum that no price list has."""
    return round(tokens.input * 3e-6 + tokens.output * 7e-6 + 1e-4, 9)


def router_std(prompt: Prompt) -> Reply:
    """Like OpenRouter: the usage says what was charged."""
    text = answer_text(prompt)
    tokens = count_tokens(prompt, text)
    charged = charge(tokens)
    usage = {**openai_usage(tokens), "cost": charged, "is_byok": False}
    facts = {"charged": charged}
    if not prompt.stream:
        data = openai_json(prompt, text_message(text), "stop", usage=usage)
        return Reply(200, JSON, (Piece(data, tokens, facts=facts),))
    end = Piece(sse(openai_chunk(prompt, None, usage=usage)), tokens, facts=facts)
    pieces = standard_pieces(prompt, deltas_of(prompt, text))
    return streamed([*pieces, *([end] if prompt.asked_usage else [])])


def litellm_std(prompt: Prompt) -> Reply:
    """Like LiteLLM's proxy: the head of a whole answer says what was charged."""
    reply = gpt_std(prompt)
    if prompt.stream:
        return reply
    charged = charge(count_tokens(prompt, answer_text(prompt)))
    pieces = tuple(replace(piece, facts={"charged": charged}) for piece in reply.pieces)
    return replace(reply, pieces=pieces, headers={"x-litellm-response-cost": str(charged)})


def gpt_cumulative(prompt: Prompt) -> Reply:
    """Usage so far in every chunk, unasked too."""
    if not prompt.stream:
        return whole(prompt, plain_counts(prompt))
    deltas = deltas_of(prompt, answer_text(prompt))
    known = running(prompt, len(deltas))
    return streamed(
        [
            Piece(sse(openai_chunk(prompt, *delta, usage=openai_usage(so_far))), so_far)
            for delta, so_far in zip(deltas, known, strict=True)
        ]
    )


def gpt_delta_usage(prompt: Prompt) -> Reply:
    """Each chunk carries the usage of its own increment, the input in the first one only."""
    if not prompt.stream:
        return whole(prompt, plain_counts(prompt))
    deltas = deltas_of(prompt, answer_text(prompt))
    steps = shares(plain_counts(prompt).output, len(deltas))
    pieces = []
    for index, (delta, known) in enumerate(zip(deltas, running(prompt, len(deltas)), strict=True)):
        own = Tokens(0 if index else known.input, steps[index])
        pieces.append(Piece(sse(openai_chunk(prompt, *delta, usage=openai_usage(own))), known))
    return streamed(pieces)


def gpt_some(prompt: Prompt) -> Reply:
    """Cumulative usage in every third chunk and in the last one with content."""
    if not prompt.stream:
        return whole(prompt, plain_counts(prompt))
    deltas = deltas_of(prompt, answer_text(prompt))
    # The finishing chunk has no content: all tokens are known one chunk earlier.
    known = running(prompt, len(deltas) - 1)
    pieces = []
    for index, delta in enumerate(deltas):
        tells = index < len(known) and (index % 3 == 1 or index == len(known) - 1)
        extra: dict[str, Any] = {"usage": openai_usage(known[index])} if tells else {}
        told = known[index] if tells else None
        pieces.append(Piece(sse(openai_chunk(prompt, *delta, **extra)), told))
    return streamed(pieces)


def gpt_nousage(prompt: Prompt) -> Reply:
    """Never a word about usage."""
    if not prompt.stream:
        return whole(prompt, None)
    deltas = deltas_of(prompt, answer_text(prompt))
    return streamed([Piece(sse(openai_chunk(prompt, *delta))) for delta in deltas])


def openai_error(
    status: int, message: str, kind: str, param: str | None = None, code: str | None = None
) -> Reply:
    """An error with OpenAI's JSON body."""
    return Reply(status, JSON, (Piece(compact({"error": error_body(message, kind, param, code)})),))


def error_body(
    message: str, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"message": message, "type": kind, "param": param, "code": code}


def gpt_rejects(prompt: Prompt) -> Reply:
    """Refuses a request with `stream_options`."""
    if "stream_options" not in prompt.body:
        return gpt_nousage(prompt)
    message = "Unrecognized request argument supplied: stream_options"
    return openai_error(400, message, "invalid_request_error", "stream_options")


def gpt_429(prompt: Prompt) -> Reply:
    """Over the rate limit."""
    message = f"Rate limit reached for {prompt.model}"
    reply = openai_error(429, message, "requests", code="rate_limit_exceeded")
    return replace(reply, headers={"Retry-After": "1"})


def gpt_500(prompt: Prompt) -> Reply:
    """A server error with a JSON body."""
    return openai_error(500, "The server had an error", "server_error")


def gpt_500_text(prompt: Prompt) -> Reply:
    """A server error as a proxy writes it."""
    return Reply(500, TEXT, (Piece(b"upstream connect error or disconnect/reset before headers"),))


def gpt_sse_error(prompt: Prompt) -> Reply:
    """Status 200, a few chunks, then an error in the stream; unstreamed, an error body."""
    error = {"error": error_body("The model crashed", "server_error", code="server_error")}
    if not prompt.stream:
        return Reply(200, JSON, (Piece(compact(error)),))
    deltas = deltas_of(prompt, answer_text(prompt))[:4]
    return Reply(200, SSE, (*standard_pieces(prompt, deltas), Piece(sse(error))))


def gpt_cut(prompt: Prompt) -> Reply:
    """Drops the connection in the middle of the answer."""
    reply = gpt_std(prompt)
    if prompt.stream:
        return replace(reply, pieces=reply.pieces[:4], cut=True)
    data = reply.pieces[0].data
    return replace(reply, pieces=(Piece(data[: len(data) // 2]),), cut=True)


def gpt_slow(prompt: Prompt) -> Reply:
    """About twelve seconds of stream; a whole answer comes after a few seconds."""
    if not prompt.stream:
        reply = gpt_std(prompt)
        return replace(reply, pieces=(replace(reply.pieces[0], pause=SLOW_WHOLE),))
    text = " ".join(f"slow{index}" for index in range(SLOW_CHUNKS))
    pieces = standard_pieces(prompt, deltas_of(prompt, text))
    slowed = [replace(piece, pause=SLOW_PACE) for piece in pieces]
    return streamed([*slowed, *usage_at_end(prompt, count_tokens(prompt, text))])


def tool_to_call(prompt: Prompt) -> dict[str, Any] | None:
    """The tool that a mark names, else the first one on offer; none once a tool has answered."""
    tools = prompt.body.get("tools")
    if not isinstance(tools, list) or not tools:
        return None
    if any(message.get("role") == "tool" for message in prompt.messages):
        return None
    functions = [tool.get("function", {}) for tool in tools]
    mark = tool_mark(prompt)
    named = [f for f in functions if mark is not None and f.get("name") == mark[1]]
    function = (named or functions)[0]
    return function if isinstance(function, dict) else None


def tool_mark(prompt: Prompt) -> re.Match[str] | None:
    """The tool that the newest user message asks for, with its arguments if it has any."""
    texts = [message_text(m) for m in prompt.messages if m.get("role") == "user"]
    return TOOL_MARK.search(texts[-1]) if texts else None


def tool_arguments(prompt: Prompt, function: dict[str, Any]) -> str:
    """Those of a mark, else the case in each string parameter that must be given."""
    mark = tool_mark(prompt)
    if mark is not None and mark[1] == function.get("name") and mark[2]:
        return mark[2]
    schema = function.get("parameters") or {}
    properties = schema.get("properties") or {}
    required = [
        name
        for name in schema.get("required") or []
        if properties.get(name, {}).get("type") == "string"
    ]
    return json.dumps(dict.fromkeys(required, prompt.case or "none"))


def tool_call(prompt: Prompt, function: dict[str, Any]) -> dict[str, Any]:
    """The call of one tool."""
    return {
        "id": f"call_{prompt.id}",
        "type": "function",
        "function": {
            "name": str(function.get("name", "")),
            "arguments": tool_arguments(prompt, function),
        },
    }


def tool_deltas(call: dict[str, Any]) -> list[tuple[dict[str, Any], str | None]]:
    """A tool call in increments: first its name, then its arguments in two halves."""
    arguments = call["function"]["arguments"]
    half = len(arguments) // 2
    opening = {**call, "index": 0, "function": {**call["function"], "arguments": ""}}
    parts = [
        {"index": 0, "function": {"arguments": part}}
        for part in (arguments[:half], arguments[half:])
    ]
    first = {"role": "assistant", "content": None, "tool_calls": [opening]}
    return [(first, None), *(({"tool_calls": [part]}, None) for part in parts), ({}, "tool_calls")]


def gpt_tools(prompt: Prompt) -> Reply:
    """Calls the first tool on offer, and answers normally once it has the result."""
    function = tool_to_call(prompt)
    if function is None:
        return gpt_std(prompt)
    call = tool_call(prompt, function)
    tokens = count_tokens(prompt, call["function"]["arguments"])
    if prompt.stream:
        pieces = standard_pieces(prompt, tool_deltas(call))
        return streamed([*pieces, *usage_at_end(prompt, tokens)])
    message = {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None}
    data = openai_json(prompt, message, "tool_calls", usage=openai_usage(tokens))
    return Reply(200, JSON, (Piece(data, tokens),))


def llamacpp_timings(tokens: Tokens) -> dict[str, Any]:
    """llama.cpp's `timings`: `prompt_n` leaves out what came from the cache."""
    cached = tokens.cached or 0
    prompt_n, prompt_ms, predicted_ms = tokens.input - cached, 41.5, 730.25
    return {
        "cache_n": cached,
        "prompt_n": prompt_n,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": prompt_ms / max(prompt_n, 1),
        "prompt_per_second": prompt_n * 1000 / prompt_ms,
        "predicted_n": tokens.output,
        "predicted_ms": predicted_ms,
        "predicted_per_token_ms": predicted_ms / max(tokens.output, 1),
        "predicted_per_second": tokens.output * 1000 / predicted_ms,
    }


def gpt_llamacpp(prompt: Prompt) -> Reply:
    """llama.cpp: counts only in the `timings` of the last chunk."""
    text = answer_text(prompt)
    tokens = replace(count_tokens(prompt, text), reasoning=None)
    timings = llamacpp_timings(tokens)
    if not prompt.stream:
        data = openai_json(prompt, text_message(text), "stop", timings=timings)
        return Reply(200, JSON, (Piece(data, tokens),))
    *deltas, last = deltas_of(prompt, text)
    pieces = [Piece(sse(openai_chunk(prompt, *delta))) for delta in deltas]
    return streamed([*pieces, Piece(sse(openai_chunk(prompt, *last, timings=timings)), tokens)])


def split_piece(piece: Piece) -> list[Piece]:
    """A piece in small fragments; what it tells is told by the last of them."""
    size = SPLIT_BYTES
    parts = [piece.data[start : start + size] for start in range(0, len(piece.data), size)]
    fragments = [Piece(part, pause=0.0) for part in parts]
    fragments[-1] = replace(fragments[-1], told=piece.told, facts=piece.facts)
    # A pause now and then makes the client read pieces that end within an event.
    fragments[len(fragments) // 2] = replace(fragments[len(fragments) // 2], pause=piece.pause)
    return fragments


def gpt_split(prompt: Prompt) -> Reply:
    """Like gpt-std, written a few bytes at a time."""
    reply = gpt_std(prompt)
    if not prompt.stream:
        return reply
    return replace(
        reply, pieces=tuple(part for piece in reply.pieces for part in split_piece(piece))
    )


def gpt_crlf(prompt: Prompt) -> Reply:
    """Like gpt-std with CRLF at the ends of lines."""
    reply = gpt_std(prompt)
    if not prompt.stream:
        return reply
    return replace(
        reply,
        pieces=tuple(
            replace(piece, data=piece.data.replace(b"\n", b"\r\n")) for piece in reply.pieces
        ),
    )


# --- answers that nobody should believe -----------------------------------------------------------

EXACT = 2**53
BEYOND = 2**63
REASONS = 60_000
REASONS_IN_A_CHUNK = 200
LONG_NAME = 900_000
FORGED_CHUNKS = 200
# Half an emoji, as a provider writes it whose own strings are UTF-16.
BROKEN_NAME = b'"broken\\ud83d\\u0000\\n\\u202ename"'


def gpt_long_name(prompt: Prompt) -> Reply:
    """Says of itself a name of 900 KB, in the first chunk of a stream."""
    reply = gpt_std(prompt)
    first, *others = reply.pieces
    long = first.data.replace(response_model(prompt).encode(), b"n" * LONG_NAME)
    return replace(reply, pieces=(replace(first, data=long), *others))


def gpt_broken_name(prompt: Prompt) -> Reply:
    """Says of itself a name that is no valid text."""
    reply = gpt_std(prompt)
    name = compact(response_model(prompt))
    return replace(
        reply,
        pieces=tuple(
            replace(piece, data=piece.data.replace(name, BROKEN_NAME)) for piece in reply.pieces
        ),
    )


def gpt_many_reasons(prompt: Prompt) -> Reply:
    """Ends 60,000 times in one answer, each time for another reason."""
    tokens = count_tokens(prompt, answer_text(prompt))
    choices = [
        {"index": index, "delta": {}, "finish_reason": f"reason-{index}"}
        for index in range(REASONS)
    ]
    if not prompt.stream:
        data = openai_json(prompt, text_message("ok"), "stop", usage=openai_usage(tokens))
        return Reply(200, JSON, (Piece(data, tokens),))
    chunks = [
        sse({**openai_chunk(prompt, None), "choices": choices[start : start + REASONS_IN_A_CHUNK]})
        for start in range(0, REASONS, REASONS_IN_A_CHUNK)
    ]
    return streamed([Piece(b"".join(chunks)), *usage_at_end(prompt, tokens)])


def gpt_forged_usage(prompt: Prompt) -> Reply:
    """Tells more than 64 bits hold; in a stream, numbers that alternate around 2^53."""
    text = answer_text(prompt)
    if not prompt.stream:
        usage = {**openai_usage(Tokens(BEYOND, 10**30, BEYOND, BEYOND)), "cost": 10**30}
        return Reply(
            200, JSON, (Piece(openai_json(prompt, text_message(text), "stop", usage=usage)),)
        )
    told = [openai_usage(Tokens(EXACT - 1 + n % 3, EXACT - n % 2)) for n in range(FORGED_CHUNKS)]
    return streamed(
        [
            Piece(b"".join(sse(openai_chunk(prompt, {"content": "x"}, usage=use)) for use in told)),
            Piece(sse(openai_chunk(prompt, {}, "stop", usage=told[-2]))),
        ]
    )


def gpt_made_up_error(prompt: Prompt) -> Reply:
    """Names an error that it has never named before."""
    return openai_error(400, "no", f"type_{prompt.id}", code=f"code_{prompt.id}")


def gpt_made_up_crash(prompt: Prompt) -> Reply:
    """The same, in an answer that began well."""
    error = {"error": error_body("no", f"type_{prompt.id}", code=f"code_{prompt.id}")}
    return Reply(200, JSON, (Piece(compact(error)),))


# --- Ollama ---------------------------------------------------------------------------------------


def ollama_time(prompt: Prompt) -> str:
    """The `created_at` of an answer, derived from the request."""
    seconds = prompt.seed % 86_400
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"2026-01-02T{clock}.123456789Z"


def ollama_line(prompt: Prompt, content: str, **extra: object) -> bytes:
    """One line of an answer, without its newline."""
    return compact(
        {
            "model": prompt.model,
            "created_at": ollama_time(prompt),
            "message": {"role": "assistant", "content": content},
            "done": False,
            **extra,
        }
    )


def ollama_end(tokens: Tokens | None) -> dict[str, Any]:
    """The fields of the line that ends an answer; counts only if there are any."""
    counts = (
        {}
        if tokens is None
        else {
            "prompt_eval_count": tokens.input,
            "prompt_eval_duration": 120_000_000,
            "eval_count": tokens.output,
            "eval_duration": 640_000_000,
        }
    )
    times = {"total_duration": 812_000_000, "load_duration": 31_000_000}
    return {"done": True, "done_reason": "stop", **times, **counts}


def ollama_reply(prompt: Prompt, text: str, tokens: Tokens | None, pause: float = PACE) -> Reply:
    """A finished answer of Ollama's."""
    if not prompt.stream:
        data = ollama_line(prompt, text, **ollama_end(tokens))
        return Reply(200, JSON, (Piece(data, tokens, pause),))
    lines = [Piece(ollama_line(prompt, word) + b"\n", pause=pause) for word in words_of(text)]
    end = Piece(ollama_line(prompt, "", **ollama_end(tokens)) + b"\n", tokens)
    return Reply(200, NDJSON, (*lines, end))


def llama_std(prompt: Prompt) -> Reply:
    """Like Ollama: counts in the last line."""
    return ollama_reply(prompt, answer_text(prompt), plain_counts(prompt))


def llama_nousage(prompt: Prompt) -> Reply:
    """No counts at the end."""
    return ollama_reply(prompt, answer_text(prompt), None)


def ollama_error(status: int, message: str) -> Reply:
    """An error with Ollama's JSON body."""
    return Reply(status, JSON, (Piece(compact({"error": message})),))


def llama_500(prompt: Prompt) -> Reply:
    """The runner died."""
    return ollama_error(500, "llama runner process has terminated: exit status 2")


def llama_slow(prompt: Prompt) -> Reply:
    """About twelve seconds of stream; a whole answer comes after a few seconds."""
    text = " ".join(f"slow{index}" for index in range(SLOW_CHUNKS))
    tokens = replace(count_tokens(prompt, text), cached=None, reasoning=None)
    return ollama_reply(prompt, text, tokens, SLOW_PACE if prompt.stream else SLOW_WHOLE)


def llama_cut(prompt: Prompt) -> Reply:
    """Drops the connection in the middle of the answer."""
    reply = llama_std(prompt)
    if prompt.stream:
        return replace(reply, pieces=reply.pieces[:4], cut=True)
    data = reply.pieces[0].data
    return replace(reply, pieces=(Piece(data[: len(data) // 2]),), cut=True)


def llama_stream_error(prompt: Prompt) -> Reply:
    """Status 200, a few lines, then an error line; unstreamed, an error status."""
    message = "an error was encountered while running the model: CUDA error"
    if not prompt.stream:
        return ollama_error(500, message)
    reply = llama_std(prompt)
    return replace(reply, pieces=(*reply.pieces[:3], Piece(compact({"error": message}) + b"\n")))


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A model on offer and the way it behaves."""

    name: str
    wire: Wire
    reply: Callable[[Prompt], Reply]


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model("gpt-std", "openai", gpt_std),
        Model("gpt-mini", "openai", gpt_std),
        Model("gpt-cumulative", "openai", gpt_cumulative),
        Model("gpt-delta-usage", "openai", gpt_delta_usage),
        Model("gpt-some", "openai", gpt_some),
        Model("gpt-nousage", "openai", gpt_nousage),
        Model("gpt-rejects", "openai", gpt_rejects),
        Model("gpt-429", "openai", gpt_429),
        Model("gpt-500", "openai", gpt_500),
        Model("gpt-500-text", "openai", gpt_500_text),
        Model("gpt-sse-error", "openai", gpt_sse_error),
        Model("gpt-cut", "openai", gpt_cut),
        Model("gpt-slow", "openai", gpt_slow),
        Model("gpt-tools", "openai", gpt_tools),
        Model("gpt-llamacpp", "openai", gpt_llamacpp),
        Model("gpt-split", "openai", gpt_split),
        Model("gpt-crlf", "openai", gpt_crlf),
        Model("gpt-long-name", "openai", gpt_long_name),
        Model("gpt-broken-name", "openai", gpt_broken_name),
        Model("gpt-many-reasons", "openai", gpt_many_reasons),
        Model("gpt-forged-usage", "openai", gpt_forged_usage),
        Model("gpt-made-up-error", "openai", gpt_made_up_error),
        Model("gpt-made-up-crash", "openai", gpt_made_up_crash),
        # Offered for the sake of their other endpoints; as chat models they are ordinary.
        Model("responses-std", "openai", gpt_std),
        Model("claude-std", "openai", gpt_std),
        Model("embed-std", "openai", gpt_std),
        # A real name, which has a list price, and two that say what they charge.
        Model("gpt-4o", "openai", gpt_std),
        Model("router-std", "openai", router_std),
        Model("litellm-std", "openai", litellm_std),
        Model("llama-std", "ollama", llama_std),
        Model("llama-mini", "ollama", llama_std),
        Model("llama-nousage", "ollama", llama_nousage),
        Model("llama-500", "ollama", llama_500),
        Model("llama-slow", "ollama", llama_slow),
        Model("llama-cut", "ollama", llama_cut),
        Model("llama-stream-error", "ollama", llama_stream_error),
        Model("embed-local", "ollama", llama_std),
    )
}


_ASKED = (
    gpt_std, gpt_tools, gpt_slow, gpt_split, gpt_crlf, router_std, litellm_std,
)  # fmt: skip
SILENT = tuple(model.name for model in MODELS.values() if model.reply in _ASKED)
"""Models that tell the usage of a stream when they are asked, and only then."""


def reply_to(prompt: Prompt) -> Reply:
    """The reply of the model that the prompt names."""
    model = MODELS.get(prompt.model.removesuffix(":latest"))
    if model is not None and model.wire == prompt.wire:
        return model.reply(prompt)
    if prompt.wire == "ollama":
        return ollama_error(404, f"model '{prompt.model}' not found")
    message = f"The model `{prompt.model}` does not exist"
    return openai_error(404, message, "invalid_request_error", code="model_not_found")


def models_of(wire: Wire) -> list[str]:
    """Names of the models that one wire offers."""
    return [model.name for model in MODELS.values() if model.wire == wire]
