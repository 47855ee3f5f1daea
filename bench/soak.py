"""``make soak``: many calls with the OTLP exporters on. Memory stays flat, and nothing is lost."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from bench.library import Bench, in_use
from harness.collectors import taking

USERS = 200
INTERVAL_MILLIS = 1_000
# Between two looks at the queues: calls do not come at once, as they do here.
PIECE = 400
# What Python's allocator may take more without anything being kept.
FLAT_MB = 8.0


async def soak(bench: Bench, calls: int) -> list[float]:
    """Make the calls; return the memory in use after each tenth of them."""
    used = []
    for number in range(1, calls + 1):
        await bench.call(f"u{number % USERS}")
        if number % PIECE == 0:
            await asyncio.to_thread(bench.tracers.force_flush)
            await asyncio.to_thread(bench.loggers.force_flush)
        if number % (calls // 10) == 0:
            used.append(in_use())
    return used


def main() -> int:
    """Soak and print; return 1 if memory grew or anything was lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=50_000)
    calls = parser.parse_args().calls
    with taking() as endpoint:
        options = {"endpoint": endpoint, "insecure": True}
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(**options), INTERVAL_MILLIS)
        bench = Bench(
            ["one", "two"], OTLPSpanExporter(**options), OTLPLogExporter(**options), reader
        )
        began = time.perf_counter()
        used = asyncio.run(soak(bench, calls))
        seconds = time.perf_counter() - began
        ended = bench.telemetry.flush()
    tallies = bench.telemetry.exports.tallies.values()
    lost = sum(tally.failures + tally.dropped.total() for tally in tallies)
    print(f"{calls} calls in {seconds:.0f} s; exports that failed and items dropped: {lost}")
    print("MB in use after each tenth:", " ".join(f"{each:.1f}" for each in used))
    grown = used[-1] - used[1]
    print(f"grown since the second tenth: {grown:.1f} MB")
    return 0 if ended and not lost and grown < FLAT_MB else 1


if __name__ == "__main__":
    sys.exit(main())
