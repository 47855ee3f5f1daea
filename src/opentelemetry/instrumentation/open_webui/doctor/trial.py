"""Imports Open WebUI as a server does and says what was patched: in a process of its own.

It serves nothing, exports nothing and writes nothing but to a temporary directory, so it may run
beside a running server.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

_TAIL: Final = 8
# Importing Open WebUI opens databases; the trial's are its own, and empty.
_AWAY_FROM_YOURS: Final = {
    "REDIS_URL": "",
    "WEBSOCKET_MANAGER": "",
    "FROM_INIT_PY": "true",
    "ENABLE_OTEL": "false",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}


@dataclass
class Result:
    """What came of it."""

    version: str = ""
    newest: str = ""
    """The newest version that we know, where this one is newer."""
    states: list[tuple[str, str]] = field(default_factory=list)
    """Of each target: what became of it, and what it is."""
    paths: str = ""
    """How many are covered, in words."""
    error: str = ""
    said: list[str] = field(default_factory=list)
    """The last lines that Open WebUI has written, where it failed."""


class Trial:
    """A trial under way.

    Args:
        environ: The variables of the server that it is about.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=_elsewhere(self._directory.name, environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def result(self, seconds: float) -> Result | None:
        """Return what came of it; ``None`` if that takes longer."""
        with self._directory:
            try:
                out, _ = self._process.communicate(timeout=max(seconds, 0))
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()
                return None
        try:
            result = Result(**json.loads(out))
        except (ValueError, TypeError):
            return Result(error=f"the trial ended with {self._process.returncode}")
        result.states = [(state, what) for state, what in result.states]
        return result


def _elsewhere(directory: str, server: Mapping[str, str]) -> dict[str, str]:
    """The variables of a server whose data lies in a directory of its own."""
    theirs = {name: server[name] for name in server if not name.startswith("PYTHON")}
    environ = {
        "WEBUI_SECRET_KEY": "doctor",
        **os.environ,
        **theirs,
        **_AWAY_FROM_YOURS,
        "DATA_DIR": directory,
        "STATIC_DIR": f"{directory}/static",
        "DATABASE_URL": f"sqlite:///{directory}/webui.db",
    }
    if environ.get("USE_SLIM_DOCKER", "").lower() != "true":
        environ["VECTOR_DB"] = "chroma"
    return environ


def main() -> None:
    """Do it, and write the result as JSON."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        result = _result()
    if result.error:
        result.said = said.getvalue().splitlines()[-_TAIL:]
    sys.stdout.write(json.dumps(asdict(result)))
    sys.stdout.flush()
    # Threads of Open WebUI's libraries may not want to end.
    os._exit(0)


def _result() -> Result:
    from .. import OpenWebUIInstrumentor
    from ..host import compat, startup
    from ..host.patching import MAIN, Patcher

    instrumentor = OpenWebUIInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument()
    try:
        importlib.import_module(MAIN)
    except BaseException as error:
        return Result(error=f"{type(error).__name__}: {error}")
    patcher: Patcher = instrumentor._patcher
    newer = compat.version()[:2] > compat.NEWEST
    return Result(
        version=compat.version_text(),
        newest=".".join(map(str, compat.NEWEST)) if newer else "",
        states=[
            (state, f"{target.module}.{target.attribute} ({target.covers})")
            for target, state in patcher.states()
        ],
        paths=startup.paths(patcher.states()),
    )


if __name__ == "__main__":
    main()
