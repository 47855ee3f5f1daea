"""Amounts by tags: what is read from the metrics, and what the provider's own log says."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from typing import NamedTuple, TypeVar

Label = TypeVar("Label")


class Key(NamedTuple):
    """The tags that an amount is told apart by."""

    who: str
    """A user's id, or a group's name."""
    model: str
    """The model that the provider was asked for."""
    picked: str
    """The model that was picked in Open WebUI."""
    source: str
    task: str


@dataclass(frozen=True)
class Amount:
    """Calls, their tokens and their cost."""

    requests: int = 0
    failed: int = 0
    input: int = 0
    output: int = 0
    cost: int = 0
    """Billionths of a US dollar: sums of them are exact."""
    unpriced: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Amount) -> Amount:
        return Amount(*map(operator.sub, astuple(self), astuple(other)))

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.input + self.output


NOTHING = Amount()
BILLION = 1_000_000_000
Figures = dict[Key, Amount]


@dataclass
class Report:
    """The figures of all users and of all groups, with the names that belong to the ids."""

    users: Figures = field(default_factory=dict)
    groups: Figures = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    members: set[tuple[str, str]] = field(default_factory=set)
    """Pairs of a user's id and a group's name."""

    @property
    def total(self) -> Amount:
        """Everything. Users are added up, since groups overlap."""
        return sum(self.users.values(), NOTHING)

    def groups_of(self, user_id: str) -> list[str]:
        """Names of the groups of a user."""
        return sorted(group for user, group in self.members if user == user_id)


def add(figures: Figures, key: Key, amount: Amount) -> None:
    """Add an amount to what is there."""
    if amount != NOTHING:
        figures[key] = figures.get(key, NOTHING) + amount


def summed(
    figures: Mapping[Key, Amount], label: Callable[[Key], Label]
) -> list[tuple[Label, Amount]]:
    """The sums by label, the most tokens first."""
    sums: dict[Label, Amount] = {}
    for key, amount in figures.items():
        sums[label(key)] = sums.get(label(key), NOTHING) + amount
    return sorted(sums.items(), key=lambda item: (-item[1].tokens, str(item[0])))
