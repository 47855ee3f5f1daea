"""Makes the environments that tests, demo and benchmark run in.

    python3 dev/setup.py pins      Open WebUI and the OpenTelemetry that it pins, into .venv
    python3 dev/setup.py newest    the same with the newest OpenTelemetry, into .venv-newest
    python3 dev/setup.py 0.10.2    that version of Open WebUI, into .venv-0.10.2
    python3 dev/setup.py chromium  Debian's browser, where we may install it

Needs nothing but Python, and finds one that Open WebUI runs on if this is none. What is there and
up to date is left alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from interpreter import fitting

ROOT = Path(__file__).resolve().parent.parent
OPEN_WEBUI = os.environ.get("OPEN_WEBUI_VERSION", "0.12.4")
UV = "uv==0.9.11"
# Seconds of silence after which a step says that it is still at it.
BEAT = 10
CORE = (
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp",
    "opentelemetry-exporter-prometheus",
    "opentelemetry-instrumentation",
)
# What older versions require and the tests do not: torch and what needs it, and large clients that
# are imported when they are configured.
LEFT_OUT = frozenset(
    (
        "accelerate", "colbert-ai", "einops", "elasticsearch", "faster-whisper",
        "gcp-storage-emulator", "moto", "nltk", "onnxruntime", "opencv-python-headless",
        "opensearch-py", "oracledb", "pinecone", "playwright", "pymilvus", "pymongo", "pytube",
        "qdrant-client", "rapidocr-onnxruntime", "sentence-transformers", "transformers",
        "unstructured", "weaviate-client",
    )
)  # fmt: skip
# What they import, and left to one of these to bring.
BROUGHT = ("beautifulsoup4",)
TESTED = ("--group", "test", "--group", "browser", "--group", "postgres")
# What Open WebUI's own ENABLE_OTEL imports.
INSTRUMENTATIONS = (
    "opentelemetry-util-http",
    *(
        f"opentelemetry-instrumentation-{name}"
        for name in (
            "aiohttp-client",
            "asgi",
            "fastapi",
            "httpx",
            "logging",
            "redis",
            "requests",
            "sqlalchemy",
            "system-metrics",
        )
    ),
)


def main() -> None:
    """Make what the command line names."""
    known = {"pins": pins, "newest": newest, "chromium": chromium}
    for name in sys.argv[1:] or ["pins"]:
        if name in known:
            known[name]()
        else:
            version(name)


def pins() -> None:
    """Open WebUI as its image has it, this package, and what tests need."""
    environment = Environment(ROOT / ".venv", "pins")
    if environment.is_ready():
        return
    environment.create()
    environment.install_open_webui()
    environment.install_ours(".[prometheus]")
    environment.install("linters", "--group", "lint")
    environment.install_data()
    environment.install("the specification of compose", "--group", "compose")
    environment.install("what makes dashboards", "--group", "dashboards")
    environment.finish()


def newest() -> None:
    """The same, with the newest OpenTelemetry."""
    environment = Environment(ROOT / ".venv-newest", "newest")
    if environment.is_ready():
        return
    environment.create()
    environment.install_open_webui()
    environment.install_ours()
    upgrade = ("--prerelease", "allow", "--upgrade")
    environment.install("the newest OpenTelemetry", *upgrade, *CORE)
    # Not all of them are released each time, and each demands one release of the core.
    environment.install("its instrumentations", *upgrade, "--no-deps", *INSTRUMENTATIONS)
    environment.install_data()
    environment.finish()


def version(number: str) -> None:
    """A version of Open WebUI with what it pins, but for OpenTelemetry, which is as we need it."""
    environment = Environment(ROOT / f".venv-{number}", "pinned", number)
    if environment.is_ready():
        return
    environment.create()
    environment.install_open_webui()
    environment.install_ours()
    environment.finish()


def chromium() -> None:
    """Install Debian's Chromium; without the right to, browser tests skip and say so."""
    if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say("no Chromium and no right to install it: the browser tests will be skipped")
        return
    say("installing Chromium")
    apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq")
    wait_for(*apt, "update", stdout=subprocess.DEVNULL)
    install = ("install", "-y", "--no-install-recommends", "chromium")
    wait_for(*apt, *install, stdout=subprocess.DEVNULL)


class Environment:
    """One virtual environment, made by uv because pip takes minutes where uv takes seconds."""

    def __init__(self, path: Path, kind: str, version: str = OPEN_WEBUI) -> None:
        self.path = path
        self.kind = kind
        self.version = version
        self.python = path / "bin" / "python"

    def is_ready(self) -> bool:
        """Whether it was made from what the project says now."""
        return self._stamp().exists()

    def create(self) -> None:
        """Begin anew."""
        python = fitting()
        say(
            f"making {self.path.name}: Open WebUI {self.version}, {self.kind} OpenTelemetry, with"
            f" {python}: about 1 GB, in one to five minutes"
        )
        shutil.rmtree(self.path, ignore_errors=True)
        run(python, "-m", "venv", str(self.path))
        run(str(self.python), "-m", "pip", "install", "--quiet", UV)

    def install_open_webui(self) -> None:
        """Install the wheel without its torch, and what its slim image holds."""
        self.install(f"Open WebUI {self.version}", "--no-deps", f"open-webui=={self.version}")
        slim = list(self.path.glob("lib/python*/site-packages/requirements-slim.txt"))
        required = ["--requirement", str(slim[0])] if slim else self._requirements()
        self.install("what it requires, without torch", *required)

    def install_ours(self, package: str = ".") -> None:
        """Install this package, so that its source can be changed, and what tests need."""
        self.install("this package, and what its tests need", "--editable", package, *TESTED)

    def install_data(self) -> None:
        """Install what tests read, without what it would move: a tokenizer's data, conventions."""
        groups = ("--group", "tokenizer", "--group", "conventions")
        self.install("a tokenizer's data and the GenAI conventions", "--no-deps", *groups)

    def _requirements(self) -> list[str]:
        """What a version without a slim variant requires, but for what is left out."""
        [metadata] = self.path.glob("lib/python*/site-packages/open_webui-*.dist-info/METADATA")
        found = re.findall(r"^Requires-Dist: ([\w.-]+)([^;\n]*)$", metadata.read_text(), re.M)
        kept = [f"{name}{pin}".replace(" ", "") for name, pin in found if name not in LEFT_OUT]
        return [*kept, *BROUGHT]

    def install(self, title: str, *what: str) -> None:
        """Install with uv, and say what."""
        say(f"  {title}")
        uv = str(self.path / "bin" / "uv")
        run(uv, "pip", "install", "--quiet", "--python", str(self.python), *what)

    def finish(self) -> None:
        """Note that all went well."""
        self._stamp().touch()

    def _stamp(self) -> Path:
        inputs = [ROOT / "pyproject.toml", Path(__file__)]
        content = b"".join(path.read_bytes() for path in inputs) + self.version.encode()
        return self.path / f"ready-{hashlib.sha256(content).hexdigest()[:16]}"


def run(*command: str) -> None:
    """Run a command in the project's directory; its failure is ours."""
    if wait_for(*command):
        sys.exit(f"failed: {' '.join(command)}")


def wait_for(*command: str, stdout: int | None = None) -> int:
    """Run a command in the project's directory, with a sign of life now and then; its exit code."""
    started = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=stdout) as process:
        while True:
            try:
                return process.wait(timeout=BEAT)
            except subprocess.TimeoutExpired:
                say(f"    … {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    """Show progress."""
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    main()
