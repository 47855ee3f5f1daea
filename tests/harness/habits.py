"""What the library learns from the first stream of each model, told to it beforehand."""

from __future__ import annotations

from harness.openwebui import OpenWebUI
from harness.provider import Provider
from harness.replies import SILENT
from opentelemetry.instrumentation.open_webui.calls.habits import Habits, key_of


def teach(server: OpenWebUI, provider: Provider) -> None:
    """Let the library know which of the provider's models do not report by themselves."""
    habits = Habits()
    for model in SILENT:
        key = key_of(f"{provider.openai_url}/chat/completions", model)
        habits.came_unasked(key, reported=False, nulls=False)
    habits.keep_in(server.data_dir)
    habits.sync()
