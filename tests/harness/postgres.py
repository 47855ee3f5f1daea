"""PostgreSQL with pgvector, from PyPI's pgserver: where Open WebUI's slim variant keeps vectors."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from harness.openwebui import HOST, free_port
from harness.running import Running

# PostgreSQL refuses to run as root.
OWNER = "nobody" if os.geteuid() == 0 else None


PROGRAMS = Path("pgserver") / "pginstall" / "bin"


def installed() -> Path:
    """The directory of the package; its libraries lie beside it."""
    spec = importlib.util.find_spec("pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


class Postgres(Running):
    """A server of our own on a free loopback port; its data go with it."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._home / "data"
        self.port = free_port()

    @property
    def url(self) -> str:
        """The address with the user, as Open WebUI takes it."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    def start(self) -> Self:
        """Start an empty server."""
        # Where we are installed, another user may not be let in.
        for part in (installed(), installed().with_name("pgserver.libs")):
            shutil.copytree(part, self._home / part.name, symlinks=True)
        self._home.chmod(0o755)
        self._data.mkdir(mode=0o700)
        if OWNER is not None:
            shutil.chown(self._data, OWNER)
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "--no-sync")
        options = f"-c listen_addresses={HOST} -p {self.port} -k {self._data} -c fsync=off"
        log = str(self._data / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")
        return self

    def restart(self) -> None:
        """Let it crash, and come back."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "restart")

    def close(self) -> None:
        """End it, and remove its data."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop", check=False)
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        subprocess.run(
            [str(self._home / PROGRAMS / program), *arguments],
            check=check,
            cwd=self._home,
            user=OWNER,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
