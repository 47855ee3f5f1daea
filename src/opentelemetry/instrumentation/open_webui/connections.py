"""Open WebUI's configured providers: the net knows by their addresses what is a call to a model."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from . import providers
from .guard import report
from .providers import Provider

Lookup = Callable[[], Awaitable[Iterable[tuple[str, str]]]]
"""Asks Open WebUI for (configuration key, base URL) of all its connections."""

# An administrator who adds a connection waits no longer than this for the net to know it.
_SECONDS: Final = 30.0
OWN: Final = "webui.url"
"""The configuration key of Open WebUI's own address, which is no provider's."""
_LOOPBACK: Final = ("localhost", "127.0.0.1", "0.0.0.0", "::1")


class Connections:
    """The base URLs of all connections, looked up again when they are old.

    Args:
        lookup: Asks Open WebUI.
        clock: Seconds, monotonic.
    """

    def __init__(self, lookup: Lookup, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup = lookup
        self._clock = clock
        self._known: tuple[str, ...] = ()
        self._keys: dict[str, str] = {}
        self._own_url = ""
        self._own_ports: set[int] = set()
        self._own_hosts = {*_LOOPBACK, socket.gethostname().lower()}
        self._asked = float("-inf")
        self._loop: asyncio.AbstractEventLoop | None = None

    def has(self, url: str) -> bool:
        """Whether an address is one of a connection. Runs for every request that is sent."""
        if self._loop is not None and self._clock() - self._asked > _SECONDS:
            self._asked = self._clock()
            self._loop.call_soon_threadsafe(self._start)
        return url.startswith(self._known) if self._known else False

    def listens(self, server: object) -> None:
        """Take the address (host, port) at which this server was just reached."""
        if isinstance(server, (tuple, list)) and len(server) == 2 and isinstance(server[1], int):
            self._own_hosts.add(str(server[0]).lower())
            self._own_ports.add(server[1])

    def is_own(self, url: str) -> bool:
        """Whether an address is this server's: what is asked of it is counted where it comes in."""
        if self._own_url and url.startswith(f"{self._own_url}/"):
            return True
        parts = urlsplit(url)
        return (parts.hostname or "") in self._own_hosts and parts.port in self._own_ports

    def provider(self, url: str) -> Provider | None:
        """Return who is called at an address, where the kind of the connection says so."""
        keys = (key for base, key in self._keys.items() if url.startswith(base))
        return providers.ollama if any("ollama" in key for key in keys) else None

    async def load(self) -> None:
        """Ask Open WebUI now, and from now on whenever the answer is old."""
        self._loop = asyncio.get_running_loop()
        self._asked = self._clock()
        try:
            found = {_bare(url): key for key, url in await self._lookup() if _bare(url)}
            own = next((url for url, key in found.items() if key == OWN), "")
        except Exception:
            report("the lookup of Open WebUI's connections")
            return
        found.pop(own, None)
        self._own_url, self._keys, self._known = own, found, tuple(found)

    def _start(self) -> None:
        task = asyncio.get_running_loop().create_task(self.load())
        # The loop itself keeps only a weak reference.
        task.add_done_callback(lambda _: None)


def _bare(url: object) -> str:
    return url.strip().rstrip("/") if isinstance(url, str) else ""
