from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from opentelemetry.instrumentation.open_webui.ledger import spool as module
from opentelemetry.instrumentation.open_webui.ledger.booking import Booking
from opentelemetry.instrumentation.open_webui.ledger.spool import Spool
from unit.ledger.books import booking


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
    for name in ("0", "1"):
        file.with_name(f"{spool._prefix}{name}.jsonl").touch()
    assert taken(spool) == kept
    assert spool.waiting() == []
