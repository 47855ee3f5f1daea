"""Who is let in where: what compose.yaml relies on, with the real programs."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from harness.openwebui import HOST, free_port
from harness.programs import Collector, Prometheus

ELSEWHERE = "127.0.0.2"
ALLOW = "Access-Control-Allow-Origin"


def test_no_page_of_another_origin_reads_from_prometheus(tmp_path: Path) -> None:
    with Prometheus(tmp_path) as prometheus:
        for origin in ("https://anywhere.example", "null", prometheus.url):
            for method, path in (("GET", "query?query=up"), ("OPTIONS", "query")):
                answer = httpx.request(
                    method,
                    f"{prometheus.url}/api/v1/{path}",
                    headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
                    trust_env=False,
                )
                assert answer.is_success
                assert ALLOW not in answer.headers


def test_the_collector_shows_its_metrics_only_where_a_name_leads_to(tmp_path: Path) -> None:
    away = f"http://{HOST}:{free_port()}"
    env = {"COLLECTOR_METRICS_HOST": "localhost"}
    with Collector(tmp_path, away, away, env=env) as collector:
        url = f":{collector.metrics_port}/metrics"
        assert "otelcol_" in httpx.get(f"http://localhost{url}", trust_env=False).text
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{ELSEWHERE}{url}", trust_env=False)
