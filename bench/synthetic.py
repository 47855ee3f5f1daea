"""A made-up company that calls models on working days, and its telemetry as blocks of Prometheus.

Everything follows from the day's number, so a total can be computed again at any time, and what a
dashboard reads can be compared with it.
"""

from __future__ import annotations

import random
import subprocess
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeAlias
from uuid import UUID

from dashboards import promql
from harness.programs import tool
from opentelemetry.instrumentation.open_webui import names
from opentelemetry.instrumentation.open_webui.names import Metric

HOUR, DAY = 60, 24 * 60
IDLE: Final = 15
"""Minutes for which a series is exported after it last moved, as the library's setting is."""
EXPORT_SECOND: Final = 30
"""When in a minute the process exports. Not on the full hour, where windows begin and end."""
BLOCK: Final = 162 * 3600
"""Seconds of a block: one of the lengths to which Prometheus compacts its own, 2 h by threes."""
FAR: Final = 1 << 60

MODELS: Final = (
    ("gpt-5-2025-08-07", "openai", 1.25e-6, 1e-5),
    ("gpt-5-mini-2025-08-07", "azure.ai.openai", 2.5e-7, 2e-6),
    ("claude-sonnet-4-5-20250929", "anthropic", 3e-6, 1.5e-5),
    ("mistral-large-2411", "mistral_ai", 2e-6, 6e-6),
    ("llama3.3:70b", "ollama", 1e-7, 2e-7),
)
"""Name, provider, and US dollars for a token in and out."""
SOURCES: Final = ("ui", "api")
MORNING, AFTERNOON = (8 * HOUR, 11 * HOUR + 30), (13 * HOUR, 17 * HOUR)
"""When bursts begin. So far apart that two of one user never meet."""
INSTANCE: Final = "6f0c1d0e-3b55-4d6c-9a43-2f1f0b7a9c11"


class Account(NamedTuple):
    """What a user's calls are kept apart by."""

    model: int
    source: str
    task: str

    def tags(self) -> str:
        """The labels that records have of it."""
        return (
            f'{promql.MODEL}="{MODELS[self.model][0]}",{promql.SOURCE}="{self.source}",'
            f'{promql.TASK}="{self.task}"'
        )


CHATS: Final = tuple(Account(m, s, "chat") for m in range(len(MODELS)) for s in SOURCES)
TITLES: Final = Account(1, "ui", "title_generation")
"""The browser app has each new chat named, by one model."""


class Amounts(NamedTuple):
    """What was used, as far as dashboards ask for it."""

    requests: int = 0
    input: int = 0
    output: int = 0
    cost: float = 0.0

    def plus(self, other: Amounts) -> Amounts:
        """Both together."""
        return Amounts(
            self.requests + other.requests,
            self.input + other.input,
            self.output + other.output,
            self.cost + other.cost,
        )


Moves: TypeAlias = Mapping[int, Amounts]
"""What was counted in the minute before each export, by the export's minute."""
Points: TypeAlias = list[tuple[int, Amounts]]


@dataclass(frozen=True)
class Company:
    """Its size."""

    users: int
    groups: int = 50

    def groups_of(self, number: int) -> Sequence[str]:
        """Everybody is in one group, each fifth in two."""
        first = number % self.groups
        return [group(first), group(first + 1)] if number % 5 == 0 else [group(first)]


def group(number: int) -> str:
    """The name of a group."""
    return f"Department {number:02d}"


@cache
def tags_of(number: int) -> str:
    """The labels of a user."""
    dice = random.Random(number)
    user_id = UUID(int=dice.getrandbits(128), version=4)
    return f'{promql.USER_ID}="{user_id}",{promql.USER_NAME}="Given{number} Family{number % 997}"'


class Burst(NamedTuple):
    """Some calls of one user on one account, each but minutes after the one before."""

    user: int
    account: Account
    moves: Moves


def bursts(company: Company, day: int) -> Iterator[Burst]:
    """Everything that was called on a day, counted from the Unix epoch: a Thursday."""
    if (day + 3) % 7 >= 5:
        return
    dice = random.Random(day)
    for user in range(company.users):
        for first, last in dice.choice(((MORNING,), (AFTERNOON,), (MORNING, AFTERNOON))):
            account = dice.choice(CHATS)
            begin = day * DAY + dice.randrange(first, last)
            yield Burst(user, account, _calls(dice, account, begin, dice.randrange(3, 10)))
            if account.source == "ui" and dice.random() < 0.5:
                yield Burst(user, TITLES, _calls(dice, TITLES, begin, 1))


def _calls(dice: random.Random, account: Account, begin: int, minutes: int) -> Moves:
    _, _, price_in, price_out = MODELS[account.model]
    moves = {}
    for minute in range(begin, begin + minutes):
        if minute == begin or dice.random() < 0.7:
            given, written = int(200 + 4000 * dice.random()), int(20 + 1500 * dice.random())
            moves[minute] = Amounts(1, given, written, given * price_in + written * price_out)
    return moves


class Truth(NamedTuple):
    """What the dashboards have to tell."""

    total: Amounts
    active_users: int


def truth(company: Company, days: Sequence[int], of_group: str = "", of_model: str = "") -> Truth:
    """What was used on some days: by everybody or a group, of all models or one."""
    total, seen = Amounts(), set()
    for day in days:
        for user, account, moves in bursts(company, day):
            if of_group and of_group not in company.groups_of(user):
                continue
            if of_model and of_model != MODELS[account.model][0]:
                continue
            seen.add(user)
            total = _sum([total, *moves.values()])
    return Truth(total, len(seen))


def _sum(amounts: Sequence[Amounts]) -> Amounts:
    total = Amounts()
    for one in amounts:
        total = total.plus(one)
    return total


def of_groups(company: Company, day: Sequence[Burst]) -> Mapping[tuple[str, Account], Moves]:
    """A day's calls, counted once under each group of their user."""
    found: dict[tuple[str, Account], dict[int, Amounts]] = defaultdict(dict)
    for user, account, moves in day:
        for name in company.groups_of(user):
            of_group = found[name, account]
            for minute, amounts in moves.items():
                of_group[minute] = of_group.get(minute, Amounts()).plus(amounts)
    return found


def exported(moves: Moves, total: Amounts) -> Points:
    """Each export of a series: announced a minute before it moves, then until it is idle."""
    points: Points = []
    silent = True
    for minute, following in pairwise([*sorted(moves), FAR]):
        if silent:
            points.append((minute - 1, total))
        total = total.plus(moves[minute])
        until = min(minute + IDLE, following - 1)
        points.extend((at, total) for at in range(minute, until + 1))
        silent = until < following - 1
    return points


class Blocks:
    """Samples on their way into blocks, by way of text that is deleted as soon as it is read.

    They come nearly in the order of time: never for an earlier block than the one before the
    newest. promtool reads the text once for each block that is in it, so each block has its own.
    It does not mind that the families are not together, as OpenMetrics asks.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._texts: dict[int, IO[str]] = {}
        self.samples = 0
        directory.mkdir(parents=True, exist_ok=True)

    def add(self, series: str, times: Sequence[int], values: Sequence[float]) -> None:
        """Add samples of one series, at times in seconds."""
        self.samples += len(times)
        block = times[0] // BLOCK
        cut = bisect_left(times, (block + 1) * BLOCK)
        lines = [f"{series} {v} {t}\n" for v, t in zip(values, times, strict=True)]
        self._text(block).write("".join(lines[:cut]))
        if cut < len(times):  # a day is in two blocks at most
            self._text(block + 1).write("".join(lines[cut:]))

    def finish(self, before: float = FAR) -> None:
        """Make blocks of all that ends before a time, in seconds."""
        for block in [one for one in self._texts if (one + 1) * BLOCK <= before]:
            with self._texts.pop(block) as text:
                text.write("# EOF\n")
            path = Path(text.name)
            command = [
                str(tool("promtool")), "tsdb", "create-blocks-from",
                f"--max-block-duration={BLOCK}s", "openmetrics", "--quiet",
                str(path), str(self._directory),
            ]  # fmt: skip
            subprocess.run(command, check=True)
            path.unlink()

    def _text(self, block: int) -> IO[str]:
        if block not in self._texts:
            path = self._directory.with_name(f"{self._directory.name}-{block}.txt")
            self._texts[block] = path.open("w", buffering=1 << 20)
        return self._texts[block]


def write_raw(company: Company, days: Sequence[int], directory: Path) -> int:
    """What the library exports on some days; the number of samples."""
    raw = _Raw(company, Blocks(directory))
    for day in days:
        raw.blocks.finish(day * DAY * 60)
        raw.add(day)
    raw.blocks.finish()
    return raw.blocks.samples


class _Raw:
    """The exports of one process that never restarts."""

    def __init__(self, company: Company, blocks: Blocks) -> None:
        self.blocks = blocks
        self._company = company
        self._totals: dict[object, Amounts] = defaultdict(Amounts)
        version = 'service_version="0.6.43"'
        self._process = (
            f'instance="{INSTANCE}",job="open-webui",service_instance_id="{INSTANCE}",{version}'
        )

    def add(self, day: int) -> None:
        """Add a day."""
        calls = list(bursts(self._company, day))
        for burst in calls:
            self._add_burst(burst)
        for (name, account), moves in of_groups(self._company, calls).items():
            who = f'{promql.GROUP}="{name}"'
            self._add_account(_GROUP_METRICS, who, account, moves, (name, account))
        minutes = range(day * DAY, (day + 1) * DAY)
        self._add_series(names.ACTIVE, "", minutes, [1] * DAY)

    def _add_burst(self, burst: Burst) -> None:
        who = tags_of(burst.user)
        key = (burst.user, burst.account)
        points = self._add_account(_USER_METRICS, who, burst.account, burst.moves, key)
        if burst.account is TITLES:
            return  # within the burst of the chat that it names
        seen = [max((m for m in burst.moves if m <= at), default=at) * 60 for at, _ in points]
        minutes = [at for at, _ in points]
        self._add_series(names.USER_LAST_SEEN, who, minutes, seen)
        for name in self._company.groups_of(burst.user):
            member = f'{who},{promql.GROUP}="{name}"'
            self._add_series(names.USER_GROUP, member, minutes, [1] * len(minutes))

    def _add_account(
        self, metrics: Sequence[Metric], who: str, account: Account, moves: Moves, key: object
    ) -> Points:
        points = exported(moves, self._totals[key])
        self._totals[key] = points[-1][1]
        model, provider, *_ = MODELS[account.model]
        labels = (
            f'{who},{account.tags()},{promql.label(names.MODEL_ID)}="{model}",'
            f'{promql.PROVIDER}="{provider}",{promql.label(names.OPERATION)}="chat"'
        )
        minutes = [at for at, _ in points]
        for metric, more, field in _columns(metrics):
            values = [amounts[field] for _, amounts in points]
            self._add_series(metric, labels + more, minutes, values)
        return points

    def _add_series(
        self, metric: Metric, labels: str, minutes: Sequence[int], values: Sequence[float]
    ) -> None:
        times = [at * 60 + EXPORT_SECOND for at in minutes]
        comma = "," if labels else ""
        name = promql.series(metric)
        self.blocks.add(f"{name}{{{labels}{comma}{self._process}}}", times, values)


_USER_METRICS: Final = (names.USAGE_REQUESTS, names.USAGE_TOKENS, names.USAGE_COST)
_GROUP_METRICS: Final = (names.GROUP_REQUESTS, names.GROUP_TOKENS, names.GROUP_COST)


def _columns(metrics: Sequence[Metric]) -> Iterator[tuple[Metric, str, int]]:
    """Each series of an account: its metric, its further label, and the place of its amount."""
    requests, tokens, cost = metrics
    yield requests, "", 0
    yield tokens, f',{promql.TOKEN_TYPE}="input"', 1
    yield tokens, f',{promql.TOKEN_TYPE}="output"', 2
    yield cost, "", 3


def write_records(company: Company, days: Sequence[int], directory: Path) -> int:
    """What the recording rules record of some days; the number of samples."""
    records = _Records(company, Blocks(directory))
    for day in days:
        records.blocks.finish(day * DAY * 60)
        records.add(day)
    records.blocks.finish()
    return records.blocks.samples


class _Records:
    """Sums of hours and days. A record stands at the end of its span."""

    def __init__(self, company: Company, blocks: Blocks) -> None:
        self.blocks = blocks
        self._company = company

    def add(self, day: int) -> None:
        """Add a day."""
        calls = list(bursts(self._company, day))
        for level, key in _LEVELS.items():
            sums: dict[str, dict[int, Amounts]] = defaultdict(dict)
            for burst in calls:
                of_labels = sums[key(burst)]
                for minute, amounts in burst.moves.items():
                    of_labels[minute] = of_labels.get(minute, Amounts()).plus(amounts)
            for labels, moves in sums.items():
                self._add_account(_USER_METRICS, level, labels, moves)
        for (name, account), of_group in of_groups(self._company, calls).items():
            labels = f'{promql.GROUP}="{name}",{account.tags()}'
            self._add_account(_GROUP_METRICS, promql.BY_GROUP, labels, of_group)
        self._add_gauges(calls)

    def _add_account(
        self, metrics: Sequence[Metric], level: promql.Level, labels: str, moves: Moves
    ) -> None:
        for span, minutes in _SPANS.items():
            sums: dict[int, Amounts] = {}
            for minute, amounts in sorted(moves.items()):
                end = (minute // minutes + 1) * minutes * 60
                sums[end] = sums.get(end, Amounts()).plus(amounts)
            for metric, more, field in _columns(metrics):
                series = f"{promql.recorded(metric, span, level)}{{{labels}{more}}}"
                self.blocks.add(series, list(sums), [amounts[field] for amounts in sums.values()])

    def _add_gauges(self, calls: Sequence[Burst]) -> None:
        """The highest value of each span in which a user was exported."""
        for span, minutes in _SPANS.items():
            seen: dict[int, dict[int, int]] = defaultdict(dict)
            for user, _, moves in calls:
                for minute in range(min(moves), max(moves) + IDLE + 1):
                    end = (minute // minutes + 1) * minutes * 60
                    last = max(m for m in moves if m <= minute) * 60
                    seen[user][end] = max(seen[user].get(end, 0), last)
            for user, ends in seen.items():
                who, times = tags_of(user), sorted(ends)
                series = f"{promql.recorded(names.USER_LAST_SEEN, span)}{{{who}}}"
                self.blocks.add(series, times, [ends[at] for at in times])
                for name in self._company.groups_of(user):
                    member = f'{who},{promql.GROUP}="{name}"'
                    series = f"{promql.recorded(names.USER_GROUP, span)}{{{member}}}"
                    self.blocks.add(series, times, [1] * len(times))


_SPANS: Final = {"1h": HOUR, "1d": DAY}
_LEVELS: Final[Mapping[promql.Level, Callable[[Burst], str]]] = {
    promql.FINE: lambda one: f"{tags_of(one.user)},{one.account.tags()}",
    promql.BY_USER: lambda one: f'{tags_of(one.user)},{promql.SOURCE}="{one.account.source}"',
    promql.BY_MODEL: lambda one: one.account.tags(),
}
