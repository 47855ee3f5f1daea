"""``http.client`` of the standard library, and ``urllib.request``, which is made on it."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any

from ...guard import guarded
from ...wrapping import Wrapper, bound
from ..endpoints import Payload
from ..host import Host
from ..live import LiveCall
from ..transport import Carrying, Outgoing, make_ready_in_thread
from .bodies import Watch, WatchedReads, asked, payload_of, watch_reads


def sends(runtime: Host) -> Wrapper:
    """Wrap ``http.client.HTTPConnection.request``; what other clients send by it is theirs."""

    def wrapper(wrapped: Callable[..., Any], connection: Any, args: Any, kwargs: Any) -> Any:
        out = _read(runtime, connection, bound(wrapped, args, kwargs))
        make_ready_in_thread(out)
        with Carrying(out, _await) as answered:
            wrapped(*args, **kwargs)
            answered(connection)

    return wrapper


@guarded
def _read(runtime: Host, connection: Any, given: dict[str, Any]) -> Outgoing | None:
    def body() -> Payload:
        return payload_of(given.get("body"), given.get("headers"))

    return asked(runtime, given["method"], _address(connection, given["url"]), body)


def _address(connection: Any, url: str) -> str:
    """Return the whole address; behind a proxy the connection's own one is the proxy's."""
    if "://" in url:
        return url
    secure = connection.default_port == 443
    host, port = connection.host, connection.port
    if connection._tunnel_host:
        host, port = connection._tunnel_host, connection._tunnel_port
    named = f"[{host}]" if ":" in host else host
    known = port in (None, connection.default_port)
    return f"http{'s' * secure}://{named}{'' if known else f':{port}'}{url}"


@guarded
def _await(call: LiveCall, connection: Any) -> None:
    """Watch the next response of a connection, which is asked for by itself."""
    watch, get = Watch(call), connection.getresponse

    def getresponse(*args: Any, **kwargs: Any) -> Any:
        del connection.getresponse
        response = watch.read(get, args, kwargs)
        _watch(watch, response)
        return response

    connection.getresponse = getresponse


@guarded
def _watch(watch: Watch, response: Any) -> None:
    watch.answered(response.status, response.headers)
    if response.isclosed():
        watch.end()
    else:
        watch_reads(response, watch, _Reads)


class _Reads(WatchedReads, HTTPResponse):
    """The methods of ``http.client.HTTPResponse`` that read; the others come down to these."""

    __slots__ = ()

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        return self._reads(super().read, args, kwargs)

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        return self._reads(super().read1, args, kwargs)

    def readline(self, *args: Any, **kwargs: Any) -> bytes:
        return self._reads(super().readline, args, kwargs)

    def readinto(self, buffer: Any) -> int:
        return self._reads_into(super().readinto, buffer)

    def readinto1(self, buffer: Any) -> int:
        return self._reads_into(super().readinto1, buffer)

    def _reads_into(self, read: Callable[[Any], int], buffer: Any) -> int:
        watch = self._open_webui
        if watch.inside:
            return read(buffer)
        size = watch.read(read, (buffer,), {})
        self._has_read(bytes(memoryview(buffer).cast("B")[:size]))
        return size

    def _is_read(self) -> bool:
        return self.isclosed() or self.length == 0
