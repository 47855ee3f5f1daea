"""Servers that load Open WebUI once and fork their workers, and processes that a worker forks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.servers import otlp
from e2e.truth import Expectation, Truth, assert_equal
from harness import collectors
from harness.habits import teach
from harness.openwebui import HOST, OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import seeded_data_dir

EXPECTED = {"one": Expectation(), "turn": Expectation(source="ui")}
ACTIVE = "open_webui.instrumentation.active"
OWN = {f"ENABLE_OTEL{part}": "true" for part in ("", "_TRACES", "_METRICS", "_LOGS")}


class Gunicorn(OpenWebUI):
    """A server that imports Open WebUI in its main process and serves in forked ones."""

    def command(self) -> list[str]:
        worker = ("--worker-class", "uvicorn_worker.UvicornWorker", "--workers", str(self.workers))
        where = ("--bind", f"{HOST}:{self.port}")
        server = self._bin("gunicorn"), "--preload", *worker, *where, "open_webui.main:app"
        return [self._bin("opentelemetry-instrument"), *server]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


def preloaded(provider: Provider, env: dict[str, str]) -> OpenWebUI:
    server = Gunicorn(provider, copy_from=seeded_data_dir(), workers=2, env=env)
    teach(server, provider)
    return server


def use(server: OpenWebUI, provider: Provider, calls: int = 37) -> Truth:
    for number in range(calls):
        user, model = ("alice", "gpt-std") if number % 2 else ("bob", "llama-std")
        server.chat(user, model, "case=one", stream=number % 3 == 0)
    provider.wait_idle(0.3)
    return Truth(server.world, provider.snapshot(), EXPECTED)


def by_grpc(endpoint: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}


def of_open_webui(endpoint: str) -> dict[str, str]:
    own = {"OTEL_METRICS_EXPORT_INTERVAL_MILLIS": "500", "OTEL_EXPORTER_OTLP_INSECURE": "true"}
    return {**OWN, **own, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}


WAYS = {"http": lambda _: {}, "grpc": by_grpc, "open-webui": of_open_webui}


@pytest.mark.parametrize("way", WAYS)
def test_each_forked_worker_tells_what_it_served(
    provider: Provider, receiver: Receiver, way: str
) -> None:
    with (
        collectors.slow("grpc", receiver, 0.0) as endpoint,
        preloaded(provider, {**otlp(receiver), **WAYS[way](endpoint)}) as server,
    ):
        truth = use(server, provider)
        assert len(truth.calls) == 37
        assert_equal(receiver, truth)
        receiver.wait_for(lambda r: usage_events(r) >= 37)
        assert usage_events(receiver) == 37
        assert serving(receiver) == 2
        assert "Traceback" not in server.log_text()


def usage_events(receiver: Receiver) -> int:
    return sum(event.name == "open_webui.usage" for event in receiver.events)


def serving(receiver: Receiver) -> int:
    """Processes that report from now on; each has a name of its own."""
    receiver.clear()
    wait_for_reports(receiver)
    reports = [point for point in receiver.points if point.metric == ACTIVE]
    return len({point.resource["service.instance.id"] for point in reports})


def wait_for_reports(receiver: Receiver) -> None:
    receiver.wait_for(lambda r: sum(point.metric == ACTIVE for point in r.points) >= 6)
