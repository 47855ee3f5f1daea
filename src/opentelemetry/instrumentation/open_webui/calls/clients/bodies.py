"""What all HTTP clients but aiohttp have in common: functions use them, each in its own way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ...answers.encodings import Plain, unpacked
from ...guard import guarded
from ..endpoints import Payload
from ..host import Host
from ..live import LiveCall
from ..passage import Passage
from ..transport import Outgoing, json_payload, outgoing

T = TypeVar("T")

_ENCODING: Final = "content-encoding"


def asked(
    runtime: Host, method: object, url: object, body: Callable[[], Payload]
) -> Outgoing | None:
    """Return the model call that a function's request is, if it is one."""
    out = outgoing(runtime, str(method), str(url), body)
    if out is not None:
        out.asks = False  # What a function asks for by itself is its own affair.
    return out


def payload_of(body: object, headers: Mapping[str, Any] | None = None) -> Payload:
    """Return what is in a request's body, which may be compressed, or fields already."""
    if isinstance(body, str):
        return json_payload(body)
    if isinstance(body, Mapping):
        return {str(name): value for name, value in body.items()}
    return json_payload(unpacked(body, _encoding(headers)))


def _encoding(headers: Any) -> str | None:
    # Not every client's headers are the same for every case.
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        if str(name).lower() == _ENCODING:
            return str(value)
    return None


def read_at_once(call: LiveCall, content: bytes) -> None:
    """Read a body that has come already."""
    passage = Passage(call)
    passage.piece(content)
    passage.end()


class Watch:
    """Reads a body as it passes, by whichever way somebody reads it, and ends the call."""

    __slots__ = ("__weakref__", "_call", "_passage", "_plain", "inside")

    def __init__(self, call: LiveCall) -> None:
        self._call = call
        self._passage = Passage(call)
        self._plain = Plain(None)
        self.inside = False
        """Whether a method of the body is reading: it may do so by others of its methods."""
        call.end_with(self, call.give_up)

    def answered(self, status: int, headers: Mapping[str, str]) -> Watch:
        """Take the head of the answer."""
        self._call.answered(status, headers)
        self._plain = Plain(headers.get(_ENCODING))
        return self

    @guarded
    def take(self, piece: bytes, *, plain: bool = False) -> None:
        """Take the next piece.

        Args:
            piece: As it passes.
            plain: Whether it is decompressed already.
        """
        if plain:
            self._passage.piece(piece)
            return
        for part in self._plain.pieces(piece):
            self._passage.piece(part)

    def end(self) -> None:
        """Take it that there is no more."""
        self._passage.end()

    def close(self) -> None:
        """Take it that nobody reads on."""
        self._passage.close()

    def read(self, read: Callable[..., T], args: Any, kwargs: Any) -> T:
        """Have a method of the body read."""
        self.inside = True
        try:
            return read(*args, **kwargs)
        except BaseException as error:
            self._passage.fail(error)
            raise
        finally:
            self.inside = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold while all of the body passes."""
        try:
            yield
            self._passage.end()
        except BaseException as error:
            self._passage.fail(error)
            raise


class WatchedReads:
    """What a response becomes that is watched: a class, because its methods call each other.

    It is mixed into the response's own class; :meth:`is_read` and the methods that read are the
    client's.
    """

    __slots__ = ()
    _open_webui: Watch

    def close(self) -> None:
        """Close the response: nobody reads on."""
        self._open_webui.close()
        super().close()  # type: ignore[misc]  # of the response's own class

    def _reads(
        self, read: Callable[..., bytes], args: Any, kwargs: Any, *, plain: bool = False
    ) -> bytes:
        watch = self._open_webui
        if watch.inside:
            return read(*args, **kwargs)
        piece = watch.read(read, args, kwargs)
        self._has_read(piece, plain=plain)
        return piece

    def _has_read(self, piece: bytes, *, plain: bool = False) -> None:
        if piece:
            self._open_webui.take(piece, plain=plain)
        if self._is_read():
            self._open_webui.end()

    def _is_read(self) -> bool:
        """Whether the end of the body has come."""
        raise NotImplementedError


def watch_reads(response: Any, watch: Watch, methods: type[WatchedReads]) -> None:
    """Make a response one that is watched."""
    response._open_webui = watch
    response.__class__ = _watched(methods, type(response))  # type: ignore[arg-type]  # hashable


@functools.cache
def _watched(methods: Any, own: Any) -> type[Any]:
    return type(own.__name__, (methods, own), {"__module__": own.__module__})
