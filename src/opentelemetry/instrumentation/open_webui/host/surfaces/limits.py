"""The doors at which the limits are asked: where a request first becomes a turn or a call.

Never deeper: what is refused in the middle of a turn leaves an answer without its documents. The
doors stand within the wrappers of :data:`~.TARGETS`, which say who calls; a Function pipe's stands
before, as a call that is not made is not to be told as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from ...calls.caller import Caller
from ...calls.scene import present
from ...calls.transport import Announced, announced
from ...guard import guarded
from ...limits.gate import Refusal
from ...limits.off import FREE
from ...names import CHAT_TASK, LIMIT_EXCEEDED
from ...wrapping import Wrapper, bound, is_async
from .. import compat
from ..admission import (
    CHAT,
    Admission,
    Asking,
    Denied,
    Leave,
    Visit,
    denied,
    holding,
    present_leave,
    refusal_of,
    refused,
    under,
    visit,
)
from ..identity import find_caller, find_user_id
from ..patching import MAIN, Target
from ..runtime import Runtime
from . import images, notices, ollama, openai, retrieval
from .audio import REALTIME
from .chat import CHAT_FIELDS, picked_models
from .leaf import form_of

Form = Mapping[str, Any]
UNKNOWN: Final = "unknown"
"""A model that nobody named."""
_ANSWERS: Final = "generate_chat_completion"
_TELLS_ERRORS: Final = (0, 11)
_BEGINS_CHATS: Final = (0, 9)
_HEARS_OF_RUNS: Final = (0, 12)
_TAKES_NAMES: Final = (0, 8)
_VISIT: Final = "open_webui_visit"
_RESPOND: Final = "response.create"


def request(runtime: Runtime) -> Wrapper:
    """Wrap the router: what a request was let in with is let go when its answer has gone out."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        if not runtime.active or args[0]["type"] == "lifespan":
            return await wrapped(*args, **kwargs)
        scope, receive, send = args
        opened = scope[_VISIT] = Visit(scope)
        token = visit.set(opened)
        try:
            await wrapped(scope, receive, opened.sends(send))
        finally:
            visit.reset(token)
            opened.close()

    return wrapper


def in_thread(_runtime: Runtime) -> Wrapper:
    """Wrap ``transcription_handler``: before 0.9 threads run it, which know nothing of a request.

    Whether it calls anybody depends on what is configured, so the limits are asked by the client.
    """

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        its = visit.get() or _visit_of(bound(wrapped, args, kwargs).get("request"))
        token = visit.set(its)
        try:
            return wrapped(*args, **kwargs)
        finally:
            visit.reset(token)

    return wrapper


@guarded
def _visit_of(request: Any) -> Visit | None:
    found: Visit | None = request.scope.get(_VISIT)
    return found


def turn(runtime: Runtime) -> Wrapper:
    """Wrap ``chat_completion``: a turn, or a call that belongs to no chat."""
    admission = runtime.admission

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        if not admission.asks:
            return await wrapped(*args, **kwargs)
        free = _leave_of_the_free(runtime, wrapped, args, kwargs)
        if free is not None:
            _last_as_long_as_the_turn(free)
            with under(free):
                return await wrapped(*args, **kwargs)
        several = _of_turn(runtime, wrapped, args, kwargs)
        if not several:
            return await wrapped(*args, **kwargs)
        direct = bool(_is_own_affair(several[0].form))
        leave = await _let_in(admission, several, direct=direct)
        if isinstance(leave, Refusal):
            # Open WebUI keeps the message with its error, so that the chat goes on from there.
            _without_tasks(several[0].form)
            # What the form says is taken out of it on the way.
            hears_nothing = _is_run_that_hears_no_errors(several[0])
            with denied(leave):
                answered = await wrapped(*args, **kwargs)
            if hears_nothing:
                raise refused(leave)
            return answered
        _last_as_long_as_the_turn(leave)
        # What the browser asks by itself lets nothing in that our providers are asked beside it.
        with holding(leave) if direct else under(leave):
            return await wrapped(*args, **kwargs)

    return wrapper


@guarded
def _leave_of_the_free(
    runtime: Runtime, function: Callable[..., Any], args: Any, kwargs: Any
) -> Leave | None:
    """Return leave for a turn of somebody whom no limit is for now; for it, that stays so."""
    given = bound(function, args, kwargs)
    request = given["request"]
    if not runtime.admission.lets_pass(find_user_id(request, given.get("user"))):
        return None
    return Leave(FREE, given["form_data"]["model"], request.scope)


async def _let_in(
    admission: Admission, several: Sequence[Asking], *, direct: bool
) -> Leave | Refusal:
    """Return leave for a turn, or what is to be told in its chat."""
    leave = present_leave()
    # A sub-agent's turn is within another's, but one of its own.
    if leave is not None and leave.of is several[0].scope:
        return leave
    try:
        return await admission.enter(*several, direct=direct)
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None or not several[0].in_chat:
            raise
        return refusal


def answer(runtime: Runtime) -> Wrapper:
    """Wrap ``process_chat_payload``: each of several models is looked at before it does anything.

    Here, too, a refusal is told in a chat, and people of a limit that is nearly used.
    """
    admission = runtime.admission

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        _raise_if_denied()
        leave = present_leave()
        if leave is not None and not _is_free(runtime, wrapped, args, kwargs):
            further = _further(runtime, leave, wrapped, args, kwargs)
            if further is not None:
                await admission.again(leave, further)
                leave.admits(further.model)
            _warn(leave, wrapped, args, kwargs)
        return await wrapped(*args, **kwargs)

    return wrapper


@guarded
def _warn(leave: Leave, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    notices.warn(leave.ticket.warnings, bound(function, args, kwargs).get("metadata"))


def _raise_if_denied() -> None:
    here = present()
    if here is None or not isinstance(here.ticket, Denied):
        return
    if here.turn is not None:
        here.turn.work.fail(LIMIT_EXCEEDED)
    raise refused(here.ticket.refusal)


def messages(runtime: Runtime) -> Wrapper:
    """Wrap ``generate_messages``, which has the provider count before it becomes a turn."""
    admission = runtime.admission

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        free = _is_free(runtime, wrapped, args, kwargs)
        asked = None if free else _of_turn(runtime, wrapped, args, kwargs)
        if not asked:
            return await wrapped(*args, **kwargs)
        with under(await admission.enter(asked[0])):
            return await wrapped(*args, **kwargs)

    return wrapper


def leaf(runtime: Runtime) -> Wrapper:
    """Wrap a function that calls a provider, asynchronous or not, and may be a request's all."""
    admission = runtime.admission

    async def enter(asked: Asking, wrapped: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        with under(await admission.enter(asked)):
            return await wrapped(*args, **kwargs)

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        free = present_leave() is not None or _calls_freely(runtime, wrapped, args, kwargs)
        asked = None if free else _asked(runtime, wrapped, args, kwargs)
        if asked is None:
            return wrapped(*args, **kwargs)
        if is_async(wrapped):
            return enter(asked, wrapped, args, kwargs)
        with under(admission.enter_in_thread(asked)):
            return wrapped(*args, **kwargs)

    return wrapper


def chat(runtime: Runtime) -> Wrapper:
    """Wrap a function that answers chats: each round of a turn's tools is looked at again."""
    admission = runtime.admission

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        free = _calls_freely(runtime, wrapped, args, kwargs)
        leave = present_leave()
        if free or (leave is not None and _is_let_in(runtime, leave, wrapped, args, kwargs)):
            return await wrapped(*args, **kwargs)
        asked = _asked(runtime, wrapped, args, kwargs)
        if asked is None:
            return await wrapped(*args, **kwargs)
        if leave is not None:
            await admission.again(leave, asked)
            return await wrapped(*args, **kwargs)
        leave = await admission.enter(asked)
        leave.begins_with(asked.called)
        with under(leave):
            return await wrapped(*args, **kwargs)

    return wrapper


@guarded
def _is_let_in(
    runtime: Runtime, leave: Leave, function: Callable[..., Any], args: Any, kwargs: Any
) -> bool:
    """Whether a call is the first for what was asked for, or a part of it such as a title."""
    given, coming = bound(function, args, kwargs), announced.get()
    form = form_of(given.get("form_data"))
    caller = coming.caller if coming is not None else _caller(runtime, given, form)
    return not _is_answer(caller) or leave.begins_with(_called(given, form))


def last_round(_runtime: Runtime) -> Wrapper:
    """Wrap ``generate_chat_completion``: before 0.11 the tools' loop ends at an error unsaid."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        try:
            return await wrapped(*args, **kwargs)
        except Exception as error:
            is_last = refusal_of(error) and _is_in_answer()
            if not (is_last and _streams(wrapped, args, kwargs)):
                raise
            return _said(str(error))

    return _as_it_is if compat.version() >= _TELLS_ERRORS else wrapper


@guarded
def _streams(function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    return bool(bound(function, args, kwargs)["form_data"].get("stream"))


def _said(sentence: str) -> Any:
    """Return a stream in which the model says a sentence, as OpenAI's have it."""
    from starlette.responses import StreamingResponse  # Open WebUI brings it; others may not.

    choice = {"index": 0, "delta": {"content": sentence}, "finish_reason": "stop"}
    pieces = [f"data: {json.dumps({'choices': [choice]})}\n\n", "data: [DONE]\n\n"]
    return StreamingResponse(iter(pieces), media_type="text/event-stream")


def _as_it_is(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


def voice(runtime: Runtime) -> Wrapper:
    """Wrap ``_get_realtime_connection``: a voice call is looked at when it begins."""
    admission = runtime.admission

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        coming = announced.get()
        if not admission.asks or coming is None or present_leave() is not None:
            return await wrapped(*args, **kwargs)
        model = _model_of_voice(wrapped, args, kwargs) or UNKNOWN
        with _told_by_voice():
            leave = await admission.enter(_spoken(coming, model))
        with under(leave):
            return await wrapped(*args, **kwargs)

    return wrapper


def voice_rounds(runtime: Runtime) -> Wrapper:
    """Wrap ``ClientSession._ws_connect``: each later response of a voice call is looked at again.

    What is asked for meanwhile goes over this socket, which is the provider's.
    """
    admission = runtime.admission

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        socket = await wrapped(*args, **kwargs)
        coming, leave = announced.get(), present_leave()
        if admission.asks and leave is not None and coming is not None and coming.leaf is REALTIME:
            socket.send_json = _looked_at(admission, leave, coming, socket.send_json)
        return socket

    return wrapper


def _looked_at(
    admission: Admission, leave: Leave, coming: Announced, send: Callable[..., Any]
) -> Callable[..., Any]:
    (model,) = leave.admitted

    async def sending(data: Any, *args: Any, **kwargs: Any) -> Any:
        if data.get("type") == _RESPOND and not leave.begins_with(model):
            with _told_by_voice():
                await admission.again(leave, _spoken(coming, model))
        return await send(data, *args, **kwargs)

    return sending


def _spoken(coming: Announced, model: str) -> Asking:
    return Asking(coming.caller, model, operation=_operation(coming))


@guarded
def _model_of_voice(function: Callable[..., Any], args: Any, kwargs: Any) -> str | None:
    model = bound(function, args, kwargs)["config"].get("audio.realtime.model")
    return model if isinstance(model, str) else None


@contextmanager
def _told_by_voice() -> Iterator[None]:
    """Raise refusals as errors of the only kind whose text is shown."""
    try:
        yield
    except Exception as error:
        raise ValueError(str(error)) from error


@guarded
def _is_free(runtime: Runtime, function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    """Whether there is nothing to ask: there are no limits, or none that is for the user."""
    admission = runtime.admission
    if not admission.asks:
        return True
    given = bound(function, args, kwargs)
    return admission.lets_pass(find_user_id(given.get("request"), given.get("user")))


def _calls_freely(runtime: Runtime, function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    """Return the same where a model is called, which is announced by then."""
    admission, coming = runtime.admission, announced.get()
    if coming is None:
        return _is_free(runtime, function, args, kwargs)
    return not admission.asks or admission.lets_pass(coming.caller.user_id)


@guarded
def _asked(runtime: Runtime, function: Callable[..., Any], args: Any, kwargs: Any) -> Asking | None:
    """Return what a function that calls a model asks of it."""
    given, coming = bound(function, args, kwargs), announced.get()
    form = form_of(given.get("form_data"))
    caller = coming.caller if coming is not None else _caller(runtime, given, form)
    called = _called(given, form)
    model = caller.model_id or called
    others = (called, *_standing_on(runtime, given.get("request"), called))
    return Asking(caller, model, form, others, called=called, operation=_operation(coming))


def _called(given: Form, form: Form) -> str:
    named = form.get("model") or given.get("model")
    return named if isinstance(named, str) else UNKNOWN


def _operation(coming: Announced | None) -> str:
    if coming is None:
        return CHAT
    several = sorted(coming.leaf.operations)
    return coming.leaf.operation or (several[0] if len(several) == 1 else CHAT)


@guarded
def _of_turn(
    runtime: Runtime, function: Callable[..., Any], args: Any, kwargs: Any
) -> list[Asking]:
    """Return what a chat request asks of each of the models that it picked."""
    given = bound(function, args, kwargs)
    form: Form = given["form_data"]
    caller, in_chat = _caller_of_turn(runtime, given, form), _is_told_in_chat(form)
    return [
        _of_picked(runtime, caller, model, form, given["request"], in_chat=in_chat)
        for model in dict.fromkeys(picked_models(form))
    ]


def _caller_of_turn(runtime: Runtime, given: Form, form: Form) -> Caller:
    here = present()
    if here is not None and here.caller is not None and here.request is given["request"]:
        return here.caller
    # What Open WebUI reads off the body itself; its `metadata` is anybody's.
    said = {key: form.get(key) for key in CHAT_FIELDS}
    return _caller(runtime, given, {"metadata": said, "model": form.get("model")})


def _is_told_in_chat(form: Form) -> bool:
    """Whether Open WebUI answers a request at once, and goes on with it beside that."""
    answers = form.get("id") or form.get("message_ids")
    begins = compat.version() >= _BEGINS_CHATS and form.get("parent_id", "") is None
    return bool(form.get("session_id") and answers and (form.get("chat_id") or begins))


def _is_run_that_hears_no_errors(asked: Asking) -> bool:
    """Whether Open WebUI calls an automation's run a success once its chat has begun."""
    is_run = asked.caller.source == "background" and "automation_id" in asked.form
    return is_run and compat.version() < _HEARS_OF_RUNS


def _without_tasks(form: Form) -> None:
    if isinstance(form, dict):
        form["background_tasks"] = {}


@guarded
def _further(
    runtime: Runtime, leave: Leave, function: Callable[..., Any], args: Any, kwargs: Any
) -> Asking | None:
    """Return what is asked of a model of a turn that was not looked at when the turn began."""
    given, here = bound(function, args, kwargs), present()
    form = given["form_data"]
    model = form.get("model")
    if here is None or here.turn is None or model not in here.turn.models - leave.admitted:
        return None
    caller = _caller(runtime, given, {"model": model})
    return _of_picked(runtime, caller, model, form, given["request"])


def _of_picked(
    runtime: Runtime,
    caller: Caller,
    model: str,
    form: Form,
    request: Any,
    *,
    in_chat: bool = False,
) -> Asking:
    others = _standing_on(runtime, request, model)
    return Asking(caller, model, form, others, request.scope, in_chat=in_chat)


def _standing_on(runtime: Runtime, request: Any, model: str) -> tuple[str, ...]:
    """Return the model that a workspace model stands on, and how providers may call either."""
    base = None if request is None else _base(request, model)
    names = (model,) if base is None else (model, base)
    bare = [name for one in names for name in runtime.connections.without_prefix(one)]
    tagged = [f"{one}:latest" for one in (*names, *bare) if _is_tagged_on_the_way(one)]
    return (*names[1:], *bare, *tagged)


def _is_tagged_on_the_way(model: str) -> bool:
    """Whether Ollama's routes ask for a model by a longer name than they were given."""
    return compat.version() < _TAKES_NAMES and ":" not in model


@guarded
def _base(request: Any, model: str) -> str | None:
    known = request.app.state.MODELS.get(model) or {}
    base = (known.get("info") or {}).get("base_model_id")
    return base if isinstance(base, str) else None


def _caller(runtime: Runtime, given: Form, form: Form) -> Caller:
    return find_caller(runtime.settings, given.get("request"), given.get("user"), form)


def _is_answer(caller: Caller) -> bool:
    """Whether a call is what a turn is for; a pipe's, and those of tasks, are parts of one."""
    here = present()
    return caller.task == CHAT_TASK and (here is None or here.call is None)


def _is_in_answer() -> bool:
    """Whether a turn's answer has begun."""
    here, leave = present(), present_leave()
    return here is not None and here.turn is not None and leave is not None and leave.has_begun


@guarded
def _is_own_affair(form: Form) -> bool:
    """Whether the user's browser asks a provider of the user's own, and needs none of ours.

    For documents it does, and they must not be missing from its answer because they were refused.
    """
    item = form.get("model_item")
    if not isinstance(item, dict) or not item.get("direct") or form.get("files"):
        return False
    meta = (item.get("info") or {}).get("meta") or {}
    return not meta.get("knowledge")


def _last_as_long_as_the_turn(leave: Leave) -> None:
    here = present()
    if here is not None and here.turn is not None:
        leave.hold()
        here.turn.after(leave.release)


def _limited(targets: Sequence[Target], module: str = "") -> Iterator[Target]:
    """Yield a door for each function that a table has as one that calls a provider."""
    for target in targets:
        if target.attribute != _ANSWERS and target.module.startswith(module):
            yield replace(target, wrapper=leaf, covers=f"limits on {target.covers}")


WITHIN: Final = (
    Target(MAIN, "app.router.middleware_stack", request, covers="the answers of what is refused"),
    Target(MAIN, "chat_completion", turn, covers="limits on chats"),
    Target(
        MAIN,
        "generate_messages",
        messages,
        covers="limits on Anthropic Messages",
        since=(0, 8),
    ),
    Target(
        "open_webui.utils.middleware",
        "process_chat_payload",
        answer,
        covers="limits on each of several models",
    ),
    Target(
        "open_webui.utils.chat",
        _ANSWERS,
        last_round,
        covers="the sentence at the end of a turn that crosses a limit",
    ),
    *(
        Target(module, _ANSWERS, chat, covers="limits on each round of a turn")
        for module in ("open_webui.routers.openai", "open_webui.routers.ollama")
    ),
    *_limited(openai.TARGETS),
    *_limited(ollama.TARGETS),
    *_limited(retrieval.TARGETS),
    *_limited(images.TARGETS, "open_webui.routers."),
    Target(
        "open_webui.routers.audio",
        "transcription_handler",
        in_thread,
        covers="limits on transcription",
    ),
    Target(
        "open_webui.routers.audio.realtime",
        "_get_realtime_connection",
        voice,
        covers="limits on voice calls",
        since=(0, 12),
    ),
    Target(
        "aiohttp.client",
        "ClientSession._ws_connect",
        voice_rounds,
        covers="limits on each response of a voice call",
        when=MAIN,
    ),
)
"""Doors within the wrappers of :data:`~.TARGETS`. What has none is asked for by the HTTP client."""

BEFORE: Final = (
    Target(
        "open_webui.functions",
        "generate_function_chat_completion",
        chat,
        covers="limits on chats with Function pipes",
    ),
)
"""Doors before them."""
