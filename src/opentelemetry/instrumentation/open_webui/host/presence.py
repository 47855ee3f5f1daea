"""The note that each serving process leaves of itself, for the doctor to find.

It lies in a folder of the user in the directory for temporary files, named after the process, is
written anew every few seconds by a thread, and taken away at the end. It tells no user, no model
and no secret. A note of a process that has ended is known by when that process was started; the
next server takes it away.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

_logger = logging.getLogger(__name__)

T = TypeVar("T")

FOLDER: Final = "opentelemetry-open-webui-"
"""What the folder's name begins with; the user's number follows."""

_LARGEST: Final = 1 << 16
_MOST_NOTES: Final = 1000
# In the line that Linux has of a process, after its name.
_STARTED: Final = 19


@dataclass(frozen=True)
class Exported:
    """What became of the exports of one signal."""

    exports: int = 0
    failures: int = 0
    dropped: int = 0
    failing: bool = False
    """Whether the last one failed."""


@dataclass(frozen=True)
class Booked:
    """How the ledger of a process fares."""

    on: bool = False
    where: str = ""
    """The database, without its password; empty until it was opened."""
    written: int = 0
    queued: int = 0
    spooled: int = 0
    spool_files: int = 0
    lost: int = 0
    behind: float = 0.0
    """Seconds."""
    problem: str = ""


@dataclass(frozen=True)
class Checked:
    """How a process holds to limits."""

    on: bool = False
    where: str = ""
    """Their file, or in words where they are."""
    known: bool = False
    """Whether they were read."""
    limits: int = 0
    refused: int = 0
    """Calls."""
    unchecked: int = 0
    """Calls that were let in or refused while nobody knew what was used."""
    problem: str = ""


@dataclass(frozen=True)
class Note:
    """What a process tells of itself."""

    pid: int = 0
    started: int = 0
    """When the process was started, in the kernel's own measure; 0 where there is none."""
    written: float = 0.0
    """Unix time."""
    version: str = ""
    open_webui: str = ""
    opentelemetry: str = ""
    instance: str = ""
    """``service.instance.id``."""
    paths: str = ""
    """How many are covered, in words."""
    missing: list[str] = field(default_factory=list)
    """What is not covered and should be, in words."""
    calls: int = 0
    destinations: dict[str, str] = field(default_factory=dict)
    """Where each signal goes, in words."""
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    exports: dict[str, Exported] = field(default_factory=dict)
    ledger: Booked = field(default_factory=Booked)
    limits: Checked = field(default_factory=Checked)


_Part = Note | Booked | Checked | Exported


class Presence:
    """The note of this process. Does I/O: for a thread."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._told = False

    def write(self, note: Note) -> None:
        """Write the note, or say once why it cannot be written."""
        try:
            folder = _own_folder()
            if self._file is None:
                _sweep(folder)
            self._file = folder / f"{note.pid}.json"
            _write(self._file, json.dumps(asdict(note)))
        except OSError as error:
            if not self._told:
                self._told = True
                _logger.info(
                    "Open WebUI instrumentation: no note can be left for the doctor (%s).", error
                )

    def forget(self) -> None:
        """Leave the note to the process that this one was forked from."""
        self._file = None

    def remove(self) -> None:
        """Take the note away."""
        file, self._file = self._file, None
        if file is not None:
            file.unlink(missing_ok=True)


def own(**more: Any) -> Note:
    """Return a note of this process."""
    pid = os.getpid()
    return Note(pid=pid, started=started(pid), written=time.time(), **more)


def started(pid: int, proc: Path = Path("/proc")) -> int:
    """Return when a process was started, in clock ticks since the machine was; 0 if unknown."""
    try:
        return int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[_STARTED])
    except (OSError, ValueError, IndexError):
        return 0


def notes(directory: Path) -> Iterator[Note]:
    """Yield the notes in all users' folders in a directory, as far as they may be read."""
    try:
        folders = sorted(directory.glob(f"{FOLDER}*"))
        for folder in folders:
            if _is_trusted(folder):
                yield from _of_folder(folder)
    except OSError:
        return


def _of_folder(folder: Path) -> Iterator[Note]:
    for file in sorted(folder.glob("*.json"))[:_MOST_NOTES]:
        note = read(file)
        if note is not None:
            yield note


def read(file: Path) -> Note | None:
    """Return the note in a file, if it holds one."""
    try:
        if file.stat().st_size > _LARGEST:
            return None
        stored = json.loads(file.read_bytes())
        exports = {str(name): _told(Exported, each) for name, each in stored["exports"].items()}
        # A server of the version before tells nothing of it.
        ledger = _told(Booked, stored.get("ledger", {}))
        limits = _told(Checked, stored.get("limits", {}))
        note = replace(_told(Note, stored), exports=exports, ledger=ledger, limits=limits)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None
    parts: tuple[_Part, ...] = (note, ledger, limits, *exports.values())
    return note if all(map(_is_right, parts)) else None


def _told(kind: Callable[..., T], stored: Mapping[str, Any]) -> T:
    """Return what is known of what is told: a server of a newer version tells more."""
    known = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in stored.items() if name in known})


def _is_right(told: _Part) -> bool:
    right = type(told)()
    return all(
        isinstance(getattr(told, item.name), type(getattr(right, item.name)))
        for item in fields(told)
    )


def _own_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"{FOLDER}{_user()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_trusted(folder):
        raise OSError(f"{folder} belongs to somebody else, or is open to others")
    return folder


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")


def _is_trusted(folder: Path) -> bool:
    """Whether a folder is its user's alone: anybody may make one in a directory for all."""
    found = folder.lstat()
    if not hasattr(os, "getuid"):
        return stat.S_ISDIR(found.st_mode)
    private = not stat.S_IMODE(found.st_mode) & 0o077
    return stat.S_ISDIR(found.st_mode) and private and folder.name == f"{FOLDER}{found.st_uid}"


def _sweep(folder: Path) -> None:
    """Take away what ended processes have left."""
    for file in sorted(folder.glob("*.json"))[:_MOST_NOTES]:
        if _is_over(file):
            file.unlink(missing_ok=True)


def _is_over(file: Path) -> bool:
    note, begun = read(file), started(int(file.stem)) if file.stem.isdigit() else 0
    # What we cannot read may be of another version, and its server runs on.
    return not begun if note is None else bool(note.started) and note.started != begun


def _write(file: Path, text: str) -> None:
    new = file.with_suffix(f".{os.getpid()}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)
    new.replace(file)
