"""Whatever users, providers, pipes and tools write: it is exported, small, and costs nobody else."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.trace import Span

from opentelemetry.instrumentation.open_webui.answers import wires
from opentelemetry.instrumentation.open_webui.answers.billed import usd
from opentelemetry.instrumentation.open_webui.answers.fast_json import loads
from opentelemetry.instrumentation.open_webui.answers.reports import Total, UsageReports
from opentelemetry.instrumentation.open_webui.answers.stream import StreamReader, read_message
from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.bounds import MOST_GROUPS, MOST_REASONS, MOST_TOKENS
from opentelemetry.instrumentation.open_webui.calls import endpoints
from opentelemetry.instrumentation.open_webui.calls.turn import Turn
from opentelemetry.instrumentation.open_webui.host.groups import Groups
from opentelemetry.instrumentation.open_webui.host.identity import find_caller
from opentelemetry.instrumentation.open_webui.host.runtime import Runtime
from opentelemetry.instrumentation.open_webui.settings import Settings
from unit.sdk import OVERFLOW, Sdk, answer, asked, begun, caller_named, points, values

HUGE = "x" * 5_000_000
BROKEN = "gpt\ud800\0\n\u202e4"
TEXTS = [HUGE, BROKEN, BROKEN * 1000, "", "🦉" * 100_000]
NUMBERS = [
    2**53,
    2**63,
    2**64,
    10**400,
    -1,
    1e300,
    float("nan"),
    float("inf"),
    "x7",
    None,
    [1],
    True,
]
# One call with all its attributes as long as they may be; bytes.
MOST_PER_CALL = 200_000


def exported(sdk: Sdk) -> int:
    """Bytes of all that is exported; the encoder takes all of it."""
    sdk.telemetry.totals.release()
    data = sdk.reader.get_metrics_data()
    assert data is not None
    encoded = (
        encode_metrics(data),
        encode_spans(sdk.spans.get_finished_spans()),
        encode_logs(sdk.logs.get_finished_logs()),
    )
    return sum(len(message.SerializeToString()) for message in encoded)


def usage(value: Any) -> dict[str, Any]:
    details = {"cached_tokens": value, "reasoning_tokens": value}
    return {
        "prompt_tokens": value,
        "completion_tokens": value,
        "cost": value,
        "prompt_tokens_details": details,
        "completion_tokens_details": details,
    }


@pytest.mark.parametrize("written", TEXTS, ids=range(len(TEXTS)))
def test_texts(written: str) -> None:
    sdk = Sdk()
    call = begun(
        sdk.telemetry,
        asked(written, address=written),
        caller_named(
            user_name=written, chat_id=written, route=written, model_id=written, roles=("user",)
        ),
        (),
    )
    choices = [{"finish_reason": written}] * 1000
    message = {"id": written, "model": written, "service_tier": written, "choices": choices}
    call.read_message({**message, "error": {"code": written}, "usage": usage(3)})
    call.end()
    turn = sdk.telemetry.spans.start_turn(caller_named(model_id=written, chat_id=written))
    Turn(turn, frozenset(), None, lambda: None).in_chat(written)
    sdk.telemetry.spans.end_turn(turn, ())
    tool = sdk.telemetry.spans.start_tool(written, written, written, written)
    tool.end()
    assert exported(sdk) < MOST_PER_CALL
    assert len(sdk.spans.get_finished_spans()) == 3
    assert sum(values(sdk.reader.get_metrics_data(), "open_webui.usage.tokens").values()) == 6


def test_what_is_no_text_is_none_and_raises_nothing() -> None:
    sdk = Sdk()
    odd: list[Any] = [7, 10**5000, ["x"], {"x": 1}, True, 1.5]
    for value in odd:
        caller = find_caller(
            Settings(),
            request(metadata=value),
            SimpleNamespace(id=value, name=value, email=value, role=value),
            {"model": value, "metadata": {"chat_id": value, "task": value}},
        )
        assert (caller.chat_id, caller.model_id, caller.roles) == (None, None, ())
        assert caller.task == "unknown"
        sdk.telemetry.spans.start_tool(value, value, value, value).end()
    assert exported(sdk) < MOST_PER_CALL


def request(metadata: Any = None, **headers: str) -> Any:
    state = SimpleNamespace(auth_type="jwt", metadata=metadata)
    return SimpleNamespace(state=state, scope={"path": "/x"}, headers=headers)


def test_headers_and_names_that_cannot_be_parsed_lose_no_call() -> None:
    user = SimpleNamespace(id="u", name="n", email="a\ud800@b", role="user")
    settings = Settings(user_identity="hash", user_hash_salt="pepper")
    caller = find_caller(settings, request(referer="http://[", host="h"), user)
    assert caller.source == "api"
    assert len(caller.user_name or "") == 16


@pytest.mark.parametrize("value", NUMBERS, ids=str)
@pytest.mark.parametrize(
    "endpoint", [e for e in endpoints.ENDPOINTS if e.path in ("/chat/completions", "/api/chat")]
)
def test_numbers_of_tokens_and_money(endpoint: endpoints.Endpoint, value: Any) -> None:
    sdk = Sdk()
    call = begun(
        sdk.telemetry,
        asked(endpoint=endpoint),
        caller_named(),
        ("a",),
    )
    message = answer() if endpoint.path == "/chat/completions" else {"done": True}
    call.read_message(
        {**message, "usage": usage(value), "eval_count": value, "prompt_eval_count": value}
    )
    call.end()
    sdk.call(user="u2").end()
    exported(sdk)
    data = sdk.reader.get_metrics_data()
    assert values(data, "open_webui.usage.tokens").total() == 0
    charged = float(value) if value == "7" and endpoint.path == "/chat/completions" else 0
    assert values(data, "open_webui.usage.cost").total() == charged
    assert values(data, "open_webui.usage.requests").total() == 2


@pytest.mark.parametrize("value", NUMBERS, ids=str)
def test_other_numbers(value: Any) -> None:
    told = [
        read_message(wires.AUDIO, {"duration": value}).seconds,
        read_message(wires.AUDIO, {"durationMilliseconds": value}).seconds,
        read_message(wires.OCR, {"usage_info": {"pages_processed": value}}).pages,
        usd(str(value)) if isinstance(value, float) else None,
        asked(images=value).images,
    ]
    assert told == [None] * 5
    assert endpoints.IMAGES.images({"n": value}) is None


@pytest.mark.parametrize("n", ["²", "9" * 5000, "9" * 9, "-1", "1e3", ""])
def test_numbers_of_images_in_a_form(n: str) -> None:
    assert endpoints.IMAGES.images({"n": n}) is None


def test_reports_that_alternate_add_up_to_nothing_incredible() -> None:
    reports = UsageReports()
    for number in range(1000):
        reports.add(Usage(MOST_TOKENS - number % 2, 5 + number % 2), 0)
    # The text is far too short for the sum: the largest of them counts, and is in doubt.
    assert reports.total(4.0) == Total(Usage(MOST_TOKENS, 6), doubtful=True)
    assert reports.total(4000.0) == Total(Usage(MOST_TOKENS, 5500))


@pytest.mark.large
def test_finish_reasons_are_counted() -> None:
    reader = StreamReader(wires.OPENAI)
    line = b'data: {"choices":[{"finish_reason":"r%d","delta":{}}]}\n'
    for number in range(60_000):
        reader.feed(line % number)
    told = reader.finish().finish_reasons
    assert told == [*(f"r{n}" for n in range(MOST_REASONS)), f"…+{60_000 - MOST_REASONS}"]


def test_groups_are_bounded_in_length_and_number() -> None:
    async def lookup(users: Any) -> dict[str, list[Any]]:
        named = [HUGE, BROKEN, None, "a", "a", *(f"g{number:03}" for number in range(99))]
        return dict.fromkeys(users, named)

    groups = Groups(lookup, 30)
    asyncio.run(groups.refresh(["u"]))
    told = groups.of("u")
    assert told[-1] == "__other__"
    assert len(told) == MOST_GROUPS + 1
    sdk = Sdk()
    sdk.call(groups=told).end()
    assert exported(sdk) < MOST_PER_CALL
    assert values(sdk.reader.get_metrics_data(), "open_webui.group.requests").total() == len(told)


def others(sdk: Sdk, number: int) -> None:
    for user in ("alice", "bob"):
        call = sdk.call(user=user, model=f"m{number % 3}", groups=("team",))
        call.read_message(answer())
        call.end()


def of(data: Any, metric: str, key: str, value: str) -> Counter[str]:
    """The values of one user or group by requested model."""
    found: Counter[str] = Counter()
    for point in points(data, metric):
        if point.attributes.get(key) == value:
            found[point.attributes["gen_ai.request.model"]] += point.value
    return found


@pytest.mark.large
def test_a_thousand_models_of_one_user_cost_nobody_else() -> None:
    sdk = Sdk(series_limit=3_000)
    for number in range(1_500):
        call = sdk.call(user="mallory", model=f"r{number}", groups=("team", f"h{number % 50}"))
        call.read_message({**answer(), "model": f"a{number}"})
        call.end()
        if number % 100 == 0:
            others(sdk, number)
    exported(sdk)
    data = sdk.reader.get_metrics_data()
    for user in ("alice", "bob"):
        assert of(data, "open_webui.usage.requests", "user.id", user) == {"m0": 5, "m1": 5, "m2": 5}
    mallory = of(data, "open_webui.usage.requests", "user.id", "mallory")
    assert mallory.total() == 1_500
    assert mallory["__other__"] > 1_000
    assert values(data, "open_webui.usage.tokens").total() == 1_530 * 14
    assert of(data, "open_webui.group.requests", "open_webui.group.name", "team").total() == 1_530
    assert len(points(data, "open_webui.usage.requests")) < 500
    assert len(points(data, "open_webui.group.requests")) < 1_000
    assert len(points(data, "gen_ai.client.token.usage")) < 1_000
    for metric in ("gen_ai.client.operation.duration", "gen_ai.client.token.usage"):
        told = points(data, metric)
        assert not [point for point in told if OVERFLOW in point.attributes]
        assert {"m0", "m1", "m2"} <= {p.attributes["gen_ai.request.model"] for p in told}
    durations = points(data, "gen_ai.client.operation.duration")
    assert sum(point.count for point in durations) == 1_530


@pytest.mark.large
def test_models_and_errors_of_many_users_overflow_no_histogram() -> None:
    sdk = Sdk()
    for number in range(3_000):
        call = sdk.call(user=f"u{number}", model=f"r{number}", source=f"s{number % 3}")
        call.call.status = 400 + number % 200
        call.end()
    data = sdk.reader.get_metrics_data()
    told = points(data, "gen_ai.client.operation.duration")
    assert not [point for point in told if OVERFLOW in point.attributes]
    assert sum(point.count for point in told) == 3_000
    assert len(told) < 1_200


@pytest.mark.large
def test_agents_and_tools_of_many_users_overflow_no_histogram() -> None:
    sdk = Sdk()
    for number in range(3_000):
        turn = sdk.telemetry.spans.start_turn(caller_named(f"u{number}", model_id=f"r{number}"))
        sdk.telemetry.spans.end_turn(turn, ())
        sdk.telemetry.spans.start_tool(f"t{number}", None, f"r{number % 9}", None).end()
    data = sdk.reader.get_metrics_data()
    for metric in ("gen_ai.invoke_agent.duration", "gen_ai.execute_tool.duration"):
        told = points(data, metric)
        assert not [point for point in told if OVERFLOW in point.attributes]
        assert sum(point.count for point in told) == 3_000
        assert 100 < len(told) < 1_200


def test_half_an_emoji_is_read_as_any_other_text() -> None:
    body = json.dumps({"model": BROKEN, **{k: v for k, v in answer().items() if k != "model"}})
    read = read_message(wires.OPENAI, loads(body))
    assert read.model == "gpt\ufffd\ufffd\ufffd\ufffd4"
    assert read.total().usage == Usage(9, 5)


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "9" * 5000, b"\xff"])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever it says
        loads(text)


def test_spans_have_only_what_the_protocol_takes() -> None:
    sdk = Sdk()
    call = sdk.call(groups=("a",), chat_id=BROKEN)
    call.read_message(answer())
    call.end()
    span: Span
    for span in sdk.spans.get_finished_spans():
        for value in dict(span.attributes or {}).values():
            parts = value if isinstance(value, tuple) else (value,)
            assert all(isinstance(part, (str, bool, int, float)) for part in parts)


def test_no_path_takes_long_to_look_at() -> None:
    began = time.process_time()
    assert endpoints.find("/models" * 100_000 + "/a:b", {"model": "m"}) is endpoints.ANY
    assert endpoints.find("/x" * 100_000 + "/chat/completions", {}) is endpoints.CHAT
    assert time.process_time() - began < 1


def test_warnings_of_unknown_paths_are_short_and_few(caplog: pytest.LogCaptureFixture) -> None:
    anything: Any = None
    groups = Groups(anything, 30)
    runtime = Runtime(Settings(), anything, groups, anything, anything)
    for number in range(1000):
        runtime.unknown_caller("chat", f"/{number}/{HUGE[:5000]}\n")
    assert 0 < len(caplog.records) <= 100
    assert max(len(record.getMessage()) for record in caplog.records) < 1000
