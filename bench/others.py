"""Other instrumentations of calls to models beside ours, on the same answers, as ratios to ours.

Each has an environment of its own, with the newest that its publisher releases. They instrument
OpenAI's client, which Open WebUI does not use, and know no users, groups or prices; so this says
what is usual, not who is better.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import library

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"
OTHERS = {
    "openinference": "openinference-instrumentation-openai",
    "openllmetry": "opentelemetry-instrumentation-openai",
    "openlit": "openlit",
    "genai": "opentelemetry-instrumentation-genai-openai",
}
"""By their names in ``bench.other``."""


def environment(package: str) -> Path:
    """The interpreter of an environment that has the package."""
    python = ROOT / f".venv-bench-{package}" / "bin" / "python"
    if not python.exists():
        subprocess.run((UV, "venv", "--quiet", python.parent.parent), check=True)
        subprocess.run(
            (
                UV, "pip", "install", "--quiet", "--prerelease", "allow", "--python", python,
                package, "openai", "opentelemetry-sdk",
            ),
            check=True,
        )  # fmt: skip
    return python


def version(python: Path, package: str) -> str:
    """The version of a package in an environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run((python, "-c", code), capture_output=True, text=True, check=True).stdout


def measured(name: str, python: Path) -> tuple[float, float]:
    """Microseconds that an instrumentation adds to a call, and to an event of a stream."""
    given = json.dumps([library.ANSWER.decode(), library.CHUNK.decode()])
    told = subprocess.run(
        (python, ROOT / "bench" / "other.py", name),
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout
    call, event = json.loads(told.splitlines()[-1])
    return call, event


def table() -> Iterator[str]:
    """Yield the lines of a table."""
    call, event = library.per_call(2), library.per_chunk()
    yield f"ours: {call:.0f} µs for a call, {event:.2f} µs for an event of a stream"
    yield f"  {'as many times ours':56}{'call':>8}{'event':>8}"
    for name, package in OTHERS.items():
        python = environment(package)
        its_call, its_event = measured(name, python)
        told = f"{package} {version(python, package).strip()}"
        yield f"  {told:56}{its_call / call:8.1f}{its_event / event:8.1f}"


def main() -> None:
    """Measure and print."""
    for line in table():
        print(line, flush=True)


if __name__ == "__main__":
    main()
