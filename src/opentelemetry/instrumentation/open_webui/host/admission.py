"""Whether somebody may call a model now: the limits are asked once, before anything is done.

What is admitted gets a :class:`Leave`, which all that belongs to it passes on: its tasks, its
embeddings, its tools, and a turn's end when nobody is at it any more. What is refused is an
exception of Open WebUI's own kind, which its code tells as it tells any other; and whatever it
made of that for who asked over HTTP, the :class:`Visit` puts the answer of :mod:`~..limits.wire`
in its place.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ..calls.call import Asked
from ..calls.caller import Caller
from ..calls.scene import present, scene
from ..guard import guarded, report
from ..limits import wire
from ..limits.gate import Gate, Refusal, Ticket, Wanted
from ..limits.off import FREE
from .groups import Groups
from .identity import NOWHERE

CHAT: Final = "chat"
_ERRORS: Final = 400

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Asking:
    """What somebody is about to ask of a model, where Open WebUI's code is called for it."""

    caller: Caller
    model: str
    """The model that was picked; on raw routes the one asked for."""
    form: Mapping[str, Any] = field(default_factory=dict)
    """What the model is given to read."""
    other_models: tuple[str, ...] = ()
    """Other names of the model."""
    scope: object = None
    """The ASGI scope of the request that all of it is for, if it is for one alone."""
    called: str = ""
    """The model's name by which the function that calls it knows it."""
    operation: str = CHAT
    """What it is asked for."""
    in_chat: bool = False
    """Whether Open WebUI tells errors of it in a chat, when the request has been answered."""


class Leave:
    """Leave to call models for one turn, request or call; over when nobody holds it.

    Args:
        ticket: What the limits gave; let go with the last holder.
        model: The model that it was asked for.
        of: The ASGI scope of the request that it was given to, if any.
    """

    __slots__ = ("_answering", "_holders", "admitted", "has_begun", "of", "over", "ticket")

    def __init__(self, ticket: Ticket, model: str, of: object = None) -> None:
        self.ticket = ticket
        self.of = of
        self.admitted = {model}
        """The models that were asked for."""
        self.over = False
        self.has_begun = False
        """Whether a model was called for what it was asked for."""
        self._answering = {model}
        # A list, whose methods are atomic: calls may end in any thread.
        self._holders: list[None] = []

    def admits(self, model: str) -> None:
        """Take it that a further model may answer."""
        self.admitted.add(model)
        self._answering.add(model)

    def begins_with(self, model: str) -> bool:
        """Whether a model is called for the first time since it was asked for."""
        first = model in self._answering
        self._answering.discard(model)
        self.has_begun = self.has_begun or first
        return first

    def renew(self, ticket: Ticket) -> None:
        """Go on with what the limits gave when they were asked again."""
        old, self.ticket = self.ticket, ticket
        if old is not ticket:
            old.release()

    def hold(self) -> None:
        """Keep it until :meth:`release`."""
        self._holders.append(None)

    def release(self) -> None:
        """Let go; the last one to do so gives the ticket back."""
        if self._holders:
            self._holders.pop()
        if not self._holders and not self.over:
            self.over = True
            self.ticket.release()


@dataclass(frozen=True, slots=True)
class Denied:
    """What a turn has in place of leave that is told of its refusal in its chat."""

    refusal: Refusal


class Visit:
    """One request to Open WebUI, from its first byte to the last of its answer."""

    __slots__ = ("_kept", "_refusal", "_replaced", "_started", "closed", "scope", "warning")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.scope = scope
        self.closed = False
        self.warning = ""
        self._kept: list[Leave] = []
        self._refusal: Refusal | None = None
        self._started = False
        self._replaced = False

    @property
    def leave(self) -> Leave | None:
        """What it was given first, and passes on to whatever else it does."""
        return self._kept[0] if self._kept and not self.closed else None

    def keep(self, leave: Leave) -> None:
        """Hold leave until the answer has gone out."""
        if self.closed:
            return
        leave.hold()
        self._kept.append(leave)
        self.warning = wire.warning(leave.ticket.warnings)

    def refused(self, refusal: Refusal) -> None:
        """Take it that a call was refused that the answer depends on."""
        self._refusal = refusal

    def close(self) -> None:
        """Let go of everything: the answer has gone out, or nobody wants it."""
        self.closed = True
        for leave in self._kept:
            leave.release()

    def sends(self, send: Send) -> Send:
        """Return what sends the answer, and ours where the limits are why it is an error."""

        async def sending(message: Message) -> None:
            if self._replaced:
                return
            if not self._started and message["type"] == "http.response.start":
                self._started = True
                if self._refusal is not None and self._fails(message["status"]):
                    self._replaced = True
                    await _send(send, wire.answer(self._refusal, self.scope["path"]))
                    return
                if self.warning:
                    message = _with_header(message, wire.WARNING, self.warning)
            await send(message)

        return sending

    def _fails(self, status: int) -> bool:
        # Some of Open WebUI's code makes an empty answer of an error.
        return status >= _ERRORS or not self._kept


async def _send(send: Send, answer: wire.Answer) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _with_header(message: Message, name: str, value: str) -> Message:
    headers = [*message.get("headers", ()), (name.encode(), value.encode("ascii"))]
    return {**message, "headers": headers}


visit: Final[ContextVar[Visit | None]] = ContextVar("open_webui_visit", default=None)


def present_leave() -> Leave | None:
    """Return the leave under which whatever runs here may call models, if there is any."""
    here = present()
    ticket = None if here is None else here.ticket
    if isinstance(ticket, Leave) and not ticket.over:
        return ticket
    around = visit.get()
    return None if around is None else around.leave


class _Refused(NamedTuple):
    """A refusal, and of what."""

    refusal: Refusal
    wanted: Wanted
    asked: Asking


class Admission:
    """Asks the limits, and turns what they refuse into exceptions.

    Args:
        gate: The limits.
        groups: Know the groups of who calls.
        tokens: Returns how many tokens the body of a request gives to read, about.
        is_on: Whether the instrumentation is.
    """

    def __init__(
        self,
        gate: Gate,
        groups: Groups,
        tokens: Callable[[Mapping[str, Any]], int],
        is_on: Callable[[], bool],
    ) -> None:
        self._gate = gate
        self._groups = groups
        self._count = tokens
        self._is_on = is_on

    @property
    def asks(self) -> bool:
        """Whether there is anything to ask."""
        return not self._gate.open and self._is_on()

    def lets_pass(self, user_id: str) -> bool:
        """Whether no limit is for a user, so that there is nothing to ask of what they call."""
        try:
            groups = self._groups.of_fresh(user_id)
            return groups is not None and not self._gate.binds(user_id, groups)
        except Exception:
            report("the look at whom limits are for")
            return False

    async def enter(self, *several: Asking, direct: bool = False) -> Leave:
        """Return leave for what begins here.

        Args:
            several: What is to be asked, of one model or of several: it may begin with one of them.
            direct: Whether the user's own browser asks.

        Raises:
            HTTPException: The limits refuse all of it; the text is that of the first.
        """
        await self._know_groups(several[0].caller)
        refusals = []
        for asked in several:
            answer = await self._ask(asked, direct=direct)
            if not isinstance(answer, _Refused):
                return Leave(answer, asked.model, asked.scope)
            refusals.append(answer)
        raise self._refused(refusals[0])

    def enter_in_thread(self, asked: Asking) -> Leave:
        """Do the same as :meth:`enter` where it may block for a moment."""
        answer = self._ask_in_thread(asked)
        if isinstance(answer, _Refused):
            raise self._refused(answer)
        return Leave(answer, asked.model, asked.scope)

    async def again(self, leave: Leave, asked: Asking) -> None:
        """Look again at what was let in: at a later round of its tools, or another of its models.

        Raises:
            HTTPException: By now the limits refuse it.
        """
        answer = await self._ask(asked, leave.ticket)
        if isinstance(answer, _Refused):
            raise self._refused(answer)
        leave.renew(answer)

    async def permit(self, caller: Caller, asked: Asked) -> None:
        """Let a request to a provider pass, or raise: the last door, for what came by no other."""
        if self._is_last_to_ask(caller):
            _keep(await self.enter(Asking(caller, asked.model, operation=asked.operation)))

    def permit_in_thread(self, caller: Caller, asked: Asked) -> None:
        """Do the same where it may block for a moment."""
        if self._is_last_to_ask(caller):
            _keep(self.enter_in_thread(Asking(caller, asked.model, operation=asked.operation)))

    def _is_last_to_ask(self, caller: Caller) -> bool:
        return self.asks and present_leave() is None and not self.lets_pass(caller.user_id)

    def _wanted(self, asked: Asking, *, direct: bool = False) -> Wanted:
        return Wanted(
            asked.caller.user_id,
            self._groups.of(asked.caller.user_id),
            asked.model,
            asked.caller.source,
            self._tokens(asked.form) or 0,
            asked.other_models,
            direct,
        )

    @guarded
    def _tokens(self, form: Mapping[str, Any]) -> int:
        return self._count(form)

    async def _know_groups(self, caller: Caller) -> None:
        try:
            self._groups.expect(caller.user_id)
            await self._groups.wait(caller.user_id)
        except Exception:
            report("the wait for a user's groups")

    async def _ask(
        self, asked: Asking, ticket: Ticket | None = None, *, direct: bool = False
    ) -> Ticket | _Refused:
        try:
            wanted = self._wanted(asked, direct=direct)
            return _told(await self._gate.admit(wanted, ticket), wanted, asked)
        except Exception:
            report("the limits")
            return FREE

    def _ask_in_thread(self, asked: Asking) -> Ticket | _Refused:
        try:
            self._groups.wait_in_thread(asked.caller.user_id)
            wanted = self._wanted(asked)
            return _told(self._gate.admit_in_thread(wanted), wanted, asked)
        except Exception:
            report("the limits")
            return FREE

    def _refused(self, told: _Refused) -> Exception:
        self._book(told)
        around, asked = visit.get(), told.asked
        # What Open WebUI does by itself meanwhile has requests of its own.
        theirs = asked.scope is not None and around is not None and asked.scope is not around.scope
        if around is not None and not theirs and not asked.in_chat:
            around.refused(told.refusal)
        return refused(told.refusal)

    @guarded
    def _book(self, told: _Refused) -> None:
        self._gate.book(told.refusal, told.wanted, told.asked.caller, told.asked.operation)


def _told(answer: Ticket | Refusal, wanted: Wanted, asked: Asking) -> Ticket | _Refused:
    return _Refused(answer, wanted, asked) if isinstance(answer, Refusal) else answer


def _keep(leave: Leave) -> None:
    around = visit.get()
    if around is None or around.closed:
        # Nobody says when it is over: what it calls counts, but nothing is kept back for it.
        leave.release()
    else:
        around.keep(leave)


@contextmanager
def holding(leave: Leave) -> Iterator[None]:
    """Hold leave while something runs that was let in with it."""
    leave.hold()
    try:
        yield
    finally:
        leave.release()


@contextmanager
def denied(refusal: Refusal) -> Iterator[None]:
    """Hold while a turn begins that nothing is to be asked for."""
    token = scene.set((scene.get() or NOWHERE)._replace(ticket=Denied(refusal)))
    try:
        yield
    finally:
        scene.reset(token)


@contextmanager
def under(leave: Leave) -> Iterator[None]:
    """Hold leave while something runs, which passes it on to whatever it calls."""
    leave.hold()
    token = scene.set((scene.get() or NOWHERE)._replace(ticket=leave))
    around = visit.get()
    if around is not None and (leave.of is None or leave.of is around.scope):
        around.keep(leave)
    try:
        yield
    finally:
        scene.reset(token)
        leave.release()


def refused(refusal: Refusal) -> Exception:
    """Return a refusal as Open WebUI's code expects errors."""
    error: Exception = _kind()(refusal)
    return error


def refusal_of(error: Exception) -> Refusal | None:
    """Return the refusal that an exception tells, if it tells one."""
    found: Refusal | None = error.refusal if isinstance(error, _kind()) else None
    return found


@functools.cache
def _kind() -> Any:
    from fastapi import HTTPException  # Open WebUI brings it; others may not.

    class UsageLimitExceeded(HTTPException):
        """Some of Open WebUI's code tells its users the exception's text."""

        def __init__(self, refusal: Refusal) -> None:
            super().__init__(wire.STATUS, refusal.sentence, wire.headers(refusal))
            self.refusal = refusal

        def __str__(self) -> str:
            return str(self.detail)

    return UsageLimitExceeded
