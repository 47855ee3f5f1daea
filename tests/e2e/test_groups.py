"""Groups as the database has them, within the cache time: renamed, nested, deleted, on all workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.servers import PREFIX, instrumented
from harness.openwebui import OpenWebUI
from harness.otlp import Event, Receiver
from harness.provider import Provider

GAUGE = "open_webui.user.group"
CACHE_SECONDS = 1
# A worker looks up every half of the cache time, a reader exports every half second.
SOON = 3 * CACHE_SECONDS
# What a gauge showed before it fell silent is no longer looked at.
FRESH = 1.2
WORKERS = 2


@pytest.fixture(scope="module")
def server(provider: Provider, receiver: Receiver) -> Iterator[OpenWebUI]:
    env = {
        f"{PREFIX}GROUPS_CACHE_SECONDS": str(CACHE_SECONDS),
        f"{PREFIX}INHERITED_GROUPS": "true",
    }
    with instrumented(provider, receiver, env, workers=WORKERS) as server:
        yield server


def admin(server: OpenWebUI, method: str, path: str, **form: Any) -> Any:
    return server.ask(method, path, user="admin", auth="session", json=form or None)


def shown(receiver: Receiver, user: str) -> dict[str, set[str]]:
    """The groups of a user that each process shows now."""
    since = time.time_ns() - int(FRESH * 1e9)
    found: dict[str, set[str]] = {}
    for point in receiver.points:
        if (
            point.metric == GAUGE
            and point.time >= since
            and dict(point.attributes).get("user.name") == user
        ):
            instance = str(point.resource["service.instance.id"])
            found.setdefault(instance, set()).add(
                str(dict(point.attributes)["open_webui.group.name"])
            )
    return found


def everywhere(receiver: Receiver, user: str, *groups: str) -> None:
    """Wait until all processes that know the user show these groups and no other."""

    def agree(_: Receiver) -> bool:
        found = shown(receiver, user)
        return len(found) == WORKERS and all(its == set(groups) for its in found.values())

    try:
        receiver.wait_for(agree, SOON + FRESH + 2)
    except TimeoutError:
        raise AssertionError(f"{shown(receiver, user)} is not {groups} on all workers") from None


def on_all_workers(server: OpenWebUI, receiver: Receiver, user: str) -> None:
    """Call, on new connections and several at once, until every worker has had a call."""
    name = server.world.user(user).name
    for _ in range(20):
        threads = [
            threading.Thread(target=server.chat, args=(user, "gpt-std", "case=around"))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(1)
        answered = [e for e in receiver.events if e.attributes.get("user.name") == name]
        if len({e.resource["service.instance.id"] for e in answered}) == WORKERS:
            return
    raise AssertionError("a worker had no call")


def test_memberships_follow_the_database_without_another_call(
    server: OpenWebUI, receiver: Receiver
) -> None:
    name = server.world.user("carol").name
    on_all_workers(server, receiver, "carol")
    everywhere(receiver, name, "(none)")
    server.add_to_group("carol", "research")
    everywhere(receiver, name, "research")
    # The group above counts as well, by the setting.
    above = admin(server, "POST", "/api/v1/groups/create", name="science", description="")
    research = server.world.groups["research"]
    path = f"/api/v1/groups/id/{research}/update"
    admin(server, "POST", path, name="research", description="", parent_group_id=above["id"])
    everywhere(receiver, name, "research", "science")
    admin(
        server,
        "POST",
        path,
        name="Forschung \U0001f52c",
        description="",
        parent_group_id=above["id"],
    )
    everywhere(receiver, name, "Forschung \U0001f52c", "science")
    admin(server, "POST", path, name="research", description="", parent_group_id=None)
    everywhere(receiver, name, "research")
    server.remove_from_group("carol", "research")
    everywhere(receiver, name, "(none)")
    passing = admin(server, "POST", "/api/v1/groups/create", name="passing", description="")
    server.world.groups["passing"] = passing["id"]
    server.add_to_group("carol", "passing")
    everywhere(receiver, name, "passing")
    admin(server, "DELETE", f"/api/v1/groups/id/{passing['id']}/delete")
    everywhere(receiver, name, "(none)")


def test_the_last_calls_of_a_deleted_user_count(
    server: OpenWebUI, provider: Provider, receiver: Receiver
) -> None:
    dora = server.world.user("dora")
    before = len(receiver.events)
    call = threading.Thread(
        target=lambda: server.chat("dora", "gpt-slow", "case=farewell", stream=True)
    )
    call.start()
    while not any(c.case == "farewell" for c in provider.snapshot()):
        time.sleep(0.05)
    admin(server, "DELETE", f"/api/v1/users/{dora.id}")
    call.join()
    provider.wait_idle(0.3)
    [served] = [c for c in provider.snapshot() if c.case == "farewell"]

    def farewell(r: Receiver) -> list[Event]:
        return [e for e in r.events[before:] if e.attributes["user.id"] == dora.id]

    [event] = receiver.wait_for(farewell)
    assert event.attributes["open_webui.user.groups"] == tuple(sorted(dora.groups))
    assert event.attributes["gen_ai.usage.input_tokens"] == served.input_tokens
    assert event.attributes["gen_ai.usage.output_tokens"] == served.output_tokens
    by_groups = ("open_webui.group.name", dora.groups[0])
    receiver.wait_for(
        lambda r: any(
            by_groups in tags and ("gen_ai.request.model", "gpt-slow") in tags and amount == 1
            for tags, amount in r.increase("open_webui.group.requests").items()
        )
    )
