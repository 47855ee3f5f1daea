"""No limits: a gate that is open."""

from __future__ import annotations

from ..calls.caller import Caller
from .gate import Refusal, Ticket, Wanted


class Off:
    """The gate where no limits are set up."""

    open = True

    async def admit(self, wanted: Wanted, ticket: Ticket | None = None) -> Ticket | Refusal:
        """Never asked: see :attr:`Gate.open`."""
        raise NotImplementedError

    def admit_in_thread(self, wanted: Wanted, ticket: Ticket | None = None) -> Ticket | Refusal:
        """Never asked."""
        raise NotImplementedError

    def book(self, refusal: Refusal, wanted: Wanted, caller: Caller) -> None:
        """Never asked."""
