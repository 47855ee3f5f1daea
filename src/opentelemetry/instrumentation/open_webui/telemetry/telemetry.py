"""One ended call becomes a span, histograms, counters and an event. The OpenTelemetry side."""

from __future__ import annotations

import atexit
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from opentelemetry._logs import LoggerProvider, SeverityNumber
from opentelemetry.context import Context, attach, detach
from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    set_span_in_context,
)

from opentelemetry import _logs, metrics, trace

from .. import names
from ..answers.usage import Usage
from ..bounds import text_or_none
from ..calls.call import ModelCall
from ..calls.caller import Caller
from ..calls.work import Ended, Work
from ..guard import guarded, report
from ..money.price_file import PriceFile
from ..providers import PIPE
from ..settings import Settings
from ..version import __version__
from . import client_metrics, exporting, folding, forking, handing, readers
from .parents import placed
from .rhythm import Rhythm
from .totals import Entry, Tags, Totals

Attributes = dict[str, Any]

_COUNTERS = (
    names.USAGE_REQUESTS,
    names.USAGE_TOKENS,
    names.USAGE_TOKEN_DETAILS,
    names.USAGE_COST,
    names.USAGE_UNPRICED,
    names.USAGE_CHARACTERS,
    names.USAGE_IMAGES,
    names.USAGE_AUDIO_DURATION,
    names.USAGE_PAGES,
    names.GROUP_REQUESTS,
    names.GROUP_TOKENS,
    names.GROUP_COST,
)
_GAUGES = (names.USER_GROUP, names.USER_LAST_SEEN)
_OBSERVED = {metric.name: metric for metric in (*_COUNTERS, *_GAUGES)}

_INPUT: Tags = ((names.TOKEN_TYPE, "input"),)
_OUTPUT: Tags = ((names.TOKEN_TYPE, "output"),)
_ESTIMATED: Tags = ((names.USAGE_ESTIMATED, True),)
_CACHE_READ: Tags = ((names.TOKEN_DETAIL, "cache_read"),)
_CACHE_CREATION: Tags = ((names.TOKEN_DETAIL, "cache_creation"),)
_REASONING: Tags = ((names.TOKEN_DETAIL, "reasoning"),)

# Telling shards apart: instruments of one name live in scopes that differ by this attribute only.
_SHARD = "open_webui.shard"

# The SDK gives a collection up after this: with very many series it takes seconds.
_COLLECTION_MILLIS = 60_000

# Beside the metrics, which go out twice.
_AT_ONCE = (exporting.TRACES, exporting.LOGS)


class Current:
    """While it holds, a span is the parent of what happens."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = attach(set_span_in_context(self._span))

    def __exit__(self, *_: object) -> None:
        detach(self._token)


class Telemetry:
    """The instruments of one instrumented process.

    Args:
        settings: The settings in force.
        tracer_provider: Where spans go. ``None``, here and below, is the global provider, also when
            that is set later.
        meter_provider: Where metrics go.
        logger_provider: Where events go.
        price_file: The operator's own prices, to tell when they were changed.
    """

    def __init__(
        self,
        settings: Settings,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        price_file: PriceFile | None = None,
    ) -> None:
        self._settings = settings
        self._price_file = price_file
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._logger_provider = logger_provider
        meter = metrics.get_meter(
            names.SCOPE, __version__, meter_provider, schema_url=names.SCHEMA_URL
        )
        self._record_client = (
            client_metrics.coming(meter) if settings.latest_names else client_metrics.todays(meter)
        )
        self._turns = client_metrics.histogram(meter, names.AGENT_DURATION)
        self._tools = client_metrics.histogram(meter, names.TOOL_DURATION)
        self._sets, self._work_sets = folding.Sets(), folding.Sets()
        self._share = folding.share_of_user(settings.series_limit)
        self._group_share = folding.share_of_group(settings.series_limit)
        self._tuned_to: object = None
        self.exports = exporting.Exports()
        self.recorded = 0
        """Calls so far."""
        self._serves = False
        self._silent = False
        self.totals = Totals(
            idle=settings.idle_seconds,
            limit=settings.series_limit,
            shard_size=readers.shard_size(None),
            on_shard=self._observe,
            fold=folding.folded,
            membership=names.USER_GROUP.name,
        )
        # An export of many series may take longer than the interval between two.
        self.totals.until_read = True
        self._tune()
        for name in _OBSERVED:
            self.totals.open(name)
        self._show_state()

    # Spans

    def started(self, call: ModelCall) -> None:
        """Start the span of a call to a model."""
        call.attributes = _request_attributes(call)
        try:
            call.span = self._spans.start(
                f"{call.asked.operation} {call.asked.model}",
                call.attributes,
                kind=SpanKind.INTERNAL if call.asked.provider == PIPE else SpanKind.CLIENT,
                **placed(),
            )
        except Exception:
            # Samplers and processors are anybody's; the call counts without its span, too.
            report("the start of a span")

    def start_turn(self, caller: Caller) -> Work:
        """Start a user's turn in a chat."""
        attributes = _caller_attributes(caller)
        agent = attributes[names.MODEL_ID]
        span = self._spans.tracer.start_span(
            f"{names.INVOKE_AGENT} {agent}",
            attributes={
                names.OPERATION: names.INVOKE_AGENT,
                names.AGENT_NAME: agent,
                **attributes,
            },
            **placed(),
        )
        measured = {names.AGENT_NAME: agent, names.SOURCE: caller.source}
        return Work(span, self._measuring(self._turns, measured, caller.user_id))

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
        attributes = {names.OPERATION: names.EXECUTE_TOOL, **measured}
        for key, value in ((names.TOOL_CALL_ID, call_id), (names.CONVERSATION_ID, chat_id)):
            if (known := text_or_none(value)) is not None:
                attributes[key] = known
        span = self._spans.tracer.start_span(
            f"{names.EXECUTE_TOOL} {measured[names.TOOL_NAME]}", attributes=attributes, **placed()
        )
        return Work(span, self._measuring(self._tools, measured))

    def _measuring(
        self, durations: Histogram, attributes: dict[str, str], user_id: str = ""
    ) -> Ended:
        def ended(seconds: float, error: str | None, context: Context) -> None:
            if error is not None:
                attributes[names.ERROR_TYPE] = error
            fitting = self._work_sets.fitting(attributes, user_id)
            durations.record(seconds, fitting, context)

        return ended

    def current(self, span: Span) -> Current:
        """Make the span the parent of what happens inside. Not to be held across a ``yield``."""
        return Current(span)

    # One ended call

    def ended(self, call: ModelCall) -> None:
        """Turn an ended call into all that is told of it; each part fails alone."""
        if self._tuned_to is None:
            self._tune()
        self.recorded += 1
        outcome = _outcome_attributes(call)
        self._end_span(call, outcome)
        context = set_span_in_context(call.span)
        self._record_histograms(call, context)
        self._book(call)
        self._emit(call, outcome, context)

    @guarded
    def _end_span(self, call: ModelCall, outcome: Attributes) -> None:
        handing.set_attributes(call.span, outcome)
        if call.error is not None:
            call.span.set_status(Status(StatusCode.ERROR))
        call.span.end()

    @guarded
    def _record_histograms(self, call: ModelCall, context: Context) -> None:
        attributes = self._sets.fitting(_histogram_attributes(call), call.caller.user_id)
        self._record_client(call, attributes, context)

    @guarded
    def _book(self, call: ModelCall) -> None:
        caller, common = call.caller, _common_tags(call)
        failed: Tags = ((names.ERROR_TYPE, call.error),) if call.error is not None else ()
        user = _user_tags(caller.user_id, caller.user_name)
        other = _user_tags(names.FOLDED, caller.user_name and names.FOLDED)
        tokens = [(kind + mark, amount) for kind, amount, mark in _token_amounts(call)]
        entries: list[Entry] = [(names.USAGE_REQUESTS.name, failed, 1)]
        entries += [(names.USAGE_TOKENS.name, tags, amount) for tags, amount in tokens]
        entries += _detail_entries(call.usage)
        entries += [(metric.name, (), amount) for metric, amount in _units(call)]
        if call.cost is not None:
            entries.append((names.USAGE_COST.name, (), call.cost.usd))
        if call.unpriced:
            entries.append((names.USAGE_UNPRICED.name, (), 1))
        place = self.totals.book(user, common, entries, other, self._share)
        if place.less:
            common = folding.folded(common)
        entries = [(names.GROUP_REQUESTS.name, failed, 1)]
        entries += [(names.GROUP_TOKENS.name, tags, amount) for tags, amount in tokens]
        if call.cost is not None:
            entries.append((names.GROUP_COST.name, (), call.cost.usd))
        groups = call.groups or (names.NO_GROUP,)
        for group in groups:
            owner: Tags = ((names.GROUP_NAME, group),)
            self.totals.book(owner, common, entries, folding.OTHER_GROUP, self._group_share)
        if place.own:
            self.totals.set_members(caller.user_id, _memberships(user, groups))
        who = user if place.own else other
        self.totals.set_gauge(names.USER_LAST_SEEN.name, who, time.time())

    def update_members(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Show in which groups users are now, by id; nobody becomes active by it."""
        for user_id, tags in self.totals.members().items():
            if user_id in groups:
                user = tuple(tag for tag in tags if tag[0] != names.GROUP_NAME)
                self.totals.set_members(
                    user_id, _memberships(user, groups[user_id] or (names.NO_GROUP,)), moved=False
                )

    @guarded
    def _emit(self, call: ModelCall, outcome: Attributes, context: Context) -> None:
        self._events.emit(
            {
                names.CALL_DURATION: call.duration,
                names.CALL_STATUS: "ok" if call.error is None else "error",
                **call.attributes,
                **outcome,
            },
            timestamp=time.time_ns(),
            context=context,
            severity_number=SeverityNumber.INFO,
            event_name=names.USAGE_EVENT,
        )

    # Instruments

    def _create_spans(self) -> handing.Spans:
        return handing.Spans(
            trace.get_tracer(
                names.SCOPE, __version__, self._tracer_provider, schema_url=names.SCHEMA_URL
            )
        )

    def _create_events(self) -> handing.Events:
        return handing.Events(
            _logs.get_logger(
                names.SCOPE, __version__, self._logger_provider, schema_url=names.SCHEMA_URL
            )
        )

    def _show_state(self) -> None:
        """Export something always, so that its absence tells that telemetry is cut off."""
        meter = metrics.get_meter(
            names.SCOPE, __version__, self._meter_provider, schema_url=names.SCHEMA_URL
        )
        for create, metric, read in (
            (meter.create_observable_gauge, names.ACTIVE, self._active),
            (meter.create_observable_gauge, names.PRICES_MODIFIED, self._prices_modified),
            (meter.create_observable_counter, names.EXPORT_FAILURES, self._export_failures),
            (meter.create_observable_counter, names.EXPORT_DROPPED, self._export_drops),
        ):
            create(
                metric.name, [_reading(self._unless_silent(read))], metric.unit, metric.description
            )

    def _active(self) -> list[Observation]:
        """Tell that it is there; called once for each collection."""
        if self._rhythm is not None:
            self.totals.hold = self._rhythm.read()
        return [Observation(1)]

    def _unless_silent(
        self, read: Callable[[], list[Observation]]
    ) -> Callable[[], list[Observation]]:
        return lambda: [] if self._silent else read()

    def _prices_modified(self) -> list[Observation]:
        at = self._price_file.modified if self._price_file else None
        return [] if at is None else [Observation(at)]

    def _export_failures(self) -> list[Observation]:
        return [
            Observation(tally.failures, {names.SIGNAL: signal})
            for signal, tally in self.exports.tallies.items()
        ]

    def _export_drops(self) -> list[Observation]:
        return [
            Observation(tally.dropped[reason], {names.SIGNAL: signal, names.ERROR_TYPE: reason})
            for signal, tally in self.exports.tallies.items()
            for reason in exporting.REASONS
        ]

    def _observe(self, name: str, shard: int) -> None:
        """Open the instrument of one shard: the SDK limits the attribute sets of each one."""
        meter = metrics.get_meter(
            names.SCOPE,
            __version__,
            self._meter_provider,
            schema_url=names.SCHEMA_URL,
            attributes={_SHARD: shard} if shard else None,
        )
        metric = _OBSERVED[name]
        create = (
            meter.create_observable_counter
            if metric in _COUNTERS
            else meter.create_observable_gauge
        )
        create(name, [_reading(lambda: self._shown(name, shard))], metric.unit, metric.description)

    def _shown(self, name: str, shard: int) -> list[Observation]:
        return [
            Observation(value, attributes) for value, attributes in self.totals.shown(name, shard)
        ]

    def _tune(self) -> None:
        """Fit the totals to the readers, once there is a provider that has any."""
        provider = self._meter_provider or metrics.get_meter_provider()
        pulled = readers.are_pulled(provider) and not self._settings.announce_seconds
        self._rhythm = Rhythm() if pulled else None
        hold = 0.0 if pulled else readers.hold_seconds(provider)
        self.totals.hold = self._settings.announce_seconds or hold
        self.totals.shard_size = size = readers.shard_size(provider)
        # Each set is one of two types of tokens.
        self._sets.limit = self._work_sets.limit = max(1, size // 2)
        self._watch()
        self.exports.reopen()
        self._silent = False
        # The SDK's own, where there were but stand-ins.
        self._spans = self._create_spans()
        self._events = self._create_events()
        if hasattr(provider, "force_flush"):
            self._tuned_to = provider
            # The SDK shuts its providers down at exit, and what is registered last runs first.
            atexit.unregister(self.finish)
            atexit.register(self.finish)

    def _watch(self) -> None:
        for signal, provider in self._providers().items():
            self.exports.watch(signal, provider)

    def _providers(self) -> dict[str, Any]:
        return {
            exporting.METRICS: self._meter_provider or metrics.get_meter_provider(),
            exporting.TRACES: self._tracer_provider or trace.get_tracer_provider(),
            exporting.LOGS: self._logger_provider or _logs.get_logger_provider(),
        }

    @guarded
    def begin(self) -> None:
        """Export from now on; the providers may have been set since."""
        self._serves = True
        self._tune()
        self.exports.go_on()

    def instance_id(self) -> str:
        """Return the ``service.instance.id`` of this process; empty if it has none."""
        resources = readers.resources(self._providers().values())
        found = (resource.attributes.get(forking.INSTANCE_ID) for resource in resources)
        return next((str(name) for name in found if name), "")

    # Forks

    @guarded
    def before_fork(self) -> None:
        """Be ready for a fork, if this process serves nobody yet, and silent until it does."""
        if not (self._serves or self.recorded):
            self._watch()
            self.exports.before_fork()
            self._rest()

    @guarded
    def begin_anew(self) -> None:
        """Begin with nothing, and be silent until it serves: this process was forked."""
        self._serves, self.recorded = False, 0
        self._rest()
        self._sets.clear()
        self._work_sets.clear()
        self.totals.clear()
        self.exports.begin_anew()
        forking.begin_anew(self._providers().values())

    def _rest(self) -> None:
        self._silent, self._tuned_to = True, None

    def providers(self) -> Iterator[tuple[bool, bool]]:
        """Of spans, metrics and events: was their provider given, and does it export?"""
        for given, current in (
            (self._tracer_provider, trace.get_tracer_provider),
            (self._meter_provider, metrics.get_meter_provider),
            (self._logger_provider, _logs.get_logger_provider),
        ):
            yield given is not None, hasattr(given or current(), "force_flush")

    # The end

    @guarded
    def flush(self, seconds: float | None = None) -> bool:
        """Export everything in the time that a stop may take; return whether all was tried."""
        atexit.unregister(self.finish)
        providers = self._providers()
        jobs = [functools.partial(_flush, providers[signal]) for signal in _AT_ONCE]
        return self.exports.end(
            [self._flush_totals, *jobs], seconds or self._settings.shutdown_seconds
        )

    def finish(self) -> None:
        """Export everything; the process ends, and neither we nor the SDK may delay that."""
        # Beside its workers there is a process that serves nobody and has nothing to tell.
        hurry = None if self.recorded else self._settings.shutdown_seconds / 10
        if not self.flush(hurry):
            for provider in self._providers().values():
                if hasattr(provider, "shutdown"):
                    # It would wait for the same collector, for up to half a minute.
                    atexit.unregister(provider.shutdown)

    def detach(self) -> None:
        """Export everything and leave the providers as they were: the process goes on."""
        self.flush()
        self.exports.go_on()
        self.exports.restore()

    def _flush_totals(self) -> None:
        """First where new series start from, then their totals."""
        meters = self._providers()[exporting.METRICS]
        if self.totals.announce():
            _flush(meters)
        self.totals.release()
        _flush(meters)


@guarded
def _flush(provider: object) -> None:
    flush = getattr(provider, "force_flush", None)
    if flush is not None:
        flush(_COLLECTION_MILLIS)


def _reading(
    read: Callable[[], list[Observation]],
) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda _options: read()


def _caller_attributes(caller: Caller) -> Attributes:
    attributes: Attributes = {
        names.USER_ID: caller.user_id,
        names.USER_ROLES: caller.roles,
        names.SOURCE: caller.source,
        names.AUTH: caller.auth,
        names.MODEL_ID: caller.model_id or "unknown",
    }
    for name, value in (
        (names.USER_NAME, caller.user_name),
        (names.CONVERSATION_ID, caller.chat_id),
        (names.HTTP_ROUTE, caller.route),
    ):
        if value is not None:
            attributes[name] = value
    return attributes


def _request_attributes(call: ModelCall) -> Attributes:
    asked, caller = call.asked, call.caller
    attributes = {
        names.OPERATION: asked.operation,
        names.PROVIDER_NAME: asked.provider,
        names.REQUEST_MODEL: asked.model,
        names.USER_GROUPS: call.groups,
        names.TASK: caller.task,
        names.CALL_ID: call.id,
        **_caller_attributes(caller),
    }
    attributes[names.MODEL_ID] = caller.model_id or asked.model
    for name, value in (
        (names.REQUEST_STREAM, asked.stream),
        (names.SERVER_ADDRESS, asked.address),
        (names.SERVER_PORT, asked.port),
        (names.CALL_PARENT_ID, call.parent_id),
    ):
        if value:
            attributes[name] = value
    return attributes


def _memberships(user: Tags, groups: Sequence[str]) -> list[Tags]:
    return [(*user, (names.GROUP_NAME, group)) for group in groups]


def _outcome_attributes(call: ModelCall) -> Attributes:
    answer, usage, cost = call.answer, call.usage, call.cost
    known = {
        names.RESPONSE_MODEL: answer.model,
        names.RESPONSE_ID: answer.id,
        names.FINISH_REASONS: tuple(answer.finish_reasons) or None,
        names.TIME_TO_FIRST_CHUNK: call.first_chunk,
        names.INPUT_TOKENS: usage.input,
        names.OUTPUT_TOKENS: usage.output,
        names.CACHE_READ_TOKENS: usage.cache_read,
        names.CACHE_WRITE_TOKENS: usage.cache_creation,
        names.REASONING_TOKENS: usage.reasoning,
        names.ERROR_TYPE: call.error,
        names.USAGE_ESTIMATED: True if call.estimated else None,
        names.USAGE_COST.name: None if cost is None else cost.usd,
        names.COST_SOURCE: None if cost is None else cost.source,
        **{metric.name: amount for metric, amount in _units(call)},
    }
    return {name: value for name, value in known.items() if value is not None}


def _histogram_attributes(call: ModelCall) -> Attributes:
    asked, caller = call.asked, call.caller
    attributes: Attributes = {
        names.OPERATION: asked.operation,
        names.PROVIDER_NAME: asked.provider,
        names.REQUEST_MODEL: asked.model,
        names.SOURCE: caller.source,
        names.TASK: caller.task,
    }
    if asked.address:
        attributes[names.SERVER_ADDRESS] = asked.address
        if asked.port:
            attributes[names.SERVER_PORT] = asked.port
    if call.answer.model is not None:
        attributes[names.RESPONSE_MODEL] = call.answer.model
    if call.error is not None:
        attributes[names.ERROR_TYPE] = call.error
    return attributes


def _user_tags(user_id: str, user_name: str | None) -> Tags:
    who = ((names.USER_ID, user_id),)
    return who if user_name is None else (*who, (names.USER_NAME, user_name))


def _common_tags(call: ModelCall) -> Tags:
    asked, caller = call.asked, call.caller
    return (
        (names.REQUEST_MODEL, asked.model),
        (names.MODEL_ID, caller.model_id or asked.model),
        (names.PROVIDER_NAME, asked.provider),
        (names.SOURCE, caller.source),
        (names.TASK, caller.task),
        (names.OPERATION, asked.operation),
    )


def _token_amounts(call: ModelCall) -> Iterator[tuple[Tags, int, Tags]]:
    """The tokens of each type, and the tag that says so if they are estimated."""
    for kind, amount, guess in (
        (_INPUT, call.usage.input, call.estimated.input),
        (_OUTPUT, call.usage.output, call.estimated.output),
    ):
        if amount is not None:
            yield kind, amount, () if guess is None else _ESTIMATED


def _units(call: ModelCall) -> list[tuple[names.Metric, float]]:
    """What providers bill where there are no tokens."""
    amounts = (
        (names.USAGE_CHARACTERS, call.characters),
        (names.USAGE_IMAGES, call.images),
        (names.USAGE_AUDIO_DURATION, call.answer.seconds),
        (names.USAGE_PAGES, call.answer.pages),
    )
    return [(metric, amount) for metric, amount in amounts if amount]


def _detail_entries(usage: Usage) -> Iterator[Entry]:
    for tags, amount in (
        (_CACHE_READ, usage.cache_read),
        (_CACHE_CREATION, usage.cache_creation),
        (_REASONING, usage.reasoning),
    ):
        if amount:
            yield names.USAGE_TOKEN_DETAILS.name, tags, amount
