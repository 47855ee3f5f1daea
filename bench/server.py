"""Open WebUI with the library, without it, and without it once more, in turn in one run.

Each round sends the same requests to each server, in an order that turns. What is told is the
median over the rounds of the ratio to the plain server in the same round; the second plain server
shows how much of a ratio is noise.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from harness.openwebui import OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import seeded_server

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "30"))
REQUESTS = 20
TICK = 1 / os.sysconf("SC_CLK_TCK")
MODEL = "gpt-std"


@dataclass
class Sample:
    """One round of one server; seconds per request."""

    cpu: float
    latency: float
    first_chunk: float


@dataclass
class Contender:
    """A server, and what was measured of it."""

    name: str
    server: OpenWebUI
    samples: list[Sample] = field(default_factory=list)

    def run(self) -> None:
        """One round: half of the requests stream."""
        began_cpu, latencies, first_chunks = self._cpu(), [], []
        for number in range(REQUESTS):
            began = time.perf_counter()
            if number % 2:
                first_chunks.append(self._stream())
            else:
                self.server.chat("alice", MODEL, "case=bench tell me something")
            latencies.append(time.perf_counter() - began)
        self.samples.append(
            Sample(
                (self._cpu() - began_cpu) / REQUESTS,
                statistics.median(latencies),
                statistics.median(first_chunks),
            )
        )

    def _stream(self) -> float:
        began = time.perf_counter()
        messages = [{"role": "user", "content": "case=bench tell me something"}]
        body = {"model": MODEL, "messages": messages, "stream": True}
        path = "/api/chat/completions"
        with self.server.stream("POST", path, user="alice", json=body) as answer:
            answer.take(1)
            first = time.perf_counter() - began
            for _ in answer.chunks:
                pass
        return first

    def _cpu(self) -> float:
        """CPU seconds of the server so far, exporting included."""
        return sum(cpu_of(pid) for pid in self.server.pids())


def cpu_of(pid: int) -> float:
    """User and system seconds of a process, by proc(5)."""
    with open(f"/proc/{pid}/stat") as file:
        values = file.read().rsplit(")", 1)[1].split()
    return (int(values[11]) + int(values[12])) * TICK


def compare() -> Iterator[str]:
    """Run, and return lines for a person."""
    with ExitStack() as stack:
        provider = stack.enter_context(Provider())
        receiver = stack.enter_context(Receiver())
        export = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        contenders = [
            Contender("plain", stack.enter_context(seeded_server(provider))),
            Contender(
                "with the library",
                stack.enter_context(seeded_server(provider, launcher="instrument", env=export)),
            ),
            Contender("plain again", stack.enter_context(seeded_server(provider))),
        ]
        for contender in contenders:
            contender.run()
            contender.samples.clear()
        for number in range(ROUNDS):
            for index in range(len(contenders)):
                contenders[(number + index) % len(contenders)].run()
        yield from report(contenders)


def report(contenders: list[Contender]) -> Iterator[str]:
    """The table: milliseconds of the plain server, ratios of the others."""
    plain, *others = contenders
    yield f"{ROUNDS} rounds of {REQUESTS} requests; ratio to plain: median (quartiles)"
    for what in ("cpu", "latency", "first_chunk"):
        base = [getattr(sample, what) for sample in plain.samples]
        yield f"  {what:12} plain {statistics.median(base) * 1e3:7.2f} ms a request"
        for other in others:
            ratios = [
                getattr(sample, what) / value
                for sample, value in zip(other.samples, base, strict=True)
            ]
            low, middle, high = statistics.quantiles(ratios, n=4)
            yield f"  {'':12} {other.name:18} {middle:.3f} ({low:.3f} to {high:.3f})"
