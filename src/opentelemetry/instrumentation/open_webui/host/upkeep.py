"""What is done from time to time while Open WebUI serves: none of it on a request's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from .. import deferred
from ..guard import report
from ..money import pricing
from . import compat, startup

if TYPE_CHECKING:
    from ..host.runtime import Runtime
    from .patching import Patcher

_PRICES_SECONDS: Final = 10.0
_HABITS_SECONDS: Final = 10.0
_HOSTS_SECONDS: Final = 60.0
_NOTE_SECONDS: Final = 5.0


@asynccontextmanager
async def keeping_up(runtime: Runtime) -> AsyncIterator[None]:
    """Keep groups, connections, prices and what is learned of models current until it ends."""
    deferred.use_this_loop()
    runtime.groups.start()
    directory = compat.data_dir()
    if directory is not None:
        runtime.habits.keep_in(directory)
    await _attempt(lambda: asyncio.to_thread(runtime.habits.sync), "the reading of what is learned")
    await runtime.connections.load()
    await _attempt(lambda: asyncio.to_thread(_leave_note, runtime), "the note for the doctor")
    await _attempt(compat.load_own_hosts, "the lookup of Open WebUI's own address")
    await _attempt(lambda: asyncio.to_thread(pricing.load), "the loading of list prices")
    prices, groups = runtime.accountant.prices.file, runtime.settings.groups_cache_seconds
    tasks = [
        asyncio.create_task(_every(_PRICES_SECONDS, lambda: asyncio.to_thread(prices.refresh))),
        asyncio.create_task(
            _every(_HABITS_SECONDS, lambda: asyncio.to_thread(runtime.habits.sync))
        ),
        asyncio.create_task(_every(_NOTE_SECONDS, lambda: asyncio.to_thread(_leave_note, runtime))),
        asyncio.create_task(_every(_HOSTS_SECONDS, compat.load_own_hosts)),
        asyncio.create_task(_every(groups / 2, lambda: _update_members(runtime))),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _leave_note(runtime: Runtime) -> None:
    from .. import OpenWebUIInstrumentor

    patcher: Patcher | None = OpenWebUIInstrumentor()._patcher
    if patcher is not None and runtime.active:
        told = startup.note(patcher.states(), runtime.telemetry, runtime.ledger, runtime.limits)
        runtime.presence.write(told)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await _attempt(work, "the upkeep")


async def _attempt(work: Callable[[], Awaitable[None]], name: str) -> None:
    try:
        await work()
    except Exception:
        report(name)


async def _update_members(runtime: Runtime) -> None:
    """Look up who is active: they may join and leave groups between their calls."""
    active = tuple(runtime.telemetry.totals.members())
    if active and runtime.active:
        runtime.telemetry.update_members(await runtime.groups.refresh(active))
