"""What an outage may cost: nothing, but for what the docs say of a collector that is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.servers import instrumented
from e2e.truth import Expectation, Truth
from harness.openwebui import HOST, OpenWebUI, free_port
from harness.otlp import Receiver
from harness.provider import Provider, ServedCall
from stack.conftest import Stack, exporting_to, stack_of
from stack.reports import RANGE, assert_prometheus_equals, in_prometheus, lines, wait_for

DOWN_SECONDS = 120.0
AWAY_SECONDS = 25.0
# How long an exporter of Open WebUI tries at the least before it drops a batch (7 s, less a fifth by
# chance), and how long a batch collects.
EXPORTER_PATIENCE = 5.5
BATCH_SECONDS = 1.0
USERS = ("alice", "bob", "carol", "dora")
MODELS = ("gpt-std", "llama-std", "gpt-mini")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    yield from stack_of(tmp_path)


class Traffic(threading.Thread):
    """Calls, one after the other, until it is stopped."""

    def __init__(self, server: OpenWebUI) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._done = threading.Event()
        self.statuses: list[int] = []
        self.slowest = 0.0

    def run(self) -> None:
        number = 0
        while not self._done.is_set():
            user, model = USERS[number % 4], MODELS[number % 3]
            began = time.monotonic()
            answer = self._server.chat(user, model, "case=traffic go on", stream=number % 2 == 0)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.statuses.append(answer.status)
            number += 1
            self._done.wait(0.15)

    def stop(self) -> None:
        self._done.set()
        self.join()


@contextmanager
def traffic(stack: Stack) -> Iterator[Traffic]:
    """Traffic around what happens inside, and a moment of it before and after."""
    going = Traffic(stack.server)
    going.start()
    try:
        time.sleep(5)
        yield going
        time.sleep(5)
    finally:
        going.stop()
    stack.provider.wait_idle(1)
    assert set(going.statuses) == {200}


def truth(stack: Stack, served: list[ServedCall]) -> Truth:
    return Truth(stack.server.world, served, {"traffic": Expectation()})


def span_ids(stack: Stack) -> list[str]:
    return [span["spanID"] for trace in stack.jaeger.traces() for span in trace["spans"]]


def test_two_minutes_without_prometheus_and_jaeger_lose_nothing_and_tell_nothing_twice(
    stack: Stack,
) -> None:
    with traffic(stack):
        stack.prometheus.stop()
        stack.jaeger.stop()
        time.sleep(DOWN_SECONDS)
        stack.prometheus.start()
        stack.jaeger.start()
    served = stack.provider.snapshot()
    assert len(served) > DOWN_SECONDS
    assert_prometheus_equals(stack.prometheus, truth(stack, served))
    events = wait_for(lambda: (e := lines(stack.collector.ledger)) and len(e) >= len(served) and e)
    assert len({e["open_webui.call.id"] for e in events}) == len(events) == len(served)
    ids = wait_for(lambda: (i := span_ids(stack)) and len(i) >= len(served) and i, 60)
    assert len(set(ids)) == len(ids) == len(served)


def test_a_killed_collector_costs_no_number_and_at_most_the_events_of_its_absence(
    stack: Stack,
) -> None:
    with traffic(stack):
        killed = time.monotonic()
        stack.collector.kill()
        # Nobody has heard of her before.
        for model in MODELS:
            assert stack.server.chat("admin", model, "case=traffic go on").status == 200
        time.sleep(AWAY_SECONDS)
        stack.collector.start()
        back = time.monotonic()
    served = stack.provider.snapshot()
    assert_prometheus_equals(stack.prometheus, truth(stack, served))
    # Calls that ended while it was there, and those whose batch was tried until it was back.
    kept = [
        call
        for call in served
        if call.ended is not None
        and not killed - BATCH_SECONDS - 1 < call.ended < back - EXPORTER_PATIENCE + BATCH_SECONDS
    ]
    assert len(kept) < len(served)

    def tokens(of: list[tuple[object, ...]]) -> set[tuple[object, ...]]:
        return set(of)

    wanted = tokens([(c.model, c.input_tokens, c.output_tokens) for c in kept])

    def told() -> set[tuple[object, ...]]:
        return tokens(
            [
                (
                    line["gen_ai.request.model"],
                    line["gen_ai.usage.input_tokens"],
                    line["gen_ai.usage.output_tokens"],
                )
                for line in lines(stack.collector.ledger)
            ]
        )

    wait_for(lambda: wanted <= told())
    # A line may stand there twice; its id says so.
    ids = {line["open_webui.call.id"] for line in lines(stack.collector.ledger)}
    assert len(ids) <= len(served)
    # Whatever is missing was counted, and the log says when it began and when it was over.
    missing = len(served) - len(ids)
    wait_for(lambda: dropped(stack, "logs") >= missing > 0)
    for begun_or_over in ("logs cannot be exported", "logs are exported again"):
        assert stack.server.log_text().count(begun_or_over) == 1


def dropped(stack: Stack, signal: str) -> float:
    name = in_prometheus("open_webui.export.dropped")
    expression = f'sum(increase({name}{{open_webui_signal="{signal}"}}[{RANGE}] anchored))'
    return sum(value for _, value in stack.prometheus.query(expression))


def test_without_a_collector_open_webui_serves_on_and_its_log_stays_short() -> None:
    with Provider() as provider, Receiver() as receiver:
        nowhere = exporting_to(f"http://{HOST}:{free_port()}", interval=0.5)
        with instrumented(provider, receiver, nowhere) as server:
            going = Traffic(server)
            before = len(server.log_text().splitlines())
            going.start()
            time.sleep(30)
            going.stop()
            assert set(going.statuses) == {200}
            complaints = [
                line
                for line in server.log_text().splitlines()[before:]
                if "opentelemetry" in line or "export" in line.lower()
            ]
            # Sixty exports of metrics failed in that time, and as many of events and spans.
            assert 0 < len(complaints) < 60
            for signal in ("metrics", "traces", "logs"):
                assert server.log_text().count(f"{signal} cannot be exported") == 1
            assert receiver.exports == []
