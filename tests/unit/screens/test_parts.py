"""The parts of a chart against what Open WebUI does for each call: by the server's own clock."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.screens.parts import MOST, chart
from unit.examples import few

MINUTES = {"10m": 10, "hourly": 60, "3h": 180, "6h": 360, "daily": 1440}
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Lord_Howe")
DAY = 86_400


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def name_of(moment: int, granularity: str) -> str:
    """As Open WebUI 0.12 names the part of the chart that a message is in."""
    clock = datetime.fromtimestamp(moment)
    minutes = (clock.hour * 60 + clock.minute) // MINUTES[granularity] * MINUTES[granularity]
    clock = clock.replace(hour=minutes // 60, minute=minutes % 60)
    return clock.strftime("%Y-%m-%d" if granularity == "daily" else "%Y-%m-%d %H:%M")


# Days on which the clocks of all these zones are changed are among them.
MOMENTS = st.integers(
    int(datetime(2017, 1, 1, tzinfo=UTC).timestamp()),
    int(datetime(2019, 12, 31, tzinfo=UTC).timestamp()),
)


@pytest.mark.parametrize("granularity", MINUTES)
def test_each_moment_is_in_the_part_that_open_webui_would_put_it_in(
    zone: str, granularity: str
) -> None:
    @few
    @given(MOMENTS, st.integers(0, 3 * DAY), st.integers(0, 3 * DAY))
    def check(start: int, length: int, after: int) -> None:
        drawn = chart(start, start + length, granularity)
        moment = start + min(after, length)
        place = bisect_right(drawn.edges, moment) - 1
        assert drawn.dates[place] == name_of(moment, granularity)
        assert drawn.dates[place] in {part.date for part in drawn.parts}

    check()


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
@pytest.mark.parametrize("day", [datetime(2026, 3, 29), datetime(2026, 10, 25)])
@pytest.mark.parametrize("granularity", MINUTES)
def test_no_moment_of_a_day_on_which_clocks_change_is_misplaced(
    zone: str, day: datetime, granularity: str
) -> None:
    start = int(day.timestamp()) - 7
    drawn = chart(start, start + 26 * 3600, granularity)
    for moment in range(start, start + 26 * 3600, 60):
        place = bisect_right(drawn.edges, moment) - 1
        assert drawn.dates[place] == name_of(moment, granularity)


@pytest.mark.parametrize("zone", ["UTC"], indirect=True)
def test_parts_are_cut_where_the_period_is(zone: str) -> None:
    drawn = chart(90_000, 2 * DAY + 5, "daily")
    assert [(part.date, part.start, part.end) for part in drawn.parts] == [
        ("1970-01-02", 90_000, 2 * DAY),
        ("1970-01-03", 2 * DAY, 2 * DAY + 6),
    ]
    assert drawn.edges == (90_000, 2 * DAY, 2 * DAY + 6)


@pytest.mark.parametrize("zone", ["UTC"], indirect=True)
@pytest.mark.parametrize("length", [7 * DAY, 7 * DAY - 1, 7 * DAY + 77])
def test_the_period_before_is_as_long_and_ends_where_this_one_begins(
    zone: str, length: int
) -> None:
    drawn = chart(1_000_000_007, 1_000_000_007 + length, "daily")
    earlier = drawn.before()
    assert (earlier.edges[0], earlier.edges[-1]) == (1_000_000_007 - length - 1, 1_000_000_007)
    assert earlier.dates == drawn.dates
    for mine, yours in zip(earlier.parts, drawn.parts, strict=True):
        assert abs((mine.end - mine.start) - (yours.end - yours.start)) <= 1
    assert [part.end for part in earlier.parts[:-1]] == [part.start for part in earlier.parts[1:]]
    on_hours = {edge % 3600 for edge in earlier.edges[1:-1]} == {0}
    assert on_hours is (length != 7 * DAY + 77)


def test_a_chart_has_no_more_parts_than_anybody_could_look_at() -> None:
    with pytest.raises(ValueError, match="more than 20,000 parts"):
        chart(1, MOST * 600 + 1200, "10m")
