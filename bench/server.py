"""Open WebUI with the library, without it, and without it once more, in turn in one run.

Each round sends the same few requests to each server, in an order that turns, for as many rounds as
there is time for. What is told is the median over the rounds of the ratio to the plain server in
the same round; the second plain server shows how much of a ratio is noise. A sampling profile tells
what is too small for it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from bench import sampling
from harness import replies
from harness.openwebui import OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import seeded_server

SECONDS = int(os.environ.get("BENCH_SECONDS", "150"))
"""For the rounds of each workload; 0 for no servers at all."""
PROFILE_SECONDS = int(os.environ.get("BENCH_PROFILE_SECONDS", "30"))
LEAST_ROUNDS, WARM_ROUNDS = 2, 3
SHORT, LONG = "gpt-std", "gpt-mini"
CHUNKS = 400
TEXT = "case=bench tell me something"
PATH = "/api/chat/completions"


@dataclass
class Sample:
    """One round of one server; seconds per request."""

    cpu: float
    latency: float


@dataclass(frozen=True)
class Workload:
    """What a round does."""

    name: str
    requests: int
    send: Callable[[OpenWebUI], None]


def short_call(server: OpenWebUI) -> None:
    """A call that is answered in one piece."""
    server.chat("alice", SHORT, TEXT)


def long_stream(server: OpenWebUI) -> None:
    """A call that is answered in hundreds of chunks."""
    body = {"model": LONG, "messages": [{"role": "user", "content": TEXT}], "stream": True}
    with server.stream("POST", PATH, user="alice", json=body) as answer:
        for _ in answer.chunks:
            pass


WORKLOADS = (
    Workload("a short call", 10, short_call),
    Workload(f"a stream of {CHUNKS} chunks", 3, long_stream),
)


def talk(prompt: replies.Prompt) -> replies.Reply:
    """The answer of a model that says much, each word in a chunk of its own."""
    if not prompt.stream:
        return replies.gpt_std(prompt)
    text = " ".join(f"word{number}" for number in range(CHUNKS))
    pieces = replies.standard_pieces(prompt, replies.deltas_of(prompt, text))
    tokens = replies.count_tokens(prompt, text)
    return replies.streamed([*pieces, *replies.usage_at_end(prompt, tokens)])


@dataclass
class Contender:
    """A server, and what was measured of it."""

    name: str
    server: OpenWebUI
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def run(self, workload: Workload) -> None:
        """One round."""
        began_cpu, latencies = self._cpu(), []
        for _ in range(workload.requests):
            began = time.perf_counter()
            workload.send(self.server)
            latencies.append(time.perf_counter() - began)
        cpu = (self._cpu() - began_cpu) / workload.requests
        self.samples.setdefault(workload.name, []).append(Sample(cpu, statistics.median(latencies)))

    def all(self, workload: Workload, what: str) -> list[float]:
        """One figure of all rounds."""
        return [getattr(sample, what) for sample in self.samples[workload.name]]

    def _cpu(self) -> float:
        """CPU seconds of the server so far, exporting included."""
        return sum(cpu_of(pid) for pid in self.server.pids())


def cpu_of(pid: int) -> float:
    """Seconds of processor time of a process, to the nanosecond: see clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


def compare() -> Iterator[str]:
    """Run, and return lines for a person."""
    replies.MODELS[LONG] = replace(replies.MODELS[LONG], reply=talk)
    with ExitStack() as stack:
        provider = stack.enter_context(Provider())
        receiver = stack.enter_context(Receiver())
        export = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        sampled = sampling.Sampled(provider, export)
        contenders = [
            Contender("plain", stack.enter_context(seeded_server(provider))),
            Contender("with the library", stack.enter_context(sampled)),
            Contender("plain again", stack.enter_context(seeded_server(provider))),
        ]
        for workload in WORKLOADS:
            take_turns(contenders, workload)
            yield from report(contenders, workload)
            yield from told_by_samples(sampled, workload)


def take_turns(contenders: list[Contender], workload: Workload) -> None:
    """All rounds of a workload; the first ones, in which everybody warms up, do not count."""
    for contender in contenders:
        for _ in range(WARM_ROUNDS):
            contender.run(workload)
        contender.samples.clear()
    end, rounds = time.monotonic() + SECONDS, 0
    while rounds < LEAST_ROUNDS or time.monotonic() < end:
        for index in range(len(contenders)):
            contenders[(rounds + index) % len(contenders)].run(workload)
        rounds += 1


def told_by_samples(server: sampling.Sampled, workload: Workload) -> Iterator[str]:
    """The part of the event loop's time that is ours."""
    found = server.profile(PROFILE_SECONDS, lambda: workload.send(server))
    yield from (f"  {line}" for line in found.lines())


def report(contenders: list[Contender], workload: Workload) -> Iterator[str]:
    """The table: milliseconds of the plain server, ratios of the others."""
    plain, *others = contenders
    yield f"{workload.name}: {len(plain.samples[workload.name])} rounds of {workload.requests}"
    yield "  ratio to the plain server of the same round: median (quartiles), and of all together"
    for what in ("cpu", "latency"):
        base = plain.all(workload, what)
        yield f"  {what:12} plain {statistics.median(base) * 1e3:7.2f} ms a request"
        for other in others:
            its = other.all(workload, what)
            ratios = [mine / value for mine, value in zip(its, base, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            whole = sum(its) / sum(base)
            yield (f"  {'':12} {other.name:18} {middle:.3f} ({low:.3f} to {high:.3f}), {whole:.3f}")
