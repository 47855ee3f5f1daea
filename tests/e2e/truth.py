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
from harness.world import User, World

Tags = frozenset[tuple[str, object]]
Counts = Counter[tuple[str, Tags]]
"""Amounts, rounded to what a float can hold of them."""

USAGE_REQUESTS = "open_webui.usage.requests"
USAGE_TOKENS = "open_webui.usage.tokens"
DETAILS = "open_webui.usage.token_details"
CHARACTERS = "open_webui.usage.characters"
IMAGES = "open_webui.usage.images"
AUDIO = "open_webui.usage.audio.duration"
PAGES = "open_webui.usage.pages"
ESTIMATED = ("open_webui.usage.estimated", True)
GROUP_REQUESTS = "open_webui.group.requests"
GROUP_TOKENS = "open_webui.group.tokens"
COUNTERS = (
    USAGE_REQUESTS,
    USAGE_TOKENS,
    DETAILS,
    CHARACTERS,
    IMAGES,
    AUDIO,
    PAGES,
    GROUP_REQUESTS,
    GROUP_TOKENS,
)

OF_GROUPS = {USAGE_REQUESTS: GROUP_REQUESTS, USAGE_TOKENS: GROUP_TOKENS}


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
    user: str | None = None
    """Who called, where Open WebUI does not tell the provider."""
    task: str | None = None
    """The task, where the wording of the prompt does not say it."""
    provider: str | None = None
    """The provider's name, where its own stands for another's."""
    operation: str | None = None
    """What it was called for, where the same request serves several ends."""
    model: str | None = None
    """The model, where the request names none."""


@dataclass
class Truth:
    """The provider's log with what the test knows, as counts by tags."""

    world: World
    calls: list[ServedCall]
    expectations: Mapping[str, Expectation]
    _seen: Counter[str] = field(default_factory=Counter)

    def tagged(self) -> Iterable[tuple[ServedCall, dict[str, object]]]:
        """Yield the calls that count, each with the tags that all metrics of users have of it."""
        for call in self.calls:
            if not call.is_refusal:
                expected = self.expectations[call.case]
                who = {"user.id": self._user(call, expected).id}
                yield call, {**self._common(call, expected), **who}

    def counts(self) -> Counts:
        """All accounting metrics as they have to be."""
        counts: Counts = Counter()
        for call in self.calls:
            if call.is_refusal:
                continue
            for key, amount in self._of(call):
                counts[key] += round(amount, 6)
        return counts

    def _of(self, call: ServedCall) -> Iterable[tuple[tuple[str, Tags], float]]:
        expected = self.expectations[call.case]
        user = self._user(call, expected)
        common, failed = self._common(call, expected), self._failed(call, expected)
        who = {"user.id": user.id, "user.name": user.name}
        for metric, tags, amount in amounts(call, failed):
            if amount:
                yield (metric, frozenset({**common, **who, **tags}.items())), amount
        groups = user.groups if expected.groups is None else expected.groups
        for group in groups or ("(none)",):
            for metric, tags, amount in amounts(call, failed):
                if amount and metric in OF_GROUPS:
                    named = {"open_webui.group.name": group, **common, **tags}
                    yield (OF_GROUPS[metric], frozenset(named.items())), amount

    def _user(self, call: ServedCall, expected: Expectation) -> User:
        if expected.user is not None:
            return self.world.user(expected.user)
        return self.world.users.get(call.user_id) or self.world.user_with_id(call.user_id)

    def _common(self, call: ServedCall, expected: Expectation) -> dict[str, object]:
        model = expected.model or call.model
        return {
            "gen_ai.request.model": model,
            "open_webui.model.id": expected.model_id or model,
            "gen_ai.provider.name": expected.provider or call.provider,
            "open_webui.source": expected.source,
            "open_webui.task": expected.task or call.task,
            "gen_ai.operation.name": expected.operation or call.operation,
        }

    def _failed(self, call: ServedCall, expected: Expectation) -> dict[str, object]:
        number = min(self._seen[call.case], len(expected.errors) - 1)
        self._seen[call.case] += 1
        error = expected.errors[number]
        return {} if error is None else {"error.type": error}


@dataclass
class Further(Truth):
    """A truth on top of what was reported before."""

    before: Counts = field(default_factory=Counter)

    def counts(self) -> Counts:
        return self.before + super().counts()


def amounts(
    call: ServedCall, failed: dict[str, object]
) -> list[tuple[str, dict[str, object], float | None]]:
    """What one call adds to each metric, with the tags that only this metric has."""
    return [
        (USAGE_REQUESTS, failed, 1),
        (USAGE_TOKENS, {"gen_ai.token.type": "input"}, call.input_tokens),
        (USAGE_TOKENS, {"gen_ai.token.type": "output"}, call.output_tokens),
        (DETAILS, {"open_webui.token.detail": "cache_read"}, call.cached_tokens),
        (DETAILS, {"open_webui.token.detail": "cache_creation"}, call.cache_creation_tokens),
        (DETAILS, {"open_webui.token.detail": "reasoning"}, call.reasoning_tokens),
        (CHARACTERS, {}, call.characters),
        (IMAGES, {}, call.images),
        (AUDIO, {}, call.seconds),
        (PAGES, {}, call.pages),
    ]


def reported(receiver: Receiver) -> Counts:
    """All accounting metrics as a back end sums them up, without what was only estimated."""
    counts: Counts = Counter()
    for metric in COUNTERS:
        for tags, amount in receiver.increase(metric).items():
            if ESTIMATED not in tags:
                counts[metric, tags] += round(amount, 6)
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
