"""The dashboards as files: what Grafana would take silently and get wrong, is found here."""

from __future__ import annotations

import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboards.budgets import Budgets
from dashboards.promql import (
    ANYTHING,
    DETAIL,
    ERROR,
    ESTIMATED,
    PROVIDER,
    RANK,
    SIGNAL,
    TOKEN_TYPE,
    Reading,
    label,
)
from dashboards.promql import series as series_of
from dashboards.queries import BUDGET, DEFAULT_BUDGET, LIMITED_BUDGET, WHO, Queries
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.runtime import Runtime
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import __main__ as made
from dashboards import rules
from opentelemetry.instrumentation.open_webui import names
from opentelemetry.instrumentation.open_webui.host import ledger_state
from opentelemetry.instrumentation.open_webui.telemetry import accounts

ROOT = Path(__file__).resolve().parents[2]
THRESHOLDS = ROOT / "prometheus" / "rules" / "thresholds.yml"
FILES = sorted((ROOT / "dashboards").glob("*/*.json"))
SHARED = sorted((ROOT / "dashboards" / "import").glob("*/*.json"))
EACH = pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
UIDS = {
    f"open-webui-{page}{which}"
    for page in ("usage", "users", "user", "groups", "models", "health")
    for which in ("", "-portable", "-recorded")
}
BUILT_IN = {"__range", "__range_s", "__interval", "__rate_interval", "__url_time_range"}
BUILT_IN |= {"__data", "__field", "__value", "__all"}
# Of Grafana 10.4.
TRANSFORMATIONS = {"merge", "groupBy", "filterByValue", "organize"}
PANELS = {"row", "stat", "timeseries", "bargauge", "table", "text", "alertlist"}
WITHOUT_QUERIES = {"text", "alertlist"}
VARIABLE = re.compile(r"\$\{?(\w+)")
plugins.register_default_plugins()


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in read(path)["panels"] if panel["type"] != "row"]


def expressions(path: Path) -> Iterator[str]:
    """All PromQL of a dashboard, that of its dropdowns included."""
    for panel in panels(path):
        yield from (target["expr"] for target in panel.get("targets", ()) if "expr" in target)
    for variable in read(path)["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"].removeprefix("query_result")
    yield from (mark["expr"] for mark in read(path)["annotations"]["list"])


def test_what_lies_here_is_what_is_made() -> None:
    assert {path for path, _ in made.files() if path.suffix == ".json"} == {*FILES, *SHARED}
    for path, text in made.files():
        assert path.read_text() == text, f"{path.name} is out of date: make dashboards"


# Grafana's own types. The SDK reads unknown keys, wrong types and unknown panels without a word.


def misfits(value: Any, where: str = "") -> Iterator[str]:
    if isinstance(value, enum.Enum):
        return
    hints = typing.get_type_hints(type(value)) if hasattr(value, "__dict__") else {}
    for key, one in inside(value):
        if key in hints and not fits(one, hints[key]):
            yield f"{where}.{key}: {one!r} is not {hints[key]}"
        yield from misfits(one, f"{where}.{key}")


def inside(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, (list, tuple)):
        yield from enumerate(value)
    elif isinstance(value, dict):
        yield from value.items()
    elif hasattr(value, "__dict__"):
        yield from ((key, one) for key, one in vars(value).items() if one is not None)


def fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is not None:
        return isinstance(value, origin)
    if hint is type(None):
        return value is None
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return value in [one.value for one in hint]
    plain = {float: (int, float), int: (int,), str: (str,), bool: (bool,)}
    if hint in plain:
        return isinstance(value, plain[hint]) and (hint is bool or not isinstance(value, bool))
    return True


def lost(told: Any, kept: Any, where: str = "") -> Iterator[str]:
    if isinstance(told, dict):
        for key, one in told.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{where}.{key} is not in Grafana's model"
            else:
                yield from lost(one, kept[key], f"{where}.{key}")
    elif isinstance(told, list) and isinstance(kept, list):
        for number, (one, other) in enumerate(zip(told, kept, strict=True)):
            yield from lost(one, other, f"{where}[{number}]")


def problems(json_of: dict[str, Any]) -> list[str]:
    loaded = Dashboard.from_json(json_of)
    kept = json.loads(json.dumps(loaded, cls=JSONEncoder))
    known = {*Runtime().panelcfg_variants, "row", "alertlist"}
    unknown = [p["type"] for p in json_of["panels"] if p["type"] not in known]
    return [*misfits(loaded), *lost(json_of, kept), *unknown]


@EACH
def test_the_json_fits_grafanas_types(path: Path) -> None:
    assert problems(read(path)) == []


@pytest.mark.parametrize(
    ("where", "value"),
    [("title", 7), ("colour", "red"), ("type", "speedometer"), ("gridPos", {"h": "tall"})],
)
def test_what_does_not_fit_is_found(where: str, value: Any) -> None:
    broken = read(FILES[0])
    panel = next(one for one in broken["panels"] if one["type"] == "stat")
    panel[where] = value
    assert problems(broken)


# Our own rules.


@EACH
def test_every_panel_explains_itself(path: Path) -> None:
    for panel in panels(path):
        assert panel["title"].strip()
        assert len(panel["description"]) > 10
        assert panel["type"] in PANELS
        if panel["type"] not in WITHOUT_QUERIES:
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["fieldConfig"]["defaults"]["noValue"]
        used = {one["id"] for one in panel.get("transformations", ())}
        assert used <= TRANSFORMATIONS


@EACH
def test_sources_of_data_are_variables(path: Path) -> None:
    allowed = (
        {"type": "prometheus", "uid": "${datasource}"},
        {"type": "jaeger", "uid": "${traces}"},
    )
    for panel in panels(path):
        for one in (panel, *panel.get("targets", ())):
            assert panel["type"] in WITHOUT_QUERIES or one["datasource"] in allowed
    for variable in read(path)["templating"]["list"]:
        assert variable["type"] != "query" or variable["datasource"] in allowed


@EACH
def test_it_can_be_imported_anywhere(path: Path) -> None:
    found = read(path)
    assert found["uid"] in UIDS
    assert "id" not in found
    assert "http" not in path.read_text().replace("http_", "")
    assert found["schemaVersion"] == 39
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", SHARED, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_an_import_asks_for_its_data_sources(path: Path) -> None:
    own, told = read(ROOT / "dashboards" / path.parent.name / path.name), read(path)
    inputs, needs = told.pop("__inputs"), told.pop("__requires")
    assert told.pop("__elements") == {}
    assert problems(told) == []
    # Grafana puts what was chosen in the place of these, wherever they stand.
    asked = set(re.findall(r"\$\{(DS_\w+)\}", json.dumps(told)))
    assert asked == {one["name"] for one in inputs}
    assert {one["pluginId"] for one in inputs} <= {"prometheus", "jaeger"}
    for variable in told["templating"]["list"]:
        if variable["type"] == "datasource":
            kind = variable["query"]
            assert variable["current"]["value"] == f"${{DS_{kind.upper()}}}"
            variable["current"] = {"text": "default", "value": "default"}
            assert ("datasource", kind) in [(one["type"], one["id"]) for one in needs]
    # All else is as it is provisioned.
    assert told == own
    assert {one["id"] for one in needs if one["type"] == "panel"} == {
        panel["type"] for panel in own["panels"]
    } - {"row"}
    assert needs[0]["version"] == "10.4.0"


@EACH
def test_what_is_provisioned_asks_for_nothing(path: Path) -> None:
    """Only *Import* fills in what is asked for."""
    assert not {"__inputs", "__requires", "__elements"} & set(read(path))
    assert "${DS_" not in path.read_text()


def test_uids_are_stable_and_differ() -> None:
    assert sorted(read(path)["uid"] for path in FILES) == sorted(UIDS)


@EACH
def test_links_lead_to_dashboards(path: Path) -> None:
    """To those of the same set: the others may not be there."""
    links = re.findall(r'"url": "/d/([\w-]+)', path.read_text())
    assert set(links) <= {read(one)["uid"] for one in path.parent.glob("*.json")}
    assert len(links) >= 4


@EACH
def test_names_are_encoded_in_addresses(path: Path) -> None:
    """Of what Grafana 10 knows in links, only the value of the cell itself is; ids need it not."""
    for url in re.findall(r'"url": "([^"]*)"', path.read_text()):
        for reference in re.findall(r"\$\{[^}]*\}", url):
            assert reference in {
                "${__value.raw:percentencode}", "${__data.fields.ID}", "${__url_time_range}",
                "${datasource:queryparam}", "${source:queryparam}", *MONTH_ENDS,
            }, url  # fmt: skip


MONTH_ENDS = {f"${{month_{which}:raw}}" for which in ("0", "1", "2", "3", "next")}


@EACH
def test_months_are_not_shifts_of_the_time_range(path: Path) -> None:
    """A shift such as 1M/M moves the start of whatever range there is, and a link brings any."""
    for panel in panels(path):
        assert not {"timeShift", "timeFrom"} & set(panel), panel["title"]
    for variable in read(path)["templating"]["list"]:
        if variable["name"].startswith(("month_", "days_")):
            # An address, such as a bookmark, must not bring an old month back.
            assert variable["skipUrlSync"], variable["name"]
            assert (variable["hide"], variable["refresh"]) == (2, 2)


@EACH
def test_graphs_share_their_crosshair_and_marks(path: Path) -> None:
    found = read(path)
    assert found["graphTooltip"] == 1
    assert [mark["name"] for mark in found["annotations"]["list"]] == ["Restarts", "Prices"]


@EACH
def test_tables_begin_with_what_costs_most(path: Path) -> None:
    for panel in panels(path):
        if "Cost, USD" in json.dumps(panel.get("transformations", [])):
            [by] = panel["options"]["sortBy"]
            assert (by["displayName"], by["desc"]) == ("Cost, USD", True), panel["title"]
    [rank] = [one for one in read(path)["templating"]["list"] if one["name"] == "rank"] or [None]
    assert rank is None or rank["current"]["value"] == "cost"
    assert (rank is not None) == (path.stem == "usage")


@EACH
def test_every_variable_is_there(path: Path) -> None:
    known = {one["name"] for one in read(path)["templating"]["list"]} | BUILT_IN
    used = set(VARIABLE.findall(path.read_text()))
    assert {one for one in used if not one.isdigit()} <= known
    # A dropdown that changes nothing misleads.
    text = json.dumps([read(path)["panels"], read(path)["templating"]])
    for variable in read(path)["templating"]["list"]:
        assert re.search(rf"\$\{{?{variable['name']}\b", text) or path.stem == "health", variable[
            "name"
        ]


@EACH
def test_nobody_is_asked_to_type_a_name(path: Path) -> None:
    for variable in read(path)["templating"]["list"]:
        if variable["type"] in ("query", "custom"):
            assert variable["allowCustomValue"] is False, variable["name"]


@EACH
def test_panels_lie_side_by_side(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in read(path)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


# Names in PromQL.

WORDS = {
    "sum", "count", "max", "topk", "by", "on", "group_left", "and", "or", "bool", "offset", "end", "time",
    "increase", "rate", "anchored", "max_over_time", "min_over_time", "last_over_time", "sum_over_time",
    "timestamp", "histogram_quantile", "label_replace", "sort_desc", "vector", "days_in_month", "le",
    "__name__", "instance", "exporter", "data_type", "job", "Inf", "lost", "unless", "min", "year", "month",
    "day_of_month", "count_values",
}  # fmt: skip
EMITTED = {
    series_of(metric, suffix)
    for metric in (
        *accounts._COUNTERS, *accounts._GAUGES, names.ACTIVE,
        names.EXPORT_FAILURES, names.EXPORT_DROPPED, names.PRICES_MODIFIED,
        *(metric for metric, _ in (*ledger_state._COUNTERS, *ledger_state._GAUGES)),
        names.LIMIT_USED, names.LIMIT_ALLOWED, names.LIMIT_UNCHECKED, names.USAGE_REFUSED,
    )
    for suffix in ("",)
} | {
    series_of(metric, suffix)
    for metric in vars(names).values()
    if isinstance(metric, names.Metric) and metric.buckets
    for suffix in ("_bucket", "_count", "_sum")
}  # fmt: skip
RECORDED = {
    rule["record"].removesuffix("1h" if cut else "")
    for group in rules.recording(made.Exact())
    for rule in group["rules"]
    for cut in (True, False)
} | set(re.findall(r"open_webui:threshold:\w+", THRESHOLDS.read_text())) | {
    BUDGET, DEFAULT_BUDGET, LIMITED_BUDGET, rules.MONTH_START, rules.COST_OF_MONTH,
}  # fmt: skip
LABELS = {
    *map(label, (names.USER_ID, names.USER_NAME, names.GROUP_NAME, names.REQUEST_MODEL, names.SOURCE)),
    label(names.TASK), label(names.OPERATION), TOKEN_TYPE, DETAIL, ERROR, ESTIMATED, PROVIDER,
    SIGNAL, *map(label, (names.LIMIT_NAME, names.LIMIT_MEASURE, names.LIMIT_SHARED, names.LIMIT_OBSERVED)),
}  # fmt: skip
OURS = {ANYTHING, WHO}
"""Labels that are meant not to be there, and that a query makes."""


RANKS = ("cost", "tokens", "requests")


def words(expression: str) -> set[str]:
    if RANK in expression:
        return set().union(*(words(expression.replace(RANK, one)) for one in RANKS))
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|`[^`]*`', "", expression)
    bare = re.sub(r"\$\{\w+(?::\w+)?\}d?|\$\w+", "", bare)
    return set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*", re.sub(r"\[[^\]]*\]", "", bare)))


@EACH
def test_only_what_is_emitted_is_asked_for(path: Path) -> None:
    for expression in expressions(path):
        unknown = words(expression) - WORDS - EMITTED - LABELS - RECORDED - OURS
        assert not unknown, expression


def test_rules_too_use_only_what_is_emitted() -> None:
    for path, text in rules.files(Budgets(100, {"research": 250})):
        for expression in re.findall(r"^    expr: (.*)$", text, re.M):
            unknown = words(expression) - WORDS - EMITTED - LABELS - RECORDED - {"1h", "d"}
            assert not unknown, (path, expression)


@pytest.mark.parametrize("reading", [made.Exact(), made.Portable()], ids=lambda r: r.key)
def test_alerts_lead_to_dashboards(reading: Reading) -> None:
    """Of the set that reads totals as the rules do."""
    there = {read(path)["uid"] for path in FILES if path.parent.name == reading.key}
    for group in rules.alerts(reading):
        for rule in group["rules"]:
            path, _, _ = rule["annotations"]["dashboard"].partition("?")
            assert path.removeprefix("/d/") in there


def test_what_dashboards_of_records_ask_for_is_recorded() -> None:
    made_by_rules = {rule["record"] for g in rules.recording(made.Exact()) for rule in g["rules"]}
    for path in (path for path in FILES if path.parent.name == "recorded"):
        for expression in expressions(path):
            for span in ("1h", "1d"):
                for rank in RANKS:
                    whole = expression.replace("$sums", span).replace(RANK, rank)
                    asked = re.findall(r"(?:user|group|model|user_model):open_webui[\w:]+", whole)
                    assert set(asked) <= made_by_rules


def reads_anywhere(path: Path) -> bool:
    """Whether a page may read totals in any PromQL, by the value just before a range."""
    return path.parent.name in ("portable", "recorded")


@EACH
def test_no_counter_is_read_but_over_a_range(path: Path) -> None:
    """A series that is idle is not there: its last value says nothing."""
    for expression in expressions(path):
        for name in re.findall(r"open_webui_(?:usage|group)_\w+_total", expression):
            for after in re.findall(
                rf"{name}(?:\{{[^}}]*(?:\}}:[^}}]*)*\}})?(.)",
                re.sub(r"\$\{(\w+)(?::\w+)?\}", r"<\1>", expression),
            ):
                assert after == "[" or reads_anywhere(path), expression


def test_every_question_is_one() -> None:
    for name, method in inspect.getmembers(Queries, inspect.isfunction):
        if not name.startswith("_"):
            assert "?" in (method.__doc__ or ""), name
