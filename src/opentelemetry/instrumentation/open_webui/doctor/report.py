"""What the doctor has found, as it is printed: failures first, and what is well folded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

OK: Final = "ok"
NOTE: Final = "--"
BAD: Final = "!!"

_LONGEST_LINE: Final = 600
# User and password before the host, and the query: where addresses keep secrets.
_IN_ADDRESSES: Final = re.compile(r"(?<=//)[^/@\s]+@|\?\S*=\S*")


@dataclass(frozen=True, slots=True)
class Line:
    """One finding."""

    mark: str
    text: str
    remedy: str = ""

    def printed(self) -> str:
        """Return the line as it is printed, with the remedy below it."""
        remedy = f"\n       -> {_safe(self.remedy)}" if self.remedy else ""
        return f"  [{self.mark}] {_safe(self.text)}{remedy}"


@dataclass(slots=True)
class Section:
    """The findings about one thing."""

    title: str
    lines: list[Line] = field(default_factory=list)
    brief: str = ""
    """What stands for all that is well when it is folded; nothing folds where it is empty."""

    def ok(self, text: str) -> None:
        """Add what is well."""
        self.lines.append(Line(OK, text))

    def note(self, text: str) -> None:
        """Add what one should know, and need not mend."""
        self.lines.append(Line(NOTE, text))

    def bad(self, text: str, remedy: str = "") -> None:
        """Add what is to be mended, and how."""
        self.lines.append(Line(BAD, text, remedy))


@dataclass(slots=True)
class Report:
    """All sections."""

    sections: list[Section] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """What could not be looked at, in words."""

    def section(self, title: str) -> Section:
        """Begin a section."""
        self.sections.append(Section(title))
        return self.sections[-1]

    @property
    def failures(self) -> list[Line]:
        """What is to be mended."""
        found = [line for each in self.sections for line in each.lines if line.mark == BAD]
        return list({line.text: line for line in found}.values())

    def printed(self, *, everything: bool) -> str:
        """Return the whole report."""
        failures = self.failures
        parts = []
        if failures:
            parts += ["To be mended", *(line.printed() for line in failures), ""]
        for each in self.sections:
            parts += [each.title, *_shown(each, everything), ""]
        if not everything and any(each.brief for each in self.sections):
            parts += ["Each line of it: --all", ""]
        return "\n".join([*parts, _verdict(len(failures), self.unseen)])


def _shown(section: Section, everything: bool) -> list[str]:
    fold = bool(section.brief) and not everything
    lines = [line for line in section.lines if line.mark != BAD and not (fold and line.mark == OK)]
    brief = [Line(OK, section.brief)] if fold and _has_ok(section) else []
    return [line.printed() for line in [*brief, *lines]] or ["  (see above)"]


def _has_ok(section: Section) -> bool:
    return any(line.mark == OK for line in section.lines)


def _verdict(failures: int, unseen: Sequence[str]) -> str:
    if failures:
        return f"Not all is well: {failures} to be mended, named at the top."
    if unseen:
        return f"What was looked at is well, but {' and '.join(unseen)}."
    return "All is well."


def _safe(text: str) -> str:
    """Return a text without what addresses hide, and without what a terminal would obey."""
    told = _IN_ADDRESSES.sub("", " ".join(text.split()))[:_LONGEST_LINE]
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in told)
