"""Open WebUI's configured providers: the net knows by their addresses what is a call to a model.

And the limits, by which other name a provider knows one.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from .. import providers
from ..guard import report
from ..providers import Provider
from .compat import own_hosts

Lookup = Callable[[], Awaitable[Iterable[tuple[str, str]]]]
"""Asks Open WebUI for (configuration key, base URL) of all its connections."""
Prefixes = Callable[[], Awaitable[Iterable[str]]]
"""Asks it for what it puts before the names of their models."""

# An administrator who adds a connection waits no longer than this for the net to know it.
_SECONDS: Final = 30.0
# All that Open WebUI serves of models begins so.
_OWN_PATHS: Final = ("/api/", "/openai/", "/ollama/")
_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = ("localhost", "127.0.0.1", "0.0.0.0", "::1")


class Connections:
    """The base URLs of all connections, looked up again when they are old.

    Args:
        lookup: Asks Open WebUI.
        prefixes: Likewise.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        lookup: Lookup,
        prefixes: Prefixes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lookup = lookup
        self._look_up_prefixes = prefixes
        self._clock = clock
        self._known: tuple[str, ...] = ()
        self._keys: dict[str, str] = {}
        self._prefixes: tuple[str, ...] = ()
        self._own_ports: set[int] = set()
        self._own_hosts = {*_LOOPBACK, socket.gethostname().lower()}
        self._asked = float("-inf")
        self._loop: asyncio.AbstractEventLoop | None = None

    def forget_loop(self) -> None:
        """Leave the loop to the process that this one was forked from."""
        self._loop = None

    def has(self, url: str) -> bool:
        """Whether an address is one of a connection. Runs for every request that is sent."""
        self._refresh()
        return url.startswith(self._known) if self._known else False

    def listens(self, server: object) -> None:
        """Take the address (host, port) at which this server was just reached."""
        if isinstance(server, (tuple, list)) and len(server) == 2 and isinstance(server[1], int):
            self._own_hosts.add(str(server[0]).lower())
            self._own_ports.add(server[1])

    def is_own(self, url: str) -> bool:
        """Whether an address is this server's: what is asked of it is counted where it comes in."""
        parts = urlsplit(url)
        if not parts.path.startswith(_OWN_PATHS):
            return False
        # A name without a dot is a container's, and may be ours.
        host = parts.hostname or ""
        near = host in self._own_hosts or "." not in host
        port = parts.port or _PORTS.get(parts.scheme)
        return parts.netloc in own_hosts() or (near and port in self._own_ports)

    def provider(self, url: str) -> Provider | None:
        """Return who is called at an address, where the kind of the connection says so."""
        keys = (key for base, key in self._keys.items() if url.startswith(base))
        return providers.ollama if any("ollama" in key for key in keys) else None

    def without_prefix(self, model: str) -> tuple[str, ...]:
        """Return how providers may call a model whose name begins with a connection's prefix."""
        self._refresh()
        return tuple(model[len(one) :] for one in self._prefixes if model.startswith(one))

    def _refresh(self) -> None:
        """Ask anew, beside what is going on, if the answer is old."""
        if self._loop is not None and self._clock() - self._asked > _SECONDS:
            self._asked = self._clock()
            self._loop.call_soon_threadsafe(self._start)

    async def load(self) -> None:
        """Ask Open WebUI now, and from now on whenever the answer is old."""
        self._loop = asyncio.get_running_loop()
        self._asked = self._clock()
        try:
            found = {_bare(url): key for key, url in await self._lookup() if _bare(url)}
            self._keys, self._known = found, tuple(found)
            self._prefixes = tuple({f"{one}." for one in await self._look_up_prefixes()})
        except Exception:
            report("the lookup of Open WebUI's connections")

    def _start(self) -> None:
        task = asyncio.get_running_loop().create_task(self.load())
        # The loop itself keeps only a weak reference.
        task.add_done_callback(lambda _: None)


def _bare(url: object) -> str:
    return url.strip().rstrip("/") if isinstance(url, str) else ""
