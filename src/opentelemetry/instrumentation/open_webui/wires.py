"""The wire formats of providers: how each says tokens, model, id, why it ended, what it made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import errors
from .bounds import MOST_PAGES, MOST_SECONDS, MOST_USD, number, text_or_none, whole
from .names import OTHER
from .usage import Answer, Usage, added, count

Message = Mapping[str, Any]

# As Chat Completions, Responses and Realtime have it.
_INPUT_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS: Final = (
    "completion_tokens_details",
    "output_tokens_details",
    "output_token_details",
)


def _nested(message: Message, *keys: str) -> Message:
    for key in keys:
        value = message.get(key)
        if isinstance(value, dict):
            return value
    return {}


def _text(message: Message, key: str) -> str | None:
    return text_or_none(message.get(key))


def _seconds(value: object) -> float | None:
    return number(value, MOST_SECONDS)


def usd(text: object) -> float | None:
    """Return a cost that stands in a header; ``None`` for anything that is none."""
    try:
        return number(float(text), MOST_USD) if isinstance(text, str) else None
    except ValueError:
        return None


def _length(message: Message, *keys: str) -> int | None:
    for key in keys:
        value = message.get(key)
        if isinstance(value, list):
            return len(value)
    return None


def _cached(usage: Message) -> int | None:
    details = _nested(usage, *_INPUT_DETAILS)
    return count(details.get("cached_tokens"))


def _reasoning(usage: Message) -> int | None:
    details = _nested(usage, *_OUTPUT_DETAILS)
    return count(details.get("reasoning_tokens"))


def usage_of(usage: Message) -> Usage:
    """Read a ``usage`` object of the OpenAI APIs, or of those made after them.

    Source: the OpenAI API reference: ``prompt_tokens`` and ``completion_tokens`` (Chat Completions,
    Embeddings), ``input_tokens`` and ``output_tokens`` (Responses, Images, Transcriptions); Jina's
    rerank reference: ``total_tokens`` alone.
    """
    given, made = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    if given is None and made is None:
        given, made = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if given is None and made is None:
        given = count(usage.get("total_tokens"))
    return Usage(given, made, cache_read=_cached(usage), reasoning=_reasoning(usage))


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
    if message.get("error"):
        answer.error = errors.of_answer(message["error"])


def _finished(answer: Answer, reason: str | None) -> None:
    if reason:
        answer.finish(reason)


def read_openai(message: Message, answer: Answer) -> None:
    """Read one message of the OpenAI APIs but Responses: a whole answer or one chunk.

    Source: the OpenAI API reference; Groq's has ``x_groq.usage`` in the last chunk of a stream.
    """
    _read_head(message, answer)
    for choice in _objects(message.get("choices")):
        _finished(answer, _text(choice, "finish_reason"))
    usage = _nested(message, "usage") or _nested(_nested(message, "x_groq"), "usage")
    answer.reports.add(usage_of(usage) if usage else timings_of(_nested(message, "timings")))
    _read_charge(usage, answer)


def _read_charge(usage: Message, answer: Answer) -> None:
    """Read what the provider charged, in USD.

    Source: the API references of OpenRouter (``usage.cost``) and Perplexity
    (``usage.cost.total_cost``); LiteLLM can be set to do as OpenRouter.
    """
    cost = usage.get("cost")
    charged = number(cost.get("total_cost") if isinstance(cost, dict) else cost, MOST_USD)
    if charged is not None:
        answer.charged = charged


def read_responses(message: Message, answer: Answer) -> None:
    """Read one message of the Responses API: a whole answer, or an event with one inside.

    Source: the OpenAI API reference, Responses and their streaming events; Realtime's
    ``response.done`` is the same.
    """
    response = _nested(message, "response") or message
    _read_head(response, answer)
    if message.get("type") == "error":
        answer.error = errors.of_answer(message)
    status = _text(response, "status")
    if status in ("completed", "incomplete", "failed", "cancelled"):
        _finished(answer, status)
    if status == "failed":
        answer.error = answer.error or OTHER
    usage = _nested(response, "usage")
    answer.reports.add(usage_of(usage))
    _read_charge(usage, answer)


def read_anthropic(message: Message, answer: Answer) -> None:
    """Read one message of the Anthropic Messages API: a whole answer or one event.

    Source: the Messages API reference. Its ``input_tokens`` leave out what was read from and
    written to the cache, which the GenAI conventions include; ``message_start`` reports the input
    and ``message_delta`` the running total of the output.
    """
    body = _nested(message, "message") or message
    _read_head(body, answer)
    _finished(answer, _text(_nested(message, "delta"), "stop_reason") or _text(body, "stop_reason"))
    usage = _nested(body, "usage")
    read, created = (
        count(usage.get("cache_read_input_tokens")),
        count(usage.get("cache_creation_input_tokens")),
    )
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


def read_ollama(message: Message, answer: Answer) -> None:
    """Read one message of Ollama's own API: a whole answer or one line.

    Source: Ollama's API reference (``prompt_eval_count``, ``eval_count``, ``done_reason``).
    """
    _read_head(message, answer)
    if message.get("done") is False:
        return
    if message.get("done"):
        _finished(answer, _text(message, "done_reason") or "stop")
    answer.reports.add(
        Usage(
            input=count(message.get("prompt_eval_count")), output=count(message.get("eval_count"))
        )
    )


def read_audio(message: Message, answer: Answer) -> None:
    """Read a transcription: how much audio the provider heard, in tokens or in seconds.

    Source: the API references of OpenAI (``usage``, of type ``tokens`` or ``duration``, and
    ``duration`` of the verbose format), Mistral (``prompt_audio_seconds``), Azure Speech
    (``durationMilliseconds``) and Deepgram (``metadata.duration``).
    """
    read_openai(message, answer)
    usage = _nested(message, "usage")
    milliseconds = number(message.get("durationMilliseconds"), 1000 * MOST_SECONDS)
    for seconds in (
        _seconds(usage.get("seconds")),
        _seconds(usage.get("prompt_audio_seconds")),
        _seconds(message.get("duration")),
        _seconds(_nested(message, "metadata").get("duration")),
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
    answer.pages = whole(_nested(message, "usage_info").get("pages_processed"), MOST_PAGES)


def read_gemini(message: Message, answer: Answer) -> None:
    """Read an answer of the Gemini API: ``predictions``, or ``candidates`` with inline images.

    Source: the Gemini API reference (``usageMetadata``, ``inlineData``).
    """
    answer.model = answer.model or _text(message, "modelVersion")
    if message.get("error"):
        answer.error = errors.of_answer(message["error"])
    usage = _nested(message, "usageMetadata")
    answer.reports.add(
        Usage(
            input=count(usage.get("promptTokenCount")),
            output=count(usage.get("candidatesTokenCount")),
            cache_read=count(usage.get("cachedContentTokenCount")),
            reasoning=count(usage.get("thoughtsTokenCount")),
        )
    )
    answer.images = _length(message, "predictions")
    if answer.images is None:
        answer.images = sum(map(_inline_images, _objects(message.get("candidates"))))


def _inline_images(candidate: Message) -> int:
    parts = _objects(_nested(candidate, "content").get("parts"))
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
    longest: int = 1 << 18
    """Bytes of a whole answer beyond which it is not parsed: that would hold up the event loop."""


OPENAI: Final = Wire(
    read=read_openai,
    quiet=_endings(b'"finish_reason":null}]}', b'"finish_reason":null}],"usage":null}'),
    signs=(b'"finish_reason":"', b'"finish_reason": "', b'"timings"', b'"error"'),
    blank=(b'"usage":null', b'"usage": null'),
)
RESPONSES: Final = Wire(
    read=read_responses,
    signs=(b'"type":"error"', b'"type": "error"', b'"response.failed"'),
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
    signs=(b'"done":true', b'"done": true', b'"error"'),
)
AUDIO: Final = Wire(read=read_audio)
# One long string is parsed at the speed of copying, and the images have to be counted.
IMAGES: Final = Wire(read=read_images, longest=1 << 24)
# The usage stands after the text of all pages.
OCR: Final = Wire(read=read_ocr, longest=1 << 24)
GEMINI: Final = Wire(read=read_gemini, longest=1 << 24)
# The part of a quiet ending that may itself hold the word.
USAGE_ENDING: Final = len(b'"usage": null}')
