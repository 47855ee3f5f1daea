"""What is held back for calls that are in flight."""

from __future__ import annotations

from collections.abc import Callable

from .accounts import Account, Used
from .gate import NearlyUsed

Kind = tuple[str, str, str]
"""User, model and source: what a call is known by."""


class Reservation:
    """What is held back for a call that is in flight, which is likely to use it."""

    __slots__ = ("accounts", "flight", "likely", "since")

    def __init__(
        self, flight: Flight, accounts: tuple[Account, ...], likely: Used, since: float
    ) -> None:
        self.flight = flight
        self.accounts = accounts
        self.likely = likely
        self.since = since

    def end(self) -> None:
        """Hold it back no more."""
        self.flight.waiting.remove(self)
        for account in self.accounts:
            account.in_flight -= self.likely[account.measure]


class Flight:
    """The calls of one kind that are in flight: which of them ends is all the same."""

    __slots__ = ("early", "last", "waiting")

    def __init__(self) -> None:
        self.last = 0.0
        """When the last of them was let in (monotonic)."""
        self.waiting: list[Reservation] = []
        self.early = 0
        """Calls that have ended, and whose tickets are not released yet."""

    def call_ended(self) -> None:
        """End a reservation, and have a ticket's release end none."""
        if self.waiting:
            self.waiting[0].end()
            self.early += 1

    def release(self, reservation: Reservation) -> None:
        """End a reservation, unless a call has ended one."""
        if self.early:
            self.early -= 1
        elif reservation in self.waiting:
            reservation.end()
        elif self.waiting:
            self.waiting[0].end()

    def expire(self, before: float) -> bool:
        """End what was let in before a moment; return whether nothing is in flight any more."""
        for reservation in list(self.waiting):
            if reservation.since < before:
                reservation.end()
        # Tickets that are lost are never released.
        return not self.waiting and (not self.early or self.last < before)


class Held:
    """Leave to call models, for which something is held back."""

    __slots__ = ("_let_go", "reservations", "warnings")

    def __init__(self, let_go: Callable[[list[Reservation]], None]) -> None:
        self.reservations: list[Reservation] = []
        self.warnings: tuple[NearlyUsed, ...] = ()
        self._let_go = let_go

    def release(self) -> None:
        """Hold nothing back any more."""
        reservations, self.reservations = self.reservations, []
        if reservations:
            self._let_go(reservations)
