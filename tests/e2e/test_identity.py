"""With and without the library: the client gets the same answer, the provider the same request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from e2e.servers import instrumented
from e2e.test_calls import CASES, OPENAI, SAME_ORIGIN, Case
from harness.openwebui import Answer, OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider, ServedCall
from harness.seed import seeded_server

# They differ between any two answers of Open WebUI.
VOLATILE_HEADERS = {"date", "x-process-time", "x-request-id"}
# Open WebUI makes these up for each answer that it converts from Ollama's format.
MADE_UP = re.compile(rb'("id":\s*"[^"]*-[0-9a-f-]{36}"|"created":\s*\d+)')

WHOLE = [case for case in CASES if case.abandon_after is None]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(deterministic=True) as provider:
        yield provider


@pytest.fixture(scope="module")
def bare(provider: Provider) -> Iterator[OpenWebUI]:
    with seeded_server(provider) as server:
        yield server


@pytest.fixture(scope="module")
def observed(provider: Provider, receiver: Receiver) -> Iterator[OpenWebUI]:
    with instrumented(provider, receiver, experienced=False) as server:
        yield server


def exchange(server: OpenWebUI, provider: Provider, case: Case) -> tuple[Answer, list[ServedCall]]:
    provider.clear()
    body = {
        "model": case.model,
        "messages": [{"role": "user", "content": f"case={case.name} tell me something"}],
        "stream": case.stream,
        **case.fields,
    }
    # Compressed, answers that differ in a made-up id differ in length.
    headers = {"Accept-Encoding": "identity", **case.headers}
    answer = server.request(
        "POST", case.path, user=case.user, auth=case.auth, json=body, headers=headers
    )
    provider.wait_idle(0.05)
    return answer, provider.snapshot()


def test_usage_is_asked_for_on_streams_after_the_first(
    bare: OpenWebUI, observed: OpenWebUI, provider: Provider
) -> None:
    case = Case("option", "alice", "gpt-std", stream=True, path=OPENAI, headers=SAME_ORIGIN)
    _, [plain] = exchange(bare, provider, case)
    _, [first] = exchange(observed, provider, case)
    assert first.body == plain.body
    _, [seen] = exchange(observed, provider, case)
    assert seen.asked_usage
    assert seen.body.replace(b'"stream_options":{"include_usage":true},', b"", 1) == plain.body


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_answer_and_request_are_the_same(
    bare: OpenWebUI, observed: OpenWebUI, provider: Provider, case: Case
) -> None:
    plain, plain_calls = exchange(bare, provider, case)
    # The second time, the library knows the model's habits.
    for _ in range(2 if case.stream else 1):
        seen, seen_calls = exchange(observed, provider, case)
        assert seen.status == plain.status
        assert stable(seen.headers) == stable(plain.headers)
        assert MADE_UP.sub(b"", seen.body) == MADE_UP.sub(b"", plain.body)
        # A refused attempt is the only request that is added.
        answered = [as_sent(call) for call in seen_calls if not call.is_refusal]
        assert answered == [as_sent(call) for call in plain_calls]
        assert len(seen_calls) - len(answered) <= 1


def stable(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in VOLATILE_HEADERS}


def as_sent(call: ServedCall) -> tuple[str, dict[str, str], bytes]:
    """The request, byte for byte, less the option and the length that it adds."""
    headers = {
        name: value for name, value in call.headers.items() if name.lower() != "content-length"
    }
    return call.path, headers, without_option(call.body)


def without_option(body: bytes) -> bytes:
    added = b'"stream_options":{"include_usage":true},'
    if body.startswith(b"{" + added):
        return body.replace(added, b"", 1)
    # Where the client sent options of its own, they are changed in their place.
    parsed = json.loads(body)
    if isinstance(parsed.get("stream_options"), dict):
        parsed["stream_options"].pop("include_usage", None)
        return json.dumps(parsed).encode()
    return body
