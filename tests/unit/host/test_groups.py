from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from opentelemetry.instrumentation.open_webui.host import groups as module
from opentelemetry.instrumentation.open_webui.host.groups import Groups


class Database:
    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.asked = 0
        self.delay = 0.0
        self.now = 0.0

    async def __call__(self, users: Sequence[str]) -> dict[str, list[str]]:
        self.asked += 1
        await asyncio.sleep(self.delay)
        if "broken" in self.names:
            raise RuntimeError
        return dict.fromkeys(users, self.names)

    def groups(self) -> Groups:
        return Groups(self, 30, clock=lambda: self.now)


async def known(groups: Groups) -> tuple[str, ...]:
    groups.expect("u")
    await groups.wait("u")
    return groups.of("u")


def test_names_are_sorted_and_kept_for_their_time() -> None:
    database = Database("b", "a")

    async def go() -> None:
        groups = database.groups()
        assert await known(groups) == ("a", "b")
        database.names, database.now = ["c"], 14
        assert await known(groups) == ("a", "b")
        assert database.asked == 1
        database.now = 31
        assert await known(groups) == ("c",)

    asyncio.run(go())


def test_past_half_of_the_time_it_asks_without_making_anybody_wait() -> None:
    database = Database("a")

    async def go() -> None:
        groups = database.groups()
        await known(groups)
        database.names, database.now, database.delay = ["b"], 16, 0.02
        assert await known(groups) == ("a",)
        await asyncio.sleep(0.05)
        assert groups.of("u") == ("b",)

    asyncio.run(go())


def test_nobody_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    database = Database("a")
    database.delay = 60

    async def go() -> None:
        assert await asyncio.wait_for(known(database.groups()), 1) == ()

    asyncio.run(go())


def test_a_failing_lookup_keeps_what_was_known() -> None:
    database = Database("a")

    async def go() -> None:
        groups = database.groups()
        await known(groups)
        database.names, database.now = ["broken"], 31
        assert await known(groups) == ("a",)

    asyncio.run(go())


def test_a_thread_asks_on_the_servers_loop_though_nobody_called_before() -> None:
    database = Database("b", "a")

    async def go() -> None:
        groups = database.groups()
        groups.start()
        await asyncio.to_thread(groups.wait_in_thread, "u")
        assert groups.of("u") == ("a", "b")

    asyncio.run(go())


def test_no_thread_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    database = Database("a")
    database.delay = 1

    async def go() -> None:
        groups = database.groups()
        groups.start()
        await asyncio.wait_for(asyncio.to_thread(groups.wait_in_thread, "u"), 0.5)
        assert groups.of("u") == ()

    asyncio.run(go())
