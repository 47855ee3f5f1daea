"""Crowds that use one limit up from several processes: `python -m unit.limits.crowds …` is one.

Each process has callers that ask, wait for a made-up answer and end, until they are refused.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry.instrumentation.open_webui.limits.budget import Budget
from opentelemetry.instrumentation.open_webui.limits.flights import Held
from opentelemetry.instrumentation.open_webui.limits.gate import Refusal
from unit.ledger.processes import ledger_in
from unit.limits.calling import ended, wanted

LIMITS = "limits.yaml"
_INPUT, _OUTPUTS = 100, (50, 500)
_SECONDS = (0.01, 0.1)
_ABORTED = 0.2
_REFUSALS = 3
"""How often a caller is refused until it gives up."""


def limits(folder: Path, amount: int, share: str = "shared") -> None:
    """Write a limit of tokens for everyone."""
    limit = {
        "name": "All", "everyone": True, "share": share, "measure": "tokens", "amount": amount,
        "per": "month", "counts_from": "start",
    }  # fmt: skip
    (folder / LIMITS).write_text(json.dumps({"limits": [limit]}))


class Crowd:
    """The callers of one process."""

    def __init__(self, budget: Budget, ledger: Any, seed: int) -> None:
        self.budget = budget
        self.ledger = ledger
        self.rng = random.Random(seed)
        self.used = 0
        self.calls = 0
        self.waits: list[float] = []
        self.sentences: set[str] = set()

    async def caller(self) -> None:
        refusals = 0
        while refusals < _REFUSALS:
            began = time.perf_counter()
            answer = await self.budget.admit(wanted(input_tokens=_INPUT))
            self.waits.append(time.perf_counter() - began)
            if isinstance(answer, Refusal):
                refusals += 1
                self.sentences.add(answer.sentence)
                await asyncio.sleep(0.05)
                continue
            assert isinstance(answer, Held)
            await self.call()
            answer.release()

    async def call(self) -> None:
        out = self.rng.randint(*_OUTPUTS)
        call = ended(wanted(), _INPUT, out)
        await asyncio.sleep(self.rng.uniform(*_SECONDS))
        if self.rng.random() < _ABORTED:
            # Its reader goes away half-way.
            call = ended(wanted(), _INPUT, out // 2)
            call.error = "cancelled"
        self.used += (call.usage.input or 0) + (call.usage.output or 0)
        self.calls += 1
        self.budget.ended(call)
        self.ledger.ended(call)


async def _run(crowd: Crowd, callers: int) -> None:
    await asyncio.gather(*(crowd.caller() for _ in range(callers)))


def main(folder: str, callers: str, seed: str, url: str = "") -> None:
    """Use the limit up, and print what was used."""
    ledger = ledger_in(Path(folder), url)
    ledger.begin()
    budget = Budget(ledger, file=str(Path(folder) / LIMITS))
    budget.begin()
    crowd = Crowd(budget, ledger, int(seed))
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        asyncio.run(_run(crowd, int(callers)))
    finally:
        waits = sorted(crowd.waits)
        told = {
            "used": crowd.used,
            "calls": crowd.calls,
            "unchecked": budget.unchecked,
            "in_flight": sum(one.in_flight for one in budget.books.accounts()),
            "p50_ms": 1000 * waits[len(waits) // 2],
            "p99_ms": 1000 * waits[len(waits) * 99 // 100],
            "sentences": sorted(crowd.sentences),
        }
        budget.close()
        ledger.close()
        print(json.dumps(told), flush=True)


def use_up(
    folder: Path, url: str, processes: int, callers: int, *, killed: int = 0
) -> list[dict[str, Any]]:
    """Let several processes use the limit up; return what those that lived say.

    Args:
        folder: Where the limits are, and the ledger if it is in a file.
        url: Of a ledger elsewhere.
        processes: How many.
        callers: In each of them.
        killed: How many of them are killed half-way.
    """
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "unit.limits.crowds", str(folder), str(callers), str(n), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for n in range(processes)
    ]
    try:
        return _used_up(running, killed)
    finally:
        for process in running:
            process.kill()
            process.wait()


def _used_up(running: Sequence[subprocess.Popen[str]], killed: int) -> list[dict[str, Any]]:
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running[:killed]:
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    found = []
    for process in running[killed:]:
        out, _ = process.communicate(timeout=120)
        found.append(json.loads(out))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
