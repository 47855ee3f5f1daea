"""Compressed bodies, read as they pass: what is read of them is decompressed, they are not touched.

Nothing comes out that is larger than a piece, and no more than a bound in all: a few bytes can say
that they are gigabytes.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

LARGEST_PIECE: Final = 1 << 16
MOST: Final = 1 << 28
"""Bytes of one body that are read."""
MOST_ASKED: Final = 1 << 25
"""The same of a request."""
# Of what cannot be told to stop, so little goes in at once that not much can come out.
_SMALL: Final = 256
_GZIP: Final = zlib.MAX_WBITS | 16

_ZLIB_HEADS: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_HEADS: Final = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


class Decoder(Protocol):
    """Decompresses one body."""

    def __call__(self, data: bytes) -> Iterator[bytes]:
        """Take the next piece of it."""


class _Zlib:
    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._stream = zlib.decompressobj(bits)
        self._begun = False

    def __call__(self, data: bytes) -> Iterator[bytes]:
        while data:
            try:
                piece = self._stream.decompress(data, LARGEST_PIECE)
            except zlib.error:
                if self._begun or self._bits != zlib.MAX_WBITS:
                    raise
                # Some servers send `deflate` without its frame (RFC 9110, 8.4.1.2).
                self._bits = -zlib.MAX_WBITS
                self._stream = zlib.decompressobj(self._bits)
                piece = self._stream.decompress(data, LARGEST_PIECE)
            self._begun = True
            if piece:
                yield piece
            data = self._stream.unconsumed_tail or self._stream.unused_data
            if self._stream.eof:
                self._stream = zlib.decompressobj(self._bits)


class _Brotli:
    def __init__(self) -> None:
        self._stream = importlib.import_module("brotli").Decompressor()

    def __call__(self, data: bytes) -> Iterator[bytes]:
        # `output_buffer_limit` came with Brotli 1.2; who is older reads all at once anyway.
        limit = hasattr(self._stream, "can_accept_more_data")
        options = {"output_buffer_limit": LARGEST_PIECE} if limit else {}
        piece = self._stream.process(data, **options)
        while piece:
            yield piece
            piece = self._stream.process(b"", **options) if limit else b""


class _Zstd:
    def __init__(self) -> None:
        self._stream = importlib.import_module("zstandard").ZstdDecompressor().decompressobj()

    def __call__(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _SMALL):
            yield self._stream.decompress(data[at : at + _SMALL])


_DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    "gzip": lambda: _Zlib(_GZIP),
    "x-gzip": lambda: _Zlib(_GZIP),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    "br": _Brotli,
    "zstd": _Zstd,
}


class Plain:
    """Returns what is in the pieces of a body, by its ``Content-Encoding``.

    Args:
        encoding: The header.
        most: Bytes that are read.
    """

    __slots__ = ("_decoders", "_left", "_plain")

    def __init__(self, encoding: object, most: int = MOST) -> None:
        names = [name.strip().lower() for name in str(encoding or "").split(",")]
        wanted = [name for name in reversed(names) if name not in ("", "identity")]
        self._plain = not wanted
        self._left = most
        self._decoders: list[Decoder] = []
        try:
            self._decoders = [_DECODERS[name]() for name in wanted]
        except (KeyError, ImportError):
            self._left = 0

    def pieces(self, data: bytes) -> Iterable[bytes]:
        """Return what is in a piece; nothing, where it cannot be read."""
        return (data,) if self._plain else self._decoded(data)

    def _decoded(self, data: bytes) -> Iterator[bytes]:
        pieces: Iterable[bytes] = (data,)
        for decoder in self._decoders:
            pieces = _through(decoder, pieces)
        try:
            for piece in pieces if self._left > 0 else ():
                self._left -= len(piece)
                if self._left < 0:
                    return
                if piece:
                    yield piece
        except Exception:  # Each library has its own.
            self._left = 0


def _through(decoder: Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from decoder(piece)


def is_packed(body: object) -> bool:
    """Whether a request's body is compressed, as its first bytes say."""
    return isinstance(body, (bytes, bytearray)) and bool(_packed(body))


def _packed(body: bytes | bytearray) -> str:
    for head, name in _HEADS:
        if body.startswith(head):
            return name
    return "deflate" if body.startswith(_ZLIB_HEADS) else ""


def unpacked(body: Any, encoding: object = None) -> Any:
    """Return what is in a request's body; anything but bytes as it is.

    Args:
        body: The body.
        encoding: Its ``Content-Encoding``; where there is none, its first bytes are looked at.
    """
    if not isinstance(body, (bytes, bytearray)):
        return body
    packing = encoding or _packed(body)
    if not packing:
        return body
    return b"".join(Plain(packing, MOST_ASKED).pieces(bytes(body))) or body
