"""Who is bound by what is found once, and anew where the rules or their grants say otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.limits import books, people
from opentelemetry.instrumentation.open_webui.limits.books import Books
from opentelemetry.instrumentation.open_webui.limits.flights import Held
from opentelemetry.instrumentation.open_webui.limits.off import FREE, Off
from opentelemetry.instrumentation.open_webui.limits.people import People
from opentelemetry.instrumentation.open_webui.limits.rules import Rules, parse
from unit.limits.calling import ended, wanted

STUDENTS = {
    "name": "S", "group": "students", "measure": "requests", "amount": 10, "per": "day",
    "models": ["gpt-*"],
}  # fmt: skip
STAFF = {**STUDENTS, "name": "T", "group": "staff", "amount": 15}
MORE = {"limit": "S", "user": "ada", "more": "100 %", "until": "2030-01-01"}
UNTIL = 1893542400
"""To the end of that day (Unix time)."""


def rules(*limits: Any, **more: Any) -> Rules:
    return parse({"limits": limits, **more})


def knowing(*limits: Any) -> Books:
    kept = Books()
    kept.take_rules(rules(*limits), {})
    return kept


def test_nobody_is_free_before_the_rules_are_known() -> None:
    kept = Books()
    assert kept.binds("ada", ())
    kept.take_rules(rules(STUDENTS), {})
    assert not kept.binds("ada", ())
    assert kept.binds("ada", ("students",))
    assert not Off().binds("ada", ("students",))


def test_other_rules_and_other_groups_bind_others() -> None:
    kept = knowing(STUDENTS)
    assert kept.admit(wanted("ada", "staff"), None) is FREE
    kept.take_rules(rules(STAFF), {})
    assert kept.binds("ada", ("staff",))
    assert not kept.binds("ada", ("students",))
    assert kept.admit(wanted("ada", "staff"), None) is None


def test_what_holds_of_a_call_is_part_of_what_holds_of_its_user() -> None:
    found = People(rules(STUDENTS), 0.0)
    ada = found.of("ada", ("students",))
    [held] = ada.bound
    assert ada.line(("gpt-std", (), "api", False)).bound == (held,)
    assert ada.line(("llama", ("gpt-std",), "api", False)).bound == (held,)
    assert ada.line(("llama", (), "api", False)).bound == ()
    assert found.of("ada", ("students",)) is ada
    assert found.of("ada", ()).bound == ()


def test_the_most_generous_changes_when_a_grant_ends() -> None:
    now = [UNTIL - 1.0]
    kept = Books(lambda: now[0])
    kept.take_rules(rules(STUDENTS, STAFF, grants=[MORE]), {})
    asked = wanted("ada", "students", "staff")
    assert [one.allowed for one in kept.accounts_of(asked)] == [20]
    now[0] = UNTIL + 1.0
    assert [one.limit.name for one in kept.accounts_of(asked)] == ["T"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_MOST_KNOWN", 3)
    monkeypatch.setattr(people, "_MOST_LINES", 4)
    found = People(rules(STUDENTS), 0.0)
    for number in range(10):
        found.of(f"u{number}", ("students",))
        found.of("ada", ()).line((f"m{number}", (), "api", False))
    assert len(found._known) <= 3
    assert len(found.of("ada", ())._lines) <= 4


def test_what_somebody_free_calls_is_not_even_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = knowing(STUDENTS)
    noted: list[Any] = []
    monkeypatch.setattr(kept, "_events", noted)
    kept.ended(ended(wanted("ada", "staff")))
    assert noted == []
    call = ended(wanted("ada", "students"))
    kept.ended(call)
    assert noted == [call]


def test_nothing_counts_in_an_account_that_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "_MOST_ACCOUNTS", 0)
    kept = knowing(STUDENTS)
    asked = wanted("ada", "students")
    [old] = kept.accounts_of(asked)
    kept.forget_ended()
    assert kept.accounts() == []
    [new] = kept.accounts_of(asked)
    assert new is not old
    assert kept.accounts() == [new]
    new.looked_up(0, 0, False)
    new.published, kept.trusted_until = 10, float("inf")
    assert isinstance(kept.admit(asked, None), Held)
    assert (old.in_flight, new.in_flight) == (0, 1)


def test_what_has_ended_is_booked_though_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "_MOST_EVENTS", 3)
    kept, asked = knowing(STUDENTS), wanted("ada", "students")
    [account] = kept.accounts_of(asked)
    for booked in (0, 0, 3):
        kept.ended(ended(asked))
        assert account.ended == booked


@pytest.mark.parametrize("is_lost", [False, True])
def test_kinds_of_calls_are_forgotten_when_none_is_in_flight(
    is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, asked = knowing(STUDENTS), wanted("ada", "students")
    [account] = kept.accounts_of(asked)
    account.looked_up(0, 0, False)
    account.published, kept.trusted_until = 10, float("inf")
    ticket = kept.admit(asked, None)
    assert isinstance(ticket, Held)
    kept.ended(ended(asked))
    kept.book_events()
    kept.expire()
    # Its ticket is to be released yet.
    assert kept._in_flight
    if is_lost:
        monkeypatch.setattr(books, "_LONGEST_CALL", -1.0)
    else:
        ticket.release()
        kept.book_events()
    kept.expire()
    assert not kept._in_flight
