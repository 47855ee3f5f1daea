"""What the usage page is answered with: periods, money, pages of calls that are rare."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.keeping import forget
from opentelemetry.instrumentation.open_webui.ledger.periods import Period
from opentelemetry.instrumentation.open_webui.ledger.reading import (
    EVERYTHING,
    Only,
    Sums,
    Where,
    sums,
)
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.screens import loader, usage
from opentelemetry.instrumentation.open_webui.screens.usage import history
from opentelemetry.instrumentation.open_webui.screens.usage.amounts import amounts, usd
from opentelemetry.instrumentation.open_webui.screens.usage.asking import Asked, Listed
from opentelemetry.instrumentation.open_webui.screens.usage.past import Past
from opentelemetry.instrumentation.open_webui.screens.usage.spans import Span, Wrong, span, zone_of
from unit.ledger.books import booking, many

pytestmark = pytest.mark.database

BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
NOW = datetime(2026, 3, 1, 0, 30, tzinfo=BERLIN).timestamp()
BEGAN = datetime(2025, 5, 5, tzinfo=UTC).timestamp()
PAGE = Path(usage.__file__).with_name("page")

NAMED = {
    "today": ("2026-03-01", "2026-03-01"),
    "7d": ("2026-02-23", "2026-03-01"),
    "30d": ("2026-01-31", "2026-03-01"),
    "365d": ("2025-03-02", "2026-03-01"),
    "month": ("2026-03-01", "2026-03-01"),
    "last_month": ("2026-02-01", "2026-02-28"),
    "all": ("2025-05-05", "2026-03-01"),
}


def days(
    name: str | None = None,
    first: date | None = None,
    last: date | None = None,
    month: str | None = None,
    zone: ZoneInfo = BERLIN,
    began: float | None = BEGAN,
) -> tuple[str, str]:
    found = span(name, first, last, month, zone, now=NOW, began=began)
    return found.first.isoformat(), found.last.isoformat()


@pytest.mark.parametrize("name", NAMED)
def test_periods_have_names(name: str) -> None:
    assert days(name) == NAMED[name]


def test_days_are_those_of_the_zone() -> None:
    assert days("today", zone=UTC_ZONE) == ("2026-02-28", "2026-02-28")
    assert days("last_month", zone=UTC_ZONE) == ("2026-01-01", "2026-01-31")
    with pytest.raises(Wrong, match="Mars"):
        zone_of("Mars")


def test_a_period_is_told_in_one_way() -> None:
    assert days() == NAMED["30d"]
    assert days(month="2024-02") == ("2024-02-01", "2024-02-29")
    assert days(first=date(2026, 1, 2)) == ("2026-01-02", "2026-03-01")
    assert days(last=date(2026, 1, 2)) == ("2025-05-05", "2026-01-02")
    assert days("all", began=None) == NAMED["today"]
    with pytest.raises(Wrong, match="choose one"):
        days("7d", month="2026-01")
    with pytest.raises(Wrong, match="after"):
        days(first=date(2026, 1, 2), last=date(2026, 1, 1))


def test_a_chart_has_whole_days_where_the_clock_changes() -> None:
    found = Span(date(2026, 3, 28), date(2026, 3, 30), BERLIN)
    edges = found.edges("day")
    assert [b - a for a, b in itertools.pairwise(edges)] == [86_400, 82_800, 86_400]
    assert len(Span(date(2026, 3, 29), date(2026, 3, 29), BERLIN).edges("hour")) == 24
    lengths = {1: "hour", 2: "hour", 3: "day", 100: "day", 101: "week", 401: "month"}
    for length, every in lengths.items():
        last = date.fromordinal(date(2024, 1, 1).toordinal() + length - 1)
        assert Span(date(2024, 1, 1), last, BERLIN).every == every
    weeks = Span(date(2026, 3, 4), date(2026, 3, 24), BERLIN).edges("week")
    assert len(weeks) == 5
    with pytest.raises(Wrong, match="longer"):
        Span(date(1990, 1, 1), date(2026, 1, 1), BERLIN).edges("hour")


@pytest.mark.parametrize("nano", [0, 1, 10**7, 123_456_789, 10**9, 12_340_000_000, 10**18 + 1, -5])
def test_money_loses_nothing(nano: int) -> None:
    told = usd(nano)
    assert told is not None
    assert Decimal(told) * 10**9 == nano
    assert re.fullmatch(r"-?\d+\.\d{2,9}", told)


def test_what_has_no_price_costs_not_nothing() -> None:
    assert amounts(Sums(calls=2, unpriced=2))["cost_usd"] is None
    assert amounts(Sums(calls=2, unpriced=1, cost=10**9))["cost_usd"] == "1.00"
    assert amounts(Sums(calls=2))["cost_usd"] == "0.00"


BOOKINGS = many(500, seed=5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(
        of_file(tmp_path_factory.mktemp("ledger") / "usage.db"), lambda name: f"id-{name}"
    )
    store.open()
    store.write(BOOKINGS)
    return store


def quick() -> Callable[[], float]:
    return lambda: 0.0


def slow() -> Callable[[], float]:
    """A clock by which each look takes longer than there is time."""
    ticks = itertools.count()
    return lambda: next(ticks) * 1.0


def uneven() -> Callable[[], float]:
    rng, now = random.Random(1), [0.0]

    def clock() -> float:
        now[0] += rng.choice((0.0, 0.001, 0.03))
        return now[0]

    return clock


@pytest.mark.parametrize("clock", [quick, slow, uneven])
@pytest.mark.parametrize("user", [None, "u-2"])
@pytest.mark.parametrize(
    "only", [Only(), Only(failed=True), Only(unpriced=True), Only(task="none")]
)
def test_pages_have_each_call_once_however_slow_it_is(
    store: Store, clock: Callable[[], Callable[[], float]], user: str | None, only: Only
) -> None:
    asked = Asked(Span(date(2026, 8, 20), date(2026, 12, 1), BERLIN), user_id=user)
    start, end = asked.span.period.start, asked.span.period.end
    right = {
        one.id
        for one in BOOKINGS
        if user in (None, one.user_id)
        and (only.failed is None or (one.error is not None) == only.failed)
        and (only.unpriced is None or one.unpriced == only.unpriced)
        and only.task in (None, one.task)
        and start * 1000 <= int(one.id[:12], 16) < end * 1000
    }
    found, before, pages = [], None, 0
    while True:
        with store.database.reading() as connection:
            page = history.page(connection, asked, Listed(only, before, 9), clock())
        assert len(page.calls) <= 9
        found += [call.id for call in page.calls]
        pages += 1
        if page.before is None:
            break
        before = page.before
        assert pages < 1000
    assert found == sorted(right, reverse=True)


def test_an_empty_ledger_has_an_empty_page(tmp_path: Path) -> None:
    store = Store(of_file(tmp_path / "usage.db"), str)
    store.open()
    asked = Asked(Span(date(2026, 1, 1), date(2026, 12, 1), BERLIN))
    with store.database.reading() as connection:
        assert history.page(connection, asked, Listed()) == history.Page([], None)


# The page's files


def scripts() -> Iterator[tuple[str, str]]:
    for file in sorted(PAGE.glob("*.js")):
        yield file.name, file.read_text()


def test_every_text_is_in_every_language() -> None:
    source = (PAGE / "texts.js").read_text()
    [languages] = re.findall(r"const LANGUAGES = (\[.*\]);", source)
    rows = re.findall(r'^  "?(\w+)"?: (\[.*\]),$', source, re.M)
    assert len(rows) > 100
    for key, row in rows:
        texts = json.loads(row)
        assert len(texts) == len(json.loads(languages)), key
        assert all(texts), key
        blanks = [sorted(re.findall(r"\{\w+\}", text)) for text in texts]
        assert all(one == blanks[0] for one in blanks), key


def test_every_text_that_is_shown_is_there() -> None:
    known = set(re.findall(r'^  "?(\w+)"?: \[', (PAGE / "texts.js").read_text(), re.M))
    used = {key for _, code in scripts() for key in re.findall(r'\btext\("(\w+)"', code)}
    assert used - known == set()


def test_the_page_needs_nothing_from_elsewhere_and_makes_no_markup() -> None:
    shell = (PAGE / "index.html").read_text()
    assert not re.search(
        r"https?:|//|<style|style=|\son\w+=|<script>", shell.replace("<!doctype", "")
    )
    for name, code in scripts():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|document\.write", code), (
            name
        )
        addresses = re.findall(r"https?://[^\"']+", code)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, name
        for module in re.findall(r'from "\./([\w.]+)"', code):
            assert (PAGE / module).exists()
    assert b"usageLedger" in loader.script()
    assert loader.script().count(b'"use strict"') == 2


# What is remembered


def test_what_is_remembered_of_closed_months_is_right(tmp_path: Path) -> None:
    store, now = Store(of_file(tmp_path / "usage.db"), str), [1000.0]
    store.open()
    day, today = 86_400, time.time()
    store.write(many(200, seed=6, start=int(today) - 100 * day, days=99))
    past, period = Past(lambda: now[0]), Period(int(today) - 80 * day, int(today) + day)

    def both(where: Where = EVERYTHING) -> tuple[dict[str, Sums], dict[str, Sums]]:
        with store.database.reading() as connection:
            right = sums(connection, period, where, ("user",))
            found = past.by(connection, "user", period, where)
        return found, {user: used for (user,), used in right.items()}

    for where in (EVERYTHING, Where(source="api"), EVERYTHING):
        found, right = both(where)
        assert found == right
    store.write([booking(today, user_id="u-1"), booking(today - 70 * day, user_id="u-late")])
    found, right = both()
    assert found["u-1"] == right["u-1"]
    assert "u-late" not in found
    now[0] += 61
    assert both()[0] == right
    forget(store.database, "u-1")
    found, right = both()
    assert "u-1" not in found
    assert found == right
    for number in range(50):
        both(Where(picked=str(number)))
    assert len(past._kept) <= 16
