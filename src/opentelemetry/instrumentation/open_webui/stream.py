"""Reading an answer as it passes: in any pieces, with constant memory, parsing what can speak.

:class:`StreamReader` reads lines (SSE or NDJSON), :class:`BodyReader` one message; both change
nothing. :class:`UsageFilter` takes out the event that is there only because we asked for usage.
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
from .wires import USAGE_ENDING, Message, Wire, is_usage_only

# A line longer than this is not kept whole: a provider's mistake must not take our memory.
_LONGEST_LINE: Final = 1 << 20
# What is kept of such a line: usage stands at the end of the messages that can be so long.
_KEPT_OF_LONG_LINE: Final = 1 << 16
# Ollama's counts stand at the end of its answer.
_OLLAMA_TAIL: Final = 1024
_OLLAMA_COUNTS: Final = re.compile(r'"(prompt_eval_count|eval_count)":\s*(\d{1,15})\b')

# Lines kept of what is said, to estimate the tokens of a stream by, if it reports none.
_KEPT_LINES: Final = 32
_LONGEST_KEPT: Final = 4096

# No message is shorter than its braces and the newline.
_SHORTEST_LINE: Final = 2
_LONGEST_END: Final = 32
# What only reports usage has no choices.
_NO_CHOICE: Final = re.compile(rb'"choices":\s*\[\s*\]')
_DATA: Final = ord("d")
_BRACE: Final = ord("{")


class StreamReader:
    """Reads a stream of lines (SSE or NDJSON) as it passes, in any pieces."""

    __slots__ = (
        "_clipped",
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
        self._rest = b""
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
        if len(self._rest) > _SHORTEST_LINE:
            rest, self._rest = self._rest, b""
            self._line(rest)
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
        *lines, rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if len(line) > _SHORTEST_LINE:
                self._line(line)
            self._clipped = False
        if len(rest) > _LONGEST_LINE:
            rest, self._clipped = rest[-_KEPT_OF_LONG_LINE:], True
        self._rest = rest

    def _line(self, line: bytes) -> None:
        # Comments, and the other fields of an event stream, carry no message.
        if line[0] != _DATA and line[0] != _BRACE and not self._clipped:
            return
        # The end of an event stream is a short line of its own.
        if len(line) < _LONGEST_END and b"[DONE]" in line:
            self.answer.complete = True
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

    __slots__ = ("_kept", "_length", "answer", "chunks", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.answer = Answer()
        self.chunks = 0
        self._kept: list[bytes] = []
        self._length = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self._kept.append(piece)
        self._length += len(piece)
        if self._length > self.wire.longest and len(self._kept) > 1:
            self._kept = [b"".join(self._kept)[-_KEPT_OF_LONG_LINE:]]

    def finish(self) -> Answer:
        """Take the end of the body."""
        body = b"".join(self._kept)
        message = salvage(body) if self._length > self.wire.longest else _parsed(body)
        answer = read_message(self.wire, message or {})
        if self._length > self.wire.longest and not answer.reports.total():
            answer.text = Text(size=self._length)
        return answer


class UsageFilter:
    """Takes the events that only report usage out of a stream, for who did not ask for them.

    What is left stays byte for byte what it was. The beginning of a line is held back until its end
    is there: no client could read it before.
    """

    __slots__ = ("_dropped", "_held")

    def __init__(self) -> None:
        self._held = b""
        self._dropped = False

    def feed(self, piece: bytes) -> bytes:
        """Return what of the stream may go on, now that this piece has come."""
        # Runs for every chunk, most of which are whole lines without the word.
        whole = not self._held and not self._dropped and piece.endswith(b"\n")
        if whole and (b'"usage"' not in piece or _NO_CHOICE.search(piece) is None):
            return piece
        data = self._held + piece
        end = data.rfind(b"\n") + 1
        if len(data) - end > _LONGEST_LINE:
            end = len(data)
        self._held = data[end:]
        return self._kept(data[:end])

    def finish(self) -> bytes:
        """Return what is left at the end of the stream."""
        held, self._held = self._held, b""
        return self._kept(held)

    def _kept(self, data: bytes) -> bytes:
        return b"".join(line for line in data.splitlines(keepends=True) if self._keeps(line))

    def _keeps(self, line: bytes) -> bool:
        # The blank line that ends a dropped event goes with it.
        if self._dropped and not line.strip(b"\r\n"):
            self._dropped = False
            return False
        message = message_of(line) if b'"usage"' in line else None
        self._dropped = message is not None and is_usage_only(message)
        return not self._dropped


def message_of(line: bytes) -> Message | None:
    """Return the message in a line of an event stream or of NDJSON, if there is one."""
    start = line.find(b"{")
    # Anything but `data:` before the brace is a comment or another field of the event stream.
    if start < 0 or line[:start].strip() not in (b"", b"data:"):
        return None
    return _parsed(line[start:])


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
