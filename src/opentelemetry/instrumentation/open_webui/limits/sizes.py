"""How much calls use: learned by model, so that what is in flight can be held back."""

from __future__ import annotations

from typing import Final

from ..calls.call import ModelCall
from ..ledger.booking import nano
from .accounts import Need
from .gate import Wanted
from .rules import MEASURES

_FIRST_INPUT: Final = 500.0
_FIRST_OUTPUT: Final = 500.0
# What the latest of many calls weighs.
_WEIGHT: Final = 0.02
_MOST_MODELS: Final = 2000

Used = tuple[int, ...]
"""One for each of :data:`~.rules.MEASURES`."""


def used_by(call: ModelCall) -> Used:
    """Return what an ended call has used."""
    usage, cost = call.usage, call.cost
    put, out = usage.input or 0, usage.output or 0
    return (1, put + out, put, out, 0 if cost is None else nano(cost.usd))


class _Size:
    """What calls of one model use: the mean, in which the latest weigh more."""

    __slots__ = ("calls", "cost", "input", "output")

    def __init__(self) -> None:
        self.calls = 0
        self.input = _FIRST_INPUT
        self.output = _FIRST_OUTPUT
        self.cost = 0.0

    def learn(self, used: Used) -> None:
        self.calls += 1
        weight = max(_WEIGHT, 1 / self.calls)
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

    def needs(self, wanted: Wanted) -> dict[str, Need]:
        """Return what a call is going to use, by measure."""
        size = self._by_model.get(wanted.model, _UNKNOWN)
        put = wanted.input_tokens or int(size.input)
        out = int(size.output)
        usual = size.input + size.output
        cost = int(size.cost * (put + out) / usual) if usual else int(size.cost)
        sure = wanted.input_tokens
        needs = (Need(1, 1), Need(sure, put + out), Need(sure, put), Need(0, out), Need(0, cost))
        return dict(zip(MEASURES, needs, strict=True))


_UNKNOWN: Final = _Size()
