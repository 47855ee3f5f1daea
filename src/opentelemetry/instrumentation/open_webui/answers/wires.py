"""The wire formats of providers: how each says tokens, model, id, why it ended, what it made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ..bounds import MOST_PAGES, MOST_SECONDS, number, text_or_none, whole
from ..names import OTHER
from . import errors
from .answer import Answer
from .billed import INPUT_DETAILS, OUTPUT_DETAILS, billed_of, nested
from .fast_json import Message
from .usage import NOTHING, Usage, added, count

_CACHE_READ: Final = (
    "cached_tokens", "cache_read_input_tokens", "cache_read_tokens", "prompt_cache_hit_tokens",
    "prompt_eval_cached_count",
)  # fmt: skip
_CACHE_CREATION: Final = (
    "cache_creation_input_tokens", "cache_creation_tokens", "cache_write_tokens",
    "cache_write_input_tokens",
)  # fmt: skip
# What says that a message is an error, where it has nothing of an answer.
_ANSWERS: Final = (
    "choices", "data", "results", "output", "response", "usage", "usageMetadata", "candidates",
    "predictions", "images", "text", "embedding", "embeddings", "delta", "content", "timings",
    "x_groq", "pages", "done", "item", "part",
)  # fmt: skip
_COMPLAINTS: Final = ("detail", "details", "error_message", "errors", "msg", "message", "code")
_SUCCESSES: Final = range(200, 300)


def _text(message: Message, key: str) -> str | None:
    return text_or_none(message.get(key))


def _seconds(value: object) -> float | None:
    return number(value, MOST_SECONDS)


def _length(message: Message, *keys: str) -> int | None:
    for key in keys:
        value = message.get(key)
        if isinstance(value, list):
            return len(value)
    return None


def _first(places: Iterable[Message], *keys: str) -> int | None:
    """Return the first count there is by any of these names, one above 0 if there is one."""
    zero = None
    for place in places:
        for key in keys:
            if key in place:
                number = count(place[key])
                if number:
                    return number
                zero = 0 if number == 0 else zero
    return zero


def usage_of(usage: Message) -> Usage:
    """Read a ``usage`` object of the OpenAI APIs, or of those made after them.

    Source: the OpenAI API reference: ``prompt_tokens`` and ``completion_tokens`` (Chat Completions,
    Embeddings), ``input_tokens`` and ``output_tokens`` (Responses, Images, Transcriptions); Jina's
    rerank reference: ``total_tokens`` alone. Of caches: Moonshot (``cached_tokens``), DeepSeek
    (``prompt_cache_hit_tokens``, ``prompt_cache_miss_tokens``), Ollama
    (``prompt_eval_cached_count``), LiteLLM and others before Anthropic.
    """
    total = count(usage.get("total_tokens"))
    inputs, outputs = nested(usage, *INPUT_DETAILS), nested(usage, *OUTPUT_DETAILS)
    read = _first((inputs, usage), *_CACHE_READ)
    known = Usage(
        input=_first((usage,), "prompt_tokens", "input_tokens"),
        output=_first((usage,), "completion_tokens", "output_tokens"),
        cache_read=read,
        cache_creation=_first((inputs, usage), *_CACHE_CREATION),
        reasoning=_first((outputs, usage), "reasoning_tokens"),
    )
    if known.input is None:
        missed = count(usage.get("prompt_cache_miss_tokens"))
        known = known._replace(input=None if missed is None else count(added(read, missed)))
    return completed(_both_halves(known, total), total)


def _both_halves(usage: Usage, total: int | None) -> Usage:
    """Take from the total what input or output is not said; it may be all that is said."""
    given, made = usage.input, usage.output
    if total is None or (given is not None and made is not None):
        return usage
    if given is None:
        return usage._replace(input=max(0, total - (made or 0)))
    return usage._replace(output=total - given) if total > given else usage


def completed(usage: Usage, total: int | None) -> Usage:
    """Add to input and output what was counted beside them: the cache, reasoning.

    The total says so where it is given. What it has beyond both is the cache where it is just that
    much, else it was generated: reasoning, whether it has a count of its own or not (Gemini, xAI).
    Without a total only what cannot be otherwise is seen: no part is larger than the whole.
    """
    if usage.output is None:
        return usage
    given, made = usage.input or 0, usage.output
    cache = (usage.cache_read or 0) + (usage.cache_creation or 0)
    reasoning = usage.reasoning or 0
    beyond = (total or 0) - given - made
    if beyond <= 0 and cache <= given and reasoning <= made:
        return usage
    if beyond > 0:
        cached = cache if cache and beyond in (cache, cache + reasoning) else 0
        if cached and beyond == reasoning and cache <= given:
            cached = 0
        given, made = given + cached, made + beyond - cached
    else:
        given += cache if cache > given else 0
        made += reasoning if reasoning > made else 0
    return usage._replace(
        input=usage.input if usage.input is None and not given else count(given),
        output=count(made),
    )


def timings_of(timings: Message) -> Usage:
    """Read llama.cpp's ``timings``.

    Source: llama.cpp's server README; ``prompt_n`` excludes the ``cache_n`` tokens from its cache.
    """
    cached = count(timings.get("cache_n"))
    return Usage(
        input=count(added(count(timings.get("prompt_n")), cached)),
        output=count(timings.get("predicted_n")),
        cache_read=cached,
    )


def _read_head(message: Message, answer: Answer) -> None:
    answer.model = answer.model or _text(message, "model")
    answer.id = answer.id or _text(message, "id")
    answer.tier = _text(message, "service_tier") or answer.tier
    answer.error = error_of(message) or answer.error


def error_of(message: Message) -> str | None:
    """Return the ``error.type`` of a message that is an error; ``None`` if it is none.

    Source: OpenAI's ``error``, and what others have in its place: vLLM (``object`` is ``error``),
    MiniMax (``base_resp``), FastAPI (``detail``), gateways (``error_type``).
    """
    error = message.get("error")
    if error:
        return errors.of_answer(error)
    if message.get("object") == "error" or message.get("error_type"):
        return errors.of_answer({"code": message.get("code"), "type": message.get("error_type")})
    if "base_resp" in message and nested(message, "base_resp").get("status_code"):
        return OTHER
    return errors.of_answer(message) if _only_complains(message) else None


def _only_complains(message: Message) -> bool:
    if any(map(message.get, _ANSWERS)) or isinstance(message.get("message"), dict):
        return False
    return message.get("code") not in _SUCCESSES and any(map(message.get, _COMPLAINTS))


def _finished(answer: Answer, reason: str | None) -> None:
    if reason:
        answer.finish(reason)


def read_openai(message: Message, answer: Answer) -> None:
    """Read one message of the OpenAI APIs but Responses: a whole answer or one chunk.

    Source: the OpenAI API reference. In a stream, Groq has ``x_groq.usage``, Moonshot a usage in
    the choice; OpenRouter has errors of a choice.
    """
    _read_head(message, answer)
    choices = _objects(message.get("choices"))
    for choice in choices:
        reason = _text(choice, "finish_reason")
        _finished(answer, reason)
        if choice.get("error") or reason == "error":
            answer.error = answer.error or errors.of_answer(choice.get("error"))
    usage = _usage_in(message, choices)
    timings = nested(message, "timings") if "timings" in message else {}
    if usage or timings:
        report = usage_of(usage) if usage else NOTHING
        if timings:
            report = report.lacking(timings_of(timings)) if report else timings_of(timings)
        answer.reports.add(report, _choice_of(choices))
    _read_billed(usage, message, answer)


def _usage_in(message: Message, choices: list[Message]) -> Message:
    usage = nested(message, "usage")
    if usage:
        return usage
    places = (message, nested(message, "x_groq"), *choices[:1])
    return next(filter(None, (nested(place, "usage") for place in places)), {})


def _choice_of(choices: list[Message]) -> int | None:
    """Return which choice a chunk is of; ``None`` for what is of all."""
    if len(choices) != 1 or "delta" not in choices[0]:
        return None
    index = choices[0].get("index")
    return index if isinstance(index, int) else 0


def _read_billed(usage: Message, message: Message, answer: Answer) -> None:
    """Read what the provider bills beside plain tokens, and what it charged."""
    if usage:
        billed = billed_of(usage, message)
        answer.billed = billed if answer.billed is None else answer.billed.updated(billed)


def read_responses(message: Message, answer: Answer) -> None:
    """Read one message of the Responses API: a whole answer, or an event with one inside.

    Source: the OpenAI API reference, Responses and their streaming events; Realtime's
    ``response.done`` is the same.
    """
    response = nested(message, "response") or message
    _read_head(response, answer)
    if message.get("type") == "error":
        answer.error = errors.of_answer(message)
    status = _text(response, "status")
    if status in ("completed", "incomplete", "failed", "cancelled"):
        _finished(answer, status)
    if status == "failed":
        # Realtime says why in a place of its own.
        failure = nested(nested(response, "status_details"), "error")
        answer.error = answer.error or errors.of_answer(failure)
    usage = nested(response, "usage")
    if usage:
        answer.reports.add(usage_of(usage))
    _read_billed(usage, response, answer)


def read_anthropic(message: Message, answer: Answer) -> None:
    """Read one message of the Anthropic Messages API: a whole answer or one event.

    Source: the Messages API reference. Its ``input_tokens`` leave out what was read from and
    written to the cache, which the GenAI conventions include; ``message_start`` reports the input
    and ``message_delta`` the running total of the output; gateways say the input there again, or 0.
    """
    body = nested(message, "message") or message
    _read_head(body, answer)
    _finished(answer, _text(nested(message, "delta"), "stop_reason") or _text(body, "stop_reason"))
    usage = nested(body, "usage")
    read, created = count(usage.get("cache_read_input_tokens")), _created(usage)
    given = count(usage.get("input_tokens"))
    # What `message_start` says of the output was true before there was any.
    made = None if message.get("type") == "message_start" else count(usage.get("output_tokens"))
    answer.reports.update(
        Usage(
            input=None if given is None else count(added(given, read, created)),
            output=made,
            cache_read=read,
            cache_creation=created,
        )
    )
    _read_billed(usage, body, answer)


def _created(usage: Message) -> int | None:
    """Return what was written to the cache; some gateways only say for how long each part was."""
    created = count(usage.get("cache_creation_input_tokens"))
    if created is not None:
        return created
    return count(added(*map(count, nested(usage, "cache_creation").values())))


def read_ollama(message: Message, answer: Answer) -> None:
    """Read one message of Ollama's own API: a whole answer or one line.

    Source: Ollama's API reference (``prompt_eval_count``, ``eval_count``, ``done_reason``); newer
    versions say ``prompt_eval_cached_count``, which is part of the first.
    """
    _read_head(message, answer)
    if message.get("done") is False:
        return
    if message.get("done"):
        _finished(answer, _text(message, "done_reason") or "stop")
    answer.reports.add(
        Usage(
            input=count(message.get("prompt_eval_count")),
            output=count(message.get("eval_count")),
            cache_read=count(message.get("prompt_eval_cached_count")),
        )
    )


def read_audio(message: Message, answer: Answer) -> None:
    """Read a transcription: how much audio the provider heard, in tokens or in seconds.

    Source: the API references of OpenAI (``usage``, of type ``tokens`` or ``duration``, and
    ``duration`` of the verbose format), Mistral (``prompt_audio_seconds``), Azure Speech
    (``durationMilliseconds``) and Deepgram (``metadata.duration``).
    """
    read_openai(message, answer)
    usage = nested(message, "usage")
    milliseconds = number(message.get("durationMilliseconds"), 1000 * MOST_SECONDS)
    for seconds in (
        _seconds(usage.get("seconds")),
        _seconds(usage.get("prompt_audio_seconds")),
        _seconds(message.get("duration")),
        _seconds(nested(message, "metadata").get("duration")),
        None if milliseconds is None else milliseconds / 1000,
    ):
        if seconds is not None:
            answer.seconds = seconds
            return


def read_images(message: Message, answer: Answer) -> None:
    """Read the answer of an image API: OpenAI's ``data``, Automatic1111's ``images``."""
    read_openai(message, answer)
    answer.images = _length(message, "data", "images")


def read_ocr(message: Message, answer: Answer) -> None:
    """Read the answer of Mistral's OCR API: ``usage_info.pages_processed``.

    Source: the Mistral AI API reference, OCR.
    """
    _read_head(message, answer)
    usage = nested(message, "usage_info")
    answer.pages = whole(usage.get("pages_processed"), MOST_PAGES)
    _read_billed(usage, message, answer)


def read_gemini(message: Message, answer: Answer) -> None:
    """Read an answer of the Gemini API: ``predictions``, or ``candidates`` with inline images.

    Source: the Gemini API reference (``usageMetadata``, ``inlineData``). A stream reports running
    totals.
    """
    answer.model = answer.model or _text(message, "modelVersion")
    answer.id = answer.id or _text(message, "responseId")
    answer.error = error_of(message) or answer.error
    for candidate in _objects(message.get("candidates")):
        _finished(answer, _text(candidate, "finishReason"))
    usage = nested(message, "usageMetadata")
    if usage:
        answer.reports.add(_gemini_usage(usage))
    _read_billed(usage, message, answer)
    made = _length(message, "predictions")
    if made is None:
        made = sum(map(_inline_images, _objects(message.get("candidates"))))
    answer.images = (answer.images or 0) + made


def _gemini_usage(usage: Message) -> Usage:
    total = count(usage.get("totalTokenCount"))
    known = Usage(
        input=count(
            added(count(usage.get("promptTokenCount")), count(usage.get("toolUsePromptTokenCount")))
        ),
        output=count(usage.get("candidatesTokenCount")),
        cache_read=count(usage.get("cachedContentTokenCount")),
        reasoning=count(usage.get("thoughtsTokenCount")),
    )
    if total is None and known.output is not None:
        # Its own API counts thoughts beside the candidates.
        return known._replace(output=count(added(known.output, known.reasoning)))
    if known.output is None and known.reasoning is not None:
        known = known._replace(output=0)
    return completed(known, total)


def _inline_images(candidate: Message) -> int:
    parts = _objects(nested(candidate, "content").get("parts"))
    return sum("inlineData" in part for part in parts)


def _objects(value: object) -> list[Message]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _endings(*texts: bytes) -> tuple[bytes, ...]:
    """As written with and without spaces."""
    return (*texts, *(text.replace(b":", b": ").replace(b",", b", ") for text in texts))


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire format: how to read a message, and how a line looks that is not worth parsing."""

    read: Callable[[Message, Answer], None]
    quiet: tuple[bytes, ...] = ()
    """A line that ends so is one of many, and says nothing unless it has ``"usage"`` before."""
    signs: tuple[bytes, ...] = ()
    """Of the other lines, only one that contains one of these can say more than the first did."""
    blank: tuple[bytes, ...] = ()
    """A line with ``"usage"`` and one of these reports no usage."""
    spoken: bytes = b""
    """Only a line with this carries a piece of what is said."""
    in_lines: bool = False
    """Whether a stream is lines of JSON."""
    longest: int = 1 << 18
    """Bytes of a whole answer beyond which it is not parsed: that would hold up the event loop."""


OPENAI: Final = Wire(
    read=read_openai,
    quiet=_endings(b'"finish_reason":null}]}', b'"finish_reason":null}],"usage":null}'),
    signs=(
        b'"finish_reason":"',
        b'"finish_reason": "',
        b'"timings"',
        b'"error',
        b'"detail',
        b'"base_resp"',
    ),
    blank=(b'"usage":null', b'"usage": null'),
)
RESPONSES: Final = Wire(
    read=read_responses,
    signs=(b'"error', b'"response.failed"'),
    blank=OPENAI.blank,
    spoken=b'.delta"',
)
ANTHROPIC: Final = Wire(
    read=read_anthropic,
    signs=(b'"stop_reason":"', b'"stop_reason": "', b'"error"'),
    spoken=b'"content_block_delta"',
)
OLLAMA: Final = Wire(
    read=read_ollama,
    quiet=_endings(b'"done":false}'),
    in_lines=True,
    signs=(b'"done":true', b'"done": true', b'"error"'),
)
AUDIO: Final = Wire(read=read_audio)
# One long string is parsed at the speed of copying, and the images have to be counted.
IMAGES: Final = Wire(read=read_images, longest=1 << 24)
# The usage stands after the text of all pages.
OCR: Final = Wire(read=read_ocr, longest=1 << 24)
GEMINI: Final = Wire(
    read=read_gemini,
    longest=1 << 24,
    signs=(b'"usageMetadata"', b'"finishReason"', b'"error"', b'"inlineData"'),
    spoken=b'"text"',
)
# The part of a quiet ending that may itself hold the word.
USAGE_ENDING: Final = len(b'"usage": null}')
