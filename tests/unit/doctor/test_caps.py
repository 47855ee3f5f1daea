"""What the doctor says of limits, and of how a running server holds to them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.doctor import caps, judging
from opentelemetry.instrumentation.open_webui.doctor.report import BAD, NOTE, OK, Line, Section
from opentelemetry.instrumentation.open_webui.doctor.servers import Server
from opentelemetry.instrumentation.open_webui.host.limits_state import checked
from opentelemetry.instrumentation.open_webui.host.presence import Checked, Note
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.limits import table
from opentelemetry.instrumentation.open_webui.limits.books import Books
from opentelemetry.instrumentation.open_webui.limits.budget import Budget
from opentelemetry.instrumentation.open_webui.limits.off import FREE
from opentelemetry.instrumentation.open_webui.limits.rules import parse
from opentelemetry.instrumentation.open_webui.settings import PREFIX, Settings
from unit.ledger.books import many

pytestmark = pytest.mark.database

DAY: dict[str, Any] = {"measure": "requests", "amount": 5, "per": "day"}
POOL = {
    **DAY,
    "name": "Pool",
    "group": "g",
    "share": "shared",
    "amount": 100,
    "counts_from": "start",
}
LIMITS = [
    {**DAY, "name": "All", "everyone": True},
    # More generous, but nobody is in all groups.
    {**DAY, "name": "Staff", "group": "staff", "amount": "unlimited"},
    {**DAY, "name": "Ada", "user": "ada", "source": "ui"},
    {**DAY, "name": "Dear", "everyone": True, "models": ["gpt-5*", "o?"]},
    {**DAY, "name": "Own keys", "everyone": True, "measure": "tokens", "direct": True},
    {**DAY, "name": "Next term", "everyone": True, "measure": "cost", "observe": True},
    POOL,
]


def judged(directory: Path, **more: str) -> list[Line]:
    """What is said of the limits of a server whose data are in a folder."""
    given = {"LEDGER": "true", "LIMITS": "true", **more}
    environ = {f"{PREFIX}{name}": value for name, value in given.items()}
    environ["DATA_DIR"] = str(directory)
    section = Section("")
    judging.judge_limits(section, Settings.load({}, environ), environ)
    return section.lines


def in_file(directory: Path, *limits: dict[str, Any]) -> str:
    file = directory / "limits.yaml"
    file.write_text(json.dumps({"limits": limits}))
    return str(file)


def test_each_limit_is_tried_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    store.write(many(12))
    before = (tmp_path / "usage.db").read_bytes()
    file = in_file(tmp_path, *LIMITS)
    pool, summary = judged(tmp_path, LIMITS_FILE=file)
    assert (pool.mark, summary.mark) == (OK, OK)
    assert pool.text.startswith("Pool: Of the 100 requests of g for today, ")
    assert summary.text == (
        f"7 limits, 0 grants in {file}: 6 refuse a made-up caller who has nothing left, 1 only"
        " observe"
    )
    assert (tmp_path / "usage.db").read_bytes() == before


def test_those_in_the_ledger_are_tried(store: Store, tmp_path: Path) -> None:
    [none] = judged(tmp_path)
    assert (none.mark, none.text) == (NOTE, "there are none in the ledger: nobody is limited")
    with store.database.writing() as connection:
        table.replace_all(connection, parse({"limits": [POOL]}), "test")
    assert "1 limits, 0 grants in the ledger: 1 refuse" in judged(tmp_path)[-1].text


def test_a_limit_that_refuses_nobody_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Books, "decide", lambda *_: (FREE, []))
    lines = judged(tmp_path, LIMITS_FILE=in_file(tmp_path, *LIMITS))
    failed = [line.text.partition(" lets")[0] for line in lines if line.mark == BAD]
    assert failed == ["All", "Staff", "Ada", "Dear", "Own keys", "Pool"]


@pytest.mark.parametrize(
    ("given", "mark", "said"),
    [
        ({"LIMITS": "false"}, OK, "off"),
        # Of that, the section with the settings tells.
        ({"LEDGER": "false"}, OK, "off"),
        ({}, NOTE, "they hold when a server with this setting has started"),
        ({"LIMITS_FILE": "/nowhere"}, BAD, "the limits cannot be read: /nowhere cannot be read"),
    ],
)
def test_what_is_in_the_way_is_told(
    tmp_path: Path, given: dict[str, str], mark: str, said: str
) -> None:
    [line] = judged(tmp_path, **given)
    assert line.mark == mark
    assert said in line.text


def test_a_file_that_is_wrong_is_told_with_its_key(tmp_path: Path) -> None:
    file = in_file(tmp_path, {**DAY, "name": "A", "everyone": True, "amount": "much"})
    [line] = judged(tmp_path, LIMITS_FILE=file)
    assert line.mark == BAD
    assert "limits[1].amount" in line.text


def test_a_database_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "usage.db").write_bytes(b"This is no database. " * 500)
    [line] = judged(tmp_path)
    assert line.mark == BAD
    assert "the limits cannot be tried: " in line.text


def test_it_counts_nobody_but_itself() -> None:
    """The names of its calls are nobody's."""
    made_up = [caps._made_up(limit) for limit in parse({"limits": LIMITS}).limits]
    assert {wanted.user_id for wanted in made_up} == {"doctor", "ada"}
    assert [wanted.model for wanted in made_up][3] == "gpt-5doctor"


# Of a running server

FINE = Checked(on=True, where="/etc/limits.yaml", known=True, limits=3, refused=7)


def told(state: Checked) -> list[Line]:
    section = Section("")
    judging.judge_server(section, Server(7, notes=[Note(pid=7, limits=state)]))
    return [line for line in section.lines if "limits" in line.text or "unchecked" in line.text]


def test_a_process_tells_how_it_holds_to_its_limits() -> None:
    budget = Budget(None, file="/etc/limits.yaml")  # type: ignore[arg-type]
    assert checked(budget) == Checked(on=True, where="/etc/limits.yaml")
    budget.books.take_rules(parse({"limits": LIMITS}), {})
    budget.books.count_refusal("All", "requests")
    assert checked(budget) == replace(FINE, limits=7, refused=1)


@pytest.mark.parametrize(
    ("state", "mark", "said"),
    [
        (FINE, OK, "limits in /etc/limits.yaml: 3 in force, 7 calls refused, 0 unchecked"),
        (replace(FINE, known=False), NOTE, "the limits in /etc/limits.yaml are not read yet"),
        (replace(FINE, problem="it is away"), BAD, "limits cannot be checked: it is away"),
        (replace(FINE, unchecked=4), NOTE, "4 calls were let in or refused unchecked"),
    ],
)
def test_what_becomes_of_them_is_told(state: Checked, mark: str, said: str) -> None:
    line = told(state)[0]
    assert line.mark == mark
    assert said in line.text


def test_a_process_without_limits_says_nothing_of_them() -> None:
    assert told(Checked()) == []
