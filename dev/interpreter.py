"""Finds a Python that Open WebUI runs on: `python3` is often newer or older than that."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

FITTING = ("3.12", "3.11")
"""What Open WebUI and this package run on both."""

# Prints its version if it can make environments, which Debian's cannot without another package.
_PROBE = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
_PYENV = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))


def fitting() -> str:
    """Return its path: the one that runs this, if it fits. Without any, exit with advice."""
    for candidate in [sys.executable, *_others()]:
        if _version(candidate) in FITTING:
            return candidate
    wanted = FITTING[0]
    sys.exit(
        f"setup: Open WebUI runs on Python {' or '.join(FITTING)}, and none with its venv module is"
        f" here ({sys.executable} is {sys.version.split()[0]}): install one by your system's"
        f" packages, `pyenv install {wanted}` or `uv python install {wanted}`, or say where it is:"
        f" PYTHON=/path/to/python{wanted}"
    )


def _others() -> list[str]:
    """Where they usually are: on the path, and where uv and pyenv put them."""
    found: list[str | None] = []
    for version in FITTING:
        found += [shutil.which(f"python{version}"), _of_uv(version)]
        found += sorted(glob.glob(f"{_PYENV}/versions/{version}.*/bin/python{version}"))
    return [path for path in found if path]


def _of_uv(version: str) -> str:
    uv = shutil.which("uv")
    return _output(uv, "python", "find", "--no-python-downloads", version) if uv else ""


def _version(python: str) -> str:
    return _output(python, "-c", _PROBE)


def _output(*command: str) -> str:
    """What a command prints; nothing if it fails, as pyenv's shims of what is not active do."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()
