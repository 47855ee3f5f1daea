"""urllib3, on which requests is made, and the SDKs of clouds."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from urllib3.response import HTTPResponse

from ...guard import guarded
from ...wrapping import Wrapper, bound
from ..endpoints import Payload
from ..host import Host
from ..live import LiveCall
from ..transport import Carrying, Outgoing, make_ready_in_thread
from .bodies import Watch, WatchedReads, asked, payload_of, read_at_once, watch_reads


def opens(runtime: Host) -> Wrapper:
    """Wrap ``urllib3.PoolManager.urlopen`` and that of one pool, which follow and try again."""

    def wrapper(wrapped: Callable[..., Any], pool: Any, args: Any, kwargs: Any) -> Any:
        out = _read(runtime, pool, {**kwargs, **bound(wrapped, args, kwargs)})
        make_ready_in_thread(out)
        with Carrying(out, watch) as answered:
            return answered(wrapped(*args, **kwargs))

    return wrapper


@guarded
def _read(runtime: Host, pool: Any, given: dict[str, Any]) -> Outgoing | None:
    def body() -> Payload:
        return payload_of(given.get("body"), given.get("headers"))

    return asked(runtime, given["method"], _address(pool, given["url"]), body)


def _address(pool: Any, url: str) -> str:
    """Return the whole address: a pool is for one host, and takes the rest."""
    if "://" in url:
        return url
    port = f":{pool.port}" if pool.port and pool.port != pool.ConnectionCls.default_port else ""
    return f"{pool.scheme}://{pool.host}{port}{url}"


@guarded
def watch(call: LiveCall, response: Any) -> None:
    """Watch a response of urllib3's, in whichever way it is read."""
    if response._body is not None:
        call.answered(response.status, response.headers)
        read_at_once(call, response._body)
    else:
        watch = Watch(call).answered(response.status, response.headers)
        watch_reads(response, watch, _Reads)


class _Reads(WatchedReads, HTTPResponse):
    """The methods of ``urllib3.HTTPResponse`` that read; the others come down to these."""

    __slots__ = ()

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        plain = self._is_plain(args, kwargs, default=self.decode_content)
        return self._reads(super().read, args, kwargs, plain=plain)

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        plain = self._is_plain(args, kwargs, default=self.decode_content)
        return self._reads(super().read1, args, kwargs, plain=plain)

    def read_chunked(self, *args: Any, **kwargs: Any) -> Generator[bytes]:
        watch = self._open_webui
        plain = self._is_plain(args, kwargs, default=False)
        with watch.passing():
            for piece in super().read_chunked(*args, **kwargs):
                watch.take(piece, plain=plain)
                yield piece

    def _is_plain(self, args: Any, kwargs: Any, *, default: bool) -> bool:
        wanted = args[1] if len(args) > 1 else kwargs.get("decode_content")
        return bool(default if wanted is None else wanted)

    def _is_read(self) -> bool:
        # What has been decompressed may not have been handed out yet.
        kept = getattr(self, "_decoded_buffer", b"")
        decoder = getattr(self, "_decoder", None)
        return (
            self.isclosed() and not len(kept) and not getattr(decoder, "has_unconsumed_tail", False)
        )
