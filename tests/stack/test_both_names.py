"""Dashboards read the client metrics by the names of today and those to come, also from both at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dashboards.promql import MODEL, Exact
from dashboards.queries import Queries

from harness.history import promtool
from opentelemetry.instrumentation.open_webui import names

CALLS = f'{MODEL}="m", gen_ai_operation_name="chat"'
# Each is a process with a call a minute, all of which take 10 seconds.
TODAY = ("gen_ai_client_operation_duration_seconds", "gen_ai_client_token_usage_sum", ', gen_ai_token_type="output"', 100)  # fmt: skip
COMING = ("gen_ai_client_inference_duration_seconds", "gen_ai_client_inference_operation_output_tokens_sum", "", 300)  # fmt: skip
PROCESSES = {"today": [TODAY], "coming": [COMING], "both": [TODAY, COMING]}
SPEED = {"today": 10, "coming": 30, "both": 20}


def series(duration: str, tokens: str, kind: str, written: int) -> Iterator[tuple[str, str]]:
    of_process = f'{CALLS}, instance="{duration}"'
    yield f"{duration}_sum{{{of_process}}}", "0+10x60"
    yield f"{tokens}{{{of_process}{kind}}}", f"0+{written}x60"
    for bound, calls in ((5.12, 0), (10.24, 1), ("+Inf", 1)):
        yield f'{duration}_bucket{{{of_process}, le="{bound}"}}', f"0+{calls}x60"


def asked(expression: str, value: float) -> dict[str, object]:
    filled = re.sub(r"\$\{\w+:\w+\}", ".*", expression)
    filled = filled.replace("$__range", "1h").replace("$__rate_interval", "5m")
    samples = [{"labels": f'{{{MODEL}="m"}}', "value": value}]
    # Rates are not exact.
    return {"expr": f"round({filled}, 0.01)", "eval_time": "1h", "exp_samples": samples}


@pytest.mark.parametrize("processes", PROCESSES)
def test_times_and_speed_are_read(tmp_path: Path, processes: str) -> None:
    q, median = Queries(Exact()), 7.68
    found = dict(pair for process in PROCESSES[processes] for pair in series(*process))
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in found.items()],
        "promql_expr_test": [
            asked(q.output_speed(), SPEED[processes]),
            asked(q.output_speed_over_time(), SPEED[processes]),
            asked(q.quantile(names.DURATION, 0.5), median),
            asked(q.quantile_over_time(names.DURATION, 0.5, MODEL), median),
        ],
    }
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    promtool("test", "rules", str(path))
