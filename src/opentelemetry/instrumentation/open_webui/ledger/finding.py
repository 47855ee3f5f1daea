"""Finding the ledger from a command line: by what is given, else as Open WebUI's process would."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ..settings import PREFIX
from .database import POSTGRES, Database, DatabaseError, name_of, of_file, of_url
from .migrating import NewerLedger, current, newest
from .place import FILE_NAME
from .spool import Spool

_SETTING: Final = PREFIX + "LEDGER"
_PACKAGE: Final = "open_webui"
# What Open WebUI makes an address of, where it has all of them.
_PARTS: Final = ("TYPE", "USER", "HOST", "PORT", "NAME")


class NoLedger(DatabaseError):
    """There is no file where one would be."""


def found(given: str | None, environ: Mapping[str, str]) -> Database:
    """Return the ledger's database.

    Args:
        given: A path or a URL, or ``None``.
        environ: The environment, in which Open WebUI's variables may be.

    Raises:
        NoLedger: There is none.
        DatabaseError: The address is none, or of another database.
    """
    setting = environ.get(_SETTING, "")
    own = _own_url(environ)
    for address in (given or "", setting):
        if "://" in address:
            return _existing(of_url(address))
    if given:
        return _existing(of_file(Path(given)))
    if own.startswith(POSTGRES):
        database = of_url(own)
        return Database(database.engine, schema=environ.get("DATABASE_SCHEMA") or None)
    places = [folder / FILE_NAME for folder in _folders(environ)]
    for place in places:
        if place.exists():
            return of_file(place)
    looked = ", ".join(map(str, places)) or "(nowhere: neither DATA_DIR nor Open WebUI is here)"
    raise NoLedger(f"there is no ledger at {looked}")


def waiting(environ: Mapping[str, str]) -> list[Path]:
    """Return the files of calls that wait for the ledger of a server with these variables."""
    setting = environ.get(_SETTING, "")
    if "://" in setting:
        name = name_of(setting)
    else:
        name = POSTGRES if _own_url(environ).startswith(POSTGRES) else FILE_NAME
    return [file for folder in _folders(environ) for file in Spool(folder, name).waiting()]


def _own_url(environ: Mapping[str, str]) -> str:
    """The address of Open WebUI's own database, as it reads the variables."""
    parts = {part: environ.get(f"DATABASE_{part}", "") for part in (*_PARTS, "PASSWORD")}
    if all(parts[part] for part in _PARTS):
        who = ":".join(filter(None, (parts["USER"], parts["PASSWORD"])))
        url = f"{parts['TYPE']}://{who}@{parts['HOST']}:{parts['PORT']}/{parts['NAME']}"
    else:
        url = environ.get("DATABASE_URL", "")
    return url.replace("postgres://", f"{POSTGRES}://", 1)


def _existing(database: Database) -> Database:
    if database.file is not None and not database.file.exists():
        raise NoLedger(f"there is no file {database.file}")
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
