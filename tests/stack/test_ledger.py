"""The ledger as a file: for whom it is, and what of it a full disk may spoil."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from harness.disks import PAGE, fill, small_disk
from harness.openwebui import HOST, free_port
from harness.programs import ROOT, Collector
from stack.reports import wait_for

NOBODY = 65534
DISK = 16 * PAGE


@contextmanager
def collector(directory: Path, **env: str) -> Iterator[Collector]:
    """One that has only the ledger to write to."""
    away = f"http://{HOST}:{free_port()}"
    with Collector(directory, away, away, env=env) as running:
        yield running


def tell(to: Collector, ids: range) -> None:
    """Send an event for each call, about as large as they are."""
    for number in ids:
        record = {
            "timeUnixNano": str(time.time_ns()),
            "eventName": "open_webui.usage",
            "attributes": [
                {"key": "open_webui.call.id", "value": {"stringValue": str(number)}},
                {"key": "user.name", "value": {"stringValue": '{"resourceLogs":' + "ü" * 1000}},
            ],
        }
        body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
        httpx.post(f"{to.otlp}/v1/logs", json=body, trust_env=False).raise_for_status()


def id_of(line: str) -> int:
    """The id of the call that a line tells of; ValueError if it is no whole line."""
    [resource] = json.loads(line)["resourceLogs"]
    attributes = resource["scopeLogs"][0]["logRecords"][0]["attributes"]
    return int(attributes[0]["value"]["stringValue"])


def as_the_docs_say(file: Path) -> list[int]:
    """The ids of the calls in a ledger, read by the command of `docs/pipeline.md` for cut lines."""
    document = (ROOT / "docs" / "pipeline.md").read_text()
    [program] = re.findall(r"^jq -cR '(.*)' \\\n  usage\.jsonl > whole\.jsonl$", document, re.M)
    command = ["jq", "-cR", program, file]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [id_of(line) for line in done.stdout.splitlines()]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody gets into, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as directory:
        for path in (Path(directory), Path(directory) / Collector.name):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        yield Path(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try to read as somebody else")
def test_nobody_else_reads_it(open_directory: Path) -> None:
    with collector(open_directory) as running:
        tell(running, range(1))
        file, queue = running.ledger / "usage.jsonl", running.directory / "queue"
        wait_for(lambda: file.exists() and file.stat().st_size)
        assert [stat.S_IMODE(path.stat().st_mode) for path in (running.ledger, queue)] == [
            0o700
        ] * 2
        for path in (running.log_file, file, *queue.iterdir()):
            done = subprocess.run(["cat", path], user=NOBODY, capture_output=True, check=False)
            assert (b"Permission denied" in done.stderr) == (path != running.log_file)


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq to read it with")
def test_a_full_disk_costs_no_line_but_the_one_that_it_cut(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", DISK) as disk,
        collector(tmp_path, LEDGER_DIR=str(disk / "ledger")) as running,
    ):
        file = disk / "ledger" / "usage.jsonl"
        tell(running, range(5))
        wait_for(lambda: file.exists() and file.read_text().count("\n") == 5)
        filler = fill(disk)
        tell(running, range(5, 10))
        # The rest of its last page is all that the file can take.
        wait_for(lambda: file.stat().st_size % PAGE == 0)
        text = file.read_text(errors="replace")
        assert not text.endswith("\n")
        written = text.count("\n")
        assert 5 <= written < 10
        filler.unlink()
        wait_for(lambda: len(as_the_docs_say(file)) == 10)
        assert as_the_docs_say(file) == list(range(10))
        # The cut piece and the line after it share a line; every other is whole by itself.
        lines = file.read_text(errors="replace").splitlines()
        assert len(lines) == 10
        assert lines[written].startswith(text.splitlines()[-1][:-1])
        whole = [number for number in range(10) if number != written]
        assert [id_of(lines[number]) for number in whole] == whole
        with pytest.raises(ValueError, match=r"delimiter|Unterminated"):
            id_of(lines[written])
        # It goes on as if nothing had been, also in a new process.
        running.stop()
        running.start()
        tell(running, range(10, 12))
        wait_for(lambda: as_the_docs_say(file) == list(range(12)))
