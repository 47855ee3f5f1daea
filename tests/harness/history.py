"""Days of telemetry in moments: the library's own accounts under a clock that is moved by hand.

What each process would have exported, export by export, becomes blocks of a real Prometheus.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.programs import tool
from opentelemetry.instrumentation.open_webui import names
from opentelemetry.instrumentation.open_webui.telemetry.totals import Tags, Totals

INTERVAL = 60
IDLE = 900.0
GAUGES = (names.USER_GROUP, names.USER_LAST_SEEN, names.ACTIVE)
_UNITS = {"s": "_seconds"}

Series = tuple[str, frozenset[tuple[str, str]]]
Samples = dict[Series, list[tuple[float, float]]]
NO_LIMIT = 10**6


@dataclass(frozen=True)
class Call:
    """One call to a model, as it is booked."""

    at: float
    user: str
    name: str | None = ""
    """What people call the user: by the id, if it is empty, or not at all."""
    model: str = "m"
    source: str = "api"
    task: str = "chat"
    groups: tuple[str, ...] = ()
    given: int = 10
    made: int = 5
    cost: float = 0.25
    error: str = ""
    estimated: bool = False
    folded: bool = False


@dataclass
class Process:
    """A worker of Open WebUI from its start to its end."""

    instance: str
    start: float
    end: float
    calls: list[Call] = field(default_factory=list)

    def samples(self) -> Samples:
        """All that it exports."""
        now = [self.start]
        shards: list[tuple[str, int]] = []
        totals = Totals(
            idle=IDLE, limit=NO_LIMIT, shard_size=NO_LIMIT, on_shard=lambda *one: shards.append(one),
            membership=names.USER_GROUP.name, clock=lambda: now[0],
        )  # fmt: skip
        totals.hold = INTERVAL * 1.5
        found: Samples = defaultdict(list)
        waiting = sorted(self.calls, key=lambda call: call.at)
        at = self.start
        while at <= self.end:
            while waiting and waiting[0].at <= at:
                call = waiting.pop(0)
                now[0] = call.at
                book(totals, call)
            now[0] = at
            self._export(totals, shards, at, found)
            at += INTERVAL
        assert not waiting, "a call after its process has ended"
        totals.release()
        self._export(totals, shards, self.end, found)
        return found

    def _export(
        self, totals: Totals, shards: list[tuple[str, int]], at: float, found: Samples
    ) -> None:
        own = {"job": "open-webui", "instance": self.instance}
        for metric, shard in shards:
            for value, tags in totals.shown(metric, shard):
                labels = {name.replace(".", "_"): _text(tag) for name, tag in tags.items()}
                _add(found, in_prometheus(metric), {**labels, **own}, at, value)
        _add(found, in_prometheus(names.ACTIVE.name), own, at, 1)


def book(totals: Totals, call: Call) -> None:
    """Put a call into the accounts, as the library does."""
    user_id = names.FOLDED if call.folded else call.user
    user: Tags = ((names.USER_ID, user_id),)
    if call.name is not None:
        user = (*user, (names.USER_NAME, call.name or call.user))
    common: Tags = (
        (names.REQUEST_MODEL, call.model), (names.MODEL_ID, call.model),
        (names.PROVIDER_NAME, "openai"), (names.SOURCE, call.source), (names.TASK, call.task),
        (names.OPERATION, "chat"),
    )  # fmt: skip
    groups = call.groups or (names.NO_GROUP,)
    _book(totals, user, common, call, of_user=True)
    for group in groups:
        _book(totals, ((names.GROUP_NAME, group),), common, call, of_user=False)
    if not call.folded:
        totals.set_members(user_id, [(*user, (names.GROUP_NAME, group)) for group in groups])
    totals.set_gauge(names.USER_LAST_SEEN.name, user, call.at)


def _book(totals: Totals, owner: Tags, what: Tags, call: Call, *, of_user: bool) -> None:
    requests, tokens, cost = (
        (names.USAGE_REQUESTS, names.USAGE_TOKENS, names.USAGE_COST)
        if of_user
        else (names.GROUP_REQUESTS, names.GROUP_TOKENS, names.GROUP_COST)
    )
    failed: Tags = ((names.ERROR_TYPE, call.error),) if call.error else ()
    mark: Tags = ((names.USAGE_ESTIMATED, True),) if call.estimated else ()
    kinds = (("input", call.given), ("output", call.made))
    totals.book(
        owner,
        what,
        [
            ((requests.name, failed), 1),
            *(((tokens.name, ((names.TOKEN_TYPE, kind), *mark)), n) for kind, n in kinds),
            ((cost.name, ()), call.cost),
        ],
        other=owner,
        share=NO_LIMIT,
    )


def in_prometheus(metric: str) -> str:
    """The name that a metric has there."""
    [gauge] = [one for one in GAUGES if one.name == metric] or [None]
    unit = _UNITS.get(gauge.unit, "") if gauge else "_total"
    return metric.replace(".", "_") + unit


def write(processes: Iterable[Process], path: Path) -> None:
    """Write what they exported as OpenMetrics."""
    merged: Samples = {}
    for process in processes:
        merged.update(process.samples())
    families: dict[str, list[str]] = defaultdict(list)
    for (name, labels), points in merged.items():
        shown = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels))
        families[name] += [f"{name}{{{shown}}} {value} {at:.3f}" for at, value in points]
    with path.open("w") as file:
        for name, lines in families.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            file.write(f"# TYPE {name.removesuffix('_total')} {kind}\n")
            file.writelines(f"{line}\n" for line in lines)
        file.write("# EOF\n")


def make_blocks(text: Path, data: Path) -> None:
    """Turn OpenMetrics into blocks of a Prometheus that does not run."""
    promtool("tsdb", "create-blocks-from", "openmetrics", str(text), str(data))


def promtool(*arguments: str, cwd: Path | None = None) -> str:
    """Run promtool; its failure is ours."""
    done = subprocess.run(
        [tool("promtool"), *arguments], cwd=cwd, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def spread(call: Call, count: int, every: float) -> list[Call]:
    """The same call again and again."""
    return [replace(call, at=call.at + number * every) for number in range(count)]


def _add(found: Samples, name: str, labels: Mapping[str, str], at: float, value: float) -> None:
    points = found[name, frozenset(labels.items())]
    if not points or points[-1][0] < at:
        points.append((at, float(value)))


def _text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
