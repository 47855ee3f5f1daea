"""How much calls use: learned by model, so that what is in flight can be held back."""

from __future__ import annotations

from typing import Final

from ..calls.call import ModelCall
from ..ledger.booking import nano
from .accounts import Need, Used
from .gate import Wanted

_FIRST_INPUT: Final = 500.0
_FIRST_OUTPUT: Final = 500.0
# What the latest of many calls weighs.
_WEIGHT: Final = 0.02
_MOST_MODELS: Final = 2000


def used_by(call: ModelCall) -> Used:
    """Return what an ended call has used."""
    usage, cost = call.usage, call.cost
    put, out = usage.input or 0, usage.output or 0
    return (1, put + out, put, out, 0 if cost is None else nano(cost.usd))


class _Size:
    """What calls of one model use: the mean, in which the latest weigh more."""

    __slots__ = ("calls", "cost", "input", "output", "weight")

    def __init__(self) -> None:
        self.calls = 0
        self.weight = 1.0
        """What the latest of them weighs."""
        self.input = _FIRST_INPUT
        self.output = _FIRST_OUTPUT
        self.cost = 0.0

    def need(self, known: int) -> Need:
        put, out, usual = known or int(self.input), int(self.output), self.input + self.output
        cost = int(self.cost * (put + out) / usual) if usual else int(self.cost)
        return (1, known, known, 0, 0), (1, put + out, put, out, cost)

    def learn(self, used: Used) -> None:
        weight = self.weight
        if weight > _WEIGHT:
            self.calls += 1
            weight = self.weight = max(_WEIGHT, 1 / self.calls)
        _, _, put, out, cost = used
        self.input += weight * (put - self.input)
        self.output += weight * (out - self.output)
        self.cost += weight * (cost - self.cost)


class Sizes:
    """What is known of the sizes of calls."""

    def __init__(self) -> None:
        self._by_model: dict[str, _Size] = {}

    def learn(self, model: str, used: Used) -> None:
        """Learn from a call that has ended."""
        size = self._by_model.get(model)
        if size is None:
            if len(self._by_model) >= _MOST_MODELS:
                return
            size = self._by_model[model] = _Size()
        size.learn(used)

    def need(self, wanted: Wanted) -> Need:
        """Return what a call is going to use."""
        return self._by_model.get(wanted.model, _UNKNOWN).need(wanted.input_tokens)


_UNKNOWN: Final = _Size()
