"""A real Prometheus that scrapes the library, while other people look at the page."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import CollectorRegistry, start_http_server

from harness.openwebui import HOST, free_port
from harness.programs import Prometheus
from unit.sdk import Sdk

INTERVAL = 2.0
CALLS = 120
LONGEST_HOLD = 80.0
REQUESTS = "open_webui_usage_requests_total"


class Scraping(Prometheus):
    """Prometheus with the few lines that the README shows."""

    def __init__(self, directory: Path, target: int) -> None:
        super().__init__(directory)
        (self.directory / "prometheus.yml").write_text(
            "scrape_configs:\n"
            "  - job_name: open-webui\n"
            f"    scrape_interval: {INTERVAL:g}s\n"
            "    static_configs:\n"
            f"      - targets: ['{HOST}:{target}']\n"
        )


@pytest.fixture
def pulled() -> Iterator[tuple[Sdk, int]]:
    registry, port = CollectorRegistry(), free_port()
    sdk = Sdk([PrometheusMetricReader(registry=registry)])
    server, thread = start_http_server(port, HOST, registry)
    yield sdk, port
    server.shutdown()
    thread.join()


def look(port: int) -> list[float]:
    """What the page says of requests, for each series."""
    text = httpx.get(f"http://{HOST}:{port}/metrics", trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith(f"{REQUESTS}{{")]
    return [float(line.rpartition(" ")[2]) for line in lines]


def test_whoever_looks_takes_nothing_away(pulled: tuple[Sdk, int], tmp_path: Path) -> None:
    sdk, port = pulled
    with Scraping(tmp_path, port) as prometheus:
        while not prometheus.query("count_over_time(up[1m]) >= 3"):
            time.sleep(INTERVAL / 4)
        dice = random.Random(1)
        for number in range(CALLS):
            sdk.call(user=f"u{number % 40}", model=f"m{number % 7}").end()
            time.sleep(dice.uniform(0, INTERVAL / 8))
            if dice.random() < 0.7:
                look(port)
        deadline = time.monotonic() + LONGEST_HOLD
        while sum(look(port)) < CALLS and time.monotonic() < deadline:
            time.sleep(1)
        time.sleep(3 * INTERVAL)
        told = prometheus.query(f"sum(increase({REQUESTS}[10m] anchored))")
        assert [value for _, value in told] == [CALLS]


def test_who_looks_twice_sees_what_was_counted(pulled: tuple[Sdk, int]) -> None:
    sdk, port = pulled
    sdk.call().end()
    assert look(port) == [0]
    assert look(port) == [1]
