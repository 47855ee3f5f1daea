"""What is there instead where there are no limits."""

from __future__ import annotations

from typing import Final

from ..calls.caller import Caller
from .gate import NearlyUsed, Refusal, Ticket, Wanted


class Free:
    """Leave to call models where nothing is held back for it."""

    warnings: tuple[NearlyUsed, ...] = ()

    def release(self) -> None:
        """Do nothing."""


FREE: Final = Free()


class Off:
    """Lets everybody in."""

    open = True

    def begin(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def binds(self, _user_id: str, _groups: tuple[str, ...]) -> bool:
        """Return that nothing does."""
        return False

    async def admit(self, _wanted: Wanted, ticket: Ticket | None = None) -> Ticket | Refusal:
        """Let in."""
        return ticket or FREE

    def admit_in_thread(self, _wanted: Wanted, ticket: Ticket | None = None) -> Ticket | Refusal:
        """Let in."""
        return ticket or FREE

    def book(
        self, refusal: Refusal, wanted: Wanted, caller: Caller, operation: str = "chat"
    ) -> None:
        """Do nothing: nobody is refused."""
