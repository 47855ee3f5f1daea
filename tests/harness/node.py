"""Packages for Node, where there is Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NODE = 20


def install(directory: Path, what: str) -> None:
    """Install what a directory's lock file says, unless it is there. Skips where that cannot be.

    Args:
        directory: It holds ``package.json`` and ``package-lock.json``.
        what: Who needs it, to say why tests are skipped.
    """
    missing = [name for name in ("node", "npm") if not shutil.which(name)]
    if missing:
        pytest.skip(f"{what} needs Node {NODE}: no {' and no '.join(missing)}")
    version = subprocess.run(["node", "--version"], text=True, capture_output=True, check=True)
    if int(version.stdout.lstrip("v").partition(".")[0]) < NODE:
        pytest.skip(f"{what} needs Node {NODE}, not {version.stdout.strip()}")
    # npm writes this file last.
    done = directory / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= (directory / "package-lock.json").stat().st_mtime:
        return
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    made = subprocess.run(command, cwd=directory, text=True, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"{what} needs packages that npm cannot install: {made.stderr.strip()[-500:]}")
