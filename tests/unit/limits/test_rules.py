"""What limits and grants may say, and what people are told when they say something else."""

from __future__ import annotations

from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.limits import table
from opentelemetry.instrumentation.open_webui.limits.rules import (
    LIMIT_KEYS,
    MOST_GRANTS,
    MOST_LIMITS,
    Limit,
    RuleError,
    Who,
    limit_of,
    parse,
)
from opentelemetry.instrumentation.open_webui.limits.windows import Window

PLAIN: dict[str, Any] = {
    "name": "Tokens", "everyone": True, "measure": "tokens", "amount": 1000, "per": "day",
}  # fmt: skip
GRANT: dict[str, Any] = {"limit": "Tokens", "user": "ada", "more": "50 %", "until": "2026-12-04"}


def test_what_is_not_said_is_usual() -> None:
    limit = limit_of(PLAIN)
    assert limit == Limit("Tokens", Who("everyone"), "tokens", 1000, Window("day"))
    assert (limit.shared, limit.models, limit.source, limit.observe) == (False, (), None, False)
    assert (limit.warn_at, limit.counts_from, limit.direct) == (80, "now", False)


def test_all_that_can_be_said() -> None:
    said = {
        "name": "Money", "group": "research", "share": "shared", "models": ["gpt-*", "o?"],
        "source": "api", "measure": "cost", "amount": "12.345", "per": "5 hours",
        "zone": "Europe/Berlin", "observe": True, "warn_at": "50 %", "counts_from": "2026-11-02",
        "direct": True,
    }  # fmt: skip
    assert set(said) | {"user", "everyone"} == set(LIMIT_KEYS)
    limit = limit_of(said)
    assert limit.amount == 12_345_000_000
    assert limit.window == Window("", "Europe/Berlin", 5)
    assert limit.counts_from == 1_793_574_000
    assert limit.who == Who("group", "research")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name: it must be a text of 1 to 100 printable characters"),
    ({"name": "x" * 101}, "name: it must be a text of 1 to 100"),
    ({"name": "a\nb"}, "printable"),
    ({"name": None}, "the key name is missing"),
    ({"everyone": None}, "one of the keys user, group and everyone"),
    ({"user": "ada"}, "one of the keys user, group and everyone"),
    ({"everyone": "yes"}, "everyone: it must be true"),
    ({"everyone": None, "group": 7}, "group: it must be a text"),
    ({"measure": "messages"}, "measure: 'messages' must be one of requests, tokens"),
    ({"measure": None}, "the key measure is missing"),
    ({"amount": -1}, "amount: -1 must be a whole number"),
    ({"amount": 1.5}, "amount: 1.5 must be a whole number"),
    ({"amount": 10**16}, "amount: 10000000000000000 must be a whole number"),
    ({"amount": "9" * 5000}, "amount: "),
    ({"amount": True}, "amount: True"),
    ({"amount": float("nan")}, "amount: nan"),
    ({"amount": None}, "the key amount is missing"),
    ({"measure": "cost", "amount": "0.0000000001"}, "must be USD from 0 to 100,000,000"),
    ({"per": "year"}, "per: 'year' must be one of hour, day, week, month, or a number of hours"),
    ({"per": "0 hours"}, "up to 8784"),
    ({"per": "8785 hours"}, "up to 8784"),
    ({"zone": "Mars/Olympus"}, "zone: 'Mars/Olympus' must be a time zone"),
    ({"zone": "../etc/passwd"}, "zone: "),
    ({"zone": 1}, "zone: 1 must be a time zone"),
    ({"share": "all"}, "share: 'all' must be one of each, shared"),
    ({"models": []}, "models: it must be a model, or a list of 1 to 50"),
    ({"models": "gpt-[45]"}, "may have of patterns only * and ?"),
    ({"source": "browser"}, "source: 'browser' must be one of ui, api, background"),
    ({"observe": "no"}, "observe: 'no' must be true or false"),
    ({"warn_at": "0 %"}, "warn_at: '0 %' must be a percentage from 1 % to 100 %"),
    ({"counts_from": "yesterday"}, "counts_from: 'yesterday' must be now, start, a day"),
    ({"amuont": 5}, "amuont: this is not a key; there are name, user, group"),
]


@pytest.mark.parametrize(("said", "problem"), WRONG, ids=lambda it: str(it)[:40])
def test_a_wrong_limit_is_told_by_its_key(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(RuleError) as error:
        parse({"limits": [{**PLAIN, **said}]})
    assert problem in str(error.value)
    assert str(error.value).startswith("limits[1]")
    assert len(str(error.value)) < 600


WRONG_GRANTS: list[tuple[dict[str, Any], str]] = [
    ({"limit": "Tokes"}, "limit: 'Tokes' is no limit; there are: Tokens"),
    ({"until": None}, "the key until is missing"),
    ({"until": "Friday"}, "until: 'Friday' must be a day (2026-12-04)"),
    ({"until": "9999-12-31"}, "until: "),
    ({"more": None}, "the key more is missing"),
    ({"more": "1001 %"}, "more: it must be a percentage up to 1000 %"),
    ({"more": "unlimited"}, "more: it must be an amount or a percentage"),
    ({"more": "lots"}, "more: 'lots' must be a whole number"),
    ({"limit": "*", "more": 5}, "more: it must be a percentage"),
    ({"group": "x"}, "one of the keys user, group and everyone"),
]


@pytest.mark.parametrize(("said", "problem"), WRONG_GRANTS, ids=lambda it: str(it)[:40])
def test_a_wrong_grant_is_told_by_its_key(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(RuleError) as error:
        parse({"limits": [PLAIN], "grants": [{**GRANT, **said}]})
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ([], "it must have keys: limits, grants"),
        ({"limit": []}, "limit: this is not a key"),
        ({"limits": {}}, "limits: it must be a list"),
        ({"limits": [PLAIN] * (MOST_LIMITS + 1)}, "limits: there may be at most 500"),
        ({"grants": [GRANT] * (MOST_GRANTS + 1)}, "grants: there may be at most 5,000"),
        ({"limits": [PLAIN, PLAIN]}, "limits[2].name: 'Tokens' is the name of another limit"),
        ({"limits": [PLAIN, {**PLAIN, "name": "B", "amount": 5}]}, "counts the same as 'Tokens'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_all_of_them(said: Any, problem: str) -> None:
    with pytest.raises(RuleError) as error:
        parse(said)
    assert problem in str(error.value)


def test_a_grant_ends_with_its_day_in_the_zone_of_the_limit() -> None:
    berlin = {**PLAIN, "zone": "Europe/Berlin"}
    rules = parse({"limits": [berlin], "grants": [GRANT]})
    assert rules.grants[0].until == 1_796_425_200
    assert rules.grants[0].to(rules.limits[0]) == 500
    timed = parse({"limits": [berlin], "grants": [{**GRANT, "until": "2026-12-04T18:00"}]})
    assert timed.grants[0].until == 1_796_403_600


def test_an_id_changes_with_what_is_counted_and_not_with_how_much() -> None:
    first = limit_of(PLAIN)
    for same in ({"name": "B"}, {"amount": 5}, {"warn_at": "9 %"}, {"counts_from": "start"}):
        assert limit_of({**PLAIN, **same}).id == first.id
    for other in (
        {"everyone": None, "group": "g"}, {"share": "shared"}, {"models": "m"}, {"source": "ui"},
        {"measure": "requests"}, {"per": "week"}, {"per": "24 hours"}, {"zone": "Asia/Tokyo"},
        {"observe": True}, {"direct": True},
    ):  # fmt: skip
        assert limit_of({**PLAIN, **other}).id != first.id


def test_what_is_written_is_read_again_as_the_same() -> None:
    said = {
        "limits": [
            PLAIN,
            {**PLAIN, "name": "B", "everyone": None, "user": "ada", "measure": "cost",
             "amount": "0.000000001", "models": ["*"], "source": "ui", "counts_from": "2026-11-02"},
            {**PLAIN, "name": "C", "per": "7 hours", "amount": "unlimited", "share": "shared"},
            {**PLAIN, "name": "D", "measure": "cost", "amount": 100, "everyone": None, "group": "g"},
        ],
        "grants": [GRANT, {**GRANT, "limit": "B", "more": "2.50"}, {**GRANT, "limit": "*"}],
    }  # fmt: skip
    rules = parse(said)
    assert parse(table.whole(rules)) == rules


@pytest.mark.parametrize(
    ("models", "names", "is_meant"),
    [
        (["gpt-*"], ["gpt-std"], True),
        (["gpt-*"], ["helpdesk", "gpt-std"], True),
        (["gpt-*"], ["helpdesk"], False),
        (["gpt-?"], ["gpt-10"], False),
        (["a", "b"], ["b"], True),
        ("GPT-*", ["gpt-std"], False),
    ],
)
def test_models_are_meant_by_any_of_their_names(models: Any, names: Any, is_meant: bool) -> None:
    limit = limit_of({**PLAIN, "models": models})
    assert limit.is_for(names, "ui", direct=False) is is_meant


def test_direct_connections_are_not_limited_unless_asked() -> None:
    assert not limit_of(PLAIN).is_for(["m"], "ui", direct=True)
    assert limit_of({**PLAIN, "direct": True}).is_for(["m"], "ui", direct=True)
    assert not limit_of({**PLAIN, "source": "api"}).is_for(["m"], "ui", direct=False)
