"""Images, made and edited: ``routers/images.py``, by its routes or as a tool inside a turn."""

from __future__ import annotations

from typing import Final

from ... import providers
from ...calls.endpoints import IMAGES
from ...calls.transport import Leaf
from ..patching import Target
from .leaf import announces
from .running import Running, runs

_ROUTER: Final = "open_webui.routers.images"
_COMFYUI: Final = "open_webui.utils.images.comfyui"
_MADE: Final = frozenset({"image_generation", "generate_content"})
_EDITED: Final = frozenset({"image_edit", "generate_content"})


def _comfyui(operation: str) -> Running:
    """ComfyUI is asked by a request and answers on a socket: only the function has both ends."""
    return Running(
        operation,
        providers.COMFYUI,
        model=lambda given: str(given["model"] or "unknown"),
        endpoint=IMAGES,
        address=lambda given: str(given["base_url"]),
        images=lambda given: getattr(given["payload"], "n", None),
    )


TARGETS: Final = (
    Target(
        _ROUTER,
        "image_generations",
        announces(Leaf(_MADE, operation="image_generation")),
        covers="images made by OpenAI, Gemini and Automatic1111",
    ),
    Target(
        _ROUTER,
        "image_edits",
        announces(Leaf(_EDITED, operation="image_edit")),
        covers="images edited by OpenAI and Gemini",
    ),
    Target(
        _COMFYUI,
        "comfyui_create_image",
        runs(_comfyui("image_generation")),
        covers="images made by ComfyUI",
    ),
    Target(
        _COMFYUI,
        "comfyui_edit_image",
        runs(_comfyui("image_edit")),
        covers="images edited by ComfyUI",
    ),
)
