"""Stands between the SDK and its exporters, whoever has made them, and watches over each export.

* What is large goes in several requests, of which each is tried, whatever becomes of the others.
* What fails or is dropped is counted, and an outage is told in the log when it begins and ends.
* When the process ends nothing is tried again, and nobody waits for who does not answer.

It puts its own ``export`` before that of the exporter, which the SDK has no public way to wrap, and
takes it away again. An SDK that has moved its attributes exports as if we were not there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from ..guard import guarded, report
from . import batching, channels, readers

_logger = logging.getLogger(__name__)

METRICS: Final = "metrics"
TRACES: Final = "traces"
LOGS: Final = "logs"
SIGNALS: Final = (METRICS, TRACES, LOGS)

QUEUE_FULL: Final = "queue_full"
EXPORT_FAILED: Final = "export_failed"
REASONS: Final = (QUEUE_FULL, EXPORT_FAILED)

_SPLITTERS: Final[dict[str, Callable[[Any], Iterator[Any]]]] = {
    METRICS: batching.metric_batches,
    TRACES: batching.span_batches,
    LOGS: batching.log_batches,
}
_COUNTERS: Final[dict[str, Callable[[Any], int]]] = {
    METRICS: batching.point_count,
    TRACES: len,
    LOGS: len,
}
_OTLP: Final = "opentelemetry.exporter.otlp."

# Time in which the batches of one export may fail; as long as they succeed they may take longer.
_PATIENCE: Final = 30.0
# At the end of a process: for a collector that is just being restarted.
_SECOND_TRY: Final = 0.3
# Of the time that a stop may take, what a request may wait for its answer.
_ANSWER_SHARE: Final = 0.4
_POLL: Final = 0.02
# What an export may take that was cancelled.
_CANCELLED: Final = 2.0


class Tally:
    """What became of the exports of one signal. Safe to use from any thread."""

    def __init__(self, signal: str) -> None:
        self.signal = signal
        self.exports = 0
        self.failures = 0
        self.dropped: Counter[str] = Counter()
        self._lost = 0
        self._failing = 0
        self._lock = threading.Lock()

    @property
    def failing(self) -> bool:
        """Whether the last export failed."""
        return self._failing > 0

    def exported(self, failed_items: int, failed: bool) -> None:
        """Count one export, and tell of an outage when it begins and when it is over."""
        with self._lock:
            outage, lost = self._failing, self._lost
            self._failing = outage + 1 if failed else 0
            self._lost = lost + failed_items if failed else 0
            self.exports += 1
            self.failures += failed
            self.dropped[EXPORT_FAILED] += failed_items
        if failed and not outage:
            _logger.warning(
                "Open WebUI instrumentation: %s cannot be exported; the exporter's own message says"
                " why. Open WebUI is not affected. This is said once, until it works again.",
                self.signal,
            )
        elif outage and not failed:
            _logger.warning(
                "Open WebUI instrumentation: %s are exported again; %d exports failed, with %d"
                " items.%s",
                self.signal,
                outage,
                lost,
                " Cumulative totals miss nothing by it." if self.signal == METRICS else "",
            )

    def clear(self) -> None:
        """Begin anew, with a lock of its own: this process was forked from another."""
        self._lock = threading.Lock()
        self.exports = self.failures = self._lost = self._failing = 0
        self.dropped.clear()

    def drop_queued(self, items: int) -> None:
        """Count what found the SDK's queue full."""
        with self._lock:
            self.dropped[QUEUE_FULL] += items


class _Watched:
    """One exporter: what the SDK gives it to export goes through here."""

    def __init__(self, exporter: Any, tally: Tally, heard: Callable[[_Watched], None]) -> None:
        self.exporter = exporter
        self.failed = False
        """Whether nothing of its last export came through."""
        self.asked: float | None = None
        """When the request went out whose answer is still to come."""
        self.ending = False
        """Whether to try once more, soon; what is tried after a pause otherwise."""
        self.closed = False
        """Whether nothing is exported: this process was forked, or forks before it serves."""
        self.tally = tally
        self._heard = heard
        self._exporting = threading.Lock()
        self._export: Callable[..., Any] = exporter.export
        otlp = any(cls.__module__.startswith(_OTLP) for cls in type(exporter).__mro__)
        self._split = _SPLITTERS[tally.signal] if otlp else _whole
        exporter.export = self.export

    def restore(self) -> None:
        """Take our ``export`` away, unless somebody has put theirs before it since."""
        if vars(self.exporter).get("export") == self.export:
            del self.exporter.export

    def end(self, ending: bool) -> None:
        """Let nothing be tried again after a pause, or let it."""
        self.ending = ending
        for event in _back_offs(self.exporter):
            event.set() if ending else event.clear()

    @property
    def has_channel(self) -> bool:
        """Whether a gRPC channel is open, which a fork does not survive."""
        return channels.is_grpc(self.exporter) and not self.closed

    def close(self) -> None:
        """Close the channel, once nobody uses it any more."""
        self.closed = True
        self.end(True)
        channels.cancel(self.exporter)
        # An export under way would keep gRPC's core alive.
        if self._exporting.acquire(timeout=_CANCELLED):
            self._exporting.release()
        self.end(False)
        channels.close(self.exporter)

    def begin_anew(self) -> None:
        """Leave to the parent what is the parent's: this process was forked from it."""
        self.asked, self.ending, self.failed = None, False, False
        self._exporting = threading.Lock()
        if channels.is_grpc(self.exporter):
            self.closed = True
        channels.let_go(self.exporter)

    def reopen(self) -> None:
        """Export again."""
        if self.closed:
            channels.reopen(self.exporter)
            self.closed = False

    def export(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Export, unless there is nothing to tell yet."""
        with self._exporting:
            return None if self.closed else self._export_all(data, args, kwargs)

    def _export_all(self, data: Any, args: Any, kwargs: Any) -> Any:
        """Export in as many requests as it takes; return the result of the worst."""
        count = _COUNTERS[self.tally.signal]
        result, error, failed, came, lost = None, None, False, False, 0
        deadline = time.monotonic() + (kwargs.get("timeout_millis") or _PATIENCE * 1000) / 1000
        for batch in self._batches(data):
            if failed and time.monotonic() > deadline:
                lost += count(batch)
                continue
            try:
                outcome = self._send(batch, args, kwargs)
                well = _is_well(outcome)
            except Exception as raised:
                error, well, outcome = raised, False, result
            came = came or well
            if not well:
                failed = True
                lost += count(batch)
            if result is None or not well:
                result = outcome
        if self.closed:
            return result
        self.tally.exported(lost, failed)
        self.failed = failed and not came
        self._heard(self)
        if error is not None:
            raise error
        return result

    def _batches(self, data: Any) -> Iterable[Any]:
        try:
            return list(self._split(data))
        except Exception:
            report("the splitting of an export")
            return (data,)

    def _send(self, batch: Any, args: Any, kwargs: Any) -> Any:
        outcome = self._ask(batch, args, kwargs)
        if self.ending and not self.closed and not _is_well(outcome):
            time.sleep(_SECOND_TRY)
            outcome = self._ask(batch, args, kwargs)
        return outcome

    def _ask(self, batch: Any, args: Any, kwargs: Any) -> Any:
        self.asked = time.monotonic()
        try:
            return self._export(batch, *args, **kwargs)
        finally:
            self.asked = None


class _Drops:
    """Stands before what a batch processor counts by itself, and shows only if it is told to."""

    def __init__(self, processor: Any, tally: Tally) -> None:
        self._processor = processor
        self._metrics = processor._metrics
        self._tally = tally
        processor._metrics = self

    def drop_items(self, count: int, *args: Any) -> None:
        """Count what found the queue full."""
        self._tally.drop_queued(count)
        self._metrics.drop_items(count, *args)

    def restore(self) -> None:
        """Step aside."""
        if self._processor._metrics is self:
            self._processor._metrics = self._metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metrics, name)


class Exports:
    """The exporters of one instrumented process.

    Args:
        heard: Hears after each export of metrics whether anything of an exporter's last one came
            through, of whichever exporter.
    """

    def __init__(self, heard: Callable[[bool], None] = lambda _well: None) -> None:
        self.tallies = {signal: Tally(signal) for signal in SIGNALS}
        self._heard = heard
        self._watched: dict[int, _Watched] = {}
        self._drops: dict[int, _Drops] = {}

    @guarded
    def watch(self, signal: str, provider: object) -> None:
        """Stand before all exporters of a provider; those that are watched stay so."""
        tally = self.tallies[signal]
        for exporter, processor in readers.exporters(provider):
            if id(exporter) not in self._watched:
                self._watched[id(exporter)] = _Watched(exporter, tally, self._hear)
            if hasattr(processor, "_metrics") and id(processor) not in self._drops:
                self._drops[id(processor)] = _Drops(processor, tally)

    @guarded
    def _hear(self, exported: _Watched) -> None:
        if exported.tally.signal == METRICS:
            alike = [each for each in self._watched.values() if each.tally is exported.tally]
            self._heard(not all(each.failed for each in alike))

    @guarded
    def before_fork(self) -> None:
        """Close what a fork does not survive; nothing is exported until :meth:`reopen`."""
        open_ones = [each for each in self._watched.values() if each.has_channel]
        for watched in open_ones:
            watched.close()
        if open_ones:
            channels.wait_for_end()

    @guarded
    def begin_anew(self) -> None:
        """Count anew, over connections of its own: this process was forked from another."""
        for tally in self.tallies.values():
            tally.clear()
        for watched in self._watched.values():
            watched.begin_anew()

    @guarded
    def reopen(self) -> None:
        """Export from now on."""
        for watched in self._watched.values():
            watched.reopen()

    @guarded
    def restore(self) -> None:
        """Leave all exporters as they were."""
        for watched in self._watched.values():
            watched.restore()
        for drops in self._drops.values():
            drops.restore()
        self._watched.clear()
        self._drops.clear()

    def end(self, jobs: Sequence[Callable[[], None]], seconds: float) -> bool:
        """Do the last exports, all at once; return whether they came to an end in that time."""
        self._set_ending(True)
        try:
            return self._wait(jobs, seconds)
        finally:
            for watched in self._watched.values():
                watched.ending = False

    def _wait(self, jobs: Sequence[Callable[[], None]], seconds: float) -> bool:
        began = time.monotonic()
        # Nobody waits for daemons, at the end of the process either.
        threads = [threading.Thread(target=job, daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            now = time.monotonic()
            silence = now - max(began, self._last_asked(now))
            if now - began > seconds or silence > seconds * _ANSWER_SHARE:
                return False
            time.sleep(_POLL)
        return True

    def go_on(self) -> None:
        """Try again from now on what fails: it was not the end."""
        self._set_ending(False)

    def _set_ending(self, ending: bool) -> None:
        for watched in self._watched.values():
            watched.end(ending)

    def _last_asked(self, now: float) -> float:
        """Return since when all requests under way wait for an answer; now, if there is none."""
        times = [each.asked for each in tuple(self._watched.values())]
        return max((asked for asked in times if asked is not None), default=now)


def _whole(data: Any) -> Iterator[Any]:
    yield data


def _is_well(outcome: Any) -> bool:
    return getattr(outcome, "name", "SUCCESS") == "SUCCESS"


def _back_offs(exporter: Any) -> Iterator[threading.Event]:
    """The events that an OTLP exporter waits for between two attempts, set when it is shut down."""
    for holder in (exporter, getattr(exporter, "_client", None)):
        for name, value in getattr(holder, "__dict__", {}).items():
            if "shutdown" in name and isinstance(value, threading.Event):
                yield value
