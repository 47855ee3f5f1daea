"""All routes of ours, as one app that Open WebUI's router gives way to."""

from __future__ import annotations

from typing import Any

from ..runtime import Runtime
from . import api, page


def routes(runtime: Runtime) -> Any:
    """Return the app."""
    found = api.router(runtime)
    found.routes.extend(page.ROUTES)
    return found
