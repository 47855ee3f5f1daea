"""Every path to a model: a row each, all equal to what the provider served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from e2e import functions
from e2e.paths import PATHS, environment, expectations, send_all
from e2e.servers import instrumented
from e2e.truth import Truth, assert_equal
from harness.openwebui import OpenWebUI
from harness.otlp import Receiver
from harness.postgres import Postgres
from harness.provider import Provider, ServedCall
from harness.seed import WorkspaceModel, create_model


@pytest.fixture(scope="module")
def server(provider: Provider, receiver: Receiver, database: Postgres) -> Iterator[OpenWebUI]:
    env = {**environment(provider), "PGVECTOR_DB_URL": database.url}
    with instrumented(provider, receiver, env, interval=1.0) as server:
        functions.install(server, provider.openai_url)
        create_model(server, WorkspaceModel("orphan", "Orphan", "gone", {}, {}))
        server.ask("GET", "/api/models?refresh=true", user="admin")
        yield server


@pytest.fixture(scope="module")
def served(server: OpenWebUI, provider: Provider) -> list[ServedCall]:
    """All rows; with them the calls that no provider sees."""
    return send_all(server, provider)


def test_every_path_reached_the_provider(served: list[ServedCall]) -> None:
    calls = Counter(call.case for call in served)
    silent = [path.name for path in PATHS if not calls[path.case] and path.own is None]
    assert not silent


def test_what_is_reported_equals_what_was_served(
    server: OpenWebUI, served: list[ServedCall], receiver: Receiver
) -> None:
    assert_equal(receiver, Truth(server.world, served, expectations()))


def test_what_a_pipe_calls_is_told_as_its_own_and_warned_of_by_nobody(
    server: OpenWebUI, served: list[ServedCall], receiver: Receiver
) -> None:
    pipes = [path for path in PATHS if path.own is not None]
    calls = [call for call in served if call.case in {path.case for path in pipes}]
    assert {path.case for path in pipes if path.expected.model_id} == {call.case for call in calls}
    spans = receiver.wait_for(lambda r: r.spans if len(r.spans) >= len(served) else None)
    parents = {span.attributes["open_webui.call.id"]: span for span in spans}
    made = [span for span in spans if "open_webui.call.parent_id" in span.attributes]
    assert len(made) == len(calls)
    for span in made:
        parent = parents[span.attributes["open_webui.call.parent_id"]]
        assert parent.attributes["gen_ai.provider.name"] == "open_webui.pipe"
        assert span.trace_id == parent.trace_id
    assert "that it does not know" not in server.log_text()
    assert "instrumentation failed" not in server.log_text()
