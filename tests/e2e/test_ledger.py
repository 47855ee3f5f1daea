"""The ledger of a real server: all that the provider served, however telemetry fares."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

import pytest
from sqlalchemy.exc import OperationalError

from e2e import functions
from e2e.booked import booked
from e2e.paths import environment, expectations, send_all
from e2e.servers import PREFIX, otlp
from e2e.truth import Truth, difference
from harness.habits import teach
from harness.openwebui import OpenWebUI
from harness.otlp import Receiver
from harness.postgres import Postgres
from harness.provider import Provider
from harness.seed import WORKSPACE_MODELS, WorkspaceModel, create_model, seed, seeded_server
from opentelemetry.instrumentation.open_webui.ledger.checking import check
from opentelemetry.instrumentation.open_webui.ledger.database import Database, of_file, of_url
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS
from opentelemetry.instrumentation.open_webui.ledger.reading import (
    Call,
    Sums,
    Where,
    oldest_first,
    sums,
    total,
)

# Rates of which a call's cost is no whole number of nano-dollars.
PRICES = """
prices:
  - model: gpt-std
    input_per_million: 0.1234
    output_per_million: 1.2345
  - model: tts-std
    per_character: 0.000015
"""


@dataclass(frozen=True)
class Setup:
    """A way of running server and ledger."""

    name: str
    env: dict[str, str] = field(default_factory=dict)
    workers: int = 1
    on_postgres: bool = False
    """Whether Open WebUI itself is on PostgreSQL."""
    by_url: bool = False


SETUPS = (
    Setup("sqlite, two workers", workers=2),
    Setup("sqlite, no SDK", {"OTEL_SDK_DISABLED": "true"}),
    Setup("open webui's postgres, sampled out", {"OTEL_TRACES_SAMPLER": "always_off"}, 2, True),
    Setup("postgres by URL", by_url=True),
)


@dataclass
class Run:
    """What a server did until it was stopped, and its ledger."""

    setup: Setup
    truth: Truth
    ledger: Database
    log: str
    began: float
    """When the first of these calls could be made; others came before, to teach the server."""

    def calls(self) -> list[Call]:
        with self.ledger.reading() as connection:
            return list(oldest_first(connection, ALWAYS))


@pytest.fixture(scope="module", params=SETUPS, ids=lambda setup: setup.name)
def run(
    request: pytest.FixtureRequest,
    provider: Provider,
    receiver: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Run]:
    setup: Setup = request.param
    prices = tmp_path_factory.mktemp("prices") / "prices.yaml"
    prices.write_text(PRICES)
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres())
        ledger = postgres.url if setup.by_url else "true"
        env = {
            **otlp(receiver),
            **environment(provider),
            "PGVECTOR_DB_URL": postgres.url,
            PREFIX + "LEDGER": ledger,
            PREFIX + "PRICE_FILE": str(prices),
            **({"DATABASE_URL": postgres.url} if setup.on_postgres else {}),
            **setup.env,
        }
        server = stack.enter_context(_server(setup, provider, env))
        teach(server, provider)
        functions.install(server, provider.openai_url)
        create_model(server, WorkspaceModel("orphan", "Orphan", "gone", {}, {}))
        server.ask("GET", "/api/models?refresh=true", user="admin")
        provider.wait_idle(0.5)
        began = time.time()
        truth = Truth(server.world, send_all(server, provider), expectations())
        _delete_everything(server)
        server.stop()
        is_url = setup.by_url or setup.on_postgres
        database = of_url(postgres.url) if is_url else of_file(server.data_dir / "usage.db")
        stack.callback(database.disconnect)
        yield Run(setup, truth, database, server.log_text(), began)


def _server(setup: Setup, provider: Provider, env: dict[str, str]) -> OpenWebUI:
    if not setup.on_postgres:
        return seeded_server(provider, launcher="instrument", workers=setup.workers, env=env)
    with OpenWebUI(
        provider, env={"DATABASE_URL": env["DATABASE_URL"], "BYPASS_MODEL_ACCESS_CONTROL": "true"}
    ) as first:
        world = seed(first)
    server = OpenWebUI(provider, launcher="instrument", workers=setup.workers, env=env)
    server.world = world
    return server


def _delete_everything(server: OpenWebUI) -> None:
    """Delete what the calls belonged to: chats, users, groups and models."""
    for model in (*(one.id for one in WORKSPACE_MODELS), "orphan"):
        form = {"id": model}
        server.ask("POST", "/api/v1/models/model/delete", user="admin", auth="session", json=form)
    for user in server.world.users:
        server.ask("DELETE", "/api/v1/chats/", user=user, auth="session")
    for group_id in server.world.groups.values():
        server.ask("DELETE", f"/api/v1/groups/id/{group_id}/delete", user="admin", auth="session")
    for name, user in server.world.users.items():
        if name != "admin":
            server.ask("DELETE", f"/api/v1/users/{user.id}", user="admin", auth="session")


def test_it_equals_what_the_provider_served(run: Run) -> None:
    expected = run.truth.counts()
    actual = booked([call for call in run.calls() if call.time >= run.began])
    assert actual == expected, difference(expected, actual)
    assert "instrumentation failed" not in run.log


def test_it_equals_telemetry_to_the_nano_dollar(run: Run, receiver: Receiver) -> None:
    if "OTEL_SDK_DISABLED" in run.setup.env:
        pytest.skip("there is no telemetry")
    told = {event.attributes["open_webui.call.id"]: event.attributes for event in receiver.events}
    calls = run.calls()
    assert any(call.cost for call in calls)
    for call in calls:
        event = told[call.id]
        cost = event.get("open_webui.usage.cost")
        assert call.cost == (None if cost is None else round(float(str(cost)) * 1e9))
        assert call.price_source == event.get("open_webui.cost.source")
        assert call.input == event.get("gen_ai.usage.input_tokens")
        assert call.output == event.get("gen_ai.usage.output_tokens")


def test_its_sums_equal_its_rows(run: Run) -> None:
    calls = run.calls()
    assert calls
    with run.ledger.reading() as connection:
        found = total(connection, ALWAYS)
        by_user = sums(connection, ALWAYS, by=("user",))
    assert found.calls == len(calls)
    assert found.cost == sum(call.cost or 0 for call in calls)
    assert found.input == sum(call.input or 0 for call in calls)
    assert sum(by_user.values(), start=Sums()) == found
    assert not check(run.ledger).problems


def test_groups_have_ids(run: Run) -> None:
    with run.ledger.reading() as connection:
        found = {group for (group,) in sums(connection, ALWAYS, by=("group",))}
    named = {name: group_id for group_id, name in found if name != "(none)"}
    assert named
    assert named.items() <= run.truth.world.groups.items()


def test_it_holds_nothing_that_was_said(run: Run) -> None:
    assert run.calls()
    assert "case=" not in json.dumps([asdict(call) for call in run.calls()])


def test_what_was_stored_before_is_taken_over_once(provider: Provider) -> None:
    with seeded_server(provider, launcher="instrument") as server:
        for user in ("alice", "bob"):
            server.turn(user, "gpt-std", "case=before")
        server.stop()
        server.extra_env[PREFIX + "LEDGER"] = "true"
        ledger = of_file(server.data_dir / "usage.db")
        for _ in range(2):
            server.start()
            server.chat("alice", "gpt-mini", "case=after")
            wait_until(lambda: len(calls_of(ledger, imported=True)) == 2)
            server.stop()
        imported = calls_of(ledger, imported=True)
        own = calls_of(ledger, imported=False)
        ledger.disconnect()
        world = server.world
    assert {(call.user_id, call.picked, call.source, call.groups) for call in imported} == {
        (world.user(name).id, "gpt-std", "ui", world.user(name).groups) for name in ("alice", "bob")
    }
    assert [call.model for call in own] == ["gpt-mini", "gpt-mini"]
    assert max(call.time for call in imported) < min(call.time for call in own)


def calls_of(ledger: Database, *, imported: bool) -> list[Call]:
    try:
        with ledger.reading() as connection:
            return list(oldest_first(connection, ALWAYS, Where(imported=imported)))
    except OperationalError:  # There are no tables yet.
        return []


def wait_until(true: Callable[[], bool], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
