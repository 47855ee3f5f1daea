"""Where the ledger is, by the setting ``ledger`` and by where Open WebUI keeps its own data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .database import POSTGRES, Database, DatabaseError, name_of, of_engine, of_file, of_url

if TYPE_CHECKING:
    from sqlalchemy import Engine

FILE_NAME: Final = "usage.db"
ON: Final = "true"


class Place(NamedTuple):
    """Where the ledger is."""

    name: str
    """What tells it from others."""
    spool: Path
    """The folder for what waits for it."""
    database: Callable[[], Database]
    """Makes it ready to be connected to, or raises :class:`~.database.DatabaseError`."""


class Host(NamedTuple):
    """What Open WebUI says of itself."""

    data_dir: Path | None
    """Where it keeps its files."""
    engine: Engine | Any = None
    """Its database."""
    schema: str | None = None
    """The schema in which it has its tables."""


def of_setting(setting: str, host: Host) -> Place:
    """Return where the ledger is.

    Args:
        setting: ``true``, or a database URL.
        host: Open WebUI.
    """
    spool = host.data_dir or Path(tempfile.gettempdir())
    if setting != ON:
        return Place(name_of(setting), spool, lambda: of_url(setting))
    if host.engine is not None and host.engine.dialect.name == POSTGRES:
        return Place(POSTGRES, spool, lambda: of_engine(host.engine, host.schema))
    return Place(FILE_NAME, spool, lambda: _of_folder(host.data_dir))


def _of_folder(folder: Path | None) -> Database:
    if folder is None:
        raise DatabaseError("Open WebUI does not say where its data are: set a database URL")
    return of_file(folder / FILE_NAME)
