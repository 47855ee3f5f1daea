"""The fastest JSON parser at hand: Open WebUI brings orjson; other environments may not have it.

What orjson refuses is tried again: half an emoji, as cut texts have it, is valid for Python's own
parser, which Open WebUI and most providers use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Message = Mapping[str, Any]
"""A JSON object that a provider sent."""

try:
    from orjson import loads as _loads
except ImportError:
    _loads: Callable[[bytes | str], Any] = json.loads  # type: ignore[no-redef]


def loads(text: bytes | str) -> Any:
    """Return the value in a JSON text; what is none raises ``ValueError`` and nothing else."""
    try:
        return _loads(text)
    except (ValueError, RecursionError):
        return _loads_again(text)


def _loads_again(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
