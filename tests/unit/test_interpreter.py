"""Which Python the environments are made with, beside a `python3` of any version."""

from __future__ import annotations

from pathlib import Path

import pytest
from dev import interpreter


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that the path leads to, and no pyenv."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(interpreter, "_PYENV", str(tmp_path / "pyenv"))
    return tmp_path


def program(path: Path, prints: str, code: int = 0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


def runs(monkeypatch: pytest.MonkeyPatch, python: str) -> None:
    monkeypatch.setattr(interpreter.sys, "executable", python)


@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_the_one_that_runs_is_taken_if_it_fits(
    path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    program(path / "python3.12", "3.12")
    python = program(path / "python3", version)
    runs(monkeypatch, python)
    assert interpreter.fitting() == python


@pytest.mark.parametrize("version", ["3.10", "3.13"])
@pytest.mark.parametrize(
    "where", ["python3.12", "python3.11", "pyenv/versions/3.11.7/bin/python3.11"]
)
def test_beside_one_that_does_not_another_is_found(
    path: Path, monkeypatch: pytest.MonkeyPatch, version: str, where: str
) -> None:
    runs(monkeypatch, program(path / "python3", version))
    python = program(path / where, where[-4:])
    assert interpreter.fitting() == python


def test_what_uv_has_fetched_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, program(path / "python3", "3.13"))
    python = program(path / "share" / "python", "3.12")
    program(path / "uv", python)
    assert interpreter.fitting() == python


def test_without_any_one_line_says_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, program(path / "python3", "3.13"))
    # pyenv's shim of a version that is not active, and one without venv.
    program(path / "python3.12", "pyenv: command not found", code=127)
    program(path / "python3.11", "", code=1)
    with pytest.raises(SystemExit) as left:
        interpreter.fitting()
    text = str(left.value)
    assert "\n" not in text
    assert "3.12 or 3.11" in text
    assert "PYTHON=" in text
