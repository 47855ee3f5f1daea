"""A server whose screens are looked at, and all that is true of it.

What happened long ago is put into the ledger beforehand; what happens now is done on the server.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from harness.analytics import Analytics, Shown
from harness.openwebui import OpenWebUI
from harness.provider import Provider
from harness.world import World
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from unit.ledger.books import booking

SOURCES = {"": ("api", "background", "ui"), "ui": ("ui",), "api": ("api",)}
DAY = 86_400
MINUTES = {"10m": 10, "hourly": 60, "3h": 180, "6h": 360, "daily": 1440}
NASTY = "<img src=x onerror=window.hurt=1>"
"""The name of a model, of somebody who has been deleted, and of a group."""
GONE = "00000000-dead-4000-8000-000000000000"
"""Somebody who has been deleted."""
MODELS = ("gpt-std", "gpt-mini", "llama-std", NASTY)


@dataclass(frozen=True)
class Used:
    """One call, as it is true."""

    time: float
    user: str
    groups: tuple[str, ...]
    source: str
    model: str
    is_message: bool
    input: int
    output: int

    @property
    def tokens(self) -> int:
        return self.input + self.output


def of_the_past(world: World) -> list[Used]:
    """Two years of calls: Bob's all by API, as he is in a group of those who do nothing else."""
    rng, now = random.Random(7), time.time()
    people = [(user.id, user.groups) for user in map(world.user, ("alice", "bob", "carol"))]
    people.append((GONE, ()))
    found = []
    for number in range(600):
        user, groups = people[number % 4]
        found.append(
            Used(
                now - 120 - rng.random() ** 3 * 700 * DAY,
                user,
                groups,
                "api" if number % 4 == 1 else rng.choice(("ui", "api", "background")),
                rng.choice(MODELS),
                rng.random() < 0.7,
                rng.randrange(10, 3000),
                rng.randrange(5, 900),
            )
        )
    return found


def book(server: OpenWebUI, calls: Iterable[Used]) -> None:
    """Put calls into the ledger of a server that has not been started yet."""
    database = of_file(server.data_dir / "usage.db")
    store = Store(database, server.world.groups.get)
    store.open()
    store.write(
        [
            booking(
                call.time,
                user_id=call.user,
                user_name=NASTY if call.user == GONE else None,
                groups=call.groups,
                source=call.source,
                picked=call.model,
                model=call.model,
                task="chat" if call.is_message else "title_generation",
                input=call.input,
                output=call.output,
            )
            for call in calls
        ]
    )
    database.disconnect()


def served(provider: Provider, world: World) -> list[Used]:
    """The provider's log."""
    users = {user.id: user for user in world.users.values()}
    since = time.time() - time.monotonic()
    return [
        Used(
            since + call.started,
            call.user_id,
            users[call.user_id].groups,
            # Who calls by API here has no title made. Versions differ in what they make it of.
            "ui" if call.case.startswith("ui") or call.task != "chat" else "api",
            call.model,
            call.task == "chat",
            call.input_tokens or 0,
            call.output_tokens or 0,
        )
        for call in provider.snapshot()
    ]


@dataclass
class Place:
    """A server, and all calls that its ledger has."""

    server: OpenWebUI
    calls: list[Used] = field(default_factory=list)
    alone: Shown | None = None
    """What the page showed of a group before, with Open WebUI alone."""

    def of(
        self, start: float, end: float, source: str = "", group: str | None = None
    ) -> list[Used]:
        return [
            call
            for call in self.calls
            if start <= int(call.time) <= end
            and call.source in SOURCES[source]
            and (group is None or group in call.groups)
        ]

    @property
    def names(self) -> dict[str, str]:
        """What users are called, by their ids."""
        return {GONE: NASTY, **{user.id: user.name for user in self.server.world.users.values()}}

    def api(self, path: str, user: str = "admin") -> dict[str, Any]:
        answer: dict[str, Any] = self.server.ask("GET", path, user=user, auth="session")
        return answer


def bars_of(
    calls: Iterable[Used], start: float, end: float, granularity: str, by_tokens: bool
) -> list[Counter[str]]:
    """The chart as Open WebUI would draw it of these calls; the server's clock shows UTC."""
    step = timedelta(minutes=MINUTES[granularity])
    bars: dict[datetime, Counter[str]] = {}
    clock = part_of(start or min(call.time for call in calls), step)
    while clock.timestamp() <= end:
        bars[clock] = Counter()
        clock += step
    for call in calls:
        bars[part_of(call.time, step)][call.model] += call.tokens if by_tokens else call.is_message
    return [+bars[clock] for clock in sorted(bars)]


def part_of(moment: float, step: timedelta) -> datetime:
    clock = datetime.fromtimestamp(moment, UTC)
    midnight = clock.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (clock - midnight) // step * step


def period_of(page: Analytics) -> tuple[int, int]:
    """When what the page shows begins and ends: 0 if it is since ever."""
    asked = page.asked["daily"]
    return int(asked.get("start_date", 0)), int(asked.get("end_date", time.time()))
