"""Cases of our own in the form of `tests/cases`: who reports usage, when, in what shape."""

from __future__ import annotations

import json
from typing import Any

from harness.cases import ProviderCase

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
USAGE = {"prompt_tokens": 31, "completion_tokens": 7, "total_tokens": 38}
TOLD = {"input": 31, "output": 7, "error": None, "estimated": None}
GUESSED = {"input": "some", "output": "some", "error": None, "estimated": True}
EMPTY = {"index": 0, "delta": {}, "finish_reason": None}


def chunk(*choices: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-own",
        "object": "chat.completion.chunk",
        "created": 1780000000,
        "model": "own",
        "choices": list(choices),
        **more,
    }


def word(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": text}, "finish_reason": finish}


WORDS = [chunk(word(text)) for text in ("An ", "answer ", "in ", "pieces.")]
PLAIN = [*WORDS, chunk(word("", "stop"))]


def stream(*messages: dict[str, Any]) -> list[str]:
    return [*(f"data: {json.dumps(message)}\n\n" for message in messages), "data: [DONE]\n\n"]


def answer(
    when: str, pieces: list[str], status: int = 200, headers: dict[str, str] = SSE
) -> dict[str, Any]:
    return {"when": when, "status": status, "headers": headers, "pieces": pieces}


def case(name: str, expect: dict[str, Any], *answers: dict[str, Any]) -> ProviderCase:
    body = {
        "model": "own",
        "stream": True,
        "messages": [{"role": "user", "content": "Tell me something."}],
    }
    turn = {"turn": True, "model": "own"}
    request = {"path": "/api/chat/completions", "body": body}
    return ProviderCase(name, (turn, request), answers, expect, last=True)


def in_lines(*messages: dict[str, Any]) -> list[str]:
    """A stream whose messages are written over several lines each."""
    texts = (json.dumps(message, indent=1).splitlines() for message in messages)
    events = ("".join(f"data: {line}\n" for line in text) + "\n" for text in texts)
    return [*events, "data: [DONE]\n\n"]


def measured(pieces: list[str]) -> dict[str, str]:
    """The head of a stream that is sent as a whole."""
    return {**SSE, "content-length": str(len("".join(pieces).encode()))}


def asked(name: str, *messages: dict[str, Any]) -> ProviderCase:
    """Reports when asked, in some shape; unasked, the stream is plain."""
    return case(name, TOLD, answer("unasked", stream(*PLAIN)), answer("asked", stream(*messages)))


def refuses(name: str, *pieces: str, status: int = 200, headers: Any = SSE) -> ProviderCase:
    """Refuses to be asked."""
    refusal = answer("asked", list(pieces), status, headers)
    return case(name, GUESSED, refusal, answer("unasked", stream(*PLAIN)))


INVALID = '{"error":{"message":"Unrecognized request argument","type":"invalid_request_error"}}'


def says(name: str, expect: dict[str, Any], *messages: Any, **more: Any) -> ProviderCase:
    """Answers so, asked or not; by default with a stream, for a stream."""
    pieces = more.pop("pieces", None) or stream(*messages)
    headers = more.pop("headers", SSE)
    body = {
        "model": "own",
        "stream": True,
        "messages": [{"role": "user", "content": "Tell me something."}],
        **more,
    }
    request = {"path": "/api/chat/completions", "body": body}
    return ProviderCase(name, (request,), (answer("any", pieces, headers=headers),), expect)


def whole(name: str, expect: dict[str, Any], usage: Any, text: str = "An answer.") -> ProviderCase:
    """A whole answer with that usage."""
    message = {
        "id": "chatcmpl-own",
        "object": "chat.completion",
        "created": 1780000000,
        "model": "own",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        ],
        "usage": usage,
    }
    return says(name, expect, pieces=[json.dumps(message)], headers=JSON, stream=False)


def counted(given: int, made: int, **more: Any) -> dict[str, Any]:
    return {"input": given, "output": made, "error": None, "estimated": None, **more}


def used(given: int, made: int, **more: Any) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": given, "completion_tokens": made, **more}}


def of(choice: int, text: str) -> dict[str, Any]:
    return {**word(text), "index": choice}


FAILED = {"output": None, "error": "any"}
REPORT = chunk(usage=USAGE)
# Where events are for a request for a whole answer, Open WebUI's own reading of them is not ours.
BYTES = {"content-type": "application/octet-stream"}

OWN_CASES = [
    # Reports that fall, repeat or alternate.
    says(
        "choices-in-turn",
        counted(100, 8),
        *(
            chunk(of(choice, "word "), **used(100, made))
            for made in range(1, 5)
            for choice in (0, 1)
        ),
    ),
    says(
        "choices-one-after-the-other",
        counted(100, 7),
        *(chunk(of(0, "word "), **used(100, made)) for made in range(1, 5)),
        *(chunk(of(1, "word "), **used(100, made)) for made in range(1, 4)),
    ),
    says(
        "increments-beside-a-full-input",
        counted(1000, 90),
        *(chunk(word("some words "), **used(1000, 1 + number % 2)) for number in range(60)),
    ),
    says(
        "equal-increments",
        counted(1000, 60),
        *(chunk(word("word "), **used(1000, 1)) for _ in range(60)),
    ),
    says(
        "the-same-total-again",
        counted(1000, 60),
        *(chunk(word("some words "), **used(1000, 60)) for _ in range(20)),
    ),
    says(
        "alternates-at-the-end-of-numbers",
        {"input": "some", "error": None},
        *(chunk(word("word "), **used(9 + number % 2, 2**53 + number % 2)) for number in range(20)),
    ),
    # What is counted beside the two numbers.
    whole(
        "reasoning-beside",
        counted(10, 8, reasoning=3),
        {
            **used(10, 5, total_tokens=18)["usage"],
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    ),
    whole(
        "reasoning-inside",
        counted(10, 5, reasoning=3),
        {
            **used(10, 5, total_tokens=15)["usage"],
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    ),
    whole(
        "reasoning-at-the-top",
        counted(10, 35, reasoning=30),
        used(10, 5, reasoning_tokens=30)["usage"],
    ),
    whole(
        "cache-hits",
        counted(19, 3, cache_read=12),
        used(19, 3, prompt_cache_hit_tokens=12, prompt_cache_miss_tokens=7)["usage"],
    ),
    whole(
        "cache-writes",
        counted(99, 3, cache_read=50, cache_creation=40),
        used(99, 3, cache_read_input_tokens=50, cache_write_tokens=40)["usage"],
    ),
    whole(
        "cache-left-out",
        counted(1900, 50, cache_read=900),
        used(1000, 50, total_tokens=1950, cached_tokens=900)["usage"],
    ),
    whole("counts-as-texts", counted(9, 5), used("9", "5.0")["usage"]),  # type: ignore[arg-type]
    # Zeros and halves.
    whole("zeros", GUESSED, used(0, 0, total_tokens=0)["usage"]),
    whole(
        "no-output-said", {"input": 9, "output": "some", "estimated": True}, {"prompt_tokens": 9}
    ),
    whole("nothing-said", {**counted(9, 0)}, used(9, 0)["usage"], text=""),
    says("zeros-in-a-stream", GUESSED, *PLAIN, chunk(**used(0, 0))),
    says("a-zero-after-it", counted(31, 7), *PLAIN, REPORT, chunk(**used(0, 0))),
    # Usage elsewhere.
    says(
        "usage-in-the-choice", counted(31, 7), *WORDS, chunk({**word("", "stop"), "usage": USAGE})
    ),
    # Other forms than what was asked for.
    says("events-for-a-whole-answer", counted(31, 7), *PLAIN, REPORT, stream=False),
    says(
        "one-message-for-a-stream",
        counted(31, 7),
        pieces=[
            json.dumps(
                {
                    **chunk(
                        {
                            "index": 0,
                            "message": {"role": "assistant", "content": "An answer."},
                            "finish_reason": "stop",
                        }
                    ),
                    "usage": USAGE,
                }
            )
        ],
        headers=JSON,
    ),
    says("a-mark-of-the-encoding", counted(31, 7), pieces=["\ufeff", *stream(*PLAIN, REPORT)]),
    says(
        "lone-returns",
        counted(31, 7),
        pieces=[piece.replace("\n", "\r") for piece in stream(*PLAIN, REPORT)],
    ),
    says("over-several-lines", counted(31, 7), pieces=in_lines(*PLAIN, REPORT)),
    says("of-no-kind", {"input": 31, "output": 7}, pieces=stream(*PLAIN, REPORT), headers=BYTES),
    # Errors in a 200.
    says(
        "error-in-the-choice",
        FAILED | {"output": "some"},
        *WORDS,
        chunk({**EMPTY, "error": {"code": 502, "message": "no"}}),
    ),
    says(
        "error-as-a-reason",
        FAILED | {"output": "some"},
        *WORDS,
        chunk({**EMPTY, "finish_reason": "error"}),
    ),
    says("error-as-an-event", FAILED, pieces=['event: error\ndata: {"message": "no"}\n\n']),
    says("error-as-a-field", FAILED, pieces=['error: {"code": 503, "message": "no"}\n\n']),
    says("error-as-a-detail", FAILED, pieces=['data: {"detail": "no"}\n\n']),
    says(
        "error-as-an-object",
        FAILED,
        pieces=['data: {"object": "error", "message": "no", "code": 400}\n\n'],
    ),
    says(
        "error-in-a-base",
        FAILED,
        pieces=[
            'data: {"choices": null, "base_resp": {"status_code": 1004, "status_msg": "no"}}\n\n'
        ],
    ),
    # What is asked in odd ways.
    says(
        "half-an-emoji",
        counted(31, 7),
        *PLAIN,
        REPORT,
        messages=[{"role": "user", "content": "half \ud83d"}],
    ),
    says("an-odd-number", counted(31, 7), *PLAIN, REPORT, n="²"),
    says(
        "nested-deep",
        counted(31, 7),
        *PLAIN,
        REPORT,
        response_format=json.loads('{"a":' * 400 + "1" + "}" * 400),
    ),
    # By themselves.
    case("unasked", TOLD, answer("any", stream(*PLAIN, chunk(usage=USAGE)))),
    case("unasked-empty-choice", TOLD, answer("any", stream(*PLAIN, chunk(EMPTY, usage=USAGE)))),
    case(
        "unasked-no-choices",
        TOLD,
        answer("any", stream(*PLAIN, {"id": "chatcmpl-own", "usage": USAGE})),
    ),
    case(
        "unasked-on-the-last",
        TOLD,
        answer("any", stream(*WORDS, {**PLAIN[-1], "usage": USAGE})),
    ),
    case(
        "unasked-nulls",
        TOLD,
        answer("unasked", stream(*({**message, "usage": None} for message in PLAIN))),
        answer(
            "asked",
            stream(*({**message, "usage": None} for message in PLAIN), chunk(usage=USAGE)),
        ),
    ),
    # When asked.
    asked("asked", *PLAIN, chunk(usage=USAGE)),
    asked("asked-nulls", *({**message, "usage": None} for message in PLAIN), chunk(usage=USAGE)),
    asked("asked-empty-choice", *PLAIN, chunk(EMPTY, usage={**USAGE, "cost": 0.25}, cost=0.25)),
    asked("asked-no-choices", *PLAIN, {"id": "chatcmpl-own", "usage": USAGE}),
    asked("asked-on-the-last", *WORDS, {**PLAIN[-1], "usage": USAGE}),
    asked("asked-on-all", *({**message, "usage": USAGE} for message in PLAIN)),
    case(
        "asked-and-measured",
        TOLD,
        answer("unasked", stream(*PLAIN), headers=measured(stream(*PLAIN))),
        answer("asked", stream(*PLAIN, REPORT), headers=measured(stream(*PLAIN, REPORT))),
    ),
    case(
        "asked-over-several-lines",
        TOLD,
        answer("unasked", in_lines(*PLAIN)),
        answer("asked", in_lines(*PLAIN, REPORT)),
    ),
    # Never.
    case("never", GUESSED, answer("any", stream(*PLAIN))),
    # Not to be asked.
    refuses("refuses-400", INVALID, status=400, headers=JSON),
    refuses("refuses-422", '{"detail":[]}', status=422, headers=JSON),
    refuses(
        "refuses-500", "Internal Server Error", status=500, headers={"content-type": "text/plain"}
    ),
    refuses("refuses-inside", f"data: {INVALID}\n\n", "data: [DONE]\n\n"),
    refuses(
        "refuses-after-a-role",
        f"data: {json.dumps(chunk({**EMPTY, 'delta': {'role': 'assistant', 'content': ''}}))}\n\n",
        f"data: {INVALID}\n\n",
    ),
    refuses("refuses-as-an-event", 'event: error\ndata: {"code":400}\n\n'),
    refuses("refuses-in-a-body", INVALID, headers=JSON),
]
