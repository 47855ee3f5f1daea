"""The real programs, built once; where they cannot be had, these tests skip and say so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.servers import PREFIX
from harness.habits import teach
from harness.openwebui import OpenWebUI, free_port
from harness.programs import ROOT, Agent, Collector, Jaeger, Prometheus
from harness.provider import Provider
from harness.seed import seeded_server

CANNOT_BE_HAD = 3


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    """Build what is missing."""
    done = subprocess.run([sys.executable, ROOT / "dev" / "tools.py"], check=False)
    if done.returncode == CANNOT_BE_HAD:
        pytest.skip("the collector, Prometheus and Jaeger cannot be built here: see `make tools`")
    assert done.returncode == 0


def exporting_to(endpoint: str, interval: float = 1.0) -> dict[str, str]:
    """Variables that make Open WebUI export to a collector, soon."""
    milliseconds = str(int(interval * 1000))
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRIC_EXPORT_INTERVAL": milliseconds,
        "OTEL_BSP_SCHEDULE_DELAY": milliseconds,
        "OTEL_BLRP_SCHEDULE_DELAY": milliseconds,
    }


@dataclass
class Stack:
    """Everything that a call passes on its way to where people look."""

    provider: Provider
    server: OpenWebUI
    collector: Collector
    prometheus: Prometheus
    jaeger: Jaeger


def stack_of(
    directory: Path,
    *switches: str,
    env: dict[str, str] | None = None,
    server_env: dict[str, str] | None = None,
    with_agent: bool = False,
    workers: int = 1,
    of_provider: Callable[[Provider], dict[str, str]] = lambda _provider: {},
) -> Iterator[Stack]:
    """A running stack; `env` is for the collector, with an agent before it if so wanted.

    What the server's variables have to say of the provider, `of_provider` returns.
    """
    jaeger, port = Jaeger(directory), free_port()
    prometheus = Prometheus(directory, port)
    collector = Collector(
        directory, prometheus.url, jaeger.otlp, *switches, env=env, metrics_port=port
    )
    agent = Agent(directory, collector) if with_agent else nullcontext(collector)
    with Provider() as provider, prometheus, jaeger, collector, agent as nearest:
        settings = {f"{PREFIX}GROUPS_CACHE_SECONDS": "1"}
        env_of_server = {
            **exporting_to(nearest.otlp),
            **settings,
            **of_provider(provider),
            **(server_env or {}),
        }
        server = seeded_server(provider, launcher="instrument", workers=workers, env=env_of_server)
        teach(server, provider)
        with server:
            provider.clear()
            yield Stack(provider, server, collector, prometheus, jaeger)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from stack_of(tmp_path_factory.mktemp("stack"))
