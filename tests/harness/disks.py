"""A file system of a test's own, which can be full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = 4096


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[Path]:
    """A file system of so few bytes that it is soon full."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no disk can be filled here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def remount(disk: Path, how: str) -> None:
    """Let it be read only (``ro``), or be written again (``rw``)."""
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def fill(disk: Path) -> Path:
    """Take all that is left of a disk; return what has to go to have it back."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(PAGE)):
                pass
        except OSError:
            return filler
    raise AssertionError
