"""Months are calendar months, whatever the time range; and what is drawn of many groups and models."""

from __future__ import annotations

import calendar
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest

from harness import dates
from harness.dates import Range, Told
from harness.grafana import View
from harness.history import Call, Process, Samples, make_blocks, write
from harness.programs import ROOT, Prometheus

SETS = ("exact", "portable")
GROUPS = [f"group {number}" for number in range(9)] + ['R&D "core" | x.y=? #5 +1%2F/ü 🦉', "(none)"]
MODELS = [f"model {number}" for number in range(8)]
ZONES = ("UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland")
DAYS = (1, 7, 30, 90)
# A leap February, the end of a year, and months in which summer time begins and ends.
MONTHS = ((2024, 1), (2024, 2), (2024, 3), (2023, 11), (2023, 12))
FIRST, LAST = (2023, 10), (2024, 3)
BACK = range(4)


def moment(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc]


def boundaries() -> list[float]:
    """The beginnings of all months of the history, but the first."""
    return [moment(2023, 11, 1), moment(2023, 12, 1), *(moment(2024, n, 1) for n in (1, 2, 3))]


def around(boundary: float, number: int) -> Process:
    """Calls at the last moments of a month that are exported in it, and at the first of the next."""
    calls = [
        Call(boundary + offset, f"user {index}", groups=() if group == "(none)" else (group,),
             model=MODELS[(index + number) % len(MODELS)], given=100 + index, cost=0.5 + index * (number + 1))
        for index, group in enumerate(GROUPS)
        for offset in (-3 * 3600, -200 - index, 1 + index, 3 * 3600)
    ]  # fmt: skip
    return Process(f"p{number}", boundary - 4 * 3600, boundary + 4 * 3600, calls)


@dataclass
class Budgets:
    """What Prometheus has recorded of budgets, in the last hours of each month."""

    groups: dict[str, float]
    default: float

    def samples(self) -> Samples:
        ends = [boundary - hours * 3600 for boundary in boundaries() for hours in (3, 2, 1)]
        found = {
            ("open_webui:budget:usd_per_month", frozenset({("open_webui_group_name", name)})): [
                (end, amount) for end in ends
            ]
            for name, amount in self.groups.items()
        }
        default = [(end, self.default) for end in ends]
        return {**found, ("open_webui:budget:default_usd_per_month", frozenset()): default}


PROCESSES = [around(boundary, number) for number, boundary in enumerate(boundaries())]
CALLS = [call for process in PROCESSES for call in process.calls]
BUDGETS = Budgets({"group 3": 7.5, GROUPS[9]: 80}, 20)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("months")
    program = Prometheus(directory)
    text = directory / "history.txt"
    write([*PROCESSES, BUDGETS], text)  # type: ignore[list-item]
    make_blocks(text, program.directory / "data")
    with program:
        yield program


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dashboard that has nothing but the variables with months."""
    board = json.loads((ROOT / "dashboards" / "exact" / "groups.json").read_text())
    of_months = [one for one in board["templating"]["list"] if one.get("skipUrlSync")]
    path = tmp_path_factory.mktemp("variables") / "months.json"
    path.write_text(json.dumps({"templating": {"list": of_months}, "panels": []}))
    return path


def looked_at(zone: str) -> Iterator[float]:
    """The first, third, fifteenth and last of months, at the beginning and in the evening, locally."""
    for year, month in MONTHS:
        for day in (1, 3, 15, calendar.monthrange(year, month)[1]):
            for clock in ((0, 0, 30), (19, 45, 0)):
                yield datetime(year, month, day, *clock, tzinfo=ZoneInfo(zone)).timestamp()


def ranges() -> Iterator[Range]:
    for zone in ZONES:
        for at in looked_at(zone):
            now = int(at * 1000)
            for days in DAYS:
                yield Range(zone, now, f"now-{days}d", "now")
                # As after zooming, which makes a range absolute.
                yield Range(zone, now, str(now - days * 86_400_000), str(now - 40 * 86_400_000))
            yield Range(zone, now, "now/M", "now/M")
            yield Range(zone, now, "now-1M/M", "now-1M/M")
            yield Range(zone, now, "now/d", "now/d")


def told_months(view: View) -> list[tuple[str, float, float, int]]:
    """Name, beginning, end and days of each month, as the dashboard's variables tell them."""
    names = [view.replaced(f"${{month_{back}:text}}") for back in BACK]
    starts = [float(view.replaced(f"${{month_{back}:raw}}")) for back in BACK]
    ends = [float(view.replaced("${month_next:raw}")), *starts]
    days = [int(view.replaced(f"${{days_{back}:raw}}")) for back in BACK]
    return list(zip(names, starts, ends, days, strict=False))


def test_months_are_those_of_grafana(prometheus: Prometheus, variables: Path) -> None:
    asked = list(ranges())
    distinct = {told.until: told for told in dates.ask(asked)}
    assert len(distinct) > 300
    for until, told in distinct.items():
        expected = [(m.name, m.start, m.end, round((m.end - m.start) / 86400)) for m in told.months]
        assert told_months(View(variables, prometheus, until - 60, until)) == expected, until


def test_the_first_moment_after_a_month_is_not_in_the_next(
    prometheus: Prometheus, variables: Path
) -> None:
    """Grafana asks for variables at the whole second after the end: 23:59:59.999 is midnight."""
    for end in (moment(2024, 3, 1) - 0.001, moment(2024, 3, 1)):
        assert told_months(View(variables, prometheus, end - 60, end))[0][0] == "2024-02"
    later = moment(2024, 3, 1) + 1
    assert told_months(View(variables, prometheus, later - 60, later))[0][0] == "2024-03"


def test_links_to_months_lead_to_calendar_months() -> None:
    """Of the dashboard's time zone, as its graphs are."""
    board = json.loads((ROOT / "dashboards" / "exact" / "usage.json").read_text())
    links = {link["title"]: parse_qs(urlsplit(link["url"]).query) for link in board["links"]}
    last, this = links["Last month"], links["This month"]
    for zone in ZONES:
        moments = list(looked_at(zone))
        cases = [
            Range(zone, int(at * 1000), link["from"][0], link["to"][0])
            for link in (last, this)
            for at in moments
        ]
        told = dates.ask(cases)
        for at, before, now in zip(moments, told, told[len(moments) :], strict=False):
            local = datetime.fromtimestamp(at, ZoneInfo(zone))
            first = local.replace(day=1, hour=0, minute=0, second=0)
            previous = (first - timedelta(days=1)).replace(day=1)
            assert (now.since, now.until) == (first.timestamp(), at)
            assert before.since == previous.timestamp()
            assert before.until == pytest.approx(first.timestamp() - 0.001)


# What stands on the page.


def in_utc(at: float) -> tuple[int, int]:
    day = datetime.fromtimestamp(at, UTC)
    return day.year, day.month


def back_from(year_month: tuple[int, int], back: int) -> tuple[int, int]:
    months = year_month[0] * 12 + year_month[1] - 1 - back
    return months // 12, months % 12 + 1


def truth(month: tuple[int, int]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for call in CALLS:
        if in_utc(call.at) == month:
            for group in call.groups or ("(none)",):
                own = found.setdefault(group, Counter())
                own.update(cost=call.cost, requests=1, given=call.given, made=call.made)
    return found


def by_group(view: View, title: str, *columns: str) -> dict[str, dict[str, float]]:
    """A table with groups as rows: its columns in order, under the names given."""
    found: dict[str, dict[str, float]] = {}
    for name, answer in zip(columns, view.answers(title), strict=True):
        for labels, value in answer:
            found.setdefault(labels["open_webui_group_name"], {})[name] = value
    return found


LOOKED_AT: dict[str, tuple[float, float]] = {
    "a day": (moment(2024, 2, 2), moment(2024, 2, 3)),
    "a week over the end of a month": (moment(2024, 2, 25), moment(2024, 3, 3)),
    "90 days": (moment(2023, 12, 3), moment(2024, 3, 2)),
    "last month": (moment(2024, 2, 1), moment(2024, 3, 1) - 0.001),
    "the whole of a month that goes on": (moment(2024, 3, 1), moment(2024, 4, 1) - 0.001),
    "long ago": (moment(2023, 12, 30, 11), moment(2024, 1, 2, 11, 30)),
}


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("ends", LOOKED_AT.values(), ids=LOOKED_AT)
def test_bills_are_of_whole_months(
    prometheus: Prometheus, ends: tuple[float, float], which: str
) -> None:
    path = ROOT / "dashboards" / which / "groups.json"
    # Months that an address brings, of a bookmark for example, are not believed.
    old = {"month_0": "1", "month_1": "1", "month_next": "2", "days_0": "1"}
    view = View(path, prometheus, *ends, old)
    latest = in_utc(ends[1] - 0.001)
    for back in BACK:
        month = back_from(latest, back)
        expected = truth(month)
        told = by_group(
            view, f"${{month_{back}:text}}, by group",
            "cost", "used", "left", "budget", "requests", "given", "made",
        )  # fmt: skip
        assert {group: row["cost"] for group, row in told.items() if row.get("cost")} == {
            group: pytest.approx(own["cost"]) for group, own in expected.items()
        }, month
        for group, own in expected.items():
            row = told[group]
            assert [row[name] for name in ("requests", "given", "made")] == [
                own[name] for name in ("requests", "given", "made")
            ]
            if month in ((2024, 3), (2023, 10)):  # nothing was recorded of budgets then
                continue
            budget = BUDGETS.groups.get(group, BUDGETS.default)
            assert row["budget"] == budget
            assert row["used"] == pytest.approx(own["cost"] / budget)
            assert row["left"] == pytest.approx(budget - own["cost"])
        totals = [a[0][1] if a else 0 for a in view.answers(f"${{month_{back}:text}}: true total")]
        calls = [call for call in CALLS if in_utc(call.at) == month]
        assert totals == [
            pytest.approx(sum(c.cost for c in calls)), len(calls),
            sum(c.given for c in calls), sum(c.made for c in calls),
        ]  # fmt: skip


RANKS: dict[str, Any] = {
    "cost": lambda c: c.cost,
    "requests": lambda _: 1,
    "tokens": lambda c: c.given + c.made,
}


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("rank", RANKS)
def test_of_many_the_largest_and_the_rest_are_drawn(
    prometheus: Prometheus, rank: str, which: str
) -> None:
    since, until = moment(2023, 10, 25), moment(2024, 3, 5)
    path = ROOT / "dashboards" / which / "usage.json"
    view = View(path, prometheus, since, until, {"rank": rank})
    for by, label, names in (
        ("model", "gen_ai_request_model", MODELS),
        ("group", "open_webui_group_name", GROUPS),
    ):
        totals = Counter[str]()
        for call in CALLS:
            key = call.model if by == "model" else (call.groups or ("(none)",))[0]
            totals[key] += RANKS[rank](call)
        assert set(totals) == set(names)
        tops, others = view.panel(f"Over time: ${{rank:text}} by {by}")["targets"]
        drawn = {labels[label]: sum(v for _, v in p) for labels, p in view.graph(tops, 80)}
        assert len(drawn) == 6
        assert drawn == {name: pytest.approx(totals[name]) for name in drawn}
        assert min(drawn.values()) >= max(totals[name] for name in names if name not in drawn)
        [(_, points)] = view.graph(others, 80)
        rest = sum(totals.values()) - sum(drawn.values())
        assert sum(v for _, v in points) == pytest.approx(rest)


def test_of_a_few_nothing_is_left_out(prometheus: Prometheus) -> None:
    path = ROOT / "dashboards" / "exact" / "usage.json"
    view = View(path, prometheus, moment(2024, 2, 25), moment(2024, 3, 5), {"group": GROUPS[:5]})
    tops, others = view.panel("Over time: ${rank:text} by group")["targets"]
    assert len(view.graph(tops, 80)) == 5
    assert view.graph(others, 80) == []


def test_restarts_are_marked_where_they_were(prometheus: Prometheus) -> None:
    path = ROOT / "dashboards" / "exact" / "usage.json"
    # The first process runs already when the range begins.
    view = View(path, prometheus, boundaries()[0], moment(2024, 2, 15))
    [marks] = [one for one in view.json["annotations"]["list"] if one["name"] == "Restarts"]
    assert marks["useValueForTime"]
    told = {value / 1000 for _, points in view.graph(marks, 100) for _, value in points}
    started = [process.start for process in PROCESSES[1:4]]
    assert sorted(told) == [pytest.approx(start, abs=60) for start in started]


# From one page to another.


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_of_a_bill_leads_to_its_members_in_that_month(
    prometheus: Prometheus, group: str
) -> None:
    path = ROOT / "dashboards" / "exact" / "groups.json"
    view = View(path, prometheus, moment(2024, 3, 1), moment(2024, 3, 2))
    members, usage = view.addresses("${month_1:text}, by group", "Group", group)
    expected = truth((2024, 2))[group]
    for address, page in ((members, "users"), (usage, "usage")):
        parts = urlsplit(address)
        assert parts.path == f"/d/open-webui-{page}"
        query = parse_qs(parts.query, strict_parsing=True)
        assert query["var-group"] == [group]
        since, until = (int(query[end][0]) / 1000 for end in ("from", "to"))
        assert (since, until) == (moment(2024, 2, 1), moment(2024, 3, 1))
        opened = View(path.with_name(f"{page}.json"), prometheus, since, until, {"group": [group]})
        if page == "usage":
            [[(_, requests)]] = opened.answers("Requests")
            assert requests == expected["requests"]
        else:
            assert [o.value for o in opened.options["user"]] == [f"user {GROUPS.index(group)}"]


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize(
    ("page", "panel", "heading", "variable"),
    [
        ("usage", "Top groups by ${rank:text}", "Group", "group"),
        ("usage", "Top models by ${rank:text}", "Model", "model"),
        ("groups", "By group", "Group", "group"),
        ("groups", "By group and model", "Model", "model"),
        ("models", "Which model does how well?", "Model", "model"),
        ("models", "Failed calls by model and error", "Model", "model"),
        ("user", "Usage by model, source and task", "Model", "model"),
        ("health", "Which models are estimated or unpriced?", "Model", "model"),
    ],
)
def test_whatever_a_name_holds_links_choose_it(
    prometheus: Prometheus, name: str, page: str, panel: str, heading: str, variable: str
) -> None:
    path = ROOT / "dashboards" / "exact" / f"{page}.json"
    view = View(path, prometheus, moment(2024, 2, 1), moment(2024, 2, 2), {"source": "ui|api"})
    for address in view.addresses(panel, heading, name):
        query = parse_qs(urlsplit(address).query, strict_parsing=True)
        assert query[f"var-{variable}"] == [name]
        assert query.get("var-source", ["ui|api"]) == ["ui|api"]
        kept = {"var-datasource", "from", "to", *(() if page == "health" else ("var-source",))}
        assert set(query) == {f"var-{variable}", *kept}


def test_a_user_of_the_ranking_leads_to_their_page(prometheus: Prometheus) -> None:
    path = ROOT / "dashboards" / "exact" / "usage.json"
    view = View(path, prometheus, moment(2024, 2, 1), moment(2024, 2, 2))
    [address] = view.addresses("Top users by ${rank:text}", "User", "Ann & Co", ID="u-1")
    query = parse_qs(urlsplit(address).query, strict_parsing=True)
    assert (urlsplit(address).path, query["var-user"]) == ("/d/open-webui-user", ["u-1"])


def test_told_is_what_was_asked() -> None:
    """The arithmetic is Grafana's, not a stub: a range in a zone with summer time."""
    now = int(datetime(2024, 4, 15, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000)
    [told] = dates.ask([Range("Europe/Berlin", now, "now-1M/M", "now-1M/M")])
    assert isinstance(told, Told)
    assert told.until - told.since == pytest.approx(31 * 86400 - 3600 - 0.001)
