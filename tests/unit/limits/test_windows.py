"""Spans of time across clock changes, months and years, in zones of their own."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.limits.windows import CALENDAR, Window

BERLIN, NEW_YORK, KOLKATA = "Europe/Berlin", "America/New_York", "Asia/Kolkata"
ZONES = (BERLIN, NEW_YORK, KOLKATA, "UTC", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu")


def at(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("per", "zone", "now", "start", "end"),
    [
        # A day of 23 hours, and one of 25.
        ("day", BERLIN, "2026-03-29T12:00", "2026-03-29T00:00", "2026-03-30T00:00"),
        ("day", BERLIN, "2026-10-25T23:59:59", "2026-10-25T00:00", "2026-10-26T00:00"),
        ("day", NEW_YORK, "2026-11-01T01:30", "2026-11-01T00:00", "2026-11-02T00:00"),
        ("day", KOLKATA, "2026-11-27T00:10", "2026-11-27T00:00", "2026-11-28T00:00"),
        # Weeks begin on Monday, also over the year's end and a clock change.
        ("week", BERLIN, "2026-11-29T23:59", "2026-11-23T00:00", "2026-11-30T00:00"),
        ("week", BERLIN, "2026-11-30T00:00", "2026-11-30T00:00", "2026-12-07T00:00"),
        ("week", BERLIN, "2027-01-01T08:00", "2026-12-28T00:00", "2027-01-04T00:00"),
        ("week", BERLIN, "2026-03-29T12:00", "2026-03-23T00:00", "2026-03-30T00:00"),
        # Months of 28, 29, 30 and 31 days.
        ("month", BERLIN, "2026-02-28T23:59", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("month", BERLIN, "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("month", BERLIN, "2026-11-30T12:00", "2026-11-01T00:00", "2026-12-01T00:00"),
        ("month", BERLIN, "2026-12-31T23:59:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("hour", BERLIN, "2026-11-27T12:34", "2026-11-27T12:00", "2026-11-27T13:00"),
    ],
)
def test_the_calendar(per: str, zone: str, now: str, start: str, end: str) -> None:
    assert Window(per, zone).span(at(now, zone)) == (at(start, zone), at(end, zone))


def test_days_of_23_and_25_hours_are_as_long_as_that() -> None:
    spring = Window("day", BERLIN).span(at("2026-03-29T12:00", BERLIN))
    autumn = Window("day", BERLIN).span(at("2026-10-25T12:00", BERLIN))
    assert [(span.end or 0) - span.start for span in (spring, autumn)] == [23 * 3600, 25 * 3600]


moments = st.integers(int(datetime(2011, 1, 1).timestamp()), int(datetime(2037, 1, 1).timestamp()))


@given(moments, st.sampled_from(CALENDAR), st.sampled_from(ZONES))
def test_every_moment_is_in_one_span_that_follows_the_last(now: int, per: str, zone: str) -> None:
    window = Window(per, zone)
    span = window.span(now)
    assert span.end is not None
    assert span.start <= now < span.end
    assert window.span(span.start) == window.span(span.end - 1) == span
    assert window.span(span.end).start == span.end
    assert window.span(span.start - 1).end == span.start


@given(moments, st.sampled_from(ZONES))
def test_days_weeks_and_months_begin_as_the_calendar_says(now: int, zone: str) -> None:
    # Samoa left a day out, and a zone may have no midnight: the first moment of the day counts.
    def day(moment: float) -> datetime:
        return datetime.fromtimestamp(moment, ZoneInfo(zone))

    for per in ("day", "week", "month"):
        start = Window(per, zone).span(now).start
        assert day(start - 1).date() < day(start).date()
    week = day(Window("week", zone).span(now).start)
    if zone != "Pacific/Apia":
        assert week.weekday() == 0
        assert day(Window("month", zone).span(now).start).day == 1


@given(moments, st.integers(1, 100))
def test_a_rolling_window_has_all_of_its_hours_and_at_most_one_more(now: int, hours: int) -> None:
    span = Window("", hours=hours).span(now)
    assert span.end is None
    assert span.start % 3600 == 0
    assert timedelta(0) <= timedelta(seconds=now - hours * 3600 - span.start) < timedelta(hours=1)
