"""What is booked of one ended call: a plain value, made where the call ends, in microseconds."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .. import ids
from ..bounds import MOST_SECONDS

if TYPE_CHECKING:
    from ..calls.call import ModelCall

NANO: Final = 1_000_000_000
"""Nano-USD in a USD."""
ESTIMATED_INPUT, ESTIMATED_OUTPUT = 1, 2
_MILLI: Final = 1000
_LONGEST: Final = int(MOST_SECONDS) * _MILLI
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID_BYTES: Final = 16
_MARK: Final = b"\0"


class Booking(NamedTuple):
    """One row of the ledger, before its texts have numbers.

    It may wait in a file for another version of this package: what is added has a default.
    """

    id: str
    """32 hexadecimal digits of a UUIDv7: when the call began."""
    parent: str | None
    user_id: str
    user_name: str | None
    groups: tuple[str, ...]
    """Names."""
    source: str
    auth: str
    route: str | None
    task: str
    operation: str
    provider: str
    model: str
    picked: str
    chat: str | None
    duration: int
    """Milliseconds, as the next one."""
    first_chunk: int | None
    input: int | None
    output: int | None
    cache_read: int | None
    cache_write: int | None
    reasoning: int | None
    estimated: int
    """1 if the input tokens are estimated, 2 if the output, 3 if both."""
    units: Mapping[str, float] | None
    """What was used beside tokens: see :class:`~..money.pricing.Bill`."""
    cost: int | None
    """Nano-USD."""
    price_source: str | None
    unpriced: bool
    error: str | None
    trace: str | None
    """32 hexadecimal digits; only of a trace that was recorded."""
    imported: bool = False


def of_call(call: ModelCall) -> Booking:
    """Book an ended call."""
    asked, caller, usage, guessed = call.asked, call.caller, call.usage, call.estimated
    cost = call.cost
    context = call.span.get_span_context()
    return Booking(
        call.id,
        call.parent_id,
        caller.user_id,
        caller.user_name,
        call.groups,
        caller.source,
        caller.auth,
        caller.route,
        caller.task,
        asked.operation,
        asked.provider,
        asked.model,
        caller.model_id or asked.model,
        caller.chat_id,
        min(int(call.duration * _MILLI), _LONGEST),
        None if call.first_chunk is None else min(int(call.first_chunk * _MILLI), _LONGEST),
        usage.input,
        usage.output,
        usage.cache_read,
        usage.cache_creation,
        usage.reasoning,
        (0 if guessed.input is None else ESTIMATED_INPUT)
        | (0 if guessed.output is None else ESTIMATED_OUTPUT),
        _units(call),
        None if cost is None else nano(cost.usd),
        None if cost is None else cost.source,
        call.unpriced,
        call.error,
        f"{context.trace_id:032x}" if context.trace_flags.sampled else None,
    )


def _units(call: ModelCall) -> dict[str, float] | None:
    answer = call.answer
    billed = answer.billed
    told: dict[str, float] = {} if billed is None else dict(billed.units)
    for unit, amount in (
        ("character", call.characters),
        ("image", call.images),
        ("second", answer.seconds),
        ("page", answer.pages),
    ):
        if amount:
            told[unit] = amount
    return told or None


def nano(usd: float) -> int:
    """Return an amount in nano-USD, the nearest there is."""
    return round(usd * NANO)


def milliseconds_of(booking: Booking) -> int:
    """Return when the call began (Unix time)."""
    return ids.milliseconds_of(bytes.fromhex(booking.id[:12]))


def packed_chat(chat: str | None) -> bytes | None:
    """Return a chat's id as it is kept: a UUID as its 16 bytes, any other as its text."""
    if chat is None:
        return None
    if _UUID.fullmatch(chat):
        return bytes.fromhex(chat.replace("-", ""))
    text = chat.encode("utf-8", "replace")
    return _MARK + text if len(text) == _UUID_BYTES else text


def unpacked_chat(kept: bytes | None) -> str | None:
    """Return the id of a chat that is kept so."""
    if kept is None:
        return None
    if len(kept) == _UUID_BYTES:
        return str(uuid.UUID(bytes=kept))
    return kept.removeprefix(_MARK).decode("utf-8", "replace")


def dumped(booking: Booking) -> str:
    """Return a booking as one line of JSON."""
    return json.dumps(booking._asdict(), separators=(",", ":"))


def loaded(line: str) -> Booking | None:
    """Return the booking of such a line; ``None`` if it is none, as the half of one."""
    try:
        told: dict[str, Any] = json.loads(line)
        booking = Booking(**{name: told[name] for name in Booking._fields if name in told})
        milliseconds_of(booking)
        return booking._replace(groups=tuple(booking.groups))
    except (ValueError, TypeError):
        return None
