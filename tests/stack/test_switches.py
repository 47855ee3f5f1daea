"""An agent before the gateway, sampling and scraping: what they must not touch, they do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from stack.conftest import Stack, stack_of
from stack.reports import in_prometheus, lines, wait_for

CALLS, FAILURES = 60, 3
REQUESTS = in_prometheus("open_webui.usage.requests")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory, env = tmp_path_factory.mktemp("switches"), {"SAMPLING_DECISION_WAIT": "4s"}
    for stack in stack_of(directory, "sampling", "scrape", env=env, with_agent=True):
        for number in range(CALLS):
            stack.server.chat(("alice", "carol")[number % 2], "gpt-std", "case=many")
        for _ in range(FAILURES):
            stack.server.chat("bob", "gpt-500", "case=failed")
        stack.provider.wait_idle(1)
        yield stack


def scraped(stack: Stack) -> float:
    text = httpx.get(stack.collector.scrape_url, trust_env=False).text
    samples = [line for line in text.splitlines() if line.startswith(f"{REQUESTS}{{")]
    return sum(float(line.rpartition("}")[2].split()[0]) for line in samples)


def test_metrics_and_events_are_complete(stack: Stack) -> None:
    wait_for(lambda: len(lines(stack.collector.ledger)) == CALLS + FAILURES)
    wait_for(lambda: scraped(stack) == CALLS + FAILURES)


def failed(trace: dict[str, Any]) -> bool:
    tags = [tag for span in trace["spans"] for tag in span["tags"]]
    return any(tag["key"] == "error" and tag["value"] for tag in tags)


def test_traces_with_errors_are_kept_and_few_of_the_others(stack: Stack) -> None:
    traces = wait_for(
        lambda: (t := stack.jaeger.traces()) and sum(map(failed, t)) == FAILURES and t
    )
    # Of sixty, a twentieth: more than twenty would come up once in a billion years.
    assert len(traces) - FAILURES < 20
