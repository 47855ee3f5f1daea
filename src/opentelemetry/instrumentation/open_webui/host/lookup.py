"""Reading the ledger away from the event loop, in threads of our own, and never for long."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from ..ledger.database import interrupt

SECONDS: Final = 10.0
"""How long anybody waits for the ledger."""
# However slow the database is, Open WebUI's own threads are there for its own work.
_THREADS: Final = ThreadPoolExecutor(4, "usage-ledger-reading")

T = TypeVar("T")


async def read(ledger: Any, reading: Callable[[Connection], T], seconds: float = SECONDS) -> T:
    """Read the ledger.

    Args:
        ledger: What has ``reading()``.
        reading: Reads; it blocks.
        seconds: After which the database is told to stop.

    Raises:
        TimeoutError: It took longer.
        Unavailable: The ledger is away.
    """
    work, loop = _Work(ledger, reading), asyncio.get_running_loop()
    try:
        return await asyncio.wait_for(loop.run_in_executor(_THREADS, work), seconds)
    except (TimeoutError, asyncio.CancelledError):
        # PostgreSQL is told by a connection of its own, for which one has to wait as well.
        loop.run_in_executor(None, work.stop)
        raise


class _Work:
    """Some reading, which can be stopped by another thread."""

    def __init__(self, ledger: Any, reading: Callable[[Connection], T]) -> None:
        self._ledger = ledger
        self._reading = reading
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._is_late = False

    def __call__(self) -> Any:
        with self._ledger.reading() as connection, self._running(connection):
            return self._reading(connection)

    @contextlib.contextmanager
    def _running(self, connection: Connection) -> Any:
        with self._lock:
            if self._is_late:
                raise TimeoutError
            self._connection = connection
        try:
            yield
        finally:
            # Afterwards, the connection is somebody else's.
            with self._lock:
                self._connection = None

    def stop(self) -> None:
        """Stop it, if it is still running."""
        with self._lock, contextlib.suppress(Exception):
            self._is_late = True
            if self._connection is not None:
                interrupt(self._connection)
