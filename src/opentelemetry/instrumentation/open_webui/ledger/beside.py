"""What the ledger does beside writing: taking over what was there before, forgetting in time."""

from __future__ import annotations

from collections.abc import Callable

from .importing import Import
from .keeping import Retention, Thinning
from .place import Host
from .writer import Job


def jobs(host: Callable[[], Host], days: int) -> list[Job]:
    """Return what is to be done.

    Args:
        host: Returns what Open WebUI says of itself.
        days: Days after which calls are forgotten; 0 for never.
    """
    return [Import(host).step, Thinning().step, *([Retention(days).step] if days else [])]
