"""How a metric is named and selected in PromQL, and the three ways in which a total is read.

Names come from the library's ``names``: what it does not emit cannot be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from opentelemetry.instrumentation.open_webui import names
from opentelemetry.instrumentation.open_webui.names import Metric

RANGE: Final = "$__range"
"""The time range of the dashboard, as Grafana writes it."""
STEP: Final = "$__interval"
"""The time between two points of a graph."""
RATE: Final = "$__rate_interval"
"""A window that has at least four exports in it."""


def label(attribute: str) -> str:
    """The label that an attribute is in Prometheus."""
    return attribute.replace(".", "_")


USER_ID, USER_NAME, GROUP = map(label, (names.USER_ID, names.USER_NAME, names.GROUP_NAME))
MODEL, SOURCE, TASK = map(label, (names.REQUEST_MODEL, names.SOURCE, names.TASK))
TOKEN_TYPE, DETAIL = label(names.TOKEN_TYPE), label(names.TOKEN_DETAIL)
ERROR, ESTIMATED = label(names.ERROR_TYPE), label(names.USAGE_ESTIMATED)
PROVIDER = label(names.PROVIDER_NAME)
SIGNAL = label(names.SIGNAL)
LIMIT = label(names.LIMIT_NAME)
LIMIT_MEASURE = label(names.LIMIT_MEASURE)
POOL: Final = f'{label(names.LIMIT_SHARED)}="true"'
IN_FORCE: Final = f'{label(names.LIMIT_OBSERVED)}="false"'

SUCCEEDED: Final = f'{ERROR}=""'
FAILED: Final = f'{ERROR}!=""'
NOT_METRICS: Final = f'{SIGNAL}!="metrics"'
CHATS: Final = f'{label(names.OPERATION)}="chat"'

ANYTHING: Final = "anything"
"""A label that no series has, so that patterns match it when, and only when, they match nothing at
all: the pattern of "All" does, that of a chosen group does not. It makes one expression do for both."""


class Level(NamedTuple):
    """How finely usage is recorded."""

    name: str
    labels: tuple[str, ...]


FINE: Final = Level("user_model", (USER_ID, USER_NAME, MODEL, SOURCE, TASK))
BY_USER: Final = Level("user", (USER_ID, USER_NAME, SOURCE))
BY_MODEL: Final = Level("model", (MODEL, SOURCE, TASK))
BY_GROUP: Final = Level("group", (GROUP, MODEL, SOURCE, TASK))

COMING: Final = {
    names.DURATION: names.INFERENCE_DURATION,
    names.FIRST_CHUNK: names.INFERENCE_FIRST_CHUNK,
}
"""What client metrics are called where OTEL_SEMCONV_STABILITY_OPT_IN says so."""
RANK: Final = "${rank:raw}"
"""By what the dropdown "Rank by" ranks, as a part of the names of metrics."""
RANKED: Final = Metric(f"open_webui.usage.{RANK}", "", "What users and models are ranked by.")
RANKED_GROUP: Final = Metric(f"open_webui.group.{RANK}", "", "What groups are ranked by.")

_GAUGES = (
    names.USER_GROUP, names.USER_LAST_SEEN, names.ACTIVE, names.PRICES_MODIFIED,
    names.LIMIT_USED, names.LIMIT_ALLOWED,
)  # fmt: skip
_UNITS = {"s": "_seconds"}


def series(metric: Metric, suffix: str = "") -> str:
    """The name that a metric has in Prometheus, by the rules of its OTLP endpoint.

    Args:
        metric: The metric.
        suffix: For a histogram, which of its series: ``_bucket``, ``_count`` or ``_sum``.
    """
    kind = suffix or ("" if metric in _GAUGES else "_total")
    return label(metric.name) + _UNITS.get(metric.unit, "") + kind


Matchers = Sequence[str]
"""Parts of a selector, such as ``open_webui_source="ui"``."""


def chosen(name: str, variable: str) -> str:
    """What the dropdown chose. Backquotes: nothing in a name but a backquote can end the string.

    No format of Grafana's escapes one, so dropdowns offer no name that has any, and let nobody type.
    What follows one all the same can but name more labels: the format escapes every kind of bracket.
    """
    return f"{name}=~`${{{variable}:regex}}`"


def quotable(name: str) -> str:
    """Leaves out what :func:`chosen` cannot choose."""
    return f'{name}!~".*`.*"'


def unless_chosen(*variables: str) -> str:
    """Matches every series as long as all these dropdowns say "All", and none otherwise."""
    return f"{ANYTHING}=~`{''.join(f'(${{{one}:regex}})' for one in variables)}`"


def if_chosen(*variables: str) -> str:
    """The opposite."""
    return unless_chosen(*variables).replace("=~", "!~")


@dataclass(frozen=True)
class Window:
    """Over which time a total is asked for."""

    length: str = RANGE
    before: bool = False
    """Whether the same length of time before it is meant."""
    after: bool = False
    """Whether the time that begins at a point is meant, not that which ends there."""
    end: str = ""
    """When it ends, if not where it is asked for: Unix time in seconds, or ``end()``, that of the graph."""

    @property
    def place(self) -> str:
        """The modifiers that move the window there."""
        if self.before:
            return f"{self._pinned} offset {self.length}"
        return f"{self._pinned} offset -{self.length}" if self.after else self._pinned

    @property
    def beginning(self) -> str:
        """The modifiers that lead to the moment at which it begins, unless it is the time before."""
        return self._pinned if self.after else f"{self._pinned} offset {self.length}"

    @property
    def _pinned(self) -> str:
        return f" @ {self.end}" if self.end else ""


@dataclass(frozen=True)
class Month:
    """A calendar month (UTC), told by variables of the dashboard: whatever its time range."""

    back: int
    """How many months before that in which the time range ends."""

    @property
    def start(self) -> str:
        """The variable with the beginning, as Unix time in seconds. Its text is the month's name."""
        return f"month_{self.back}"

    @property
    def end(self) -> str:
        """The variable with the end, likewise."""
        return f"month_{self.back - 1}" if self.back else "month_next"

    @property
    def days(self) -> str:
        """The variable with the number of days."""
        return f"days_{self.back}"

    @property
    def window(self) -> Window:
        """The time from its beginning to its end."""
        return Window(f"${{{self.days}:raw}}d", end=f"${{{self.end}:raw}}")


def month_of(moment: str) -> str:
    """When the calendar month (UTC) of a moment began, in Unix time.

    Args:
        moment: A scalar expression: Unix time in seconds.
    """
    midnight = f"{moment} - {moment} % 86400"
    return f"({midnight} - 86400 * (day_of_month(vector({moment})) - 1))"


class Reading(Protocol):
    """One way in which totals are read."""

    key: str
    """Names the directory, and ends the dashboards' uids."""
    title: str
    """Ends the dashboards' titles."""
    coarse: Sequence[Level]
    """Levels that are quicker to read than the finest, where they have the labels that are needed."""

    def total(self, metric: Metric, matchers: Matchers, window: Window, level: Level = FINE) -> str:
        """By how much each series grew in the window."""

    def peak(self, metric: Metric, matchers: Matchers, window: Window) -> str:
        """The highest value of each gauge in the window."""


class Exact:
    """``increase(x[…] anchored)``: exact, in Prometheus 3.16 or newer."""

    key = "exact"
    title = ""
    coarse: Sequence[Level] = ()

    def total(self, metric: Metric, matchers: Matchers, window: Window, level: Level = FINE) -> str:
        """By how much each series grew in the window."""
        return f"increase({_selector(series(metric), matchers)}[{window.length}] anchored{window.place})"

    def peak(self, metric: Metric, matchers: Matchers, window: Window) -> str:
        """The highest value of each gauge in the window."""
        return (
            f"max_over_time({_selector(series(metric), matchers)}[{window.length}]{window.place})"
        )


class Portable(Exact):
    """The highest value less the one before the window or else the lowest in it. Exact, too.

    Because a series of one process never resets and is announced before it moves. For the time before
    the range, its lowest value alone is what can be asked for in any PromQL: it misses what was
    counted in the first export interval.
    """

    key = "portable"
    title = " (any PromQL)"

    def total(self, metric: Metric, matchers: Matchers, window: Window, level: Level = FINE) -> str:
        """By how much each series grew in the window."""
        selected = _selector(series(metric), matchers)
        last = f"max_over_time({selected}[{window.length}]{window.place})"
        first = f"min_over_time({selected}[{window.length}]{window.place})"
        if not window.before:
            first = f"({selected}{window.beginning} or {first})"
        return f"({last} - {first})"


class Recorded:
    """Sums of what the recording rules have recorded for each hour or day: quick over months."""

    key = "recorded"
    title = " (over months)"
    coarse: Sequence[Level] = (BY_MODEL, BY_USER)

    def __init__(self, span: str = "$sums") -> None:
        self._span = span

    def total(self, metric: Metric, matchers: Matchers, window: Window, level: Level = FINE) -> str:
        """By how much each series grew in the hours or days whose records are in the window."""
        name = recorded(metric, self._span, level)
        return f"sum_over_time({_selector(name, matchers)}[{window.length}]{window.place})"

    def peak(self, metric: Metric, matchers: Matchers, window: Window) -> str:
        """The highest recorded value of each gauge."""
        name = recorded(metric, self._span)
        return f"max_over_time({_selector(name, matchers)}[{window.length}]{window.place})"


class Beside(Portable):
    """Totals on the pages of the set ``recorded`` for which there are no records, in any PromQL."""

    key, title = Recorded.key, Recorded.title


def recorded(metric: Metric, span: str, level: Level = BY_USER) -> str:
    """The name of a record, by Prometheus' convention ``level:metric:operations``."""
    operation = "max" if metric in _GAUGES else "increase"
    return f"{level.name}:{series(metric).removesuffix('_total')}:{operation}{span}"


def _selector(name: str, matchers: Matchers) -> str:
    return f"{name}{{{','.join(matchers)}}}" if matchers else name


def selector(metric: Metric, matchers: Matchers, suffix: str = "") -> str:
    """The series of a metric."""
    return _selector(series(metric, suffix), matchers)


def either(read: Callable[[Metric], str], metric: Metric) -> str:
    """What is read of a client metric, by its name of today and the one to come.

    Not by a pattern: functions leave names out, and series that then look alike are an error.
    """
    return f"({read(metric)} or {read(COMING[metric])})"


def summed(expression: str, by: Sequence[str] = ()) -> str:
    """The sum, for each value of some labels."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def of_collector(name: str) -> str:
    """A metric that a collector tells of itself. Depending on its settings, counters end in _total."""
    return f'{{__name__=~"otelcol_{name}(_total)?"}}'
