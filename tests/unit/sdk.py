"""The real SDK around the library's parts, kept in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry.instrumentation.open_webui.answers.estimates import Estimator
from opentelemetry.instrumentation.open_webui.calls import endpoints
from opentelemetry.instrumentation.open_webui.calls.accounting import Accountant
from opentelemetry.instrumentation.open_webui.calls.call import Asked, Listener, ModelCall
from opentelemetry.instrumentation.open_webui.calls.caller import Caller
from opentelemetry.instrumentation.open_webui.calls.calls import Calls
from opentelemetry.instrumentation.open_webui.calls.live import LiveCall
from opentelemetry.instrumentation.open_webui.money.price_file import PriceFile
from opentelemetry.instrumentation.open_webui.money.pricing import Prices
from opentelemetry.instrumentation.open_webui.settings import Settings
from opentelemetry.instrumentation.open_webui.telemetry.telemetry import Telemetry

OVERFLOW = "otel.metric.overflow"


class Patient(InMemoryMetricReader):
    """Waits for what is slow on a busy machine."""

    def collect(self, timeout_millis: float = 120_000) -> None:
        super().collect(timeout_millis)


class Sdk:
    """Providers that keep what they get."""

    def __init__(
        self,
        readers: Sequence[MetricReader] | None = None,
        views: Sequence[View] = (),
        price_file_of: PriceFile | None = None,
        **settings: Any,
    ) -> None:
        self.reader = Patient()
        self.spans, self.logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.tracers, self.loggers = TracerProvider(), LoggerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.meters = MeterProvider(readers or [self.reader], views=views)
        self.telemetry = Telemetry(
            Settings.load(settings, {}), self.tracers, self.meters, self.loggers, price_file_of
        )

    def call(self, *, groups: tuple[str, ...] = (), model: str = "m", **caller: Any) -> LiveCall:
        """A call that has been started."""
        return begun(self.telemetry, asked(model), caller_named(**caller), groups)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Attributes of the events so far."""
        return [dict(log.log_record.attributes or {}) for log in self.logs.get_finished_logs()]


def accountant(*, estimates: bool = False, file: PriceFile | None = None) -> Accountant:
    return Accountant(Prices(file or PriceFile()), Estimator() if estimates else None)


class Recorder:
    """A listener that keeps the calls that have ended."""

    def __init__(self) -> None:
        self.told: list[ModelCall] = []

    def started(self, call: ModelCall) -> None:
        pass

    def ended(self, call: ModelCall) -> None:
        self.told.append(call)


def begun(
    listener: Listener,
    asked: Asked,
    caller: Caller | None = None,
    groups: tuple[str, ...] = (),
    *,
    settled_by: Accountant | None = None,
    **more: Any,
) -> LiveCall:
    """A call that has been started, of which one listener is told."""
    calls = Calls(settled_by or accountant(), [listener])
    return calls.start(asked, caller or caller_named(), groups, **more)


def asked(model: str = "m", **more: Any) -> Asked:
    values: dict[str, Any] = {"stream": False, "address": "provider.example", "port": 443}
    endpoint, provider = more.pop("endpoint", endpoints.CHAT), more.pop("provider", "openai")
    return Asked(endpoint, "chat", provider, model, **{**values, **more})


def caller_named(user: str = "u1", **more: Any) -> Caller:
    values: dict[str, Any] = {
        "user_id": user,
        "user_name": f"User {user}",
        "roles": ("user",),
        "source": "api",
        "auth": "api_key",
        "task": "chat",
        "chat_id": None,
        "route": "/api/chat/completions",
        "model_id": None,
    }
    return Caller(**{**values, **more})


def answer(given: int = 9, made: int = 5, **details: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": given, "completion_tokens": made, **details}
    choices = [{"finish_reason": "stop", "message": {}}]
    return {"id": "c1", "model": "m-1", "choices": choices, "usage": usage}


def values(data: Any, metric: str) -> Counter[frozenset[tuple[str, Any]]]:
    """The values of one collection by attributes, over all scopes."""
    found: Counter[frozenset[tuple[str, Any]]] = Counter()
    for point in points(data, metric):
        found[frozenset(point.attributes.items())] += point.value
    return found


def points(data: Any, metric: str) -> list[Any]:
    return [
        point
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for one in scope.metrics
        if one.name == metric
        for point in one.data.data_points
    ]


async def no_prefixes() -> list[str]:
    """What Open WebUI puts before names of models: nothing."""
    return []
