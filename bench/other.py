"""What an instrumentation of OpenAI's client costs, in an environment that has it and not us.

Run by ``bench.others``, which gives the name of the instrumentation and, on the standard input, the
bytes that the provider answers. Tells microseconds of one call and of one event of a stream.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from openai import AsyncOpenAI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

try:
    import httpx2 as httpx  # what newer clients use
except ImportError:
    import httpx  # type: ignore[no-redef]

CALLS, ROUNDS = 100, 40
EVENTS = 1_000
MICRO = 1e6
MESSAGES: Any = [{"role": "user", "content": "word " * 200}]


class NoSpans(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """Take them."""
        return SpanExportResult.SUCCESS


def openinference(tracers: Any, _meters: Any) -> None:
    """Arize's."""
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=tracers)


def openllmetry(tracers: Any, meters: Any) -> None:
    """Traceloop's."""
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=tracers, meter_provider=meters)


def openlit(tracers: Any, meters: Any) -> None:
    """OpenLIT's, which takes the global providers, and fetches its prices if it is given none."""
    import openlit as instrumentation

    from opentelemetry import metrics, trace

    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as prices:
        json.dump({"chat": {"gpt-4o": {"promptPrice": 0.0025, "completionPrice": 0.01}}}, prices)
        prices.flush()
        instrumentation.init(pricing_json=prices.name)


def genai(tracers: Any, meters: Any) -> None:
    """OpenTelemetry's own."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=tracers, meter_provider=meters)


INSTRUMENT = {each.__name__: each for each in (openinference, openllmetry, openlit, genai)}


def client(answer: bytes, chunk: bytes) -> AsyncOpenAI:
    """A client of a provider that answers at once."""

    def respond(request: httpx.Request) -> httpx.Response:
        if not json.loads(request.content).get("stream"):
            return httpx.Response(200, content=answer, headers={"Content-Type": "application/json"})
        body = chunk * EVENTS + b"data: [DONE]\n\n"
        return httpx.Response(200, content=body, headers={"Content-Type": "text/event-stream"})

    transport = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    return AsyncOpenAI(api_key="none", base_url="http://provider.example/v1", http_client=transport)


async def costs(provider: AsyncOpenAI) -> tuple[float, float]:
    """Microseconds of one call and of one event, as they are now."""
    create: Any = provider.chat.completions.create

    async def call() -> None:
        await create(model="gpt-4o", messages=MESSAGES)

    async def stream() -> None:
        async for _ in await create(model="gpt-4o", messages=MESSAGES, stream=True):
            pass

    return await least(call, CALLS), await least(stream, 1) / EVENTS


async def least(work: Callable[[], Awaitable[None]], times: int) -> float:
    """Microseconds by CPU clock, the least of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.thread_time()
        for _ in range(times):
            await work()
        rounds.append((time.thread_time() - began) / times * MICRO)
    return min(rounds)


async def main(name: str, answer: bytes, chunk: bytes) -> list[float]:
    """Measure without the instrumentation and with it; return what it adds."""
    bare = await costs(client(answer, chunk))
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(NoSpans()))
    INSTRUMENT[name](tracers, MeterProvider([InMemoryMetricReader()]))
    watched = await costs(client(answer, chunk))
    return [after - before for before, after in zip(bare, watched, strict=True)]


if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    print(json.dumps(asyncio.run(main(sys.argv[1], *(text.encode() for text in given)))))
