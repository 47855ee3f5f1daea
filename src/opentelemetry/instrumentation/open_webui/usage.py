"""What a provider's answer says about itself: tokens, model, id, why it ended. Value types."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .bounds import CUT, MOST_REASONS, MOST_TOKENS, whole

if TYPE_CHECKING:
    from .estimates import Text

_logger = logging.getLogger(__name__)
_dropped: set[str] = set()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; ``None`` where the provider said nothing.

    ``input`` includes what was read from or written to a cache, ``output`` includes reasoning, as
    the GenAI conventions define them.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_creation: int | None = None
    reasoning: int | None = None

    def __bool__(self) -> bool:
        return self.input is not None or self.output is not None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            *(added(mine, yours) for mine, yours in zip(self.counts(), other.counts(), strict=True))
        )

    def believed(self) -> Usage:
        """Return the counts of a sum that one answer can have used."""
        return Usage(*map(count, self.counts()))

    def counts(self) -> tuple[int | None, ...]:
        """All counts, in the order of the fields."""
        return (self.input, self.output, self.cache_read, self.cache_creation, self.reasoning)

    def updated(self, other: Usage) -> Usage:
        """Return the counts of ``other``, and where it has none, these."""
        return Usage(
            *(
                mine if yours is None else yours
                for mine, yours in zip(self.counts(), other.counts(), strict=True)
            )
        )

    def falls_below(self, other: Usage) -> bool:
        """Whether a count is lower than in ``other``: then these are not running totals."""
        return (self.input or 0) < (other.input or 0) or (self.output or 0) < (other.output or 0)


def added(*counts: int | None) -> int | None:
    """Return the sum of what is known; ``None`` if nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def count(value: object) -> int | None:
    """Return a token count, or ``None`` for anything that is not one."""
    if value is None:
        return None
    known = whole(value, MOST_TOKENS)
    if known is None:
        dropped("a token count that is none", value)
    return known


def dropped(what: str, value: object) -> None:
    """Say once that something a provider reports of usage cannot be used."""
    if what not in _dropped:
        _dropped.add(what)
        _logger.warning(
            "Open WebUI instrumentation: a provider reports %s (%s); it is left out. This is said"
            " once.",
            what,
            type(value).__name__,  # What it holds may be anything, also somebody's words.
        )


class UsageReports:
    """Adds up the usage reports of one answer, whatever their style.

    Providers report once at the end, or running totals in every chunk, or what each chunk added.
    Running totals never fall, so the last one counts; reports that fall are increments and are
    summed, unless the last one is itself the sum of those before it.
    """

    __slots__ = ("_before", "_fell", "_last")

    def __init__(self) -> None:
        self._before: Usage | None = None
        self._last: Usage | None = None
        self._fell = False

    def add(self, usage: Usage) -> None:
        """Take one report."""
        if not usage:
            return
        if self._last is not None:
            self._fell = self._fell or usage.falls_below(self._last)
            self._before = self._last if self._before is None else self._before + self._last
        self._last = usage

    def update(self, usage: Usage) -> None:
        """Take a report that says again, and better, what an earlier one left open."""
        self._last = usage if self._last is None else self._last.updated(usage)

    def total(self) -> Usage:
        """Return what the whole answer used."""
        if self._last is None:
            return Usage()
        if self._before is None or not self._fell:
            return self._last
        if (self._last.input, self._last.output) == (self._before.input, self._before.output):
            return self._last
        return (self._before + self._last).believed()


@dataclass(slots=True)
class Answer:
    """What is known of one answer so far."""

    model: str | None = None
    id: str | None = None
    finish_reasons: list[str] = field(default_factory=list)
    """The first ones, and how many there are beyond them."""
    reports: UsageReports = field(default_factory=UsageReports)
    error: str | None = None
    """``error.type`` of an error that the provider reported inside its answer."""
    complete: bool = False
    """Whether the provider said that this is the end."""
    closed: bool = False
    """Whether nothing can follow: a stream has its end mark."""
    nulls: bool = False
    """Whether a stream says ``"usage": null`` beside what it says."""
    images: int | None = None
    """Images in the answer."""
    seconds: float | None = None
    """Seconds of audio that the provider says it heard."""
    pages: int | None = None
    """Pages that the provider says it read."""
    charged: float | None = None
    """USD that the provider says it charged."""
    tier: str | None = None
    """The service tier that the provider says it served at."""
    text: Text | None = None
    """The measure of what was said; only where the provider said nothing of its tokens."""
    _finished: int = field(default=0, init=False)

    def finish(self, reason: str) -> None:
        """Take it that a choice has ended, and why."""
        self.complete = True
        self._finished += 1
        beyond = self._finished - MOST_REASONS
        if beyond <= 0:
            self.finish_reasons.append(reason)
        else:
            self.finish_reasons[MOST_REASONS:] = [f"{CUT}+{beyond}"]
