"""What Open WebUI puts before the names of models of some connections."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.host import compat
from opentelemetry.instrumentation.open_webui.host.connections import Connections

CONFIGS: dict[str, Any] = {
    "openai.api_configs": {"0": {"enable": True}, "1": {"prefix_id": "p"}, "2": "odd"},
    "ollama.api_configs": {"http://ollama": {"prefix_id": "o.p"}, "1": {"prefix_id": ""}},
}


async def known(*names: str) -> dict[str, Any]:
    return {name: CONFIGS[name] for name in names}


async def no_addresses() -> list[tuple[str, str]]:
    return []


@pytest.mark.parametrize("since", [(0, 12), (0, 8)])
def test_prefixes_are_read_off_the_configuration(
    monkeypatch: pytest.MonkeyPatch, since: tuple[int, ...]
) -> None:
    if since >= (0, 11):
        module: Any = SimpleNamespace(Config=SimpleNamespace(get_many=known))
        monkeypatch.setitem(sys.modules, "open_webui.models.config", module)
    else:
        named = {compat._API_CONFIGS[key]: value for key, value in CONFIGS.items()}
        state = SimpleNamespace(config=SimpleNamespace(**named))
        main: Any = SimpleNamespace(app=SimpleNamespace(state=state))
        monkeypatch.setitem(sys.modules, "open_webui.main", main)
    connections = Connections(no_addresses, compat.prefixes)
    assert connections.without_prefix("p.gpt") == ()
    asyncio.run(connections.load())
    assert connections.without_prefix("p.gpt") == ("gpt",)
    assert connections.without_prefix("o.p.llama") == ("llama",)
    assert connections.without_prefix("pgpt") == connections.without_prefix("gpt") == ()


def test_they_are_read_anew_when_they_are_old() -> None:
    now, found = [0.0], ["p"]

    async def prefixes() -> list[str]:
        return found

    async def used() -> None:
        connections = Connections(no_addresses, prefixes, lambda: now[0])
        await connections.load()
        found[:] = ["q"]
        for _ in range(2):
            assert connections.without_prefix("q.gpt") == ()
            await asyncio.sleep(0)
        now[0] += 31
        assert connections.without_prefix("q.gpt") == ()
        while not connections.without_prefix("q.gpt"):
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(used(), 10))


def test_addresses_are_known_without_prefixes() -> None:
    async def addresses() -> list[tuple[str, str]]:
        return [("openai.api_base_urls", "https://a.example/v1")]

    async def away() -> list[str]:
        raise LookupError

    connections = Connections(addresses, away)
    asyncio.run(connections.load())
    assert connections.has("https://a.example/v1/chat/completions")


@pytest.mark.parametrize("odd", [None, [], "odd"])
def test_a_configuration_that_is_odd_has_none(monkeypatch: pytest.MonkeyPatch, odd: object) -> None:
    async def get_many(*names: str) -> dict[str, Any]:
        return dict.fromkeys(names, odd)

    module: Any = SimpleNamespace(Config=SimpleNamespace(get_many=get_many))
    monkeypatch.setitem(sys.modules, "open_webui.models.config", module)
    assert asyncio.run(compat.prefixes()) == []
