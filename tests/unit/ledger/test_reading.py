from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from opentelemetry.instrumentation.open_webui.ledger import queries, reading
from opentelemetry.instrumentation.open_webui.ledger.booking import Booking, milliseconds_of
from opentelemetry.instrumentation.open_webui.ledger.database import Database
from opentelemetry.instrumentation.open_webui.ledger.keeping import thin_out
from opentelemetry.instrumentation.open_webui.ledger.periods import (
    ALWAYS,
    EVERY,
    Period,
    edges,
    pieces,
    start_of,
)
from opentelemetry.instrumentation.open_webui.ledger.reading import Only, Sums, Where
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from unit.ledger.books import NOON, booking, many, summed

pytestmark = pytest.mark.database

BOOKINGS = many(400)
LATER = NOON + 365 * 86_400
PERIODS = {
    "always": ALWAYS,
    "months": Period(NOON - 60 * 86_400, LATER),
    "to the second": Period(NOON - 20 * 86_400 - 1234, NOON + 86_400 + 77),
    "within an hour": Period(NOON - 100, NOON + 900),
    "nothing": Period(NOON, NOON),
    "nearly a month": Period(NOON // 86_400 * 86_400 - 25 * 86_400 - 7200, NOON),
}
WHERES: dict[str, tuple[Where, Callable[[Booking], bool]]] = {
    "all": (Where(), lambda one: True),
    "a user": (Where(user_id="u-2"), lambda one: one.user_id == "u-2"),
    "a group": (Where(group="b"), lambda one: "b" in one.groups),
    "a group by id": (Where(group_id="id-b"), lambda one: "b" in one.groups),
    "several groups": (
        Where(group_ids=("id-a", "id-b")),
        lambda one: not {"a", "b"}.isdisjoint(one.groups),
    ),
    "no group": (Where(group="(none)"), lambda one: not one.groups),
    "a source": (Where(source="ui"), lambda one: one.source == "ui"),
    "a user's model": (
        Where(user_id="u-2", model="gpt-mini"),
        lambda one: (one.user_id, one.model) == ("u-2", "gpt-mini"),
    ),
    "a group's source": (
        Where(group="a", source="api"),
        lambda one: "a" in one.groups and one.source == "api",
    ),
    "not imported": (Where(imported=False), lambda one: True),
}
BYS: dict[tuple[str, ...], Callable[[Booking], list[tuple[Any, ...]]]] = {
    (): lambda one: [()],
    ("user",): lambda one: [(one.user_id,)],
    ("group",): lambda one: [(group,) for group in keys_of_groups(one)],
    ("groups",): lambda one: [(json.dumps(one.groups),)],
    ("source", "model"): lambda one: [(one.source, one.model)],
    ("user", "group", "picked"): lambda one: [
        (one.user_id, group, one.picked) for group in keys_of_groups(one)
    ],
}


def keys_of_groups(one: Booking) -> list[tuple[str | None, str]]:
    return [(f"id-{name}", name) for name in one.groups] or [(None, "(none)")]


def reckoned(
    period: Period,
    matches: Callable[[Booking], bool],
    keys: Callable[[Booking], list[tuple[Any, ...]]] = lambda one: [()],
) -> dict[tuple[Any, ...], Sums]:
    """The same, from the calls themselves."""
    found: dict[tuple[Any, ...], list[Booking]] = defaultdict(list)
    for one in BOOKINGS:
        if matches(one) and period.start <= milliseconds_of(one) // 1000 < period.end:
            for key in keys(one):
                found[key].append(one)
    return {key: summed(its) for key, its in found.items()}


@pytest.fixture(
    params=[None, NOON - 12 * 86_400, LATER], ids=["all hours", "some hours", "no hours"]
)
def filled(request: pytest.FixtureRequest, database: Database) -> Store:
    """A ledger, in which sums by hour are kept from a moment on."""
    store = Store(database, lambda name: f"id-{name}")
    store.open()
    store.write(BOOKINGS)
    if request.param:
        thin_out(database, request.param)
    return store


def test_sums_equal_the_calls_over_any_period_by_anything(filled: Store) -> None:
    with filled.database.reading() as connection:
        for period in PERIODS.values():
            for name, (where, matches) in WHERES.items():
                for by, keys in BYS.items():
                    found = reading.sums(connection, period, where, by, now=LATER)
                    right = reckoned(period, matches, keys)
                    if where.group or where.group_id or where.group_ids:
                        right = only_that_group(by, right, where)
                    assert found == right, (period, name, by)


def only_that_group(
    by: tuple[str, ...], right: dict[tuple[Any, ...], Sums], where: Where
) -> dict[tuple[Any, ...], Sums]:
    """By groups, only the one that was asked for is shown."""
    if "group" not in by:
        return right
    place = by.index("group")
    names = where.group, str(where.group_id).removeprefix("id-"), *_names(where.group_ids)
    return {key: sums for key, sums in right.items() if key[place][1] in names}


def _names(ids: tuple[str, ...]) -> list[str]:
    return [group_id.removeprefix("id-") for group_id in ids]


def test_users_are_counted_once_however_many_sums_they_are_in(filled: Store) -> None:
    with filled.database.reading() as connection:
        for period in PERIODS.values():
            for name, (where, _matches) in WHERES.items():
                for by in ((), ("picked",), ("source", "model")):
                    users = reading.sums(connection, period, where, (*by, "user"), now=LATER)
                    right = Counter(key[:-1] for key in users)
                    found = reading.users_by(connection, period, where, by, now=LATER)
                    assert found == right, (period, name, by)


ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York"),
    # Whose edges are not on full hours; Lord Howe's clock is changed by half an hour.
    *("Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"),
)


@pytest.mark.parametrize("zone", ZONES)
def test_charts_equal_the_calls_in_any_zone(filled: Store, zone: str) -> None:
    period = Period(NOON - 35 * 86_400 - 55, NOON + 19 * 86_400 + 7)
    with filled.database.reading() as connection:
        for every in EVERY:
            of = edges(period, every, ZoneInfo(zone))
            for name in ("all", "a user", "a group", "several groups"):
                where, matches = WHERES[name]
                parts = reading.series(connection, of, where, ("source",), now=LATER)
                for (start, end), part in zip(pairwise(of), parts, strict=True):
                    span = Period(start, end)
                    assert part == reckoned(span, matches, lambda one: [(one.source,)]), (
                        every,
                        span,
                    )


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("days", [(35, 19), (5, -3), (30, -28), (1, 0)])
def test_charts_of_a_user_equal_the_calls_wherever_their_ends_are_cut(
    filled: Store, days: tuple[int, int], zone: str
) -> None:
    midnight = NOON - 43_200
    for cut in (0, 7, 1801, 20_000, 43_200, 66_600, 80_000):
        period = Period(midnight - days[0] * 86_400 + cut, midnight + days[1] * 86_400 + cut)
        for every in ("day", "hour"):
            inner = edges(period, every, ZoneInfo(zone))
            of = [period.start, *(one for one in inner if period.start < one < period.end)]
            of.append(period.end)
            with filled.database.reading() as connection:
                parts = reading.series(connection, of, Where(user_id="u-2"), ("source",), now=LATER)
            for (begin, until), part in zip(pairwise(of), parts, strict=True):
                right = reckoned(
                    Period(begin, until),
                    lambda one: one.user_id == "u-2",
                    lambda one: [(one.source,)],
                )
                assert part == right, (every, begin, until)


@pytest.mark.parametrize("minutes", [10, 30, 60, 360, 1440])
def test_charts_equal_the_calls_however_short_their_parts(filled: Store, minutes: int) -> None:
    start, end = NOON - 3 * 86_400 - 55, NOON + 86_400 + 12_345
    step = minutes * 60
    of = [start, *range(start // step * step + step, end, step), end]
    with filled.database.reading() as connection:
        spans = (of, of[5:7], of[-3:], [start, NOON, NOON + 60])
        for span, now in [(span, now) for span in spans for now in (LATER, end - 1)]:
            parts = reading.series(connection, span, Where(), ("source",), now=now)
            for (begin, until), part in zip(pairwise(span), parts, strict=True):
                right = reckoned(
                    Period(begin, until), lambda one: True, lambda one: [(one.source,)]
                )
                assert part == right, (begin, until)


@pytest.mark.parametrize("measures", [("answers",), ("cost", "input"), ("calls",)])
def test_what_is_not_wanted_is_not_summed(filled: Store, measures: tuple[str, ...]) -> None:
    def only(sums: Sums, *names: str) -> Sums:
        return Sums(**{name: getattr(sums, name) for name in {*measures, *names}})

    period = PERIODS["to the second"]
    edges = [period.start, period.start + 1801, period.end]
    with filled.database.reading() as connection:
        for by in ((), ("picked",), ("user",)):
            found = reading.sums(connection, period, by=by, measures=measures, now=LATER)
            right = reading.sums(connection, period, by=by, now=LATER)
            assert found == {key: only(sums, "calls") for key, sums in right.items()}
            parts = reading.series(connection, edges, by=by, measures=measures, now=LATER)
            assert parts == [
                {key: only(sums, "calls") for key, sums in part.items()}
                for part in reading.series(connection, edges, by=by, now=LATER)
            ]


def test_an_edge_within_an_hour_parts_its_calls(store: Store) -> None:
    """The calls of the half hour before an edge are of the part before; those outside of none."""
    start = NOON // 86_400 * 86_400 + 18 * 3600 + 1800
    of = [start + day * 86_400 for day in range(4)]
    for number, edge in enumerate(of, 1):
        store.write([booking(edge + one) for one in (-1801, *[-1] * number, 0, 1799)])
    with store.database.reading() as connection:
        for where in (Where(), Where(user_id="u-alice"), Where(group="research")):
            parts = reading.series(connection, of, where, now=LATER)
            assert [part[()].calls for part in parts] == [5, 6, 7]


def test_a_day_that_two_edges_cut_has_three_parts(store: Store) -> None:
    midnight = NOON // 86_400 * 86_400
    of = [midnight - 80_000, midnight + 600, midnight + 84_600, midnight + 171_000]
    store.write([booking(moment) for edge in of for moment in (edge - 1, edge, edge + 1)])
    with store.database.reading() as connection:
        for where in (Where(), Where(group="research")):
            parts = reading.series(connection, of, where, now=LATER)
            assert [part[()].calls for part in parts] == [3, 3, 3]


def test_questions_of_one_kind_share_their_statements(filled: Store) -> None:
    """To make one takes longer than to answer it."""

    def ask(user: str, day: int) -> None:
        start = NOON - day * 86_400
        of = [start - 77, *range(start, start + 5 * 86_400, 86_400), start + 5 * 86_400 + 99]
        where = Where(user_id=user, source="api")
        reading.sums(connection, Period(start - 55, start + 86_400), where, now=LATER)
        reading.series(connection, of, where, ("picked",), now=LATER)
        reading.users_by(connection, Period(start, start + 86_400 + 12), now=LATER)
        reading.latest(connection, where, Only(failed=day % 2 == 0), limit=day)

    makers = (queries.added_up, queries.users_of, queries.listed)
    with filled.database.reading() as connection:
        ask("u-1", 7)
        ask("u-1", 6)
        made = [maker.cache_info().misses for maker in makers]
        ask("u-2", 9)
        ask("u-3", 12)
    assert [maker.cache_info().misses for maker in makers] == made


def test_months_and_days_are_those_of_the_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    # The clocks go back on 25 October 2026: that day has 25 hours.
    start = int(datetime(2026, 10, 24, 12, tzinfo=berlin).timestamp())
    days = edges(Period(start, start + 2 * 86_400), "day", berlin)
    assert [end - begin for begin, end in pairwise(days)] == [86_400, 90_000, 86_400]
    with pytest.raises(ValueError, match="choose longer"):
        edges(Period(0, NOON), "hour", berlin)


def test_a_period_is_covered_once() -> None:
    for period in PERIODS.values():
        if period == ALWAYS:
            continue
        spans = sorted(
            (first, end) if grain is None else (start_of(grain, first), start_of(grain, end))
            for grain, first, end in pieces(period, LATER)
        )
        edges_of = [moment for span in spans for moment in span]
        if spans:
            assert edges_of[0] == period.start
            assert edges_of[-1] == period.end
        assert all(end == start for (_, end), (start, _) in pairwise(spans))


def test_what_is_not_over_needs_no_rows() -> None:
    now = NOON + 1800
    assert all(piece.grain is not None for piece in pieces(Period(NOON, now + 5), now))
    assert any(piece.grain is None for piece in pieces(Period(NOON, now - 5), now))


@pytest.mark.parametrize("name", ["all", "a user", "a group", "a source"])
def test_calls_come_newest_first_page_by_page(filled: Store, name: str) -> None:
    where, matches = WHERES[name]
    right = sorted((one.id for one in BOOKINGS if matches(one)), reverse=True)
    found: list[str] = []
    with filled.database.reading() as connection:
        while page := reading.latest(
            connection, where, before=found[-1] if found else None, limit=37
        ):
            found += [call.id for call in page]
    assert found == right


def test_calls_can_be_chosen(filled: Store) -> None:
    with filled.database.reading() as connection:
        failed = reading.latest(connection, Where(), Only(failed=True), limit=1000)
        assert {call.id for call in failed} == {one.id for one in BOOKINGS if one.error}
        titles = reading.latest(connection, Where(), Only(task="title_generation"), limit=1000)
        assert {call.task for call in titles} == {"title_generation"}
        assert reading.one(connection, "no id") is None
        assert reading.one(connection, "00" * 16) is None


def test_all_calls_come_oldest_first(filled: Store) -> None:
    period = PERIODS["to the second"]
    with filled.database.reading() as connection:
        found = [call.id for call in reading.oldest_first(connection, period, at_once=50)]
    right = sorted(
        one.id for one in BOOKINGS if period.start <= milliseconds_of(one) // 1000 < period.end
    )
    assert found == right


def test_a_renamed_user_has_one_line_and_the_last_name(store: Store) -> None:
    store.write([booking(user_name="Old")])
    store.write([booking(user_name="New")])
    with store.database.reading() as connection:
        assert reading.names_of(connection, ["u-alice", "nobody"]) == {"u-alice": "New"}
        assert list(reading.sums(connection, ALWAYS, by=("user",))) == [("u-alice",)]
