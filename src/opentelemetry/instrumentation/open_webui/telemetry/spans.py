"""Spans: of calls to models, of turns in a chat, of tool runs."""

from __future__ import annotations

import functools
import time
from typing import Any

from opentelemetry.context import attach, detach, get_current
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from .. import names
from ..bounds import text_or_none
from ..calls.call import ModelCall
from ..calls.caller import Caller
from ..calls.work import Work
from ..guard import guarded
from ..providers import PIPE
from . import attributes, handing
from .attributes import Attributes
from .histograms import Histograms
from .parents import placed
from .unmade import Unmade


class Current:
    """While it holds, a span is the parent of what happens."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = attach(set_span_in_context(self._span))

    def __exit__(self, *_: object) -> None:
        detach(self._token)


class Spans:
    """Makes spans.

    Args:
        histograms: Measures how long turns and tool runs take.
    """

    def __init__(self, histograms: Histograms) -> None:
        self._histograms = histograms

    def go_to(self, tracer: Tracer) -> None:
        """Make them by this tracer from now on."""
        self._handing = handing.Spans(tracer)

    def started(self, call: ModelCall) -> None:
        """Start the span of a call to a model, or see to it that it can be made as of now."""
        context = get_current()
        options: dict[str, Any] = {"context": context, "start_time": time.time_ns()}
        # Nearly always there is no span around.
        if context:
            options.update(placed())
        call.span = Unmade(functools.partial(self._start, call, options))
        if not self._handing.is_unseen():
            self.make(call)

    def make(self, call: ModelCall) -> None:
        """Make the span of a call, if nobody has asked for it before."""
        if isinstance(call.span, Unmade):
            call.span = call.span.made()

    def _start(self, call: ModelCall, options: dict[str, Any]) -> Span:
        call.attributes = attributes.of_request(call)
        return self._handing.start(
            f"{call.asked.operation} {call.asked.model}",
            call.attributes,
            kind=SpanKind.INTERNAL if call.asked.provider == PIPE else SpanKind.CLIENT,
            **options,
        )

    def ended(self, call: ModelCall, outcome: Attributes, moment: handing.Moment) -> None:
        """End the span of a call."""
        handing.set_attributes(call.span, outcome)
        if call.error is not None:
            call.span.set_status(Status(StatusCode.ERROR))
        call.span.end(moment.now)

    def start_turn(self, caller: Caller) -> Work:
        """Start a user's turn in a chat."""
        who = attributes.of_caller(caller)
        agent = who[names.MODEL_ID]
        span = self._handing.tracer.start_span(
            f"{names.INVOKE_AGENT} {agent}",
            attributes={
                names.OPERATION: names.INVOKE_AGENT,
                names.AGENT_NAME: agent,
                **who,
            },
            **placed(),
        )
        measured = {names.AGENT_NAME: agent, names.SOURCE: caller.source}
        return Work(span, self._histograms.of_turn(measured, caller.user_id))

    @guarded
    def end_turn(self, turn: Work, groups: tuple[str, ...]) -> None:
        """End a turn; groups are known by then."""
        turn.span.set_attribute(names.USER_GROUPS, groups)
        turn.end()

    def start_tool(self, name: object, call_id: object, agent: object, chat_id: object) -> Work:
        """Start one run of a tool, for an agent in a chat. Models make up both, name and id."""
        measured = {
            names.TOOL_NAME: text_or_none(name) or "unknown",
            names.TOOL_TYPE: names.FUNCTION_TOOL,
        }
        if (known := text_or_none(agent)) is not None:
            measured[names.AGENT_NAME] = known
        told = {names.OPERATION: names.EXECUTE_TOOL, **measured}
        for key, value in ((names.TOOL_CALL_ID, call_id), (names.CONVERSATION_ID, chat_id)):
            if (known := text_or_none(value)) is not None:
                told[key] = known
        span = self._handing.tracer.start_span(
            f"{names.EXECUTE_TOOL} {measured[names.TOOL_NAME]}", attributes=told, **placed()
        )
        return Work(span, self._histograms.of_tool(measured))

    def current(self, span: Span) -> Current:
        """Make the span the parent of what happens inside. Not to be held across a ``yield``."""
        return Current(span)
