"""The note that a process leaves of itself."""

from __future__ import annotations

import json
import logging
import os
import stat
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from opentelemetry.instrumentation.open_webui import complaints
from opentelemetry.instrumentation.open_webui.host import presence
from opentelemetry.instrumentation.open_webui.host.presence import Exported, Note, Presence
from opentelemetry.instrumentation.open_webui.host.startup import note
from opentelemetry.instrumentation.open_webui.ledger.ledger import Off
from opentelemetry.instrumentation.open_webui.limits.off import Off as NoLimits
from unit.sdk import Sdk

NOTE = presence.own(
    version="1",
    missing=["a"],
    calls=3,
    destinations={"traces": "there"},
    exports={"logs": Exported(2, 1)},
)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def folder(directory: Path) -> Path:
    return directory / f"opentelemetry-open-webui-{os.getuid()}"


def test_a_note_comes_back_as_it_was(directory: Path) -> None:
    Presence().write(NOTE)
    assert list(presence.notes(directory)) == [NOTE]
    assert NOTE.started == presence.started(os.getpid()) > 0
    [file] = folder(directory).iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_it_is_removed_by_who_wrote_it(directory: Path) -> None:
    own, forked = Presence(), Presence()
    own.write(NOTE)
    forked.write(NOTE)
    forked.forget()
    forked.remove()
    assert list(presence.notes(directory)) == [NOTE]
    own.remove()
    own.remove()
    assert list(presence.notes(directory)) == []


def test_the_first_to_write_takes_away_what_ended_processes_left(directory: Path) -> None:
    other, ended = Presence(), replace(NOTE, started=NOTE.started - 1)
    other.write(NOTE)
    (folder(directory) / "77.json").write_text(json.dumps({**asdict(ended), "pid": 77}))
    (folder(directory) / "88.json").write_text("no JSON")
    Presence().write(NOTE)
    assert [file.name for file in folder(directory).iterdir()] == [f"{os.getpid()}.json"]


def test_one_of_another_version_stays_while_its_process_runs(directory: Path) -> None:
    other = Presence()
    other.write(NOTE)
    (folder(directory) / f"{os.getppid()}.json").write_text('{"told": "otherwise"}')
    Presence().write(NOTE)
    assert {file.stem for file in folder(directory).iterdir()} == {
        str(os.getpid()), str(os.getppid()),
    }  # fmt: skip


def test_what_a_newer_version_tells_more_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "1.json"
    more = {"exports": {"logs": {"failures": 2, "unheard": 1}}, "pid": 1, "unheard": {}}
    file.write_text(json.dumps(more))
    assert presence.read(file) == Note(pid=1, exports={"logs": presence.Exported(failures=2)})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"exports": []}',
        '{"exports": {}, "pid": "1"}',
        '{"exports": {}, "missing": "a"}',
        '{"exports": {"logs": {"failures": "1"}}}',
        '{"exports": {}, "ledger": []}',
        '{"exports": {}, "ledger": {"written": "1"}}',
        "x" * 70_000,
    ],
)
def test_what_is_no_note_is_none(text: str, tmp_path: Path) -> None:
    file = tmp_path / "1.json"
    file.write_text(text)
    assert presence.read(file) is None
    file.write_text(json.dumps({"exports": {}, "pid": 1}))
    assert presence.read(file) == Note(pid=1)


def test_a_folder_that_is_open_to_others_is_not_used(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder(directory).mkdir()
    folder(directory).chmod(0o777)
    one = Presence()
    one.write(NOTE)
    one.write(NOTE)
    assert list(folder(directory).iterdir()) == []
    assert caplog.text.count("no note can be left") == 1
    (folder(directory) / "1.json").write_text(json.dumps({"exports": {}, "pid": 1}))
    assert list(presence.notes(directory)) == []


def test_a_link_to_a_folder_is_not_followed(directory: Path) -> None:
    (directory / "elsewhere").mkdir(mode=0o700)
    folder(directory).symlink_to(directory / "elsewhere")
    Presence().write(NOTE)
    assert list((directory / "elsewhere").iterdir()) == []


def test_a_process_tells_what_it_does() -> None:
    sdk = Sdk()
    sdk.call().end()
    sdk.telemetry.exports.tallies["traces"].exported(5, failed=True)
    told = note([], sdk.telemetry, Off(), NoLimits())
    assert (told.pid, told.calls, told.paths) == (
        os.getpid(),
        1,
        "0 of 0 paths covered, 0 not in use here",
    )
    assert told.exports["traces"] == Exported(2, 1, 5, failing=True)
    assert told.exports["logs"] == Exported(1)
    assert told.opentelemetry
    assert set(told.destinations) == {"traces", "metrics", "logs"}


def test_complaints_are_kept_once_and_few() -> None:
    logger = logging.getLogger("opentelemetry.instrumentation.open_webui.somewhere")
    complaints.listen()
    complaints.listen()
    try:
        logger.info("fine")
        for _ in range(2):
            logger.error("bad %s", "x" * 1000)
            logger.warning("odd\nline")
        [error] = complaints.complaints.errors()
        assert error.startswith("bad xxx")
        assert len(error) == 600
        assert complaints.complaints.warnings() == ["odd line"]
        for number in range(100):
            logger.warning("%d", number)
        assert len(complaints.complaints.warnings()) == 19
    finally:
        complaints.stop()
    logger.error("later")
    assert complaints.complaints.errors() == []
