"""The fastest JSON parser at hand: Open WebUI brings orjson; other environments may not have it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

try:
    import orjson
except ImportError:
    loads: Callable[[bytes | str], Any] = json.loads
else:
    loads = orjson.loads
