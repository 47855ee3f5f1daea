"""What the ledger has, as the counts that telemetry has for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from e2e.truth import (
    AUDIO,
    CHARACTERS,
    DETAILS,
    GROUP_REQUESTS,
    GROUP_TOKENS,
    IMAGES,
    PAGES,
    USAGE_REQUESTS,
    USAGE_TOKENS,
    Counts,
)
from opentelemetry.instrumentation.open_webui.ledger.booking import (
    ESTIMATED_INPUT,
    ESTIMATED_OUTPUT,
)
from opentelemetry.instrumentation.open_webui.ledger.reading import Call


def booked(calls: Iterable[Call]) -> Counts:
    """Return the counts of calls, without what was only estimated."""
    counts: Counts = Counter()
    for call in calls:
        common = {
            "gen_ai.request.model": call.model,
            "open_webui.model.id": call.picked,
            "gen_ai.provider.name": call.provider,
            "open_webui.source": call.source,
            "open_webui.task": call.task,
            "gen_ai.operation.name": call.operation,
        }
        who = {"user.id": call.user_id, "user.name": call.user_name}
        failed = {} if call.error is None else {"error.type": call.error}
        tokens = [
            ({"gen_ai.token.type": "input"}, call.input, ESTIMATED_INPUT),
            ({"gen_ai.token.type": "output"}, call.output, ESTIMATED_OUTPUT),
        ]
        told = [
            (tags, amount) for tags, amount, mark in tokens if amount and not call.estimated & mark
        ]
        amounts = [(USAGE_REQUESTS, failed, 1.0), *((USAGE_TOKENS, *one) for one in told)]
        for kind, amount in (
            ("cache_read", call.cache_read),
            ("cache_creation", call.cache_write),
            ("reasoning", call.reasoning),
        ):
            amounts.append((DETAILS, {"open_webui.token.detail": kind}, amount))
        for metric, unit in (
            (CHARACTERS, "character"),
            (IMAGES, "image"),
            (AUDIO, "second"),
            (PAGES, "page"),
        ):
            amounts.append((metric, {}, call.units.get(unit)))
        for metric, tags, amount in amounts:
            if amount:
                counts[metric, frozenset({**common, **who, **tags}.items())] += round(amount, 6)
        for group in call.groups or ("(none)",):
            named = {"open_webui.group.name": group, **common}
            counts[GROUP_REQUESTS, frozenset({**named, **failed}.items())] += 1
            for tags, amount in told:
                counts[GROUP_TOKENS, frozenset({**named, **tags}.items())] += amount
    return counts
