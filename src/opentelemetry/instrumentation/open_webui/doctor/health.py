"""Asks at an address whether Open WebUI answers there."""

from __future__ import annotations

import json
import urllib.request
from typing import Final

_SECONDS: Final = 2.0
_LARGEST: Final = 4096


def version_at(url: str) -> str | None:
    """Return the version that Open WebUI tells at an address; ``None`` if it does not answer."""
    try:
        # A proxy of the environment has no way to loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url.rstrip('/')}/api/version", timeout=_SECONDS) as answer:
            told = json.loads(answer.read(_LARGEST))
    except (OSError, ValueError):
        return None
    version = told.get("version") if isinstance(told, dict) else None
    return version if isinstance(version, str) else None
