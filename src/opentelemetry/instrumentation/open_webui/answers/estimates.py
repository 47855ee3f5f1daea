"""How many tokens a text is, where the provider does not say.

By a tokenizer, if Open WebUI has one on its disk, else by a rule of thumb; both are told apart from
what was reported (``open_webui.usage.estimated``). Of a text only its size in UTF-8 and a sample of
its beginning are kept, so that an estimate costs the same for any length.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_logger = logging.getLogger(__name__)

# OpenAI's rule of thumb is four characters of English; four bytes hold for other scripts as well,
# which have longer characters and fewer of them in a token (docs/numbers.md has the errors).
BYTES_PER_TOKEN: Final = 4.0
# What the wording of a chat adds to each message (OpenAI Cookbook, "How to count tokens").
_PER_MESSAGE: Final = 4
# What OpenAI counts for a picture of 1024 x 1024 pixels in full detail, and in low detail (guide
# "Images and vision"); others count 250 to 1,600.
_PER_PICTURE: Final = 765
_PER_SMALL_PICTURE: Final = 85
_SAMPLE: Final = 2_000
_DEEPEST: Final = 12

# Where requests have their text, and what in there is no text.
_FIELDS: Final = (
    "system", "instructions", "messages", "prompt", "input", "tools", "contents",
    "systemInstruction",
)  # fmt: skip
_NO_TEXT: Final = frozenset((
    "type", "role", "id", "tool_call_id", "call_id", "url", "image_url", "input_audio", "file",
    "source", "images", "format", "status", "signature", "encrypted_content", "index",
))  # fmt: skip
# Where answers have theirs, whole or in pieces.
_SPOKEN: Final = frozenset((
    "content", "text", "reasoning_content", "reasoning", "thinking", "arguments", "partial_json",
    "delta", "response", "choices", "message", "output", "tool_calls", "function", "name",
    "candidates", "parts",
))  # fmt: skip

_PICTURES: Final = frozenset(("image_url", "input_image", "image"))
_MESSAGES: Final = ("messages", "input", "contents")
_WITH_PICTURES: Final = ("content", "parts", "output")

_ENCODING: Final = "cl100k_base"
_ADDRESS: Final = f"https://openaipublic.blob.core.windows.net/encodings/{_ENCODING}.tiktoken"


@dataclass(frozen=True, slots=True)
class Text:
    """The measure of a text.

    Args:
        size: Bytes in UTF-8.
        sample: Its beginning.
        messages: How many messages of a chat it is in.
        pictures: Tokens of the pictures in it.
    """

    size: int = 0
    sample: str = ""
    messages: int = 0
    pictures: int = 0

    def __bool__(self) -> bool:
        return bool(self.size or self.pictures)


def of_request(payload: Mapping[str, Any]) -> Text:
    """Measure what the body of a request gives to a model to read."""
    messages = payload.get("messages")
    count = len(messages) if isinstance(messages, list) else 0
    pictures = sum([_pictures(payload[name], _DEEPEST) for name in _MESSAGES if name in payload])
    return _measure(_given(payload), count, pictures)


def of_answer(message: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Text:
    """Measure what a model said in a whole answer, which may be several messages."""
    return _measure(spoken(message))


def _measure(pieces: Iterable[str], messages: int = 0, pictures: int = 0) -> Text:
    size, sample = 0, ""
    for piece in pieces:
        size += utf8_size(piece)
        if len(sample) < _SAMPLE:
            sample += piece[: _SAMPLE - len(sample)]
    return Text(size, sample, messages, pictures)


def utf8_size(text: str) -> int:
    """Return the bytes of a text in UTF-8."""
    # Whether a text is ASCII is known without a look at it.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _given(payload: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name in _FIELDS:
        if name in payload:
            _find_strings(payload[name], _DEEPEST, found)
    return found


def _find_strings(value: object, depth: int, found: list[str]) -> None:
    # A list that is filled costs half of what generators inside each other do.
    if isinstance(value, str):
        if not value.startswith("data:"):
            found.append(value)
    elif depth and isinstance(value, dict):
        for name, inner in value.items():
            if name not in _NO_TEXT:
                _find_strings(inner, depth - 1, found)
    elif depth and isinstance(value, list):
        for inner in value:
            _find_strings(inner, depth - 1, found)


def _pictures(value: object, depth: int) -> int:
    """Count the tokens of all pictures in a request.

    Source: the API references of OpenAI (``image_url``, ``input_image``), Anthropic (``image``),
    Gemini (``inlineData``) and Ollama (``images``).
    """
    if not depth or isinstance(value, str):
        return 0
    if isinstance(value, list):
        return sum([_pictures(inner, depth - 1) for inner in value])
    if not isinstance(value, dict):
        return 0
    if value.get("type") in _PICTURES or "inlineData" in value:
        return _PER_SMALL_PICTURE if _detail(value) == "low" else _PER_PICTURE
    images = value.get("images")
    own = len(images) * _PER_PICTURE if isinstance(images, list) else 0
    for name in _WITH_PICTURES:
        # Nearly always it is but a text.
        if name in value and not isinstance(value[name], str):
            own += _pictures(value[name], depth - 1)
    return own


def _detail(part: Mapping[str, Any]) -> object:
    image = part.get("image_url")
    return part.get("detail") or (image.get("detail") if isinstance(image, dict) else None)


def spoken(value: object, depth: int = _DEEPEST) -> Iterator[str]:
    """Yield what a model said in a message: an answer, or a piece of one."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, dict):
        # Some tell the reasoning twice, by both names.
        twice = "reasoning" if "reasoning_content" in value else ""
        for name, inner in value.items():
            if name in _SPOKEN and name != twice:
                yield from spoken(inner, depth - 1)
    elif depth and isinstance(value, list):
        for inner in value:
            yield from spoken(inner, depth - 1)


def rough_tokens(text: Text) -> int:
    """Return how many tokens a text is by the rule of thumb, which takes no time."""
    return _tokens(text, BYTES_PER_TOKEN) if text.size else text.pictures


def _tokens(text: Text, bytes_per_token: float) -> int:
    words = max(1, round(text.size / bytes_per_token))
    return words + _PER_MESSAGE * text.messages + text.pictures


class Estimator:
    """Estimates tokens. The tokenizer is loaded when it is needed first, and not waited for."""

    def __init__(self) -> None:
        self._encoding: Any = None
        self._asked = False

    def tokens(self, text: Text) -> int:
        """Return how many tokens a text is, about."""
        if not text.size:
            return text.pictures
        if not self._asked:
            self._asked = True
            threading.Thread(target=self.load, daemon=True).start()
        return _tokens(text, self._bytes_per_token(text))

    def load(self) -> None:
        """Load the tokenizer, which takes about a second, if it is there."""
        if not is_cached():
            return
        try:
            import tiktoken  # Open WebUI brings it.

            self._encoding = tiktoken.get_encoding(_ENCODING)
        except Exception as error:
            _logger.info("Tokens are estimated without a tokenizer: %s", error)

    def _bytes_per_token(self, text: Text) -> float:
        if self._encoding is None or not text.sample:
            return BYTES_PER_TOKEN
        found = len(self._encoding.encode(text.sample, disallowed_special=()))
        return utf8_size(text.sample) / max(1, found)


def is_cached() -> bool:
    """Whether the tokenizer's data is on the disk: it must not be fetched.

    Source: ``tiktoken.load.read_file_cached``; Open WebUI's image has it, and sets the variable.
    """
    directory = os.environ.get("TIKTOKEN_CACHE_DIR", "")
    name = hashlib.sha1(_ADDRESS.encode()).hexdigest()
    return bool(directory) and (Path(directory) / name).exists()
