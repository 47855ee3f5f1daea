"""Budgets: who is let in and who is refused, by one process and by several that share a ledger."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from opentelemetry.instrumentation.open_webui.calls.call import ModelCall
from opentelemetry.instrumentation.open_webui.ledger.booking import Booking, of_call
from opentelemetry.instrumentation.open_webui.ledger.database import Database
from opentelemetry.instrumentation.open_webui.ledger.ledger import Unavailable
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS
from opentelemetry.instrumentation.open_webui.ledger.reading import latest, sums
from opentelemetry.instrumentation.open_webui.ledger.schema import holds, processes
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.limits import books, clerk, holding
from opentelemetry.instrumentation.open_webui.limits.budget import Budget
from opentelemetry.instrumentation.open_webui.limits.clerk import Asking
from opentelemetry.instrumentation.open_webui.limits.flights import Held
from opentelemetry.instrumentation.open_webui.limits.gate import Refusal
from opentelemetry.instrumentation.open_webui.limits.off import FREE, Off
from unit.limits.calling import caller_of, ended, wanted

pytestmark = pytest.mark.database

REQUESTS: dict[str, Any] = {
    "name": "R", "everyone": True, "measure": "requests", "amount": 3, "per": "month",
    "counts_from": "start",
}  # fmt: skip
TOKENS = {**REQUESTS, "name": "T", "measure": "tokens", "amount": 1000}
POOL = {**REQUESTS, "name": "P", "share": "shared"}


class Ledger:
    """A ledger that writes at once, and can be away."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.away: Exception | None = None
        self.listeners: list[Callable[[Sequence[Booking]], None]] = []

    def database(self) -> Database:
        if self.away is not None:
            raise self.away
        return self.store.database

    @property
    def when_written(self) -> Callable[[Sequence[Booking]], None]:
        raise NotImplementedError

    @when_written.setter
    def when_written(self, listener: Callable[[Sequence[Booking]], None]) -> None:
        self.listeners.append(listener)

    def book(self, booking: Booking) -> None:
        self.store.write([booking])
        for listener in self.listeners:
            listener([booking])


Make = Callable[..., Budget]


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


@pytest.fixture
def made(ledger: Ledger, tmp_path: Path) -> Iterator[Make]:
    """Make budgets with some limits, as several processes would have them."""
    budgets: list[Budget] = []

    def make(*limits: dict[str, Any], **values: Any) -> Budget:
        file, grants = tmp_path / "limits.yaml", values.pop("grants", [])
        if limits:
            file.write_text(json.dumps({"limits": limits, "grants": grants}))
        budget = Budget(ledger, file=str(file), **values)
        budgets.append(budget)
        return budget

    yield make
    ledger.away = None
    for budget in budgets:
        budget.close()


def admit(budget: Budget, *groups: str, **values: Any) -> Any:
    return budget.admit_in_thread(wanted("ada", *groups, **values))


def let_in(budget: Budget, *groups: str, **values: Any) -> Held:
    ticket = admit(budget, *groups, **values)
    assert isinstance(ticket, Held), ticket
    return ticket


def end(budget: Budget, ledger: Ledger, call: ModelCall, *, written: bool = True) -> None:
    """End a call as :class:`~.calls.Calls` does: limits first, then the ledger."""
    budget.ended(call)
    if written:
        ledger.book(of_call(call))


def do(budget: Budget, ledger: Ledger, *groups: str, written: bool = True, **values: Any) -> Any:
    """Ask, call and end; return the refusal if there is one."""
    answer = admit(budget, *groups)
    if isinstance(answer, Refusal):
        return answer
    end(budget, ledger, ended(wanted("ada", *groups), **values), written=written)
    answer.release()
    return None


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def held(ledger: Ledger) -> int:
    with ledger.store.database.reading() as connection:
        return sum(row.amount for row in connection.execute(select(holds)))


def test_without_limits_there_is_nothing_to_ask(made: Make, ledger: Ledger) -> None:
    off = Off()
    assert off.open
    assert off.admit_in_thread(wanted()) is FREE
    assert asyncio.run(off.admit(wanted())) is FREE
    budget = made({**REQUESTS, "everyone": None, "group": "students"})
    assert admit(budget) is FREE
    assert not budget.open
    empty = made()
    empty.file = ""
    empty.begin()
    wait_for(lambda: empty.open)


def test_what_is_allowed_is_let_in_and_then_nothing(made: Make, ledger: Ledger) -> None:
    budget = made(REQUESTS)
    assert [do(budget, ledger) for _ in range(3)] == [None] * 3
    refusal = do(budget, ledger)
    assert (refusal.limit, refusal.measure) == ("R", "requests")
    assert (refusal.used, refusal.allowed) == (3, 3)
    assert refusal.resets_at > time.time()
    assert 1 <= refusal.retry_after <= 31 * 86_400 + 1
    assert refusal.sentence.startswith("You have used your 3 requests for this month. They are")
    assert isinstance(admit(budget), Refusal)
    assert not isinstance(budget.admit_in_thread(wanted("bob")), Refusal)


@pytest.mark.parametrize(
    ("measure", "amount", "calls"),
    [("tokens", 1000, 4), ("input_tokens", 500, 4), ("output_tokens", 500, 5), ("cost", "0.5", 5)],
)
def test_every_measure(made: Make, ledger: Ledger, measure: str, amount: Any, calls: int) -> None:
    budget = made({**REQUESTS, "measure": measure, "amount": amount})
    done = 0
    while do(budget, ledger, put=140, out=110, usd=0.1) is None:
        done += 1
        assert done < 10
    assert done == calls


def test_what_is_in_flight_is_held_back(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "amount": 2})
    first, second = let_in(budget), let_in(budget)
    assert isinstance(admit(budget), Refusal)
    first.release()
    first.release()
    third = let_in(budget)
    assert isinstance(admit(budget), Refusal)
    end(budget, ledger, ended(wanted()))
    second.release()
    third.release()
    assert let_in(budget)
    assert isinstance(admit(budget), Refusal)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_each_call_ends_one_reservation(made: Make, ledger: Ledger, order: Any) -> None:
    budget = made({**REQUESTS, "amount": 100})
    tickets = [let_in(budget), let_in(budget), let_in(budget)]
    [account] = budget.books.accounts()
    for number, place in enumerate(order, 1):
        end(budget, ledger, ended(wanted()))
        budget.books.book_events()
        assert account.in_flight == 3 - number
        tickets[place].release()
        budget.books.book_events()
        assert account.in_flight == 3 - number
    tickets[2].release()
    budget.books.book_events()
    assert account.in_flight == 0
    again = let_in(budget)
    assert account.in_flight == 1
    again.release()
    budget.books.book_events()
    assert account.in_flight == 0


def test_a_title_does_not_end_the_reservation_of_the_answer(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "amount": 100})
    ticket = let_in(budget)
    end(budget, ledger, ended(wanted(), task="title_generation"))
    [account] = budget.books.accounts()
    assert (account.in_flight, account.used) == (1, 1)
    ticket.release()


def test_a_ticket_is_extended_by_later_rounds(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "amount": 2})
    ticket = let_in(budget)
    end(budget, ledger, ended(wanted()))
    assert budget.admit_in_thread(wanted(), ticket) is ticket
    end(budget, ledger, ended(wanted()))
    assert isinstance(budget.admit_in_thread(wanted(), ticket), Refusal)
    ticket.release()
    budget.books.book_events()
    assert [one.in_flight for one in budget.books.accounts()] == [0]


def test_what_is_sure_to_be_too_much_is_refused(made: Make, ledger: Ledger) -> None:
    budget = made(TOKENS)
    refusal = admit(budget, input_tokens=1001)
    assert "1,000 tokens are left, and this needs about 1,001" in refusal.sentence
    assert let_in(budget, input_tokens=1000)


def test_a_limit_of_nothing(made: Make, ledger: Ledger) -> None:
    refusal = admit(made({**REQUESTS, "amount": 0}))
    assert "Your 0 requests for this month: nothing is allowed." in refusal.sentence


def test_people_are_warned_in_time(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "amount": 4, "warn_at": "50 %"})
    assert let_in(budget).warnings == ()
    for _ in range(2):
        end(budget, ledger, ended(wanted()))
    [warning] = let_in(budget).warnings
    assert (warning.limit, warning.used, warning.allowed) == ("R", 2, 4)
    assert warning.sentence.startswith("50 % of your 4 requests for this month are used.")


def test_observing_refuses_nobody_and_counts(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "amount": 1, "observe": True})
    for _ in range(3):
        assert do(budget, ledger) is None
        wait_for(lambda: not budget.books.ageing)
    wait_for(lambda: do(budget, ledger) is None and budget.books.refused["R", "requests", True])
    assert budget.books.refused["R", "requests", False] == 0
    assert let_in(budget).warnings == ()


def test_direct_connections_are_their_users_own(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "amount": 1})
    end(budget, ledger, ended(wanted(), provider="open_webui.direct"))
    assert admit(budget, direct=True) is FREE
    assert do(budget, ledger) is None
    assert isinstance(admit(budget), Refusal)


def test_a_workspace_model_is_known_by_what_it_stands_on(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "amount": 1, "models": ["gpt-*"]})
    assert admit(budget, model="helpdesk") is FREE
    end(budget, ledger, ended(wanted(model="helpdesk"), model="gpt-std"))
    assert isinstance(admit(budget, model="helpdesk", other_models=("gpt-std",)), Refusal)
    assert isinstance(admit(budget), Refusal)


def test_a_refusal_is_a_row_that_uses_nothing(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "amount": 1})
    for _ in range(3):
        refusal = Refusal("R", "requests", *(2 * [next(iter([1]))]), None, 1, "No.")  # type: ignore[list-item]
        budget.book(refusal, wanted(), caller_of(wanted()))
    assert budget.books.refused["R", "requests", False] == 3
    with ledger.store.database.reading() as connection:
        told = [(call.provider, call.picked, call.error) for call in latest(connection)]
        assert told == 3 * [("(none)", "gpt-std", "usage_limit_exceeded")]
        assert sums(connection, ALWAYS) == {}
    assert do(budget, ledger) is None


def test_what_was_used_before_counts_only_if_told_so(made: Make, ledger: Ledger) -> None:
    for _ in range(5):
        ledger.store.write([of_call(ended(wanted()))])
    time.sleep(1.1)
    new = {key: value for key, value in REQUESTS.items() if key != "counts_from"}
    assert do(made(new), ledger) is None
    assert isinstance(admit(made(REQUESTS)), Refusal)


def test_a_new_window_begins_anew(made: Make, ledger: Ledger) -> None:
    now = [time.time()]
    budget = made({**REQUESTS, "amount": 1}, clock=lambda: now[0])
    assert do(budget, ledger) is None
    assert isinstance(admit(budget), Refusal)
    now[0] += 32 * 86_400
    assert let_in(budget)
    assert isinstance(admit(budget), Refusal)


def test_grants_and_groups(made: Make, ledger: Ledger) -> None:
    student = {**REQUESTS, "everyone": None, "group": "students", "amount": 1}
    staff = {**student, "name": "S", "group": "staff", "amount": 2}
    grant = {"limit": "S", "user": "ada", "more": "50 %", "until": "2099-01-01"}
    budget = made(student, staff, grants=[grant])
    assert [do(budget, ledger, "students", "staff") for _ in range(3)] == [None] * 3
    assert do(budget, ledger, "students", "staff").limit == "S"
    assert do(budget, ledger, "students").limit == "R"


def test_a_limit_that_is_lifted_holds_no_longer(
    made: Make, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clerk, "_RULES_EVERY", 0.05)
    budget = made({**REQUESTS, "amount": 0})
    assert isinstance(admit(budget), Refusal)
    (tmp_path / "limits.yaml").write_text(json.dumps({"limits": [{**REQUESTS, "amount": 1000}]}))
    wait_for(lambda: isinstance(admit(budget), Held))


# Several processes


def test_processes_never_allow_more_together(made: Make, ledger: Ledger) -> None:
    pool = {**POOL, "amount": 10}
    budgets = [made(pool), made(), made()]
    done = 0
    while done < 20 and do(budgets[done % 3], ledger) is None:
        done += 1
    assert done == 10
    assert [isinstance(admit(one), Refusal) for one in budgets] == [True] * 3


def test_what_was_held_ahead_is_used_once(
    made: Make, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clerk, "_TICK", 0.005)
    monkeypatch.setattr(clerk, "_TICK_ALONE", 0.005)
    budgets = [made({**POOL, "amount": 40}), made()]
    done = 0
    while done < 80 and do(budgets[done % 2], ledger) is None:
        done += 1
        # So slowly that each call is known to be in the ledger before the next.
        accounts = [one for budget in budgets for one in budget.books.accounts()]
        wait_for(lambda accounts=accounts: not any(one.ended for one in accounts))
    assert done == 40


def test_who_is_alone_asks_seldom_until_another_comes(
    made: Make, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, looking = [0], holding.look_up

    def counted(*args: Any) -> Any:
        looks[0] += 1
        return looking(*args)

    monkeypatch.setattr(holding, "look_up", counted)
    monkeypatch.setattr(clerk, "_TICK_ALONE", 0.1)
    monkeypatch.setattr(clerk, "_BEAT_EVERY", 0.1)
    first = made({**POOL, "amount": 200})
    let_in(first).release()
    wait_for(lambda: not first._ready()._has_others)
    for _ in range(195):
        assert do(first, ledger) is None
    assert looks[0] < 40
    second = made()
    assert do(second, ledger) is None
    wait_for(lambda: first._ready()._has_others)
    done = 196
    for budget in (second, first):
        while do(budget, ledger) is None:
            done += 1
    assert done == 200


def test_what_another_process_has_in_flight_is_held_back(made: Make, ledger: Ledger) -> None:
    first, second = made({**POOL, "amount": 2}), made()
    tickets = [let_in(first), let_in(first)]
    assert isinstance(admit(second), Refusal)
    tickets[0].release()
    wait_for(lambda: isinstance(admit(second), Held))
    assert isinstance(admit(second), Refusal)


def test_what_is_held_ahead_is_given_back_when_others_need_it(made: Make, ledger: Ledger) -> None:
    first, second = made({**POOL, "amount": 40}), made()
    assert do(first, ledger) is None
    assert held(ledger) > 5
    done = 1
    while done < 50 and do(second, ledger) is None:
        done += 1
    assert done == 40


def test_what_a_dead_process_held_counts_no_longer(
    made: Make, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made({**POOL, "amount": 2}), made()
    for _ in range(2):
        let_in(first)
    dead = first._clerk
    assert dead is not None
    # As if it had been killed: it says nothing any more.
    dead._stop.set()
    monkeypatch.setattr(dead, "_leave", lambda: None)
    dead._thread.join(10)
    assert isinstance(admit(second), Refusal)
    with ledger.store.database.writing() as connection:
        connection.execute(
            processes.update().where(processes.c.process == dead.process).values(seen=1)
        )
    assert let_in(second)
    with ledger.store.database.writing() as connection:
        holding.bury(connection)
    assert held(ledger) <= 1


def test_reservations_go_back_to_zero(made: Make, ledger: Ledger) -> None:
    budget = made({**POOL, "amount": 100})
    for number in range(10):
        ticket = let_in(budget)
        if number % 2:
            end(budget, ledger, ended(wanted()))
        if number % 3:
            ticket.release()
        else:
            # Nobody let it go, as when a request is dropped: its finaliser may.
            del ticket
            gc.collect()
    [account] = budget.books.accounts()
    budget.books.book_events()
    assert account.in_flight > 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "_LONGEST_CALL", -1.0)
        budget.books.expire()
    assert account.in_flight == 0
    budget.close()
    assert held(ledger) == 0


def test_a_call_counts_once_written_or_not(made: Make, ledger: Ledger) -> None:
    budget = made({**TOKENS, "amount": 10_000})
    let_in(budget).release()
    call = ended(wanted(), 300, 200)
    end(budget, ledger, call, written=False)
    [account] = budget.books.accounts()
    assert (account.base, account.ended, account.used) == (0, 500, 500)
    ledger.book(of_call(call))
    wait_for(lambda: not account.ended)
    assert (account.ended, account.used) == (0, 500)
    other = made()
    let_in(other)
    assert [one.used for one in other.books.accounts()] == [500]


# When the ledger is away


def test_open_lets_in_while_the_ledger_is_away(
    made: Make, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    budget = made({**REQUESTS, "amount": 1})
    let_in(budget).release()
    ledger.away = OperationalError("x", {}, Exception("gone"))
    wait_for(lambda: budget.problem)
    budget.books.trusted_until = 0
    for _ in range(3):
        let_in(budget).release()
    assert budget.unchecked == 3
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.message for record in told] == [
        "Usage limits cannot be checked: gone. Until they can, calls are let in (LIMITS_FAIL)."
    ]
    # What is known to be used up stays so.
    end(budget, ledger, ended(wanted()))
    assert isinstance(admit(budget), Refusal)
    ledger.away = None
    wait_for(lambda: not budget.problem)
    assert "Usage limits are checked again." in caplog.text


def test_closed_refuses_while_the_ledger_is_away(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "everyone": None, "group": "students"}, is_closed=True)
    let_in(budget, "students").release()
    ledger.away = OperationalError("x", {}, Exception("gone"))
    wait_for(lambda: budget.problem)
    budget.books.trusted_until = 0
    refusal = admit(budget, "students")
    assert isinstance(refusal, Refusal)
    assert refusal.sentence.startswith("What you may use cannot be looked up now.")
    assert admit(budget) is FREE


@pytest.mark.parametrize("is_closed", [False, True])
def test_the_policy_holds_before_the_ledger_is_open(
    made: Make, ledger: Ledger, is_closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.away = Unavailable("the ledger is being opened")
    budget = made(REQUESTS, is_closed=is_closed)
    for _ in range(2):
        assert isinstance(admit(budget), Refusal) is is_closed
    assert budget.problem == "the ledger is being opened"
    ledger.away = None
    wait_for(lambda: not budget.problem)
    assert do(budget, ledger) is None


def test_limits_that_were_never_read_let_in_at_once(
    made: Make, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    budget = made()
    for _ in range(3):
        assert admit(budget) is FREE
    wait_for(lambda: "limits.yaml cannot be read" in budget.problem)
    assert caplog.text.count("Usage limits cannot be checked") == 1
    (tmp_path / "limits.yaml").write_text(json.dumps({"limits": [{**REQUESTS, "amount": 0}]}))
    wait_for(lambda: isinstance(admit(budget), Refusal))


def test_one_late_answer_among_others_does_not_mean_away(made: Make, ledger: Ledger) -> None:
    budget = made(REQUESTS)
    let_in(budget).release()
    before = Asking(wanted(), None)
    budget.books.trusted_until = 0
    let_in(budget).release()
    budget._ready().late(before)
    assert not budget.problem
    budget._ready().late(Asking(wanted(), None))
    assert budget.problem == "its database does not answer in time"


# On the event loop


def test_a_caller_who_goes_away_while_it_is_asked_holds_nothing(made: Make, ledger: Ledger) -> None:
    budget = made({**REQUESTS, "amount": 5})

    async def ask() -> None:
        task = asyncio.create_task(budget.admit(wanted()))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert isinstance(await budget.admit(wanted()), Held)

    asyncio.run(ask())
    [account] = budget.books.accounts()
    wait_for(lambda: budget.books.book_events() or account.in_flight == 1)


def test_the_event_loop_never_waits_for_the_database(
    made: Make, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = made({**REQUESTS, "amount": 5})
    let_in(budget).release()
    monkeypatch.setattr(clerk, "DEADLINE", 0.2)
    monkeypatch.setattr("opentelemetry.instrumentation.open_webui.limits.budget.DEADLINE", 0.2)
    looking = holding.look_up
    monkeypatch.setattr(holding, "look_up", lambda *args: time.sleep(1) or looking(*args))
    [account] = budget.books.accounts()
    account.published = 0
    turns = 0

    async def ask() -> Any:
        nonlocal turns
        task = asyncio.create_task(budget.admit(wanted()))
        while not task.done():
            turns += 1
            await asyncio.sleep(0.01)
        return await task

    assert isinstance(asyncio.run(ask()), Held)
    assert turns > 3
    assert budget.unchecked == 1
    # The answer that came too late is let go of.
    wait_for(lambda: budget.books.book_events() or account.in_flight == 1)
