"""Totals over days of every kind of history: exact and portable alike, and as they were recorded."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.grafana import View
from harness.history import INTERVAL, Call, Process, make_blocks, promtool, spread, write
from harness.programs import ROOT, Prometheus

HOUR, DAY = 3600, 86400
# Two whole days in the past.
START = float(int(time.time()) // DAY * DAY - 3 * DAY)
LIFE = (START, START + 2 * DAY)
SETS = ("exact", "portable")
NAMES = [
    'Bob "B" O\'Neil',
    "a b",
    "a|b",
    "a.b",
    "Дора 多拉",
    "🦉",
    "C:\\d",
    "(x)[y]{z}^$*+?-/",
    "`",
]


def at(hours: float) -> float:
    """A moment of the history, a few seconds off any export."""
    return START + hours * HOUR + 7


def process(name: str, *calls: list[Call] | Call, life: tuple[float, float] = LIFE) -> Process:
    # Each exports at its own moment of the minute.
    phase = sum(name.encode()) % INTERVAL
    flat = [c for one in calls for c in (one if isinstance(one, list) else [one])]
    return Process(name, life[0] + phase, life[1] - INTERVAL + phase, flat)


BURST = spread(Call(at(10), "steady", given=100, made=7), 230, 30)
HISTORY = [
    process("single", Call(at(3), "once", given=200, made=1)),
    process("burst", BURST),
    # Two workers, and one user who meets both.
    process("worker-1", spread(Call(at(5), "shared", source="ui"), 40, 60)),
    process("worker-2", spread(Call(at(5.01), "shared", source="ui"), 50, 45)),
    # A worker that is restarted in the middle of things, twice.
    process("before", spread(Call(at(7), "restarted"), 30, 60), life=(START, at(7.7))),
    process("between", spread(Call(at(7.8), "restarted"), 10, 60), life=(at(7.75), at(8.2))),
    process("after", spread(Call(at(8.3), "restarted"), 30, 60), life=(at(8.25), START + 2 * DAY)),
    process("renamed", *[
        spread(Call(at(12), "renamed", "Old Name"), 10, 60),
        spread(Call(at(13.5), "renamed", "New Name"), 20, 60),
    ]),
    process("silent", *[
        spread(Call(at(2), "silent"), 5, 60), spread(Call(at(9.2), "silent"), 5, 60),
        Call(at(30), "silent"), Call(at(30.5), "silent", source="background"),
    ]),
    process("folded", spread(Call(at(15), "anybody", "__other__", folded=True), 3, 60)),
    process("mixed", *[
        Call(at(16 + number / 10), f"user-{number}", name, model=f"model {name}",
             groups=(f"group {name}", "all"), given=1000 + number)
        for number, name in enumerate(NAMES)
    ]),
    process("nameless", spread(Call(at(22), "nameless", None), 3, 60)),
    process("errors", spread(Call(at(20), "steady", error="429", given=0, made=0, cost=0), 4, 60)),
]  # fmt: skip
CALLS = [call for one in HISTORY for call in one.calls]

# Ranges in hours whose ends lie where nothing happens, so that what is in them is beyond doubt.
QUIET = {
    "all": (0, 48),
    "before the first sample": (-24, 4),
    "one call": (2.8, 3.6),
    "several workers": (4.5, 6.5),
    "restarts": (6.8, 9.15),
    "silent in between": (1.5, 11.98),
    "within silence": (4, 9.1),
    "after days": (29.5, 31.5),
    "a user renamed": (11.97, 14.5),
    "one of two names": (13.4, 14.5),
    "awkward names": (15.9, 17.5),
    "the second day": (24, 48),
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("history")
    program = Prometheus(directory)
    text, data = directory / "history.txt", program.directory / "data"
    write(HISTORY, text)
    make_blocks(text, data)
    with program:
        record(program, data)
    with program:
        yield program


def record(program: Prometheus, data: Path) -> None:
    """Record the past by the hour, as the documentation says how."""
    rules = str(ROOT / "prometheus" / "rules" / "recording.yml")
    promtool(
        "tsdb", "create-blocks-from", "rules", f"--url={program.url}", f"--start={START:.0f}",
        f"--end={START + 2 * DAY:.0f}", f"--output-dir={data}", rules,
    )  # fmt: skip


@dataclass
class Asked:
    """A dashboard over a range of the history."""

    prometheus: Prometheus
    which: str
    since: float
    until: float

    def view(self, page: str, **choices: str | list[str]) -> View:
        path = ROOT / "dashboards" / self.which / f"{page}.json"
        return View(path, self.prometheus, self.since, self.until, choices)

    def by_user(self, **choices: str | list[str]) -> dict[str, dict[str, float]]:
        """The leaderboard, without those of whom nothing is told."""
        found: dict[str, dict[str, float]] = {}
        view = self.view("users", **choices)
        targets = {t["refId"]: t for t in view.panel("Who uses how much?")["targets"]}
        for ref, heading in zip("BCDE", ("requests", "given", "made", "cost"), strict=True):
            for labels, value in view.ask(targets[ref]):
                if value:
                    found.setdefault(labels["user_id"], {})[heading] = value
        return found

    def tiles(self, **choices: str | list[str]) -> dict[str, float]:
        view = self.view("usage", **choices)
        titles = ("Requests", "Tokens in", "Tokens out", "Cost, USD", "Active users")
        return {t: (view.answers(t)[0] or [({}, 0.0)])[0][1] for t in titles}


def truth(calls: list[Call]) -> dict[str, dict[str, float]]:
    found: dict[str, Counter[str]] = {}
    for call in calls:
        own = found.setdefault("__other__" if call.folded else call.user, Counter())
        own.update(requests=1, given=call.given, made=call.made, cost=call.cost)
    return {user: {k: pytest.approx(v) for k, v in own.items() if v} for user, own in found.items()}


def tiles_of(calls: list[Call]) -> dict[str, float]:
    people = {call.user for call in calls if not call.folded}
    return {
        "Requests": len(calls),
        "Tokens in": sum(call.given for call in calls),
        "Tokens out": sum(call.made for call in calls),
        "Cost, USD": pytest.approx(sum(call.cost for call in calls)),
        "Active users": len(people),
    }


def within(since: float, until: float) -> list[Call]:
    return [call for call in CALLS if since < call.at <= until]


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("hours", QUIET.values(), ids=QUIET)
def test_totals_of_a_range(prometheus: Prometheus, hours: tuple[float, float], which: str) -> None:
    since, until = (START + one * HOUR for one in hours)
    asked, calls = Asked(prometheus, which, since, until), within(since, until)
    assert calls
    assert asked.by_user() == truth(calls)
    assert asked.tiles() == tiles_of(calls)


@pytest.mark.parametrize("which", SETS)
def test_an_empty_range_is_empty(prometheus: Prometheus, which: str) -> None:
    asked = Asked(prometheus, which, START + 40 * HOUR, START + 41 * HOUR)
    assert asked.by_user() == {}
    assert asked.tiles() == dict.fromkeys(asked.tiles(), 0)
    assert [v for v in asked.view("usage").options.values() if v][2:] == []


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("cuts", [(10.5, 11.25), (0, 10.9), (11.01, 48), (5.2, 5.5), (7.4, 8.4)])
def test_a_range_cut_out_of_a_burst(
    prometheus: Prometheus, cuts: tuple[float, float], which: str
) -> None:
    """What was told by its end, less what was told by its beginning; nothing is extrapolated."""
    since, until = (START + one * HOUR for one in cuts)
    told: Counter[str] = Counter()
    for one in HISTORY:
        for (name, labels), points in one.samples().items():
            known = dict(labels)
            if name == "open_webui_usage_tokens_total" and known["gen_ai_token_type"] == "input":
                by_end, by_start = last(points, until), last(points, since)
                told[known["user_id"]] += by_end - by_start
    asked = Asked(prometheus, which, since, until).by_user()
    assert {user: own.get("given", 0) for user, own in asked.items()} == +told


def last(points: list[tuple[float, float]], moment: float) -> float:
    return next((value for at_, value in reversed(points) if at_ <= moment), 0.0)


@pytest.mark.parametrize("which", SETS)
def test_parts_add_up_to_the_whole(prometheus: Prometheus, which: str) -> None:
    """Wherever a burst is cut, nothing is lost and nothing is counted twice."""
    cuts = [0, 3.001, 5.31, 7.49, 8.17, 9.23, 10.37, 11.11, 11.9, 16.35, 48]
    total: Counter[str] = Counter()
    for since, until in itertools.pairwise(START + cut * HOUR for cut in cuts):
        for user, own in Asked(prometheus, which, since, until).by_user().items():
            total[user] += own.get("given", 0)
    assert +total == Counter({u: own["given"].expected for u, own in truth(CALLS).items()})


@pytest.mark.parametrize("which", SETS)
def test_a_renamed_user_is_one_with_the_newer_name(prometheus: Prometheus, which: str) -> None:
    view = Asked(prometheus, which, START, START + 2 * DAY).view("users")
    targets = {t["refId"]: t for t in view.panel("Who uses how much?")["targets"]}
    names = {l["user_id"]: l.get("user_name") for l, _ in view.ask(targets["G"])}  # noqa: E741
    assert names["renamed"] == "New Name"
    assert [o.text for o in view.options["user"] if o.value == "renamed"] == ["New Name"]


@pytest.mark.parametrize("which", SETS)
def test_where_names_are_not_shown_ids_stand_for_them(prometheus: Prometheus, which: str) -> None:
    asked = Asked(prometheus, which, START + 21 * HOUR, START + 23 * HOUR)
    view = asked.view("usage", rank="tokens")
    assert [(o.text, o.value) for o in view.options["user"]] == [("nameless", "nameless")]
    [answer] = view.answers("Top users by ${rank:text}")
    assert [(labels["who"], value) for labels, value in answer] == [("nameless", 45)]


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("name", NAMES)
def test_awkward_names_can_be_chosen(prometheus: Prometheus, name: str, which: str) -> None:
    asked = Asked(prometheus, which, START, START + 2 * DAY)
    user = f"user-{NAMES.index(name)}"
    [own] = [call for call in CALLS if call.user == user]
    view = asked.view("usage")
    assert [o.text for o in view.options["user"] if o.value == user] == [name]
    assert asked.tiles(user=[user]) == tiles_of([own])
    assert asked.tiles(user=[user, "once"])["Requests"] == 2
    offered = [{o.value for o in view.options[of]} for of in ("model", "group")]
    assert {"m", "all"} <= offered[0] | offered[1]
    if name == "`":  # cannot be quoted, and is not offered
        assert f"model {name}" not in offered[0]
        return
    assert f"model {name}" in offered[0]
    assert f"group {name}" in offered[1]
    assert asked.tiles(model=[f"model {name}"]) == tiles_of([own])
    assert asked.tiles(group=[f"group {name}"]) == tiles_of([own])
    assert asked.tiles(group=[f"group {name}", "group a b"], model=[f"model {name}"]) == tiles_of(
        [own]
    )


@pytest.mark.parametrize("which", SETS)
def test_changes_are_against_the_period_before(prometheus: Prometheus, which: str) -> None:
    before, now = within(at(9), at(11.5)), within(at(11.5), at(14))
    view = Asked(prometheus, which, at(11.5), at(14)).view("usage")
    answers = view.answers("Change against the period before")
    assert answers[0][0][1] == pytest.approx(len(now) / len(before) - 1, abs=0.02)


def of_group(calls: list[Call], key: Callable[[Call, str], Any]) -> dict[Any, float]:
    found: Counter[Any] = Counter()
    for call in calls:
        for group in call.groups or ("(none)",):
            found[key(call, group)] += call.given
    return dict(+found)


@pytest.mark.parametrize("which", [*SETS, "recorded"])
def test_groups(prometheus: Prometheus, which: str) -> None:
    asked = Asked(prometheus, which, START, START + DAY)
    view = asked.view("groups")
    given = view.answers("By group")[2]
    told = {labels["open_webui_group_name"]: value for labels, value in given if value}
    assert told == of_group(within(asked.since, asked.until), lambda _, group: group)


@pytest.mark.parametrize("which", SETS)
def test_each_day_costs_what_began_in_it(prometheus: Prometheus, which: str) -> None:
    view = Asked(prometheus, which, START + HOUR, START + 47 * HOUR).view("groups")
    costs, others = view.panel("Cost of each day by group, USD")["targets"]
    told = {labels["open_webui_group_name"]: dict(points) for labels, points in view.graph(costs)}
    [(_, rest)] = view.graph(others)
    expected: dict[str, Counter[float]] = {}
    for call in CALLS:
        day = START + (call.at - START) // DAY * DAY
        for group in call.groups or ("(none)",):
            expected.setdefault(group, Counter())[day] += call.cost
    assert len(told) == 6
    for group, points in told.items():
        days = expected.pop(group)
        assert {day: cost for day, cost in points.items() if cost} == pytest.approx(days)
    left: Counter[float] = sum(expected.values(), Counter())
    assert {day: cost for day, cost in rest if cost} == pytest.approx(left)


@pytest.mark.parametrize("hours", [(0, 24), (24, 48), (0, 48), (5, 7), (28, 32)])
def test_records_of_hours_add_up_to_the_same(
    prometheus: Prometheus, hours: tuple[int, int]
) -> None:
    """Hours begin at a minute that Prometheus chooses: nothing happens in one at either end."""
    since, until = (START + one * HOUR for one in hours)
    asked, calls = Asked(prometheus, "recorded", since, until), within(since, until)
    assert asked.tiles() == tiles_of(calls)
    assert asked.by_user() == truth(calls)


@pytest.mark.parametrize(
    ("choices", "keep"),
    [
        ({"user": ["steady", "shared"]}, lambda c: c.user in ("steady", "shared")),
        ({"group": ["all"]}, lambda c: "all" in c.groups),
        (
            # Those who are not kept apart are in no group, not even in none.
            {"group": ["(none)", "group 🦉"]},
            lambda c: not c.folded and (not c.groups or "group 🦉" in c.groups),
        ),
        ({"model": ["m"]}, lambda c: c.model == "m"),
        ({"task": ["chat"], "source": "ui|background"}, lambda c: c.source != "api"),
        ({"model": ["model a|b", "m"], "group": ["all"]}, lambda c: c.model == "model a|b"),
        ({"user": ["user-0", "once"], "group": ["all"]}, lambda c: c.user == "user-0"),
    ],
)
def test_records_can_be_narrowed(
    prometheus: Prometheus, choices: dict[str, Any], keep: Callable[[Call], bool]
) -> None:
    """Coarse records are read when nothing is chosen that they lack, fine ones otherwise."""
    asked = Asked(prometheus, "recorded", START, START + 2 * DAY)
    calls = [call for call in CALLS if keep(call)]
    assert calls
    assert asked.tiles(**choices) == tiles_of(calls)
    assert asked.by_user(**choices) == truth(calls)
