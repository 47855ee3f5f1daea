"""Each alert fires when it should and is silent when it should be; days are the sum of their hours."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.history import promtool
from harness.programs import ROOT

DIRECTORIES = [ROOT / "prometheus" / name for name in ("rules", "rules-portable")]
DOCS = (ROOT / "docs" / "alerts.md").read_text()
USAGE = 'gen_ai_request_model="m", open_webui_source="ui", user_id="u1", user_name="Ada"'
REQUESTS = f"open_webui_usage_requests_total{{{USAGE}, open_webui_task="
TOKENS = f'open_webui_usage_tokens_total{{{USAGE}, gen_ai_token_type="input"'
COST = f"open_webui_usage_cost_total{{{USAGE}}}"
DURATION = 'gen_ai_client_operation_duration_seconds_bucket{gen_ai_request_model="m", le='
# Where OTEL_SEMCONV_STABILITY_OPT_IN gives it its new name.
COMING = DURATION.replace("operation", "inference")
OK = f'{REQUESTS}"chat"}}'
DAYS = 25 * 60
COST_OF_MONTH = 'open_webui:month:group_cost_usd{open_webui_group_name="R&D"}'
OWN_BUDGET = 'open_webui:budget:usd_per_month{open_webui_group_name="R&D"}'
DEFAULT_BUDGET = "open_webui:budget:default_usd_per_month"
LIMITED_BUDGET = OWN_BUDGET.replace(":usd", ":limit_usd")


@dataclass(frozen=True)
class Row:
    """An alert, with series that make it fire and series that do not."""

    fires: Mapping[str, str]
    quiet: Mapping[str, str]
    summary: str
    at: str = "40m"
    every: str = "1m"
    """Between evaluations."""
    series_every: str = "1m"
    labels: Mapping[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    """Other alerts that rightly fire, too."""


def of_hours(what: str) -> str:
    return f"user:open_webui_usage_{what}:increase1h{{{USAGE}}}"


def of_collector(what: str) -> str:
    return f'otelcol_{what}{{job="collector", instance="c:8888", exporter="e"}}'


def of_exports(what: str, signal: str, error: str = "") -> str:
    tags = f'open_webui_signal="{signal}"' + (f', error_type="{error}"' if error else "")
    return f'open_webui_export_{what}_total{{job="open-webui", instance="i", {tags}}}'


def of_ledger(what: str) -> str:
    return f'open_webui_ledger_{what}{{job="open-webui", instance="i"}}'


def of_limit(what: str, shared: str) -> str:
    tags = f'open_webui_limit_measure="tokens", open_webui_limit_shared="{shared}"'
    return f'open_webui_limit_{what}{{instance="i", open_webui_limit_name="Pool", {tags}}}'


def of_refused(observed: str) -> str:
    tags = f'open_webui_limit_name="Pool", open_webui_limit_observed="{observed}"'
    return f"open_webui_usage_refused_requests_total{{{tags}}}"


def slow(seconds: int, metric: str = DURATION) -> dict[str, str]:
    """A model all of whose answers take between the half of that and that."""
    return {
        f'{metric}"{seconds / 2}"}}': "0+0x60",
        f'{metric}"{seconds}"}}': "0+6x60",
        f'{metric}"+Inf"}}': "0+6x60",
    }


def week(before: int, now: int) -> str:
    """Hourly records: so much in each hour of a week, and then of a day."""
    return f"{before}x{7 * 24} {now}x24"


OF_M = {"gen_ai_request_model": "m"}
OF_PROCESS = {"job": "open-webui", "instance": "i"}
OF_ADA = {"user_id": "u1", "user_name": "Ada"}
ALERTS = {
    "OpenWebUIModelErrors": Row(
        {OK: "0+8x60", f'{REQUESTS}"chat", error_type="500"}}': "0+2x60"},
        # Many are given up, which is nobody's error; few fail.
        {OK: "0+8x60", f'{REQUESTS}"chat", error_type="cancelled"}}': "0+8x60",
         f'{REQUESTS}"chat", error_type="500"}}': "0+1x60"},
        "Calls to m fail", labels=OF_M,
    ),
    "OpenWebUIModelSlow": Row(slow(200), slow(50), "m is slow", labels=OF_M),
    "OpenWebUIUnknownPaths": Row(
        {f'{REQUESTS}"unknown"}}': "0+1x60"}, {OK: "0+1x60"},
        "Models are called on paths that are not known",
    ),
    "OpenWebUIUnpriced": Row(
        {OK: f"0+1x{DAYS}", f"open_webui_usage_unpriced_requests_total{{{USAGE}}}": f"0+0.75x{DAYS}"},
        {OK: f"0+1x{DAYS}", f"open_webui_usage_unpriced_requests_total{{{USAGE}}}": f"0+0.25x{DAYS}"},
        "75% of the calls have no known price: cost is too low", at="25h", every="1h",
    ),
    "OpenWebUIEstimated": Row(
        {f"{TOKENS}}}": f"0+1x{DAYS}", f'{TOKENS}, open_webui_usage_estimated="true"}}': f"0+1x{DAYS}"},
        {f"{TOKENS}}}": f"0+9x{DAYS}", f'{TOKENS}, open_webui_usage_estimated="true"}}': f"0+1x{DAYS}"},
        "50% of the tokens are estimated, because providers do not report them", at="25h", every="1h",
    ),
    "OpenWebUISeriesFolded": Row(
        {OK.replace('"u1"', '"__other__"'): "0+1x60"}, {OK: "0+1x60"},
        "There are more users than are kept apart",
    ),
    "OpenWebUINoTelemetry": Row(
        {'open_webui_instrumentation_active{job="open-webui", instance="i"}': "1x20"},
        # One process has ended; another has taken over.
        {'open_webui_instrumentation_active{job="open-webui", instance="i"}': "1x20",
         'open_webui_instrumentation_active{job="open-webui", instance="j"}': "_x19 1x40"},
        "Nothing is heard of open-webui", labels={"job": "open-webui"},
    ),
    "OpenWebUIExportsFail": Row(
        {of_exports("failures", "traces"): "0+1x60"},
        # A collector that was restarted.
        {of_exports("failures", "metrics"): "0x20 1+0x40"},
        "Open WebUI cannot export its traces", labels={"open_webui_signal": "traces"},
    ),
    "OpenWebUIExportDropping": Row(
        {of_exports("dropped", "logs", "queue_full"): "0x30 5+0x30"},
        # Data points are told anew.
        {of_exports("dropped", "metrics", "export_failed"): "0+900x60",
         of_exports("dropped", "logs", "queue_full"): "7x60"},
        "Open WebUI drops logs", labels={"open_webui_signal": "logs"},
    ),
    "OpenWebUICollectorDropping": Row(
        {of_collector("exporter_enqueue_failed_metric_points"): "0+5x60"},
        {of_collector("exporter_enqueue_failed_metric_points"): "7x60"},
        "The collector c:8888 drops data",
        labels={"job": "collector", "instance": "c:8888", "lost": "exporter_enqueue_failed metric_points"},
    ),
    "OpenWebUICollectorQueue": Row(
        {of_collector("exporter_queue_size"): "90x60", of_collector("exporter_queue_capacity"): "100x60"},
        {of_collector("exporter_queue_size"): "20x60", of_collector("exporter_queue_capacity"): "100x60"},
        "A queue of the collector c:8888 is nearly full",
        labels={"job": "collector", "instance": "c:8888", "exporter": "e"},
    ),
    "OpenWebUILedgerWaits": Row(
        {of_ledger("behind_seconds"): "0x5 0+60x60"},
        # It was restarted, for longer than a moment.
        {of_ledger("behind_seconds"): "0x35 0+40x3 0x20", of_ledger("queue"): "100x60"},
        "Calls of i wait for the ledger", labels=OF_PROCESS,
    ),
    "OpenWebUILedgerLoses": Row(
        {of_ledger("lost_total"): "0x30 5+0x30"},
        # Long ago.
        {of_ledger("lost_total"): "7x60"},
        "The ledger loses calls of i", labels=OF_PROCESS,
    ),
    "OpenWebUISpend": Row(
        {COST: f"0+0.1x{DAYS}"}, {COST: f"0+0.01x{DAYS}"},
        "Models cost 144.00 USD in 24 hours", at="25h", every="1h",
    ),
    "OpenWebUIBudget": Row(
        {COST_OF_MONTH: "0+1x60", OWN_BUDGET: "40x60", DEFAULT_BUDGET: "1000x60"},
        # Its own budget counts, not that of the others.
        {COST_OF_MONTH: "0+1x60", OWN_BUDGET: "100x60", DEFAULT_BUDGET: "1x60"},
        "R&D has used 100% of its budget", labels={"open_webui_group_name": "R&D"},
    ),
    "OpenWebUIPool": Row(
        {of_limit("used", "true"): "90x60", of_limit("allowed", "true"): "100x60"},
        # One of many has used up their own.
        {of_limit("used", "false"): "100x60", of_limit("allowed", "false"): "100x60",
         of_limit("used", "true"): "70x60", of_limit("allowed", "true"): "100x60"},
        "90% of the limit Pool is used",
        labels={"open_webui_limit_name": "Pool", "open_webui_limit_measure": "tokens"},
    ),
    "OpenWebUIRefused": Row(
        {of_refused("false"): "0x30 1+0x30"}, {of_refused("true"): "0+1x60", of_refused("false"): "7x60"},
        "Pool refuses requests", labels={"open_webui_limit_name": "Pool"},
    ),
    "OpenWebUILimitsUnchecked": Row(
        {"open_webui_limit_unchecked_requests_total": "0x30 3+0x30"},
        {"open_webui_limit_unchecked_requests_total": "5x60"},
        "Limits are not enforced",
    ),
    "OpenWebUIUserTokens": Row(
        {of_hours("tokens"): week(10_000, 100_000)},
        # As much as ever, though it is much.
        {of_hours("tokens"): week(100_000, 100_000)},
        "Ada uses far more tokens than in the week before", at="192h", every="1h", series_every="1h", labels=OF_ADA,
    ),
    "OpenWebUIUserSpend": Row(
        {of_hours("cost"): week(0, 1)},
        # Ten times as much as ever, though it is little.
        {of_hours("cost"): "0.01x168 0.1x24"},
        "Ada uses far more USD than in the week before", at="192h", every="1h", series_every="1h", labels=OF_ADA,
    ),
}  # fmt: skip


@functools.cache
def thresholds() -> dict[str, str]:
    """Those of the file, as series: records are forgotten after five minutes, and these tests leap."""
    [group] = yaml.safe_load((DIRECTORIES[0] / "thresholds.yml").read_text())["groups"]
    values = {rule["record"]: rule["expr"][len("vector(") : -1] for rule in group["rules"]}
    return {name: f"{value}x{DAYS}" for name, value in values.items()}


def unit_test(row: Row, series: Mapping[str, str], expected: set[str]) -> dict[str, Any]:
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)]
    return {
        "interval": row.series_every,
        "input_series": [
            {"series": name, "values": values}
            for name, values in {**series, **thresholds()}.items()
        ],
        "promql_expr_test": [{"expr": firing, "eval_time": row.at, "exp_samples": samples}],
    }


def check(path: Path, every: str, rules: list[Path], *tests: dict[str, Any]) -> None:
    path.write_text(
        yaml.safe_dump(
            {
                "rule_files": list(map(str, rules)),
                "evaluation_interval": every,
                "tests": list(tests),
            }
        )
    )
    promtool("test", "rules", str(path))


@pytest.mark.parametrize("rules", DIRECTORIES, ids=lambda p: p.name)
@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_fires_and_does_not(tmp_path: Path, name: str, rules: Path) -> None:
    row = ALERTS[name]
    files = [rules / "alerts.yml"]
    fires = unit_test(row, row.fires, {name, *row.also})
    check(tmp_path / "fires.yml", row.every, files, fires)
    check(tmp_path / "quiet.yml", row.every, files, unit_test(row, row.quiet, set()))


@pytest.mark.parametrize("rules", DIRECTORIES, ids=lambda p: p.name)
def test_slow_models_are_seen_by_the_name_to_come_too(tmp_path: Path, rules: Path) -> None:
    row = replace(ALERTS["OpenWebUIModelSlow"], fires=slow(200, COMING), quiet=slow(50, COMING))
    files = [rules / "alerts.yml"]
    fires = unit_test(row, row.fires, {"OpenWebUIModelSlow"})
    check(tmp_path / "fires.yml", row.every, files, fires)
    check(tmp_path / "quiet.yml", row.every, files, unit_test(row, row.quiet, set()))


def rendered(path: Path, name: str, row: Row) -> str:
    """What people read, with values in the place of templates."""
    test = unit_test(row, row.fires, {name, *row.also})
    rule = rule_of(DIRECTORIES[0], name)
    wanted = {"exp_labels": {**row.labels, **rule["labels"]}, "exp_annotations": {"summary": "?"}}
    test["alert_rule_test"] = [{"eval_time": row.at, "alertname": name, "exp_alerts": [wanted]}]
    with pytest.raises(AssertionError) as told:  # promtool shows what it got
        check(path / "told.yml", row.every, [DIRECTORIES[0] / "alerts.yml"], test)
    return str(told.value).partition("got:")[2]


LINKED = {
    "{{ $labels.user_id }}": "u1",
    "{{ $labels.open_webui_group_name | urlquery }}": "R%26D",
}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_about(tmp_path: Path, name: str) -> None:
    row = ALERTS[name]
    text = rendered(tmp_path, name, row)
    assert f'summary="{row.summary}"' in text, text
    assert "<no value>" not in text
    assert "error" not in text.lower().replace("errors", "").replace("modelerrors", "")
    for label, value in row.labels.items():
        assert f'{label}="{value}"' in text
    page = rule_of(DIRECTORIES[0], name)["annotations"]["dashboard"]
    for template, value in LINKED.items():
        page = page.replace(template, value)
    assert f'dashboard="{page}"' in text


@pytest.mark.parametrize("name", ["OpenWebUIUserTokens", "OpenWebUIUserSpend"])
def test_where_names_are_not_shown_an_alert_names_the_id(tmp_path: Path, name: str) -> None:
    nameless = {s.replace(', user_name="Ada"', ""): v for s, v in ALERTS[name].fires.items()}
    row = replace(ALERTS[name], fires=nameless, labels={"user_id": "u1"})
    assert 'summary="u1 uses far more' in rendered(tmp_path, name, row)


def rule_of(rules: Path, name: str) -> dict[str, Any]:
    groups = yaml.safe_load((rules / "alerts.yml").read_text())["groups"]
    [rule] = [one for group in groups for one in group["rules"] if one["alert"] == name]
    return rule


def test_every_alert_is_tested_and_has_a_runbook() -> None:
    for rules in DIRECTORIES:
        groups = yaml.safe_load((rules / "alerts.yml").read_text())["groups"]
        alerts = [rule for group in groups for rule in group["rules"]]
        assert {rule["alert"] for rule in alerts} == set(ALERTS)
        for rule in alerts:
            assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
            assert f"\n### {rule['alert']}\n" in DOCS
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"]


def test_every_threshold_is_used_and_explained() -> None:
    for rules in DIRECTORIES:
        promtool("check", "rules", *(str(path) for path in rules.glob("*.yml")))
        groups = yaml.safe_load((rules / "thresholds.yml").read_text())["groups"]
        recorded = {rule["record"] for group in groups for rule in group["rules"]}
        used = set(re.findall(r"open_webui:threshold:\w+", (rules / "alerts.yml").read_text()))
        assert used == recorded
        for rule in (rule for group in groups for rule in group["rules"]):
            name, value = rule["record"].rpartition(":")[2], rule["expr"][len("vector(") : -1]
            assert f"\n| `{name}` | {value} | " in DOCS


@pytest.mark.parametrize("rules", DIRECTORIES, ids=lambda p: p.name)
def test_days_are_the_sum_of_their_hours(tmp_path: Path, rules: Path) -> None:
    groups = yaml.safe_load((rules / "recording.yml").read_text())["groups"]
    days = [group for group in groups if group["name"] == "open_webui_days"]
    path = tmp_path / "days.yml"
    path.write_text(yaml.safe_dump({"groups": days}))
    labels = '{gen_ai_request_model="m", open_webui_source="ui", open_webui_task="chat", user_id="u1", user_name="Ada"}'
    hours = f"user_model:open_webui_usage_requests:increase1h{labels}"
    # An hour in which nobody called has no record.
    series = [{"series": hours, "values": "0 1+1x23 _x6 7 _x17 3x24"}]
    total = {
        "expr": "sum_over_time(user_model:open_webui_usage_requests:increase1d[3d])",
        "eval_time": "72h",
    }
    test = {
        "interval": "1h",
        "input_series": series,
        "promql_expr_test": [{**total, "exp_samples": [{"labels": labels, "value": 300 + 7 + 69}]}],
    }
    check(tmp_path / "test.yml", "1d", [path], test)


BUDGETS = {
    "its own": ({OWN_BUDGET: "40x60"}, True),
    "the default": ({DEFAULT_BUDGET: "40x60"}, True),
    "enough": ({DEFAULT_BUDGET: "1000x60"}, False),
    "none": ({}, False),
    "that of a limit, of which another alert tells": ({LIMITED_BUDGET: "40x60"}, False),
    "that of a limit on another": (
        {DEFAULT_BUDGET: "40x60", LIMITED_BUDGET.replace("R&D", "other"): "40x60"},
        True,
    ),
    "of a limit and its own": ({OWN_BUDGET: "40x60", LIMITED_BUDGET: "1000x30"}, False),
    "that of another": ({OWN_BUDGET.replace("R&D", "other"): "1x60"}, False),
}


@pytest.mark.parametrize("rules", DIRECTORIES, ids=lambda p: p.name)
@pytest.mark.parametrize(("budgets", "fires"), BUDGETS.values(), ids=BUDGETS)
def test_a_group_is_held_to_its_budget(
    tmp_path: Path, budgets: Mapping[str, str], fires: bool, rules: Path
) -> None:
    row = Row({COST_OF_MONTH: "0+1x60", **budgets}, {}, "")
    expected = {"OpenWebUIBudget"} if fires else set[str]()
    check(
        tmp_path / "t.yml", row.every, [rules / "alerts.yml"], unit_test(row, row.fires, expected)
    )


@pytest.mark.parametrize("rules", DIRECTORIES, ids=lambda p: p.name)
@pytest.mark.parametrize(
    ("day", "cost"),
    # Time begins with January 1970: 31 days, then 28. A dollar in each hour, stamped at 30 minutes past.
    [
        (0.25, 6),
        (10, 240),
        (30.75, 738),
        (31.25, 6),
        (40, 216),
        (58.75, 666),
        (59.25, 6),
        (89.75, 738),
    ],
)
def test_a_month_costs_what_its_hours_cost(
    tmp_path: Path, day: float, cost: float, rules: Path
) -> None:
    [_, month] = yaml.safe_load((rules / "budgets.yml").read_text())["groups"]
    path = tmp_path / "budgets.yml"
    # As often as these leaps of time are long.
    path.write_text(yaml.safe_dump({"groups": [{**month, "interval": "6h"}]}))
    labels = '{open_webui_group_name="g", open_webui_task="chat"}'
    halves = int(day * 48)
    test = {
        "interval": "30m",
        "input_series": [
            {
                "series": f"group:open_webui_group_cost:increase1h{labels}",
                "values": " ".join(["_ 1"] * (halves // 2 + 1)),
            }
        ],
        "promql_expr_test": [
            {
                "expr": "sum by (open_webui_group_name) (open_webui:month:group_cost_usd)",
                "eval_time": f"{halves * 30}m",
                "exp_samples": [{"labels": '{open_webui_group_name="g"}', "value": cost}],
            }
        ],
    }
    check(tmp_path / "t.yml", "6h", [path], test)
