from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Table, delete, insert, select, text

from harness.postgres import Postgres
from opentelemetry.instrumentation.open_webui.ledger.booking import milliseconds_of
from opentelemetry.instrumentation.open_webui.ledger.checking import check
from opentelemetry.instrumentation.open_webui.ledger.database import Database, of_url
from opentelemetry.instrumentation.open_webui.ledger.keeping import (
    Retention,
    Thinning,
    forget,
    prune,
)
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS, Period
from opentelemetry.instrumentation.open_webui.ledger.reading import (
    Where,
    latest,
    names_of,
    sums,
    total,
)
from opentelemetry.instrumentation.open_webui.ledger.schema import (
    HOUR,
    audits,
    door,
    membership_sums,
    user_sums,
)
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.ledger.sums import HOURS_KEPT
from unit.ledger.books import NOON, booking, many, summed
from unit.ledger.conftest import emptied

pytestmark = pytest.mark.database

DAY = 86_400


def audit_of(store: Store) -> list[tuple[str, dict[str, object]]]:
    with store.database.reading() as connection:
        rows = connection.execute(select(audits).order_by(audits.c.no))
        return [(row.action, json.loads(row.detail)) for row in rows]


def test_what_is_older_goes_with_its_sums_and_leaves_a_line(store: Store) -> None:
    bookings = many(300)
    store.write(bookings)
    before = NOON - 5 * DAY
    kept = [one for one in bookings if milliseconds_of(one) // 1000 >= before // DAY * DAY]
    gone = [one for one in bookings if one not in kept]
    steps: list[tuple[int, int]] = []
    taken = prune(store.database, before, lambda done, of: steps.append((done, of)))
    assert (taken.calls, taken.cost) == (len(gone), summed(gone).cost)
    assert steps[-1][0] == steps[-1][1]
    with store.database.reading() as connection:
        assert total(connection, ALWAYS) == summed(kept)
        half_a_month = Period(before + 1234, NOON + 60 * DAY)
        right = [one for one in kept if milliseconds_of(one) // 1000 >= before + 1234]
        assert total(connection, half_a_month) == summed(right)
    found = check(store.database)
    assert not found.problems
    assert any("were pruned" in remark for remark in found.remarks)
    lines = audit_of(store)
    assert {action for action, _ in lines} == {"prune"}
    assert sum(int(str(detail["calls"])) for _, detail in lines) == len(gone)
    assert prune(store.database, before).calls == 0


def test_a_call_that_comes_late_is_booked_all_the_same(store: Store) -> None:
    store.write(many(50))
    prune(store.database, NOON + 100 * DAY)
    store.write([booking(NOON - 20 * DAY)])
    assert not check(store.database).problems
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 1


def test_a_user_is_forgotten_while_the_server_goes_on(store: Store) -> None:
    store.write([booking(chat="6ba7b810-9dad-41d1-80b4-00c04fd430c8", trace="ab" * 16)])
    store.write([booking(user_id="u-bob", chat="local:1")])
    other = Store(store.database)
    done = forget(other.database, "u-alice")
    assert done is not None
    assert done.calls == 1
    # The writer of the server knows the user by a number that is not theirs any more.
    store.write([booking()])
    with store.database.reading() as connection:
        (old,) = latest(connection, Where(user_id=done.pseudonym))
        assert (old.user_name, old.chat_id, old.trace_id) == (None, None, None)
        assert old.groups == ("research", "teaching")
        assert total(connection, ALWAYS, Where(user_id="u-alice")).calls == 1
        assert names_of(connection, [done.pseudonym]) == {done.pseudonym: None}
        assert latest(connection, Where(user_id="u-bob"))[0].chat_id == "local:1"
        assert sums(connection, ALWAYS, by=("group",))[((None, "research"),)].calls == 3
    assert audit_of(store) == [("forget", {"user": done.pseudonym, "calls": 1})]
    assert not check(store.database).problems
    assert forget(store.database, "u-nobody") is None


def test_retention_runs_once_an_hour_whoever_asks(store: Store) -> None:
    store.write([booking(time.time() - 40 * DAY), booking(time.time() - 10 * DAY)])
    retention = Retention(30)
    assert retention.step(store) > 0
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 1
    store.write([booking(time.time() - 50 * DAY)])
    Retention(30).step(store)
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 2


def test_what_two_servers_take_out_at_once_is_told_once(postgres: Postgres) -> None:
    database = of_url(postgres.url)
    emptied(database)
    store = Store(database)
    store.open()
    store.write(many(100))
    with ThreadPoolExecutor(2) as servers:
        with database.writing() as connection:
            connection.execute(insert(door).values(reason="prune"))
            pruning = [servers.submit(prune, database, NOON + 100 * DAY) for _ in range(2)]
            while waiting_for_locks(database) < 2:
                time.sleep(0.05)
            connection.execute(delete(door))
        taken = [one.result() for one in pruning]
    whole = summed(many(100))
    assert sum(one.calls for one in taken) == whole.calls
    assert sum(one.cost for one in taken) == whole.cost
    assert sum(int(str(detail["cost"])) for _, detail in audit_of(store)) == whole.cost
    assert not check(database).problems
    database.disconnect()


def waiting_for_locks(database: Database) -> int:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with database.reading() as connection:
        return int(connection.execute(text(waiting)).scalar_one())


def test_a_clock_that_was_ahead_keeps_nothing_longer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda now=time.time: now() + 1000 * DAY)
        Retention(3000).step(store)
    store.write([booking(time.time() - 40 * DAY)])
    Retention(30).step(store)
    with store.database.reading() as connection:
        assert total(connection, ALWAYS).calls == 0


def test_only_the_latest_hours_are_kept_of_users_and_groups(store: Store) -> None:
    kept = HOURS_KEPT[store.database.engine.dialect.name]
    days = (kept + 30, kept + 1, kept - 1, 0)
    bookings = [booking(time.time() - day * DAY) for day in days]
    store.write(bookings)
    assert Thinning().step(store) > 0
    assert hours_of(store, user_sums) == 2
    assert hours_of(store, membership_sums) == 2 + len(days)
    assert not check(store.database).problems
    # Once a day is enough; what comes late is in no sum that is asked for.
    store.write([booking(time.time() - days[0] * DAY)])
    Thinning().step(store)
    assert hours_of(store, user_sums) == 3
    assert not check(store.database).problems
    moment = milliseconds_of(bookings[0]) // 1000
    with store.database.reading() as connection:
        an_hour = Period(moment // 3600 * 3600, moment // 3600 * 3600 + 3600)
        assert total(connection, an_hour, Where(user_id="u-alice")).calls == 2


def hours_of(store: Store, table: Table) -> int:
    """How many sums by hour there are."""
    with store.database.reading() as connection:
        return len(connection.execute(select(table).where(table.c.grain == HOUR)).all())


def test_hours_that_a_clock_ahead_has_taken_out_are_added_up_from_calls(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = time.time() // DAY * DAY - DAY
    store.write([booking(moment), booking(moment + 3600)])
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda now=time.time: now() + 1000 * DAY)
        Thinning().step(store)
    Thinning().step(store)
    store.write([booking(moment + 1)])
    with store.database.reading() as connection:
        an_hour = Period(int(moment), int(moment) + 3600)
        assert total(connection, an_hour, Where(user_id="u-alice")).calls == 2
    assert not check(store.database).problems


def test_check_finds_sums_that_are_wrong(store: Store) -> None:
    store.write(many(40))
    with store.database.writing() as connection:
        connection.execute(
            text("UPDATE usage_ledger_standing_sum SET cost = cost + 1 WHERE grain = 1")
        )
        connection.execute(text("DELETE FROM usage_ledger_membership_sum WHERE grain = 2"))
    problems = check(store.database).problems
    assert any("sums of users differ" in problem for problem in problems)
    assert any("sums of groups differ" in problem for problem in problems)


def test_check_tells_of_clocks_that_are_wrong(store: Store) -> None:
    store.write([booking(time.time()), booking(time.time() + 5 * DAY)])
    found = check(store.database)
    assert not found.problems
    assert found.calls == 2
    assert found.remarks == ["1 calls are dated later than now: a server's clock is wrong"]
