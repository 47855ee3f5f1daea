"""Crowds in several processes, some of which are killed: together they stay within the limit."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from harness.postgres import Postgres
from opentelemetry.instrumentation.open_webui.ledger.database import of_file, of_url
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS
from opentelemetry.instrumentation.open_webui.ledger.reading import total
from opentelemetry.instrumentation.open_webui.ledger.schema import holds, processes
from opentelemetry.instrumentation.open_webui.limits import holding
from unit.ledger.conftest import emptied
from unit.limits.crowds import limits, use_up

pytestmark = pytest.mark.database

LONG = bool(os.environ.get("CROWDS"))
"""Whether to use as many callers as are promised for: `make crowds`."""
CALLERS = 50 if LONG else 20
AMOUNT = 2_000_000 if LONG else 400_000
TOLERANCE = 0.02


@pytest.mark.parametrize("killed", [0, 1], ids=["all live", "one is killed"])
@pytest.mark.parametrize("count", [2, 4] if LONG else [2], ids=lambda count: f"{count} processes")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_crowd_stays_within_the_limit(
    kind: str, count: int, killed: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    postgres: Postgres | None = request.getfixturevalue("postgres") if kind != "sqlite" else None
    url = "" if postgres is None else postgres.url
    database = of_url(url) if url else of_file(tmp_path / "usage.db")
    if url:
        emptied(database)
    limits(tmp_path, AMOUNT)
    told = use_up(tmp_path, url, count, CALLERS, killed=killed)
    with database.reading() as connection:
        found = total(connection, ALWAYS)
    used = found.input + found.output
    sentences = {sentence for one in told for sentence in one["sentences"]}
    # At the very end there may be less left than the next call is sure to use.
    assert all("are used" in one or "are left" in one for one in sentences), sentences
    assert all(one["sentences"] for one in told)
    assert [one["in_flight"] for one in told] == [0] * len(told)
    if not killed:
        assert used == sum(one["used"] for one in told)
        assert used >= AMOUNT * (1 - TOLERANCE)
    unchecked = sum(one["unchecked"] for one in told)
    print(f"{kind}, {count} processes: {100 * used / AMOUNT:.2f} % used, {unchecked} unchecked")
    assert used <= AMOUNT * (1 + TOLERANCE)
    with database.writing() as connection:
        # Once it counts as dead.
        later = int(time.time()) - 3 * holding.ALIVE_SECONDS
        connection.execute(processes.update().values(seen=later))
        holding.bury(connection)
        assert connection.execute(select(holds)).all() == []
    database.disconnect()
