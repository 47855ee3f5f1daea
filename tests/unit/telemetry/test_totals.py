from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.telemetry.totals import Place, Tags, Totals

HOLD, IDLE = 10.0, 100.0
ALICE: Tags = (("user.id", "alice"), ("model", "m"))
OTHER: Tags = (("user.id", "__other__"),)
LESS = "__other__"
SHARE = 1000


def less(tags: Tags) -> Tags:
    """Tells neither model nor error."""
    return tuple((name, LESS) for name, _ in tags)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Fixture:
    def __init__(self, limit: int = 1000, shard_size: int = 1000, share: int = SHARE) -> None:
        self.clock = Clock()
        self.share = share
        self.shards: list[tuple[str, int]] = []
        self.totals = Totals(
            idle=IDLE,
            limit=limit,
            shard_size=shard_size,
            on_shard=lambda metric, shard: self.shards.append((metric, shard)),
            fold=less,
            membership="member",
            clock=self.clock,
        )
        self.totals.hold = HOLD
        self.totals.open("calls")

    def book(
        self,
        who: str = "alice",
        amount: float = 1,
        at: float | None = None,
        model: str = "m",
        error: str | None = None,
    ) -> Place:
        if at is not None:
            self.clock.now = at
        failed: Tags = (("error", error),) if error else ()
        owner, what, entry = (("user.id", who),), (("model", model),), (("calls", failed), amount)
        return self.totals.book(owner, what, [entry], OTHER, self.share)

    def shown(self, at: float | None = None) -> dict[str, float]:
        found: dict[str, float] = {}
        for value, tags in self.series(at):
            who = str(tags["user.id"])
            found[who] = found.get(who, 0) + value
        return found

    def series(self, at: float | None = None) -> list[tuple[float, dict[str, str | bool]]]:
        if at is not None:
            self.clock.now = at
        shards = sum(metric == "calls" for metric, _ in self.shards)
        return [row for shard in range(shards) for row in self.totals.shown("calls", shard)]


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


def test_who_reads_rarely_sees_where_it_started_and_where_it_ended() -> None:
    it = Fixture()
    it.totals.until_read = True
    it.book(amount=7, at=0)
    assert it.shown(at=1000) == {"alice": 0}
    assert it.shown(at=2000) == {"alice": 7}
    assert it.shown(at=3000) == {}


def test_a_series_that_begins_while_nothing_comes_through_shows_zero_once_something_does() -> None:
    it = Fixture()
    it.book(amount=7, at=5)
    for moment in (6, 30, 60):
        assert it.shown(at=moment) == {"alice": 0}
        it.totals.exported(False)
        it.book(amount=1)
    assert it.shown(at=90) == {"alice": 0}
    it.totals.exported(True)
    assert it.shown(at=120) == {"alice": 10}


def test_after_a_day_a_series_is_shown_though_nobody_says_that_anything_comes_through() -> None:
    it = Fixture()
    it.book(amount=7, at=0)
    assert it.shown() == {"alice": 0}
    it.totals.exported(False)
    assert it.shown(at=86_500) == {"alice": 0}
    it.totals.exported(False)
    assert it.shown() == {"alice": 7}


def test_a_series_that_moves_again_before_anything_came_through_shows_zero_still() -> None:
    it = Fixture()
    it.book(amount=7, at=0)
    assert it.shown() == {"alice": 0}
    it.totals.exported(False)
    it.book(amount=1, at=1000)
    assert it.shown() == {"alice": 0}
    it.book(amount=1, at=2000)
    it.totals.exported(False)
    assert it.shown(at=3000) == {"alice": 0}
    it.totals.exported(True)
    assert it.shown(at=3001) == {"alice": 9}


def test_a_series_that_has_shown_its_total_never_shows_less() -> None:
    it = Fixture()
    it.book(amount=7, at=0)
    assert it.shown(at=20) == {"alice": 7}
    it.totals.exported(False)
    it.book(amount=1)
    assert it.shown(at=40) == {"alice": 8}


def test_a_series_whose_total_came_through_to_nobody_is_not_silent() -> None:
    it = Fixture()
    it.book(amount=7, at=0)
    assert it.shown(at=20) == {"alice": 7}
    it.totals.exported(False)
    assert it.shown(at=1000) == {"alice": 7}
    it.totals.exported(True)
    assert it.shown(at=1001) == {}


def test_what_is_no_total_is_not_held() -> None:
    it = Fixture()
    it.totals.set_gauge("seen", (("user.id", "alice"),), 7)
    it.totals.exported(False)
    [(value, _)] = it.totals.shown("seen", 0)
    assert value == 7


def test_a_hidden_series_is_shown_again_though_series_are_now_shown_for_longer() -> None:
    it = Fixture()
    it.book(at=0)
    assert it.shown(at=50) == {"alice": 1}
    assert it.shown(at=101) == {}
    it.totals.hold = 60.0
    it.book(at=102)
    assert it.shown() == {"alice": 1}
    assert it.shown(at=163) == {"alice": 2}


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
    assert it.book("user0") is Place.OWN
    assert kept == [Place.OWN] * 3 + [Place.OTHER] * 3
    assert it.shown(at=50) == {"user0": 3, "user1": 2, "user2": 2, "__other__": 6}
    assert caplog.text.count("the limit of 3") == 1


def test_who_names_many_models_takes_nobodys_room_and_nothing_is_lost() -> None:
    it = Fixture(limit=100, share=10)
    places = [it.book("mallory", model=f"m{number}") for number in range(500)]
    assert places == [Place.OWN] * 10 + [Place.OWN_LESS] * 490
    assert it.book("alice", model="new") is Place.OWN
    assert it.shown(at=50) == {"mallory": 500, "alice": 1}
    assert len(it.series()) == 12


def test_models_beyond_the_limit_are_folded_too_and_nothing_is_lost() -> None:
    it = Fixture(limit=20, share=10)
    for user in range(30):
        it.book(f"u{user}")
    places = [it.book("late", model=f"m{number}") for number in range(500)]
    assert set(places) == {Place.OTHER, Place.OTHER_LESS}
    assert sum(it.shown(at=50).values()) == 530
    assert len(it.series()) <= 20 + 10 + 1


def test_errors_of_who_has_too_many_are_folded_and_nothing_is_lost() -> None:
    it = Fixture(share=10)
    for number in range(500):
        it.book("mallory", error=f"e{number}")
    it.book("alice", error="e1")
    assert it.shown(at=50) == {"mallory": 500, "alice": 1}
    assert len(it.series()) == 12


def test_an_account_may_change_its_names_only_so_often() -> None:
    it = Fixture(share=10)
    for number in range(500):
        owner: Tags = (("user.id", "mallory"), ("user.name", f"n{number}"))
        place = it.totals.book(owner, (("model", "m"),), [(("calls", ()), 1)], OTHER, it.share)
        if place.own:
            it.totals.set_members("mallory", [(*owner, ("group", "a"))])
            it.totals.set_gauge("seen", owner, number)
    assert sum(it.shown(at=50).values()) == 500
    assert len(it.series()) <= 2 * 10 + 1


def test_there_is_no_room_for_memberships_beyond_the_limit() -> None:
    it = Fixture(limit=3)
    it.book()
    it.totals.set_members("alice", members("a", "b", "c", "d"))
    assert groups_shown(it) == {"a", "b"}


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 1 << 63, 1e300])
def test_an_amount_that_cannot_be_told_changes_nothing(amount: float) -> None:
    it = Fixture()
    it.book(amount=5)
    it.book(amount=amount)
    it.book(amount=1)
    assert it.shown(at=50) == {"alice": 6}


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
