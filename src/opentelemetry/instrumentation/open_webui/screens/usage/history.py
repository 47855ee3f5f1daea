"""A page of calls, newest first, in a time that is bounded whatever is looked for.

Calls that are rare would make the database read all there are. So it looks back in steps that grow
while they are quick; when the time is over, the page has what was found until then, and the next
one goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from ... import ids
from ...ledger import reading
from ...ledger.periods import Period
from ...ledger.reading import Call
from ...ledger.sums import DAY_SECONDS
from .asking import Asked, Listed

_FIRST_STEP: Final = DAY_SECONDS
# How much longer than the last one a step may be.
_GROWTH: Final = 4
_BUDGET: Final = 0.1
"""Seconds after which no further step is begun, and that none is likely to last beyond."""
_INSTANT: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Page:
    """Some calls, and where the next page begins."""

    calls: list[Call]
    before: str | None
    """``None`` if there is no further page."""


def page(
    connection: Connection,
    asked: Asked,
    listed: Listed,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """Return a page of calls. It may be short, or empty, and still have a next one.

    Args:
        connection: The ledger's.
        asked: Whose calls, and when.
        listed: Which of them, and which page.
        clock: Seconds.
    """
    ends = reading.ends(connection)
    if ends is None:
        return Page([], None)
    first, last = max(asked.span.period.start, ends[0]), asked.span.period.end
    end = min(last, ends[1] + 1, _moment(listed.before) if listed.before else last)
    begun, step, found = clock(), _FIRST_STEP, list[Call]()
    while end > first:
        start, at = max(first, end - step), clock()
        found += reading.latest(
            connection,
            asked.where,
            listed.only,
            period=Period(start, end),
            before=listed.before,
            limit=listed.limit - len(found) + 1,
        )
        if len(found) > listed.limit:
            return Page(found[: listed.limit], found[listed.limit - 1].id)
        end = start
        left = _BUDGET - (clock() - begun)
        if left <= 0 and end > first:
            return Page(found, ids.first_of(end * 1000).hex())
        step = max(1, int(step * min(_GROWTH, left / max(clock() - at, _INSTANT))))
    return Page(found, None)


def _moment(before: str) -> int:
    """Return the end of the second in which a call began."""
    return ids.milliseconds_of(bytes.fromhex(before)) // 1000 + 1
