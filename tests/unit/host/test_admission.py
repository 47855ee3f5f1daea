"""Leave to call models: how long it holds, who passes it on, and what becomes of a refusal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from opentelemetry.instrumentation.open_webui.calls.caller import Caller
from opentelemetry.instrumentation.open_webui.calls.scene import Scene, scene
from opentelemetry.instrumentation.open_webui.host.admission import (
    Admission,
    Asking,
    Leave,
    Visit,
    holding,
    present_leave,
    under,
    visit,
)
from opentelemetry.instrumentation.open_webui.host.groups import Groups
from opentelemetry.instrumentation.open_webui.limits.gate import NearlyUsed, Refusal, Wanted

SENTENCE = "You have used your 3 requests for today."
REFUSAL = Refusal("three", "requests", Decimal(3), Decimal(3), None, 60, SENTENCE)
CALLER = Caller("u1", "Ada", (), "api", "api_key", "chat", None, "/api/chat/completions", "m1")


class Ticket:
    """Counts how often it is let go."""

    id = "t"

    def __init__(self, warnings: tuple[NearlyUsed, ...] = ()) -> None:
        self.warnings = warnings
        self.released = 0

    def release(self) -> None:
        self.released += 1


class Gate:
    """Refuses some models, and keeps what it was asked."""

    open = False

    def __init__(self, *refused: str, warnings: tuple[NearlyUsed, ...] = ()) -> None:
        self.refused = refused
        self.warnings = warnings
        self.asked: list[tuple[Wanted, Any]] = []
        self.booked: list[str] = []
        self.tickets: list[Ticket] = []
        self.free: set[str] = set()

    def binds(self, user_id: str, groups: tuple[str, ...]) -> bool:
        return not self.free & {user_id, *groups}

    async def admit(self, wanted: Wanted, ticket: Any = None) -> Any:
        return self.admit_in_thread(wanted, ticket)

    def admit_in_thread(self, wanted: Wanted, ticket: Any = None) -> Any:
        self.asked.append((wanted, ticket))
        if {wanted.model, *wanted.other_models} & set(self.refused):
            return REFUSAL
        self.tickets.append(Ticket(self.warnings))
        return self.tickets[-1]

    def book(self, _refusal: Any, wanted: Wanted, _caller: Any, operation: str = "chat") -> None:
        self.booked.append(wanted.model)


class Broken(Gate):
    """Fails."""

    def admit_in_thread(self, wanted: Wanted, ticket: Any = None) -> Any:
        raise RuntimeError("no")


async def groups_of(user_ids: Any) -> dict[str, list[str]]:
    return {user_id: ["staff"] for user_id in user_ids}


def admission(gate: Any, *, is_on: bool = True) -> Admission:
    return Admission(gate, Groups(groups_of, 30.0), lambda _: 7, lambda: is_on)


def asking(model: str = "m1", **more: Any) -> Asking:
    return Asking(CALLER, model, **more)


async def serve(
    visited: Visit, work: Callable[[], Any], status: int = 200
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Answer a request as Open WebUI does, whatever the work raises."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    token = visit.set(visited)
    sends = visited.sends(send)
    try:
        try:
            await work()
        except HTTPException:
            status = 500
        await sends({"type": "http.response.start", "status": status, "headers": []})
        await sends({"type": "http.response.body", "body": b"Open WebUI's"})
    finally:
        visit.reset(token)
        visited.close()
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def visited(path: str = "/api/chat/completions") -> Visit:
    return Visit({"type": "http", "path": path})


# --- leave ----------------------------------------------------------------------------------------


def test_the_last_holder_gives_the_ticket_back_once() -> None:
    ticket = Ticket()
    leave = Leave(ticket, "m1")
    leave.hold()
    leave.hold()
    leave.release()
    assert ticket.released == 0
    leave.release()
    leave.release()
    assert (ticket.released, leave.over) == (1, True)


def test_a_renewed_ticket_stands_in_for_the_old_one() -> None:
    old, new = Ticket(), Ticket()
    leave = Leave(old, "m1")
    leave.renew(old)
    assert old.released == 0
    leave.renew(new)
    assert (old.released, new.released) == (1, 0)


def test_each_model_begins_once() -> None:
    leave = Leave(Ticket(), "m1")
    assert [leave.begins_with("m1"), leave.begins_with("m1")] == [True, False]
    assert not leave.begins_with("m2")
    leave.admits("m2")
    assert leave.begins_with("m2")


def test_what_runs_under_leave_finds_it_and_what_comes_after_does_not() -> None:
    leave = Leave(Ticket(), "m1")
    before = Scene(SimpleNamespace())
    token = scene.set(before)
    try:
        with under(leave):
            assert present_leave() is leave
        assert scene.get() is before
    finally:
        scene.reset(token)
    assert present_leave() is None
    assert leave.over


def test_held_leave_is_not_passed_on() -> None:
    leave = Leave(Ticket(), "m1")
    with holding(leave):
        assert present_leave() is None
        assert not leave.over
    assert leave.over


def test_a_request_passes_on_what_it_was_let_in_with_until_its_answer_is_out() -> None:
    leave, opened = Leave(Ticket(), "m1"), visited()
    token = visit.set(opened)
    try:
        with under(leave):
            pass
        assert present_leave() is leave
        opened.close()
        assert present_leave() is None
    finally:
        visit.reset(token)
    assert leave.over


def test_a_request_of_open_webuis_own_is_none_of_the_visit() -> None:
    leave, opened = Leave(Ticket(), "m1", {"path": "/internal"}), visited()
    token = visit.set(opened)
    try:
        with under(leave):
            pass
        assert present_leave() is None
    finally:
        visit.reset(token)


# --- asking ---------------------------------------------------------------------------------------


def test_the_limits_hear_who_asks_what() -> None:
    gate = Gate()
    asked = asking(form={"messages": []}, other_models=("base",))
    asyncio.run(admission(gate).enter(asked, direct=True))
    [(wanted, ticket)] = gate.asked
    assert wanted == Wanted("u1", ("staff",), "m1", "api", 7, ("base",), True)
    assert ticket is None


def test_it_begins_with_any_of_several_models_and_books_nothing_then() -> None:
    gate = Gate("m1")
    leave = asyncio.run(admission(gate).enter(asking("m1"), asking("m2")))
    assert leave.admitted == {"m2"}
    assert gate.booked == []


def test_who_is_refused_all_is_told_of_the_first() -> None:
    gate = Gate("m1", "m2")
    with pytest.raises(HTTPException) as raised:
        asyncio.run(admission(gate).enter(asking("m1"), asking("m2")))
    assert raised.value.status_code == 429
    assert str(raised.value) == raised.value.detail == SENTENCE
    assert raised.value.headers["retry-after"] == "60"
    assert gate.booked == ["m1"]


def test_looking_again_takes_the_turns_ticket_along() -> None:
    gate = Gate("m2")
    doors = admission(gate)

    async def turn() -> Leave:
        leave = await doors.enter(asking())
        await doors.again(leave, asking())
        with pytest.raises(HTTPException):
            await doors.again(leave, asking("m2"))
        return leave

    leave = asyncio.run(turn())
    first, second = gate.tickets
    assert [ticket for _, ticket in gate.asked] == [None, first, second]
    assert (first.released, leave.ticket) == (1, second)


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("broken", ["limits", "groups"])
def test_limits_that_fail_cost_nobody_the_chat(in_thread: bool, broken: str) -> None:
    doors = admission(Broken() if broken == "limits" else Gate("m1"))
    if broken == "groups":
        doors._groups = None  # type: ignore[assignment]
    asked = asking()
    leave = doors.enter_in_thread(asked) if in_thread else asyncio.run(doors.enter(asked))
    leave.release()


def test_the_last_door_lets_pass_what_was_let_in_before() -> None:
    gate = Gate("m1")
    doors, asked = admission(gate), SimpleNamespace(model="m1", operation="speech")
    with pytest.raises(HTTPException):
        asyncio.run(doors.permit(CALLER, asked))
    with pytest.raises(HTTPException):
        doors.permit_in_thread(CALLER, asked)
    with under(Leave(Ticket(), "m1")):
        doors.permit_in_thread(CALLER, asked)
    assert len(gate.asked) == 2


def test_whom_no_limit_is_for_passes_once_their_groups_are_known() -> None:
    gate = Gate("m1")
    gate.free = {"staff"}
    doors = admission(gate)
    assert not doors.lets_pass("u1")

    async def ask() -> bool:
        await doors._know_groups(CALLER)
        return doors.lets_pass("u1")

    assert asyncio.run(ask())
    asyncio.run(doors.permit(CALLER, SimpleNamespace(model="m1", operation="chat")))
    assert gate.asked == []
    doors._groups = None  # type: ignore[assignment]
    assert not doors.lets_pass("u1")


@pytest.mark.parametrize(("is_open", "is_on"), [(True, True), (False, False)])
def test_a_gate_that_is_open_or_off_is_not_asked(is_open: bool, is_on: bool) -> None:
    gate = Gate("m1")
    gate.open = is_open
    doors = admission(gate, is_on=is_on)
    asyncio.run(doors.permit(CALLER, SimpleNamespace(model="m1", operation="chat")))
    assert gate.asked == []


# --- the answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 200])
def test_whatever_is_made_of_a_refusal_its_answer_is_ours(status: int) -> None:
    doors = admission(Gate("m1"))

    async def swallowing() -> None:
        with pytest.raises(HTTPException):
            await doors.enter(asking())

    code, headers, body = asyncio.run(serve(visited(), swallowing, status))
    assert code == 429
    assert headers[b"x-should-retry"] == b"false"
    assert SENTENCE.encode() in body


def test_what_is_refused_of_another_request_leaves_the_answer() -> None:
    doors = admission(Gate("m1"))

    async def beside() -> None:
        with pytest.raises(HTTPException):
            await doors.enter(asking(scope={"path": "/internal"}))

    assert asyncio.run(serve(visited(), beside))[0] == 200


def test_a_good_answer_of_who_was_let_in_stays_what_it_is() -> None:
    doors = admission(Gate("m2"))

    async def partly() -> None:
        leave = await doors.enter(asking())
        with under(leave), pytest.raises(HTTPException):
            await doors.again(leave, asking("m2"))

    code, _, body = asyncio.run(serve(visited(), partly))
    assert (code, body) == (200, b"Open WebUI's")


def test_a_warning_goes_with_the_answer() -> None:
    nearly = NearlyUsed("three", "requests", Decimal(2), Decimal(3), time.time(), "")
    gate = Gate(warnings=(nearly,))
    doors = admission(gate)

    async def work() -> None:
        with under(await doors.enter(asking())):
            pass

    _, headers, _ = asyncio.run(serve(visited(), work))
    assert headers[b"x-usage-limit-warning"] == b"three; measure=requests; used=2; allowed=3"
    assert gate.tickets[0].released == 1
