"""Reads the accounts from the Prometheus endpoint, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from demo.figures import BILLION, Amount, Key, Report, add

USAGE_PREFIX = "open_webui_usage_"
GROUP_PREFIX = "open_webui_group_"
MEMBERSHIP = "open_webui_user_group"
TIMEOUT = 10.0


def read(url: str) -> Report:
    """The report as the endpoint shows it now."""
    # A proxy of the caller's environment has no way to our loopback port.
    return parse(httpx.get(url, timeout=TIMEOUT, trust_env=False).raise_for_status().text)


def parse(text: str) -> Report:
    """The report in a text of Prometheus's exposition format."""
    report = Report()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            take(report, sample.name, sample.labels, sample.value)
    return report


def take(report: Report, name: str, labels: Mapping[str, str], value: float) -> None:
    """Add one sample, if it is one of the accounts."""
    if name == MEMBERSHIP and value:
        report.members.add((labels["user_id"], labels["open_webui_group_name"]))
    elif name.startswith(USAGE_PREFIX):
        report.names[labels["user_id"]] = labels.get("user_name", "")
        add(report.users, key_of("user_id", labels), amount_of(name, labels, value))
    elif name.startswith(GROUP_PREFIX):
        add(
            report.groups,
            key_of("open_webui_group_name", labels),
            amount_of(name, labels, value),
        )


def key_of(who: str, labels: Mapping[str, str]) -> Key:
    """The tags of a sample; `who` names the label with the user or the group."""
    return Key(
        who=labels[who],
        model=labels["gen_ai_request_model"],
        picked=labels["open_webui_model_id"],
        source=labels["open_webui_source"],
        task=labels["open_webui_task"],
    )


def amount_of(name: str, labels: Mapping[str, str], amount: float) -> Amount:
    """What a sample counts."""
    value = int(amount)
    if name.endswith("_cost_total"):
        return Amount(cost=round(amount * BILLION))
    if name.endswith("_unpriced_requests_total"):
        return Amount(unpriced=value)
    if name.endswith("_requests_total"):
        # The exporter writes a label that a series does not have as an empty one.
        return Amount(requests=value, failed=value if labels.get("error_type") else 0)
    if name.endswith("_tokens_total"):
        sent = labels["gen_ai_token_type"] == "input"
        return Amount(input=value) if sent else Amount(output=value)
    return Amount()
