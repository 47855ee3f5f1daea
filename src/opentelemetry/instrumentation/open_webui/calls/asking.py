"""Asking for the usage of a stream, and taking out of it exactly what that brought.

Whoever did not ask gets the stream that would have come without us. What asking brings differs
between providers: a chunk of its own (with no choice, with an empty one, or without the word),
numbers on a chunk that comes anyway, and ``"usage": null`` on all the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ..answers.stream import LONGEST_LINE, parsed
from ..guard import guarded

_OPTION: Final = '"stream_options":{"include_usage":true}'
_NAME: Final = "usage"
_QUOTED: Final = b'"usage"'
_DATA: Final = b"data:"
# Bytes of an event that are held back; one that only reports usage has a few hundred.
_LONGEST_EVENT: Final = 1 << 16
# Fields that say something of the event whose data follows.
_FIELDS: Final = (b"event:", b"id:", b"retry:")
_EVENT_ENDS: Final = (b"\n\n", b"\r\n\r\n")
# The last brace of a message is its own, so what stands before it is no part of something inside.
_NULL_AT_END: Final = (b',"usage":null}', b', "usage": null}')
# How most events of a stream end whose chunks say it.
_NULL_EVENT: Final = _NULL_AT_END[0] + b"\n\n"
# What all chunks of a stream say, and what is said of its cost: nothing that a reader waits for.
_ENVELOPE: Final = frozenset((
    "id", "object", "created", "model", "provider", "system_fingerprint", "service_tier",
    "obfuscation", "choices", "usage", "cost",
))  # fmt: skip
_OF_A_CHOICE: Final = frozenset(("index", "role"))
_DECODER: Final = json.JSONDecoder(strict=False)
_SPACE: Final = " \t\r\n"


def may_ask(payload: Mapping[str, Any]) -> bool:
    """Whether the option can be put into a request: it is not there, and nothing is in its way."""
    options = payload.get("stream_options") or {}
    return isinstance(options, dict) and options.get("include_usage") is not True


@guarded
def asking(body: str | bytes, payload: Mapping[str, Any]) -> str | bytes:
    """Return the body with the option; the rest of it stays byte for byte what it was."""
    if "stream_options" in payload:
        options = {**(payload["stream_options"] or {}), "include_usage": True}
        return json.dumps({**payload, "stream_options": options})
    text = body if isinstance(body, str) else body.decode()
    brace = text.index("{") + 1
    return f"{text[:brace]}{_OPTION},{text[brace:]}"


class UsageFilter:
    """Takes out of an event stream what is there only because we asked for usage.

    What is left stays byte for byte what it was. The beginning of a line is held back until its end
    is there: no client could read it before.

    Args:
        nulls: Whether chunks say ``"usage": null`` unasked, too.
    """

    __slots__ = (
        "_dropped", "_fields", "_held", "_nulls", "_size", "_spread", "_spread_size", "_waits",
        "cuts_nulls",
    )  # fmt: skip

    def __init__(self, nulls: bool = False) -> None:
        self._nulls = nulls
        self._held: list[bytes] = []
        self._size = 0
        self._fields = b""
        self._spread: list[bytes] = []
        self._spread_size = 0
        self._dropped = False
        self._waits = False
        """Whether what comes next is looked at in the light of what has come."""
        self.cuts_nulls = not nulls
        """Whether of an event that comes next a null at its end is taken out, whatever it says."""

    def feed(self, piece: bytes) -> bytes:
        """Return what of the stream may go on, now that this piece has come."""
        # Most are whole events without the word, or with a null that comes unasked, too.
        if not self._waits and piece.endswith(_EVENT_ENDS):
            rest = piece.removesuffix(_NULL_EVENT) if self._nulls else piece
            # (`in` would cost three times what `rfind` does.)
            if rest.rfind(_QUOTED) < 0:
                return piece
        return self._sort(piece)

    def _sort(self, piece: bytes) -> bytes:
        self._waits = True
        kept = self._feed(piece)
        self._waits = bool(self._held or self._fields or self._spread or self._dropped)
        self.cuts_nulls = not (self._nulls or self._waits)
        return kept

    def _feed(self, piece: bytes) -> bytes:
        if b"\n" not in piece and b"\r" not in piece:
            return self._hold(piece)
        data = b"".join((*self._held, piece))
        end = _end_of_lines(data)
        self._held, self._size = [data[end:]] if end < len(data) else [], len(data) - end
        return self._kept(data[:end])

    def finish(self) -> bytes:
        """Return what is left at the end of the stream."""
        held, self._held = b"".join(self._held), []
        kept = self._kept(held)
        left = b"".join((*self._spread, self._fields))
        self._fields, self._spread = b"", []
        return kept + left

    def _hold(self, piece: bytes) -> bytes:
        self._held.append(piece)
        self._size += len(piece)
        if self._size <= LONGEST_LINE:
            return b""
        held, self._held, self._size = b"".join(self._held), [], 0
        return held

    def _kept(self, data: bytes) -> bytes:
        return b"".join(map(self._line, data.splitlines(keepends=True)))

    def _line(self, line: bytes) -> bytes:
        if self._spread:
            return self._continued(line)
        if _is_begun(line):
            self._spread, self._fields = [self._fields, line], b""
            self._spread_size = len(line)
            return b""
        if line.startswith(_FIELDS) and len(self._fields) < _LONGEST_EVENT:
            self._fields += line
            return b""
        kept: bytes | None = line
        if line.startswith(_DATA):
            kept = self._without_usage(line) if _QUOTED in line else line
            self._dropped = kept is None
        elif self._dropped and not line.strip(b"\r\n"):
            # The blank line that ends a dropped event goes with it.
            self._dropped, kept = False, None
        fields, self._fields = self._fields, b""
        return b"" if kept is None else fields + kept

    def _continued(self, line: bytes) -> bytes:
        """Take a line of an event whose message is written over several."""
        self._spread.append(line)
        self._spread_size += len(line)
        ends = not line.strip(b"\r\n")
        if not ends and self._spread_size < _LONGEST_EVENT:
            return b""
        lines, self._spread = self._spread, []
        data = (one[len(_DATA) :] for one in lines if one.startswith(_DATA))
        message = parsed(b"".join(data)) if ends else None
        return b"" if message is not None and only_reports(message) else b"".join(lines)

    def _without_usage(self, line: bytes) -> bytes | None:
        body = line.rstrip(b"\r\n \t")
        for end in _NULL_AT_END:
            if body.endswith(end):
                return line if self._nulls else body[: -len(end)] + b"}" + line[len(body) :]
        message = parsed(body[len(_DATA) :])
        if message is None or _NAME not in message:
            return line
        if only_reports(message):
            return None
        if self._nulls and message[_NAME] is None:
            return line
        return _cut(line, instead="null" if self._nulls else None)


def only_reports(message: Mapping[str, Any]) -> bool:
    """Whether a chunk says nothing but its usage, and would not have come without being asked."""
    if not message.get(_NAME):
        return False
    if any(value and name not in _ENVELOPE for name, value in message.items()):
        return False
    choices = message.get("choices") or ()
    return isinstance(choices, (list, tuple)) and not any(map(_says_something, choices))


def _is_begun(line: bytes) -> bool:
    """Whether a line of data is the beginning of an object, and not all of it."""
    if not line.startswith(_DATA):
        return False
    data = line[len(_DATA) :].strip()
    return data.startswith(b"{") and not data.endswith(b"}")


def _says_something(value: object) -> bool:
    if not isinstance(value, dict):
        return bool(value)
    return any(_says_something(inner) for name, inner in value.items() if name not in _OF_A_CHOICE)


def _end_of_lines(data: bytes) -> int:
    # Whether a carriage return at the end is all of its line's end is not known yet.
    known = data[:-1] if data.endswith(b"\r") else data
    return max(known.rfind(b"\n"), known.rfind(b"\r")) + 1


def _cut(line: bytes, instead: str | None) -> bytes:
    """Take the member `usage` out of the object in a line, or put something in its place."""
    text = line.decode("utf-8", "surrogateescape")
    start = at = text.index("{") + 1
    while True:
        named_at = _after_space(text, at)
        name, colon = _DECODER.raw_decode(text, named_at)
        value_at = _after_space(text, _after_space(text, colon) + 1)
        _, end = _DECODER.raw_decode(text, value_at)
        comma = _after_space(text, end)
        if name == _NAME:
            break
        at = comma + 1
    if instead is not None:
        text = text[:value_at] + instead + text[end:]
    elif text[comma] == ",":
        text = text[:named_at] + text[_after_space(text, comma + 1) :]
    else:
        text = text[: max(start, at - 1)] + text[end:]
    return text.encode("utf-8", "surrogateescape")


def _after_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
