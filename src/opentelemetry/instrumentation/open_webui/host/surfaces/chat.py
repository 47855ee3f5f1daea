"""A chat request and the turn it starts: ``main.py``, ``utils/middleware.py``, ``tasks.py``.

Calls no model itself. It says which model the caller picked, and keeps together in one trace what
belongs together: the answers, their tool loops, and the title, tags and follow-ups that come after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from ...calls.caller import Caller
from ...calls.scene import Scene, scene
from ...calls.turn import Turn
from ...guard import guarded
from ...host.identity import find_caller, source_of_chat, user_id_in
from ...host.runtime import Runtime
from ...wrapping import Wrapper, bound
from ..patching import MAIN, Target

CHAT_FIELDS: Final = ("chat_id", "session_id")
"""What ``chat_completion`` reads off the body itself, before there is any metadata."""
_SUBAGENTS: Final = "/api/v1/subagents/"


def chat_request(runtime: Runtime) -> Wrapper:
    """Wrap ``chat_completion``: the start of a turn, or of a call that belongs to no chat."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        opened = _open(runtime, wrapped, args, kwargs)
        if opened is None:
            return await wrapped(*args, **kwargs)
        token = scene.set(opened)
        try:
            if opened.turn is None:
                return await wrapped(*args, **kwargs)
            with _holding(runtime, opened.turn):
                return await wrapped(*args, **kwargs)
        finally:
            scene.reset(token)

    return wrapper


def dispatch(runtime: Runtime) -> Wrapper:
    """Wrap ``generate_chat_completion``, which calls itself once an arena has chosen a model."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        within = _dispatching(runtime, wrapped, args, kwargs)
        if within is None:
            return await wrapped(*args, **kwargs)
        token = scene.set(within)
        try:
            return await wrapped(*args, **kwargs)
        finally:
            scene.reset(token)

    return wrapper


@guarded
def _dispatching(
    runtime: Runtime, function: Callable[..., Any], args: Any, kwargs: Any
) -> Scene | None:
    given = bound(function, args, kwargs)
    here = scene.get() or Scene(given["request"], given.get("user"))
    if not runtime.active or here.dispatched is not None:
        return None
    model = given["form_data"].get("model")
    return here._replace(dispatched=model if isinstance(model, str) else None)


def answer_of_one_model(runtime: Runtime) -> Wrapper:
    """Wrap ``process_chat_payload``, which each answer of a turn begins with, in its own task."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        here = scene.get()
        if here is not None and here.turn is not None and runtime.active:
            _enter_answer(here, here.turn, bound(wrapped, args, kwargs))
        return await wrapped(*args, **kwargs)

    return wrapper


def task_of_a_turn(runtime: Runtime) -> Wrapper:
    """Wrap ``create_task``: the turn lasts until the task is done."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        created = await wrapped(*args, **kwargs)
        if runtime.active:
            _hold_for(created)
        return created

    return wrapper


def tasks_after_an_answer(runtime: Runtime) -> Wrapper:
    """Wrap what works on after the answer: the turn lasts until title, tags, … are made."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        here = scene.get()
        with _holding(runtime, here.turn if here is not None else None):
            return await wrapped(*args, **kwargs)

    return wrapper


@guarded
def _open(runtime: Runtime, function: Callable[..., Any], args: Any, kwargs: Any) -> Scene | None:
    if not runtime.active:
        return None
    given = bound(function, args, kwargs)
    form: Mapping[str, Any] = given["form_data"]
    picked = form.get("model")
    if not isinstance(picked, str):
        return None
    opened = _scene(given["request"], given.get("user"), picked)
    belongs_to_chat = form.get("chat_id") or form.get("parent_id", "") is None
    if not belongs_to_chat and not runtime.admission.asks:
        return _alone(runtime, opened, form)
    caller = _chat_caller(runtime, opened, form)
    runtime.groups.expect(caller.user_id)
    turn = _new_turn(runtime, caller, form) if belongs_to_chat else None
    return opened._replace(turn=turn, source=caller.source, caller=caller)


def _alone(runtime: Runtime, opened: Scene, form: Mapping[str, Any]) -> Scene:
    """Return the scene of a request of which no turn tells, and which no limit asks about."""
    runtime.groups.expect(user_id_in(opened))
    if opened.source:
        return opened
    return opened._replace(source=source_of_chat(opened.request, _said(form)))


def _scene(request: Any, user: Any, picked: str) -> Scene:
    around = scene.get()
    # A sub-agent works for the turn that sent for it; other work of Open WebUI's own for nobody.
    within = request.scope.get("path", "").startswith(_SUBAGENTS)
    source = around.source if around is not None and within else None
    ticket = around.ticket if around is not None else None
    return Scene(request, user, model_id=picked, source=source, ticket=ticket)


def _chat_caller(runtime: Runtime, opened: Scene, form: Mapping[str, Any]) -> Caller:
    token = scene.set(opened)
    try:
        return find_caller(runtime.settings, form=_said(form))
    finally:
        scene.reset(token)


def _said(form: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = {key: form.get(key) for key in CHAT_FIELDS}
    return {"model": form["model"], "metadata": metadata}


def _new_turn(runtime: Runtime, caller: Caller, form: Mapping[str, Any]) -> Turn:
    # The picked model is this request's, not that of a turn it may be started from.
    caller = replace(caller, model_id=form["model"])
    work = runtime.telemetry.spans.start_turn(caller)
    return Turn(
        work,
        frozenset(picked_models(form)),
        caller.chat_id,
        lambda: runtime.telemetry.spans.end_turn(work, runtime.groups.of(caller.user_id)),
    )


def picked_models(form: Mapping[str, Any]) -> Iterator[str]:
    """Yield the models that a chat request asks for answers."""
    if isinstance(form.get("model"), str):
        yield form["model"]
    entries = form.get("message_ids")
    if isinstance(entries, dict):
        yield from entries
    elif isinstance(entries, list):
        named = (entry.get("model_id") for entry in entries if isinstance(entry, dict))
        yield from (model for model in named if isinstance(model, str))


@contextmanager
def _holding(runtime: Runtime, turn: Turn | None) -> Iterator[None]:
    if turn is None:
        yield
        return
    turn.hold()
    try:
        with runtime.telemetry.spans.current(turn.work.span):
            yield
    except Exception as error:
        turn.work.broke(error)
        raise
    finally:
        turn.release()


@guarded
def _enter_answer(here: Scene, turn: Turn, given: Mapping[str, Any]) -> None:
    model = given["form_data"].get("model")
    # Any other name is what a missing base model was replaced by; the caller did not pick it.
    if isinstance(model, str) and model in turn.models:
        scene.set(here._replace(model_id=model))
    turn.in_chat((given.get("metadata") or {}).get("chat_id"))


@guarded
def _hold_for(created: Any) -> None:
    here = scene.get()
    if here is None or here.turn is None:
        return
    _, task = created
    here.turn.hold()
    task.add_done_callback(here.turn.release)


TARGETS: Final = (
    Target(
        MAIN,
        "chat_completion",
        chat_request,
        covers="turns of a chat, and the picked model of a call",
    ),
    Target(
        "open_webui.utils.middleware",
        "process_chat_payload",
        answer_of_one_model,
        covers="the picked model when several answer",
    ),
    Target(
        "open_webui.utils.middleware",
        "background_tasks_handler",
        tasks_after_an_answer,
        covers="titles, tags and follow-ups as part of their turn",
        since=(0, 8),
    ),
    Target(
        "open_webui.utils.chat",
        "generate_chat_completion",
        dispatch,
        covers="the picked model of a task that an arena answers",
    ),
    Target(
        "open_webui.utils.memory",
        "_review_memory",
        tasks_after_an_answer,
        covers="reviews of what to remember as part of their turn",
        since=(0, 12),
    ),
    Target("open_webui.tasks", "create_task", task_of_a_turn, covers="the end of a turn"),
)
