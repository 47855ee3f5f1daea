"""What people are told of a limit, in one sentence."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from ..ledger.sums import DAY_SECONDS, HOUR_SECONDS
from .gate import NearlyUsed, Refusal
from .rules import COST, EVERYONE, GROUP, Limit, Who, in_units
from .windows import Span

UNKNOWN: Final = "(unknown)"
_AGAIN_SECONDS: Final = 30
_SPANS: Final = {
    "hour": "for this hour",
    "day": "for today",
    "week": "for this week",
    "month": "for this month",
}
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def refusal(
    limit: Limit, who: Who, span: Span, used: int, allowed: int, needs: int, now: float
) -> Refusal:
    """Return why somebody is refused.

    Args:
        limit: The limit that refuses.
        who: Whose use counts in it.
        span: What of time it is now.
        used: How much was used, in the limit's measure.
        allowed: How much may be.
        needs: How much is sure to be used by what is asked for.
        now: Unix time.
    """
    resets_at = resets(span, now)
    return Refusal(
        limit=limit.name,
        measure=limit.measure,
        used=in_units(used, limit.measure),
        allowed=in_units(allowed, limit.measure),
        resets_at=resets_at,
        retry_after=max(1, math.ceil(resets_at - now)),
        sentence=f"{_used_up(limit, who, used, allowed, needs)} {_back(limit, resets_at, now)}",
    )


def nearly(limit: Limit, who: Who, span: Span, used: int, allowed: int, now: float) -> NearlyUsed:
    """Return what warns of a limit that is nearly used; the same arguments."""
    resets_at = resets(span, now)
    share = 100 * used // allowed if allowed else 100
    what = _what(limit, who, amount(allowed, limit.measure))
    verb = "is" if limit.measure == COST else "are"
    return NearlyUsed(
        limit=limit.name,
        measure=limit.measure,
        used=in_units(used, limit.measure),
        allowed=in_units(allowed, limit.measure),
        resets_at=resets_at,
        sentence=f"{share} % of {what} {verb} used. {_back(limit, resets_at, now)}",
    )


def state(limit: Limit, who: Who, span: Span, used: int, allowed: int | None, now: float) -> str:
    """Return how somebody stands; ``allowed`` is ``None`` if that is unlimited."""
    if allowed is None:
        return f"{amount(used, limit.measure)} used, and no limit."
    what = _what(limit, who, amount(allowed, limit.measure))
    left = amount(max(0, allowed - used), limit.measure)
    return f"Of {what}, {left} are left. {_back(limit, resets(span, now), now)}"


def unchecked() -> Refusal:
    """Return the refusal while nobody knows what was used."""
    return Refusal(
        limit=UNKNOWN,
        measure="requests",
        used=Decimal(0),
        allowed=Decimal(0),
        resets_at=None,
        retry_after=_AGAIN_SECONDS,
        sentence="What you may use cannot be looked up now. Please try again in a moment.",
    )


def resets(span: Span, now: float) -> float:
    """Return when something is back (Unix time); of a rolling window, the first that may be."""
    if span.end is not None:
        return span.end
    return (int(now) // HOUR_SECONDS + 1) * HOUR_SECONDS


def amount(value: int, measure: str) -> str:
    """Return an amount as people read it: ``100,000 tokens``, ``5.00 USD``."""
    units = in_units(value, measure)
    if measure == COST:
        digits = 2 if units >= 1 or units == round(units, 2) else 4
        return f"{units:,.{digits}f} USD"
    noun = measure.replace("_", " ")
    return f"{units:,f} {noun[:-1] if value == 1 else noun}"


def moment(when: float, zone: str, now: float) -> str:
    """Return a moment as people read it, without a day if it is within the next one."""
    at = datetime.fromtimestamp(when, ZoneInfo(zone))
    day = "" if when - now <= DAY_SECONDS else f" on {at.day} {_MONTHS[at.month - 1]}"
    return f"at {at:%H:%M}{day} ({zone})"


def _used_up(limit: Limit, who: Who, used: int, allowed: int, needs: int) -> str:
    what = _what(limit, who, amount(allowed, limit.measure))
    if not allowed:
        return f"{what[0].upper()}{what[1:]}: nothing is allowed."
    if used < allowed and needs:
        left = amount(allowed - used, limit.measure)
        return f"Of {what}, {left} are left, and this needs about {needs:,}."
    if limit.shared:
        verb = "is" if limit.measure == COST else "are"
        return f"{what[0].upper()}{what[1:]} {verb} used."
    return f"You have used {what}."


def _what(limit: Limit, who: Who, told: str) -> str:
    span = _SPANS.get(limit.window.per) or f"of the last {limit.window.hours} hours"
    if limit.window.hours == 1:
        span = "of the last hour"
    models = f" of {', '.join(limit.models)}" if limit.models else ""
    if not limit.shared:
        return f"your {told}{models} {span}"
    owner = {GROUP: f" of {who.name}", EVERYONE: " of everyone"}.get(who.kind, "")
    return f"the {told}{models}{owner} {span}"


def _back(limit: Limit, resets_at: float, now: float) -> str:
    # By this end, `screens/menu.js` knows a refusal in a chat.
    when = moment(resets_at, limit.window.zone, now)
    subject = "It is" if limit.measure == COST else "They are"
    if limit.window.is_rolling:
        return f"Some may be back {when}."
    return f"{subject} back {when}."
