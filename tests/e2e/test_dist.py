"""What `make dist` builds: the wheel, the sdist, and the page that an index shows of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from harness.programs import ROOT

UV = Path(sys.executable).parent / "uv"
SOURCE = ROOT / "src"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REPOSITORY = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
# What is for the place that keeps the repository; and what a build adds.
NOT_IN_THE_SDIST = (".ci/", ".github/")
ADDED_TO_THE_SDIST = {"PKG-INFO"}
METADATA = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}

CONSUMER = """
from opentelemetry.instrumentation.open_webui import OpenWebUIInstrumentor
from opentelemetry.instrumentation.open_webui.settings import Settings, SettingError

instrumentor: OpenWebUIInstrumentor = OpenWebUIInstrumentor()
limit: int = Settings.load({}).series_limit
wrong: str = Settings.load({}).series_limit
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was built: by `make dist`, or now."""
    if "DIST" in os.environ:
        return ROOT / os.environ["DIST"]
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run([UV, "build", "--quiet", "--out-dir", directory], cwd=ROOT, check=True)
    return directory


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [path] = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def page(wheel: Path) -> Message:
    """The metadata, with the README as its body."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return message_from_bytes(archive.read(name))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert {name.split(".dist-info/")[1] for name in about} == METADATA
    package = [path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert names - about == {str(path.relative_to(SOURCE)) for path in package}
    assert "opentelemetry/instrumentation/open_webui/py.typed" in names


def test_the_sdist_holds_the_repository(dist: Path) -> None:
    """So its tests run as they do here."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone of the repository")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    [path] = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    names = {name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()}
    kept = {name for name in names if not name.startswith(NOT_IN_THE_SDIST)}
    assert held == kept | ADDED_TO_THE_SDIST


def test_every_link_of_the_page_is_absolute_and_leads_somewhere(page: Message) -> None:
    text, tag = page.get_payload(), f"v{page['Version']}"
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    relative = [link for link in links if not re.match(r"https://|#", link)]
    assert relative == []
    ours = [link.removeprefix(REPOSITORY) for link in links if link.startswith(REPOSITORY)]
    assert len(ours) > 10
    for link in ours:
        kind, found, file = link.strip("/").split("/", 2)
        assert (kind, found) == ("raw" if file.endswith(".png") else "blob", tag)
        assert (ROOT / file.partition("#")[0]).exists()


def test_the_page_names_the_repository(page: Message) -> None:
    urls = dict(entry.split(", ") for entry in page.get_all("Project-URL"))
    assert {"Homepage", "Documentation", "Changelog", "Issues"} == urls.keys()
    assert all(url.startswith(REPOSITORY) for url in urls.values())


def test_the_types_of_the_wheel_are_seen(wheel: Path, tmp_path: Path) -> None:
    environment, consumer = tmp_path / "environment", tmp_path / "consumer.py"
    python = environment / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, wheel], check=True)
    consumer.write_text(CONSUMER)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python]
    done = subprocess.run([*mypy, consumer.name], cwd=tmp_path, capture_output=True, text=True)
    [error, _] = done.stdout.splitlines()
    assert "consumer.py:7" in error
    assert 'expression has type "int", variable has type "str"' in error
