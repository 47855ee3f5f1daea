"""Very many people: each request stays below what a collector takes by itself, and all is exact."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.openwebui import HOST, free_port
from harness.programs import ROOT, Program, Prometheus, tool
from stack.crowd import ROUNDS, SOURCES, given, made, model_id, user_id
from stack.reports import RANGE, in_prometheus, wait_for

# `make scale` asks for 10,000 users and has the time for them.
USERS = int(os.environ.get("SCALE_USERS", "1000"))
MODELS = 3
PATIENCE = 60 + USERS / 10
# What a gRPC server of any collector takes, if nobody tells it to take more.
DEFAULT_LIMIT = 4 * 1024**2

CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: {host}:{grpc}}}
exporters:
  otlp_http:
    endpoint: {prometheus}/api/v1/otlp
    tls: {{insecure: true}}
    sending_queue:
      sizer: items
      queue_size: 10000000
      num_consumers: 1
      batch: {{min_size: 1000, max_size: 20000}}
  debug: {{}}
extensions:
  health_check: {{endpoint: {host}:{health}}}
service:
  extensions: [health_check]
  telemetry:
    metrics:
      readers:
        - pull: {{exporter: {{prometheus: {{host: {host}, port: {metrics}, without_type_suffix: true, without_units: true}}}}}}
  pipelines:
    metrics: {{receivers: [otlp], exporters: [otlp_http]}}
    traces: {{receivers: [otlp], exporters: [debug]}}
    logs: {{receivers: [otlp], exporters: [debug]}}
"""


class Foreign(Program):
    """A collector of somebody else's, that takes what collectors take by themselves."""

    name = "foreign"

    def __init__(self, directory: Path, prometheus: Prometheus) -> None:
        super().__init__(directory)
        self._ports = {name: free_port() for name in ("grpc", "health", "metrics")}
        self._config = self.directory / "config.yaml"
        self._config.write_text(CONFIG.format(host=HOST, prometheus=prometheus.url, **self._ports))

    @property
    def otlp(self) -> str:
        return f"http://{HOST}:{self._ports['grpc']}"

    @property
    def ready_url(self) -> str:
        return f"http://{HOST}:{self._ports['health']}"

    def command(self) -> Sequence[str]:
        return [str(tool("otelcol")), f"--config={self._config}"]

    def accepted(self, items: str) -> int:
        """How much of a kind it has taken."""
        url = f"http://{HOST}:{self._ports['metrics']}/metrics"
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in httpx.get(url, trust_env=False).text.splitlines()
            if line.startswith(f"otelcol_receiver_accepted_{items}{{")
        )


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    with Prometheus(tmp_path) as program:
        yield program


@pytest.fixture
def collector(tmp_path: Path, prometheus: Prometheus) -> Iterator[Foreign]:
    with Foreign(tmp_path, prometheus) as program:
        yield program


def crowd(collector: Foreign, *options: str) -> Mapping[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "stack.crowd", f"--users={USERS}", f"--models={MODELS}", *options],
        cwd=ROOT / "tests",
        env={
            "PATH": os.environ["PATH"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp,
            "OTEL_METRIC_EXPORT_INTERVAL": "3000",
            "OTEL_PYTHON_OPEN_WEBUI_SERIES_LIMIT": "10000000",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    told: Mapping[str, Any] = json.loads(done.stdout)
    assert told["failed exports"] == 0, done.stderr[-3000:]
    assert told["ended"]
    return told


def truth() -> Counter[tuple[str, str, str]]:
    counts: Counter[tuple[str, str, str]] = Counter()
    times = ROUNDS * len(SOURCES)
    for user in range(USERS):
        for model in range(MODELS):
            who = (user_id(user), model_id(model))
            counts[*who, "input"] = times * given(user, model)
            counts[*who, "output"] = times * made(user, model)
            counts[*who, "requests"] = times
    return counts


def told(prometheus: Prometheus) -> Counter[tuple[str, str, str]]:
    counts: Counter[tuple[str, str, str]] = Counter()
    by = "user_id, gen_ai_request_model"
    for metric, kinds in (("tokens", f"{by}, gen_ai_token_type"), ("requests", by)):
        name = in_prometheus(f"open_webui.usage.{metric}")
        expression = f"sum by ({kinds}) (increase({name}[{RANGE}] anchored))"
        for labels, value in prometheus.query(expression):
            kind = labels.get("gen_ai_token_type", metric)
            counts[labels["user_id"], labels["gen_ai_request_model"], kind] += round(value)
    return counts


@pytest.mark.parametrize("options", [(), ("--foreign",)], ids=["ours", "foreign"])
def test_a_crowd_is_exact_through_a_collector_as_it_comes(
    options: tuple[str, ...], collector: Foreign, prometheus: Prometheus
) -> None:
    figures = crowd(collector, *options)
    expected = truth()
    wait_for(lambda: told(prometheus) == expected, PATIENCE)
    for items in ("spans", "log_records"):
        assert collector.accepted(items) == figures["calls"]
