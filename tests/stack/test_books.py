"""The ledger, Prometheus and the provider's log say the same of all paths, to the nano-dollar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from e2e import functions
from e2e.booked import booked
from e2e.paths import environment, expectations, send_all
from e2e.servers import PREFIX
from e2e.truth import Truth, difference
from harness.postgres import Postgres
from harness.seed import WorkspaceModel, create_model
from opentelemetry.instrumentation.open_webui.ledger.database import Database, of_url
from opentelemetry.instrumentation.open_webui.ledger.periods import ALWAYS
from opentelemetry.instrumentation.open_webui.ledger.reading import Call, oldest_first
from stack.conftest import Stack, stack_of
from stack.reports import RANGE, assert_prometheus_equals, wait_for

# Each call costs a whole number of nano-dollars, so that it does not matter who rounds.
PRICES = """
prices:
  - model: "*"
    input_per_million: 1
    output_per_million: 2
"""
INPUT, OUTPUT = 1_000, 2_000
NANO = 1_000_000_000
BY_USER = (
    "user.id", "gen_ai.request.model", "open_webui.model.id", "open_webui.source",
    "open_webui.task", "gen_ai.operation.name", "gen_ai.provider.name",
)  # fmt: skip
BY_GROUP = ("open_webui.group.name", *BY_USER[1:])

Costs = Counter[tuple[object, ...]]
"""Nano-USD by the values of tags."""


@dataclass
class Books:
    """What was served, and what the ledger has of it."""

    stack: Stack
    truth: Truth
    calls: list[Call]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def books(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Books]:
    directory = tmp_path_factory.mktemp("books")
    prices = directory / "prices.yaml"
    prices.write_text(PRICES)
    with Postgres() as postgres:
        env = {
            "PGVECTOR_DB_URL": postgres.url,
            PREFIX + "LEDGER": "true" if request.param == "sqlite" else postgres.url,
            PREFIX + "PRICE_FILE": str(prices),
        }
        for stack in stack_of(directory, server_env=env, of_provider=environment, workers=2):
            functions.install(stack.server, stack.provider.openai_url)
            create_model(stack.server, WorkspaceModel("orphan", "Orphan", "gone", {}, {}))
            stack.server.ask("GET", "/api/models?refresh=true", user="admin")
            served = send_all(stack.server, stack.provider)
            truth = Truth(stack.server.world, served, expectations())
            file = f"sqlite:///{stack.server.data_dir}/usage.db"
            ledger = of_url(file if request.param == "sqlite" else postgres.url)
            count = sum(1 for _ in truth.tagged())
            calls = wait_for(lambda ledger=ledger, count=count: _of(ledger, count))
            ledger.disconnect()
            yield Books(stack, truth, calls)


def _of(ledger: Database, count: int) -> list[Call]:
    """The calls, once they are as many."""
    with ledger.reading() as connection:
        found = list(oldest_first(connection, ALWAYS))
    return found if len(found) >= count else []


def values(tags: Mapping[str, Any], names: tuple[str, ...]) -> tuple[object, ...]:
    return tuple(tags[name] for name in names)


def tags_of(call: Call) -> dict[str, object]:
    return {
        "user.id": call.user_id,
        "gen_ai.request.model": call.model,
        "open_webui.model.id": call.picked,
        "open_webui.source": call.source,
        "open_webui.task": call.task,
        "gen_ai.operation.name": call.operation,
        "gen_ai.provider.name": call.provider,
    }


def in_prometheus(books: Books, metric: str, names: tuple[str, ...]) -> Costs:
    costs: Costs = Counter()
    for labels, usd in books.stack.prometheus.query(f"increase({metric}[{RANGE}] anchored)"):
        costs[tuple(labels[name.replace(".", "_")] for name in names)] += round(usd * NANO)
    return +costs


def test_all_three_have_the_same_calls_and_tokens(books: Books) -> None:
    expected, actual = books.truth.counts(), booked(books.calls)
    assert actual == expected, difference(expected, actual)
    assert_prometheus_equals(books.stack.prometheus, books.truth)


def test_prometheus_has_the_same_cost_of_each_user(books: Books) -> None:
    costs: Costs = Counter()
    for call in books.calls:
        costs[values(tags_of(call), BY_USER)] += call.cost or 0
    assert len(+costs) > 50
    assert in_prometheus(books, "open_webui_usage_cost_total", BY_USER) == +costs


def test_prometheus_has_the_same_cost_of_each_group(books: Books) -> None:
    costs: Costs = Counter()
    for call in books.calls:
        for group in call.groups or ("(none)",):
            costs[values({"open_webui.group.name": group, **tags_of(call)}, BY_GROUP)] += (
                call.cost or 0
            )
    assert len(+costs) > 50
    assert in_prometheus(books, "open_webui_group_cost_total", BY_GROUP) == +costs


def test_the_providers_log_comes_to_the_same_cost(books: Books) -> None:
    """Where the provider told the tokens: what is estimated, only we know."""
    expected: Costs = Counter()
    untold = set()
    for call, tags in books.truth.tagged():
        key = values(tags, BY_USER)
        if call.input_tokens is None and call.output_tokens is None:
            untold.add(key)
        expected[key] += (call.input_tokens or 0) * INPUT + (call.output_tokens or 0) * OUTPUT
    actual: Costs = Counter()
    for one in books.calls:
        actual[values(tags_of(one), BY_USER)] += one.cost or 0
    told = {key for key, cost in expected.items() if cost and key not in untold}
    assert len(told) > 40
    assert {key: actual[key] for key in told} == {key: expected[key] for key in told}
