"""What limits cost: deciding before a call, and counting after it, in a process with a ledger."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from opentelemetry.instrumentation.open_webui.limits.budget import Budget
from opentelemetry.instrumentation.open_webui.limits.gate import Refusal
from unit.ledger.processes import ledger_in
from unit.limits.calling import ended, wanted

_CALLS, _PER_SECOND, _USERS = 4000, 400, 200
_PLENTY = 10**9
_TOKENS = {"name": "T", "group": "g", "measure": "tokens", "amount": _PLENTY, "per": "day"}
_LIMITS = [
    _TOKENS,
    {**_TOKENS, "name": "P", "share": "shared", "measure": "cost", "amount": 10**6},
    {**_TOKENS, "name": "O", "measure": "requests", "per": "week", "observe": True},
]


class Cost(NamedTuple):
    """Per call."""

    cpu: float
    """Microseconds, of the event loop's thread and of that which asks the database."""
    p50: float
    """Microseconds that a caller waits."""
    p99: float


async def _calls(budget: Budget, ledger: object, group: str) -> Cost:
    waits: list[float] = []
    due = time.perf_counter()
    spent = before = 0.0
    for number in range(_CALLS + _USERS):
        if number == _USERS:
            # From here on everybody's limits are known.
            before, spent, waits = _of_clerk(), 0.0, []
        asked = wanted(f"u{number % _USERS}", group, input_tokens=100)
        call = ended(asked, usd=0.001)
        began, began_cpu = time.perf_counter(), time.thread_time()
        ticket = await budget.admit(asked)
        waits.append(time.perf_counter() - began)
        assert not isinstance(ticket, Refusal)
        budget.ended(call)
        ticket.release()
        spent += time.thread_time() - began_cpu
        ledger.ended(call)  # type: ignore[attr-defined]
        due += 1 / _PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    cpu = (spent + _of_clerk() - before) / _CALLS
    waits.sort()
    return Cost(1e6 * cpu, 1e6 * waits[len(waits) // 2], 1e6 * waits[len(waits) * 99 // 100])


def _of_clerk() -> float:
    """The CPU seconds of the thread that asks the database."""
    [thread] = [one for one in threading.enumerate() if one.name == "usage-limits"]
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def _measured(group: str) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "limits.yaml").write_text(json.dumps({"limits": _LIMITS}))
        ledger = ledger_in(folder)
        ledger.begin()
        budget = Budget(ledger, file=str(folder / "limits.yaml"))
        budget.begin()
        time.sleep(2)
        try:
            return asyncio.run(_calls(budget, ledger, group))
        finally:
            budget.close()
            ledger.close()


def table() -> Iterator[str]:
    """Measure, and return lines to print."""
    for what, group in (("of a user without limits", "other"), ("of a user with three", "g")):
        cost = _measured(group)
        yield (
            f"  one call {what}: {cost.cpu:4.0f} µs of CPU,"
            f" waits {cost.p50:.0f} µs, at most {cost.p99:.0f} µs in 99 of 100"
        )


if __name__ == "__main__":
    for line in table():
        print(line)
