"""Costs: equal to what they are by hand, from the provider's log and the price sheet below."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import pytest

from e2e.paths import Path, chat, environment, given_input, text
from e2e.servers import PREFIX, instrumented
from harness.openwebui import OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider, ServedCall

PRICES = """\
currency: USD
prices:
  - model: gpt-mini
    input_per_million: 0.50
    cache_read_per_million: 0.10
    output_per_million: 1.50
  - model: llama-*
    provider: ollama
    input_per_million: 1
    output_per_million: 2
  - model: helpdesk
    per_request: 0.02
  - model: tts-std
    per_character: 0.000015
  - model: whisper-std
    per_second: 0.0001
  - model: gpt-image-std
    per_image: 0.04
  - model: embed-std
    input_per_million: 0.02
"""
AUDIO = {"file": ("a.wav", b"RIFF case=heard " + bytes(64), "audio/wav")}
ROWS = [
    *(chat(f"mini-{user}", "gpt-mini", user=user) for user in ("alice", "bob", "carol", "dora")),
    chat("mini-stream", "gpt-mini", fields={"stream": True}),
    chat("desk", "helpdesk", user="bob"),
    chat("desk-stream", "helpdesk", fields={"stream": True}),
    chat("local", "llama-std"),
    chat("local-raw", "llama-std", route="/ollama/api/chat", user="dora"),
    chat("listed", "gpt-4o"),
    chat("listed-stream", "gpt-4o", user="carol", fields={"stream": True}),
    chat("router", "router-std"),
    chat("router-stream", "router-std", fields={"stream": True}),
    chat("litellm", "litellm-std", user="dora"),
    # The head of a stream cannot say what it will have cost.
    chat("litellm-stream", "litellm-std", fields={"stream": True}),
    chat("unpriced", "gpt-std"),
    chat("unpriced-stream", "gpt-std", user="bob", fields={"stream": True}),
    chat("failed", "gpt-429", status=429),
    given_input("embedded", "/api/v1/embeddings", "embed-std"),
    Path("spoken", "/api/v1/audio/speech", {"input": text("spoken"), "voice": "v"}),
    Path("heard", "/api/v1/audio/transcriptions", files=AUDIO),
    Path("drawn", "/api/v1/images/generations", {"prompt": text("drawn"), "n": 2}),
]


def by_hand(call: ServedCall) -> float | None:
    """What a call costs; ``None`` if nobody can know."""
    given, made = call.input_tokens or 0, call.output_tokens or 0
    cached = call.cached_tokens or 0
    if call.case.startswith("desk"):
        return 0.02
    prices = {
        "gpt-mini": ((given - cached) * 0.50 + cached * 0.10 + made * 1.50) / 1e6,
        "llama-std": (given + 2 * made) / 1e6,
        "gpt-4o": ((given - cached) * 2.50 + cached * 1.25 + made * 10.00) / 1e6,
        "embed-std": given * 0.02 / 1e6,
        "tts-std": (call.characters or 0) * 0.000015,
        "whisper-std": (call.seconds or 0) * 0.0001,
        "gpt-image-std": (call.images or 0) * 0.04,
    }
    return prices.get(call.model, call.charged)


@dataclass
class Served:
    server: OpenWebUI
    calls: list[ServedCall]
    prices: File


@pytest.fixture(scope="module")
def served(
    provider: Provider, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    prices = tmp_path_factory.mktemp("prices") / "prices.yaml"
    prices.write_text(PRICES)
    env = {**environment(provider), f"{PREFIX}PRICE_FILE": str(prices)}
    with instrumented(provider, receiver, env) as server:
        for path in (*ROWS, *ROWS):
            path.send(server)
        provider.wait_idle(0.5)
        yield Served(server, provider.snapshot(), prices)


def costs_by_hand(served: Served) -> tuple[Counter[Any], Counter[Any], Counter[Any]]:
    """By user and model, by group and model; and the calls without a price."""
    of_users, of_groups, unpriced = Counter[Any](), Counter[Any](), Counter[Any]()
    for call in served.calls:
        world = served.server.world
        # Engines are not told who asks; it was Alice.
        user = world.users.get(call.user_id) or (
            world.user_with_id(call.user_id) if call.user_id else world.user("alice")
        )
        usd = by_hand(call)
        if call.status >= 400:
            continue
        if usd is None:
            unpriced[user.name, call.model] += 1
            continue
        of_users[user.name, call.model] += usd
        for group in user.groups or ("(none)",):
            of_groups[group, call.model] += usd
    return of_users, of_groups, unpriced


def told(receiver: Receiver, metric: str, who: str) -> dict[Any, float]:
    found = Counter[Any]()
    for tags, amount in receiver.increase(metric).items():
        known = dict(tags)
        found[known[who], known["gen_ai.request.model"]] += amount
    return dict(found)


def test_costs_equal_what_they_are_by_hand(served: Served, receiver: Receiver) -> None:
    of_users, of_groups, unpriced = costs_by_hand(served)
    assert {call.case for call in served.calls} == {path.case for path in ROWS}
    assert {model for _, model in unpriced} == {"gpt-std", "litellm-std"}
    for metric, who, expected in (
        ("open_webui.usage.cost", "user.name", of_users),
        ("open_webui.group.cost", "open_webui.group.name", of_groups),
        ("open_webui.usage.unpriced_requests", "user.name", unpriced),
    ):
        wanted = pytest.approx(dict(expected), abs=1e-9)
        receiver.wait_for(lambda r, m=metric, w=who, e=wanted: told(r, m, w) == e)
    users = sum(receiver.increase("open_webui.usage.cost").values())
    assert users == pytest.approx(sum(of_users.values()), abs=1e-9)


def test_each_event_says_what_its_call_cost_and_who_says_so(
    served: Served, receiver: Receiver
) -> None:
    events = receiver.wait_for(lambda r: r.events if len(r.events) >= len(served.calls) else None)
    sources: dict[str, set[Any]] = {}
    for event in events:
        name = event.attributes["gen_ai.request.model"]
        if event.attributes["open_webui.model.id"] == "helpdesk":
            name = "helpdesk"
        sources.setdefault(name, set()).add(event.attributes.get("open_webui.cost.source"))
    others = {
        "gpt-4o": {"genai_prices"},
        "router-std": {"provider"},
        "litellm-std": {"provider", None},
        "gpt-std": {None},
        "gpt-429": {None},
    }
    assert {model: sources.pop(model) for model in others} == others
    assert set(sources) == {"helpdesk", *re.findall(r"model: ([\w-]+)\n", PRICES), "llama-std"}
    assert all(found == {"price_file"} for found in sources.values())
    told = {event.span_id for event in events}
    receiver.wait_for(lambda r: told <= {span.span_id for span in r.spans})
    spans = {span.span_id: span for span in receiver.spans}
    costs = sorted(
        event.attributes["open_webui.usage.cost"]
        for event in events
        if "open_webui.usage.cost" in event.attributes
    )
    expected = [by_hand(call) for call in served.calls if call.status < 400]
    assert costs == pytest.approx(sorted(usd for usd in expected if usd is not None), abs=1e-9)
    for event in events:
        assert spans[event.span_id].attributes.get("open_webui.usage.cost") == (
            event.attributes.get("open_webui.usage.cost")
        )


def test_a_new_price_counts_without_a_restart_and_a_bad_file_changes_nothing(
    served: Served, receiver: Receiver
) -> None:
    def cost_of_one_call(case: str) -> float:
        before = len(receiver.events)
        served.server.chat("alice", "helpdesk", f"case={case}")
        [event] = receiver.wait_for(lambda r: r.events[before:])
        return float(event.attributes["open_webui.usage.cost"])

    served.prices.write_text(PRICES.replace("per_request: 0.02", "per_request: 0.03"))
    deadline = time.monotonic() + 30
    while cost_of_one_call("repriced") != 0.03:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    served.prices.write_text(PRICES.replace("per_request: 0.02", "per_request: -1"))
    problem = "prices.yaml, line 12: per_request is '-1'"
    while problem not in served.server.log_text():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert cost_of_one_call("kept") == 0.03


def test_what_is_estimated_is_marked_and_priced(served: Served, receiver: Receiver) -> None:
    before = len(receiver.events)
    served.server.chat("alice", "llama-nousage", "case=guessed tell me something")
    [event] = receiver.wait_for(lambda r: r.events[before:])
    known = event.attributes
    assert known["open_webui.usage.estimated"] is True
    given, made = known["gen_ai.usage.input_tokens"], known["gen_ai.usage.output_tokens"]
    assert given > 0
    assert made > 0
    assert known["open_webui.usage.cost"] == pytest.approx((given + 2 * made) / 1e6, abs=1e-12)
    marked = ("open_webui.usage.estimated", True)
    receiver.wait_for(
        lambda r: (
            sum(a for tags, a in r.increase("open_webui.usage.tokens").items() if marked in tags)
            == given + made
        )
    )
