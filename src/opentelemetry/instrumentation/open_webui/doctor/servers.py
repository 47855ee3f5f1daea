"""The Open WebUI servers that run here: their processes, their notes, their variables.

A process is known by its command line or by its note; its notes are also looked for in its own
view of the file system, which may be a container's. Where the kernel shows no processes, only
notes are found.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from ..host import presence
from ..host.presence import Note

PROC: Final = Path("/proc")

_PYTHON: Final = re.compile(r"python[\d.]*|pypy[\d.]*|gunicorn|uvicorn|hypercorn|granian")
_APP: Final = re.compile(r"open_webui\.main(:\w+)?")
_COMMAND, _SERVES = "open-webui", ("serve", "dev")
_SECRET: Final = re.compile(r"-.*(password|secret|token|key|header)", re.I)
_HIDDEN: Final = "(hidden)"
_OWN_PID: Final = re.compile(r"^NSpid:.*?(\d+)$", re.M)
_LISTENING: Final = "0A"
_LONGEST_COMMAND: Final = 200
# How long a note without a kernel's word for it counts as a living process's.
_FRESH_SECONDS: Final = 30.0


@dataclass
class Server:
    """One server: a process and what it has started."""

    pid: int
    pids: list[int] = field(default_factory=list)
    command: str = ""
    notes: list[Note] = field(default_factory=list)
    environ: dict[str, str] | None = None
    """Its variables; ``None`` if they may not be read."""
    ports: set[int] = field(default_factory=set)
    """At which it listens, as far as that may be seen."""
    age: float | None = None
    """Seconds since it was started."""

    @property
    def is_launched(self) -> bool:
        """Whether it was started with ``opentelemetry-instrument``."""
        path = (self.environ or {}).get("PYTHONPATH", "")
        return "opentelemetry/instrumentation/auto_instrumentation" in path

    @property
    def name(self) -> str:
        """The server in words."""
        where = f", port {', '.join(map(str, sorted(self.ports)))}" if self.ports else ""
        return f"process {self.pid}{where}"


def find(proc: Path = PROC) -> list[Server]:
    """Return all servers that can be seen."""
    processes = {process.pid: process for process in _processes(proc)}
    living = {note.pid: note for note in _living(proc)}
    roots = [pid for pid, each in processes.items() if each.serves]
    roots += [pid for pid in living if pid not in roots]
    servers = []
    for pid in sorted(set(roots)):
        if not any(parent in roots for parent in _ancestors(pid, processes)):
            servers.append(_server(pid, processes, living, proc))
    return servers


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    args: tuple[str, ...]

    @property
    def serves(self) -> bool:
        """Whether its command line is that of an Open WebUI server."""
        names = [os.path.basename(arg) for arg in self.args]
        if not names or not _PYTHON.match(names[0].rstrip(":")):
            return False
        if any(_APP.fullmatch(arg.strip("[]")) for arg in self.args):
            return True
        return any(
            name in (_COMMAND, "open_webui") and following in _SERVES
            for name, following in pairwise(names)
        )


def _server(
    pid: int, processes: dict[int, _Process], living: dict[int, Note], proc: Path
) -> Server:
    members = [pid, *(each for each in processes if pid in _ancestors(each, processes))]
    server = Server(pid, members)
    if pid in processes:
        server.command = _told(processes[pid].args)
    server.environ = _environ(proc / str(pid))
    server.ports = _ports(proc, members)
    server.age = _age(pid, proc)
    for member in members:
        note = living.get(member) or _note_within(member, server.environ or {}, proc)
        if note is not None:
            server.notes.append(note)
    return server


def _told(args: Sequence[str]) -> str:
    """A command line without the values of options that may hold secrets."""
    told, hidden = [], False
    for arg in args:
        name, sign, _ = arg.partition("=")
        secret = bool(_SECRET.match(name))
        if hidden:
            told.append(_HIDDEN)
        else:
            told.append(f"{name}={_HIDDEN}" if secret and sign else arg)
        hidden = secret and not sign and not hidden
    return " ".join(told)[:_LONGEST_COMMAND]


def _processes(proc: Path) -> Iterator[_Process]:
    try:
        pids = [int(path.name) for path in proc.iterdir() if path.name.isdigit()]
    except OSError:
        return
    for pid in pids:
        try:
            line = (proc / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace")
            parent = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        args = [arg for arg in line.split("\0") if arg]
        # Servers that name themselves write one line with spaces.
        yield _Process(pid, parent, tuple(args if len(args) > 1 else line.strip("\0").split()))


def _ancestors(pid: int, processes: dict[int, _Process]) -> list[int]:
    found: list[int] = []
    while pid in processes and processes[pid].parent not in (0, *found):
        pid = processes[pid].parent
        found.append(pid)
    return found


def _living(proc: Path) -> Iterator[Note]:
    for directory in dict.fromkeys((Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))):
        for note in presence.notes(directory):
            if _is_living(note, proc):
                yield note


def _is_living(note: Note, proc: Path) -> bool:
    if note.started:
        return presence.started(note.pid, proc) == note.started
    return time.time() - note.written < _FRESH_SECONDS


def _note_within(pid: int, environ: dict[str, str], proc: Path) -> Note | None:
    """The note of a process, looked for where it sees its temporary files."""
    began, name = presence.started(pid, proc), _own_pid(proc / str(pid))
    for directory in dict.fromkeys((environ.get("TMPDIR", "/tmp"), "/tmp", "/var/tmp")):
        within = proc / str(pid) / "root" / directory.lstrip("/")
        for note in presence.notes(within):
            # Several may have been started at one moment.
            if began and (note.started, note.pid) == (began, name):
                return note
    return None


def _own_pid(process: Path) -> int:
    """What a process is to itself: in a container, another number."""
    try:
        names = _OWN_PID.findall((process / "status").read_text())
    except OSError:
        names = []
    return int(names[0] if names else process.name)


def _environ(process: Path) -> dict[str, str] | None:
    try:
        text = (process / "environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    pairs = (each.partition("=") for each in text.split("\0") if "=" in each)
    return {name: value for name, _, value in pairs}


def _age(pid: int, proc: Path) -> float | None:
    try:
        up = float((proc / "uptime").read_text().split()[0])
        return max(0.0, up - presence.started(pid, proc) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return None


def _ports(proc: Path, pids: Sequence[int]) -> set[int]:
    """The ports at which processes listen."""
    sockets = {name for pid in pids for name in _sockets(proc / str(pid))}
    return {
        port
        for pid in pids[:1]
        for table in ("tcp", "tcp6")
        for port, inode in _listeners(proc / str(pid) / "net" / table)
        if f"socket:[{inode}]" in sockets
    }


def _sockets(process: Path) -> Iterator[str]:
    try:
        files: Iterable[Path] = list((process / "fd").iterdir())
    except OSError:
        return
    for file in files:
        try:
            yield os.readlink(file)
        except OSError:
            continue


def _listeners(table: Path) -> Iterator[tuple[int, str]]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTENING:
            yield int(fields[1].rpartition(":")[2], 16), fields[9]
