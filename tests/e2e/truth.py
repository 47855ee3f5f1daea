"""What the provider served against what was reported: the number this project lives by.

The provider's log says who called (by Open WebUI's user headers), which model, for which task and
how many tokens it told. A case adds what only the test knows: the source, the picked model, and the
error to expect. Both sides become counts by tags, and have to be equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.otlp import Receiver
from harness.provider import ServedCall
from harness.world import World

Tags = frozenset[tuple[str, object]]
Counts = Counter[tuple[str, Tags]]

USAGE_REQUESTS = "open_webui.usage.requests"
USAGE_TOKENS = "open_webui.usage.tokens"
DETAILS = "open_webui.usage.token_details"
GROUP_REQUESTS = "open_webui.group.requests"
GROUP_TOKENS = "open_webui.group.tokens"
COUNTERS = (USAGE_REQUESTS, USAGE_TOKENS, DETAILS, GROUP_REQUESTS, GROUP_TOKENS)


@dataclass(frozen=True)
class Expectation:
    """What a test knows of the calls of one case that the provider does not."""

    source: str = "api"
    model_id: str | None = None
    """The picked model; the one that the provider was asked for, if not given."""
    errors: tuple[str | None, ...] = (None,)
    """`error.type` of each call, in order; the last one stands for all further calls."""
    groups: tuple[str, ...] | None = None
    """The user's groups then; those of the world, if not given."""


@dataclass
class Truth:
    """The provider's log with what the test knows, as counts by tags."""

    world: World
    calls: list[ServedCall]
    expectations: Mapping[str, Expectation]
    _seen: Counter[str] = field(default_factory=Counter)

    def counts(self) -> Counts:
        """All accounting metrics as they have to be."""
        counts: Counts = Counter()
        for call in self.calls:
            for key, amount in self._of(call):
                counts[key] += amount
        return counts

    def _of(self, call: ServedCall) -> Iterable[tuple[tuple[str, Tags], int]]:
        expected = self.expectations[call.case]
        user = self.world.user_with_id(call.user_id)
        common = self._common(call, expected)
        failed = self._failed(call, expected)
        who = {"user.id": user.id, "user.name": user.name}
        groups = user.groups if expected.groups is None else expected.groups
        named = [{"open_webui.group.name": name} for name in groups or ("(none)",)]
        for requests, tokens, tags in (
            (USAGE_REQUESTS, USAGE_TOKENS, [who]),
            (GROUP_REQUESTS, GROUP_TOKENS, named),
        ):
            for own in tags:
                yield (requests, frozenset({**common, **own, **failed}.items())), 1
                for kind, amount in (("input", call.input_tokens), ("output", call.output_tokens)):
                    if amount is not None:
                        yield (
                            (
                                tokens,
                                frozenset({**common, **own, "gen_ai.token.type": kind}.items()),
                            ),
                            amount,
                        )
        for detail, amount in (
            ("cache_read", call.cached_tokens),
            ("reasoning", call.reasoning_tokens),
        ):
            if amount:
                yield (
                    (
                        DETAILS,
                        frozenset({**common, **who, "open_webui.token.detail": detail}.items()),
                    ),
                    amount,
                )

    def _common(self, call: ServedCall, expected: Expectation) -> dict[str, object]:
        picked = expected.model_id if call.task == "chat" else None
        return {
            "gen_ai.request.model": call.model,
            "open_webui.model.id": picked or expected.model_id or call.model,
            "gen_ai.provider.name": call.wire,
            "open_webui.source": expected.source,
            "open_webui.task": call.task,
            "gen_ai.operation.name": "chat",
        }

    def _failed(self, call: ServedCall, expected: Expectation) -> dict[str, object]:
        number = min(self._seen[call.case], len(expected.errors) - 1)
        self._seen[call.case] += 1
        error = expected.errors[number]
        return {} if error is None else {"error.type": error}


def reported(receiver: Receiver) -> Counts:
    """All accounting metrics as a back end sums them up."""
    counts: Counts = Counter()
    for metric in COUNTERS:
        for tags, amount in receiver.increase(metric).items():
            counts[metric, tags] += int(amount)
    return +counts


def difference(expected: Counts, actual: Counts) -> str:
    """What is missing and what is too much, for a person to read."""
    lines = []
    for sign, counts in (("missing", expected - actual), ("too much", actual - expected)):
        lines += [
            f"{sign}: {amount} {metric} {dict(sorted(tags))}"
            for (metric, tags), amount in counts.items()
        ]
    return "\n".join(lines)


def assert_equal(receiver: Receiver, truth: Truth, timeout: float = 20.0) -> None:
    """Wait until the report equals the truth, and fail with the difference if it never does."""
    expected = truth.counts()
    try:
        receiver.wait_for(lambda _: reported(receiver) == expected, timeout)
    except TimeoutError:
        raise AssertionError(difference(expected, reported(receiver))) from None
    for metric in COUNTERS:
        assert receiver.unannounced(metric) == []
