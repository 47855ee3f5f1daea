"""What a provider's answer says about itself: tokens, model, id, why it ended.

Pure functions and value types. A :class:`Wire` is one wire format; :class:`StreamReader` reads a
streamed answer in whatever pieces it comes, with constant memory and without parsing the pieces
that cannot say anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .fast_json import loads
from .names import OTHER

Message = Mapping[str, Any]

# A line longer than this is not kept whole: a provider's mistake must not take our memory.
_LONGEST_LINE: Final = 1 << 20
# What is kept of such a line: usage stands at the end of the messages that can be so long.
_KEPT_OF_LONG_LINE: Final = 1 << 16
# Beyond it a number is a mistake, and no longer exact in JSON.
_HIGHEST_COUNT: Final = 1 << 53

# No message is shorter than its braces and the newline.
_SHORTEST_LINE: Final = 2
_LONGEST_END: Final = 32
_DATA: Final = ord("d")
_BRACE: Final = ord("{")

_ERROR_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; ``None`` where the provider said nothing.

    ``input`` includes what was read from or written to a cache, ``output`` includes reasoning, as
    the GenAI conventions define them.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_creation: int | None = None
    reasoning: int | None = None

    def __bool__(self) -> bool:
        return self.input is not None or self.output is not None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            *(_sum(mine, yours) for mine, yours in zip(self.counts(), other.counts(), strict=True))
        )

    def counts(self) -> tuple[int | None, ...]:
        """All counts, in the order of the fields."""
        return (self.input, self.output, self.cache_read, self.cache_creation, self.reasoning)

    def falls_below(self, other: Usage) -> bool:
        """Whether a count is lower than in ``other``: then these are not running totals."""
        return (self.input or 0) < (other.input or 0) or (self.output or 0) < (other.output or 0)


def _sum(one: int | None, two: int | None) -> int | None:
    if one is None:
        return two
    return one if two is None else one + two


def count(value: object) -> int | None:
    """Return a token count, or ``None`` for anything that is not one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _HIGHEST_COUNT:
        return value
    return None


class UsageReports:
    """Adds up the usage reports of one answer, whatever their style.

    Providers report once at the end, or running totals in every chunk, or what each chunk added.
    Running totals never fall, so the last one counts; reports that fall are increments and are
    summed, unless the last one is itself the sum of those before it.
    """

    __slots__ = ("_before", "_fell", "_last")

    def __init__(self) -> None:
        self._before: Usage | None = None
        self._last: Usage | None = None
        self._fell = False

    def add(self, usage: Usage) -> None:
        """Take one report."""
        if not usage:
            return
        if self._last is not None:
            self._fell = self._fell or usage.falls_below(self._last)
            self._before = self._last if self._before is None else self._before + self._last
        self._last = usage

    def total(self) -> Usage:
        """Return what the whole answer used."""
        if self._last is None:
            return Usage()
        if self._before is None or not self._fell:
            return self._last
        if (self._last.input, self._last.output) == (self._before.input, self._before.output):
            return self._last
        return self._before + self._last


@dataclass(slots=True)
class Answer:
    """What is known of one answer so far."""

    model: str | None = None
    id: str | None = None
    finish_reasons: list[str] = field(default_factory=list)
    reports: UsageReports = field(default_factory=UsageReports)
    error: str | None = None
    """``error.type`` of an error that the provider reported inside its answer."""
    complete: bool = False
    """Whether the provider said that this is the end."""


def error_type(error: object) -> str:
    """Return a short, low-cardinality ``error.type`` for a provider's error object."""
    if isinstance(error, dict):
        for key in ("code", "type"):
            name = error.get(key)
            if isinstance(name, (str, int)) and _ERROR_NAME.fullmatch(str(name)):
                return str(name)
    return OTHER


def _nested(message: Message, key: str) -> Message:
    value = message.get(key)
    return value if isinstance(value, dict) else {}


def _text(message: Message, key: str) -> str | None:
    value = message.get(key)
    return value if isinstance(value, str) and value else None


def openai_usage(message: Message) -> Usage:
    """Read the usage of one Chat Completions message, or llama.cpp's ``timings``.

    Source: the Chat Completions API reference (``usage`` and its ``*_details``); llama.cpp's
    server README (``timings``; ``prompt_n`` excludes the ``cache_n`` tokens taken from its cache).
    """
    usage = _nested(message, "usage")
    if usage:
        return Usage(
            input=count(usage.get("prompt_tokens")),
            output=count(usage.get("completion_tokens")),
            cache_read=count(_nested(usage, "prompt_tokens_details").get("cached_tokens")),
            reasoning=count(_nested(usage, "completion_tokens_details").get("reasoning_tokens")),
        )
    timings = _nested(message, "timings")
    cached = count(timings.get("cache_n"))
    return Usage(
        input=_sum(count(timings.get("prompt_n")), cached),
        output=count(timings.get("predicted_n")),
        cache_read=cached,
    )


def read_openai(message: Message, answer: Answer) -> None:
    """Read one message of the Chat Completions API: a whole answer or one chunk."""
    answer.model = answer.model or _text(message, "model")
    answer.id = answer.id or _text(message, "id")
    if message.get("error"):
        answer.error = error_type(message["error"])
    choices = message.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        reason = _text(choice, "finish_reason") if isinstance(choice, dict) else None
        if reason:
            answer.finish_reasons.append(reason)
            answer.complete = True
    answer.reports.add(openai_usage(message))


def read_ollama(message: Message, answer: Answer) -> None:
    """Read one message of Ollama's chat API: a whole answer or one line.

    Source: Ollama's API reference (``prompt_eval_count``, ``eval_count``, ``done_reason``).
    """
    answer.model = answer.model or _text(message, "model")
    if message.get("error"):
        answer.error = error_type(message["error"])
    if not message.get("done"):
        return
    answer.complete = True
    answer.finish_reasons.append(_text(message, "done_reason") or "stop")
    answer.reports.add(
        Usage(
            input=count(message.get("prompt_eval_count")), output=count(message.get("eval_count"))
        )
    )


def is_usage_only(message: Message) -> bool:
    """Whether a chunk is the extra one that ``stream_options.include_usage`` asks for."""
    return message.get("choices") == [] and bool(message.get("usage"))


def _endings(*texts: bytes) -> tuple[bytes, ...]:
    """As written with and without spaces, with both kinds of line ends."""
    spaced = (text.replace(b":", b": ").replace(b",", b", ") for text in texts)
    return tuple(text + end for text in (*texts, *spaced) for end in (b"\n", b"\r\n"))


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire format: how to read a message, and how a line looks that is not worth parsing."""

    read: Callable[[Message, Answer], None]
    quiet: tuple[bytes, ...]
    """A line that ends so is one of many, and says nothing unless it has ``"usage"`` before."""
    signs: tuple[bytes, ...]
    """Of the other lines, only one that contains one of these can say more than the first did."""
    blank: tuple[bytes, ...] = ()
    """A line with ``"usage"`` and one of these reports no usage."""


OPENAI: Final = Wire(
    read=read_openai,
    quiet=_endings(b'"finish_reason":null}]}', b'"finish_reason":null}],"usage":null}'),
    signs=(b'"finish_reason":"', b'"finish_reason": "', b'"timings"', b'"error"'),
    blank=(b'"usage":null', b'"usage": null'),
)
OLLAMA: Final = Wire(
    read=read_ollama,
    quiet=_endings(b'"done":false}'),
    signs=(b'"done":true', b'"done": true', b'"error"'),
)
# The part of a quiet ending that may itself hold the word.
_USAGE_ENDING: Final = len(b'"usage": null}\r\n')


class StreamReader:
    """Reads a stream of lines (SSE or NDJSON) as it passes, in any pieces."""

    __slots__ = ("_clipped", "_rest", "_started", "answer", "chunks", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.answer = Answer()
        self.chunks = 0
        """Lines that carried a message."""
        self._rest = b""
        self._clipped = False
        self._started = False

    def feed(self, piece: bytes) -> bool:
        """Take the next piece; return whether it is one line that only reports usage."""
        # Runs for every chunk, most of which end here.
        if piece == b"\n" and not self._rest:
            return False
        if (
            piece.endswith(self.wire.quiet)
            and self._started
            and not self._rest
            and piece.find(b"\n") == len(piece) - 1
            and piece.find(b'"usage"', 0, -_USAGE_ENDING) < 0
        ):
            self.chunks += 1
            return False
        if self._rest or piece.find(b"\n") != len(piece) - 1:
            self._pieces(piece)
            return False
        return len(piece) > _SHORTEST_LINE and self._line(piece)

    def finish(self) -> Answer:
        """Take the end of the stream: its last line may lack the newline."""
        if len(self._rest) > _SHORTEST_LINE:
            rest, self._rest = self._rest, b""
            self._line(rest)
        return self.answer

    def _pieces(self, piece: bytes) -> None:
        *lines, rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if len(line) > _SHORTEST_LINE:
                self._line(line)
            self._clipped = False
        if len(rest) > _LONGEST_LINE:
            rest, self._clipped = rest[-_KEPT_OF_LONG_LINE:], True
        self._rest = rest

    def _line(self, line: bytes) -> bool:
        # Comments, and the other fields of an event stream, carry no message.
        if line[0] != _DATA and line[0] != _BRACE and not self._clipped:
            return False
        self.chunks += 1
        if not self._started or self._speaks(line):
            return self._parse(line)
        # The end of an event stream is a short line of its own.
        if len(line) < _LONGEST_END and b"[DONE]" in line:
            self.chunks -= 1
            self.answer.complete = True
        return False

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

    def _parse(self, line: bytes) -> bool:
        message = _salvage(line) if self._clipped else _message(line)
        if message is None:
            return False
        self._started = True
        self.wire.read(message, self.answer)
        return is_usage_only(message)


def _message(line: bytes) -> Message | None:
    start = line.find(b"{")
    # Anything but `data:` before the brace is a comment or another field of the event stream.
    if start < 0 or line[:start].strip() not in (b"", b"data:"):
        return None
    try:
        message = loads(line[start:])
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _salvage(line: bytes) -> Message | None:
    """Read the usage at the end of a line whose beginning was not kept."""
    start = line.rfind(b'"usage"')
    brace = line.find(b"{", start)
    if start < 0 or brace < 0:
        return None
    try:
        usage, _ = json.JSONDecoder().raw_decode(line[brace:].decode("utf-8", "replace"))
    except ValueError:
        return None
    return {"usage": usage}


def read_whole(wire: Wire, message: Message) -> Answer:
    """Read an answer that came in one piece."""
    answer = Answer()
    wire.read(message, answer)
    answer.complete = True
    return answer
