"""What a provider's answer says about itself: tokens, model, id, why it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..bounds import CUT, MOST_REASONS
from .billed import Billed
from .estimates import BYTES_PER_TOKEN, Text
from .reports import Total, UsageReports


@dataclass(slots=True, eq=False)
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
    billed: Billed | None = None
    """What the provider bills beside plain tokens, and what it says it charged."""
    tier: str | None = None
    """The service tier that the provider says it served at."""
    text: Text | None = None
    """The measure of what was said; only where the tokens that are reported leave it open."""
    _finished: int = field(default=0, init=False)

    def total(self) -> Total:
        """Return the tokens that it reports, read with the text that came with them."""
        return self.reports.total(None if self.text is None else self.text.size / BYTES_PER_TOKEN)

    def finish(self, reason: str) -> None:
        """Take it that a choice has ended, and why."""
        self.complete = True
        self._finished += 1
        beyond = self._finished - MOST_REASONS
        if beyond <= 0:
            self.finish_reasons.append(reason)
        else:
            self.finish_reasons[MOST_REASONS:] = [f"{CUT}+{beyond}"]


SILENCE: Final = Answer()
"""What is known of an answer before it comes. Whoever reads one makes an own."""
