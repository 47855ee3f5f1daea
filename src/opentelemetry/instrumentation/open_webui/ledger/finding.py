"""Finding the ledger from a command line: by what is given, else as Open WebUI's process would."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ..settings import PREFIX
from .database import Database, DatabaseError, of_file, of_url
from .migrating import NewerLedger, current, newest
from .place import FILE_NAME

_SETTING: Final = PREFIX + "LEDGER"
_PACKAGE: Final = "open_webui"


def found(given: str | None, environ: Mapping[str, str]) -> Database:
    """Return the ledger's database.

    Args:
        given: A path or a URL, or ``None``.
        environ: The environment, in which Open WebUI's variables may be.

    Raises:
        DatabaseError: There is none.
    """
    setting = environ.get(_SETTING, "")
    own = environ.get("DATABASE_URL", "")
    for address in (given or "", setting):
        if "://" in address:
            return _existing(of_url(address))
    if given:
        return _existing(of_file(Path(given)))
    if own.startswith("postgres"):
        database = of_url(own)
        return Database(database.engine, schema=environ.get("DATABASE_SCHEMA") or None)
    places = [folder / FILE_NAME for folder in _folders(environ)]
    for place in places:
        if place.exists():
            return of_file(place)
    looked = ", ".join(map(str, places)) or "(nowhere: neither DATA_DIR nor Open WebUI is here)"
    raise DatabaseError(f"there is no ledger at {looked}. Name it: --database PATH-OR-URL")


def _existing(database: Database) -> Database:
    if database.file is not None and not database.file.exists():
        raise DatabaseError(f"there is no file {database.file}")
    return database


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    if environ.get("DATA_DIR"):
        yield Path(environ["DATA_DIR"])
        return
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        # By pip, and in the image.
        yield package / "data"
        yield package.parent / "data"


def ready(database: Database) -> None:
    """Make sure that the ledger can be worked with.

    Raises:
        DatabaseError: It is none, or of an older version.
        NewerLedger: It is of a newer version.
    """
    with database.reading() as connection:
        version = current(connection)
    if version is None:
        raise DatabaseError(f"there is no ledger in {database.name}")
    if version > newest():
        raise NewerLedger(
            f"the ledger has tables of version {version}, and this package knows those up to"
            f" {newest()}. Use the package of the server"
        )
    if version != newest():
        raise DatabaseError(
            f"the ledger has tables of version {version}, older than {newest()}: it is brought up"
            " to date when Open WebUI starts with this version of the package"
        )
