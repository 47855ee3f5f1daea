"""The ledger of a server with these variables: whether it is there, current, and takes rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from ..ledger import facts, finding, reading
from ..ledger.database import Database, DatabaseError
from ..ledger.migrating import NewerLedger
from ..ledger.periods import ALWAYS
from ..ledger.writer import told
from .report import Section

# Seconds to wait for a lock, or for a statement.
_PATIENCE: Final = 2.0
_WAITS: Final = "Calls wait until it can be written: docs/ledger.md, 'What may be lost'"


def judge(section: Section, environ: Mapping[str, str]) -> None:
    """Say how the ledger is. Changes nothing in it."""
    try:
        database = finding.found(None, environ)
    except finding.NoLedger as error:
        section.note(f"{error}: it is made when a server with this setting starts")
    except DatabaseError as error:
        section.bad(f"the ledger cannot be opened: {error}", "Correct LEDGER")
    else:
        try:
            _judge_database(section, database)
        finally:
            database.disconnect()
    waiting = finding.waiting(environ)
    if waiting:
        section.note(
            f"{len(waiting)} files of calls wait in {waiting[0].parent}: the next server that can"
            " write the ledger writes them"
        )


def _judge_database(section: Section, database: Database) -> None:
    try:
        finding.ready(database)
        with database.reading() as connection:
            count = reading.total(connection, ALWAYS).calls
        with database.writing(_PATIENCE) as connection:
            # It is there: that says whether it could be written, and leaves it as it is.
            facts.write(connection, facts.EPOCH, 0, keep=True)
    except (DatabaseError, NewerLedger) as error:
        section.bad(f"{database.name}: {error}", _WAITS)
    except (SQLAlchemyError, OSError) as error:
        section.bad(f"{database.name} cannot be read and written: {told(error)}", _WAITS)
    else:
        section.ok(f"{database.name}: {count:,} calls, its tables are current, it can be written")
        section.brief = f"{count:,} calls"
