"""What the ledger says was used of a limit equals what its calls add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.ledger.booking import Booking, milliseconds_of
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.limits import holding
from opentelemetry.instrumentation.open_webui.limits.accounts import opened
from opentelemetry.instrumentation.open_webui.limits.rules import MEASURES, Who, limit_of
from unit.ledger.books import NOON, booking, many

pytestmark = pytest.mark.database

NOW = NOON + 1800
AFTER_MIDNIGHT = NOON + 6 * 3600 + 2700
"""A quarter of an hour after midnight in Kolkata, which is at half past."""
WHOSE: list[dict[str, Any]] = [
    {"user_id": "u-1", "groups": ("a",), "model": "gpt-mini", "source": "ui"},
    {"user_id": "u-1", "groups": ("a", "b")},
    {"user_id": "u-2", "groups": ("a",), "input": None},
    {"user_id": "u-3", "groups": ("b",), "cost": None},
]
LATE = [
    *(booking(NOW - 90 * place, **WHOSE[place % 4]) for place in range(80)),
    *(booking(AFTER_MIDNIGHT - 100 * place, **WHOSE[place % 4]) for place in range(20)),
    booking(NOW - 60, provider="(none)", task="refused", user_id="u-1", groups=("a",)),
    booking(NOW - 50, provider="open_webui.direct", user_id="u-1", groups=("a",)),
    booking(NOW - 40, user_id="u-1", groups=("a",), imported=True),
]
BOOKINGS = [*many(400, start=NOON - 30 * 86_400, days=30), *LATE]


def added(bookings: Sequence[Booking], limit: Any, who: Who, start: int, end: int) -> int:
    """What they add up to, reckoned anew."""
    total = 0
    for one in bookings:
        at = milliseconds_of(one) / 1000
        names = (one.picked, one.model)
        is_direct = one.provider == "open_webui.direct"
        counts = start <= at < end and one.provider != "(none)" and not one.imported
        if not (counts and who.includes(one.user_id, one.groups)):
            continue
        if limit.is_for(names, one.source, direct=is_direct):
            put, out = one.input or 0, one.output or 0
            amounts = (1, put + out, put, out, one.cost or 0)
            total += amounts[MEASURES.index(limit.measure)]
    return total


WHO = [{"user": "u-1"}, {"group": "a"}, {"everyone": True}]
SAID: list[dict[str, Any]] = [
    {}, {"measure": "requests"}, {"measure": "cost"}, {"measure": "output_tokens"},
    {"measure": "input_tokens"}, {"models": ["gpt-mini"]}, {"models": ["help*"]},
    {"models": ["no"]}, {"source": "ui"}, {"direct": True, "measure": "requests"},
]  # fmt: skip
SPANS = [
    ("month", NOON - 40 * 86_400),
    ("day", NOON - 40 * 86_400),
    ("hour", NOON - 40 * 86_400),
    ("5 hours", NOON - 40 * 86_400),
    # The limit was first seen then.
    ("month", NOON - 10 * 86_400 + 1234),
    ("day", NOW - 3600),
    ("day", NOW - 777),
]


@pytest.mark.parametrize("now", [NOW, AFTER_MIDNIGHT])
def test_what_was_used_is_what_calls_add_up_to(store: Store, now: int) -> None:
    bookings = [one for one in BOOKINGS if milliseconds_of(one) <= now * 1000]
    store.write(bookings)
    zone = {"zone": "Asia/Kolkata"}
    with store.database.reading() as connection:
        for said in SAID:
            for whom in WHO:
                for per, since in SPANS:
                    plain = {"name": "L", "measure": "tokens", "amount": 1, "share": "shared"}
                    limit = limit_of({**plain, "per": per, **zone, **whom, **said})
                    span = limit.window.span(now)
                    account = opened(limit, limit.who, span, now, since)
                    end = span.end or now + 86_400
                    wanted = added(bookings, limit, limit.who, account.start, end)
                    told = (said, whom, per, since)
                    assert holding.used(connection, account, now) == wanted, told
                    # Once what is settled is known.
                    assert holding.used(connection, account, now) == wanted, told


def test_an_account_of_many_begins_with_a_full_hour() -> None:
    limit = limit_of(
        {"name": "L", "everyone": True, "measure": "tokens", "amount": 1, "per": "day"}
    )
    span = limit.window.span(NOW)
    assert opened(limit, Who("everyone"), span, NOW, NOW - 777).start == (NOW - 777) // 3600 * 3600
    assert opened(limit, Who("user", "u"), span, NOW, NOW - 777).start == NOW - 777


def test_what_is_looked_up_is_of_one_moment(store: Store) -> None:
    database, now = store.database, NOON + 1800
    if database.is_sqlite:
        pytest.skip("who writes to SQLite is alone")
    limit = limit_of(
        {"name": "L", "everyone": True, "measure": "requests", "amount": 9, "per": "day"}
    )
    who = Who("user", "u-1")
    account = opened(limit, who, limit.window.span(now), now, NOON - 86_400)
    before, meanwhile = booking(now - 60, user_id="u-1"), booking(now - 30, user_id="u-1")
    store.write([before])
    with database.writing() as connection:
        clock = holding.take_turns(connection)
        store.write([meanwhile])
        assert holding.found(connection, [before.id, meanwhile.id]) == {before.id}
        [look] = holding.look_up(connection, "mine", [account], now, clock).values()
    assert look.base == 1
