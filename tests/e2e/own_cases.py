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


def asked(name: str, *messages: dict[str, Any]) -> ProviderCase:
    """Reports when asked, in some shape; unasked, the stream is plain."""
    return case(name, TOLD, answer("unasked", stream(*PLAIN)), answer("asked", stream(*messages)))


def refuses(name: str, *pieces: str, status: int = 200, headers: Any = SSE) -> ProviderCase:
    """Refuses to be asked."""
    refusal = answer("asked", list(pieces), status, headers)
    return case(name, GUESSED, refusal, answer("unasked", stream(*PLAIN)))


INVALID = '{"error":{"message":"Unrecognized request argument","type":"invalid_request_error"}}'

OWN_CASES = [
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
    # Never.
    case("never", GUESSED, answer("any", stream(*PLAIN))),
    # Not to be asked.
    refuses("refuses-400", INVALID, status=400, headers=JSON),
    refuses("refuses-422", '{"detail":[]}', status=422, headers=JSON),
    refuses(
        "refuses-500", "Internal Server Error", status=500, headers={"content-type": "text/plain"}
    ),
    refuses("refuses-inside", f"data: {INVALID}\n\n", "data: [DONE]\n\n"),
    refuses("refuses-as-an-event", 'event: error\ndata: {"code":400}\n\n'),
    refuses("refuses-in-a-body", INVALID, headers=JSON),
]
