"""Each question that a dashboard answers, once, as a PromQL expression.

Every method's docstring is its question. The comments between them say which dropdowns narrow the
answers that follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from opentelemetry.instrumentation.open_webui import names
from opentelemetry.instrumentation.open_webui.names import Metric

from .promql import (
    BY_GROUP,
    BY_MODEL,
    CHATS,
    DETAIL,
    ERROR,
    ESTIMATED,
    FAILED,
    FINE,
    GROUP,
    IN_FORCE,
    LIMIT,
    LIMIT_MEASURE,
    MODEL,
    NOT_METRICS,
    RANGE,
    RANKED,
    RANKED_GROUP,
    RATE,
    SIGNAL,
    SOURCE,
    STEP,
    SUCCEEDED,
    TASK,
    TOKEN_TYPE,
    USER_ID,
    USER_NAME,
    Beside,
    Level,
    Matchers,
    Month,
    Reading,
    Recorded,
    Window,
    chosen,
    either,
    if_chosen,
    month_of,
    of_collector,
    quotable,
    selector,
    series,
    summed,
    unless_chosen,
)

DROPDOWNS: Final = {MODEL: "model", TASK: "task", USER_ID: "user", GROUP: "group"}
"""The labels that dropdowns choose from, Source apart."""
OF_SOURCE: Final = f"{SOURCE}=~`${{source:raw}}`"
OF_CALL: Final = (chosen(MODEL, "model"), OF_SOURCE, chosen(TASK, "task"))
OF_USER: Final = (*OF_CALL, chosen(USER_ID, "user"))
OF_GROUP: Final = (*OF_CALL, chosen(GROUP, "group"))
INPUT, OUTPUT = (f'{TOKEN_TYPE}="{kind}"' for kind in ("input", "output"))
API: Final = f'{SOURCE}="api"'
PEOPLE: Final = f'{USER_ID}!~"{names.SYSTEM_USER}|{names.FOLDED}"'
ALL: Final = Window()
BEFORE: Final = Window(before=True)
BUDGET: Final = "open_webui:budget:usd_per_month"
"""The record with the budgets of groups that have one of their own."""
DEFAULT_BUDGET: Final = "open_webui:budget:default_usd_per_month"
"""The record with the budget of every other group."""
LIMITED_BUDGET: Final = "open_webui:budget:limit_usd_per_month"
"""The record with the budgets of groups that a limit holds to them; these come first."""
WHO: Final = "who"
"""The label with the name of a user or, where names are not shown, the id."""
TOP: Final = 10
LINES: Final = 6
"""How many of many are told apart in a graph; the others are one."""
WHOLE_RANGE: Final = Window(end="end()")
"""The time range of a graph, the same at each of its points."""
_Ask = Callable[[Sequence[str]], str]
"""A question that is put to the series that some more matchers select."""


@dataclass(frozen=True)
class Queries:
    """All questions, asked in one way of reading totals."""

    reading: Reading
    of_groups: bool = True
    """Whether there is a dropdown that chooses groups."""

    # How much, narrowed by all dropdowns.

    def usage(
        self, metric: Metric, *only: str, by: Sequence[str] = (), window: Window = ALL
    ) -> str:
        """By how much did each series of these users grow? A chosen group leaves only its members.

        Where coarser records do, as long as no dropdown chooses what they do not tell apart, they
        are read instead.
        """
        needed = {*by, *(re.split(r"\W", one)[0] for one in only)} - {TOKEN_TYPE}
        branches, ruled_out = [], list(only)
        for level in self.reading.coarse:
            if needed <= set(level.labels):
                unseen = _dropdowns_without(level)
                quick = (*ruled_out, unless_chosen(*unseen))
                branches.append(self._grown(level, metric, quick, window))
                ruled_out.append(if_chosen(*unseen))
        branches.append(self._grown(FINE, metric, ruled_out, window))
        return f"({' or '.join(branches)})" if len(branches) > 1 else branches[0]

    def requests(self, *by: str, only: Matchers = (), window: Window = ALL) -> str:
        """How many calls to models were there?"""
        return summed(self.usage(names.USAGE_REQUESTS, *only, by=by, window=window), by)

    def tokens(self, *by: str, only: Matchers = (), window: Window = ALL) -> str:
        """How many tokens were used?"""
        return summed(self.usage(names.USAGE_TOKENS, *only, by=by, window=window), by)

    def tokens_over_time(self, by: str) -> str:
        """When were tokens used? 0 where none were: else bars of what is rare would be wider."""
        used = self.tokens(by, window=Window(STEP))
        seen = selector(names.USAGE_TOKENS, OF_USER)
        return f"{used} or 0 * {summed(f'last_over_time({seen}[{RANGE}] @ end())', [by])}"

    def cost(self, *by: str, window: Window = ALL) -> str:
        """What did it cost, in US dollars?"""
        return summed(self.usage(names.USAGE_COST, by=by, window=window), by)

    def active_users(self, window: Window = ALL) -> str:
        """How many people called a model?"""
        return f"count({self.requests(USER_ID, only=[PEOPLE], window=window)} > 0)"

    def api_share(self, *by: str) -> str:
        """Which share of the calls came through the API? None is 0, not nothing."""
        through_api, all_calls = self.requests(*by, only=[API]), self.requests(*by)
        return f"({through_api} or 0 * {all_calls}) / ({all_calls} > 0)"

    def change(self, now: str, before: str) -> str:
        """By which share did it grow against the period before? Nothing where there was none."""
        return f"{now} / ({before} > 0) - 1"

    def ranked(self, *by: str, window: Window = ALL) -> str:
        """How much was used, of what is ranked by?"""
        return summed(self.usage(RANKED, by=by, window=window), by)

    def top_users(self) -> str:
        """Who used most?"""
        return self._named(f"topk({TOP}, {self.ranked(USER_ID)} > 0)")

    def top(self, of: str) -> str:
        """Which models, tasks or sources used most?"""
        return f"sort_desc(topk({TOP}, {self.ranked(of)} > 0))"

    def top_models_over_time(self) -> str:
        """When did those models that used most use it?"""
        return _largest(*self._ranked_models())

    def other_models_over_time(self) -> str:
        """When did all other models use it?"""
        return _others(*self._ranked_models())

    def _ranked_models(self) -> tuple[str, str, str]:
        step, whole = (self.ranked(MODEL, window=one) for one in (Window(STEP), WHOLE_RANGE))
        return MODEL, step, whole

    def share_of_top_users(self) -> str:
        """Which share of the tokens was used by the ten people who used most?"""
        return f"sum(topk({TOP}, {self.tokens(USER_ID)})) / ({self.tokens()} > 0)"

    def tokens_per_user(self) -> str:
        """How many tokens did an active person use on average?"""
        return f"{self.tokens(only=[PEOPLE])} / {self.active_users()}"

    def cost_per_user(self) -> str:
        """What did an active person cost on average?"""
        return f"{summed(self.usage(names.USAGE_COST, PEOPLE))} / {self.active_users()}"

    def failures(self, *by: str) -> str:
        """How many calls failed?"""
        return f"{self.requests(*by, only=[FAILED])} > 0"

    def no_failures(self) -> str:
        """How many calls failed? None is 0, as long as there were calls."""
        return f"{self.requests(only=[FAILED])} or 0 * {self.requests()}"

    # Who.

    def last_seen(self) -> str:
        """When did each user call last, and what are they called now? Unix time, in seconds."""
        seen = self._of_members(
            lambda more: self.reading.peak(
                names.USER_LAST_SEEN, (chosen(USER_ID, "user"), *more), ALL
            ),
            ALL,
        )
        return _newest_name(seen)

    def last_seen_milliseconds(self) -> str:
        """When did each user call last? As Grafana writes times."""
        return f"{self.last_seen()} * 1000"

    def groups_of_users(self) -> str:
        """Which groups was each user in?"""
        return (
            f"max by ({USER_ID}, {GROUP}) "
            f"({self.reading.peak(names.USER_GROUP, [chosen(USER_ID, 'user')], ALL)})"
        )

    # How much, by group. Not narrowed by user: groups count calls, not people.

    def group(self, metric: Metric, *by: str, only: Matchers = (), window: Window = ALL) -> str:
        """How much did each group use? Never to be added up over groups."""
        return summed(self.reading.total(metric, (*OF_GROUP, *only), window, BY_GROUP), by)

    def top_groups(self) -> str:
        """Which groups used most?"""
        return f"sort_desc(topk({TOP}, {self.group(RANKED_GROUP, GROUP)} > 0))"

    def top_groups_over_time(self, metric: Metric, step: Window) -> str:
        """When did those groups that used most use it?"""
        return _largest(*self._groups(metric, step))

    def other_groups_over_time(self, metric: Metric, step: Window) -> str:
        """When did all other groups use it?"""
        return _others(*self._groups(metric, step))

    def _groups(self, metric: Metric, step: Window) -> tuple[str, str, str]:
        each, whole = (self.group(metric, GROUP, window=one) for one in (step, WHOLE_RANGE))
        return GROUP, each, whole

    def budget(self, month: Month) -> str:
        """What may each group that cost something cost in a month?

        What its limit says, else its own budget, else the default.
        """
        limited, own, default = (
            f"last_over_time({record}[{month.window.length}]{month.window.place})"
            for record in (LIMITED_BUDGET, BUDGET, DEFAULT_BUDGET)
        )
        nothing = f"0 * {self.group(names.GROUP_COST, GROUP, window=month.window)}"
        return (
            f"((max by ({GROUP}) ({limited}) or max by ({GROUP}) ({own})) and on ({GROUP}) {nothing}"
            f" or {nothing} + on () group_left () max({default}))"
        )

    def budget_used(self, month: Month) -> str:
        """Which share of its budget has each group used?"""
        used = self.group(names.GROUP_COST, GROUP, window=month.window)
        return f"{used} / on ({GROUP}) {self.budget(month)}"

    def budget_left(self, month: Month) -> str:
        """How much of its budget has each group left? Less than 0: it has cost more."""
        used = self.group(names.GROUP_COST, GROUP, window=month.window)
        return f"{self.budget(month)} - on ({GROUP}) {used}"

    def true_total(self, metric: Metric, *matchers: str, window: Window = ALL) -> str:
        """How much was used in all, each call counted once?"""
        return summed(self.reading.total(metric, (*OF_CALL, *matchers), window, BY_MODEL))

    # Models. Histograms know nothing of users or groups.

    def model_requests(self, *by: str, only: Matchers = (), window: Window = ALL) -> str:
        """How many calls did each model get?"""
        return summed(self.reading.total(names.USAGE_REQUESTS, (*OF_CALL, *only), window), by)

    def error_share(self, *by: str) -> str:
        """Which share of a model's calls failed? None is 0, not nothing."""
        failed, calls = self.model_requests(*by, only=[FAILED]), self.model_requests(*by)
        return f"({failed} or 0 * {calls}) / ({calls} > 0)"

    def errors(self) -> str:
        """How did calls fail?"""
        return f"{self.model_requests(MODEL, ERROR, only=[FAILED])} > 0"

    def errors_over_time(self) -> str:
        """When did calls fail, and how?"""
        window = Window(STEP)
        return f"{self.model_requests(ERROR, only=[FAILED], window=window)} > 0"

    def model_cost(self) -> str:
        """What did each model cost?"""
        return summed(self.reading.total(names.USAGE_COST, OF_CALL, ALL), [MODEL])

    def cost_per_1000_requests(self) -> str:
        """What do 1,000 calls to each model cost, those that failed included?"""
        return f"1000 * {self.model_cost()} / ({self.model_requests(MODEL)} > 0)"

    def cached_share(self) -> str:
        """Which share of each model's input tokens came from the provider's cache?"""
        cached = (*OF_CALL, f'{DETAIL}="cache_read"')
        read = summed(self.reading.total(names.USAGE_TOKEN_DETAILS, cached, ALL), [MODEL])
        given = summed(self.reading.total(names.USAGE_TOKENS, (*OF_CALL, INPUT), ALL), [MODEL])
        return f"({read} or 0 * {given}) / ({given} > 0)"

    def quantile(self, metric: Metric, share: float) -> str:
        """How long did it take, for all but the slowest calls that succeeded?"""
        grown = either(lambda one: _born_in_range(one, "_bucket"), metric)
        buckets = summed(grown, ["le", MODEL])
        return _quantile(share, buckets)

    def quantile_over_time(self, metric: Metric, share: float, *by: str) -> str:
        """How did that change over time?"""
        buckets = summed(either(lambda one: _rate(one, "_bucket"), metric), ["le", *by])
        return _quantile(share, buckets)

    def output_speed(self) -> str:
        """How many tokens does each model write in a second of answering, waiting included?"""
        return _speed(_born_in_range)

    def output_speed_over_time(self) -> str:
        """How did that change over time?"""
        return _speed(_rate)

    # Whether the numbers can be relied on.

    def unknown_calls(self, *by: str) -> str:
        """How many calls took a path that this version of the library does not know?"""
        unknown = f'{TASK}="{names.UNKNOWN_TASK}"'
        return summed(self.reading.total(names.USAGE_REQUESTS, [unknown], ALL), by)

    def every_call(self) -> str:
        """How many calls were there in all, whatever the dropdowns say?"""
        return summed(self.reading.total(names.USAGE_REQUESTS, [], ALL))

    def estimated_share(self, *by: str) -> str:
        """Which share of the tokens is estimated, because the provider did not say?"""
        estimated = summed(self.reading.total(names.USAGE_TOKENS, [f'{ESTIMATED}="true"'], ALL), by)
        tokens = summed(self.reading.total(names.USAGE_TOKENS, [], ALL), by)
        return f"({estimated} or 0 * {tokens}) / ({tokens} > 0)"

    def unpriced_share(self, *by: str) -> str:
        """Which share of the calls has no price, so that cost is too low?"""
        unpriced = summed(self.reading.total(names.USAGE_UNPRICED, [], ALL), by)
        calls = summed(self.reading.total(names.USAGE_REQUESTS, [], ALL), by)
        return f"({unpriced} or 0 * {calls}) / ({calls} > 0)"

    def folded_calls(self) -> str:
        """How many calls count under no user, because there are more than the limit allows?"""
        folded = f'{USER_ID}="{names.FOLDED}"'
        calls = summed(self.reading.total(names.USAGE_REQUESTS, [folded], ALL))
        return f"{calls} or 0 * {self.every_call()}"

    def no_unknown_calls(self) -> str:
        """How many calls took an unknown path? None is 0, as long as there were calls."""
        return f"{self.unknown_calls()} or 0 * {self.every_call()}"

    # Limits, which no dropdown narrows. Each process knows of them what it last looked up.

    def limit_used(self, only: Matchers = ()) -> str:
        """Which share of each limit is used, of what each allows?"""
        return f"{self.limit(names.LIMIT_USED, only)} / {self.limit(names.LIMIT_ALLOWED, only)}"

    def limit(self, metric: Metric, only: Matchers = ()) -> str:
        """How much of each limit is used, or allowed?"""
        return f"max by ({LIMIT}, {LIMIT_MEASURE}) ({selector(metric, only)})"

    def limit_refused(self) -> str:
        """How many requests did each limit refuse? Of that, nothing is recorded."""
        reading = Beside() if isinstance(self.reading, Recorded) else self.reading
        grown = reading.total(names.USAGE_REFUSED, [IN_FORCE], ALL)
        return summed(grown, [LIMIT, LIMIT_MEASURE])

    def age(self) -> str:
        """How old is the newest that any Open WebUI has told, within a day?"""
        return f"time() - max(max_over_time(timestamp({series(names.ACTIVE)})[1d:1m]))"

    def processes(self) -> str:
        """How many processes of Open WebUI report?"""
        return f"sum({series(names.ACTIVE)})"

    def dropped_items(self) -> str:
        """How many spans and events did Open WebUI give up? Metrics are told anew."""
        return summed(self.reading.total(names.EXPORT_DROPPED, [NOT_METRICS], ALL))

    def dropped(self) -> str:
        """How many data points, spans and events did Open WebUI give up, of each signal?"""
        grown = f"increase({series(names.EXPORT_DROPPED)}[{RATE}])"
        return summed(grown, [SIGNAL, ERROR])

    def failed_exports(self) -> str:
        """How many exports of Open WebUI failed, of each signal?"""
        return summed(f"increase({series(names.EXPORT_FAILURES)}[{RATE}])", [SIGNAL])

    def booked(self, metric: Metric) -> str:
        """How many calls did the processes write to the ledger, or put aside, or lose?"""
        return summed(self.reading.total(metric, (), ALL))

    def booked_each_second(self, metric: Metric) -> str:
        """How many calls does each process write to the ledger, or put aside, in a second?"""
        return summed(f"rate({series(metric)}[{RATE}])", ["instance"])

    def ledger_queue(self) -> str:
        """How many calls have the processes in memory, for the ledger?"""
        return summed(series(names.LEDGER_QUEUE))

    def ledger_files(self) -> str:
        """How many files of calls wait for the ledger? Processes that share a folder tell the same."""
        return f"max({series(names.LEDGER_SPOOL_FILES)})"

    def ledger_behind(self, *by: str) -> str:
        """How long has the oldest call waited for the ledger?"""
        grouping = f" by ({', '.join(by)})" if by else ""
        return f"max{grouping} ({series(names.LEDGER_BEHIND)})"

    def queue_used(self) -> str:
        """How full is each queue of the collector?"""
        by = ["instance", "exporter", "data_type"]
        size, capacity = (
            of_collector("exporter_queue_size"),
            of_collector("exporter_queue_capacity"),
        )
        return f"{summed(size, by)} / {summed(capacity, by)}"

    def collector_lost(self, how: str) -> str:
        """How many items did the collector refuse, or fail to hand on?"""
        # It tells of this only once it has happened.
        nothing = f"0 * {summed(of_collector('exporter_queue_size'))}"
        return " + ".join(
            f"({summed(f'increase({of_collector(one)}[{RATE}])')} or {nothing})"
            for one in (f"{how}_{items}" for items in ("metric_points", "spans", "log_records"))
        )

    # What happened meanwhile, as times in milliseconds.

    def restarts(self) -> str:
        """When was each process that began in the time range heard of first?"""
        active = series(names.ACTIVE)
        began = f"min by (job, instance) (min_over_time(timestamp({active})[{RANGE}:1m] @ end()))"
        before = f"last_over_time({active}[1h] @ end() offset {RANGE})"
        return f"1000 * {began} unless on (job, instance) {before}"

    def price_changes(self) -> str:
        """When was the price file changed, by the newest that is in force?"""
        return f"1000 * max({series(names.PRICES_MODIFIED)})"

    # Dropdowns: only what was seen in the range.

    def seen_in_groups(self, of: str) -> str:
        """Which models, tasks or groups were used? Group series have all calls, and are few."""
        grown = self.reading.total(names.GROUP_REQUESTS, [quotable(of)], ALL, BY_GROUP)
        return f"count by ({of}) ({grown} > 0)"

    def seen_users(self) -> str:
        """Which users, of the chosen groups, called a model in the range?"""
        seen = self._of_members(
            lambda more: self.reading.peak(names.USER_LAST_SEEN, (quotable(USER_ID), *more), ALL),
            ALL,
        )
        return f"{_newest_name(seen)} > time() - $__range_s"

    # Hidden ones: calendar months, of UTC, back from that in which the time range ends. Where a range
    # ends with a month, Grafana asks at the first moment of the next one, which is not in it.

    def month(self, back: int) -> str:
        """When did a month begin, and what is it called?"""
        within = f"(${{{Month(back - 1).start}:raw}} - 1)" if back else "(time() - 1)"
        number = f"100 * year(vector({within})) + month(vector({within}))"
        name = f'label_replace(count_values("month", {number}), "month", "$1-$2", "month", "(....)(..)")'
        return f"{name} * on () group_left () {month_of(within)}"

    def days(self, back: int) -> str:
        """How many days does a month have?"""
        return f"days_in_month(vector(${{{Month(back).start}:raw}}))"

    def next_month(self) -> str:
        """When does the month after that in which the time range ends begin?"""
        this = Month(0)
        return f"vector(${{{this.start}:raw}} + 86400 * ${{{this.days}:raw}})"

    # How they are put together.

    def _grown(self, level: Level, metric: Metric, only: Matchers, window: Window) -> str:
        """By how much each series of one level grew, narrowed by the dropdowns that it knows."""
        known = [chosen(one, DROPDOWNS[one]) for one in level.labels if one in DROPDOWNS]

        def ask(more: Matchers) -> str:
            return self.reading.total(metric, (*known, OF_SOURCE, *only, *more), window, level)

        return self._of_members(ask, window) if USER_ID in level.labels else ask([])

    def _of_members(self, ask: _Ask, window: Window) -> str:
        """Everybody when no group is chosen, else those who were its members in the range.

        One of the two branches selects nothing, and costs nothing.
        """
        if not self.of_groups:
            return ask([])
        members = self.reading.peak(
            names.USER_GROUP,
            [if_chosen("group"), chosen(GROUP, "group")],
            window if window.length == RANGE else WHOLE_RANGE,
        )
        everybody, some = ask([unless_chosen("group")]), ask([if_chosen("group")])
        return f"({everybody} or ({some} and on ({USER_ID}) {members}))"

    def _named(self, of_users: str) -> str:
        """Put each user's name beside the id; without names, the id stands for it."""
        names_ = f"({self.last_seen()} > bool 0)"
        joined = f"sort_desc({of_users} * on ({USER_ID}) group_left ({USER_NAME}) {names_})"
        by_id = f'label_replace({joined}, "{WHO}", "$1", "{USER_ID}", "(.+)")'
        return f'label_replace({by_id}, "{WHO}", "$1", "{USER_NAME}", "(.+)")'


def _dropdowns_without(level: Level) -> list[str]:
    """The dropdowns whose choice a level cannot tell. Groups are those of users."""
    known = {*level.labels, *((GROUP,) if USER_ID in level.labels else ())}
    return [name for label, name in DROPDOWNS.items() if label not in known]


def _largest(of: str, each: str, whole: str) -> str:
    """Those that are largest over the whole range. 0 where they are none: else rare bars would be wider."""
    largest = f"topk({LINES}, {whole} > 0)"
    return f"{each} and on ({of}) {largest} or 0 * {largest}"


def _others(of: str, each: str, whole: str) -> str:
    """The sum of all others, if there are any."""
    rest = f"sum({each} unless on ({of}) topk({LINES}, {whole} > 0)) or vector(0)"
    return f"({rest}) and on () count({whole} > 0) > {LINES}"


def _quantile(share: float, buckets: str) -> str:
    """Without those that nothing is known of: they would be NaN, which is not equal to itself."""
    return f"histogram_quantile({share}, {buckets}) >= 0"


def _newest_name(seen: str) -> str:
    """One series for each user: of several names the one that was seen last."""
    return f"topk by ({USER_ID}) (1, max by ({USER_ID}, {USER_NAME}) ({seen}))"


def _speed(grown: Callable[..., str]) -> str:
    """Tokens written for each second taken, by how histograms grew."""
    today, coming = names.TOKEN_USAGE, names.INFERENCE_OUTPUT
    written = f"({grown(today, '_sum', OUTPUT)} or {grown(coming, '_sum')})"
    taken = either(lambda one: grown(one, "_sum", CHATS), names.DURATION)
    return f"{summed(written, [MODEL])} / ({summed(taken, [MODEL])} > 0)"


def _rate(metric: Metric, suffix: str, *matchers: str) -> str:
    """How fast a histogram grows."""
    return f"rate({selector(metric, (*OF_CALL, SUCCEEDED, *matchers), suffix)}[{RATE}])"


def _born_in_range(metric: Metric, suffix: str, *matchers: str) -> str:
    """By how much a histogram grew. One that is new started at 0: histograms are not announced."""
    selected = selector(metric, (*OF_CALL, SUCCEEDED, *matchers), suffix)
    last = f"last_over_time({selected}[{RANGE}])"
    return f"({last} - ({selected} offset {RANGE} or 0 * {last}))"
