"""The database that a ledger is in: a file of SQLite's, or PostgreSQL."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

SQLITE: Final = "sqlite"
POSTGRES: Final = "postgresql"
_BACKENDS: Final = (SQLITE, POSTGRES)
_MODE: Final = "usage_ledger_begin"
# Seconds to wait for a lock, or for a statement, where nobody says otherwise.
PATIENCE: Final = 30.0
_CONNECT_SECONDS: Final = 5
_POSTGRES_OPTIONS: Final = {
    "connect_timeout": _CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "open-webui-usage-ledger",
}
_NO_ADDRESS: Final = "at no address"
# What of a URL's query says where the database and its tables are.
_WHERE: Final = ("host", "port", "options")
_DRIVERS: Final = ("psycopg2", "psycopg")


class DatabaseError(Exception):
    """A ledger cannot be opened; the text says why, and what to do."""


class Database:
    """A ledger's database.

    Args:
        engine: Of SQLite, from :func:`of_file`, or of PostgreSQL.
        file: The file, where there is one.
        schema: The schema of PostgreSQL that has our tables; the connection's own, if not given.
    """

    def __init__(self, engine: Engine, file: Path | None = None, schema: str | None = None) -> None:
        self.engine = engine
        self.file = file
        self._schema = schema
        self._opened: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """What people call it: the path, or the address without its password."""
        if self.file is not None:
            return str(self.file)
        return self.engine.url.render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite's."""
        return self.engine.dialect.name == SQLITE

    @contextmanager
    def writing(self, patience: float = PATIENCE) -> Iterator[Connection]:
        """Begin to write; commit at the end, or take all back if an exception ends it.

        Args:
            patience: Seconds to wait for a lock, and in PostgreSQL for each statement.
        """
        with self._connected("IMMEDIATE") as connection:
            milliseconds = int(patience * 1000)
            if self.is_sqlite:
                _wait_for_locks(connection, milliseconds)
            with connection.begin():
                if not self.is_sqlite:
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
                self._place(connection)
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Begin to read the ledger as it is now, whatever is written meanwhile."""
        with self._connected("DEFERRED") as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                if not self.is_sqlite:
                    # Compiling a year's statements takes PostgreSQL longer than answering them.
                    connection.exec_driver_sql("SET LOCAL jit = off")
                self._place(connection)
                yield connection

    @contextmanager
    def _connected(self, mode: str) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection.execution_options(**{_MODE: mode})

    def _place(self, connection: Connection) -> None:
        if self._schema is not None and not self.is_sqlite:
            quoted = connection.dialect.identifier_preparer.quote_identifier(self._schema)
            connection.exec_driver_sql(f"SET LOCAL search_path TO {quoted}")

    def remember_file(self) -> None:
        """Take it that the file that is there now is the ledger."""
        self._opened = self._identity()

    def is_moved(self) -> bool:
        """Whether the file has been taken away or replaced since: what is written now is lost."""
        return self._opened is not None and self._identity() != self._opened

    def _identity(self) -> tuple[int, int] | None:
        if self.file is None:
            return None
        with suppress(OSError):
            found = os.stat(self.file)
            return (found.st_dev, found.st_ino)
        return (0, 0)

    def let_go_of_file(self) -> None:
        """Let go of all connections to a file that cannot be written now.

        SQLite opens it to be read only then, and as long as one connection is left, so is every
        later one of this process: https://www.sqlite.org/wal.html#read_only_databases
        """
        if self.is_sqlite:
            self.disconnect()

    def disconnect(self, *, close: bool = True) -> None:
        """Let go of all connections; without closing them where they are another process's."""
        self.engine.dispose(close=close)


def of_url(url: str) -> Database:
    """Return the database at an address, such as ``sqlite:////data/usage.db``.

    Raises:
        DatabaseError: The address is none, or of another database.
    """
    parsed, backend = _parsed(url)
    if backend not in _BACKENDS:
        raise DatabaseError(f"{backend} is not supported: use sqlite:///… or postgresql://…")
    if backend == SQLITE:
        if not parsed.database or parsed.database == ":memory:":
            raise DatabaseError("a ledger in SQLite needs a file: sqlite:////folder/usage.db")
        return of_file(Path(parsed.database))
    return Database(create_engine(_with_driver(parsed), **_postgres_arguments()))


def name_of(url: str) -> str:
    """Return what stays the same of an address while it is that of the same database.

    Who signs in, and with which password, may change, and is not told.
    """
    try:
        parsed, backend = _parsed(url)
    except DatabaseError:
        return _NO_ADDRESS
    query = {name: parsed.query[name] for name in _WHERE if name in parsed.query}
    where = (parsed.host, parsed.port, parsed.database, query)
    return URL.create(backend, None, None, *where).render_as_string()


def _parsed(url: str) -> tuple[URL, str]:
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1))
        return parsed, parsed.get_backend_name()
    except (ArgumentError, ValueError, SQLAlchemyError):
        raise DatabaseError("this is no database URL") from None


def of_engine(engine: Engine, schema: str | None) -> Database:
    """Return the database of an engine that is somebody else's."""
    return Database(engine, schema=schema)


def of_file(file: Path) -> Database:
    """Return the database in a file, which is made when it is first connected to."""
    engine = create_engine(
        URL.create(SQLITE, database=str(file.absolute())),
        connect_args={"check_same_thread": False, "timeout": PATIENCE},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return Database(engine, file.absolute())


def interrupt(connection: Connection) -> None:
    """Have the database stop what another thread has asked it for; that raises an error there."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == SQLITE:
        driver.interrupt()
    else:
        driver.cancel()


def _prepare(connection: Any, _record: Any) -> None:
    # Python's own module would begin transactions where it likes.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -16384")


def _wait_for_locks(connection: Connection, milliseconds: int) -> None:
    """Set it without a transaction, and only if it is another than before."""
    if connection.info.get(_MODE) != milliseconds:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA busy_timeout = {milliseconds}")
        connection.info[_MODE] = milliseconds


def _begin(connection: Connection) -> None:
    mode = connection.get_execution_options().get(_MODE, "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _with_driver(url: URL) -> URL:
    if "+" in url.drivername:
        driver = url.get_driver_name()
        if driver not in _DRIVERS:
            raise DatabaseError(f"the driver {driver} is not supported: use postgresql://…")
        return url
    found = [name for name in _DRIVERS if importlib.util.find_spec(name) is not None]
    if not found:
        raise DatabaseError("PostgreSQL needs a driver: pip install 'psycopg[binary]'")
    return url.set(drivername=f"{POSTGRES}+{found[0]}")


def _postgres_arguments() -> dict[str, Any]:
    return {
        "connect_args": _POSTGRES_OPTIONS,
        "pool_pre_ping": True,
        "pool_size": 2,
        "max_overflow": 8,
        "pool_recycle": 1800,
    }
