"""Taking over, once, what Open WebUI had stored before the ledger: the answers in its chats.

It is what Open WebUI's own pages counted until then, with what it stored of their usage: less than
the truth (no API calls, no titles, no deleted chats), and marked as ``imported``.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, bindparam, inspect, text

from .. import ids
from ..answers.billed import billed_of
from ..answers.usage import count
from ..bounds import text_or_none
from ..names import CHAT_TASK, COST_FROM_PROVIDER, OTHER, SYSTEM_USER
from . import facts
from .booking import Booking, nano
from .place import Host
from .store import Store

_AT_ONCE: Final = 200
_NEXT: Final = 0.02
# Seconds for which nobody else goes on where a process has begun.
_LEASE: Final = 60.0
_UNKNOWN: Final = "unknown"
_TABLE: Final = "chat_message"
_COLUMNS: Final = frozenset(
    ("id", "chat_id", "user_id", "role", "model_id", "usage", "error", "created_at")
)
_MESSAGES: Final = text(
    "SELECT id, chat_id, user_id, model_id, usage, error, created_at FROM chat_message"
    " WHERE role = 'assistant' AND id > :after ORDER BY id LIMIT :most"
)
_MEMBERS: Final = text(
    'SELECT m.user_id, g.id, g.name FROM group_member m JOIN "group" g ON g.id = m.group_id'
    " WHERE m.user_id IN :users ORDER BY g.name"
).bindparams(bindparam("users", expanding=True))
# As Open WebUI has it: what is greater are milliseconds.
_MOST_SECONDS: Final = 10_000_000_000
_INPUT: Final = ("input_tokens", "prompt_tokens", "prompt_eval_count")
_OUTPUT: Final = ("output_tokens", "completion_tokens", "eval_count")


class Claim(NamedTuple):
    """What is left for who has claimed it."""

    after: str
    """The last message that was taken over."""
    made: int
    """When the ledger was made: Unix time in milliseconds."""


class Import:
    """The import, as one process does its part of it.

    Args:
        host: Returns what Open WebUI says of itself.
    """

    def __init__(self, host: Callable[[], Host]) -> None:
        self._host = host
        self._me = f"{os.getpid()}-{uuid.uuid4().hex}"

    def step(self, store: Store) -> float | None:
        """Take over some messages; return the seconds until the next step, or ``None``."""
        engine = self._host().engine
        if engine is None:
            return None
        claimed = self._claim(store)
        if not isinstance(claimed, Claim):
            return claimed
        after, made = claimed
        with engine.connect() as connection:
            if not _has_messages(connection):
                return None
            rows = connection.execute(_MESSAGES, {"after": after, "most": _AT_ONCE}).all()
            members = _memberships(connection, sorted({row.user_id or "" for row in rows}))
        store.numbers.group_ids.update(
            (name, group_id) for its in members.values() for group_id, name in its
        )
        before = [row for row in rows if _milliseconds(row.created_at) < made]
        store.write([_booking(row, members.get(row.user_id, ())) for row in before])
        self._went_on(store, rows[-1].id if rows else after, is_done=len(rows) < _AT_ONCE)
        return _NEXT if len(rows) == _AT_ONCE else None

    def _claim(self, store: Store) -> Claim | float | None:
        """Return where to go on; the seconds for which somebody else does it; ``None`` if done.

        Nothing is lost if two should do it at once: a message has the same id each time.
        """
        with store.database.writing() as connection:
            if facts.read(connection, facts.IMPORTED):
                return None
            state = json.loads(facts.read(connection, facts.IMPORTING) or "{}")
            now = time.time()
            # A clock that was wrong may have left a time that is too far off.
            is_held = now < state.get("until", 0) <= now + _LEASE
            if is_held and state.get("by") != self._me:
                return _LEASE
            after = str(state.get("after", ""))
            self._note(connection, after)
            return Claim(after, facts.number(connection, facts.CREATED))

    def _went_on(self, store: Store, after: str, *, is_done: bool) -> None:
        with store.database.writing() as connection:
            self._note(connection, after)
            if is_done:
                facts.write(connection, facts.IMPORTED, int(time.time()))

    def _note(self, connection: Connection, after: str) -> None:
        state = {"after": after, "by": self._me, "until": time.time() + _LEASE}
        facts.write(connection, facts.IMPORTING, json.dumps(state))


def _has_messages(connection: Connection) -> bool:
    """Whether this version of Open WebUI keeps messages in a table; it does since 0.7."""
    seen = inspect(connection)
    if not seen.has_table(_TABLE):
        return False
    return {column["name"] for column in seen.get_columns(_TABLE)} >= _COLUMNS


def _memberships(
    connection: Connection, user_ids: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    """Return the groups that users are in now; in which they were then, nobody knows."""
    found: dict[str, list[tuple[str, str]]] = {}
    if user_ids and inspect(connection).has_table("group_member"):
        for user_id, group_id, name in connection.execute(_MEMBERS, {"users": user_ids}):
            told = text_or_none(name)
            if told is not None:
                found.setdefault(user_id, []).append((group_id, told))
    return found


def _booking(row: Row[Any], groups: Sequence[tuple[str, str]]) -> Booking:
    usage = _object(row.usage)
    model = text_or_none(row.model_id) or _UNKNOWN
    tokens_in, tokens_out = _first(usage, _INPUT), _first(usage, _OUTPUT)
    charged = billed_of(usage, {}).charged
    seed = hashlib.blake2b(str(row.id).encode("utf-8", "replace"), digest_size=16).digest()
    return Booking(
        id=ids.made_of(_milliseconds(row.created_at), seed),
        parent=None,
        user_id=text_or_none(row.user_id) or SYSTEM_USER,
        user_name=None,
        groups=tuple(name for _, name in groups),
        source="ui",
        auth="session",
        route=None,
        task=CHAT_TASK,
        operation="chat",
        provider=_UNKNOWN,
        model=model,
        picked=model,
        chat=text_or_none(row.chat_id),
        duration=0,
        first_chunk=None,
        input=tokens_in,
        output=tokens_out,
        cache_read=_detail(usage, "cached_tokens", "prompt_tokens_details", "input_tokens_details"),
        cache_write=None,
        reasoning=_detail(
            usage, "reasoning_tokens", "completion_tokens_details", "output_tokens_details"
        ),
        estimated=0,
        units=None,
        cost=None if charged is None else nano(charged),
        price_source=None if charged is None else COST_FROM_PROVIDER,
        unpriced=charged is None and bool(tokens_in or tokens_out),
        error=OTHER if _object(row.error) or _is_text(row.error) else None,
        trace=None,
        imported=True,
    )


def _milliseconds(created_at: object) -> int:
    seconds = created_at if isinstance(created_at, int) else 0
    return seconds if seconds > _MOST_SECONDS else seconds * 1000


def _object(value: object) -> dict[str, Any]:
    """Return an object of JSON, which SQLite gives as a text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value not in ("", "null", '""')


def _first(usage: Mapping[str, Any], names: Sequence[str]) -> int | None:
    return next((found for name in names if (found := count(usage.get(name))) is not None), None)


def _detail(usage: Mapping[str, Any], name: str, *places: str) -> int | None:
    return next(
        (
            found
            for place in places
            if isinstance(details := usage.get(place), dict)
            and (found := count(details.get(name))) is not None
        ),
        None,
    )
