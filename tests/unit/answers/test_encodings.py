from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable

import brotli
import pytest
import zstandard

from opentelemetry.instrumentation.open_webui.answers.encodings import (
    LARGEST_PIECE,
    MOST_ASKED,
    Plain,
    is_packed,
    unpacked,
)
from unit.served import PACKERS

TEXT = os.urandom(50_000).hex().encode()
BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "br": lambda text: brotli.compress(text, quality=5),
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("size", [1, 7, 10_000, 1_000_000])
@pytest.mark.parametrize("packer", PACKERS)
def test_any_pieces_are_read(packer: str, size: int) -> None:
    encoding, pack = PACKERS[packer]
    packed, plain = pack(TEXT), Plain(encoding)
    step = max(size, len(packed) // 2000)
    pieces = [packed[at : at + step] for at in range(0, len(packed), step)]
    assert b"".join(part for piece in pieces for part in plain.pieces(piece)) == TEXT


@pytest.mark.parametrize("encoding", [None, "", "identity", "IDENTITY"])
def test_what_is_not_compressed_passes_as_it_is(encoding: str | None) -> None:
    assert list(Plain(encoding).pieces(b"abc")) == [b"abc"]


@pytest.mark.parametrize(
    "encoding", ["gzip", "br", "zstd", "deflate", "unheard-of", "gzip, x", "-"]
)
def test_what_cannot_be_read_is_nothing(encoding: str) -> None:
    plain = Plain(encoding)
    assert b"".join(plain.pieces(b"\xff\xffno such thing" * 9)) == b""
    assert b"".join(plain.pieces(gzip.compress(TEXT))) == b""


def test_several_members_are_one_text() -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"two")
    assert b"".join(Plain("gzip").pieces(packed)) == b"onetwo"


@pytest.mark.parametrize("encoding", BOMBS)
def test_a_bomb_takes_no_memory(encoding: str) -> None:
    bomb = BOMBS[encoding](bytes(MOST_ASKED * 2))
    tracemalloc.start()
    try:
        size = sum(map(len, Plain(encoding, MOST_ASKED).pieces(bomb)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size <= MOST_ASKED
    assert peak < MOST_ASKED
    assert len(unpacked(bomb, encoding)) <= MOST_ASKED


def test_pieces_are_small() -> None:
    assert max(map(len, Plain("gzip").pieces(gzip.compress(bytes(1 << 22))))) <= LARGEST_PIECE


def test_a_request_is_told_by_its_first_bytes() -> None:
    assert is_packed(gzip.compress(b"{}"))
    assert not is_packed(b'{"model": "m"}')
    assert not is_packed("text")
    assert unpacked(b'{"model": "m"}', "gzip") == b'{"model": "m"}'
    assert unpacked("x") == "x"
