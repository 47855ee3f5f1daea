"""What we patch of Open WebUI: one module per surface, each a table of targets.

A further path is a further entry: a :class:`~..transport.Leaf` that says how its request to the
provider is known, and the function that sends it.
"""

from __future__ import annotations

from typing import Final

from ..patching import Target
from . import audio, chat, functions, images, ollama, openai, retrieval, server, threads, tools

TARGETS: Final[tuple[Target, ...]] = (
    *openai.TARGETS,
    *ollama.TARGETS,
    *functions.TARGETS,
    *retrieval.TARGETS,
    *audio.TARGETS,
    *images.TARGETS,
    *chat.TARGETS,
    *tools.TARGETS,
    *server.TARGETS,
    *threads.TARGETS,
)
