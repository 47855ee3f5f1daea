"""What Grafana does with a dashboard before it draws: fills dropdowns, replaces variables, asks.

Written from Grafana's documentation of variables and of its Prometheus data source. It does not
replace a Grafana, which could not be had; it lets every query be asked as a Grafana would ask it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.programs import Prometheus

ALL = "$__all"
Labels = dict[str, str]
Answer = list[tuple[Labels, float]]

_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
_TO_BE_ESCAPED = re.compile(r"[-/\\^$*+?.()|\[\]{}]")
_POINTS = 1000
_NICE_SECONDS = (
    1,
    2,
    5,
    10,
    15,
    20,
    30,
    60,
    120,
    300,
    600,
    900,
    1200,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
)
_SUFFIXES = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Option:
    """One line of a dropdown."""

    text: str
    value: str


@dataclass
class View:
    """A dashboard that somebody has opened.

    Args:
        path: Its JSON.
        prometheus: What its data source leads to.
        since: The beginning of the time range, in seconds of Unix time.
        until: Its end.
        choices: Values chosen in dropdowns, by name; what is not chosen stays as it opens.
    """

    path: Path
    prometheus: Prometheus
    since: float
    until: float
    choices: Mapping[str, str | Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.json: dict[str, Any] = json.loads(self.path.read_text())
        self.options: dict[str, list[Option]] = {}
        self._values: dict[str, str | list[str]] = {}
        self._variables = {one["name"]: one for one in self.json["templating"]["list"]}
        for variable in self._variables.values():
            self._fill(variable)

    # Dropdowns

    def _fill(self, variable: dict[str, Any]) -> None:
        name, kind = variable["name"], variable["type"]
        if kind == "query":
            self.options[name] = self._ask_for_options(variable)
        elif kind == "custom":
            self.options[name] = [_custom(part) for part in variable["query"].split(",")]
        current = variable.get("current", {}).get("value")
        if kind == "textbox":
            current = variable["query"]
        elif kind == "query" and not variable.get("includeAll"):
            current = next((one.value for one in self.options[name]), "")
        # What is left out of addresses is never taken from one.
        given = {} if variable.get("skipUrlSync") else self.choices
        value = given.get(name, current)
        self._values[name] = value if isinstance(value, str) else list(value or ())

    def _ask_for_options(self, variable: dict[str, Any]) -> list[Option]:
        query = self.replaced(variable["query"]["query"])
        inner = re.fullmatch(r"query_result\((.*)\)\s*", query, re.S)
        assert inner, query
        pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
        found: dict[str, Option] = {}
        # Grafana asks for options at the whole second in which the range ends, or that after it.
        at = math.ceil(self.until)
        for labels, number in self.prometheus.query(inner[1], at=at):
            told = ",".join(f'{name}="{value}"' for name, value in labels.items())
            match = pattern.search(f"{{{told}}} {number:.15g} {at * 1000}")
            assert match, (told, variable["regex"])
            groups = match.groupdict() or {"text": match[1]}
            value = groups.get("value") or groups["text"]
            found.setdefault(value, Option(groups["text"] or value, value))
        return sorted(found.values(), key=lambda one: one.text.casefold())

    # Variables

    def replaced(self, text: str, **built_in: str) -> str:
        """The text with variables replaced."""
        seconds = round(self.until - self.since)
        known = {
            "__range": f"{seconds}s",
            "__range_s": str(seconds),
            "__range_ms": str(seconds * 1000),
            **built_in,
        }

        def value_of(match: re.Match[str]) -> str:
            name, form = match[1] or match[3], match[2] or ""
            if name in known:
                return known[name]
            if name.isdigit():
                return match[0]  # of label_replace: no variable of that name, so it stays
            assert name in self._values, f"unknown variable {name} in {text}"
            return self._written(name, form)

        return _VARIABLE.sub(value_of, text)

    def _written(self, name: str, form: str) -> str:
        value = self._values[name]
        chosen = [value] if isinstance(value, str) else value
        if ALL in chosen:
            return str(self._variables[name]["allValue"])  # custom values of All go in as they are
        if form == "regex":
            escaped = [_TO_BE_ESCAPED.sub(r"\\\g<0>", one) for one in chosen]
            return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
        if form in ("raw", ""):
            return ",".join(chosen)
        if form == "text":
            return ",".join(one.text for one in self.options[name] if one.value in chosen)
        if form == "queryparam":
            return "&".join(f"var-{name}={quote(one, safe='')}" for one in chosen)
        raise AssertionError(f"format {form} is not known here")

    # Links of cells

    def addresses(self, panel: str, heading: str, cell: str, **fields: str) -> list[str]:
        """Where the links of a cell lead.

        Args:
            panel: The title of a table.
            heading: Of the column.
            cell: What the cell says.
            fields: What the other cells of the row say, by heading.
        """
        overrides = self.panel(panel)["fieldConfig"]["overrides"]
        [links] = [
            one["value"]
            for override in overrides
            for one in override["properties"]
            if (override["matcher"]["options"], one["id"]) == (heading, "links")
        ]
        return [self._address(link["url"], cell, fields) for link in links]

    def _address(self, url: str, cell: str, fields: Mapping[str, str]) -> str:
        url = url.replace("${__value.raw:percentencode}", quote(cell, safe=""))
        for heading, value in fields.items():
            url = url.replace(f"${{__data.fields.{heading}}}", value)
        url = url.replace("${datasource:queryparam}", "var-datasource=default")
        times = f"from={self.since * 1000:.0f}&to={self.until * 1000:.0f}"
        return self.replaced(url.replace("${__url_time_range}", times))

    # Panels

    def panels(self) -> Iterator[dict[str, Any]]:
        """All panels but rows."""
        for panel in self.json["panels"]:
            if panel["type"] != "row":
                yield panel

    def panel(self, title: str) -> dict[str, Any]:
        """The panel of that title."""
        [panel] = [one for one in self.panels() if one["title"] == title]
        return panel

    def answers(self, panel: str | dict[str, Any]) -> list[Answer]:
        """What each PromQL target of a panel answers; of graphs, the last point of each series."""
        found = self.panel(panel) if isinstance(panel, str) else panel
        points = found.get("maxDataPoints", _POINTS)
        targets = found.get("targets", ())
        return [self.ask(target, points) for target in targets if "expr" in target]

    def ask(self, target: dict[str, Any], points: int = _POINTS) -> Answer:
        """What one target answers."""
        if target.get("instant"):
            return self.prometheus.query(self.replaced(target["expr"]), at=self.until)
        return [(labels, found[-1][1]) for labels, found in self.graph(target, points)]

    def graph(
        self, target: dict[str, Any], points: int = _POINTS
    ) -> list[tuple[Labels, list[tuple[float, float]]]]:
        """The points of each series of a target over time, not more than so many."""
        least = seconds_of(self.replaced(target.get("interval", "1s")))
        step = max(least, _nice((self.until - self.since) / points))
        expr = self.replaced(
            target["expr"],
            __interval=f"{step}s",
            __rate_interval=f"{max(step + least, 4 * least)}s",
        )
        start, end = (int(at // step * step) for at in (self.since, self.until))
        return self.prometheus.query_range(expr, start, end, step)


def seconds_of(duration: str) -> int:
    """Seconds of a duration such as ``1m``."""
    return int(duration[:-1]) * _SUFFIXES[duration[-1]]


def _nice(seconds: float) -> int:
    return next((nice for nice in _NICE_SECONDS if nice >= seconds), 86400)


def _custom(part: str) -> Option:
    text, _, value = part.strip().partition(" : ")
    return Option(text.strip(), value.strip() or text.strip())
