"""Compares what was reported with what the provider served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from demo.figures import NOTHING, Amount, Figures, Key, Report, add
from demo.traffic import Step
from harness.provider import ServedCall
from harness.world import World

NO_GROUP = "(none)"


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
        add(report.users, key_of(call, step, user.id), amount_of(call))
        for group in user.groups or (NO_GROUP,):
            report.members.add((user.id, group))
            add(report.groups, key_of(call, step, group), amount_of(call))
    return report


def key_of(call: ServedCall, step: Step, who: str) -> Key:
    """The tags of a call."""
    return Key(who, call.model, step.model, step.way.source, call.task)


def amount_of(call: ServedCall) -> Amount:
    """What a call counts."""
    return Amount(1, int(call.status >= 400), call.input_tokens or 0, call.output_tokens or 0)


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
        f" {amount.input} input and {amount.output} output tokens"
    )


def unequal(
    what: str, reported: set[tuple[str, str]], expected: set[tuple[str, str]]
) -> Iterator[str]:
    """Pairs on one side only."""
    for kind, pairs in (("missing", expected - reported), ("too much", reported - expected)):
        if pairs:
            yield f"{what}: {kind}: {sorted(pairs)}"
