"""A ledger in a file, and one in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.postgres import Postgres
from opentelemetry.instrumentation.open_webui.ledger.database import Database, of_file, of_url
from opentelemetry.instrumentation.open_webui.ledger.schema import VERSION_TABLE, VIEW, metadata
from opentelemetry.instrumentation.open_webui.ledger.store import Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as postgres:
        yield postgres


def emptied(database: Database) -> None:
    """Take everything of a ledger out of PostgreSQL."""
    with database.writing() as connection:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {VIEW}")
        for table in (*metadata.tables, VERSION_TABLE):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table} CASCADE")
        for function in ("usage_ledger_refuse", "usage_ledger_refuse_call"):
            connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {function} CASCADE")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        database = of_file(tmp_path / "usage.db")
    else:
        database = of_url(request.getfixturevalue("postgres").url)
        emptied(database)
    yield database
    database.disconnect()


@pytest.fixture
def store(database: Database) -> Store:
    """A ledger in it."""
    store = Store(database)
    store.open()
    return store
