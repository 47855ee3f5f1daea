"""The doors that a version of Open WebUI or a kind of request has for itself."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import wrapt

from opentelemetry.instrumentation.open_webui.calls.caller import Caller
from opentelemetry.instrumentation.open_webui.calls.scene import Scene, scene
from opentelemetry.instrumentation.open_webui.calls.turn import Turn
from opentelemetry.instrumentation.open_webui.host import compat
from opentelemetry.instrumentation.open_webui.host.admission import (
    Leave,
    Visit,
    present_leave,
    refused,
    visit,
)
from opentelemetry.instrumentation.open_webui.host.connections import Connections
from opentelemetry.instrumentation.open_webui.host.surfaces import limits
from opentelemetry.instrumentation.open_webui.settings import Settings
from unit.host.test_admission import CALLER, REFUSAL, SENTENCE, Gate, Ticket, admission

DIRECT = {"model_item": {"direct": True}}
KNOWING = {"model_item": {"direct": True, "info": {"meta": {"knowledge": ["a"]}}}}
CHAT = {"session_id": "s", "id": "a", "chat_id": "c"}
NEW = {"session_id": "s", "id": "a", "parent_id": None}


@pytest.mark.parametrize(
    ("form", "own"),
    [
        ({}, False),
        (DIRECT, True),
        ({"model_item": {"direct": False}}, False),
        ({"model_item": "direct"}, False),
        ({**DIRECT, "files": [{}]}, False),
        (KNOWING, False),
    ],
)
def test_what_a_browser_asks_by_itself(form: dict[str, Any], own: bool) -> None:
    assert limits._is_own_affair(form) is own


@pytest.mark.parametrize(
    ("version", "form", "told"),
    [
        ((0, 12), {}, False),
        ((0, 12), CHAT, True),
        ((0, 6, 43), CHAT, True),
        ((0, 12), {**CHAT, "id": None}, False),
        ((0, 12), {**CHAT, "session_id": None}, False),
        ((0, 12), {**CHAT, "id": None, "message_ids": [{}]}, True),
        ((0, 12), NEW, True),
        ((0, 12), {**NEW, "parent_id": "p"}, False),
        # Before, a chat was there before its first message.
        ((0, 8, 12), NEW, False),
    ],
)
def test_what_is_told_in_a_chat(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], form: dict[str, Any], told: bool
) -> None:
    monkeypatch.setattr(compat, "version", lambda: version)
    assert limits._is_told_in_chat(form) is told


async def generate_chat_completion(request: Any, form_data: Any, user: Any) -> Any:
    raise refused(REFUSAL)


def later_round(*, begun: bool, stream: bool) -> Any:
    leave = Leave(Ticket(), "m1")
    if begun:
        leave.begins_with("m1")
    turn = Turn(SimpleNamespace(), frozenset(), None, lambda: None)  # type: ignore[arg-type]
    token = scene.set(Scene(SimpleNamespace(), turn=turn, ticket=leave))
    try:
        door = limits.last_round(SimpleNamespace())  # type: ignore[arg-type]
        wrapped = wrapt.FunctionWrapper(generate_chat_completion, door)
        return asyncio.run(wrapped(None, {"stream": stream}, None))
    finally:
        scene.reset(token)


def test_the_sentence_is_the_last_thing_said_where_errors_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compat, "version", lambda: (0, 8, 12))
    answer = later_round(begun=True, stream=True)

    async def read() -> list[str]:
        return [piece async for piece in answer.body_iterator]

    first, last = asyncio.run(read())
    assert json.loads(first.removeprefix("data: "))["choices"][0]["delta"]["content"] == SENTENCE
    assert last == "data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("version", "begun", "stream"),
    [((0, 11), True, True), ((0, 8, 12), False, True), ((0, 8, 12), True, False)],
)
def test_elsewhere_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], begun: bool, stream: bool
) -> None:
    monkeypatch.setattr(compat, "version", lambda: version)
    with pytest.raises(Exception, match=SENTENCE):
        later_round(begun=begun, stream=stream)


def runtime(gate: Gate) -> Any:
    connections = Connections(None, None)  # type: ignore[arg-type]
    connections._prefixes = ("p.", "p.q.")
    return SimpleNamespace(admission=admission(gate), settings=Settings(), connections=connections)


def test_a_model_goes_by_the_name_that_the_provider_knows_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {"desk": {"info": {"base_model_id": "p.m1"}}}
    request = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(MODELS=known)))

    def others(model: str) -> tuple[str, ...]:
        return limits._standing_on(runtime(Gate()), request, model)

    assert others("m1") == others("p") == ()
    assert others("p.m1") == ("m1",)
    assert others("p.q.m1") == ("q.m1", "m1")
    assert others("desk") == ("p.m1", "m1")
    monkeypatch.setattr(compat, "version", lambda: (0, 6, 43))
    assert others("m1:latest") == ()
    assert others("p.m1") == ("m1", "p.m1:latest", "m1:latest")


def embed(model: str, texts: list[str], user: Any = None) -> str:
    return "embedded"


@pytest.mark.parametrize("refused_model", ["m1", "m2"])
def test_a_function_in_a_thread_is_looked_at_too(refused_model: str) -> None:
    gate = Gate(refused_model)
    wrapped = wrapt.FunctionWrapper(embed, limits.leaf(runtime(gate)))
    if refused_model == "m1":
        with pytest.raises(Exception, match=SENTENCE):
            wrapped("m1", ["text"])
    else:
        assert wrapped("m1", ["text"]) == "embedded"
    assert [wanted.model for wanted, _ in gate.asked] == ["m1"]


async def answers(request: Any = None, form_data: Any = None) -> str:
    form_data.clear()
    return "answered"


@pytest.mark.parametrize("breaks", ["bound", "find_caller"])
@pytest.mark.parametrize(
    "door", [limits.turn, limits.messages, limits.answer, limits.leaf, limits.chat]
)
def test_a_door_that_breaks_lets_pass(
    door: Any, breaks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError(breaks)

    monkeypatch.setattr(limits, breaks, broken)
    wrapped = wrapt.FunctionWrapper(answers, door(runtime(Gate("m1"))))
    turn, form = Turn(SimpleNamespace(), frozenset({"m1"}), None, lambda: None), {"model": "m1"}  # type: ignore[arg-type]
    token = scene.set(Scene(None, turn=turn, ticket=Leave(Ticket(), "m2")))
    try:
        if door is not limits.answer:  # It looks only at what was let in.
            scene.set(None)
        assert asyncio.run(wrapped(SimpleNamespace(scope={}), form)) == "answered"
    finally:
        scene.reset(token)


class Turns:
    """A turn of somebody whom no limit is for, as Open WebUI's functions call each other."""

    def __init__(self) -> None:
        self.gate = Gate("m1")
        self.runtime = runtime(self.gate)
        self.turn = Turn(SimpleNamespace(), frozenset({"m1", "m2"}), None, lambda: None)  # type: ignore[arg-type]
        self.leaves: list[Leave | None] = []
        self.begin = self.behind(limits.turn, self.complete)
        self.answer = self.behind(limits.answer, self.note)
        self.call = self.behind(limits.chat, self.note)
        self.embed = self.behind(limits.leaf, self.note)

    def behind(self, door: Any, function: Any) -> Any:
        return wrapt.FunctionWrapper(function, door(self.runtime))

    async def note(self, request: Any, form_data: Any) -> None:
        self.leaves.append(present_leave())

    async def complete(self, request: Any, form_data: Any) -> None:
        for each in (self.answer, self.call, self.call, self.embed):
            await each(request, form_data)

    def run(self, caller: Caller | None = None) -> None:
        request = SimpleNamespace(
            scope={}, state=SimpleNamespace(user=SimpleNamespace(id="u1")), headers={}
        )

        async def running() -> None:
            groups = self.runtime.admission._groups
            groups.expect("u1")
            await groups.wait("u1")
            token = scene.set(Scene(request, turn=self.turn, caller=caller))
            try:
                await self.begin(request, {"model": "m1"})
            finally:
                scene.reset(token)

        self.turn.hold()
        asyncio.run(running())


def test_whom_no_limit_is_for_is_asked_nothing_and_has_leave() -> None:
    turns = Turns()
    turns.gate.free = {"u1"}
    turns.run()
    assert turns.gate.asked == []
    [leave] = set(turns.leaves)
    assert leave is not None
    assert not leave.over
    turns.turn.release()
    assert leave.over


def test_each_call_of_a_turn_belongs_to_it_once_and_is_looked_at_again_from_then_on() -> None:
    turns = Turns()
    turns.gate.refused = ("m2",)
    turns.run(CALLER)
    # The turn, by whom it was opened for, and the second round.
    assert [wanted.source for wanted, _ in turns.gate.asked] == ["api", "background"]
    assert [ticket for _, ticket in turns.gate.asked] == [None, turns.gate.tickets[0]]
    [leave] = set(turns.leaves)
    assert leave is not None
    turns.turn.release()
    assert [ticket.released for ticket in turns.gate.tickets] == [1, 1]


def test_a_limit_that_comes_meanwhile_refuses_what_is_asked_again_and_no_part_of_it() -> None:
    turns = Turns()
    turns.gate.free = {"u1"}

    async def complete(request: Any, form_data: Any) -> None:
        await turns.answer(request, form_data)
        turns.gate.free.clear()
        await turns.call(request, form_data)
        await turns.embed(request, form_data)
        with pytest.raises(Exception, match=SENTENCE):
            await turns.call(request, form_data)

    turns.begin = turns.behind(limits.turn, complete)
    turns.run()
    assert len(set(turns.leaves)) == 1
    assert [wanted.model for wanted, _ in turns.gate.asked] == ["m1"]


@pytest.mark.parametrize(
    ("version", "source", "fails"),
    [((0, 11), "background", True), ((0, 12), "background", False), ((0, 11), "api", False)],
)
def test_a_run_that_hears_of_no_errors_is_told_of_its_refusal(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], source: str, fails: bool
) -> None:
    monkeypatch.setattr(compat, "version", lambda: version)
    caller = replace(CALLER, source=source)
    monkeypatch.setattr(limits, "find_caller", lambda *_: caller)
    wrapped = wrapt.FunctionWrapper(answers, limits.turn(runtime(Gate("m1"))))
    form = {"model": "m1", "automation_id": "a", **CHAT}
    request = SimpleNamespace(scope={}, app=SimpleNamespace(state=SimpleNamespace(MODELS={})))
    if fails:
        with pytest.raises(Exception, match=SENTENCE):
            asyncio.run(wrapped(request, form))
    else:
        assert asyncio.run(wrapped(request, form)) == "answered"


def test_a_body_that_is_not_as_it_should_be_is_no_browsers_own() -> None:
    assert not limits._is_own_affair({"model_item": {"direct": True, "info": "odd"}})


def test_a_thread_finds_the_visit_of_its_request() -> None:
    opened = Visit({"path": "/api/v1/audio/transcriptions"})
    request = SimpleNamespace(scope={limits._VISIT: opened})

    def transcription_handler(request: Any, path: str) -> Any:
        return visit.get()

    wrapped = wrapt.FunctionWrapper(
        transcription_handler,
        limits.in_thread(SimpleNamespace()),  # type: ignore[arg-type]
    )
    assert wrapped(request, "a.wav") is opened
    assert visit.get() is None
