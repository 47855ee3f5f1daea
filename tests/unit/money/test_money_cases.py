"""What providers answered when the money was wrong in public: right to the last digit."""

from __future__ import annotations

import pytest

from harness.cases import FOLDER, ProviderCase, load, text_of
from opentelemetry.instrumentation.open_webui.calls import endpoints
from opentelemetry.instrumentation.open_webui.calls.call import ModelCall
from opentelemetry.instrumentation.open_webui.calls.passage import Passage
from unit.sdk import Sdk, asked, begun

ENDPOINTS = {
    "/api/chat/completions": "/chat/completions",
    "/api/v1/messages": "/messages",
    "/api/v1/audio/transcriptions": "/audio/transcriptions",
}
# What `expect` leaves to the list: 100 x 2.5 + 900 x 32 + 100 x 10 + 400 x 64, for a million each.
COSTS = {"litellm-6302": 0.05565}
CASES = (
    "forgecode-1641",
    "litellm-6302",
    "aisix-868",
    "pi-5738",
    "sub2api-5771",
    "litellm-28024",
    "litellm-11364",
    "cliproxy-1643",
    "owui-23556",
)


def ended(case: ProviderCase) -> ModelCall:
    [sent, *_] = case.send
    body = sent.get("body", {})
    path = ENDPOINTS[sent["path"]]
    [endpoint] = [one for one in endpoints.ENDPOINTS if one.path == path]
    call = begun(
        Sdk().telemetry,
        asked(
            body.get("model", "whisper-1"),
            endpoint=endpoint,
            stream=bool(body.get("stream")),
            provider="anthropic" if path == "/messages" else "openai",
            url=f"http://proxy:4000/v1{path}",
        ),
    )
    given = case.answer(str(body.get("model", "")), asked=True)
    call.answered(given["status"], given["headers"])
    passage = Passage(call)
    for piece in given["pieces"]:
        passage.piece(text_of(piece).encode())
    passage.end()
    return call.call


@pytest.mark.parametrize("name", CASES)
def test_the_cost_is_right(name: str) -> None:
    case = load(name)
    call = ended(case)
    assert call.cost is not None
    assert call.cost.usd == pytest.approx(COSTS.get(name, case.expect.get("cost")), abs=1e-12)


def test_all_cases_with_a_cost_are_here() -> None:
    costly = {path.stem for path in FOLDER.glob("*.json") if load(path.stem).expect.get("cost")}
    assert costly | set(COSTS) == set(CASES)
