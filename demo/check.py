"""Compares what was reported with what the provider served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from demo.figures import BILLION, NOTHING, Amount, Figures, Key, Report, add
from demo.traffic import Step
from harness.provider import ServedCall
from harness.world import World

NO_GROUP = "(none)"
# Billionths of a US dollar for a token of input, of output and of the cache: as in prices.yaml, and
# reckoned here without the library.
PRICES = {
    "helpdesk": (3_000, 12_000, 3_000),
    "gpt-std": (2_500, 10_000, 1_250),
    "gpt-mini": (150, 600, 150),
    "llama-std": (50, 100, 50),
    "llama-mini": (0, 0, 0),
}


def served(calls: Iterable[ServedCall], world: World, steps: Mapping[str, Step]) -> Report:
    """The report that the provider's own log amounts to.

    The log knows the user, the model, the task and the tokens that it told. What only the caller
    knows, the source and the picked model, comes from the step that the call belongs to.
    """
    report = Report()
    # Calls of no step are told by `not_served`.
    for call in (call for call in calls if call.case in steps):
        user, step = world.user_with_id(call.user_id), steps[call.case]
        report.names[user.id] = user.name
        amount = amount_of(call, step)
        add(report.users, key_of(call, step, user.id), amount)
        for group in user.groups or (NO_GROUP,):
            report.members.add((user.id, group))
            add(report.groups, key_of(call, step, group), replace(amount, unpriced=0))
    return report


def key_of(call: ServedCall, step: Step, who: str) -> Key:
    """The tags of a call."""
    return Key(who, call.model, step.model, step.way.source, call.task)


def amount_of(call: ServedCall, step: Step) -> Amount:
    """What a call counts."""
    failed = call.status >= 400
    given, made = call.input_tokens or 0, call.output_tokens or 0
    prices = PRICES.get(step.model) or PRICES.get(call.model)
    if failed or prices is None:
        return Amount(1, int(failed), given, made, unpriced=int(not failed))
    cached = call.cached_tokens or 0
    input_price, output_price, cached_price = prices
    cost = (given - cached) * input_price + cached * cached_price + made * output_price
    return Amount(1, 0, given, made, cost)


def not_served(calls: Iterable[ServedCall], steps: Mapping[str, Step]) -> list[str]:
    """Steps with other calls than planned: two empty sides would be equal, too."""
    found = Counter(call.case for call in calls)
    return [
        f"{case or 'no step'}: the provider served {found[case]} calls, planned were {planned}"
        for case in sorted({*found, *steps})
        if found[case] != (planned := steps[case].calls if case in steps else 0)
    ]


def differences(reported: Report, expected: Report) -> list[str]:
    """All that is not the same, for a person to read; nothing if all is."""
    return [
        *differing(reported.users, expected.users, {**expected.names, **reported.names}),
        *differing(reported.groups, expected.groups, {}),
        *unequal("names", set(reported.names.items()), set(expected.names.items())),
        *unequal("groups of users", reported.members, expected.members),
    ]


def differing(reported: Figures, expected: Figures, names: Mapping[str, str]) -> Iterator[str]:
    """The figures that are not the same."""
    for key in sorted({*reported, *expected}):
        told, true = reported.get(key, NOTHING), expected.get(key, NOTHING)
        if told != true:
            tags = ", ".join((names.get(key.who, key.who), *key[1:]))
            yield f"{tags}: reported {described(told)}; served {described(true)}"


def described(amount: Amount) -> str:
    """An amount in words."""
    return (
        f"{amount.requests} requests ({amount.failed} failed),"
        f" {amount.input} input and {amount.output} output tokens,"
        f" {amount.cost / BILLION:f} USD and {amount.unpriced} requests without a price"
    )


def unequal(
    what: str, reported: set[tuple[str, str]], expected: set[tuple[str, str]]
) -> Iterator[str]:
    """Pairs on one side only."""
    for kind, pairs in (("missing", expected - reported), ("too much", reported - expected)):
        if pairs:
            yield f"{what}: {kind}: {sorted(pairs)}"
