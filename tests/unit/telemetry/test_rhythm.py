"""For how long a pull exporter announces, and that nobody who keeps count misses anything by it."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.telemetry.rhythm import Rhythm
from unit.telemetry.test_totals import Fixture, Reader


class Pulled(Fixture):
    """Totals that are read by whoever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.rhythm = Rhythm(self.clock)
        self.totals.hold = 0.0
        self.totals.until_read = True

    def shown(self, at: float | None = None) -> dict[str, float]:
        found = super().shown(at)
        self.totals.hold = self.rhythm.read()
        return found


def holds(readings: list[float]) -> list[float]:
    it = Pulled()
    found = []
    for at in readings:
        it.shown(at)
        found.append(it.totals.hold)
    return found


def test_who_looks_twice_sees_what_was_counted() -> None:
    it = Pulled()
    it.book(amount=7, at=100)
    assert it.shown(at=101) == {"alice": 0}
    assert it.shown(at=101.5) == {"alice": 7}


@pytest.mark.parametrize(
    ("readings", "hold"),
    [
        ([0], 0),
        ([0, 15], 25),
        ([0, 15, 19], 0),
        ([0, 15, 30], 25),
        ([0, 15.2, 30.1], 24.9),
        ([0, 60, 120], 70),
        ([0, 1, 2], 3),
        ([0, 0.01, 0.02], 0),
        ([0, 10, 47, 110], 0),
        ([0, 15, 22, 30], 25),
        # Two servers, whose readings are 4 seconds apart.
        ([0, 4, 15, 19, 30, 34], 25),
        # Two with different intervals: the longer one counts.
        ([0, 7, 15, 30, 45, 60, 67, 75, 90, 105, 120, 127], 70),
        # It has gone, and somebody looks.
        ([0, 15, 30, 160], 0),
        ([0, 70, 140], 0),
    ],
)
def test_a_rhythm_is_learned_from_even_readings(readings: list[float], hold: float) -> None:
    assert holds(readings)[-1] == pytest.approx(hold)


def test_a_rhythm_stays_known_though_people_look_often() -> None:
    looks = [float(at) for at in range(0, 300, 15)] + [
        random.Random(at).uniform(60, 290) for at in range(9)
    ]
    assert (
        min(found for at, found in zip(sorted(looks), holds(sorted(looks)), strict=True) if at > 30)
        >= 25
    )


looks = st.lists(st.floats(0.2, 40), max_size=30)
moves = st.lists(
    st.tuples(st.floats(0.1, 60), st.sampled_from("abc"), st.integers(1, 9)),
    min_size=1,
    max_size=30,
)


# Hidden, and then the time that counts as idle is longer.
@example(
    [(1.0, "a", 1), (1.0, "a", 1), (45.0, "b", 1), (60.0, "a", 1)],
    [1.0, 1.0, 31.0, 40.0, 33.0],
    5.0,
)
@example([(1.0, "b", 1), (42.0, "a", 1), (60.0, "b", 1)], [22.0, 37.0, 3.0, 40.0], 5.0)
@given(moves, looks, st.sampled_from([5.0, 15.0, 30.0, 60.0]))
def test_a_server_sees_all_as_an_increase_whoever_else_looks(
    calls: list[tuple[float, str, int]], pauses: list[float], interval: float
) -> None:
    it, server = Pulled(), Reader(interval)
    server.until(it, 3 * interval)
    at, look, booked = 3 * interval, 3 * interval, dict[str, int]()
    times = []
    for pause in pauses:
        look += pause
        times.append(look)
    for pause, who, amount in calls:
        at += pause
        while times and times[0] < at:
            server.until(it, times[0])
            it.shown(at=times.pop(0))
        server.until(it, at)
        it.book(who, amount, at=at)
        booked[who] = booked.get(who, 0) + amount
    server.until(it, at + 80 + 2 * interval)
    assert server.increase == booked
