"""Ended calls are told of a moment later, all of them, and at once where nobody would do it later."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui import deferred
from opentelemetry.instrumentation.open_webui.calls.call import ModelCall
from opentelemetry.instrumentation.open_webui.telemetry import later as module
from opentelemetry.instrumentation.open_webui.telemetry.later import Later
from unit.sdk import Sdk, answer

MANY = 3 * module._AT_ONCE + 1


@pytest.fixture(autouse=True)
def no_loop_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    yield
    deferred.forget()


@pytest.fixture
def told() -> list[ModelCall]:
    return []


@pytest.fixture
def later(told: list[ModelCall]) -> Later:
    later = Later(lambda call, _: told.append(call))
    later.begin()
    return later


def calls(number: int) -> list[Any]:
    return [object() for _ in range(number)]


def on_a_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        deferred.use_this_loop()
        await work()

    asyncio.run(run())


async def until(known: Callable[[], bool]) -> None:
    for _ in range(1000):
        if known():
            return
        await asyncio.sleep(0.01)


def test_all_are_told_of_later_in_their_order_and_other_work_comes_between(
    later: Later, told: list[ModelCall]
) -> None:
    expected = calls(MANY)

    async def work() -> None:
        for call in expected:
            later.add(call)
        assert not told
        steps = set[int]()
        while len(told) < MANY:
            await asyncio.sleep(0)
            steps.add(len(told))
        assert {module._AT_ONCE, 2 * module._AT_ONCE} <= steps

    on_a_loop(work)
    assert told == expected


def test_what_other_threads_end_is_told_of(later: Later, told: list[ModelCall]) -> None:
    expected = calls(MANY)

    async def work() -> None:
        threads = [threading.Thread(target=later.add, args=(call,)) for call in expected]
        for thread in threads:
            thread.start()
        await until(lambda: len(told) == MANY)

    on_a_loop(work)
    assert sorted(map(id, told)) == sorted(map(id, expected))


@pytest.mark.parametrize("closed", [False, True])
def test_without_a_loop_they_are_told_of_at_once(
    later: Later, told: list[ModelCall], closed: bool
) -> None:
    if closed:
        on_a_loop(lambda: asyncio.sleep(0))
    expected = calls(2)
    for call in expected:
        later.add(call)
    assert told == expected


def test_what_one_loop_left_undone_another_does_not_wait_for(
    later: Later, told: list[ModelCall]
) -> None:
    first, second = calls(2)

    async def left() -> None:
        later.add(first)

    async def work() -> None:
        later.begin()
        later.add(second)
        await until(lambda: len(told) == 2)

    on_a_loop(left)
    assert not told
    on_a_loop(work)
    assert told == [first, second]


def test_an_end_waits_for_the_one_that_is_being_told_of() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def tell(_call: ModelCall, _ended: int) -> None:
        begun.set()
        go_on.wait(10)

    later = Later(tell)
    telling = threading.Thread(target=later.add, args=calls(1))
    telling.start()
    assert begun.wait(10)
    ending = threading.Thread(target=later.end)
    ending.start()
    ending.join(0.2)
    assert ending.is_alive()
    go_on.set()
    ending.join(10)
    assert not ending.is_alive()
    telling.join(10)


def test_what_a_forked_process_did_not_see_it_does_not_tell_of(
    later: Later, told: list[ModelCall]
) -> None:
    async def work() -> None:
        later.add(calls(1)[0])
        later.forget()
        await asyncio.sleep(0.05)

    on_a_loop(work)
    later.end()
    assert not told


def test_a_stop_tells_of_all_and_of_each_that_ends_after_it() -> None:
    sdk = Sdk()

    async def work() -> None:
        sdk.telemetry.begin()
        for expected in (1, 2):
            call = sdk.call()
            call.read_message(answer())
            call.end()
            assert len(sdk.events) == expected - 1
            sdk.telemetry.flush()
            assert len(sdk.events) == expected
            if expected == 1:
                sdk.telemetry.begin()
        after = sdk.call()
        after.end()
        assert len(sdk.events) == 3

    on_a_loop(work)


def test_an_end_is_told_as_it_was_however_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 60)
    sdk = Sdk()

    async def work() -> None:
        sdk.telemetry.begin()
        call = sdk.call()
        call.end()
        await asyncio.sleep(0.2)
        sdk.telemetry.flush()

    on_a_loop(work)
    (span,) = sdk.spans.get_finished_spans()
    (event,) = sdk.logs.get_finished_logs()
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time < 100_000_000
    assert event.log_record.timestamp == span.end_time
