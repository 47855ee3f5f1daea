"""Calls to book, and a ledger to read."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterable, Iterator
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations

from opentelemetry.instrumentation.open_webui import ids
from opentelemetry.instrumentation.open_webui.ledger import migrating
from opentelemetry.instrumentation.open_webui.ledger.booking import Booking
from opentelemetry.instrumentation.open_webui.ledger.database import Database
from opentelemetry.instrumentation.open_webui.ledger.reading import Sums
from opentelemetry.instrumentation.open_webui.ledger.schema import VERSION_TABLE
from opentelemetry.instrumentation.open_webui.ledger.store import Store

NOON = 1_790_000_000 // 86_400 * 86_400 + 43_200
"""A day's noon in 2026, UTC."""


def booking(seconds: float = NOON, **values: Any) -> Booking:
    """A call that began at a moment (Unix time)."""
    call_id = ids.made_of(int(seconds * 1000), random.randbytes(10))
    plain: dict[str, Any] = {
        "id": call_id,
        "parent": None,
        "user_id": "u-alice",
        "user_name": "Alice",
        "groups": ("research", "teaching"),
        "source": "api",
        "auth": "api_key",
        "route": "/api/chat/completions",
        "task": "chat",
        "operation": "chat",
        "provider": "openai",
        "model": "gpt-std",
        "picked": "helpdesk",
        "chat": None,
        "duration": 1500,
        "first_chunk": 300,
        "input": 100,
        "output": 20,
        "cache_read": 40,
        "cache_write": None,
        "reasoning": 5,
        "estimated": 0,
        "units": None,
        "cost": 12_345,
        "price_source": "genai_prices",
        "unpriced": False,
        "error": None,
        "trace": None,
    }
    return Booking(**{**plain, **values})


def many(
    count: int, seed: int = 1, start: int = NOON - 40 * 86_400, days: int = 60
) -> list[Booking]:
    """Calls of several users, groups, models and sources, over some days."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        user = rng.randrange(6)
        groups = tuple(sorted(rng.sample(["a", "b", "c"], user % 3)))
        moment = start * 1000 + rng.randrange(days * 86_400_000)
        found.append(
            booking(
                id=ids.made_of(moment, hashlib.blake2b(f"{seed}-{number}".encode()).digest()),
                user_id=f"u-{user}",
                user_name=f"User {user}",
                groups=groups,
                source=rng.choice(["ui", "api", "background"]),
                task=rng.choice(["chat", "title_generation"]),
                model=rng.choice(["gpt-std", "gpt-mini"]),
                input=rng.choice([None, rng.randrange(5000)]),
                output=rng.randrange(800),
                cost=(cost := rng.choice([None, rng.randrange(10**9)])),
                unpriced=cost is None,
                error=rng.choice([None, None, "429"]),
                estimated=rng.randrange(4),
            )
        )
    return found


def summed(bookings: Iterable[Booking]) -> Sums:
    """What they add up to, reckoned anew."""
    total = Sums()
    for one in bookings:
        total += Sums(
            1,
            int(one.task == "chat"),
            int(one.error is not None),
            int(one.unpriced),
            int(one.estimated > 0),
            one.input or 0,
            one.output or 0,
            one.cache_read or 0,
            one.cache_write or 0,
            one.reasoning or 0,
            one.cost or 0,
        )
    return total


def older(database: Database, version: str) -> None:
    """Make the tables of a ledger as an older version of this package made them."""
    steps = migrating._steps()
    with database.writing() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "fn": lambda found, _context: steps._upgrade_revs(version, found),
            },
        )
        context.run_migrations(op=Operations(context))


class Readable:
    """A ledger that is read, or fails as it is told."""

    is_on = True

    def __init__(self, store: Store) -> None:
        self._store = store
        self.error: Exception | None = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        if self.error is not None:
            raise self.error
        with self._store.database.reading() as connection:
            yield connection
