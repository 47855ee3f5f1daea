"""Calls that wait in a file until the database takes them.

Each process appends to a file of its own, which it holds a lock on; a file that nobody holds is
taken up by whoever finds it. A call that is written to the database twice counts once, so a file is
removed only after all of it is there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Final

from .booking import Booking, dumped, loaded

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where an open file cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

_logger = logging.getLogger(__name__)

_SUFFIX: Final = ".jsonl"
_ASIDE: Final = ".unreadable"


class Spool:
    """The files of one ledger in a folder.

    Args:
        folder: Where they are.
        ledger: The name of the ledger's database.
    """

    def __init__(self, folder: Path, ledger: str) -> None:
        self.folder = folder
        self.ledger = ledger
        digest = hashlib.blake2b(ledger.encode(), digest_size=4).hexdigest()
        self._prefix = f"usage-spool-{digest}-"
        self._own: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._left: set[Path] = set()

    def append(self, bookings: Sequence[Booking]) -> None:
        """Keep calls.

        Raises:
            OSError: They are not kept, or not all: they are to be given again.
        """
        data = "".join(f"{dumped(booking)}\n" for booking in bookings).encode()
        with self._lock:
            own = self._open_own()
            start = own.seek(0, os.SEEK_END)
            try:
                _write(own, data)
            except OSError:
                self._cut(own, start)
                raise

    def _open_own(self) -> IO[bytes]:
        if self._own is None:
            self._own = self._made()
        return self._own

    def _made(self) -> IO[bytes]:
        while True:
            path = self.folder / f"{self._prefix}{uuid.uuid4().hex}{_SUFFIX}"
            made = path.open("ab", buffering=0)
            # Before it is held, somebody may have found it, and have removed it as empty.
            if _locked(made) and os.fstat(made.fileno()).st_nlink:
                return made
            made.close()

    def _cut(self, own: IO[bytes], size: int) -> None:
        """Take back half a write; if that fails too, the next one goes to another file."""
        try:
            own.truncate(size)
        except OSError:
            self._own = None

    def waiting(self) -> list[Path]:
        """Return the files that there are."""
        return sorted(self.folder.glob(f"{self._prefix}*{_SUFFIX}"))

    @property
    def is_used(self) -> bool:
        """Whether there is a file that is ours."""
        return self._own is not None

    def parts(self, at_once: int) -> Iterator[list[Booking]]:
        """Yield the calls of the first file that nobody holds and that has some.

        A file is removed when all of it was taken, and left alone if it cannot be read.

        Args:
            at_once: How many in each part.
        """
        self.let_go()
        for path in self.waiting():
            if path in self._left:
                continue
            try:
                with path.open("rb") as file:
                    if _locked(file):
                        yield from self._parts(path, file, at_once)
                        if file.tell():
                            return
            except FileNotFoundError:
                pass
            except OSError as error:
                self._left.add(path)
                _logger.error("The usage ledger leaves %s alone: %s", path, error.strerror)

    def _parts(self, path: Path, file: IO[bytes], at_once: int) -> Iterator[list[Booking]]:
        is_whole = True
        while some := list(islice(file, at_once)):
            read = [loaded(line.decode("utf-8", "replace")) for line in some]
            is_whole = is_whole and all(map(_is_known_or_cut, read, some))
            yield [booking for booking in read if booking is not None]
        if is_whole:
            path.unlink()
        else:
            aside = path.rename(path.with_suffix(_ASIDE))
            _logger.error("The usage ledger cannot read some lines of %s, and keeps it.", aside)

    def let_go(self) -> None:
        """Append no more to the file that is ours, so that it can be taken up."""
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.close()

    def leave(self) -> None:
        """Let go in a process that was forked: the file is the parent's, and its lock."""
        own, self._own = self._own, None
        if own is not None:
            own.close()


def _write(file: IO[bytes], data: bytes) -> None:
    """Write all of it: a disk that is nearly full takes a part, and says nothing."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _is_known_or_cut(booking: Booking | None, line: bytes) -> bool:
    """Whether nothing is amiss with a line: the last one of a process that was killed is cut."""
    return booking is not None or not line.endswith(b"\n")


def _locked(file: IO[bytes]) -> bool:
    """Whether nobody else holds a file, which is held from now on until it is closed."""
    if fcntl is None:  # pragma: no cover - Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
