"""The net under the paths: with an entry taken away, its calls are still counted, as unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.paths import PATHS, environment
from e2e.servers import instrumented
from e2e.truth import Truth, assert_equal
from harness.openwebui import OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider

# Entries to take away, and rows of the table that lose theirs by it.
TAKEN = (
    "generate_chat_completion", "generate_completion", "embeddings", "responses", "proxy",
    "speech", "image_generations",
)  # fmt: skip
ROWS = (
    "pipelines-server-whole", "pipelines-server-stream", "chat-0-whole", "chat-0-stream",
    "generate-whole", "generate-stream", "responses-whole", "responses-stream",
    "proxied-embeddings", "embeddings-v1", "speech", "image",
)  # fmt: skip
# `opentelemetry-instrument` runs what is registered so before it instruments.
FORGETFUL = f"""
def forget():
    from opentelemetry.instrumentation.open_webui.host import surfaces

    kept = [target for target in surfaces.TARGETS if target.attribute not in {TAKEN!r}]
    surfaces.TARGETS = tuple(kept)
"""
ENTRY_POINT = "[opentelemetry_pre_instrument]\nforget = forgetful:forget\n"


@pytest.fixture
def server(provider: Provider, receiver: Receiver, tmp_path: Path) -> Iterator[OpenWebUI]:
    (tmp_path / "forgetful.py").write_text(FORGETFUL)
    metadata = tmp_path / "forgetful-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: forgetful\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINT)
    env = {**environment(provider), "PYTHONPATH": str(tmp_path)}
    with instrumented(provider, receiver, env) as server:
        server.ask("GET", "/api/models?refresh=true", user="admin")
        yield server


def test_a_call_on_a_path_that_we_do_not_know_counts_as_unknown(
    server: OpenWebUI, provider: Provider, receiver: Receiver
) -> None:
    rows = [path for path in PATHS if path.name in ROWS]
    assert len(rows) == len(ROWS)
    provider.clear()
    for path in (*rows, *rows):
        path.send(server)
    provider.wait_idle(0.5)
    served = provider.snapshot()
    # What nobody announced was picked by nobody.
    expected = {path.case: replace(path.expected, task="unknown", model_id=None) for path in rows}
    assert {call.case for call in served} == set(expected)
    assert_equal(receiver, Truth(server.world, served, expected))
    spans = receiver.wait_for(lambda r: r.spans if len(r.spans) >= len(served) else None)
    assert [span.attributes["open_webui.task"] for span in spans] == ["unknown"] * len(served)
    warnings = [line for line in server.log_text().splitlines() if "that it does not know" in line]
    assert len(warnings) == len({path.route for path in rows})
