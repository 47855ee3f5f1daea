"""On whose behalf a model is called."""

from __future__ import annotations

from dataclasses import dataclass

from ..bounds import bound


# Not frozen, which would double what it costs to make one. Nobody changes it.
@dataclass(slots=True)
class Caller:
    """On whose behalf a model is called, from where, and for what."""

    user_id: str
    user_name: str | None
    roles: tuple[str, ...]
    source: str
    """``ui``, ``api`` or ``background``."""
    auth: str
    """``api_key``, ``session`` or ``internal``."""
    task: str
    chat_id: str | None
    route: str | None
    model_id: str | None
    """The model that the caller picked in Open WebUI."""

    def __post_init__(self) -> None:
        """Bound what users write: their names, and what their requests say."""
        bound(self, "user_id", "user_name", "chat_id", "route", "model_id")
