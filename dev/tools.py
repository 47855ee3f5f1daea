"""Builds the programs that the stack is made of from source, into .tools/bin.

    python3 dev/tools.py            all that is missing
    python3 dev/tools.py jaeger     that one

Needs Go; what is there and up to date is left alone. Exits with 3 where a program cannot be had, so
that tests can skip what needs it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
MANIFEST = ROOT / "collector-config" / "builder.yaml"
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.161.0"
PROMETHEUS = "github.com/prometheus/prometheus"
PROMETHEUS_VERSION = "v0.316.0"
JAEGER = "github.com/jaegertracing/jaeger"
JAEGER_VERSION = "v1.76.0"
UNAVAILABLE = 3
PROGRESS_SECONDS = 15
SHOWN = 80


@dataclass(frozen=True)
class Tool:
    """One or more programs that are built together."""

    programs: tuple[str, ...]
    recipe: str
    """What it is built from: another recipe is another program."""
    build: Callable[[], None]

    @property
    def stamp(self) -> Path:
        """Exists when the programs are there, made by this recipe."""
        digest = hashlib.sha256(self.recipe.encode()).hexdigest()[:12]
        return BIN / f".{self.programs[0]}-{digest}"

    def is_there(self) -> bool:
        """Whether nothing is to be done."""
        return self.stamp.exists() and all((BIN / name).exists() for name in self.programs)


def collector() -> None:
    """Build the collector from its manifest."""
    go("install", BUILDER)
    (TOOLS / "build").mkdir(exist_ok=True)
    run(str(BIN / "builder"), f"--config={MANIFEST}", cwd=ROOT)
    shutil.move(TOOLS / "build" / "collector" / "otelcol-open-webui", BIN / "otelcol")


def prometheus() -> None:
    """Build Prometheus and promtool, without service discovery and without the web page."""
    module(
        "prometheus",
        f"{PROMETHEUS}/cmd/prometheus",
        f"{PROMETHEUS}/cmd/promtool",
        version=PROMETHEUS_VERSION,
    )


def jaeger() -> None:
    """Build Jaeger v2."""
    module("jaeger", f"{JAEGER}/cmd/jaeger", version=JAEGER_VERSION)


TOOLS_BY_NAME = {
    "collector": Tool(("otelcol",), BUILDER + MANIFEST.read_text(), collector),
    "prometheus": Tool(("prometheus", "promtool"), PROMETHEUS_VERSION, prometheus),
    "jaeger": Tool(("jaeger",), JAEGER_VERSION, jaeger),
}


def main() -> None:
    """Build what the command line names, one at a time, whoever else asks for it."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(sys.argv[1:] or list(TOOLS_BY_NAME))


def build(names: list[str]) -> None:
    """Build these, as far as they are missing; whatever else runs here comes first."""
    os.nice(10)
    for name in names:
        tool = TOOLS_BY_NAME[name]
        if tool.is_there():
            continue
        if shutil.which("go") is None:
            say(f"{name} cannot be built here: there is no Go")
            sys.exit(UNAVAILABLE)
        say(f"building {name}, which takes minutes")
        began = time.monotonic()
        BIN.mkdir(parents=True, exist_ok=True)
        tool.build()
        tool.stamp.touch()
        say(f"{name} is built, in {time.monotonic() - began:.0f} s")
    shutil.rmtree(TOOLS / "build", ignore_errors=True)


def module(name: str, *programs: str, version: str) -> None:
    """Build programs of a module in a module of our own: only so their requirements hold."""
    directory = TOOLS / "build" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    go("mod", "init", "tools", cwd=directory)
    go("get", "-tool", *(f"{program}@{version}" for program in programs), cwd=directory)
    go(
        "build",
        "-v",
        "-tags",
        "remove_all_sd",
        "-ldflags",
        "-s -w",
        "-o",
        f"{BIN}{os.sep}",
        *programs,
        cwd=directory,
    )


def go(*arguments: str, cwd: Path = ROOT) -> None:
    """Run Go; what it installs goes to our folder."""
    run("go", *arguments, cwd=cwd, GOBIN=str(BIN), GOFLAGS="-mod=mod", CGO_ENABLED="0")


def run(*command: str, cwd: Path, **environ: str) -> None:
    """Run a command and say how far it is; where it fails, the program cannot be had."""
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **environ},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lines: list[str] = []
    reader = threading.Thread(target=collect, args=(process, lines))
    reader.start()
    began = time.monotonic()
    while reader.is_alive():
        reader.join(PROGRESS_SECONDS)
        if reader.is_alive():
            say(f"  {time.monotonic() - began:.0f} s{how_far(lines)}")
    if process.wait():
        say("".join(lines)[-3000:])
        say(f"failed: {' '.join(command)}")
        sys.exit(UNAVAILABLE)


def collect(process: subprocess.Popen[str], lines: list[str]) -> None:
    """Keep each line that a command prints, as it comes."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)


def how_far(lines: list[str]) -> str:
    """The line that a command is at: Go prints one for each package that it compiles."""
    return f", line {len(lines)}: {lines[-1].strip()[-SHOWN:]}" if lines else ""


def say(text: str) -> None:
    """Show progress."""
    print(f"tools: {text}", flush=True)


if __name__ == "__main__":
    main()
