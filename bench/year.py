"""How quick the dashboards' panels are for a large company, and what its telemetry takes on disk.

``python -m bench.year`` makes telemetry, puts it into a Prometheus with its usual limits, opens the
pages that ask most as Grafana does, checks that they tell the truth, and prints Markdown. At its
size it needs an hour and 20 GB of disk; ``--users 200 --days 15 --record-days 40`` needs minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from dashboards.promql import Exact

from bench import synthetic
from bench.synthetic import Company, Truth
from dashboards import rules
from harness.grafana import View
from harness.programs import ROOT, Prometheus

LAST_DAY: Final = datetime(2026, 6, 30, tzinfo=UTC)
"""Where the telemetry ends: always the same, so that it is always the same telemetry."""
DAY: Final = 86400
PAGES: Final = ("usage", "users")
AIM: Final = 2.0
"""Seconds that each panel may take over 30 days."""
QUIET: Final = 100
"""Seconds after which Prometheus compacts no more: it looks for work each minute."""
BUSY_HOUR: Final = 10
Choices = Mapping[str, Sequence[str] | str]
EVERYTHING: Final[Choices] = {}
ONE_GROUP: Final[Choices] = {"group": [synthetic.group(7)]}
ONE_MODEL: Final[Choices] = {"model": [synthetic.MODELS[0][0]]}


@dataclass(frozen=True)
class Column:
    """One way of asking all panels."""

    title: str
    reading: str
    """The directory of the dashboards."""
    days: int
    choices: Choices = field(default_factory=dict)

    @property
    def data(self) -> str:
        """Which telemetry it reads."""
        return "records" if self.reading == "recorded" else "raw"


def _readings(days: int, choices: Choices) -> tuple[Column, ...]:
    return (
        Column("exact, s", "exact", days, choices),
        Column("portable, s", "portable", days, choices),
        Column("recorded by hour, s", "recorded", days, choices),
        Column("recorded by day, s", "recorded", days, {"sums": "1d", **choices}),
    )


TABLES: Final = {
    "30 days, everybody": _readings(30, EVERYTHING),
    "30 days, one group of 50": _readings(30, ONE_GROUP),
    "30 days, one model of 5": _readings(30, ONE_MODEL),
    "7 days, everybody": _readings(7, EVERYTHING),
    "A year, everybody": (Column("recorded by day, s", "recorded", 365, {"sums": "1d"}),),
}


class Asked(NamedTuple):
    """One question that was put to Prometheus."""

    query: str
    seconds: float
    samples: int
    """How many it read."""
    error: str


class Timed(Prometheus):
    """A Prometheus that has only what was put there before, and a clock on each question."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.data = self.directory / "data"
        self.asked: list[Asked] = []
        # No rules and nothing to scrape, so that nothing runs but what is measured.
        (self.directory / "prometheus.yml").write_text("global: {}\n")
        # Longer than Prometheus gives itself.
        self._client = httpx.Client(timeout=180, trust_env=False)

    def _ask(self, what: str, data: dict[str, str]) -> dict[str, Any]:
        """Ask, and note how long it took. What fails has no answer."""
        began = time.perf_counter()
        response = self._client.post(f"{self.url}/api/v1/{what}", data={**data, "stats": "all"})
        seconds = time.perf_counter() - began
        answer = response.json()
        found = answer.get("data", {"resultType": "vector", "result": []})
        samples = found.get("stats", {}).get("samples", {}).get("totalQueryableSamples", 0)
        self.asked.append(Asked(data["query"], seconds, samples, answer.get("error", "")))
        return dict(found)

    def settle(self) -> None:
        """Wait until it has compacted what there is to compact."""
        with self:
            before, since = self._files(), time.monotonic()
            while time.monotonic() - since < QUIET:
                time.sleep(1)
                now = self._files()
                if now != before or any("tmp" in name for name in now):
                    before, since = now, time.monotonic()

    def _files(self) -> set[str]:
        return {path.name for path in self.data.iterdir()}

    def blocks(self) -> Iterator[Path]:
        """The directories of its blocks."""
        return (meta.parent for meta in self.data.glob("*/meta.json"))

    def bytes(self) -> int:
        """How large its blocks are."""
        files = (path for block in self.blocks() for path in block.rglob("*"))
        return sum(path.stat().st_size for path in files if path.is_file())

    def samples(self) -> int:
        """How many samples its blocks have."""
        metas = (json.loads((block / "meta.json").read_text()) for block in self.blocks())
        return sum(meta["stats"]["numSamples"] for meta in metas)

    def peak_memory(self) -> int:
        """The most memory that it has had, in bytes."""
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024


Costs = dict[tuple[str, str], list[Asked]]
"""What was asked for each panel and dropdown of each page."""


def ask_all(server: Timed, column: Column) -> Costs:
    """Ask everything that a Grafana asks to draw the pages, one after another."""
    costs: Costs = {}
    for page in PAGES:
        server.asked = []
        view = _view(server, column, page)
        dropdowns = [one for one in view.json["templating"]["list"] if one["type"] == "query"]
        for dropdown, asked in zip(dropdowns, server.asked, strict=True):
            costs[page, f"dropdown {dropdown['label']}"] = [asked]
        for panel in view.panels():
            server.asked = []
            view.answers(panel)
            costs[page, panel["title"]] = server.asked
    return costs


def _view(server: Timed, column: Column, page: str) -> View:
    until = LAST_DAY.timestamp()
    path = ROOT / "dashboards" / column.reading / f"{page}.json"
    return View(path, server, until - column.days * DAY, until, column.choices)


def table(servers: Mapping[str, Timed], columns: Sequence[Column], rounds: int) -> Iterator[str]:
    """The lines of a table: the seconds of each panel, its questions asked one after another."""
    if not columns:
        yield "Not asked: there is less telemetry."
        return
    costs = [[ask_all(servers[c.data], c) for _ in range(rounds)] for c in columns]
    yield f"| page | panel | questions | {' | '.join(c.title for c in columns)} |"
    yield f"|---|---|---:|{'---:|' * len(columns)}"
    for key, asked in costs[0][0].items():
        cells = [_cell([one[key] for one in of_column]) for of_column in costs]
        yield f"| {key[0]} | {key[1]} | {len(asked)} | {' | '.join(cells)} |"
    for page in PAGES:
        whole = [[_of_page(one, page) for one in of_column] for of_column in costs]
        cells = [_cell(of_column) for of_column in whole]
        yield f"| {page} | all of it | {len(whole[0][0])} | {' | '.join(cells)} |"
    yield ""
    for column, (first, *_) in zip(columns, costs, strict=True):
        yield from _slow(column, first)


def _of_page(costs: Costs, page: str) -> list[Asked]:
    return [asked for (of, _), each in costs.items() if of == page for asked in each]


def _cell(rounds: Sequence[Sequence[Asked]]) -> str:
    errors = {asked.error for asked in rounds[0] if asked.error}
    seconds = statistics.median(sum(asked.seconds for asked in one) for one in rounds)
    return f"{seconds:.2f} ({', '.join(sorted(errors))})" if errors else f"{seconds:.2f}"


def _slow(column: Column, costs: Costs) -> Iterator[str]:
    """What the slow panels ask, one by one."""
    for (page, title), asked in costs.items():
        if sum(one.seconds for one in asked) > AIM:
            each = "; ".join(f"{one.seconds:.2f} s, {one.samples:,} samples" for one in asked)
            yield f"- {column.title.removesuffix(', s')}, {page}, {title}: {each}"


def check(server: Timed, column: Column, true: Truth) -> str:
    """Compare what the page of usage tells with the truth."""
    view = _view(server, column, "usage")
    titles = ("Requests", "Tokens in", "Tokens out", "Cost, USD", "Active users")
    told = [view.answers(title)[0][0][1] for title in titles]
    expected = [*true.total, true.active_users]
    # Sums of cents, in another order.
    right = all(abs(a - b) < 1e-6 for a, b in zip(told, expected, strict=True))
    figures = ", ".join(f"{title} {value:,}" for title, value in zip(titles, told, strict=True))
    chosen = "".join(f", {one[0]}" for name, one in column.choices.items() if name != "sums")
    verdict = "as made" if right else f"WRONG, made were {expected}"
    return f"- {column.title.removesuffix(', s')}, {column.days} days{chosen}: {figures}: {verdict}"


def rule_costs(servers: Mapping[str, Timed]) -> Iterator[str]:
    """How long each recording rule takes: those of hours in a busy one, those of days after one."""
    yield "| rule | s | series |"
    yield "|---|---:|---:|"
    day = LAST_DAY.timestamp() - DAY  # a Monday
    hours, days = rules.recording(Exact())
    for server, group, at in (
        (servers["raw"], hours, day + BUSY_HOUR * 3600),
        (servers["records"], days, day + DAY),
    ):
        for rule in group["rules"]:
            series = len(server.query(rule["expr"], at))
            yield f"| {rule['record']} | {server.asked[-1].seconds:.2f} | {series:,} |"


SIZES: Final = (
    "| telemetry | days | series in 30 days | samples | MB | kB for a user and year | peak GB |"
)


def sizes(server: Timed, kind: str, users: int, days: int) -> str:
    """A row on what it takes."""
    # Each week is like the others, and blocks share nothing: a year is as many times more.
    a_year = server.bytes() / users / days * 365
    memory = server.peak_memory()  # before this, which nobody else asks
    every = 'count(last_over_time({__name__=~".+"}[30d]))'
    series = sum(count for _, count in server.query(every, LAST_DAY.timestamp()))
    return (
        f"| {kind} | {days} | {series:,.0f} | {server.samples():,} | {server.bytes() / 1e6:,.0f} "
        f"| {a_year / 1e3:,.0f} | {memory / 1e9:.1f} |"
    )


def make(directory: Path, company: Company, spans: Mapping[str, int]) -> dict[str, Timed]:
    """The Prometheus of each kind of telemetry, which is made unless it is there already."""
    last, servers = int(LAST_DAY.timestamp()) // DAY, {}
    for kind, write in (("raw", synthetic.write_raw), ("records", synthetic.write_records)):
        server = Timed(directory / kind)
        if not server.data.exists():
            write(company, range(last - spans[kind], last), server.data)
            server.settle()
        servers[kind] = server
    return servers


def checks(
    servers: Mapping[str, Timed], company: Company, columns: Sequence[Column]
) -> Iterator[str]:
    """Whether each way of asking is told what was made."""
    last = int(LAST_DAY.timestamp()) // DAY

    def asked_for(column: Column) -> tuple[int, str, str]:
        groups, models = (column.choices.get(name, [""]) for name in ("group", "model"))
        return column.days, groups[0], models[0]

    for (days, group, model), alike in itertools.groupby(columns, asked_for):
        true = synthetic.truth(company, range(last - days, last), group, model)
        for column in alike:
            yield check(servers[column.data], column, true)


def report(directory: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """Measure; the lines of the report."""
    company = Company(arguments.users)
    spans = {"raw": arguments.days, "records": arguments.record_days}
    servers = make(directory, company, spans)
    tables = {
        title: [column for column in columns if column.days <= spans[column.data]]
        for title, columns in TABLES.items()
    }
    with ExitStack() as running:
        for server in servers.values():
            running.enter_context(server)
        yield f"{arguments.users:,} users, {os.cpu_count()} cores"
        yield from checks(servers, company, list(itertools.chain(*tables.values())))
        for title, columns in tables.items():
            yield f"\n{title} (load {os.getloadavg()[0]:.1f}):\n"
            yield from table(servers, columns, arguments.rounds)
        yield "\nRecording rules:\n"
        yield from rule_costs(servers)
        yield f"\n{SIZES}\n|---|---:|---:|---:|---:|---:|---:|"
        for kind, server in servers.items():
            yield sizes(server, kind, arguments.users, spans[kind])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=61, help="days of what the library exports")
    parser.add_argument("--record-days", type=int, default=365, help="days of records")
    parser.add_argument("--rounds", type=int, default=3, help="the median of these is told")
    parser.add_argument("--directory", type=Path, help="where telemetry is kept, to measure again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for line in report(arguments.directory or Path(temporary), arguments):
            print(line, flush=True)


if __name__ == "__main__":
    main()
