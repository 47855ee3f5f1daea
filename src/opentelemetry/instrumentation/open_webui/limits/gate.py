"""What is asked of the limits before a model is called, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from ..bounds import MOST_GROUPS, MOST_TOKENS, bound, text, whole
from ..calls.caller import Caller


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody is about to ask of a model."""

    user_id: str
    groups: tuple[str, ...]
    """Names of the user's groups."""
    model: str
    """The model picked in Open WebUI; on raw routes the one asked for."""
    source: str
    """``ui``, ``api`` or ``background``."""
    input_tokens: int = 0
    """Estimated from the body; 0 where nothing is known."""
    other_models: tuple[str, ...] = ()
    """Other names of the model, such as the one that a workspace model stands on."""
    direct: bool = False
    """Whether the user's own browser calls it, with a key of their own."""

    def __post_init__(self) -> None:
        """Bound what users write."""
        bound(self, "user_id", "model", "source")
        object.__setattr__(self, "input_tokens", whole(self.input_tokens, MOST_TOKENS) or 0)
        names = tuple(map(text, self.other_models[:MOST_GROUPS]))
        object.__setattr__(self, "other_models", names)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not made."""

    limit: str
    """The limit's name."""
    measure: str
    """``requests``, ``tokens``, ``input_tokens``, ``output_tokens`` or ``cost``."""
    used: Decimal
    """In the measure's unit; of costs, USD."""
    allowed: Decimal
    resets_at: float | None
    """Unix time; ``None`` if never by itself."""
    retry_after: int
    """Whole seconds, at least 1."""
    sentence: str
    """One sentence for a person."""

    def __post_init__(self) -> None:
        """Bound what administrators write."""
        object.__setattr__(self, "limit", text(self.limit))


@dataclass(frozen=True, slots=True)
class NearlyUsed:
    """A limit of which the share was used at which people are warned."""

    limit: str
    measure: str
    used: Decimal
    allowed: Decimal
    resets_at: float | None
    sentence: str

    def __post_init__(self) -> None:
        """Bound what administrators write."""
        object.__setattr__(self, "limit", text(self.limit))


class Ticket(Protocol):
    """Leave to call models, for one turn or one call; it holds a reservation until released."""

    @property
    def warnings(self) -> tuple[NearlyUsed, ...]:
        """The limits that are nearly used."""

    def release(self) -> None:
        """Let the reservation go: once, from any thread, also from finalisers."""


class Gate(Protocol):
    """Decides before models are called."""

    @property
    def open(self) -> bool:
        """Whether there are no limits at all, so that there is nothing to ask."""

    def binds(self, user_id: str, groups: tuple[str, ...]) -> bool:
        """Whether any limit is for a user, whatever they call; also while that is not known."""

    async def admit(self, wanted: Wanted, ticket: Ticket | None = None) -> Ticket | Refusal:
        """Decide.

        Args:
            wanted: What is about to be asked of a model.
            ticket: The turn's, where a later round of its tools, or another of its models, is
                looked at again.
        """

    def admit_in_thread(self, wanted: Wanted, ticket: Ticket | None = None) -> Ticket | Refusal:
        """Do the same where it may block for a moment."""

    def book(
        self, refusal: Refusal, wanted: Wanted, caller: Caller, operation: str = "chat"
    ) -> None:
        """Keep account of a refusal that somebody was told."""
