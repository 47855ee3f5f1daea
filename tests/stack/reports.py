"""What the places where people look say, in the form that it is compared in."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from e2e.truth import COUNTERS, Counts, Truth, difference
from harness.programs import Prometheus

RANGE = "1h"
SETTLED = 40.0
# What tells processes apart, and who scraped.
_OF_PROCESSES = frozenset(("__name__", "instance", "job", "service_instance_id", "service_version"))
_SECONDS = "open_webui.usage.audio.duration"
_TAGS = (
    "error.type", "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model",
    "gen_ai.token.type", "open_webui.group.name", "open_webui.model.id", "open_webui.source",
    "open_webui.task", "open_webui.token.detail", "user.id", "user.name",
)  # fmt: skip
_NAMES = {tag.replace(".", "_"): tag for tag in _TAGS}
ESTIMATED = "open_webui_usage_estimated"

T = TypeVar("T")


def in_prometheus(metric: str) -> str:
    """The name that a counter has there."""
    unit = "_seconds" if metric == _SECONDS else ""
    return f"{metric.replace('.', '_')}{unit}_total"


def totals(prometheus: Prometheus) -> Counts:
    """All accounting metrics, exactly, without what was only estimated."""
    counts: Counts = Counter()
    for metric in COUNTERS:
        for labels, value in prometheus.query(
            f"increase({in_prometheus(metric)}[{RANGE}] anchored)"
        ):
            if ESTIMATED not in labels:
                tags = {_NAMES[name]: labels[name] for name in labels if name not in _OF_PROCESSES}
                counts[metric, frozenset(tags.items())] += round(value, 6)
    return +counts


def assert_prometheus_equals(prometheus: Prometheus, truth: Truth) -> None:
    """Wait until the totals equal the truth; fail with the difference if they never do."""
    expected = truth.counts()
    try:
        wait_for(lambda: totals(prometheus) == expected)
    except TimeoutError:
        raise AssertionError(difference(expected, totals(prometheus))) from None


def lines(ledger: Path) -> list[dict[str, Any]]:
    """The lines of the ledger, each with the attributes of its only record."""
    found = []
    for path in sorted(ledger.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            [resource] = json.loads(line)["resourceLogs"]
            [scope] = resource["scopeLogs"]
            [record] = scope["logRecords"]
            assert record["eventName"] == "open_webui.usage"
            found.append({one["key"]: value_of(one["value"]) for one in record["attributes"]})
    return found


def value_of(value: dict[str, Any]) -> Any:
    """A value of OTLP's JSON."""
    [(kind, inner)] = value.items()
    if kind == "arrayValue":
        return [value_of(one) for one in inner.get("values", ())]
    return int(inner) if kind == "intValue" else inner


def wait_for(condition: Callable[[], T], timeout: float = SETTLED) -> T:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.25)
