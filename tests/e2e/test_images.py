"""The Dockerfile's images, by its own commands in an environment like that of Open WebUI's image.

There need be no Docker engine: what is not tried is that the layers are put together.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.servers import otlp
from e2e.test_start import OURS, frontend, use, what_is_on, without_metadata
from e2e.truth import assert_equal
from harness.openwebui import OpenWebUI
from harness.otlp import Receiver
from harness.programs import ROOT
from harness.provider import Provider
from harness.seed import seeded_data_dir

DOCKERFILE = (ROOT / "Dockerfile").read_text()
ALLOWED_INTO_THE_BUILD = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M)
# What is installed here that Open WebUI's image lacks.
LACKING = (
    "genai_prices",
    "opentelemetry_instrumentation_open_webui",
    "_editable_impl_opentelemetry",
)
MOUNT = "/otel-auto-instrumentation-python"


# Where the package is put, beside others: into folders of the image's own, not of this environment.
SHARED = ("opentelemetry", "opentelemetry/instrumentation")


def of_links(folder: Path) -> None:
    """Replace a link to a folder by a folder of links."""
    linked = folder.resolve()
    folder.unlink()
    folder.mkdir()
    for entry in linked.iterdir():
        (folder / entry.name).symlink_to(entry)


def commands(stage: str) -> str:
    """What a stage of the Dockerfile runs."""
    [text] = re.findall(rf"^FROM \S+{stage}\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.M | re.S)
    [run] = re.findall(r"^RUN ((?:.*\\\n)*.*)$", text, re.M)
    return run


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    """The programs of an environment like the image's, without us."""
    programs = without_metadata(tmp_path)
    [packages] = programs.parent.glob("lib/python*/site-packages")
    for entry in list(packages.iterdir()):
        if entry.name.startswith(LACKING):
            entry.unlink()
    for folder in SHARED:
        of_links(packages / folder)
    pip = programs / "pip"
    pip.write_text(f'#!/bin/sh\nexec {programs}/python -m pip "$@"\n')
    pip.chmod(0o755)
    yield programs
    # What is installed there has not come into this environment, where it would hide `src`.
    assert not (Path(sysconfig.get_path("purelib")) / SHARED[-1] / "open_webui").exists()


def build(image: Path, stage: str, root: Path, extras: str = "") -> None:
    """Run a stage's commands as if `root` were the root of the image's file system."""
    package = root / "tmp" / "package"
    package.mkdir(parents=True)
    for name in ALLOWED_INTO_THE_BUILD:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, package / name)
    script = re.sub(r"(?<=[ \"])(?=/tmp/|/autoinstrumentation)", str(root), commands(stage))
    environment = {"PATH": f"{image}:/usr/bin:/bin", "HOME": str(root), "EXTRAS": extras}
    subprocess.run(["sh", "-ec", script], env=environment, check=True)


class Injected(OpenWebUI):
    """A server in a pod: by the image's own start script, which knows nothing of us."""

    def command(self) -> list[str]:
        """Start it as the image does."""
        return super().command()[1:]


def injected(directory: Path) -> dict[str, str]:
    """What the operator sets in a container, its folder being here."""
    auto = f"{directory}/opentelemetry/instrumentation/auto_instrumentation"
    return {
        "PYTHONPATH": f"{auto}:{directory}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_SERVICE_NAME": "open-webui",
        "OTEL_PROPAGATORS": "tracecontext,baggage",
        "OTEL_RESOURCE_ATTRIBUTES": (
            "k8s.container.name=open-webui,service.instance.id=chat.open-webui-0.open-webui"
        ),
    }


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_what_the_operator_injects_counts_all_calls(
    image: Path, provider: Provider, receiver: Receiver, tmp_path: Path
) -> None:
    build(image, " AS lacking", tmp_path)
    volume = tmp_path / MOUNT.strip("/")
    shutil.copytree(tmp_path / "autoinstrumentation", volume)
    held = {path.name.partition("-")[0] for path in volume.iterdir()}
    assert held == {"opentelemetry", "opentelemetry_instrumentation_open_webui", "genai_prices"}
    with Injected(
        provider,
        copy_from=seeded_data_dir(),
        bin_dir=image,
        launcher="start.sh",
        workers=2,
        env={
            **otlp(receiver),
            **injected(volume),
            "FROM_INIT_PY": "false",
            "FRONTEND_BUILD_DIR": frontend(),
        },
    ) as server:
        truth = use(server, provider, calls=24)
        assert_equal(receiver, truth)
        assert len(what_is_on(server)) == 2
        assert {span.scope for span in receiver.spans} == {OURS}
        assert "Traceback" not in server.log_text()


def test_the_image_with_us_in_it_has_our_commands(image: Path, tmp_path: Path) -> None:
    build(image, "", tmp_path, extras="[prometheus]")
    doctor = [image / "opentelemetry-open-webui", "doctor", "--help"]
    assert subprocess.run(doctor, check=False, capture_output=True).returncode == 0
    asked = [image / "python", "-c", "import opentelemetry.exporter.prometheus"]
    assert subprocess.run(asked, check=False, capture_output=True).returncode == 0
    assert not (tmp_path / "tmp" / "package").exists()
