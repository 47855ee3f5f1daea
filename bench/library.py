"""The library's own cost, in the process and by CPU clock: stable where wall clocks are not.

Everything but Open WebUI and the network is real: surfaces, transport, call, totals, and the SDK
with its batch processors and a metric reader. What the stand-ins themselves cost is taken off.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

from aiohttp.streams import StreamReader
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    LogRecordExporter,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from opentelemetry.instrumentation.open_webui.answers.estimates import Estimator
from opentelemetry.instrumentation.open_webui.calls.accounting import Accountant
from opentelemetry.instrumentation.open_webui.calls.clients.aiohttp import sends
from opentelemetry.instrumentation.open_webui.host.connections import Connections
from opentelemetry.instrumentation.open_webui.host.groups import Groups
from opentelemetry.instrumentation.open_webui.host.runtime import Runtime
from opentelemetry.instrumentation.open_webui.host.surfaces.leaf import announces
from opentelemetry.instrumentation.open_webui.host.surfaces.openai import CHAT
from opentelemetry.instrumentation.open_webui.limits.budget import Budget
from opentelemetry.instrumentation.open_webui.money import pricing
from opentelemetry.instrumentation.open_webui.money.price_file import PriceFile
from opentelemetry.instrumentation.open_webui.money.pricing import Prices
from opentelemetry.instrumentation.open_webui.settings import Settings
from opentelemetry.instrumentation.open_webui.telemetry.telemetry import Telemetry

CALLS = 2_000
ROUNDS = 15
CHUNKS = 20_000
MICRO = 1e6

CHUNK = (
    b'data: {"id":"chatcmpl-9f1","object":"chat.completion.chunk","created":1760000000,'
    b'"model":"gpt-std-2025-08-07","service_tier":"default","system_fingerprint":"fp_1",'
    b'"choices":[{"index":0,"delta":{"content":" lantern"},"logprobs":null,'
    b'"finish_reason":null}],"usage":null}\n\n'
)
ANSWER = json.dumps(
    {
        "id": "chatcmpl-9f1",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "lantern"}}],
        "usage": {
            "prompt_tokens": 120,
            "completion_tokens": 80,
            "prompt_tokens_details": {"cached_tokens": 40},
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
    }
).encode()
PAYLOAD = json.dumps(
    {"model": "gpt-4o", "stream": False, "messages": [{"role": "user", "content": "word " * 200}]}
)


class NoSpans(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """Take them."""
        return SpanExportResult.SUCCESS


class NoLogs(InMemoryLogRecordExporter):
    """Takes events and forgets them."""

    def export(self, batch: Sequence[Any]) -> Any:
        """Take them."""
        self.clear()
        return super().export([])


class Bench:
    """A runtime as in a server, and stand-ins for the functions it wraps."""

    def __init__(
        self,
        groups: Sequence[str] = (),
        spans: SpanExporter | None = None,
        logs: LogRecordExporter | None = None,
        *readers: MetricReader,
        limits: Budget | None = None,
    ) -> None:
        self.tracers, self.loggers = TracerProvider(), LoggerProvider()
        self.tracers.add_span_processor(BatchSpanProcessor(spans or NoSpans()))
        self.loggers.add_log_record_processor(BatchLogRecordProcessor(logs or NoLogs()))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(readers or [self.reader])
        settings = Settings.load({"groups_cache_seconds": 3600}, {})

        async def lookup(users: Sequence[str]) -> dict[str, Sequence[str]]:
            return dict.fromkeys(users, groups)

        async def connections() -> list[tuple[str, str]]:
            return [("openai.api_base_urls", "http://provider.example:8080/v1")]

        async def prefixes() -> list[str]:
            return []

        self.telemetry = Telemetry(settings, self.tracers, self.meters, self.loggers)
        self.runtime = Runtime(
            settings,
            self.telemetry,
            Groups(lookup, 3600),
            Connections(connections, prefixes),
            Accountant(Prices(PriceFile()), Estimator()),
            limits=limits,
        )
        asyncio.run(self.runtime.connections.load())
        pricing.load()
        self._leaf = announces(CHAT)(self.runtime)
        self._sends = sends(self.runtime)

    async def request(self, *args: Any, **kwargs: Any) -> Any:
        """The HTTP client, wrapped."""
        return await self._sends(request_bare, None, args, kwargs)

    async def call(self, user: str = "u1") -> Any:
        """One call to a model that answers in one piece."""
        return await self._leaf(leaf, None, (), arguments(user, self.request))

    async def bare(self, user: str = "u1") -> Any:
        """The same without the library."""
        return await leaf(**arguments(user, request_bare))

    async def stream(self, chunks: int) -> None:
        """One call to a model that answers with a stream."""
        given = {**arguments("u1", self.request), "form_data": {"model": "m", "chunks": chunks}}
        await self._leaf(leaf, None, (), given)


async def bare_stream(chunks: int) -> None:
    """The same without the library."""
    form = {"model": "gpt-4o", "chunks": chunks}
    await leaf(**{**arguments("u1", request_bare), "form_data": form})


def arguments(user: str, send: Callable[..., Awaitable[Any]]) -> dict[str, Any]:
    """What Open WebUI passes to such a function."""
    request = SimpleNamespace(
        state=SimpleNamespace(auth_type="api_key", metadata={"chat_id": "c1"}),
        scope={"route": SimpleNamespace(path="/api/chat/completions")},
        headers={},
        send=send,
    )
    person = SimpleNamespace(id=user, name=f"User {user}", email="u@example.org", role="user")
    return {"request": request, "form_data": {"model": "gpt-std"}, "user": person}


async def leaf(request: Any, form_data: dict[str, Any], user: Any) -> None:
    """Stands in for Open WebUI's function that calls a provider, and for who reads its answer."""
    chunks = form_data.get("chunks")
    payload = PAYLOAD if chunks is None else PAYLOAD.replace("false", "true", 1)
    url = "http://provider.example:8080/v1/chat/completions"
    response = await request.send("POST", url, data=payload, chunks=chunks)
    if chunks is None:
        json.loads(await response.content.read())
        return
    for _ in range(chunks):
        response.fed.feed_data(CHUNK)
        await response.content.readany()
    response.fed.feed_eof()
    await response.content.readany()


class Response:
    """An answer of aiohttp's, as far as anybody looks at it.

    All of it has come already, or the first chunk; the others are fed, as a connection would do.
    """

    status = 200
    headers: ClassVar[dict[str, str]] = {}
    content_type = "text/event-stream"

    def __init__(self, chunks: int | None) -> None:
        self.content = StreamReader(PROTOCOL, 1 << 16, loop=asyncio.get_running_loop())
        self.fed = self.content
        self.fed.feed_data(ANSWER if chunks is None else CHUNK)
        if chunks is None:
            self.fed.feed_eof()


PROTOCOL: Any = SimpleNamespace(
    _reading_paused=False, pause_reading=lambda: None, resume_reading=lambda **_: None
)


async def request_bare(method: str, url: str, chunks: int | None = None, **_: Any) -> Any:
    """An HTTP client that answers at once."""
    return Response(chunks) if method == "POST" else None


def cpu(work: Callable[[], Awaitable[Any]]) -> float:
    """CPU seconds of this thread: what other threads export is not the request's cost."""

    async def timed() -> float:
        gc.collect()
        began = time.thread_time()
        await work()
        return time.thread_time() - began

    return asyncio.run(timed())


def per_call(groups: int) -> float:
    """Microseconds of one call, start to end, less what the stand-ins cost."""
    bench = Bench([f"group {number}" for number in range(groups)])

    async def repeat(one: Callable[[], Awaitable[Any]]) -> None:
        await one()
        for _ in range(CALLS):
            await one()

    return difference(lambda: repeat(bench.call), lambda: repeat(bench.bare)) / CALLS * MICRO


def difference(ours: Callable[[], Awaitable[Any]], bare: Callable[[], Awaitable[Any]]) -> float:
    """CPU seconds of ours less those of the stand-ins, each the least of the rounds.

    Other load on the same processor only ever adds to a CPU clock.
    """
    cpu(ours)
    rounds = [(cpu(ours), cpu(bare)) for _ in range(ROUNDS)]
    return min(cost for cost, _ in rounds) - min(cost for _, cost in rounds)


def per_chunk() -> float:
    """Microseconds of one chunk that holds no usage, less what the stand-ins cost."""
    bench = Bench()

    cost = difference(lambda: bench.stream(CHUNKS), lambda: bare_stream(CHUNKS))
    return cost / CHUNKS * MICRO


def per_other_request() -> float:
    """Microseconds that an HTTP request of Open WebUI costs more when it calls no model."""

    async def repeat(send: Callable[..., Awaitable[Any]]) -> None:
        for _ in range(CALLS * 10):
            await send("GET", "http://elsewhere.example/")

    bench = Bench()
    cost = difference(lambda: repeat(bench.request), lambda: repeat(request_bare))
    return cost / (CALLS * 10) * MICRO


def export(active: int, idle: int) -> float:
    """Milliseconds to collect and encode once, with so many active and idle series."""
    bench = Bench()
    totals, now = bench.telemetry.totals, [0.0]
    totals._clock = lambda: now[0]
    book(totals, "idle", idle)
    now[0] = 3600.0
    book(totals, "active", active)
    bench.reader.get_metrics_data()
    costs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        encode_metrics(bench.reader.get_metrics_data())
        costs.append(time.process_time() - began)
    return min(costs) * 1e3


def book(totals: Any, kind: str, series: int) -> None:
    """Book one request of each of so many users."""
    for number in range(series):
        user = (("user.id", f"{kind}-{number}"), ("user.name", f"{kind} {number}"))
        what = (
            ("gen_ai.request.model", "gpt-std"),
            ("open_webui.model.id", "gpt-std"),
            ("gen_ai.provider.name", "openai"),
            ("open_webui.source", "api"),
            ("open_webui.task", "chat"),
            ("gen_ai.operation.name", "chat"),
        )
        totals.book(user, what, [(("open_webui.usage.requests", ()), 1)], user, series)


def per_series(series: int = 10_000) -> tuple[float, float]:
    """Bytes of one active series: in our table, and with what the SDK keeps of it, too."""
    bench = Bench()
    book(bench.telemetry.totals, "first", 10)
    bench.reader.get_metrics_data()
    tracemalloc.start()
    book(bench.telemetry.totals, "active", series)
    gc.collect()
    ours = tracemalloc.get_traced_memory()[0]
    bench.reader.get_metrics_data()
    gc.collect()
    both = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return ours / series, both / series


def memory(calls: int = 100_000, users: int = 50) -> tuple[float, float]:
    """Megabytes in use after a tenth of the calls, and after all of them."""
    bench = Bench(["one", "two"])

    async def repeat(count: int) -> None:
        for number in range(count):
            await bench.call(f"u{number % users}")
            if number % 1000 == 0:
                await asyncio.sleep(0)
                bench.reader.get_metrics_data()

    asyncio.run(repeat(calls // 10))
    first = in_use()
    asyncio.run(repeat(calls))
    return first, in_use()


def in_use() -> float:
    """Megabytes of memory that the process holds."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
