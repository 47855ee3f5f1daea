"""An answer that nobody waits for is read and settled by who tells of its call, a moment later."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.calls import calls as module
from opentelemetry.instrumentation.open_webui.calls import live
from opentelemetry.instrumentation.open_webui.calls.call import ModelCall
from opentelemetry.instrumentation.open_webui.calls.calls import Calls
from opentelemetry.instrumentation.open_webui.calls.passage import Passage
from unit.sdk import Recorder, accountant, answer, asked, caller_named

BODY = json.dumps(answer(9, 5)).encode()
FAILED = b'{"error": {"code": "rate_limit_exceeded"}}'


@pytest.fixture
def patient() -> Recorder:
    return Recorder()


@pytest.fixture
def calls(patient: Recorder) -> Calls:
    return Calls(accountant(), [patient], patient=True)


def ended(calls: Calls, body: bytes = BODY, status: int = 200, **more: Any) -> ModelCall:
    started = calls.start(asked(stream=more.pop("stream", False)), caller_named(), **more)
    started.answered(status, {})
    passage = Passage(started)
    passage.piece(body)
    passage.end()
    return started.call


def settle(call: ModelCall) -> None:
    assert call.unsettled is not None
    call.unsettled()
    assert call.unsettled is None


def test_it_is_read_when_it_is_told_of(calls: Calls, patient: Recorder) -> None:
    call = ended(calls)
    assert patient.told == [call]
    assert (call.usage, call.answer.model) == (Usage(), None)
    settle(call)
    assert (call.usage, call.answer.model, call.error) == (Usage(9, 5), "m-1", None)


def test_an_error_inside_it_is_found_then(calls: Calls) -> None:
    call = ended(calls, FAILED)
    assert call.error is None
    settle(call)
    assert call.error == "rate_limit_exceeded"


@pytest.mark.parametrize(
    "what",
    [
        {"on_end": lambda _: None},
        {"status": 500},
        {"stream": True, "body": b"data: " + BODY + b"\n\n"},
        {"body": BODY.replace(b"c1", b"c" * live._MOST_KEPT)},
    ],
)
def test_what_somebody_waits_for_or_is_large_is_read_at_once(
    calls: Calls, what: dict[str, Any]
) -> None:
    call = ended(calls, **what)
    assert (call.unsettled, call.usage) == (None, Usage(9, 5))


def test_who_hears_of_the_end_finds_it_settled(calls: Calls) -> None:
    heard: list[Usage] = []
    ended(calls, on_end=lambda call: heard.append(call.usage))
    assert heard == [Usage(9, 5)]


def test_a_call_that_failed_is_settled_at_once(calls: Calls) -> None:
    call = calls.start(asked(), caller_named())
    passage = Passage(call)
    passage.piece(FAILED)
    passage.fail(ConnectionResetError())
    assert call.call.unsettled is None
    assert call.call.error == "ConnectionResetError"


def test_where_a_listener_cannot_wait_nobody_does(patient: Recorder) -> None:
    call = ended(Calls(accountant(), [patient]))
    assert (call.unsettled, call.usage) == (None, Usage(9, 5))


def test_few_wait_at_a_time(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_UNSETTLED", 2)
    first, second, third = (ended(calls) for _ in range(3))
    assert (third.unsettled, third.usage) == (None, Usage(9, 5))
    settle(first)
    assert ended(calls).unsettled is not None
    settle(second)
    calls.leave_all()
    assert not calls._unsettled
