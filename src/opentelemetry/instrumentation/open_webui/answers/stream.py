"""Reading an answer as it passes: in any pieces, with constant memory, parsing what can speak.

:class:`StreamReader` reads lines (SSE or NDJSON), :class:`BodyReader` one message. Both change
nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from . import errors, estimates
from .answer import Answer
from .estimates import Text, spoken, utf8_size
from .fast_json import Message, loads
from .usage import dropped
from .wires import USAGE_ENDING, Wire, error_of

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

# Bytes that are read at once, and what a piece of them takes beside its own.
_AT_ONCE: Final = 1 << 14
_PER_PIECE: Final = 40
_USAGE: Final = b'"usage"'
_ERROR: Final = b'"error"'
# Some say with each message that there is none.
_TOLD_ERROR: Final = re.compile(rb'"error"\s*:\s*[^n\s]')

_EVENT_STREAM: Final = "text/event-stream"
_JSON: Final = "application/json"
_LINES: Final = frozenset(("application/x-ndjson", "application/jsonl", "application/x-jsonlines"))
_ERROR_EVENT: Final = re.compile(rb"(?::[^\r\n]*[\r\n]+)*event:\s*error\b")

# No message is shorter than its braces and the newline.
_SHORTEST_LINE: Final = 2
_LONGEST_END: Final = 32
# What may stand before a line: spaces, and the mark of its encoding before the first.
_BLANK: Final = b" \t\xef\xbb\xbf"
_ODD_STARTS: Final = frozenset(_BLANK)
_BEFORE: Final = _BLANK + b"\r\n"
# Bytes of a message that is written over several lines: it is held until its event ends.
_LONGEST_SPREAD: Final = 1 << 16
# How an event stream begins.
_EVENTS: Final = (b"data:", b"event:", b":", b"id:", b"retry:", b"error:")


class StreamReader:
    """Reads a stream of lines (SSE or NDJSON) as it passes, in any pieces."""

    __slots__ = (
        "_clipped",
        "_failing",
        "_held",
        "_kept",
        "_parted",
        "_parts",
        "_pieces",
        "_rest",
        "_said",
        "_size",
        "_spread",
        "_started",
        "_unread",
        "answer",
        "chunks",
        "wire",
    )

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.answer = Answer()
        self.chunks = 0
        """Lines that carried a message."""
        self._pieces: list[bytes] = []
        self._unread = 0
        self._rest: list[bytes] = []
        self._held = 0
        self._clipped = False
        self._started = False
        self._failing = False
        self._spread = False
        self._parts: list[bytes] = []
        self._parted = 0
        self._kept: list[bytes] = []
        self._said = 0
        self._size = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        # Nobody asks what it says before the end, so many are read at once.
        self._pieces.append(piece)
        self._unread += len(piece) + _PER_PIECE
        if self._unread > _AT_ONCE:
            self._read()

    def finish(self) -> Answer:
        """Take the end of the stream: its last line may lack the newline."""
        self._read()
        rest = b"".join(self._rest)
        self._rest.clear()
        self._line_or_end(rest)
        if self._parts:
            self._end_event()
        answer, reports = self.answer, self.answer.reports
        kept = b"\n".join(self._kept)
        answer.nulls = any(blank in kept for blank in self.wire.blank)
        if reports.needs_text or not (reports.known.output and reports.known.input):
            answer.text = streamed_text(self._kept, self._said, self._size)
        return answer

    def _read(self) -> None:
        """Read the pieces that have come."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._unread = 0
        if b"\n" not in data:
            self._hold(data)
            return
        data = b"".join((*self._rest, data))
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        self._rest.clear()
        self._held = 0
        end = data.rfind(b"\n") + 1
        self._read_whole(data[:end])
        if end < len(data):
            self._hold(data[end:])

    def _read_whole(self, data: bytes) -> None:
        """Read whole lines."""
        if _ERROR in data and _TOLD_ERROR.search(data):
            self._read_each(data.split(b"\n")[:-1])
        elif not (self._is_plain() and self._said >= _KEPT_LINES and self._count_quiet(data)):
            self._read_lines(data.split(b"\n")[:-1])

    def _hold(self, part: bytes) -> None:
        # Joined when its end is there: a long line may come in very many parts.
        self._rest.append(part)
        self._held += len(part)
        if self._held > LONGEST_LINE:
            self._rest = [b"".join(self._rest)[-_KEPT_OF_LONG_LINE:]]
            self._held, self._clipped = _KEPT_OF_LONG_LINE, True

    def _read_each(self, lines: list[bytes]) -> None:
        for line in lines:
            self._line_or_end(line)
            self._clipped = False

    def _read_lines(self, lines: list[bytes]) -> None:
        # Most lines of a stream are quiet, and stay in this loop.
        quiet, plain, said = self.wire.quiet, self._is_plain(), []
        for line in lines:
            if not line:
                if self._parts:
                    self._end_event()
                    plain = self._is_plain()
            elif plain and line.endswith(quiet) and line.rfind(_USAGE, 0, -USAGE_ENDING) < 0:
                said.append(line)
            else:
                self._note_quiet(said)
                said.clear()
                self._line_or_end(line)
                self._clipped = False
                plain = self._is_plain()
        self._note_quiet(said)

    def _count_quiet(self, data: bytes) -> bool:
        """Count lines without a look at each, if all are quiet and end alike, as most do."""
        newlines = b"\n\n" if data.endswith(b"\n\n") else b"\n"
        for quiet in self.wire.quiet:
            if data.endswith(quiet + newlines):
                count = data.count(quiet + newlines)
                size = len(newlines) * count
                if size != data.count(b"\n") or data.count(_USAGE) != quiet.count(_USAGE) * count:
                    return False
                self._count(count, len(data) - size)
                return True
        return False

    def _count(self, lines: int, size: int) -> None:
        """Count messages of which none is kept."""
        self.chunks += lines
        self._said += lines
        self._size += size

    def _is_plain(self) -> bool:
        """Whether each line is a message of the model's, and the first was read."""
        odd = self._failing or self._spread or self._parts or self._clipped
        return self._started and not odd and self.answer.error is None

    def _note_quiet(self, lines: list[bytes]) -> None:
        """Count lines of which each is a message that says nothing of itself."""
        if self._said < _KEPT_LINES:
            self.chunks += len(lines)
            for line in lines:
                self._note(line)
        else:
            self._count(len(lines), sum(map(len, lines)))

    def _note(self, line: bytes) -> None:
        """Count a line that may carry a piece of what is said, and keep the first ones."""
        self._said += 1
        self._size += len(line)
        if self._said <= _KEPT_LINES and len(line) <= _LONGEST_KEPT:
            self._kept.append(line)

    def _line_or_end(self, line: bytes) -> None:
        if len(line) >= _SHORTEST_LINE:
            self._line(line)
        elif self._parts:
            self._end_event()

    def _end_event(self) -> None:
        """Take it that an event ends whose message is written over several lines, or broken."""
        parts, self._parts, self._parted = self._parts, [], 0
        whole = b"\n".join(parts)
        message = parsed(whole) if len(parts) > 1 else None
        if message is not None:
            self.chunks -= len(parts) - 1
            self._take_spread(message, whole)
        elif _USAGE in whole:
            dropped("usage in a message that is no JSON", whole)

    def _take_spread(self, message: Message, whole: bytes) -> None:
        if not self._spread:
            # Until now each line was taken for a message.
            self._spread, self._said, self._size = True, 0, 0
            self._kept.clear()
        self._take(message)
        if self.answer.error is None:
            self._note(whole)

    def _line(self, line: bytes) -> None:
        if b"\r" in line and not self._clipped:
            self._lines(line)
            return
        if line[0] in _ODD_STARTS:
            line = line.lstrip(_BLANK)
        first = line[:1]
        if first != b"d" and first != b"{" and not self._clipped:
            self._field(line)
            return
        # The end of an event stream is a short line of its own.
        if len(line) < _LONGEST_END and b"[DONE]" in line:
            self.answer.complete = self.answer.closed = True
            return
        self.chunks += 1
        if not self._started or self._failing or self._spread or self._parts or self._speaks(line):
            self._parse(line)
        # What an error says, no model has said.
        if not self._spread and self.wire.spoken in line and self.answer.error is None:
            self._note(line)

    def _lines(self, text: bytes) -> None:
        """Take what a lone carriage return divides, as event streams may have it."""
        for line in text.splitlines():
            self._line_or_end(line)

    def _field(self, line: bytes) -> None:
        """Take another field of an event stream; comments and most fields say nothing.

        Source: the HTML standard, "Server-sent events"; llama.cpp's server has a field ``error``.
        """
        if line.startswith(b"event:"):
            self._failing = line[6:].strip() == b"error"
        elif line.startswith(b"error:"):
            self.answer.error = errors.of_answer(parsed(line[6:]))

    def _speaks(self, line: bytes) -> bool:
        # Runs for every chunk: a plain loop, because a generator costs more than the searches.
        wire = self.wire
        for sign in wire.signs:
            if sign in line:
                return True
        if _USAGE not in line:
            return False
        for blank in wire.blank:
            if blank in line:
                return False
        return True

    def _parse(self, line: bytes) -> None:
        message = salvage(line) if self._clipped else message_of(line)
        if message is not None:
            self._take(message)
            if self._spread and self.answer.error is None:
                self._note(line)
        elif line.startswith(b"data:") and self._parted + len(line) <= _LONGEST_SPREAD:
            self._parts.append(line[5:].strip())
            self._parted += len(line)

    def _take(self, message: Message) -> None:
        self._started = True
        self.wire.read(message, self.answer)
        if self._failing:
            self.answer.error = self.answer.error or errors.of_answer(message)
            self._failing = False


class BodyReader:
    """Reads an answer that is one message, in however many pieces it comes."""

    __slots__ = ("_head", "_kept", "_length", "chunks", "held", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.chunks = 0
        self._head = b""
        self._kept: list[bytes] = []
        self.held = 0
        """Bytes that are kept until the end."""
        self._length = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self._kept.append(piece)
        self._length += len(piece)
        self.held += len(piece)
        # Cut once in a while only: each cut copies what is kept.
        if self._length > self.wire.longest and self.held > 2 * _KEPT_OF_LONG_LINE:
            body = b"".join(self._kept)
            self._head = self._head or body[:_KEPT_OF_LONG_LINE]
            self._kept = [body[-_KEPT_OF_LONG_LINE:]]
            self.held = _KEPT_OF_LONG_LINE

    def finish(self) -> Answer:
        """Take the end of the body."""
        body = b"".join(self._kept)
        if self._length > self.wire.longest:
            return self._salvaged(body)
        messages = _messages(body)
        if messages is None:
            return self._lines(body)
        return read_messages(self.wire, messages)

    def _salvaged(self, body: bytes) -> Answer:
        # Usage stands at the end, or before what makes the answer long.
        found = salvage(body) or salvage(self._head or body[:_KEPT_OF_LONG_LINE]) or {}
        answer = read_messages(self.wire, [found])
        if not answer.reports.known:
            answer.text = Text(size=self._length)
        return answer

    def _lines(self, body: bytes) -> Answer:
        """Read what is no JSON: lines of it, a broken piece, or a text."""
        lines = StreamReader(self.wire)
        lines.feed(body + b"\n")
        answer = lines.finish()
        self.chunks = lines.chunks
        if not answer.reports.known and not answer.text:
            answer.text = Text(len(body), body[:_LONGEST_KEPT].decode("utf-8", "replace"))
        return answer


def reader_of(wire: Wire, kind: str, beginning: bytes, streams: bool) -> StreamReader | BodyReader:
    """Return what reads an answer, by its own form: whoever asked for a stream may get none.

    Args:
        wire: The wire format.
        kind: The media type that the answer says it has.
        beginning: Its first bytes.
        streams: Whether a stream was asked for.
    """
    start = beginning.lstrip(_BEFORE)
    if start.startswith(_EVENTS):
        return StreamReader(wire)
    if start[:1] in (b"{", b"["):
        streams = wire.in_lines and (streams or kind in _LINES)
    elif not start:
        streams = kind == _EVENT_STREAM or kind in _LINES or (streams and kind != _JSON)
    return StreamReader(wire) if streams else BodyReader(wire)


def message_of(line: bytes) -> Message | None:
    """Return the message in a line of an event stream or of NDJSON, if there is one."""
    start = line.find(b"{")
    # Anything but `data:` before the brace is a comment or another field of the event stream.
    if start < 0 or line[:start].strip(_BLANK) not in (b"", b"data:"):
        return None
    return parsed(line[start:])


def shows_itself(beginning: bytes) -> bool:
    """Whether the beginning of a stream, or of a body, tells what it is: words, or an error."""
    return any(error_of(one) or any(spoken(one)) for one in _first_messages(beginning))


def begins_with_error(wire: Wire, beginning: bytes) -> bool:
    """Whether a stream has an error before any word, or a body is one."""
    answer, message = Answer(), None
    for message in _first_messages(beginning):
        wire.read(message, answer)
        if answer.error is not None:
            return True
        if any(spoken(message)):
            return False
    return message is not None and _ERROR_EVENT.match(beginning) is not None


def _first_messages(beginning: bytes) -> Iterator[Message]:
    # Each is read when it is asked for: very many may have come at once.
    return (one for one in map(message_of, beginning.splitlines()) if one is not None)


def parsed(text: bytes) -> Message | None:
    """Return the object in a JSON text, if it is one."""
    try:
        message = loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _messages(body: bytes) -> list[Message] | None:
    """Return the message in a body, or those of a list; ``None`` if it is no JSON."""
    try:
        found = loads(body.lstrip(_BEFORE))
    except ValueError:
        return None if body.strip() else []
    if isinstance(found, list):
        return [message for message in found if isinstance(message, dict)]
    return [found] if isinstance(found, dict) else []


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
    return read_messages(wire, [message])


def read_messages(wire: Wire, messages: list[Message]) -> Answer:
    """Read an answer that is one message, or a list of such as a stream would have."""
    answer = Answer()
    for message in messages:
        wire.read(message, answer)
    answer.complete = True
    known = answer.reports.known
    if answer.reports.needs_text or not (known.output and known.input):
        answer.text = estimates.of_answer([one for one in messages if error_of(one) is None])
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
