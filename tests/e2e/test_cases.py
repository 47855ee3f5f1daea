"""Answers of odd providers: what the client and Open WebUI get is the same, and the counts right.

Each case goes twice through a server without the library and one with it: before and after the
library has learned the model's habits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from e2e.money_cases import MONEY_CASES
from e2e.own_cases import OWN_CASES
from e2e.servers import instrumented
from e2e.test_engines import configure
from harness.cases import FOLDER, CaseProvider, ProviderCase, load
from harness.openwebui import OpenWebUI
from harness.otlp import Event, Receiver
from harness.provider import Provider
from harness.seed import seeded_server

PUBLIC = sorted(path.stem for path in FOLDER.glob("*.json"))
CASES = [*map(load, PUBLIC), *OWN_CASES, *MONEY_CASES]
WAV = b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"
TOLERANCE = 1e-9
NAMES = {
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "cache_read": "gen_ai.usage.cache_read.input_tokens",
    "cache_creation": "gen_ai.usage.cache_write.input_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
    "cost": "open_webui.usage.cost",
    "error": "error.type",
    "estimated": "open_webui.usage.estimated",
    "seconds": "open_webui.usage.audio.duration",
    "images": "open_webui.usage.images",
}
# Open WebUI makes these up for each answer that it converts.
MADE_UP_BYTES = re.compile(rb'"(?:id|filename)":\s*"[^"]*[0-9a-f]{8}-[0-9a-f-]{27}[^"]*"')
# And these for each message that it stores.
MADE_UP = frozenset(
    ("id", "task_id", "parentId", "childrenIds", "timestamp", "started_at", "ended_at", "duration")
)


@pytest.fixture(scope="module")
def cases() -> Iterator[CaseProvider]:
    with CaseProvider(CASES) as cases:
        yield cases


def environment(cases: CaseProvider) -> dict[str, str]:
    """A connection for each case, whose models have its name before theirs."""
    chats = [case for case in CASES if case.wire in ("openai", "anthropic")]
    ollamas = [case for case in CASES if case.wire == "ollama"]
    return {
        "BYPASS_MODEL_ACCESS_CONTROL": "true",
        "OPENAI_API_BASE_URLS": ";".join(map(cases.url, chats)),
        "OPENAI_API_KEYS": ";".join("provider-key" for _ in chats),
        "OPENAI_API_CONFIGS": json.dumps(configs(chats)),
        "OLLAMA_BASE_URLS": ";".join(map(cases.url, ollamas)),
        "OLLAMA_API_CONFIGS": json.dumps(configs(ollamas)),
        "AUDIO_STT_ENGINE": "openai",
        "AUDIO_STT_MODEL": "whisper-1",
        "AUDIO_STT_OPENAI_API_KEY": "provider-key",
        "ENABLE_IMAGE_EDIT": "true",
        "IMAGE_EDIT_ENGINE": "gemini",
        "IMAGE_EDIT_MODEL": "gemini-2.5-flash-image",
        "IMAGES_EDIT_GEMINI_API_KEY": "provider-key",
    }


def configs(cases: list[ProviderCase]) -> dict[str, dict[str, Any]]:
    kinds = {"anthropic": {"provider": "litellm"}}
    return {
        str(number): {"enable": True, "prefix_id": case.id, **kinds.get(case.wire, {})}
        for number, case in enumerate(cases)
    }


@pytest.fixture(scope="module")
def bare(provider: Provider, cases: CaseProvider) -> Iterator[OpenWebUI]:
    with seeded_server(provider, env=environment(cases)) as server:
        yield server


@pytest.fixture(scope="module")
def observed(provider: Provider, cases: CaseProvider, receiver: Receiver) -> Iterator[OpenWebUI]:
    with instrumented(provider, receiver, environment(cases), experienced=False) as server:
        yield server


def choose(server: OpenWebUI, cases: CaseProvider, case: ProviderCase) -> None:
    """Name the only connection that there is of its kind."""
    if case.wire == "audio":
        configure(server, "audio/config", {"stt": {"OPENAI_API_BASE_URL": cases.url(case)}})
    elif case.wire == "gemini":
        configure(server, "images/config", {"IMAGES_EDIT_GEMINI_API_BASE_URL": cases.url(case)})


def send(server: OpenWebUI, case: ProviderCase) -> list[Any]:
    """What a client gets, and what Open WebUI stores."""
    return [
        turn(server, f"{case.id}.{one['model']}") if one.get("turn") else request(server, case, one)
        for one in case.send
    ]


def request(server: OpenWebUI, case: ProviderCase, one: Mapping[str, Any]) -> tuple[int, bytes]:
    options: dict[str, Any] = {"headers": {"Accept-Encoding": "identity"}}
    if one.get("form"):
        options["files"] = {"file": ("said.wav", WAV, "audio/wav")}
    else:
        body = dict(one["body"])
        if "model" in body:
            body["model"] = f"{case.id}.{body['model']}"
        # Not by the client's own JSON, which takes no half of an emoji.
        options["content"] = json.dumps(body).encode()
        options["headers"]["Content-Type"] = "application/json"
    answer = server.request("POST", one["path"], user="alice", **options)
    return answer.status, MADE_UP_BYTES.sub(b"", answer.body)


def turn(server: OpenWebUI, model: str) -> list[dict[str, Any]]:
    chat = server.turn("alice", model, "Tell me something.", tasks=())
    stored = server.ask("GET", f"/api/v1/chats/{chat}", user="alice", auth="session")
    messages = stored["chat"]["history"]["messages"].values()
    return [told(message) for message in sorted(messages, key=lambda one: str(one["role"]))]


def told(stored: Any) -> Any:
    """What is stored, without what differs between any two turns."""
    if isinstance(stored, dict):
        return {name: told(value) for name, value in stored.items() if name not in MADE_UP}
    return [told(value) for value in stored] if isinstance(stored, list) else stored


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_answer_is_what_it_would_be_and_the_counts_are_right(
    bare: OpenWebUI,
    observed: OpenWebUI,
    cases: CaseProvider,
    receiver: Receiver,
    case: ProviderCase,
) -> None:
    for server in (bare, observed):
        choose(server, cases, case)
    for _ in range(2):
        known = len(receiver.events)
        seen, plain = send(observed, case), send(bare, case)
        if case.client == "same":
            assert seen == plain
        events = receiver.wait_for(
            lambda r, known=known: r.events[known:]
            if len(r.events) >= known + len(case.send)
            else None
        )
    assert len(events) == len(case.send)
    for event in events[-1:] if case.last else events:
        assert_expected(event, case.expect)


def assert_expected(event: Event, expect: Mapping[str, Any]) -> None:
    for name, wanted in expect.items():
        found = event.attributes.get(NAMES[name])
        if wanted == "any":
            assert found is not None, name
        elif wanted == "some":
            assert found > 0, name
        elif isinstance(wanted, list):
            assert found in wanted, name
        elif isinstance(wanted, float):
            assert found == pytest.approx(wanted, abs=TOLERANCE), name
        else:
            assert found == wanted, name


def test_a_refusal_is_asked_once(observed: OpenWebUI, cases: CaseProvider) -> None:
    # Those that were sent above, if not all were.
    sent = {request.case for request in cases.requests}
    refused = {case for case in sent if case.startswith("refuses-")}
    asked = [request.case for request in cases.requests if request.asked]
    assert sorted(one for one in asked if one in refused) == sorted(refused)


def test_open_webuis_own_analytics_are_the_same(bare: OpenWebUI, observed: OpenWebUI) -> None:
    path = "/api/v1/analytics/tokens"
    with_us, without = (
        server.ask("GET", path, user="admin", auth="session") for server in (observed, bare)
    )
    assert with_us == without
    assert with_us["total_input_tokens"] > 0


def test_what_was_learned_is_known_after_a_restart(
    observed: OpenWebUI, cases: CaseProvider
) -> None:
    observed.stop()
    observed.start()
    [case] = [case for case in OWN_CASES if case.id == "asked"]
    known = len(cases.requests)
    request(observed, case, case.send[-1])
    assert [request.asked for request in cases.requests[known:]] == [True]
