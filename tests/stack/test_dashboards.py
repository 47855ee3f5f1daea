"""Every number on the dashboards equals the provider's log, on the real pipeline."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.servers import PREFIX
from harness.grafana import ALL, View
from harness.openwebui import OpenWebUI, RequestFailed
from harness.programs import ROOT
from harness.provider import ServedCall
from stack.conftest import Stack, stack_of
from stack.reports import in_prometheus, wait_for

AWKWARD = 'R&D "core" | x.y (β) 🦉 \\d'
# A name that ends the strings in which dropdowns put what was chosen.
UNQUOTABLE = "tick ` tock"
HOSTILE = {
    "ends the string": UNQUOTABLE,
    "names another label": 'x`,open_webui_source=~".*",user_id!=`y',
    "ends the selector": "x`}[1m]) or vector(1e9) or increase(up{job=~`x",
    "leaves out the rest": "x`}[1h])) + 1e9 #",
    "ends a line": "x`}\n or vector(1e9) #",
    "undoes itself": "`,open_webui_group_name!=`x",
}
PRICES = """\
currency: USD
prices:
  - model: "*"
    input_per_million: 1
    output_per_million: 2
"""
SETS = ("exact", "portable")
SOURCES = {"api": "api", "ui": "ui", "bg": "background"}
EARLIER = [
    ("alice", "gpt-std", True), ("bob", "gpt-mini", False), ("carol", "llama-std", True),
    ("dora", "gpt-std", False),
]  # fmt: skip
LATER = [
    *EARLIER, ("alice", "gpt-mini", False), ("bob", "gpt-std", False), ("bob", "gpt-429", False),
    ("carol", "gpt-mini", True), ("carol", "llama-mini", False), ("carol", "gpt-500", False),
]  # fmt: skip
EMPTY = {
    "Calls on unknown paths",  # the table: there were none
    "Change against the period before",  # not with every choice
    "Who uses how much?",  # its change, likewise
    "Cost of each day by group, USD",  # there was no whole day
    "Over time: ${rank:text} by model", "Over time: ${rank:text} by group",  # few enough: no others
    "Failed calls by error", "Failed calls by model and error", "Errors",  # not with every choice
}  # fmt: skip
BEFORE = ("${month_1:text}", "${month_2:text}", "${month_3:text}")
"""How titles of what was before this month begin."""
BUDGET = 100  # of each group: the default
LIMITED = 40  # what a limit says in its place
LIMITS = {
    "limits": [
        {"name": "Core", "group": AWKWARD, "share": "shared", "measure": "cost", "amount": LIMITED, "per": "month"},
        {"name": "Slow", "everyone": True, "models": "gpt-slow", "measure": "requests", "amount": 0, "per": "day"},
    ]
}  # fmt: skip
REFUSED = 2


@dataclass
class Day:
    """What happened: calls before and after `middle`, in a range twice as long as its halves."""

    stack: Stack
    earlier: list[ServedCall]
    later: list[ServedCall]
    start: float
    middle: float
    prices_changed: float

    @property
    def end(self) -> float:
        """As far after the middle as the start lies before it: it may lie in the future."""
        return 2 * self.middle - self.start

    def view(
        self, page: str, which: str = "exact", whole: bool = True, **choices: str | list[str]
    ) -> View:
        """A dashboard, as somebody opens it who looks at all or at the later half."""
        path = ROOT / "dashboards" / which / f"{page}.json"
        since = self.start if whole else self.middle
        return View(path, self.stack.prometheus, since, self.end, choices)


def source_of(call: ServedCall) -> str:
    return SOURCES[call.case.partition("-")[0]]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    directory = tmp_path_factory.mktemp("dashboards")
    prices = directory / "prices.yaml"
    prices.write_text(PRICES)
    limits = directory / "limits.yaml"
    limits.write_text(yaml.safe_dump(LIMITS, allow_unicode=True))
    named = {"PRICE_FILE": prices, "LEDGER": "true", "LIMITS": "true", "LIMITS_FILE": limits}
    env = {f"{PREFIX}{name}": str(value) for name, value in named.items()}
    for stack in stack_of(directory, server_env=env):
        stack.server.create_group(AWKWARD)
        stack.server.add_to_group("carol", AWKWARD)
        stack.server.create_group(UNQUOTABLE)
        stack.server.add_to_group("alice", UNQUOTABLE)
        # Whole seconds: Grafana rounds a range to them.
        start = time.time() // 1 - 1
        earlier = calls_of(stack, EARLIER, automation=False)
        time.sleep(2)
        middle = time.time() // 1
        later = calls_of(stack, LATER, automation=True)[len(earlier) :]
        for _ in range(REFUSED):
            assert stack.server.chat("bob", "gpt-slow", "case=refused").status == 429
        for which in ("default", "limit"):
            budget = f"open_webui:budget:{which}_usd_per_month"
            wait_for(partial(stack.prometheus.query, budget), 90)
        refused = f"{in_prometheus('open_webui.usage.refused_requests')} > 0"
        wait_for(partial(stack.prometheus.query, refused))
        # The range ends after all that is counted, so it begins as long before the middle.
        start = min(start, (2 * middle - time.time() - 5) // 1)
        yield Day(stack, earlier, later, start, middle, prices.stat().st_mtime)


def calls_of(
    stack: Stack, calls: list[tuple[str, str, bool]], *, automation: bool
) -> list[ServedCall]:
    for number, (user, model, stream) in enumerate(calls):
        stack.server.chat(user, model, f"case=api-{number} tell me", stream=stream)
    stack.server.turn("dora", "toolbox", "case=ui-turn look it up", tool_ids=["case_lookup"])
    if automation:
        run_automation(stack.server)
    stack.provider.wait_idle(2)
    served = stack.provider.snapshot()
    expression = f"sum(increase({in_prometheus('open_webui.usage.requests')}[1h] anchored))"
    wait_for(lambda: [v for _, v in stack.prometheus.query(expression)] == [len(served)])
    return served


def run_automation(server: OpenWebUI) -> None:
    """A call that nobody waits for."""
    data = {"prompt": "case=bg-report tell me", "model_id": "gpt-std", "rrule": "RRULE:FREQ=YEARLY"}

    def post(path: str, form: dict[str, Any]) -> Any:
        headers = server.browser_headers()
        path = f"/api/v1/automations/{path}"
        return server.ask("POST", path, user="admin", auth="session", json=form, headers=headers)

    made: list[Any] = []

    def is_made() -> bool:
        # Open WebUI gives up on rules of recurrence that a busy machine does not evaluate in 2 s.
        with suppress(RequestFailed):
            made.append(
                post("create", {"name": "Report", "data": {**data, "target": {"type": "chat"}}})
            )
        return bool(made)

    wait_for(is_made)
    post(f"{made[0]['id']}/run", {})
    wait_for(lambda: "bg-report" in server_cases(server))


def server_cases(server: OpenWebUI) -> set[str]:
    return {call.case for call in server.provider.snapshot() if call.ended}


# What somebody chose, and which calls that leaves.

Keep = Callable[[ServedCall], bool]


@dataclass(frozen=True)
class Choice:
    """Values in dropdowns: of people their short names."""

    source: str = ".*"
    group: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    task: tuple[str, ...] = ()

    def values(self, stack: Stack) -> dict[str, str | list[str]]:
        ids = [stack.server.world.user(name).id for name in self.user]
        several = {"group": self.group, "user": ids, "model": self.model, "task": self.task}
        chosen = {name: list(values) for name, values in several.items() if values}
        return {"source": self.source, **chosen}

    def keeps(self, stack: Stack, *, people: bool = True) -> Keep:
        world = stack.server.world
        sources = self.source.split("|") if self.source != ".*" else SOURCES.values()

        def keep(call: ServedCall) -> bool:
            user = world.user_with_id(call.user_id)
            of_call = (
                source_of(call) in sources
                and (not self.model or call.model in self.model)
                and (not self.task or call.task in self.task)
            )
            of_people = (not self.group or set(self.group) & set(groups_of(user))) and (
                not self.user or user in [world.user(name) for name in self.user]
            )
            return bool(of_call and (of_people or not people))

        return keep


def groups_of(user: Any) -> tuple[str, ...]:
    return user.groups or ("(none)",)


CHOICES = {
    "all": Choice(),
    "ui": Choice("ui"),
    "both": Choice("ui|api"),
    "background": Choice("background"),
    "a group": Choice(group=("teaching",)),
    "an awkward group": Choice(group=(AWKWARD,)),
    "several groups": Choice(group=("research", AWKWARD, "Öffentlichkeit & Co")),
    "nobody's group": Choice(group=("(none)",)),
    "an awkward user": Choice(user=("bob",)),
    "several users": Choice(user=("carol", "dora", "alice")),
    "a model": Choice(model=("gpt-std",)),
    "several models": Choice(model=("gpt-std", "llama-mini", "gpt-429")),
    "a task": Choice(task=("title_generation",)),
    "a bit of each": Choice(
        "api", ("research", AWKWARD), ("alice", "carol"), ("gpt-mini",), ("chat",)
    ),
}


def cost_of(call: ServedCall) -> float:
    return ((call.input_tokens or 0) + 2 * (call.output_tokens or 0)) / 1e6


AMOUNTS: Mapping[str, Callable[[ServedCall], float]] = {
    "Requests": lambda _: 1,
    "Tokens in": lambda call: call.input_tokens or 0,
    "Tokens out": lambda call: call.output_tokens or 0,
    "Cost, USD": cost_of,
}


def summed(
    calls: list[ServedCall], amount: Callable[[ServedCall], float], *keys: Callable[[Any], Any]
) -> dict[Any, float]:
    totals: Counter[Any] = Counter()
    for call in calls:
        totals[tuple(key(call) for key in keys)] += amount(call)
    return {key: pytest.approx(total, abs=1e-9) for key, total in totals.items() if total}


def value(view: View, title: str) -> float:
    """The number of a tile; nothing is 0."""
    [answer] = view.answers(title)
    return answer[0][1] if answer else 0.0


def column(view: View, panel: str, heading: str, *labels: str) -> dict[Any, float]:
    """A column of a table: values by what makes a row."""
    found = view.panel(panel)
    [names] = [t["options"] for t in found["transformations"] if t["id"] == "organize"]
    [name] = [old for old, new in names["renameByName"].items() if new == heading]
    ref = name.removeprefix("Value #") if "#" in name else "A"
    [target] = [one for one in found["targets"] if one["refId"] == ref]
    answer = view.ask(target)
    values = {tuple(row[label] for label in labels): number for row, number in answer if number}
    assert len(values) == len([number for _, number in answer if number])
    return values


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_usage_equals_the_providers_log(day: Day, choice: Choice, which: str) -> None:
    keep = choice.keeps(day.stack)
    calls = [call for call in (*day.earlier, *day.later) if keep(call)]
    assert calls
    view = day.view("usage", which, **choice.values(day.stack))
    for title, amount in AMOUNTS.items():
        assert value(view, title) == pytest.approx(sum(map(amount, calls)), abs=1e-9), title
    assert value(view, "Active users") == len({call.user_id for call in calls})
    by_api = [call for call in calls if source_of(call) == "api"]
    assert value(view, "Through the API") == pytest.approx(len(by_api) / len(calls))


RANKS: Mapping[str, Callable[[ServedCall], float]] = {
    "cost": AMOUNTS["Cost, USD"],
    "tokens": lambda call: AMOUNTS["Tokens in"](call) + AMOUNTS["Tokens out"](call),
    "requests": AMOUNTS["Requests"],
}


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_rankings_equal_the_providers_log(day: Day, choice: Choice, rank: str, which: str) -> None:
    world, keep = day.stack.server.world, choice.keeps(day.stack)
    calls = [call for call in (*day.earlier, *day.later) if keep(call)]
    view = day.view("usage", which, rank=rank, **choice.values(day.stack))
    for title, label, key in (
        ("Top users by ${rank:text}", "who", lambda c: world.user_with_id(c.user_id).name),
        ("Top models by ${rank:text}", "gen_ai_request_model", lambda c: c.model),
        ("What for? ${rank:text} by task", "open_webui_task", lambda c: c.task),
        ("From where? ${rank:text} by source", "open_webui_source", source_of),
    ):
        [answer] = view.answers(title)
        told = {(row[label],): number for row, number in answer}
        assert told == summed(calls, RANKS[rank], key), title
        assert [number for _, number in answer] == sorted(told.values(), reverse=True)
    of_call = choice.keeps(day.stack, people=False)
    counted = [
        (group, call)
        for call in filter(of_call, (*day.earlier, *day.later))
        for group in groups_of(world.user_with_id(call.user_id))
        if not choice.group or group in choice.group
    ]
    [answer] = view.answers("Top groups by ${rank:text}")
    told = {(row["open_webui_group_name"],): number for row, number in answer}
    assert told == summed(counted, lambda pair: RANKS[rank](pair[1]), lambda pair: pair[0])


def test_cost_is_what_is_ranked_by_first(day: Day) -> None:
    """Who costs us most through the API? Two clicks: Source, API."""
    view = day.view("usage", source="api")
    calls = [call for call in (*day.earlier, *day.later) if source_of(call) == "api"]
    costs = summed(calls, cost_of, lambda call: call.user_id)
    [answer] = view.answers("Top users by ${rank:text}")
    assert {(row["user_id"],): number for row, number in answer} == costs
    assert view.replaced("Top users by ${rank:text}") == "Top users by cost in USD"


@pytest.mark.parametrize("which", SETS)
def test_change_is_against_the_same_time_before(day: Day, which: str) -> None:
    view = day.view("usage", which, whole=False)
    titles = [*AMOUNTS, "Active users"]
    before = [sum(map(AMOUNTS[t], day.earlier)) for t in AMOUNTS] + [people(day.earlier)]
    after = [sum(map(AMOUNTS[t], day.later)) for t in AMOUNTS] + [people(day.later)]
    answers = view.answers("Change against the period before")
    for title, answer, now, then in zip(titles, answers, after, before, strict=True):
        assert answer[0][1] == pytest.approx(now / then - 1), title


def people(calls: list[ServedCall]) -> int:
    return len({call.user_id for call in calls})


@pytest.mark.parametrize("which", SETS)
def test_bars_over_time_add_up_to_the_total(day: Day, which: str) -> None:
    """Each bar counts what came in its step, and no call falls between two of them."""
    view = day.view("usage", which)
    model, tokens = (lambda call: call.model), RANKS["tokens"]
    for title, label, amount, key in (
        ("Requests by source", "open_webui_source", AMOUNTS["Requests"], source_of),
        ("Cost by source, USD", "open_webui_source", cost_of, source_of),
        ("Tokens by source", "open_webui_source", tokens, source_of),
        ("Over time: ${rank:text} by model", "gen_ai_request_model", cost_of, model),
    ):
        target, *_ = view.panel(title)["targets"]
        # The range is cut to whole steps: make it large enough that nothing is cut off.
        wide = View(view.path, view.prometheus, view.since - 600, view.until + 600)
        bars = {
            labels[label]: total
            for labels, points in wide.graph(target)
            if (total := sum(v for _, v in points))
        }
        calls = [*day.earlier, *day.later]
        assert bars == {k[0]: v for k, v in summed(calls, amount, key).items()}, title


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_users_equal_the_providers_log(day: Day, choice: Choice, which: str) -> None:
    keep = choice.keeps(day.stack)
    calls = [call for call in (*day.earlier, *day.later) if keep(call)]
    view = day.view("users", which, **choice.values(day.stack))
    by_user = lambda call: call.user_id  # noqa: E731
    for heading, amount in AMOUNTS.items():
        told = column(view, "Who uses how much?", heading, "user_id")
        assert told == summed(calls, amount, by_user), heading
    told = column(view, "Who uses how much?", "By API", "user_id")
    by_api = summed(calls, lambda call: source_of(call) == "api", by_user)
    everything = Counter(call.user_id for call in calls)
    assert told == {
        key: pytest.approx(n.expected / everything[key[0]]) for key, n in by_api.items()
    }


def test_the_leaderboard_knows_names_groups_and_times(day: Day) -> None:
    view = day.view("users")
    world = day.stack.server.world
    calls = [*day.earlier, *day.later]
    seen = column(view, "Who uses how much?", "Last seen", "user_id", "user_name")
    expected = {
        (user.id, user.name) for user in map(world.user_with_id, {c.user_id for c in calls})
    }
    assert set(seen) == expected
    assert all(day.start * 1000 < at < time.time() * 1000 for at in seen.values())
    [groups] = [t for t in view.panel("Who uses how much?")["targets"] if t["refId"] == "A"]
    told = {(row["user_id"], row["open_webui_group_name"]) for row, _ in view.ask(groups)}
    assert told == {
        (id, group) for id, _ in expected for group in groups_of(world.user_with_id(id))
    }


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("name", ["alice", "bob", "carol", "dora", "admin"])
def test_one_user_equals_the_providers_log(day: Day, name: str, which: str) -> None:
    user = day.stack.server.world.user(name)
    calls = [call for call in (*day.earlier, *day.later) if call.user_id == user.id]
    view = day.view("user", which, user=user.id)
    for title, amount in AMOUNTS.items():
        assert value(view, title) == pytest.approx(sum(map(amount, calls)), abs=1e-9), title
    failed = [call for call in calls if call.status >= 400]
    assert value(view, "Failed calls") == len(failed)
    labels = ("gen_ai_request_model", "open_webui_source", "open_webui_task")
    keys = (lambda c: c.model, source_of, lambda c: c.task)
    for heading, amount in AMOUNTS.items():
        told = column(view, "Usage by model, source and task", heading, *labels)
        assert told == summed(calls, amount, *keys), heading
    errors = column(view, "Errors", "Failed calls", "gen_ai_request_model", "error_type")
    assert errors == summed(failed, lambda _: 1, lambda c: c.model, lambda c: str(c.status))


def test_the_latest_calls_of_a_user_are_theirs(day: Day) -> None:
    user = day.stack.server.world.user("bob")
    view = day.view("user", user=user.id)
    [search] = view.panel("Latest calls")["targets"]
    assert (search["queryType"], view.replaced(search["service"])) == ("search", "open-webui")
    key, _, quoted = view.replaced(search["tags"]).partition("=")
    tags = json.dumps({key: json.loads(quoted)})
    traces = wait_for(lambda: day.stack.jaeger.traces(tags))
    told = {
        tag["value"] for t in traces for s in t["spans"] for tag in s["tags"] if tag["key"] == key
    }
    assert told == {user.id}
    calls = [call for call in (*day.earlier, *day.later) if call.user_id == user.id]
    assert len(traces) == len(calls)


TOTALS = ("Cost, USD", "Requests", "Tokens in", "Tokens out")


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_groups_equal_the_providers_log(day: Day, choice: Choice, which: str) -> None:
    world = day.stack.server.world
    keep = choice.keeps(day.stack, people=False)
    calls = [call for call in (*day.earlier, *day.later) if keep(call)]
    view = day.view("groups", which, **choice.values(day.stack))
    counted: list[Any] = [
        (group, call)
        for call in calls
        for group in groups_of(world.user_with_id(call.user_id))
        if not choice.group or group in choice.group
    ]
    for heading, amount in AMOUNTS.items():
        of = lambda pair, amount=amount: amount(pair[1])  # noqa: E731
        group, model = (lambda pair: pair[0]), (lambda pair: pair[1].model)
        # All of it was in this month.
        for title in ("By group", "${month_0:text}, by group"):
            told = column(view, title, heading, "open_webui_group_name")
            assert told == summed(counted, of, group), (title, heading)
        for title in ("By group and model", "${month_0:text}, by group and model"):
            told = column(view, title, heading, "open_webui_group_name", "gen_ai_request_model")
            assert told == summed(counted, of, group, model), (title, heading)
    this_month, by = "${month_0:text}, by group", "open_webui_group_name"
    costs = summed(counted, lambda pair: cost_of(pair[1]), lambda pair: pair[0])
    budgets = {key: LIMITED if key == (AWKWARD,) else BUDGET for key in costs}
    assert column(view, this_month, "Budget, USD", by) == budgets
    shares = {key: pytest.approx(cost.expected / budgets[key]) for key, cost in costs.items()}
    assert column(view, this_month, "Used", by) == shares
    left = {key: pytest.approx(budgets[key] - cost.expected) for key, cost in costs.items()}
    assert column(view, this_month, "Left, USD", by) == left
    expected = [pytest.approx(sum(map(AMOUNTS[name], calls)), abs=1e-9) for name in TOTALS]
    for title in ("True total", "${month_0:text}: true total"):
        assert [answer[0][1] for answer in view.answers(title)] == expected


@pytest.mark.parametrize("which", [*SETS, "recorded"])
def test_limits_are_as_they_are_enforced(day: Day, which: str) -> None:
    view, by = day.view("groups", which), "open_webui_limit_name"
    costs = [cost_of(call) for call in (*day.earlier, *day.later) if is_of(day, call, AWKWARD)]
    assert column(view, "Limits", "Allowed", by) == {("Core",): LIMITED}
    assert column(view, "Limits", "Used", by) == {("Core",): pytest.approx(sum(costs), abs=1e-9)}
    assert column(view, "Limits", "Refused", by) == {("Slow",): REFUSED}


def is_of(day: Day, call: ServedCall, group: str) -> bool:
    return group in groups_of(day.stack.server.world.user_with_id(call.user_id))


@pytest.mark.parametrize("which", SETS)
def test_models_equal_the_providers_log(day: Day, which: str) -> None:
    view = day.view("models", which)
    calls = [*day.earlier, *day.later]
    model, table, label = (lambda c: c.model), "Which model does how well?", "gen_ai_request_model"
    requests = Counter(call.model for call in calls)
    assert column(view, table, "Requests", label) == summed(calls, lambda _: 1, model)
    failed = lambda c: (c.status >= 400) / requests[c.model]  # noqa: E731
    assert column(view, table, "Failed", label) == summed(calls, failed, model)
    assert column(view, table, "Cost, USD", label) == summed(calls, cost_of, model)
    cost = lambda c: 1000 * cost_of(c) / requests[c.model]  # noqa: E731
    assert column(view, table, "USD per 1,000 calls", label) == summed(calls, cost, model)
    given = Counter[str]()
    for call in calls:
        given[call.model] += call.input_tokens or 0
    cached = lambda c: (c.cached_tokens or 0) / (given[c.model] or 1)  # noqa: E731
    assert column(view, table, "Cached", label) == summed(calls, cached, model)
    errors = column(view, "Failed calls by model and error", "Failed calls", label, "error_type")
    broken = [call for call in calls if call.status >= 400]
    assert errors == summed(broken, lambda _: 1, model, lambda c: str(c.status))


def test_times_of_models_lie_between_the_fastest_and_the_slowest(day: Day) -> None:
    view = day.view("models")
    for heading in ("Duration p50", "Duration p95", "Duration p99", "First chunk p95"):
        told = column(view, "Which model does how well?", heading, "gen_ai_request_model")
        assert ("gpt-std",) in told
        # The provider answers in moments; the first bucket ends at 10 ms.
        assert all(0 < seconds < 10 for seconds in told.values()), heading
    speeds = column(view, "Which model does how well?", "Tokens per second", "gen_ai_request_model")
    assert speeds[("gpt-std",)] > 1


def test_dropdowns_offer_what_was_seen_in_the_range(day: Day) -> None:
    world = day.stack.server.world
    for whole, calls in ((True, [*day.earlier, *day.later]), (False, day.later)):
        view = day.view("usage", whole=whole)
        offered = {name: {one.value for one in found} for name, found in view.options.items()}
        assert offered["model"] == {call.model for call in calls}
        assert offered["task"] == {call.task for call in calls}
        assert offered["user"] == {call.user_id for call in calls}
        users = [world.user_with_id(call.user_id) for call in calls]
        groups = {group for user in users for group in groups_of(user)}
        assert UNQUOTABLE in groups
        assert offered["group"] == groups - {UNQUOTABLE}
    assert {one.text for one in view.options["user"]} == {user.name for user in users}
    narrowed = day.view("usage", group=[AWKWARD])
    assert [one.text for one in narrowed.options["user"]] == [world.user("carol").name]
    empty = View(view.path, day.stack.prometheus, day.start - 7200, day.start - 3600)
    assert [empty.options[name] for name in ("model", "task", "user", "group")] == [[], [], [], []]


@pytest.mark.parametrize("name", ["group", "user", "model", "task"])
@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_what_was_never_offered_adds_nothing(day: Day, name: str, hostile: str) -> None:
    """An address of a dashboard may have anything in it; what it shows is no more than there is."""
    everything = day.view("usage")
    for chosen in ([hostile], ["x", hostile]):
        for title in AMOUNTS:
            # What is no PromQL is an error on that panel or dropdown.
            with suppress(ValueError):
                told = value(day.view("usage", **{name: chosen}), title)
                assert told <= value(everything, title), (title, chosen)


def test_only_the_earlier_half_is_in_its_range(day: Day) -> None:
    """A range that ends before other traffic begins does not count it."""
    path = ROOT / "dashboards" / "exact" / "usage.json"
    view = View(path, day.stack.prometheus, day.start, day.middle)
    assert value(view, "Requests") == len(day.earlier)
    assert value(view, "Cost, USD") == pytest.approx(sum(map(cost_of, day.earlier)))


FILES = sorted((ROOT / "dashboards").glob("*/*.json"))
KINDS = ("all", "both", "an awkward group", "several groups", "an awkward user", "a bit of each")


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
@pytest.mark.parametrize("choice", [CHOICES[one] for one in KINDS], ids=KINDS)
def test_every_target_answers(day: Day, path: Path, choice: Choice) -> None:
    # Graphs leave out a step that has begun and not ended.
    since, until = day.start - 60, day.end + 60
    view = View(path, day.stack.prometheus, since, until, choice.values(day.stack))
    silent = [
        panel["title"]
        for panel in view.panels()
        if not all(view.answers(panel)) and not panel["title"].startswith(BEFORE)
    ]
    if choice == Choice() and path.parent.name != "recorded":  # an hour takes an hour
        assert set(silent) <= EMPTY


def test_the_health_page_says_that_all_is_well(day: Day) -> None:
    view = day.view("health")
    assert value(view, "Age of the newest data") < 60
    assert value(view, "Processes that report") == 1
    for title in ("On unknown paths", "Tokens estimated", "Calls without a price"):
        [tile] = [p for p in view.panels() if (p["title"], p["type"]) == (title, "stat")]
        [answer] = view.answers(tile)
        assert [number for _, number in answer] == [0], title
    assert value(view, "Folded calls") == 0
    assert value(view, "Lost on the way out") == 0
    # Those that were refused, too.
    rows = len(day.earlier) + len(day.later) + REFUSED
    assert value(view, "Calls written to the ledger") == rows
    for title in ("Calls in memory for the ledger", "Files of calls that wait"):
        assert value(view, title) == 0
    assert value(view, "Waiting for the ledger since") == 0
    assert value(view, "Lost for the ledger") == 0
    assert ALL not in json.dumps(view.json["panels"])


def test_the_price_file_is_marked_where_it_was_changed(day: Day) -> None:
    view = day.view("usage")
    [marks] = [one for one in view.json["annotations"]["list"] if one["name"] == "Prices"]
    told = {value for _, points in view.graph(marks, 100) for _, value in points}
    assert sorted(told) == [pytest.approx(day.prices_changed * 1000, abs=1)]
