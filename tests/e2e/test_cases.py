"""Answers of odd providers: what the client and Open WebUI get is the same, and the counts right.

Each case goes twice through a server without the library and one with it: before and after the
library has learned the model's habits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from e2e.own_cases import OWN_CASES
from e2e.servers import instrumented
from harness.cases import CaseProvider, ProviderCase, load
from harness.openwebui import OpenWebUI
from harness.otlp import Event, Receiver
from harness.provider import Provider
from harness.seed import seeded_server

PUBLIC = (
    "owui-23556",
    "owui-23556-turn",
    "owui-28528-turn",
    "litellm-28735",
    "litellm-5803",
    "vercel-1578",
)
CASES = [*map(load, PUBLIC), *OWN_CASES]
OPEN = {"BYPASS_MODEL_ACCESS_CONTROL": "true"}
TOLERANCE = 1e-9
NAMES = {
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "cache_read": "gen_ai.usage.cache_read.input_tokens",
    "cache_creation": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
    "cost": "open_webui.usage.cost",
    "error": "error.type",
    "estimated": "open_webui.usage.estimated",
}
# Open WebUI makes them up for each message.
MADE_UP = frozenset(
    ("id", "task_id", "parentId", "childrenIds", "timestamp", "started_at", "ended_at", "duration")
)


@pytest.fixture(scope="module")
def cases() -> Iterator[CaseProvider]:
    with CaseProvider(CASES) as cases:
        yield cases


@pytest.fixture(scope="module")
def bare(provider: Provider, cases: CaseProvider) -> Iterator[OpenWebUI]:
    with seeded_server(provider, env=OPEN) as server:
        yield connected(server, cases)


@pytest.fixture(scope="module")
def observed(provider: Provider, cases: CaseProvider, receiver: Receiver) -> Iterator[OpenWebUI]:
    with instrumented(provider, receiver, OPEN) as server:
        yield connected(server, cases)


def connected(server: OpenWebUI, cases: CaseProvider) -> OpenWebUI:
    """A server with a connection for each case, whose models have its name before theirs."""
    urls = [cases.url(case) for case in cases.cases.values()]
    form = {
        "ENABLE_OPENAI_API": True,
        "OPENAI_API_BASE_URLS": urls,
        "OPENAI_API_KEYS": ["key"] * len(urls),
        "OPENAI_API_CONFIGS": {
            str(number): {"enable": True, "prefix_id": case.id}
            for number, case in enumerate(cases.cases.values())
        },
    }
    server.ask("POST", "/openai/config/update", user="admin", auth="session", json=form)
    server.ask("GET", "/api/models?refresh=true", user="admin", auth="session")
    return server


def send(server: OpenWebUI, case: ProviderCase) -> list[Any]:
    """What a client gets, and what Open WebUI stores."""
    return [
        turn(server, f"{case.id}.{one['model']}") if one.get("turn") else request(server, case, one)
        for one in case.send
    ]


def request(server: OpenWebUI, case: ProviderCase, one: Mapping[str, Any]) -> tuple[int, bytes]:
    body = {**one["body"], "model": f"{case.id}.{one['body']['model']}"}
    answer = server.request(
        "POST", one["path"], user="alice", json=body, headers={"Accept-Encoding": "identity"}
    )
    return answer.status, answer.body


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
    refused = {case.id for case in OWN_CASES if case.id.startswith("refuses-")}
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
    connected(observed.start(), cases)
    [case] = [case for case in OWN_CASES if case.id == "asked"]
    known = len(cases.requests)
    request(observed, case, case.send[-1])
    assert [request.asked for request in cases.requests[known:]] == [True]
