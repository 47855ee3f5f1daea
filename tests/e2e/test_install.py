"""Installing into Open WebUI's environment moves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
OWN = "opentelemetry-instrumentation-open-webui"
# What Open WebUI 0.12.4 pins, by its own requirements.
PINNED = {"opentelemetry-api": "1.42.1", "opentelemetry-instrumentation": "0.63b1"}
# What is new there; all else that we need, it has.
NEW = {OWN, "genai-prices"}
ALLOWED = {"": set(), "[prometheus]": {"opentelemetry-exporter-prometheus", "prometheus-client"}}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Open WebUI's own environment, without us."""
    [requirements] = Path(sys.prefix).glob("lib/python*/site-packages/requirements-slim.txt")
    assert {f"{name}=={pin}" for name, pin in PINNED.items()} <= set(
        requirements.read_text().splitlines()
    )
    environment = tmp_path_factory.mktemp("image")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    uv = [Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--python"]
    subprocess.run([*uv, environment / "bin" / "python", "-r", requirements], check=True)
    return environment


@pytest.mark.parametrize("extra", ALLOWED)
def test_installing_changes_no_other_package(environment: Path, extra: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--dry-run"]
    subprocess.run([*pip, "--report", report, f"{PROJECT}{extra}"], check=True)
    installed = {
        item["metadata"]["name"].lower().replace("_", "-")
        for item in json.loads(report.read_text())["install"]
    }
    assert installed == NEW | ALLOWED[extra]
