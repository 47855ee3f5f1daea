"""Bringing a ledger's tables to this version, in the transaction that it is given."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from .schema import VERSION_TABLE

# Any number: who makes or migrates tables in PostgreSQL holds it.
_LOCK: Final = 0x75_6C_65_64_67_65_72


class NewerLedger(Exception):
    """The ledger was made or migrated by a version of this package that knows more."""


@functools.cache
def _steps() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).with_name("migrations")))


def newest() -> str:
    """Return the version of the tables that this package works with."""
    return str(_steps().get_current_head())


def current(connection: Connection) -> str | None:
    """Return the version of a ledger's tables; ``None`` if there are none."""
    # Alembic would do the same, and say in the log each time that it does.
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return None if version is None else str(version)


def migrate(connection: Connection) -> None:
    """Make or migrate the tables, once, however many do so at the same time.

    Args:
        connection: In a transaction, which in SQLite is to be immediate.

    Raises:
        NewerLedger: Nothing was changed.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    found = current(connection)
    if found == newest():
        return
    refuse_newer(found)
    context = _context(connection)
    context.run_migrations(op=Operations(context))


def refuse_newer(found: str | None) -> None:
    """Raise :class:`NewerLedger` if this package does not know a version of the tables."""
    if found is not None and found not in {step.revision for step in _steps().walk_revisions()}:
        raise NewerLedger(
            f"the ledger has tables of version {found}, and this package knows those up to"
            f" {newest()}. Install the version of the package that it had before, or a newer one"
        )


def _context(connection: Connection) -> MigrationContext:
    def upgrade(found: Any, _context: MigrationContext) -> Any:
        return _steps()._upgrade_revs("head", found)

    return MigrationContext.configure(
        connection,
        opts={"version_table": VERSION_TABLE, "fn": upgrade, "transactional_ddl": True},
    )
