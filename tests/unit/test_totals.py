from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.totals import Tags, Totals

HOLD, IDLE = 10.0, 100.0
ALICE: Tags = (("user.id", "alice"), ("model", "m"))
OTHER: Tags = (("user.id", "__other__"), ("model", "m"))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Fixture:
    def __init__(self, limit: int = 1000, shard_size: int = 1000) -> None:
        self.clock = Clock()
        self.shards: list[tuple[str, int]] = []
        self.totals = Totals(
            idle=IDLE,
            limit=limit,
            shard_size=shard_size,
            on_shard=lambda metric, shard: self.shards.append((metric, shard)),
            membership="member",
            clock=self.clock,
        )
        self.totals.hold = HOLD
        self.totals.open("calls")

    def book(self, who: str = "alice", amount: int = 1, at: float | None = None) -> bool:
        if at is not None:
            self.clock.now = at
        account: Tags = (("user.id", who), ("model", "m"))
        return self.totals.book(account, [("calls", (), amount)], OTHER)

    def shown(self, at: float | None = None) -> dict[str, float]:
        if at is not None:
            self.clock.now = at
        shards = sum(metric == "calls" for metric, _ in self.shards)
        return {
            attributes["user.id"]: value
            for shard in range(shards)
            for value, attributes in self.totals.shown("calls", shard)
        }


def test_a_new_series_shows_zero_for_the_hold_and_then_its_total() -> None:
    it = Fixture()
    it.book(amount=7, at=5)
    it.book(amount=2, at=8)
    assert it.shown() == {"alice": 0}
    assert it.shown(at=14.9) == {"alice": 0}
    assert it.shown(at=15) == {"alice": 9}


def test_a_series_that_is_shown_moves_at_once() -> None:
    it = Fixture()
    it.book(at=0)
    it.book(at=20)
    assert it.shown() == {"alice": 2}


def test_an_idle_series_is_silent_and_shows_its_old_total_when_it_moves_again() -> None:
    it = Fixture()
    it.book(amount=7, at=0)
    assert it.shown(at=100) == {"alice": 7}
    assert it.shown(at=101) == {}
    it.book(amount=2, at=500)
    assert it.shown() == {"alice": 7}
    assert it.shown(at=510) == {"alice": 9}


def test_no_series_falls_silent_before_its_total_was_shown_for_a_while() -> None:
    it = Fixture()
    it.totals.hold = 80.0
    it.book(at=0)
    assert it.shown(at=239) == {"alice": 1}


def test_release_shows_what_was_held_back() -> None:
    it = Fixture()
    it.book(amount=7, at=0)
    assert it.shown() == {"alice": 0}
    it.totals.release()
    assert it.shown() == {"alice": 7}


def test_beyond_the_limit_users_are_folded_and_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = Fixture(limit=3)
    kept = [it.book(f"user{number}", amount=2) for number in range(6)]
    assert it.book("user0")
    assert kept == [True, True, True, False, False, False]
    assert it.shown(at=50) == {"user0": 3, "user1": 2, "user2": 2, "__other__": 6}
    assert caplog.text.count("the limit of 3") == 1


def test_a_shard_takes_as_many_series_as_it_may() -> None:
    it = Fixture(shard_size=2)
    for number in range(5):
        it.book(f"user{number}")
    assert it.shards == [("calls", 0), ("calls", 1), ("calls", 2)]
    sizes = [len(it.totals.shown("calls", shard)) for shard in range(3)]
    assert sizes == [2, 2, 1]
    assert len(it.shown()) == 5


def members(*groups: str) -> list[Tags]:
    return [(("user.id", "alice"), ("group", group)) for group in groups]


def groups_shown(it: Fixture) -> set[object]:
    return {tags["group"] for value, tags in it.totals.shown("member", 0) if value == 1}


def test_memberships_follow_the_last_known_groups() -> None:
    it = Fixture()
    for groups in ({"a", "b"}, {"b", "c"}, {"a"}):
        it.totals.set_members("alice", members(*sorted(groups)))
        assert groups_shown(it) == groups
    it.clock.now = 200
    assert groups_shown(it) == set()


def test_memberships_change_between_calls_and_make_nobody_active() -> None:
    it = Fixture()
    it.totals.set_members("alice", members("a"))
    assert it.totals.members() == {"alice": (("user.id", "alice"), ("group", "a"))}
    it.clock.now = IDLE
    it.totals.set_members("alice", members("b", "c"), moved=False)
    assert groups_shown(it) == {"b", "c"}
    it.clock.now = IDLE + 1
    assert groups_shown(it) == set()
    assert it.totals.members() == {}
    it.totals.set_members("alice", members("d"), moved=False)
    assert groups_shown(it) == set()
    it.totals.set_members("alice", members("d"))
    assert groups_shown(it) == {"d"}


steps = st.lists(
    st.tuples(st.floats(0.1, 60), st.sampled_from("abc"), st.integers(1, 9)),
    min_size=1,
    max_size=40,
)


@given(steps, st.floats(1, HOLD * 0.99), st.floats(1, HOLD * 0.99))
def test_every_reader_sees_all_that_was_booked_as_an_increase(
    moves: list[tuple[float, str, int]], first: float, second: float
) -> None:
    """Two readers of their own rhythm, each with an interval shorter than the hold."""
    it = Fixture()
    booked: dict[str, int] = {}
    due = [(first, Reader(first)), (second, Reader(second))]
    at = 0.0
    for pause, who, amount in [*moves, (HOLD + first + second, "a", 0)]:
        at += pause
        for _, reader in due:
            reader.until(it, at)
        it.book(who, amount, at=at)
        booked[who] = booked.get(who, 0) + amount
    for _, reader in due:
        reader.until(it, at + 3 * HOLD)
        assert reader.increase == booked


class Reader:
    """Adds up what a back end sees as the increase of each series."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.next = interval
        self.last: dict[str, float] = {}
        self.increase: dict[str, float] = {}

    def until(self, it: Fixture, at: float) -> None:
        while self.next <= at:
            for who, value in it.shown(at=self.next).items():
                # The first value ever seen counts for nothing.
                moved = value - self.last.get(who, value)
                self.increase[who] = self.increase.get(who, 0) + moved
                self.last[who] = value
            self.next += self.interval
