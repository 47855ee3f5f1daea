"""Grafana's own date arithmetic, asked through Node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import node
from harness.programs import ROOT

PICTURES = ROOT / "pictures"


@dataclass(frozen=True)
class Range:
    """A time range as it stands in an address, looked at by somebody.

    Args:
        zone: The time zone of the dashboard.
        now: When it is looked at, as Unix time in milliseconds.
        since: Its beginning, such as ``now-7d``.
        until: Its end.
    """

    zone: str
    now: int
    since: str
    until: str


@dataclass(frozen=True)
class Span:
    """A calendar month (UTC): its name, and its ends as Unix time in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Told:
    """What Grafana makes of a range: its ends in seconds, and the months, the latest first."""

    since: float
    until: float
    months: tuple[Span, ...]


def ask(ranges: Sequence[Range]) -> list[Told]:
    """What Grafana makes of each. Skips where Node or its packages cannot be had."""
    node.install(PICTURES, "Grafana's date arithmetic")
    cases = [{**asdict(r), "from": r.since, "to": r.until} for r in ranges]
    script = Path(__file__).with_suffix(".cjs")
    done = subprocess.run(
        ["node", str(script), str(PICTURES / "package.json")],
        input=json.dumps({"cases": cases}), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [_told(one) for one in json.loads(done.stdout)]


def _told(one: dict[str, Any]) -> Told:
    months = (Span(m["name"], m["start"] / 1000, m["end"] / 1000) for m in one["months"])
    return Told(one["from"] / 1000, one["to"] / 1000, tuple(months))
