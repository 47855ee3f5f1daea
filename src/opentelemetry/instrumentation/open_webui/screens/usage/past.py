"""Sums of which those of closed months are remembered for a minute.

They are what takes long where there are thousands of users and years of calls, and a page that
stays open asks for them again and again. What is booked late for a month that is over, after an
outage, shows when that minute is over; what was taken out shows at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import Connection

from ...ledger import facts, reading
from ...ledger.periods import Period
from ...ledger.reading import Sums, Where
from ...ledger.sums import month_of, start_of_month

_SECONDS: Final = 60.0
_MOST: Final = 16


class _Key(NamedTuple):
    database: str
    epoch: str | None
    name: str
    period: Period
    where: Where


class Past:
    """What closed months add up to. For many threads.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[_Key, tuple[float, dict[str, Sums]]] = {}

    def by(
        self, connection: Connection, name: str, period: Period, where: Where
    ) -> dict[str, Sums]:
        """Return sums by one of the dimensions of :mod:`~...ledger.reading` that is a text."""
        closed, rest = _split(period)
        if closed is None:
            return _sums(connection, name, period, where)
        found = dict(self._closed(connection, name, closed, where))
        for key, used in _sums(connection, name, rest, where).items():
            found[key] = found.get(key, Sums()) + used
        return found

    def _closed(
        self, connection: Connection, name: str, period: Period, where: Where
    ) -> dict[str, Sums]:
        epoch = facts.read(connection, facts.EPOCH)
        key = _Key(str(connection.engine.url), epoch, name, period, where)
        with self._lock:
            at, found = self._kept.get(key, (0.0, None))
        if found is None or self._clock() - at > _SECONDS:
            found = _sums(connection, name, period, where)
            with self._lock:
                self._kept.pop(key, None)
                self._kept[key] = (self._clock(), found)
                while len(self._kept) > _MOST:
                    del self._kept[next(iter(self._kept))]
        return found


def _split(period: Period) -> tuple[Period | None, Period]:
    """Return what is before the month (UTC) that is running, if that is anything, and the rest."""
    edge = start_of_month(month_of(int(time.time())))
    if not period.start < edge < period.end:
        return None, period
    return Period(period.start, edge), Period(edge, period.end)


def _sums(connection: Connection, name: str, period: Period, where: Where) -> dict[str, Sums]:
    found = reading.sums(connection, period, where, (name,))
    return {key: sums for (key,), sums in found.items()}
