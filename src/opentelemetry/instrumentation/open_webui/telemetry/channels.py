"""What exporters hold that a fork does not survive: gRPC channels and pooled HTTP connections.

gRPC's core does not work in a process forked from one that uses it, whoever opens the channel. But
it ends some time after its last channel, in threads of its own, and begins anew in each process. So
a process that forks before it serves closes its channels first and waits for that end, and whoever
serves opens them.

An HTTP connection is one socket for both processes; the forked one lets go of it.

Everything here knows the insides of the OTLP exporters; an exporter that has other ones is left as
it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_CHANNEL: Final = ("_client", "_channel", "_credentials")
"""What of an exporter keeps gRPC's core alive."""

_THREADS: Final = Path("/proc/self/task")
# How the names begin that gRPC's core gives to its threads.
_CORE: Final = ("event_engine", "grpc_", "lifeguard", "timer_manager")
# Until the core has ended: milliseconds at rest. It stays where somebody else has a channel.
_CORES_END: Final = 1.0
_POLL: Final = 0.005


def is_grpc(exporter: Any) -> bool:
    """Whether an exporter has a gRPC channel, open or closed."""
    return hasattr(exporter, "_initialize_channel_and_stub")


def cancel(exporter: Any) -> None:
    """Close the channel of a gRPC exporter; what is being exported fails."""
    exporter._channel.close()


def close(exporter: Any) -> None:
    """Let go of all that keeps gRPC's core alive."""
    # It may be another channel than the one cancelled: an exporter opens one when a try fails.
    cancel(exporter)
    for name in _CHANNEL:
        setattr(exporter, name, None)


def wait_for_end() -> None:
    """Wait until gRPC's core has ended; for as long as that may take, where threads have no names.

    Blocks for a second at most.
    """
    end = time.monotonic() + _CORES_END
    while _core_lives() and time.monotonic() < end:
        time.sleep(_POLL)


def _core_lives() -> bool:
    try:
        names = [(task / "comm").read_text() for task in _THREADS.iterdir()]
    except OSError:
        # A thread that has just ended, or another system than Linux.
        return True
    return any(name.startswith(_CORE) for name in names)


def reopen(exporter: Any) -> None:
    """Open a channel like the one that was closed."""
    # The constructor knows best what becomes of variables and files with certificates.
    like_it = type(exporter)(
        endpoint=exporter._endpoint,
        insecure=exporter._insecure,
        headers=exporter._headers,
        timeout=exporter._timeout,
        compression=exporter._compression,
    )
    for name in _CHANNEL:
        setattr(exporter, name, getattr(like_it, name))


def let_go(exporter: Any) -> None:
    """Let go of the HTTP connections that belong to another process as well."""
    for session in sessions(exporter):
        for adapter in session.adapters.values():
            adapter.init_poolmanager(
                adapter._pool_connections, adapter._pool_maxsize, block=adapter._pool_block
            )


def sessions(exporter: Any) -> Iterator[Any]:
    """Yield the sessions of `requests` that an exporter sends by."""
    holders: list[Any] = [exporter]
    for name in ("_client", "_transport"):
        holders.append(getattr(holders[-1], name, None))
    for holder in holders:
        session = getattr(holder, "_session", None)
        if hasattr(session, "adapters"):
            yield session
