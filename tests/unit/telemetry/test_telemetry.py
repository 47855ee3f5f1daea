from __future__ import annotations

import inspect
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import View
from opentelemetry.trace import SpanKind, StatusCode

from opentelemetry.instrumentation.open_webui import names
from opentelemetry.instrumentation.open_webui.money.price_file import PriceFile
from opentelemetry.instrumentation.open_webui.telemetry import exporting
from opentelemetry.instrumentation.open_webui.telemetry.readers import hold_seconds, shard_size
from unit.sdk import OVERFLOW, Sdk, answer, points, values

USERS, MODELS, SOURCES = 1000, 5, ("ui", "api")
CACHED = {
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def test_one_call_becomes_a_span_an_event_and_accounts() -> None:
    sdk = Sdk()
    call = sdk.call(groups=("a", "b"), model="base", model_id="desk", chat_id="c")
    call.read_message(answer(**CACHED))
    call.call.status = 200
    call.end()
    [span] = sdk.spans.get_finished_spans()
    assert (span.name, span.kind) == ("chat base", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "base",
        "server.address": "provider.example",
        "server.port": 443,
        "open_webui.user.groups": ("a", "b"),
        "open_webui.task": "chat",
        "open_webui.call.id": call.call.id,
        "user.id": "u1",
        "user.name": "User u1",
        "user.roles": ("user",),
        "open_webui.source": "api",
        "open_webui.auth": "api_key",
        "open_webui.model.id": "desk",
        "gen_ai.conversation.id": "c",
        "http.route": "/api/chat/completions",
        "gen_ai.response.model": "m-1",
        "gen_ai.response.id": "c1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 2,
    }
    [event] = sdk.events
    assert set(event) - set(span.attributes or {}) == {
        "open_webui.call.duration",
        "open_webui.call.status",
    }
    [log] = sdk.logs.get_finished_logs()
    assert log.log_record.event_name == "open_webui.usage"
    assert log.log_record.span_id == span.context.span_id
    sdk.telemetry.totals.release()
    data = sdk.reader.get_metrics_data()
    groups = {
        p.attributes["open_webui.group.name"]: p.value
        for p in points(data, "open_webui.group.requests")
    }
    assert groups == {"a": 1, "b": 1}
    details = {
        p.attributes["open_webui.token.detail"]: p.value
        for p in points(data, "open_webui.usage.token_details")
    }
    assert details == {"cache_read": 4, "reasoning": 2}
    assert len(points(data, "open_webui.user.group")) == 2
    for metric in (names.DURATION, names.TOKEN_USAGE):
        for point in points(data, metric.name):
            assert not {"user.id", "user.name", "open_webui.group.name"} & set(point.attributes)
            assert point.explicit_bounds == metric.buckets
            assert point.exemplars[0].span_id == span.context.span_id


def test_a_failed_call_says_so_everywhere() -> None:
    sdk = Sdk()
    call = sdk.call()
    call.call.status = 429
    call.end()
    [span] = sdk.spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "429"
    assert "open_webui.usage.estimated" not in span.attributes
    assert sdk.events[0]["open_webui.call.status"] == "error"
    sdk.telemetry.totals.release()
    data = sdk.reader.get_metrics_data()
    [point] = points(data, "open_webui.usage.requests")
    assert point.attributes["error.type"] == "429"
    assert points(data, "open_webui.usage.tokens") == []


def test_a_process_says_that_it_is_there_before_its_first_call() -> None:
    [point] = points(Sdk().reader.get_metrics_data(), "open_webui.instrumentation.active")
    assert (point.value, dict(point.attributes)) == (1, {})


def test_when_the_prices_in_force_were_changed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    name = "open_webui.price_file.modified"

    def told(at: int, text: str) -> list[float]:
        path.write_text(text)
        os.utime(path, (at, at))
        file.refresh()
        return [point.value for point in points(sdk.reader.get_metrics_data(), name)]

    file = PriceFile(str(path))
    sdk = Sdk(price_file_of=file)
    assert points(sdk.reader.get_metrics_data(), name) == []
    good = "currency: USD\nprices: [{model: m, per_request: 1}]\n"
    assert told(1_700_000_000, good) == [1_700_000_000]
    # Bad prices are not in force.
    assert told(1_700_000_100, "prices: 7") == [1_700_000_000]
    assert told(1_700_000_200, good) == [1_700_000_200]
    assert points(Sdk().reader.get_metrics_data(), name) == []


def test_when_each_user_was_last_seen_is_told() -> None:
    sdk = Sdk()
    sdk.call(user="u1").end()
    first = time.time()
    sdk.call(user="u2").end()
    sdk.call(user="u1", user_name="New Name").end()
    seen = {
        (p.attributes["user.id"], p.attributes["user.name"]): p.value
        for p in points(sdk.reader.get_metrics_data(), "open_webui.user.last_seen")
    }
    assert set(seen) == {("u1", "User u1"), ("u1", "New Name"), ("u2", "User u2")}
    assert seen["u1", "User u1"] <= first <= seen["u2", "User u2"] <= seen["u1", "New Name"]
    assert seen["u1", "New Name"] <= time.time()


def test_those_beyond_the_limit_are_seen_together() -> None:
    sdk = Sdk(series_limit=100)
    for user in range(150):
        sdk.call(user=f"u{user}").end()
    seen = values(sdk.reader.get_metrics_data(), "open_webui.user.last_seen")
    apart = [dict(tags)["user.id"] for tags in seen if dict(tags)["user.id"] != "__other__"]
    assert len(apart) + 1 == len(seen)
    assert sorted(apart) == sorted(f"u{user}" for user in range(len(apart)))
    assert 0 < len(apart) < 150


@pytest.mark.parametrize("identity", ["none", "name"])
def test_users_are_shown_as_wanted(identity: str) -> None:
    sdk = Sdk()
    name = None if identity == "none" else "Ada"
    sdk.call(user_name=name).end()
    sdk.telemetry.totals.release()
    [point] = points(sdk.reader.get_metrics_data(), "open_webui.usage.requests")
    assert point.attributes.get("user.name") == name
    assert sdk.events[0].get("user.name") == name


def many(sdk: Sdk) -> Counter[Any]:
    expected: Counter[Any] = Counter()
    tags = {
        "gen_ai.provider.name": "openai",
        "open_webui.task": "chat",
        "gen_ai.operation.name": "chat",
    }
    for user in range(USERS):
        for model in range(MODELS):
            for source in SOURCES:
                call = sdk.call(user=f"u{user}", model=f"m{model}", source=source, groups=("a",))
                call.read_message(answer(given=user + 9, made=model + 9, **CACHED))
                call.end()
                own = {
                    "user.id": f"u{user}",
                    "user.name": f"User u{user}",
                    "gen_ai.request.model": f"m{model}",
                }
                own |= {"open_webui.model.id": f"m{model}", "open_webui.source": source, **tags}
                expected[frozenset({**own, "gen_ai.token.type": "input"}.items())] = user + 9
                expected[frozenset({**own, "gen_ai.token.type": "output"}.items())] = model + 9
    return expected


def silent(sdk: Sdk) -> Sdk:
    """Without spans and events, which are not what is looked at."""
    sdk.spans.shutdown()
    sdk.logs.shutdown()
    return sdk


@pytest.mark.large
def test_1000_users_with_5_models_and_2_sources_are_exact() -> None:
    sdk = silent(Sdk())
    expected = many(sdk)
    assert set(values(sdk.reader.get_metrics_data(), "open_webui.usage.tokens").values()) == {0}
    sdk.telemetry.totals.release()
    data = sdk.reader.get_metrics_data()
    assert values(data, "open_webui.usage.tokens") == expected
    assert sum(values(data, "open_webui.usage.requests").values()) == USERS * MODELS * len(SOURCES)
    assert not [p for p in points(data, "open_webui.usage.requests") if OVERFLOW in p.attributes]
    assert len(points(data, "open_webui.user.group")) == USERS


def test_the_limit_of_a_view_folds_nothing() -> None:
    # Older SDKs have no such limit, and then there is nothing to fold either.
    known = inspect.signature(View).parameters
    limit = {"aggregation_cardinality_limit": 50}
    view = View(instrument_type=ObservableCounter, **{k: v for k, v in limit.items() if k in known})
    sdk = Sdk(views=[view])
    for user in range(200):
        sdk.call(user=f"u{user}").end()
    sdk.telemetry.totals.release()
    data = sdk.reader.get_metrics_data()
    assert len(values(data, "open_webui.usage.requests")) == 200
    assert not [p for p in points(data, "open_webui.usage.requests") if OVERFLOW in p.attributes]


def test_the_series_limit_folds_users_and_keeps_totals() -> None:
    sdk = Sdk(series_limit=100)
    for user in range(80):
        call = sdk.call(user=f"u{user}", source="ui")
        call.read_message(answer())
        call.end()
    sdk.telemetry.totals.release()
    requests = points(sdk.reader.get_metrics_data(), "open_webui.usage.requests")
    assert sum(point.value for point in requests) == 80
    [folded] = [p for p in requests if p.attributes["user.id"] == "__other__"]
    assert folded.value == 80 - (len(requests) - 1) > 0
    assert folded.attributes["gen_ai.request.model"] == "m"
    assert folded.attributes["open_webui.source"] == "ui"
    assert folded.attributes["user.name"] == "__other__"


class Kept(MetricExporter):
    """An exporter that keeps the values it gets, in order."""

    def __init__(self, temporality: AggregationTemporality) -> None:
        super().__init__(preferred_temporality={ObservableCounter: temporality})
        self.values: list[float] = []

    def export(
        self, metrics_data: Any, timeout_millis: float = 10_000, **_: Any
    ) -> MetricExportResult:
        self.values += [p.value for p in points(metrics_data, "open_webui.usage.requests")]
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        pass


@pytest.mark.parametrize("temporality", list(AggregationTemporality)[1:])
def test_two_readers_of_different_intervals_see_a_series_begin_at_zero(
    temporality: AggregationTemporality,
) -> None:
    quick, slow = Kept(temporality), Kept(temporality)
    sdk = Sdk(
        [
            PeriodicExportingMetricReader(quick, export_interval_millis=50),
            PeriodicExportingMetricReader(slow, export_interval_millis=300),
        ]
    )
    for _ in range(3):
        sdk.call().end()
    time.sleep(1.2)
    sdk.call().end()
    sdk.telemetry.flush()
    for exporter in (quick, slow):
        assert exporter.values[0] == 0
        delta = temporality is AggregationTemporality.DELTA
        assert (sum(exporter.values) if delta else exporter.values[-1]) == 4


@pytest.mark.parametrize("temporality", list(AggregationTemporality)[1:])
def test_flush_tells_where_a_series_begins_and_then_its_total(
    temporality: AggregationTemporality,
) -> None:
    exporter = Kept(temporality)
    sdk = Sdk([PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)])
    sdk.call().end()
    sdk.telemetry.flush()
    assert exporter.values == [0, 1]


def test_flush_tells_it_to_who_has_not_read_it_yet() -> None:
    both = Kept(AggregationTemporality.CUMULATIVE), Kept(AggregationTemporality.CUMULATIVE)
    readers = [PeriodicExportingMetricReader(exporter, 60_000) for exporter in both]
    sdk = Sdk(readers)
    sdk.call().end()
    readers[0].force_flush()
    sdk.telemetry.flush()
    assert [exporter.values for exporter in both] == [[0, 0, 1], [0, 1]]


class Line(Kept):
    """To a collector that is there or not."""

    is_there = True

    def export(self, *args: Any, **kwargs: Any) -> MetricExportResult:
        outcome = super().export(*args, **kwargs)
        return outcome if self.is_there else MetricExportResult.FAILURE


@pytest.mark.parametrize(
    ("lines", "told"), [(1, [0, 0, 0, 0, 1]), (2, [0, 1, 1, 1, 1])], ids=["alone", "beside another"]
)
def test_what_begins_in_an_outage_is_announced_until_an_export_comes_through(
    lines: int, told: list[int]
) -> None:
    away, *others = (Line(AggregationTemporality.CUMULATIVE) for _ in range(lines))
    readers = [PeriodicExportingMetricReader(line, 60_000) for line in (away, *others)]
    sdk = Sdk(readers, announce_seconds=0.001)
    away.is_there = False
    sdk.call().end()
    for number in range(len(told)):
        away.is_there = number >= 3
        for reader in readers:
            reader.force_flush()
        time.sleep(0.002)
    assert away.values == told
    sdk.telemetry.flush()


def test_who_comes_and_reads_does_not_wait_for_a_collector_that_is_away() -> None:
    away, pulled = Line(AggregationTemporality.CUMULATIVE), InMemoryMetricReader()
    pushed = PeriodicExportingMetricReader(away, 60_000)
    sdk = Sdk([pushed, pulled], announce_seconds=0.2)
    away.is_there = False
    sdk.call().end()
    for total in (0, 1):
        assert values(pulled.get_metrics_data(), "open_webui.usage.requests").total() == total
        pushed.force_flush()
        time.sleep(0.25)
    sdk.telemetry.flush()


def test_a_new_series_is_read_once_at_zero_however_late() -> None:
    reader = InMemoryMetricReader()
    sdk = Sdk([reader], announce_seconds=0.05)
    sdk.call().end()
    time.sleep(0.1)
    seen = [points(reader.get_metrics_data(), "open_webui.usage.requests")[0].value for _ in "ab"]
    assert seen == [0, 1]


def test_providers_are_left_as_they_were() -> None:
    sdk = Sdk()
    sdk.call().end()
    exporters = [sdk.spans, sdk.logs]
    assert all("export" in vars(exporter) for exporter in exporters)
    sdk.telemetry.detach()
    assert not any("export" in vars(exporter) for exporter in exporters)


def test_failed_exports_and_what_they_dropped_are_told_from_the_start() -> None:
    sdk = Sdk()
    told = values(sdk.reader.get_metrics_data(), "open_webui.export.failures")
    assert told == {frozenset({("open_webui.signal", each)}): 0 for each in exporting.SIGNALS}
    sdk.telemetry.exports.tallies["logs"].exported(3, failed=True)
    sdk.telemetry.exports.tallies["traces"].drop_queued(2)
    data = sdk.reader.get_metrics_data()
    failures = values(data, "open_webui.export.failures")
    assert +failures == {frozenset({("open_webui.signal", "logs")}): 1}
    dropped = values(data, "open_webui.export.dropped")
    assert len(dropped) == 6
    assert +dropped == {
        frozenset({("open_webui.signal", "logs"), ("error.type", "export_failed")}): 3,
        frozenset({("open_webui.signal", "traces"), ("error.type", "queue_full")}): 2,
    }


@pytest.mark.parametrize("temporality", list(AggregationTemporality)[1:])
def test_a_series_taken_up_again_adds_only_what_is_new(temporality: AggregationTemporality) -> None:
    reader = InMemoryMetricReader({ObservableCounter: temporality})
    sdk = Sdk([reader], idle_seconds=1, announce_seconds=0.1)
    seen: list[float] = []

    def collect() -> None:
        data = reader.get_metrics_data()
        seen.extend(point.value for point in points(data, "open_webui.usage.requests"))

    for _ in range(2):
        sdk.call().end()
        sdk.call().end()
        collect()
        time.sleep(0.15)
        collect()
        time.sleep(1.1)
        collect()
    expected = [0, 2, 0, 2] if temporality is AggregationTemporality.DELTA else [0, 2, 2, 4]
    assert seen == expected


def test_readers_say_how_long_to_hold_and_how_much_a_shard_takes() -> None:
    reader = PeriodicExportingMetricReader(
        Kept(AggregationTemporality.CUMULATIVE), export_interval_millis=10_000
    )
    provider = MeterProvider([reader, InMemoryMetricReader()])
    assert hold_seconds(provider) == 70
    assert hold_seconds(MeterProvider([InMemoryMetricReader()])) == 70
    assert hold_seconds(object()) == 70
    assert 0 < shard_size(provider) < 2000
    provider.shutdown()
