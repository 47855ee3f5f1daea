"""Replies in sound and pictures: speech, transcriptions, images."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

from harness.replies import Piece, Prompt, Reply, Tokens, answer_text, count_tokens
from harness.replies_common import (
    PNG,
    base64_of,
    behaving,
    json_reply,
    number_in,
    plain_tokens_of,
    png,
)

MPEG = "audio/mpeg"
# Two silent frames of MPEG layer III: 128 kbit/s at 44.1 kHz are 417 bytes each.
MP3 = (b"\xff\xfb\x90\x64" + bytes(413)) * 2
MAX_IMAGES = 10


# --- speech ---------------------------------------------------------------------------------------


def speech_text(prompt: Prompt) -> str:
    """The text to speak, without the markup that Azure has around it."""
    if "text" not in prompt.body:
        return str(prompt.body.get("input", ""))
    inside = re.search(r"<voice[^>]*>(.*)</voice>", str(prompt.body["text"]), re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", "", inside.group(1))) if inside else ""


def speech(prompt: Prompt) -> Reply:
    """Speech as the bytes of a sound file; there is no usage, only a text of known length."""
    return behaving(prompt, speech_answer)


def speech_answer(prompt: Prompt) -> Reply:
    """Speech of a model that works."""
    facts = {"characters": len(speech_text(prompt))}
    return Reply(200, MPEG, (Piece(MP3, facts=facts),))


def mistral_speech(prompt: Prompt) -> Reply:
    """Speech as Mistral sends it: in JSON."""
    return behaving(
        prompt,
        lambda _: json_reply({"audio_data": base64_of(MP3)}, characters=len(speech_text(prompt))),
    )


# --- documents ------------------------------------------------------------------------------------


def ocr(prompt: Prompt) -> Reply:
    """A document's pages as Mistral's OCR reads them."""
    pages = 1 + prompt.seed % 5
    value = {
        "pages": [{"index": i, "markdown": f"Page {i} of a river."} for i in range(pages)],
        "model": prompt.model,
        "usage_info": {"pages_processed": pages, "doc_size_bytes": 1000},
    }
    return behaving(prompt, lambda _: json_reply(value, pages=pages))


# --- transcriptions -------------------------------------------------------------------------------


def heard_seconds(prompt: Prompt) -> int:
    """How long the audio is said to be."""
    return 1 + prompt.seed % 60


def transcription(prompt: Prompt) -> Reply:
    """A transcription as OpenAI's: Whisper is billed by duration, later models by tokens."""
    return behaving(prompt, transcription_answer)


def transcription_answer(prompt: Prompt) -> Reply:
    """A transcription of a model that works."""
    text = answer_text(prompt)
    if "whisper" in prompt.model:
        seconds = heard_seconds(prompt)
        usage = {"type": "duration", "seconds": seconds}
        return json_reply({"text": text, "usage": usage}, seconds=seconds)
    tokens = plain_tokens_of(prompt, text)
    if tokens is None:
        return json_reply({"text": text})
    return json_reply({"text": text, "usage": audio_usage(tokens)}, tokens)


def audio_usage(tokens: Tokens) -> dict[str, Any]:
    """The `usage` of a transcription in tokens."""
    return {
        "type": "tokens",
        "total_tokens": tokens.input + tokens.output,
        "input_tokens": tokens.input,
        "input_token_details": {"text_tokens": 0, "audio_tokens": tokens.input},
        "output_tokens": tokens.output,
    }


def mistral_transcription(prompt: Prompt) -> Reply:
    """A transcription as Mistral's, which tells seconds and tokens."""
    return behaving(prompt, mistral_transcription_answer)


def mistral_transcription_answer(prompt: Prompt) -> Reply:
    """A transcription of a model that works."""
    text, seconds = answer_text(prompt), heard_seconds(prompt)
    tokens = replace(count_tokens(prompt, text), cached=None, reasoning=None)
    usage = {
        "prompt_audio_seconds": seconds,
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
    }
    value: dict[str, Any] = {"model": prompt.model, "text": text, "language": None, "segments": []}
    return json_reply({**value, "usage": usage}, tokens, seconds=seconds)


def azure_transcription(prompt: Prompt) -> Reply:
    """A transcription as Azure's; there is no model to name, hence none that fails."""
    milliseconds = heard_seconds(prompt) * 1000 + 250
    phrases = [{"text": answer_text(prompt)}]
    value = {"durationMilliseconds": milliseconds, "combinedPhrases": phrases, "phrases": []}
    return json_reply(value, seconds=milliseconds / 1000)


# --- images ---------------------------------------------------------------------------------------


def pictures(prompt: Prompt, name: str) -> list[str]:
    """As many images, in base64, as the field `name` asks for."""
    wanted = min(number_in(prompt.body, name), MAX_IMAGES)
    return [base64_of(png(prompt.seed + index)) for index in range(wanted)]


def images(prompt: Prompt) -> Reply:
    """Images as OpenAI's; only the GPT image models count tokens."""
    return behaving(prompt, images_answer)


def images_answer(prompt: Prompt) -> Reply:
    """Images of a model that works."""
    made = pictures(prompt, "n")
    value: dict[str, Any] = {
        "created": prompt.created,
        "data": [{"b64_json": image} for image in made],
    }
    tokens = plain_tokens_of(prompt, "") if "gpt-image" in prompt.model else None
    if tokens is not None:
        value["usage"] = image_usage(tokens)
    return json_reply(value, tokens, images=len(made))


def image_usage(tokens: Tokens) -> dict[str, Any]:
    """The `usage` of the GPT image models."""
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"text_tokens": tokens.input, "image_tokens": 0},
        "output_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
    }


def gemini_predict(prompt: Prompt) -> Reply:
    """Images of Gemini's `:predict`, which tells no tokens."""
    return behaving(prompt, gemini_predict_answer)


def gemini_predict_answer(prompt: Prompt) -> Reply:
    """Predictions of a model that works."""
    parameters = prompt.body.get("parameters")
    wanted = number_in(parameters if isinstance(parameters, dict) else {}, "sampleCount")
    made = [base64_of(png(prompt.seed + index)) for index in range(min(wanted, MAX_IMAGES))]
    predictions = [{"mimeType": PNG, "bytesBase64Encoded": image} for image in made]
    return json_reply({"predictions": predictions}, images=len(made))


def gemini_content(prompt: Prompt) -> Reply:
    """An image of Gemini's `:generateContent`."""
    return behaving(prompt, gemini_content_answer)


def gemini_content_answer(prompt: Prompt) -> Reply:
    """Content of a model that works: one image."""
    image = {"inlineData": {"mimeType": PNG, "data": base64_of(png(prompt.seed))}}
    content = {"role": "model", "parts": [image]}
    value: dict[str, Any] = {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "modelVersion": prompt.model,
        "responseId": prompt.id,
    }
    tokens = plain_tokens_of(prompt, "")
    if tokens is not None:
        value["usageMetadata"] = {
            "promptTokenCount": tokens.input,
            "candidatesTokenCount": tokens.output,
            "totalTokenCount": tokens.input + tokens.output,
        }
    return json_reply(value, tokens, images=1)


def automatic1111(prompt: Prompt) -> Reply:
    """Images of Automatic1111; the checkpoint is the server's, a request names none."""
    made = pictures(prompt, "batch_size")
    return json_reply({"images": made, "parameters": {}, "info": ""}, images=len(made))
