"""Two servers whose clocks are an hour apart, on one ledger: each call has the time of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

import harness
from e2e.servers import PREFIX
from e2e.test_ledger_faults import eventually
from harness.openwebui import OpenWebUI
from harness.postgres import Postgres
from harness.provider import Provider
from harness.seed import seeded_server
from opentelemetry.instrumentation.open_webui.ledger.checking import check
from opentelemetry.instrumentation.open_webui.ledger.database import Database, of_url
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS
from opentelemetry.instrumentation.open_webui.ledger.reading import Call, oldest_first
from opentelemetry.instrumentation.open_webui.ledger.schema import since
from opentelemetry.instrumentation.open_webui.names import REFUSED_TASK

HOUR = 3600


@dataclass
class Servers:
    """One whose clock is right, and one that is an hour late."""

    right: OpenWebUI
    late: OpenWebUI
    ledger: Database
    provider: Provider

    def calls(self) -> list[Call]:
        """Those in the ledger, once all that the provider served are."""
        self.provider.wait_idle(0.3)
        served = len(self.provider.snapshot())
        eventually(lambda: len(self._calls()) >= served)
        calls = self._calls()
        assert len(calls) == served
        return calls

    def _calls(self) -> list[Call]:
        with self.ledger.reading() as connection:
            return [call for call in oldest_first(connection, ALWAYS) if call.task != REFUSED_TASK]


@pytest.fixture(scope="module")
def servers(provider: Provider, database: Postgres) -> Iterator[Servers]:
    env = {PREFIX + "LEDGER": database.url, PREFIX + "LIMITS": "true", "OTEL_SDK_DISABLED": "true"}
    clock = str(Path(harness.__file__).with_name("clock"))
    late_env = {**env, "PYTHONPATH": clock, "CLOCK_OFF_BY": str(-HOUR)}
    ledger = of_url(database.url)
    with seeded_server(provider, launcher="instrument", env=env) as right:
        # Made before the other server is there, whose calls will come earlier.
        form = {"name": "six", "measure": "requests", "amount": 6, "per": "5 hours"}
        form["user"] = right.world.user("bob").id
        made = right.request("POST", "/api/v1/usage/limits", user="admin", json=form)
        assert made.status == 201, made.text
        provider.clear()
        with seeded_server(provider, env=late_env) as late:
            yield Servers(right, late, ledger, provider)
    ledger.disconnect()


def status_of(server: OpenWebUI, user: str) -> int:
    return server.chat(user, "gpt-std", "case=clocks").status


def test_each_call_is_there_once_at_the_time_of_its_server(servers: Servers) -> None:
    world = servers.right.world
    alice, carol = world.user("alice").id, world.user("carol").id
    began = int(time.time())
    for _ in range(10):
        assert status_of(servers.right, "alice") == 200
        assert status_of(servers.late, "carol") == 200
    ended = int(time.time())
    calls = servers.calls()
    assert Counter(call.user_id for call in calls) == {alice: 10, carol: 10}
    for call in calls:
        assert began <= call.time + HOUR * (call.user_id == carol) < ended + 1
    assert not check(servers.ledger).problems
    # What is yet to come by the late clock, that server does not tell apart within an hour.
    time.sleep(1)
    for server in (servers.right, servers.late):
        assert answers_of(server, began, ended) == {alice: 10}
        assert answers_of(server, began - HOUR, ended - HOUR) == {carol: 10}


def answers_of(server: OpenWebUI, start: int, end: int) -> dict[str, int]:
    """What Analytics says of each user."""
    path = f"/api/v1/analytics/users?start_date={start}&end_date={end}"
    return {row["user_id"]: row["count"] for row in server.ask("GET", path, user="admin")["users"]}


def test_a_limit_holds_for_both_together(servers: Servers) -> None:
    """It was made at a time that is yet to come by the late clock, whose calls count all the same."""
    eventually(lambda: first_seen(servers) <= time.time() - HOUR)
    # Every two seconds, a server looks whether something about limits has changed.
    time.sleep(4)
    answers = [status_of(server, "bob") for server in [servers.late, servers.right] * 5]
    assert answers == [200] * 6 + [429] * 4
    bob = servers.right.world.user("bob").id
    assert sum(call.user_id == bob for call in servers.calls()) == 6
    assert not check(servers.ledger).problems


def first_seen(servers: Servers) -> int:
    with servers.ledger.reading() as connection:
        return int(connection.scalars(select(since.c.at)).one())
