"""Reading an answer as it passes: in any pieces, with constant memory, parsing what can speak.

:class:`StreamReader` reads lines (SSE or NDJSON), :class:`BodyReader` one message. Both change
nothing.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, Final

from . import estimates
from .estimates import Text, spoken, utf8_size
from .fast_json import loads
from .usage import Answer, dropped
from .wires import USAGE_ENDING, Message, Wire

# A line longer than this is not kept whole: a provider's mistake must not take our memory.
LONGEST_LINE: Final = 1 << 20
# What is kept of such a line: usage stands at the end of the messages that can be so long.
_KEPT_OF_LONG_LINE: Final = 1 << 16
# Ollama's counts stand at the end of its answer.
_OLLAMA_TAIL: Final = 1024
_OLLAMA_COUNTS: Final = re.compile(r'"(prompt_eval_count|eval_count)":\s*(\d{1,15})\b')

# Lines kept of what is said, to estimate the tokens of a stream by, if it reports none.
_KEPT_LINES: Final = 32
_LONGEST_KEPT: Final = 4096

_ERROR_EVENT: Final = re.compile(rb"(?::[^\r\n]*[\r\n]+)*event:\s*error\b")

# No message is shorter than its braces and the newline.
_SHORTEST_LINE: Final = 2
_LONGEST_END: Final = 32
_DATA: Final = ord("d")
_BRACE: Final = ord("{")


class StreamReader:
    """Reads a stream of lines (SSE or NDJSON) as it passes, in any pieces."""

    __slots__ = (
        "_clipped",
        "_held",
        "_kept",
        "_rest",
        "_said",
        "_size",
        "_started",
        "answer",
        "chunks",
        "wire",
    )

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.answer = Answer()
        self.chunks = 0
        """Lines that carried a message."""
        self._rest: list[bytes] = []
        self._held = 0
        self._clipped = False
        self._started = False
        self._kept: list[bytes] = []
        self._said = 0
        self._size = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        # Runs for every chunk, most of which are one quiet event and end here.
        event = piece.rstrip(b"\r\n")
        single = not self._rest and event.find(b"\n") < 0 and len(event) < len(piece)
        if not single:
            self._pieces(piece)
        elif (
            self._started
            and event.endswith(self.wire.quiet)
            and event.find(b'"usage"', 0, -USAGE_ENDING) < 0
        ):
            self.chunks += 1
            # As in `_note`, which would cost a call.
            self._said += 1
            self._size += len(event)
            if self._said <= _KEPT_LINES and len(event) <= _LONGEST_KEPT:
                self._kept.append(event)
        elif len(event) > 1:
            self._line(event)

    def finish(self) -> Answer:
        """Take the end of the stream: its last line may lack the newline."""
        rest = b"".join(self._rest)
        self._rest.clear()
        if len(rest) > _SHORTEST_LINE:
            self._line(rest)
        self.answer.nulls = any(blank in line for line in self._kept for blank in self.wire.blank)
        if self.answer.reports.total().output is None:
            self.answer.text = streamed_text(self._kept, self._said, self._size)
        return self.answer

    def _note(self, line: bytes) -> None:
        """Count a line that may carry a piece of what is said, and keep the first ones."""
        self._said += 1
        self._size += len(line)
        if self._said <= _KEPT_LINES and len(line) <= _LONGEST_KEPT:
            self._kept.append(line)

    def _pieces(self, piece: bytes) -> None:
        if b"\n" not in piece:
            self._hold(piece)
            return
        *lines, rest = b"".join((*self._rest, piece)).split(b"\n")
        for line in lines:
            if len(line) > _SHORTEST_LINE:
                self._line(line)
            self._clipped = False
        self._rest.clear()
        self._held = 0
        if rest:
            self._hold(rest)

    def _hold(self, part: bytes) -> None:
        # Joined when its end is there: a long line may come in very many parts.
        self._rest.append(part)
        self._held += len(part)
        if self._held > LONGEST_LINE:
            self._rest = [b"".join(self._rest)[-_KEPT_OF_LONG_LINE:]]
            self._held, self._clipped = _KEPT_OF_LONG_LINE, True

    def _line(self, line: bytes) -> None:
        # Comments, and the other fields of an event stream, carry no message.
        if line[0] != _DATA and line[0] != _BRACE and not self._clipped:
            return
        # The end of an event stream is a short line of its own.
        if len(line) < _LONGEST_END and b"[DONE]" in line:
            self.answer.complete = self.answer.closed = True
            return
        self.chunks += 1
        if self.wire.spoken in line:
            self._note(line)
        if not self._started or self._speaks(line):
            self._parse(line)

    def _speaks(self, line: bytes) -> bool:
        # Runs for every chunk: a plain loop, because a generator costs more than the searches.
        wire = self.wire
        for sign in wire.signs:
            if sign in line:
                return True
        if b'"usage"' not in line:
            return False
        for blank in wire.blank:
            if blank in line:
                return False
        return True

    def _parse(self, line: bytes) -> None:
        message = salvage(line) if self._clipped else message_of(line)
        if message is not None:
            self._started = True
            self.wire.read(message, self.answer)


class BodyReader:
    """Reads an answer that is one message, in however many pieces it comes."""

    __slots__ = ("_held", "_kept", "_length", "answer", "chunks", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.answer = Answer()
        self.chunks = 0
        self._kept: list[bytes] = []
        self._held = 0
        self._length = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self._kept.append(piece)
        self._length += len(piece)
        self._held += len(piece)
        # Cut once in a while only: each cut copies what is kept.
        if self._length > self.wire.longest and self._held > 2 * _KEPT_OF_LONG_LINE:
            self._kept = [b"".join(self._kept)[-_KEPT_OF_LONG_LINE:]]
            self._held = _KEPT_OF_LONG_LINE

    def finish(self) -> Answer:
        """Take the end of the body."""
        body = b"".join(self._kept)
        message = salvage(body) if self._length > self.wire.longest else _parsed(body)
        answer = read_message(self.wire, message or {})
        if self._length > self.wire.longest and not answer.reports.total():
            answer.text = Text(size=self._length)
        return answer


def message_of(line: bytes) -> Message | None:
    """Return the message in a line of an event stream or of NDJSON, if there is one."""
    start = line.find(b"{")
    # Anything but `data:` before the brace is a comment or another field of the event stream.
    if start < 0 or line[:start].strip() not in (b"", b"data:"):
        return None
    return _parsed(line[start:])


def first_message(beginning: bytes) -> Message | None:
    """Return the first message of a stream, or the only one of a body, if it is whole already."""
    messages = map(message_of, beginning.splitlines())
    return next((message for message in messages if message is not None), None)


def begins_with_error(wire: Wire, beginning: bytes) -> bool:
    """Whether a stream begins with an error, or a body is one."""
    message, answer = first_message(beginning), Answer()
    if message is None:
        return False
    wire.read(message, answer)
    return answer.error is not None or _ERROR_EVENT.match(beginning) is not None


def _parsed(text: bytes) -> Message | None:
    try:
        message = loads(text)
    except (ValueError, RecursionError):
        if b'"usage"' in text:
            dropped("usage in a message that is no JSON", text)
        return None
    return message if isinstance(message, dict) else None


def salvage(text: bytes) -> Message | None:
    """Read the usage at the end of a text that is not parsed as a whole."""
    tail = text[-_KEPT_OF_LONG_LINE:].decode("utf-8", "replace")
    found: dict[str, Any] = {
        name: int(value) for name, value in _OLLAMA_COUNTS.findall(tail[-_OLLAMA_TAIL:])
    }
    brace = tail.find("{", tail.rfind('"usage"'))
    if '"usage"' in tail and brace >= 0:
        with suppress(ValueError):
            found["usage"], _ = json.JSONDecoder().raw_decode(tail[brace:])
    return found or None


def read_message(wire: Wire, message: Message) -> Answer:
    """Read an answer that came in one piece and is parsed already."""
    answer = Answer()
    wire.read(message, answer)
    answer.complete = True
    if not answer.reports.total():
        answer.text = estimates.of_answer(message)
    return answer


def streamed_text(lines: list[bytes], count: int, size: int) -> Text:
    """Measure what a stream said, by its first lines and the size of all.

    A line is an envelope, which is the same in all lines of a stream, around a piece of the text.

    Args:
        lines: The first lines.
        count: How many lines there were.
        size: Bytes of all lines.
    """
    pieces = ["".join(spoken(message_of(line) or {})) for line in lines]
    sample = "".join(pieces)
    known, rest = utf8_size(sample), count - len(lines)
    if rest <= 0 or not sample:
        return Text(known, sample)
    written = [_written(line, piece) for line, piece in zip(lines, pieces, strict=True)]
    envelopes = sorted(len(line) - at for line, at in zip(lines, written, strict=True) if at)
    envelope = envelopes[len(envelopes) // 2]
    # JSON may write a character in more bytes than UTF-8 does.
    tightness = known / sum(written)
    left = size - sum(map(len, lines)) - envelope * rest
    return Text(known + max(0, round(left * tightness)), sample)


def _written(line: bytes, piece: str) -> int:
    """Bytes of a piece of text as it stands in a line."""
    return len(json.dumps(piece, ensure_ascii=b"\\u" in line).encode()) - 2
