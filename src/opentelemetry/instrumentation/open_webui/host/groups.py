"""Which groups a user is in: cached, and looked up without making a call wait for it.

A lookup starts when a call is seen coming and runs while Open WebUI prepares its request. A known
membership is looked up anew in the background when half of its time is over, so that somebody who
keeps calling never waits; it is never used beyond its time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from ..bounds import MOST_GROUPS, text_or_none
from ..guard import report
from ..names import FOLDED

_logger = logging.getLogger(__name__)

Lookup = Callable[[Sequence[str]], Awaitable[Mapping[str, Sequence[str]]]]
"""Asks Open WebUI for the names of the groups that users are in, by their ids."""

# A call waits no longer than this for a lookup; the database may be busy, the provider is not.
_PATIENCE: Final = 0.5
# Beyond it the oldest half is forgotten: users come and go, memory must not follow all of them.
_MOST_KNOWN: Final = 20_000
# Databases bound the variables of a query, SQLite at 999 in the older of its versions.
_AT_ONCE: Final = 500


class Groups:
    """Cached group names by user id. To be used on the event loop's thread, or as a method says.

    Args:
        lookup: Asks Open WebUI.
        seconds: How old a membership may be when it is used.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, lookup: Lookup, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lookup = lookup
        self._seconds = seconds
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._running: dict[str, asyncio.Task[dict[str, tuple[str, ...]]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Look up on the running loop from now on: threads have none of their own."""
        self._loop = asyncio.get_running_loop()

    def forget_loop(self) -> None:
        """Leave the loop, and what runs on it, to the process that this one was forked from."""
        self._loop = None
        self._running = {}

    def expect(self, user_id: str) -> None:
        """Start a lookup if what is known of the user is missing or ageing.

        Does nothing in a thread without an event loop: see :meth:`wait_in_thread`.
        """
        if not _on_a_loop():
            return
        self.start()
        if self._age(user_id) > self._seconds / 2 and user_id not in self._running:
            task = asyncio.create_task(self.refresh((user_id,)))
            self._running[user_id] = task
            task.add_done_callback(lambda _: self._running.pop(user_id, None))

    def wait_in_thread(self, user_id: str) -> None:
        """Do the same from another thread, which may block for a moment."""
        loop = self._loop
        if self.fresh(user_id) or loop is None or _on_a_loop():
            return
        lookup = asyncio.run_coroutine_threadsafe(self.refresh((user_id,)), loop)
        concurrent.futures.wait((lookup,), timeout=_PATIENCE)

    def fresh(self, user_id: str) -> bool:
        """Whether what is known of the user may be used."""
        return self._age(user_id) <= self._seconds

    def of_fresh(self, user_id: str) -> tuple[str, ...] | None:
        """Return the names that may be used; ``None`` if they have to be waited for."""
        known = self._known.get(user_id)
        return None if known is None or self._clock() - known[0] > self._seconds else known[1]

    async def wait(self, user_id: str) -> None:
        """Wait, for a moment at most, until the user's groups may be used."""
        task = self._running.get(user_id)
        if task is not None and not self.fresh(user_id):
            await asyncio.wait((task,), timeout=_PATIENCE)

    def of(self, user_id: str) -> tuple[str, ...]:
        """Return the names last known; empty when nothing is."""
        return self._known.get(user_id, (0.0, ()))[1]

    def _age(self, user_id: str) -> float:
        known = self._known.get(user_id)
        return float("inf") if known is None else self._clock() - known[0]

    async def refresh(self, user_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Look users up, however new what is known of them is, and return the sorted names."""
        asked = self._clock()
        found: dict[str, tuple[str, ...]] = {}
        try:
            for start in range(0, len(user_ids), _AT_ONCE):
                names = await self._lookup(user_ids[start : start + _AT_ONCE])
                found.update((user, _told(its)) for user, its in names.items())
        except Exception:
            report("the lookup of users' groups")
        for user_id, groups in found.items():
            self._known.pop(user_id, None)
            self._known[user_id] = (asked, groups)
        if len(self._known) > _MOST_KNOWN:
            for old in list(self._known)[: _MOST_KNOWN // 2]:
                del self._known[old]
        return found


def _told(names: Sequence[object]) -> tuple[str, ...]:
    """Return the names that are told, sorted; what there are beyond them is one group."""
    told = sorted({name for name in map(text_or_none, names) if name is not None})
    return tuple(told if len(told) <= MOST_GROUPS else (*told[:MOST_GROUPS], FOLDED))


def _on_a_loop() -> bool:
    return asyncio._get_running_loop() is not None
