"""What limits cost: deciding before a call, and counting after it, in a process with a ledger.

And what the doors cost at which Open WebUI's functions ask for that, as they call each other.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import wrapt

from bench.library import CALLS, MICRO, Bench, difference
from opentelemetry.instrumentation.open_webui.host.patching import Wrapper
from opentelemetry.instrumentation.open_webui.host.runtime import Runtime
from opentelemetry.instrumentation.open_webui.host.surfaces import limits as doors
from opentelemetry.instrumentation.open_webui.host.surfaces.chat import chat_request
from opentelemetry.instrumentation.open_webui.host.surfaces.leaf import announces
from opentelemetry.instrumentation.open_webui.host.surfaces.openai import CHAT
from opentelemetry.instrumentation.open_webui.limits.budget import Budget
from opentelemetry.instrumentation.open_webui.limits.gate import Refusal
from opentelemetry.instrumentation.open_webui.limits.off import FREE
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
_NEARLY_USED = [
    {**_TOKENS, "name": "P", "share": "shared", "measure": "cost", "amount": 100,
     "counts_from": "start"},
]  # fmt: skip
_SPENT = 85.0


class Cost(NamedTuple):
    """Microseconds per call."""

    loop: float
    """CPU of the event loop's thread."""
    clerk: float
    """CPU of the thread that asks the database."""
    p50: float
    """What a caller waits."""
    p99: float


async def _calls(budget: Budget | None, ledger: object, group: str) -> Cost:
    """Make calls at an even pace; without a budget, only look at the clocks."""
    waits: list[float] = []
    due = time.perf_counter()
    spent = before = 0.0
    for number in range(_CALLS + _USERS):
        if number == _USERS:
            # From here on everybody's limits are known.
            before, spent, waits, due = _of_clerk(), 0.0, [], time.perf_counter()
        asked = wanted(f"u{number % _USERS}", group, input_tokens=100)
        call = ended(asked, usd=0.001)
        # The first look at a clock after a pause costs more than what is measured.
        time.thread_time()
        began, began_cpu = time.perf_counter(), time.thread_time()
        ticket = FREE if budget is None else await budget.admit(asked)
        waits.append(time.perf_counter() - began)
        assert not isinstance(ticket, Refusal)
        if budget is not None:
            budget.ended(call)
            ticket.release()
        spent += time.thread_time() - began_cpu
        ledger.ended(call)  # type: ignore[attr-defined]
        due += 1 / _PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    clerk = _of_clerk() - before
    waits.sort()
    middle, late = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    return Cost(MICRO * spent / _CALLS, MICRO * clerk / _CALLS, MICRO * middle, MICRO * late)


def _of_clerk() -> float:
    """The CPU seconds of the thread that asks the database."""
    [thread] = [one for one in threading.enumerate() if one.name == "usage-limits"]
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


@contextmanager
def _limited(
    limits: Sequence[dict[str, Any]] = _LIMITS, spent: float = 0.0
) -> Iterator[tuple[Budget, Any]]:
    """Make limits, and their ledger, in which so many USD are spent."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "limits.yaml").write_text(json.dumps({"limits": limits}))
        ledger = ledger_in(folder)
        ledger.begin()
        ledger.ended(ended(wanted("u0", "g"), usd=spent))
        budget = Budget(ledger, file=str(folder / "limits.yaml"))
        budget.begin()
        time.sleep(2)
        try:
            yield budget, ledger
        finally:
            budget.close()
            ledger.close()


class Chat:
    """A chat with one model, as Open WebUI's functions call each other, behind our doors or not."""

    def __init__(self, runtime: Runtime, *, limited: bool) -> None:
        def behind(
            function: Any, door: Callable[[Runtime], Wrapper], *around: Callable[[Runtime], Wrapper]
        ) -> Any:
            for maker in (door, *around) if limited else around:
                function = wrapt.FunctionWrapper(function, maker(runtime))
            return function

        self.serve = behind(self._serve, doors.request)
        self._complete = behind(self._chat_completion, doors.turn, chat_request)
        self._process = behind(_nothing, doors.answer)
        self._call = behind(_nothing, doors.chat, announces(CHAT))

    async def _serve(self, scope: dict[str, Any], _receive: None, send: Any) -> None:
        state = SimpleNamespace(auth_type="api_key", metadata={})
        request = SimpleNamespace(state=state, scope=scope, headers={}, app=_APP)
        form = {"model": "gpt-std", "messages": _MESSAGES}
        await self._complete(request=request, form_data=form, user=scope["person"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _chat_completion(self, **given: Any) -> None:
        await self._process(**given)
        await self._call(**given)


_APP = SimpleNamespace(state=SimpleNamespace(MODELS={}))
_MESSAGES = [{"role": "user", "content": "word " * 200}] * 3


async def _nothing(*_: Any, **__: Any) -> None:
    """Stands in for Open WebUI's."""


async def _chats(runtime: Runtime, *, limited: bool) -> None:
    chat = Chat(runtime, limited=limited)
    for number in range(CALLS):
        name = f"u{number % _USERS}"
        scope = {
            "type": "http",
            "path": "/api/chat/completions",
            "person": SimpleNamespace(id=name, name=name, email="u@example.org", role="user"),
        }
        await chat.serve(scope, None, _nothing)


def _at_the_doors(group: str) -> float:
    """Microseconds of CPU of one chat on the event loop."""
    with _limited() as (budget, _):
        runtime = Bench([group], limits=budget).runtime
        with_doors = difference(
            lambda: _chats(runtime, limited=True), lambda: _chats(runtime, limited=False)
        )
    return with_doors / CALLS * MICRO


def table() -> Iterator[str]:
    """Measure, and return lines to print."""
    for what, group in (("of a user without limits", "other"), ("of a user with three", "g")):
        with _limited() as (budget, ledger):
            yield f"  one call {what}: {_told(budget, ledger, group)}"
        yield f"  one chat {what}, all its doors: {_at_the_doors(group):4.0f} µs of CPU"
    with _limited(_NEARLY_USED, _SPENT) as (budget, ledger):
        yield f"  one call of a pool of which {_SPENT:.0f} % are used: {_told(budget, ledger, 'g')}"


def _told(budget: Budget, ledger: object, group: str) -> str:
    clocks = asyncio.run(_calls(None, ledger, group)).loop
    cost = asyncio.run(_calls(budget, ledger, group))
    return (
        f"{cost.loop - clocks + cost.clerk:4.0f} µs of CPU"
        f" ({cost.clerk:.1f} in the thread that asks the database, {clocks:.1f} for the clocks"
        f" taken off), waits {cost.p50:.0f} µs, at most {cost.p99:.0f} µs in 99 of 100"
    )


if __name__ == "__main__":
    for line in table():
        print(line)
