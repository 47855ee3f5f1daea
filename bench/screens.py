"""How long the ledger takes for what Open WebUI's own screens ask it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from bench.results import Result, timed
from opentelemetry.instrumentation.open_webui.ledger import reading
from opentelemetry.instrumentation.open_webui.screens import analytics, personal
from opentelemetry.instrumentation.open_webui.screens.asked import Asked

DAY: Final = 86_400
ENDPOINTS: Final = (
    analytics.summary,
    analytics.models,
    analytics.users,
    analytics.tokens,
    analytics.daily,
)
# Beside the chart by day, which is all that the page draws of a year; a script may ask for more.
GRAINS: Final = {"month": {"3h": 100, "6h": 100}, "year": {"6h": None, "hourly": None}}
# Days and hours of the sums are those of UTC. India's days begin in the middle of an hour, and
# Japan's in that of a day.
ZONES: Final = ("UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Tokyo")

Endpoint = Callable[[Connection, Asked], Any]


def answers(connection: Connection, heaviest: str) -> Iterator[Result]:
    """Measure each request of Analytics, and Settings → Usage of who called the most."""
    _, last = reading.ends(connection) or (0, 0)
    # Ends and begins in the middle of an hour, as the page asks.
    month = Asked(start=last - 30 * DAY, end=last)
    year = Asked(start=last - 365 * DAY, end=last)
    for name, asked, most in (("month", month, 100), ("year", year, 300)):
        for endpoint in ENDPOINTS:
            for who, narrowed in _narrowed(connection, asked):
                yield _result(connection, endpoint, narrowed, f"a {name}, {who}", most)
        for grain, at_most in GRAINS[name].items():
            drawn = replace(asked, granularity=grain)
            yield _result(connection, analytics.daily, drawn, f"a {name}, {grain}", at_most)
        compared = replace(asked, compare=True)
        yield _result(connection, analytics.daily, compared, f"a {name}, compared", 2 * most)
    for zone in ZONES:
        with clock_of(zone):
            for who, narrowed in _narrowed(connection, year):
                yield _result(connection, analytics.daily, narrowed, f"a year, {who}, {zone}", 300)
    day = Asked(start=last - DAY, end=last, granularity="10m")
    yield _result(connection, analytics.daily, day, "a day, 10m", 100)
    for endpoint in ENDPOINTS:
        yield _result(connection, endpoint, Asked(), "since ever", 600)
    yield from _of_one(connection, heaviest, last)


def _narrowed(connection: Connection, asked: Asked) -> Iterator[tuple[str, Asked]]:
    ids = [group_id for group_id, _ in reading.known_groups(connection) if group_id]
    yield "everybody", asked
    yield "API", replace(asked, source="api")
    yield "a group", replace(asked, group_ids=(ids[5],))
    yield "a group and 9 below it", replace(asked, group_ids=tuple(ids[:10]))


def _result(
    connection: Connection, endpoint: Endpoint, asked: Asked, what: str, most: float | None
) -> Result:
    name = f"Analytics, {endpoint.__name__}: {what}"
    return Result(name, timed(lambda: endpoint(connection, asked)), most, "ms")


def _of_one(connection: Connection, user: str, last: int) -> Iterator[Result]:
    for name, days, most in (("month", 30, 5), ("year", 365, None)):
        for zone in ZONES:

            def read(days: int = days, zone: str = zone) -> object:
                return personal.read(connection, user, last - days * DAY, last, zone)

            yield Result(f"Settings → Usage: a {name}, {zone}", timed(read), most, "ms")


@contextmanager
def clock_of(zone: str) -> Iterator[None]:
    """Have the server's clock show the time of a zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()
