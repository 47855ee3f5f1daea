"""From a call in Open WebUI to Prometheus, Jaeger and the ledger: nothing lost, nothing twice."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from e2e.truth import Expectation, Truth
from harness.provider import ServedCall
from stack.conftest import Stack
from stack.reports import assert_prometheus_equals, lines, wait_for

API = [
    ("alice", "gpt-std", True), ("alice", "gpt-mini", False), ("alice", "llama-std", True),
    ("bob", "gpt-std", False), ("bob", "gpt-429", False), ("bob", "helpdesk", True),
    ("carol", "gpt-mini", True), ("carol", "llama-mini", False), ("dora", "llama-std", False),
    ("dora", "localdesk", True), ("admin", "gpt-nousage", True),
]  # fmt: skip


@pytest.fixture(scope="module")
def chat(stack: Stack) -> str:
    """All traffic of this module; the chat of the one turn in the browser app."""
    for _ in range(2):
        for number, (user, model, stream) in enumerate(API):
            stack.server.chat(user, model, f"case=api-{number} tell me", stream=stream)
    return stack.server.turn("dora", "toolbox", "case=turn look it up", tool_ids=["case_lookup"])


@pytest.fixture(scope="module")
def served(stack: Stack, chat: str) -> list[ServedCall]:
    stack.provider.wait_idle(1)
    return stack.provider.snapshot()


def expectations() -> dict[str, Expectation]:
    picked = ("helpdesk", "localdesk")
    errors = {"gpt-429": ("429",)}
    return {
        "turn": Expectation("ui", "toolbox"),
        **{
            f"api-{number}": Expectation(
                model_id=model if model in picked else None, errors=errors.get(model, (None,))
            )
            for number, (_, model, _) in enumerate(API)
        },
    }


def test_prometheus_says_what_the_provider_served(stack: Stack, served: list[ServedCall]) -> None:
    assert len(served) > 2 * len(API) + 3
    truth = Truth(stack.server.world, served, expectations())
    assert_prometheus_equals(stack.prometheus, truth)


def test_the_ledger_has_a_line_for_each_call(stack: Stack, served: list[ServedCall]) -> None:
    found = wait_for(lambda: (e := lines(stack.collector.ledger)) and len(e) >= len(served) and e)
    assert len(found) == len(served)
    assert len({line["open_webui.call.id"] for line in found}) == len(served)
    told = Counter(
        (line["user.id"], line["gen_ai.request.model"], line.get("gen_ai.usage.input_tokens"))
        for line in found
        if "open_webui.usage.estimated" not in line
    )
    assert told == Counter(
        (call.user_id, call.model, call.input_tokens)
        for call in served
        if call.model != "gpt-nousage"
    )


def tags_of(span: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


@pytest.mark.parametrize("by", ["user.id", "gen_ai.conversation.id"])
def test_a_turn_is_found_in_jaeger_with_all_its_spans(
    stack: Stack, served: list[ServedCall], chat: str, by: str
) -> None:
    values = {"user.id": stack.server.world.user("dora").id, "gen_ai.conversation.id": chat}
    calls = [call for call in served if call.case == "turn"]

    def turns() -> list[dict[str, Any]]:
        found = stack.jaeger.traces(json.dumps({by: values[by]}))
        return [
            trace
            for trace in found
            if any(s["operationName"] == "invoke_agent toolbox" for s in trace["spans"])
        ]

    [trace] = wait_for(turns)
    spans = Counter(span["operationName"].split()[0] for span in trace["spans"])
    assert spans == {"invoke_agent": 1, "execute_tool": 1, "chat": len(calls)}
    tokens = sum(int(tags_of(s).get("gen_ai.usage.output_tokens", 0)) for s in trace["spans"])
    assert tokens == sum(call.output_tokens or 0 for call in calls)


def test_the_collector_says_how_it_is(stack: Stack, served: list[ServedCall]) -> None:
    """By the metrics that Prometheus scrapes of it."""

    def sent() -> float:
        found = stack.prometheus.query("sum(otelcol_exporter_sent_metric_points)")
        return found[0][1] if found else 0

    assert wait_for(sent) > 0
    assert stack.prometheus.query("sum(otelcol_exporter_send_failed_metric_points) > 0") == []
    assert "\terror\t" not in stack.collector.log_text()
