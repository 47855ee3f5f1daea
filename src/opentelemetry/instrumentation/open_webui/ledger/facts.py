"""What a ledger knows of itself, by name."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Text, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from .schema import facts

CREATED: Final = "created"
"""When the ledger was made: Unix time in milliseconds."""
EPOCH: Final = "epoch"
"""Changes when what writers know no longer holds: numbers that were given out, or the tables."""
HOURS_FROM: Final = "hours_from"
"""The first hour (since 1970) from which the sums of users and groups by hour are all there."""
IMPORTED: Final = "imported"
"""Set once what Open WebUI had before the ledger is in it."""
IMPORTING: Final = "importing"
"""How far the import has come: JSON."""
LIMITS: Final = "limits"
"""Changes whenever limits do that are kept here."""
PRUNED: Final = "pruned"
"""When retention last ran: Unix time."""
COMPLETE_SINCE: Final = "complete_since"
"""Unix time before which calls were pruned."""


def insert_of(dialect: str) -> type[postgresql.Insert] | type[sqlite.Insert]:
    """Return the database's own insert, which knows what to do about a row that is there."""
    return postgresql.Insert if dialect == "postgresql" else sqlite.Insert


def read(connection: Connection, name: str, *, hold: bool = False) -> str | None:
    """Return a fact, or ``None``.

    Args:
        connection: The ledger's.
        name: One of the names above.
        hold: Whether to keep others from changing it until the transaction ends.
    """
    value: str | None = connection.execute(_HELD if hold else _READ, {"name": name}).scalar()
    return value


# Made once, which takes longer than to read it.
_READ: Final = select(facts.c.value).where(facts.c.name == bindparam("name", type_=Text()))
_HELD: Final = _READ.with_for_update(read=True)


def number(connection: Connection, name: str, *, hold: bool = False) -> int:
    """Return a fact that is a number, as :func:`read` does; 0 if it is not there."""
    return int(read(connection, name, hold=hold) or 0)


def write(connection: Connection, name: str, value: object, *, keep: bool = False) -> None:
    """Set a fact, or with ``keep`` leave one that is set."""
    insert = insert_of(connection.dialect.name)(facts).values(name=name, value=str(value))
    if keep:
        connection.execute(insert.on_conflict_do_nothing())
    else:
        connection.execute(
            insert.on_conflict_do_update(index_elements=["name"], set_={"value": str(value)})
        )


def begin_epoch(connection: Connection) -> None:
    """Have all who write to the ledger look anew at what they know of it."""
    write(connection, EPOCH, number(connection, EPOCH) + 1)
