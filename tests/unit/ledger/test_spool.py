from __future__ import annotations

import json
from pathlib import Path
from typing import IO

import pytest

from harness.disks import PAGE, small_disk
from opentelemetry.instrumentation.open_webui.ledger import spool as module
from opentelemetry.instrumentation.open_webui.ledger.booking import Booking
from opentelemetry.instrumentation.open_webui.ledger.spool import Spool
from unit.ledger.books import booking, many


def taken(spool: Spool) -> list[Booking]:
    return [one for part in spool.parts(100) for one in part]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, "ledger")


def test_what_was_kept_is_taken_once(spool: Spool) -> None:
    kept = [booking(), booking()]
    spool.append(kept)
    assert taken(spool) == kept
    assert taken(spool) == []
    assert spool.waiting() == []


def test_a_file_that_somebody_finds_before_it_is_held_takes_no_call_along(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = module._locked
    found: list[list[Booking]] = []

    def late(file: IO[bytes]) -> bool:
        monkeypatch.setattr(module, "_locked", locked)
        found.append(taken(Spool(tmp_path, "ledger")))
        return locked(file)

    monkeypatch.setattr(module, "_locked", late)
    kept = [booking()]
    spool.append(kept)
    assert found == [[]]
    assert taken(Spool(tmp_path, "ledger")) == []
    assert taken(spool) == kept


def test_a_file_that_somebody_else_holds_first_is_left_to_them(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, answers = module._locked, [False]
    monkeypatch.setattr(module, "_locked", lambda file: answers.pop() if answers else locked(file))
    kept = [booking()]
    spool.append(kept)
    assert taken(spool) == kept


def test_files_without_a_call_hold_nothing_up(spool: Spool, tmp_path: Path) -> None:
    other = Spool(tmp_path, "ledger")
    kept = [booking()]
    other.append(kept)
    other.let_go()
    (file,) = other.waiting()
    for name in ("-0", "-1"):  # Before any other.
        file.with_name(f"{spool._prefix}{name}.jsonl").touch()
    assert taken(spool) == kept
    assert spool.waiting() == []


def test_a_disk_that_takes_a_part_of_a_write_loses_none_of_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8 * PAGE) as disk:
        spool, kept = Spool(disk, "ledger"), list[Booking]()
        is_full = False
        while not is_full:
            calls = many(10, len(kept))
            try:
                spool.append(calls)
                kept += calls
            except OSError:
                is_full = True
        assert kept
        assert taken(spool) == kept


def test_what_another_version_kept_is_taken(spool: Spool, tmp_path: Path) -> None:
    kept = [booking(), booking()]
    spool.append(kept)
    spool.let_go()
    (file,) = spool.waiting()
    newer, older = map(json.loads, file.read_text().splitlines())
    newer["from_the_future"] = 1
    del older["imported"]
    file.write_text(f"{json.dumps(newer)}\n{json.dumps(older)}\n")
    assert taken(spool) == kept


def test_what_cannot_be_understood_is_kept_and_told(
    spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = [booking(), booking()]
    spool.append(kept)
    spool.let_go()
    (file,) = spool.waiting()
    first, second = file.read_text().splitlines(keepends=True)
    file.write_text(f"{first}what is this?\n{second}" + '{"half a li')
    before = file.read_text()
    assert taken(spool) == kept
    assert spool.waiting() == []
    assert file.with_suffix(".unreadable").read_text() == before
    assert "cannot read some lines" in caplog.text


def test_the_half_line_of_a_killed_process_is_no_reason_to_keep_a_file(spool: Spool) -> None:
    kept = [booking()]
    spool.append(kept)
    spool.let_go()
    (file,) = spool.waiting()
    with file.open("a") as cut:
        cut.write('{"half a li')
    assert taken(spool) == kept
    assert list(file.parent.iterdir()) == []


def test_a_file_that_cannot_be_read_holds_no_other_up(
    spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = [booking()]
    spool.append(kept)
    spool.let_go()
    # As one that is somebody else's, which root can read all the same.
    (tmp_path / f"{spool._prefix}0.jsonl").mkdir()
    assert taken(spool) == kept
    assert len(spool.waiting()) == 1
    assert taken(spool) == []
    assert caplog.text.count("leaves") == 1
