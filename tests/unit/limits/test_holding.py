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

NOW = NOON + 1800
LATE = [
    *many(60, seed=5, start=NOW // 3600 * 3600 - 7200, days=1),
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


@pytest.fixture
def filled(store: Store) -> Store:
    store.write(BOOKINGS)
    return store


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


@pytest.mark.parametrize("now", [NOW, NOW + 3 * 3600])
def test_what_was_used_is_what_calls_add_up_to(filled: Store, now: int) -> None:
    zone = {"zone": "Asia/Kolkata"}
    with filled.database.reading() as connection:
        for said in SAID:
            for whom in WHO:
                for per, since in SPANS:
                    plain = {"name": "L", "measure": "tokens", "amount": 1, "share": "shared"}
                    limit = limit_of({**plain, "per": per, **zone, **whom, **said})
                    span = limit.window.span(now)
                    account = opened(limit, limit.who, span, now, since)
                    end = span.end or now + 86_400
                    wanted = added(BOOKINGS, limit, limit.who, account.start, end)
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
