"""Adding up what one answer reports of its usage, whatever the style of the reports.

Providers report once at the end, or running totals in every chunk, of the whole answer or of each
choice by itself, or what each chunk added. A stream shows which it is:

* A report beside no choice, at the end, is of the whole answer, and counts alone.
* Totals never fall. Reports of one choice that fall are increments and are summed.
* Where several choices report in turn: a total of all of them rises each time that another choice
  reports. If it does not, each choice has totals of its own, and these are summed.
* Reports of one choice that neither rise nor fall are the same total again, or equal increments:
  the text that came with them says which. Where it does not, the result is in doubt.

A sum is believed only if the text bears it out; else the largest single report counts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..bounds import MOST_TOKENS
from .usage import NOTHING, Usage

# A choice more or less makes no difference beyond it.
_MOST_CHOICES: Final = 128
# By how much an estimate of a text may be wrong, and then a report still fits it.
_FITS: Final = 4.0
# Short texts are estimated badly.
_SHORT: Final = 8


class Total(NamedTuple):
    """What an answer used."""

    usage: Usage
    doubtful: bool = False
    """Whether its output may as well be another number."""


class _Outputs:
    """The output tokens that one choice reports, one after the other."""

    __slots__ = (
        "_given", "_lapsed", "count", "fell", "highest", "last", "reasoning", "reasoning_sum",
        "rose", "sum",
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = self.last = self.highest = self.sum = 0
        self.reasoning: int | None = None
        self.reasoning_sum = 0
        self.rose = self.fell = False
        self._given = self._lapsed = False

    def add(self, made: int, usage: Usage) -> None:
        """Take the next one."""
        if self.count:
            self.rose = self.rose or made > self.last
            self.fell = self.fell or made < self.last
            # A total says the prompt each time; who says it once may add up.
            self._lapsed = self._lapsed or (self._given and not usage.input)
        self._given = self._given or bool(usage.input)
        self.count += 1
        self.last = made
        self.highest = max(self.highest, made)
        self.sum = min(self.sum + made, MOST_TOKENS)
        if usage.reasoning is not None:
            self.reasoning = usage.reasoning
            self.reasoning_sum = min(self.reasoning_sum + usage.reasoning, MOST_TOKENS)

    @property
    def is_plain(self) -> bool:
        """Whether there is but one way to read them."""
        if self.sum in (self.last, 2 * self.last):
            # One report, or zeros beside it; or the last is the sum of those before it.
            return self.count != 2 or self.sum == self.last
        return self.rose and not self.fell and not self._lapsed

    def reading(self, said: float | None) -> tuple[int, int | None, bool]:
        """Return the output, its reasoning, and whether it is in doubt.

        Args:
            said: Tokens of the text that came with them, about; ``None`` if nobody knows.
        """
        if self.is_plain:
            return self.last, self.reasoning, False
        summed, doubtful = self._is_summed(said)
        if not summed:
            return self.highest, self.reasoning, doubtful
        return self.sum, None if self.reasoning is None else self.reasoning_sum, doubtful

    def _is_summed(self, said: float | None) -> tuple[bool, bool]:
        if said is None:
            return self.fell or self._lapsed, True
        # Reasoning may be counted and not be shown.
        summed_fits = _fits(self.sum - min(self.reasoning_sum, self.sum), said)
        if self.fell:
            return summed_fits, not summed_fits
        total_fits = _fits(self.highest - min(self.reasoning or 0, self.highest), said)
        if summed_fits == total_fits:
            return self._lapsed and summed_fits, True
        return summed_fits, False


def _fits(tokens: int, said: float) -> bool:
    most = max(tokens, said, _SHORT)
    return most <= _FITS * max(min(tokens, said), _SHORT / _FITS)


class UsageReports:
    """The usage reports of one answer, in constant memory."""

    __slots__ = ("_all", "_choices", "_closing", "_known", "_previous", "_shared")

    def __init__(self) -> None:
        self._known = NOTHING
        self._closing: Usage | None = None
        self._choices: dict[int, _Outputs] = {}
        self._all: _Outputs | None = None
        self._previous: tuple[int, int] | None = None
        self._shared = True

    def add(self, usage: Usage, choice: int | None = None) -> None:
        """Take one report.

        Args:
            usage: What it says.
            choice: The index of the choice beside which it stands; ``None`` if there is none.
        """
        if not usage:
            return
        if choice is None:
            self._known = self._known.gaining(usage)
            self._closing = usage
            return
        self._known = self._known.highest(usage)
        if usage.output is not None:
            self._add_output(choice, usage.output, usage)

    def update(self, usage: Usage) -> None:
        """Take a report of which each count stands for itself: none of them falls."""
        self._known = self._known.highest(usage)

    @property
    def known(self) -> Usage:
        """What was reported of the whole answer, or the most that a single report says."""
        return self._known

    @property
    def needs_text(self) -> bool:
        """Whether the text that came with them decides how they are read."""
        if not self._choices or self._closes():
            return False
        return any(not outputs.is_plain for outputs in self._choices.values())

    def total(self, said: float | None = None) -> Total:
        """Return what the whole answer used.

        Args:
            said: Tokens of its text, about; ``None`` if nobody knows.
        """
        if not self._choices or self._closes():
            return Total(self._known)
        made, reasoning, doubtful = self._outputs(said)
        cleared = Usage(self._known.input, None, self._known.cache_read, self._known.cache_creation)
        return Total(cleared.gaining(Usage(output=made, reasoning=reasoning)), doubtful)

    def _closes(self) -> bool:
        """Whether the report at the end is of the whole answer."""
        made = self._closing.output if self._closing is not None else None
        highest = max((outputs.highest for outputs in self._choices.values()), default=0)
        return bool(made) and made is not None and made >= highest

    def _outputs(self, said: float | None) -> tuple[int, int | None, bool]:
        if len(self._choices) > 1 and self._shared and self._all is not None:
            return self._all.last, self._all.reasoning, False
        share = None if said is None else said / len(self._choices)
        readings = [outputs.reading(share) for outputs in self._choices.values()]
        thoughts = [reasoning for _, reasoning, _ in readings if reasoning is not None]
        return (
            min(sum(made for made, _, _ in readings), MOST_TOKENS),
            min(sum(thoughts), MOST_TOKENS) if thoughts else None,
            any(doubtful for _, _, doubtful in readings),
        )

    def _add_output(self, choice: int, made: int, usage: Usage) -> None:
        key = choice if choice in self._choices or len(self._choices) < _MOST_CHOICES else 0
        if self._previous is not None and self._previous[0] != key:
            self._shared = self._shared and made > self._previous[1]
        self._previous = (key, made)
        if self._all is None:
            self._all = _Outputs()
        self._all.add(made, usage)
        self._choices.setdefault(key, _Outputs()).add(made, usage)
