"""Writes what the semantic conventions' registries define of what we emit, for tests to compare.

    python3 dev/semconv.py NAME@COMMIT=DIRECTORY… > tests/semconv/registry.json

Each DIRECTORY is a checkout of a registry, of which `model/` is read: `semantic-conventions-genai`
as far as it is released, the same as it stands now (what a later one defines wins), and
`semantic-conventions`. Needs PyYAML. Only facts are taken: names, types, values, units, levels.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

LICENCE = "Apache-2.0, The OpenTelemetry Authors"
SPANS = frozenset((
    "gen_ai.client.inference", "gen_ai.embeddings.client", "gen_ai.execute_tool.internal",
    "gen_ai.invoke_agent.internal",
))  # fmt: skip
METRICS = ("gen_ai.client.", "gen_ai.execute_tool.duration", "gen_ai.invoke_agent.duration")
# No GenAI signal has them.
GENERAL = ("http.route", "user.id", "user.name", "user.roles")


def main() -> None:
    """Print the definitions as JSON."""
    definitions = Definitions()
    sources = []
    for argument in sys.argv[1:]:
        source, _, directory = argument.partition("=")
        sources.append(source)
        definitions.read(Path(directory))
    json.dump({"sources": sources, "licence": LICENCE, **definitions.told()}, sys.stdout, indent=1)
    print()


class Definitions:
    """What the files define, and what its references mean."""

    def __init__(self) -> None:
        self._attributes: dict[str, Any] = {}
        self._groups: dict[str, list[dict[str, Any]]] = {}
        self._spans: dict[str, dict[str, Any]] = {}
        self._metrics: dict[str, dict[str, Any]] = {}

    def read(self, directory: Path) -> None:
        """Take the files of one registry."""
        for file in sorted((directory / "model").rglob("*.yaml")):
            document = yaml.safe_load(file.read_text()) or {}
            self._take_attributes(document)
            for group in document.get("attribute_groups", ()):
                self._groups[group["id"]] = group["attributes"]
            for span in document.get("spans", ()):
                self._spans[span["type"]] = span
            for metric in document.get("metrics", ()):
                self._metrics[metric["name"]] = metric

    def _take_attributes(self, document: dict[str, Any]) -> None:
        # Older files have them in groups, and call their names so.
        older = (one for group in document.get("groups", ()) for one in group.get("attributes", ()))
        for attribute in (*document.get("attributes", ()), *older):
            name = attribute.get("key") or attribute.get("id")
            if name and "type" in attribute:
                self._attributes[name] = _type(attribute["type"])

    def told(self) -> dict[str, Any]:
        """Return spans, metrics, and the attributes that they have."""
        spans = {
            name: {"kind": span["kind"], "attributes": self._levels(span)}
            for name, span in sorted(self._spans.items())
            if name in SPANS
        }
        metrics = {
            name: {
                "instrument": metric["instrument"],
                "unit": metric["unit"],
                "attributes": self._levels(metric),
            }
            for name, metric in sorted(self._metrics.items())
            if name.startswith(METRICS)
        }
        used = {name for one in (*spans.values(), *metrics.values()) for name in one["attributes"]}
        attributes = {name: self._attributes[name] for name in sorted({*used, *GENERAL})}
        return {"attributes": attributes, "spans": spans, "metrics": metrics}

    def _levels(self, signal: dict[str, Any]) -> dict[str, str]:
        """Each attribute's requirement level; where one is named again, the later level counts."""
        levels: dict[str, str] = {}
        for reference in self._references(signal["attributes"]):
            level = reference.get("requirement_level")
            name = reference["ref"]
            levels[name] = levels.get(name, "recommended") if level is None else _level(level)
        return dict(sorted(levels.items()))

    def _references(self, references: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for reference in references:
            if "ref_group" in reference:
                yield from self._references(self._groups[reference["ref_group"]])
            else:
                yield reference


def _type(given: Any) -> Any:
    if isinstance(given, dict):
        return sorted(member["value"] for member in given["members"])
    return given


def _level(given: Any) -> str:
    if isinstance(given, dict):
        [(level, when)] = given.items()
        return f"{level}: {when}"
    return str(given)


if __name__ == "__main__":
    main()
