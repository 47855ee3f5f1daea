"""The end of the server: soon, whatever has become of the collector, and with all that was counted."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from e2e.servers import PREFIX, instrumented, otlp
from e2e.truth import USAGE_REQUESTS, Expectation, Truth, assert_equal
from harness import collectors
from harness.collectors import PROTOCOLS
from harness.openwebui import OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import seeded_server

# Three seconds is the promise; the rest is for a machine at work.
SOON = 3.0 + 1.5
# Where a process does not end by the signal, Python tidies up: two seconds without us, and
# several on a machine at work.
PYTHONS_END = 3.5
TROUBLES = {
    "absent": collectors.absent,
    "silent": collectors.silent,
    "refusing": collectors.refusing,
    "untrusted": collectors.untrusted,
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def exporting(endpoint: str, protocol: str, **more: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        **more,
    }


def stopped_within(server: OpenWebUI, number: signal.Signals) -> tuple[float, int]:
    began = time.monotonic()
    code = server.stop(number)
    return time.monotonic() - began, code


def stop_in_trouble(
    provider: Provider,
    endpoint: str,
    protocol: str,
    number: signal.Signals = signal.SIGTERM,
    *,
    workers: int = 1,
    soon: float = SOON,
) -> None:
    env = exporting(endpoint, protocol)
    with seeded_server(provider, launcher="instrument", workers=workers, env=env) as server:
        for _ in range(4 * workers):
            assert server.chat("alice", "gpt-std", "case=one").status == 200
        # So that an export is under way, and another waits.
        time.sleep(1.5)
        seconds, code = stopped_within(server, number)
        assert seconds < soon
        assert code != -signal.SIGKILL


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_server_ends_soon_whatever_has_become_of_the_collector(
    provider: Provider, trouble: str, protocol: str
) -> None:
    with TROUBLES[trouble](protocol) as endpoint:
        stop_in_trouble(provider, endpoint, protocol)


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)], ids=["ctrl-c", "workers"]
)
def test_so_it_does_by_ctrl_c_and_with_workers(
    provider: Provider, number: signal.Signals, workers: int
) -> None:
    with collectors.silent("grpc") as endpoint:
        stop_in_trouble(
            provider, endpoint, "grpc", number, workers=workers, soon=SOON + PYTHONS_END
        )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_slow_collector_is_told_everything(
    provider: Provider, receiver: Receiver, protocol: str
) -> None:
    slow: AbstractContextManager[Any] = collectors.slow(protocol, receiver, 0.5)
    with slow as endpoint:
        env = {**otlp(receiver, interval=60), **exporting(endpoint, protocol)}
        with seeded_server(provider, launcher="instrument", env=env) as server:
            for _ in range(6):
                server.chat("bob", "llama-std", "case=one")
            truth = Truth(server.world, provider.snapshot(), {"one": Expectation()})
            assert len(truth.calls) == 6
            seconds, _ = stopped_within(server, signal.SIGTERM)
            assert seconds < SOON
            assert_equal(receiver, truth, timeout=1)
            assert len(receiver.events) == len(receiver.spans) == 6


def test_who_wants_to_wait_longer_can(provider: Provider, receiver: Receiver) -> None:
    with collectors.slow("http/protobuf", receiver, 2.0) as endpoint:
        env = exporting(endpoint, "http/protobuf", **{f"{PREFIX}SHUTDOWN_SECONDS": "15"})
        with instrumented(provider, receiver, env, interval=60) as server:
            server.chat("bob", "llama-std", "case=one")
            server.stop(signal.SIGTERM)
            assert receiver.total(USAGE_REQUESTS) == 1
