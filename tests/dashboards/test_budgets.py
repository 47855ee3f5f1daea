"""The file with the budgets of groups: what it may hold, and what is said of all else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from dashboards.budgets import BudgetError, Budgets, parse
from dashboards.queries import LIMITED_BUDGET

from dashboards import __main__ as made
from dashboards import rules

AWKWARD = 'R&D "core" | x.y (β) 🦉 \\d {{ $x }}'


def test_groups_have_their_own_and_all_others_the_default() -> None:
    text = f"default: 100\ngroups:\n  research: 250.5\n  2024: 1000.0\n  '{AWKWARD}': 7\n"
    groups = {"research": 250.5, "2024": 1000, AWKWARD: 7}
    assert parse(text, "b.yaml") == Budgets(100, groups)


@pytest.mark.parametrize("text", ["", "# nothing", "default:\ngroups:\n", "groups: {}"])
def test_there_may_be_none(text: str) -> None:
    assert parse(text, "b.yaml") == Budgets(None, {})
    [budgets, _] = rules.budgets(parse(text, "b.yaml"))
    assert [rule["record"] for rule in budgets["rules"]] == [LIMITED_BUDGET]


BAD = {
    "defaults: 5": "b.yaml, line 1: defaults: is no key of this file; the keys are default and groups",
    "default: -1": "b.yaml, line 1: default: has to be US dollars for a calendar month: a number above 0",
    "default: 0": "line 1: default: has to be",
    "default: .inf": "line 1: default: has to be",
    "default: .nan": "line 1: default: has to be",
    "default: 1e13": "line 1: default: has to be",
    "default: '100'": "line 1: default: has to be",
    "default: yes": "not 'yes'",
    "default: [1]": "not 'keys or a list'",
    "groups: 5": "line 1: groups: has to be keys with values, as in `research: 250`",
    "groups: [a]": "line 1: groups: has to be keys with values",
    "- 5": "line 1: the file: has to be keys with values",
    "groups:\n  a: 1\n  b: lots": "line 3: groups.b: has to be US dollars",
    "groups:\n  a: 1\n  b:": "line 3: groups.b: has to be US dollars",
    "groups:\n  a: 1\n  a: 2": "line 3: groups.a: is there twice",
    "groups:\n  '': 1": "line 2: groups.?: is no name of a group",
    f"groups:\n  {'x' * 257}: 1": "is no name of a group: 1 to 256 characters",
    "groups:\n  ? [a]\n  : 1": "line 2: groups.?: is no name of a group",
    "groups:\n  a: {": "b.yaml, line",
    "a: \x00": "b.yaml",
}


@pytest.mark.parametrize("text", BAD)
def test_what_it_may_not_hold_is_named_with_its_key(text: str) -> None:
    with pytest.raises(BudgetError, match=re.escape(BAD[text])):
        parse(text, "b.yaml")


def test_rules_hold_what_the_file_says() -> None:
    [budgets, _] = rules.budgets(Budgets(100, {AWKWARD: 0.25, "big": 1_234_567}))
    told = yaml.safe_load(yaml.safe_dump(budgets, allow_unicode=True))["rules"][1:]
    assert [(r["expr"], r.get("labels", {}).get("open_webui_group_name")) for r in told] == [
        ("vector(0.25)", AWKWARD), ("vector(1234567)", "big"), ("vector(100)", None),
    ]  # fmt: skip


def test_a_bad_file_ends_with_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "budgets.yaml"
    bad.write_text("groups:\n  research: a lot\n")
    monkeypatch.setattr(made, "BUDGETS", bad)
    monkeypatch.setattr(made, "ROOT", tmp_path)
    assert made.main([]) == 2
    told = capsys.readouterr().err
    assert told.startswith("budgets.yaml, line 2: groups.research: has to be US dollars")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == [bad]
