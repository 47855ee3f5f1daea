from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.answers.estimates import Text
from opentelemetry.instrumentation.open_webui.answers.fast_json import Message
from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.calls import endpoints
from opentelemetry.instrumentation.open_webui.calls.call import Asked, ModelCall
from opentelemetry.instrumentation.open_webui.money.price_file import PriceFile
from opentelemetry.instrumentation.open_webui.money.pricing import Cost
from unit.sdk import Sdk, accountant, answer, asked, begun, values

PROMPT = Text(400, "word", 1)
GIVEN = 104
SAID = {"choices": [{"finish_reason": "stop", "message": {"content": "x" * 40}}], "model": "m-1"}


def ended(
    message: Message | None = None,
    error: str | None = None,
    *,
    status: int = 200,
    estimates: bool = True,
    sdk: Sdk | None = None,
    headers: dict[str, str] | None = None,
    file: PriceFile | None = None,
    **more: Any,
) -> ModelCall:
    what: Asked = asked(**{"prompt": lambda: PROMPT, **more})
    call = begun(
        (sdk or Sdk()).telemetry,
        what,
        groups=("a", "b"),
        settled_by=accountant(estimates=estimates, file=file),
    )
    call.answered(status, headers or {})
    if message is not None:
        call.read_message(message)
    call.end(error)
    return call.call


def test_what_is_reported_is_not_estimated() -> None:
    call = ended(answer(9, 5))
    assert (call.usage, call.estimated) == (Usage(9, 5), Usage())


def test_a_prompt_whose_tokens_are_reported_is_not_measured() -> None:
    assert ended(answer(9, 5), prompt=lambda: pytest.fail("measured")).usage == Usage(9, 5)


def test_what_nobody_reported_is_estimated() -> None:
    call = ended(SAID)
    assert call.usage == call.estimated == Usage(GIVEN, 10)


@pytest.mark.parametrize(
    ("usage", "total", "estimated"),
    [
        ({"completion_tokens": 5}, Usage(GIVEN, 5), Usage(GIVEN)),
        ({"prompt_tokens": 9}, Usage(9, 10), Usage(output=10)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(GIVEN, 10), Usage(GIVEN, 10)),
        ({"prompt_tokens": 9, "total_tokens": 14}, Usage(9, 5), Usage()),
        ({"completion_tokens": 5, "total_tokens": 14}, Usage(9, 5), Usage()),
    ],
)
def test_half_a_report_is_half_an_estimate(
    usage: dict[str, int], total: Usage, estimated: Usage
) -> None:
    call = ended({**SAID, "usage": usage})
    assert (call.usage, call.estimated) == (total, estimated)


@pytest.mark.parametrize(
    ("message", "error", "options"),
    [
        (None, "500", {"status": 500}),
        (SAID, None, {"status": 429}),
        ({"error": {"code": "overloaded"}}, None, {}),
        (SAID, None, {"estimates": False}),
        (SAID, None, {"endpoint": endpoints.RERANK}),
    ],
)
def test_what_is_not_estimated(
    message: Message | None, error: str | None, options: dict[str, Any]
) -> None:
    assert ended(message, error, **options).usage == Usage()


def test_embeddings_say_nothing() -> None:
    [embeddings] = [e for e in endpoints.ENDPOINTS if e.path == "/embeddings"]
    call = ended({"data": [{"embedding": [0.5]}]}, endpoint=embeddings)
    assert call.usage == Usage(GIVEN)


def test_an_aborted_stream_used_what_it_had_streamed() -> None:
    call = begun(
        Sdk().telemetry,
        asked(stream=True, prompt=lambda: PROMPT),
        settled_by=accountant(estimates=True),
    )
    call.answered(200, {})
    read = call.begin_answer(b"data:")
    for _ in range(100):
        read(b'data: {"choices":[{"delta":{"content":"word"},"finish_reason":null}]}\n')
    call.end("cancelled")
    assert call.call.usage == call.call.estimated == Usage(GIVEN, 100)


def test_what_was_given_up_before_it_was_answered_was_read() -> None:
    call = ended(None, "cancelled")
    assert call.usage == call.estimated
    assert (call.usage.input, call.usage.output or 0) == (GIVEN, 0)
    assert ended(None, "cancelled", status=429).usage == Usage()


def test_an_aborted_stream_of_anthropic_knows_its_input() -> None:
    [messages] = [e for e in endpoints.ENDPOINTS if e.path == "/messages"]
    call = begun(
        Sdk().telemetry,
        asked(stream=True, prompt=lambda: PROMPT, endpoint=messages),
        settled_by=accountant(estimates=True),
    )
    read = call.begin_answer(b"data:")
    usage = b'{"input_tokens":7,"cache_read_input_tokens":2,"output_tokens":1}'
    read(b'data: {"type":"message_start","message":{"model":"claude","usage":%b}}\n\n' % usage)
    for _ in range(50):
        read(b'data: {"type":"content_block_delta","delta":{"text":"12345678"}}\n\n')
    call.end("cancelled")
    assert call.call.usage == Usage(9, 100, cache_read=2)
    assert call.call.estimated == Usage(output=100)


def test_a_head_of_the_answer_may_tell_the_charge_but_not_of_a_stream() -> None:
    headers = {"x-litellm-response-cost": "0.25"}
    call = ended(answer(), headers=headers)
    assert call.cost is not None
    assert (call.cost.usd, call.cost.source) == (0.25, "provider")
    streamed = ended(answer(), headers=headers, stream=True)
    assert (streamed.cost, streamed.unpriced) == (None, True)
    for nonsense in ("", "None", "nan", "-1", "1e99"):
        assert ended(answer(), headers={"x-litellm-response-cost": nonsense}).unpriced


@pytest.mark.parametrize("cost", [0.5, {"total_cost": 0.5, "input_tokens_cost": 0.1}])
def test_the_usage_may_tell_the_charge(cost: object) -> None:
    call = ended(answer(cost=cost), headers={"x-litellm-response-cost": "9"})
    assert call.cost is not None
    assert (call.cost.usd, call.cost.source) == (0.5, "provider")


def direct(name: str = "gpt-4o", **more: Any) -> ModelCall:
    return ended(answer(cost=9e11, is_byok=False), model=name, provider="open_webui.direct", **more)


def test_what_a_users_own_browser_answers_is_no_cost_and_misses_no_price(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("prices: [{model: gpt*, provider: open_webui.direct, per_request: 0.5}]")
    file = PriceFile(str(path))
    file.load()
    sdk = Sdk()
    assert (direct(sdk=sdk).cost, direct(sdk=sdk).unpriced) == (None, False)
    assert direct(sdk=sdk, file=file).cost == Cost(0.5, "price_file")
    assert direct("other", sdk=sdk, file=file).cost is None
    sdk.telemetry.totals.release()
    data = sdk.reader.get_metrics_data()
    assert list(values(data, "open_webui.group.cost").values()) == [0.5, 0.5]
    assert not values(data, "open_webui.usage.unpriced_requests")


def test_a_function_s_word_on_money_is_not_taken() -> None:
    pipe = ended(answer(cost=0.5), model="pipe", provider="open_webui.pipe")
    assert (pipe.cost, pipe.unpriced) == (None, True)


def test_money_is_told_everywhere() -> None:
    sdk = Sdk()
    ended(answer(cost=0.5), sdk=sdk)
    ended(answer(cost=0.25), sdk=sdk)
    ended(answer(), sdk=sdk)
    ended(None, "500", status=500, sdk=sdk)
    sdk.telemetry.totals.release()
    data = sdk.reader.get_metrics_data()
    assert list(values(data, "open_webui.usage.cost").values()) == [0.75]
    assert list(values(data, "open_webui.group.cost").values()) == [0.75, 0.75]
    assert list(values(data, "open_webui.usage.unpriced_requests").values()) == [1]
    first, second, unpriced, failed = sdk.events
    assert (first["open_webui.usage.cost"], second["open_webui.usage.cost"]) == (0.5, 0.25)
    assert first["open_webui.cost.source"] == "provider"
    assert not {"open_webui.usage.cost", "open_webui.cost.source"} & (set(unpriced) | set(failed))
    spans = sdk.spans.get_finished_spans()
    assert [(span.attributes or {}).get("open_webui.usage.cost") for span in spans] == [
        0.5, 0.25, None, None,
    ]  # fmt: skip


def test_estimates_are_told_apart_and_are_in_no_histogram() -> None:
    sdk = Sdk()
    ended(SAID, sdk=sdk)
    ended(answer(9, 5), sdk=sdk)
    sdk.telemetry.totals.release()
    data = sdk.reader.get_metrics_data()
    for metric, times in (("open_webui.usage.tokens", 1), ("open_webui.group.tokens", 2)):
        found = Counter(
            (dict(tags)["gen_ai.token.type"], dict(tags).get("open_webui.usage.estimated"), amount)
            for tags, amount in values(data, metric).items()
        )
        told = [
            ("input", None, 9),
            ("input", True, GIVEN),
            ("output", None, 5),
            ("output", True, 10),
        ]
        assert found == Counter(told * times)
    points = [
        point
        for scope in data.resource_metrics[0].scope_metrics
        for metric in scope.metrics
        if metric.name == "gen_ai.client.token.usage"
        for point in metric.data.data_points
    ]
    assert sorted(point.sum for point in points) == [5, 9]
    first, second = sdk.events
    assert first["open_webui.usage.estimated"] is True
    assert first["gen_ai.usage.input_tokens"] == GIVEN
    assert "open_webui.usage.estimated" not in second
