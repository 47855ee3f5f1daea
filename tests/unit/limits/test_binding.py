"""The one rule for who is in several groups, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.limits.binding import binding, decide, pools
from opentelemetry.instrumentation.open_webui.limits.rules import parse

NOW = 1_795_000_000
LATER = "2027-01-01"
EARLIER = "2026-01-01"


def limit(name: str, amount: Any = 10, **said: Any) -> dict[str, Any]:
    """A limit of requests a day; of everyone, if nobody is named."""
    who = {} if {"user", "group"} & set(said) else {"everyone": True}
    return {"name": name, "measure": "requests", "amount": amount, "per": "day", **who, **said}


def more(to: str, **said: Any) -> dict[str, Any]:
    return {"limit": to, "more": "50 %", "until": LATER, **said}


ADA = limit("ada", 5, user="ada")
STAFF = limit("staff", 20, group="staff")
STUDENTS = limit("students", 10, group="students")
FREE = limit("free", "unlimited", group="free")
ALL = limit("all", 1)
BOTH = ("students", "staff")

CASES: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]], tuple[str, ...], dict[str, Any]]] = [
    ("nobody named", [ALL], [], (), {"all": 1}),
    ("another's", [limit("bob", user="bob"), limit("x", group="x")], [], BOTH, {}),
    ("a group before everyone", [ALL, STUDENTS], [], BOTH, {"students": 10}),
    ("a group before everyone, though it has less", [limit("all", 99), STUDENTS], [], BOTH, {"students": 10}),
    ("the most generous group", [STUDENTS, STAFF], [], BOTH, {"staff": 20}),
    ("whatever the order", [STAFF, STUDENTS], [], BOTH, {"staff": 20}),
    ("the user before groups", [STAFF, ADA, ALL], [], BOTH, {"ada": 5}),
    ("unlimited is the most generous", [STAFF, FREE], [], ("staff", "free"), {}),
    ("the user before an unlimited group", [FREE, ADA], [], ("free",), {"ada": 5}),
    ("nothing at all", [limit("ada", 0, user="ada"), STAFF], [], BOTH, {"ada": 0}),
    ("measures side by side", [ADA, limit("t", 7, group="staff", measure="tokens")], [], BOTH, {"ada": 5, "t": 7}),
    ("periods side by side", [ADA, limit("m", 7, group="staff", per="month")], [], BOTH, {"ada": 5, "m": 7}),
    ("rolling hours side by side", [limit("a", 1, per="5 hours"), limit("b", 2, per="6 hours")], [], (), {"a": 1, "b": 2}),
    ("models side by side", [ADA, limit("g", 7, models="gpt-*")], [], BOTH, {"ada": 5, "g": 7}),
    ("sources side by side", [ADA, limit("s", 7, source="api")], [], BOTH, {"ada": 5, "s": 7}),
    ("zones are no other period", [ADA, limit("z", 7, zone="Asia/Tokyo")], [], BOTH, {"ada": 5}),
    ("observing displaces nothing", [STAFF, limit("o", 2, user="ada", observe=True)], [], BOTH, {"staff": 20, "o": 2}),
    ("pools always hold", [ADA, limit("p", 100, group="staff", share="shared"), limit("q", 200, share="shared")], [], BOTH, {"ada": 5, "p": 100, "q": 200}),
    ("pools of all groups", [limit("p", 1, group="staff", share="shared"), limit("q", 2, group="students", share="shared")], [], BOTH, {"p": 1, "q": 2}),
    ("unlimited pools do not", [limit("p", "unlimited", group="staff", share="shared")], [], BOTH, {}),
    ("a grant", [STAFF], [more("staff", user="ada")], BOTH, {"staff": 30}),
    ("a grant that has ended", [STAFF], [more("staff", user="ada", until=EARLIER)], BOTH, {"staff": 20}),
    ("a grant of another", [STAFF], [more("staff", user="bob")], BOTH, {"staff": 20}),
    ("grants add up", [STAFF], [more("staff", user="ada"), more("staff", group="students", more=7)], BOTH, {"staff": 37}),
    ("a grant to all limits", [STAFF, limit("t", 8, measure="tokens")], [more("*", everyone=True)], BOTH, {"staff": 30, "t": 12}),
    ("a grant makes the more generous", [STAFF, STUDENTS], [more("students", user="ada", more="500 %")], BOTH, {"students": 60}),
    ("a pool does not grow by one of many", [limit("p", 100, group="staff", share="shared")], [more("p", user="ada")], BOTH, {"p": 100}),
    ("a pool grows for all", [limit("p", 100, group="staff", share="shared")], [more("p", group="staff")], BOTH, {"p": 150}),
    ("groups are named exactly", [STAFF], [], ("Staff",), {}),
    ("the same amount twice", [STAFF, limit("other", 20, group="students")], [], BOTH, {"staff": 20}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "grants", "groups", "held"),
    [row[1:] for row in CASES],
    ids=[row[0] for row in CASES],
)
def test_what_holds(limits: Any, grants: Any, groups: tuple[str, ...], held: Any) -> None:
    rules = parse({"limits": limits, "grants": grants})
    found = binding(rules, "ada", groups, NOW)
    assert {one.limit.name: one.allowed for one in found} == held


def test_each_limit_is_told_with_its_reason() -> None:
    rules = parse({"limits": [ADA, STAFF, ALL, limit("x", group="x"), limit("p", share="shared")]})
    found = {
        one.limit.name: (one.holds, one.why)
        for one in decide(rules, "ada", BOTH, NOW, user_only=False)
    }
    assert found == {
        "ada": (True, "it names the user"),
        "staff": (False, "'ada' names the user"),
        "all": (False, "'ada' names the user"),
        "x": (False, "it is for group x"),
        "p": (True, "shared by everyone: always holds"),
    }


def test_pools_are_found_without_a_user() -> None:
    shared = limit("p", 100, group="staff", share="shared")
    rules = parse(
        {"limits": [shared, ALL], "grants": [more("p", group="staff"), more("p", everyone=True)]}
    )
    assert [(one.name, who.name, allowed) for one, who, allowed in pools(rules, NOW)] == [
        ("p", "staff", 150)
    ]
