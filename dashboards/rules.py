"""Prometheus' rules: sums recorded for each hour and day, budgets, and alerts.

Made twice, like the dashboards: for Prometheus 3.16 and newer, and for any PromQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from opentelemetry.instrumentation.open_webui import names
from opentelemetry.instrumentation.open_webui.names import Metric

from .budgets import Budgets
from .frame import uid
from .promql import (
    BY_GROUP,
    BY_MODEL,
    BY_USER,
    ERROR,
    ESTIMATED,
    FINE,
    GROUP,
    IN_FORCE,
    LIMIT,
    MODEL,
    NOT_METRICS,
    POOL,
    SIGNAL,
    SUCCEEDED,
    TASK,
    TOKEN_TYPE,
    USER_ID,
    USER_NAME,
    Exact,
    Level,
    Matchers,
    Portable,
    Reading,
    Recorded,
    Window,
    either,
    month_of,
    of_collector,
    recorded,
    selector,
    series,
    summed,
)
from .queries import BUDGET, DEFAULT_BUDGET, LIMITED_BUDGET, Queries

Rule = dict[str, Any]

HOUR, DAY = "1h", "1d"
LEVELS: Final = (FINE, BY_USER, BY_MODEL)
"""By what usage is recorded; that of groups is by ``BY_GROUP``."""
USAGE: Final = (names.USAGE_REQUESTS, names.USAGE_TOKENS, names.USAGE_COST)
OF_GROUPS: Final = (names.GROUP_REQUESTS, names.GROUP_TOKENS, names.GROUP_COST)
TOTALS: Final = (
    *((metric, level) for metric in USAGE for level in LEVELS),
    *((metric, BY_GROUP) for metric in OF_GROUPS),
)
GAUGES: Final[Mapping[Metric, tuple[str, ...]]] = {
    names.USER_GROUP: (USER_ID, USER_NAME, GROUP),
    names.USER_LAST_SEEN: (USER_ID, USER_NAME),
}
MONTH_START: Final = "open_webui:month:start_seconds"
COST_OF_MONTH: Final = "open_webui:month:group_cost_usd"
NOT_CANCELLED: Final = f'{ERROR}!~"|{names.CANCELLED}"'


def threshold(name: str) -> str:
    """A threshold of ``thresholds.yml``, which nobody makes anew: people change it there.

    Ready to be compared with, whatever labels stand on the other side.
    """
    return f"> on () group_left () open_webui:threshold:{name}"


@dataclass(frozen=True)
class Alert:
    """One alert. Its runbook is the section of its name in ``docs/alerts.md``."""

    name: str
    expr: str
    wait: str
    severity: str
    page: str
    summary: str
    description: str

    def rule(self, reading: Reading) -> Rule:
        """As Prometheus wants it; it leads to the dashboards that read totals as it does."""
        page, _, choice = self.page.partition("?")
        path = f"/d/{uid(page, Queries(reading))}"
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "dashboard": f"{path}?{choice}" if choice else path,
                "runbook": f"docs/alerts.md#{self.name.lower()}",
            },
        }


def recording(reading: Reading) -> list[Rule]:
    """The groups of recording rules. Days are added up from hours."""
    hours = [
        # Each straight from what was exported: records that build on others cannot be made afterwards.
        _record(metric, HOUR, f"{_sum(reading, metric, HOUR, level)} > 0", level)
        for metric, level in TOTALS
    ]
    days = [
        _record(metric, DAY, _sum(Recorded(HOUR), metric, DAY, level), level)
        for metric, level in TOTALS
    ]
    for metric, by in GAUGES.items():
        hours.append(_record(metric, HOUR, _highest(reading, metric, HOUR, by)))
        days.append(_record(metric, DAY, _highest(Recorded(HOUR), metric, DAY, by)))
    return [
        # Late data counts if it comes within five minutes. Days wait for the last of their hours.
        {"name": "open_webui_hours", "interval": HOUR, "query_offset": "5m", "rules": hours},
        {"name": "open_webui_days", "interval": DAY, "query_offset": "10m", "rules": days},
    ]


def month() -> list[Rule]:
    """What each group has cost in this calendar month (UTC), added up from hours: the latest may be missing."""
    cost = recorded(names.GROUP_COST, HOUR, BY_GROUP)
    hour = summed(f"sum_over_time({cost}[{HOUR}])", [GROUP])
    of_this_month = f"vector(time()) > on () max(last_over_time({MONTH_START}[15m] @ end()))"
    hours = f"sum_over_time(({hour} and on () ({of_this_month}))[31d:{HOUR}])"
    return [
        {"record": MONTH_START, "expr": month_of("time()")},
        {"record": COST_OF_MONTH, "expr": summed(hours, [GROUP])},
    ]


def budgets(of: Budgets) -> list[Rule]:
    """What each group may cost, and what it has cost so far."""
    allowed = selector(names.LIMIT_ALLOWED, [f'{GROUP}!=""'])
    rules: list[Rule] = [{"record": LIMITED_BUDGET, "expr": f"min by ({GROUP}) ({allowed})"}]
    rules += [
        {"record": BUDGET, "expr": f"vector({amount:.15g})", "labels": {GROUP: name}}
        for name, amount in of.groups.items()
    ]
    if of.default is not None:
        rules.append({"record": DEFAULT_BUDGET, "expr": f"vector({of.default:.15g})"})
    return [
        {"name": "open_webui_budgets", "rules": rules},
        {"name": "open_webui_month", "interval": "4m", "rules": month()},
    ]


def alerts(reading: Reading) -> list[Rule]:
    """The groups of alerts."""
    rules = [
        alert.rule(reading)
        for alert in (
            *_of_models(reading),
            *_of_limits(reading),
            *_of_truth(reading),
            *_of_pipeline(reading),
            *_of_ledger(reading),
        )
    ]
    slow = [alert.rule(reading) for alert in _of_money(reading)]
    return [
        {"name": "open_webui_alerts", "interval": "1m", "rules": rules},
        {"name": "open_webui_alerts_of_days", "interval": "15m", "rules": slow},
    ]


def _of_models(reading: Reading) -> Iterator[Alert]:
    calls = _grown(reading, names.USAGE_REQUESTS, "15m", by=[MODEL])
    failed = _grown(reading, names.USAGE_REQUESTS, "15m", [NOT_CANCELLED], by=[MODEL])
    yield Alert(
        "OpenWebUIModelErrors",
        f"({failed} {threshold('error_calls')}) / {calls} {threshold('error_share')}",
        "5m", "warning", "models",
        "Calls to {{ $labels.gen_ai_request_model }} fail",
        "{{ $value | humanizePercentage }} of the calls to {{ $labels.gen_ai_request_model }} in the last 15 minutes failed; calls that people gave up are not among them.",
    )  # fmt: skip
    buckets = either(
        lambda one: f"rate({selector(one, [SUCCEEDED], '_bucket')}[15m])", names.DURATION
    )
    yield Alert(
        "OpenWebUIModelSlow",
        f"histogram_quantile(0.95, {summed(buckets, ['le', MODEL])}) {threshold('duration_p95_seconds')}",
        "10m", "warning", "models",
        "{{ $labels.gen_ai_request_model }} is slow",
        "5 of 100 calls to {{ $labels.gen_ai_request_model }} take longer than {{ $value | humanizeDuration }}.",
    )  # fmt: skip


def _of_money(reading: Reading) -> Iterator[Alert]:
    yield Alert(
        "OpenWebUISpend",
        f"{_grown(reading, names.USAGE_COST, DAY)} {threshold('cost_per_day_usd')}",
        "0s", "warning", "usage",
        "Models cost {{ $value | printf \"%.2f\" }} USD in 24 hours",
        "More than the threshold cost_per_day_usd. Calls without a known price come on top.",
    )  # fmt: skip
    # Where a limit holds a group to its budget, OpenWebUIPool tells of it; a while after its last call, too.
    held = f"unless on ({GROUP}) last_over_time({LIMITED_BUDGET}[7d])"
    own = f"max by ({GROUP}) ({BUDGET})"
    default = f"0 * {COST_OF_MONTH} + on () group_left () max({DEFAULT_BUDGET})"
    yield Alert(
        "OpenWebUIBudget",
        f"{COST_OF_MONTH} / on ({GROUP}) ({own} or on ({GROUP}) {default}) {threshold('budget_share')} {held}",
        "0s", "warning", f"groups?var-group={{{{ $labels.{GROUP} | urlquery }}}}",
        f"{{{{ $labels.{GROUP} }}}} has used {{{{ $value | humanizePercentage }}}} of its budget",
        "In this calendar month (UTC) so far. More than the threshold budget_share of what prometheus/budgets.yaml allows the group.",
    )  # fmt: skip
    for what, metric, least, unit in (
        ("Tokens", names.USAGE_TOKENS, "user_tokens_per_day", "tokens"),
        ("Spend", names.USAGE_COST, "user_cost_per_day_usd", "USD"),
    ):
        by = [USER_ID, USER_NAME]
        today = summed(Recorded(HOUR).total(metric, (), Window(DAY), BY_USER), by)
        week = summed(f"sum_over_time({recorded(metric, HOUR)}[7d] offset {DAY})", by)
        yield Alert(
            f"OpenWebUIUser{what}",
            f"({today} {threshold(least)}) / ({week} / 7 or {today} / 1000) {threshold('times_own_week')}",
            "0s", "warning", "user?var-user={{ $labels.user_id }}",
            f"{{{{ or $labels.user_name $labels.user_id }}}} uses far more {unit} than in the week before",
            f"In 24 hours {{{{ $value | humanize }}}} times the daily mean of the seven days before, in {unit}. Without such a week it says 1,000. User id: {{{{ $labels.user_id }}}}.",
        )  # fmt: skip


def _of_limits(reading: Reading) -> Iterator[Alert]:
    yield Alert(
        "OpenWebUIPool",
        f"{Queries(reading).limit_used([POOL])} {threshold('pool_share')}",
        "5m", "warning", "groups",
        "{{ $value | humanizePercentage }} of the limit {{ $labels.open_webui_limit_name }} is used",
        "It is shared: when all of it is used, nobody whom it is for gets an answer until it is back. More than the threshold pool_share.",
    )  # fmt: skip
    yield Alert(
        "OpenWebUIRefused",
        f"{_grown(reading, names.USAGE_REFUSED, '15m', [IN_FORCE], by=[LIMIT])} {threshold('refused_requests')}",
        "0s", "info", "groups",
        "{{ $labels.open_webui_limit_name }} refuses requests",
        "{{ $value | humanize }} in the last 15 minutes. Whom, the ledger says: calls that ended with usage_limit_exceeded.",
    )  # fmt: skip
    yield Alert(
        "OpenWebUILimitsUnchecked",
        f"{_grown(reading, names.LIMIT_UNCHECKED, '15m')} {threshold('unchecked_requests')}",
        "0s", "critical", "health",
        "Limits are not enforced",
        "For {{ $value | humanize }} requests of the last 15 minutes the ledger could not be asked what was used. They were let in, or refused where LIMITS_FAIL is closed.",
    )  # fmt: skip


def _of_truth(reading: Reading) -> Iterator[Alert]:
    unknown = [f'{TASK}="{names.UNKNOWN_TASK}"']
    yield Alert(
        "OpenWebUIUnknownPaths",
        f"{_grown(reading, names.USAGE_REQUESTS, HOUR, unknown)} {threshold('unknown_calls')}",
        "0s", "info", "health",
        "Models are called on paths that are not known",
        "{{ $value }} calls in the last hour took a path that this version of the library does not know. They are counted, with less detail.",
    )  # fmt: skip
    for name, metric, all_of, matchers, share, about in (
        ("Unpriced", names.USAGE_UNPRICED, names.USAGE_REQUESTS, (), "unpriced_share", "calls have no known price: cost is too low"),
        ("Estimated", names.USAGE_TOKENS, names.USAGE_TOKENS, (f'{ESTIMATED}="true"',), "estimated_share", "tokens are estimated, because providers do not report them"),
    ):  # fmt: skip
        part, whole = _grown(reading, metric, DAY, matchers), _grown(reading, all_of, DAY)
        yield Alert(
            f"OpenWebUI{name}", f"{part} / {whole} {threshold(share)}", "1h", "info", "health",
            f"{{{{ $value | humanizePercentage }}}} of the {about}",
            f"Of the last 24 hours; more than the threshold {share}. The page shows of which models.",
        )  # fmt: skip
    folded = [f'{USER_ID}="{names.FOLDED}"']
    yield Alert(
        "OpenWebUISeriesFolded",
        f"{_grown(reading, names.USAGE_REQUESTS, HOUR, folded)} {threshold('folded_calls')}",
        "0s", "warning", "health",
        "There are more users than are kept apart",
        "{{ $value }} calls of the last hour count under user __other__. Totals stay right. Raise OTEL_PYTHON_OPEN_WEBUI_SERIES_LIMIT.",
    )  # fmt: skip


def _of_pipeline(reading: Reading) -> Iterator[Alert]:
    newest = f"max by (job) (max_over_time(timestamp({series(names.ACTIVE)})[1d:1m]))"
    yield Alert(
        "OpenWebUINoTelemetry",
        f"time() - {newest} {threshold('silence_seconds')}",
        "0s", "critical", "health",
        "Nothing is heard of {{ $labels.job }}",
        "It was last heard of {{ $value | humanizeDuration }} ago. While Open WebUI runs it always reports: it was stopped, or its telemetry is cut off.",
    )  # fmt: skip
    yield Alert(
        "OpenWebUIExportsFail",
        f"{_grown(reading, names.EXPORT_FAILURES, '15m', by=[SIGNAL])} {threshold('failed_exports')}",
        "0s", "warning", "health",
        "Open WebUI cannot export its {{ $labels.open_webui_signal }}",
        "{{ $value | humanize }} exports failed in the last 15 minutes, each after several attempts. The log of Open WebUI says why.",
    )  # fmt: skip
    yield Alert(
        "OpenWebUIExportDropping",
        f"{_grown(reading, names.EXPORT_DROPPED, '15m', [NOT_METRICS], by=[SIGNAL])} {threshold('dropped_items')}",
        "0s", "critical", "health",
        "Open WebUI drops {{ $labels.open_webui_signal }}",
        "{{ $value | humanize }} items in the last 15 minutes never left Open WebUI. Totals are not touched; of logs, these are lines of the ledger. The page says whether exports failed or the queue was full.",
    )  # fmt: skip
    lost = " or ".join(
        _lost(what, items)
        for what in ("receiver_refused", "exporter_enqueue_failed", "exporter_send_failed")
        for items in ("metric_points", "spans", "log_records")
    )
    yield Alert(
        "OpenWebUICollectorDropping",
        f"({lost}) {threshold('collector_lost_items')}",
        "0s", "critical", "health",
        "The collector {{ $labels.instance }} drops data",
        "{{ $labels.lost }}: {{ $value | humanize }} items in ten minutes. What is refused is sent again for a while; what is not queued is lost.",
    )  # fmt: skip
    by = ["job", "instance", "exporter"]
    sizes = [summed(of_collector(f"exporter_queue_{what}"), by) for what in ("size", "capacity")]
    yield Alert(
        "OpenWebUICollectorQueue",
        f"{sizes[0]} / {sizes[1]} {threshold('collector_queue_share')}",
        "5m", "warning", "health",
        "A queue of the collector {{ $labels.instance }} is nearly full",
        "The queue of {{ $labels.exporter }} is at {{ $value | humanizePercentage }}. When it is full, what comes next is lost.",
    )  # fmt: skip


def _of_ledger(reading: Reading) -> Iterator[Alert]:
    by = ["job", "instance"]
    yield Alert(
        "OpenWebUILedgerWaits",
        f"max by ({', '.join(by)}) ({series(names.LEDGER_BEHIND)}) {threshold('ledger_wait_seconds')}",
        "0s", "warning", "health",
        "Calls of {{ $labels.instance }} wait for the ledger",
        "The oldest has waited for {{ $value | humanizeDuration }}. Nothing is lost yet: they are in memory or in a file, and are written when the database can be. The log of Open WebUI says why it cannot.",
    )  # fmt: skip
    yield Alert(
        "OpenWebUILedgerLoses",
        f"{_grown(reading, names.LEDGER_LOST, '15m', by=by)} {threshold('ledger_lost_calls')}",
        "0s", "critical", "health",
        "The ledger loses calls of {{ $labels.instance }}",
        "{{ $value | humanize }} calls in the last 15 minutes found no room, in memory or in a file, or were not taken by the database. Totals in Prometheus have them.",
    )  # fmt: skip


def files(of: Budgets) -> Iterator[tuple[str, str]]:
    """The path of each rule file in the repository, and its content."""
    for directory, reading in (("rules", Exact()), ("rules-portable", Portable())):
        for name, about, groups in (
            ("recording", _ABOUT_RECORDING, recording(reading)),
            ("budgets", _ABOUT_BUDGETS, budgets(of)),
            ("alerts", _ABOUT_ALERTS, alerts(reading)),
        ):
            text = yaml.safe_dump(
                {"groups": groups}, sort_keys=False, allow_unicode=True, width=100_000
            )
            yield f"prometheus/{directory}/{name}.yml", f"{about}{_MADE}{text}"


def _record(metric: Metric, span: str, expr: str, level: Level = BY_USER) -> Rule:
    return {"record": recorded(metric, span, level), "expr": expr}


def _sum(reading: Reading, metric: Metric, span: str, level: Level) -> str:
    of_tokens = (TOKEN_TYPE,) if metric in (names.USAGE_TOKENS, names.GROUP_TOKENS) else ()
    grown = reading.total(metric, (), Window(span), level)
    return summed(grown, (*level.labels, *of_tokens))


def _highest(reading: Reading, metric: Metric, span: str, by: tuple[str, ...]) -> str:
    return f"max by ({', '.join(by)}) ({reading.peak(metric, (), Window(span))})"


def _lost(what: str, items: str) -> str:
    """Items that the collector lost in one way, with a label that says in which."""
    grown = summed(f"increase({of_collector(f'{what}_{items}')}[10m])", ["job", "instance"])
    return f'label_replace({grown}, "lost", "{what} {items}", "", "")'


def _grown(
    reading: Reading,
    metric: Metric,
    over: str,
    matchers: Matchers = (),
    by: Sequence[str] = (),
) -> str:
    return summed(reading.total(metric, matchers, Window(over)), by)


_MADE: Final = "# Made by `make dashboards` from dashboards/rules.py.\n"
_ABOUT_RECORDING: Final = """\
# What each user and group used in each hour and day, for dashboards over months (docs/dashboards.md).
"""
_ABOUT_BUDGETS: Final = """\
# What each group may cost in a calendar month (UTC), in US dollars: made of prometheus/budgets.yaml, which is the
# place to change it. Where that cannot be, here: one rule for a group, and one for all others (docs/alerts.md).
"""
_ABOUT_ALERTS: Final = """\
# Alerts, each with its runbook in docs/alerts.md. Their thresholds stand in thresholds.yml.
"""
