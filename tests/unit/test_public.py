"""The public interface: what people and programs use by name does not move."""

from __future__ import annotations

from dataclasses import fields
from importlib.metadata import entry_points

import pytest

import opentelemetry.instrumentation.open_webui as package
from opentelemetry.instrumentation.open_webui.settings import PREFIX, Settings

SETTINGS = {
    "announce_seconds", "ask_usage", "estimate_usage", "groups_cache_seconds", "idle_seconds",
    "inherited_groups", "leaderboard", "ledger", "ledger_days", "limits", "limits_fail", "limits_file",
    "load_others", "price_file", "screens",
    "semconv_stability_opt_in", "series_limit", "shutdown_seconds", "user_hash_salt",
    "user_identity",
}  # fmt: skip
ENTRY_POINTS = [
    ("opentelemetry_instrumentor", "open_webui", "OpenWebUIInstrumentor"),
    ("opentelemetry_distro", "open_webui", "distro"),
    ("opentelemetry_configurator", "open_webui", "OpenWebUIConfigurator"),
    ("console_scripts", "opentelemetry-open-webui", "main"),
]


def test_what_is_imported_by_name() -> None:
    assert package.__all__ == ["OpenWebUIInstrumentor", "SettingError", "__version__"]
    assert all(hasattr(package, name) for name in package.__all__)


def test_settings_and_their_prefix() -> None:
    assert PREFIX == "OTEL_PYTHON_OPEN_WEBUI_"
    assert {item.name for item in fields(Settings)} == SETTINGS


@pytest.mark.parametrize(("group", "name", "what"), ENTRY_POINTS)
def test_entry_points(group: str, name: str, what: str) -> None:
    [found] = [one for one in entry_points(group=group) if one.name == name]
    assert found.attr == what
    assert callable(found.load())
