"""A file of limits: checked as a whole, read again while running, never half of it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from opentelemetry.instrumentation.open_webui.ledger.database import Database, of_file
from opentelemetry.instrumentation.open_webui.ledger.ledger import Unavailable
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.limits.limits_file import (
    LimitsFile,
    LimitsFileError,
    of_text,
)

GOOD = """\
limits:
  - name: Tokens
    everyone: true
    measure: tokens
    amount: 100_000
    per: day
    zone: Europe/Berlin
grants:
  - limit: Tokens
    user: ada
    more: 50 %
    until: 2026-12-04
"""


def test_a_good_file() -> None:
    rules = of_text(GOOD, "f")
    assert rules.limits[0].amount == 100_000
    assert rules.grants[0].percent == 50


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("amount: 100_000", "amount: lots", "f, line 5: limits[1].amount: 'lots' must be a whole"),
        ("per: day", "per: dya", "f, line 6: limits[1].per: 'dya' must be one of"),
        ("per: day", "pre: day", "f, line 6: limits[1].pre: this is not a key"),
        ("    measure: tokens\n", "", "f, line 2: limits[1]: the key measure is missing"),
        ("user: ada", "user: ada\n    user: bob", "f, line 11: user stands here twice"),
        ("limit: Tokens", "limit: Others", "f, line 9: grants[1].limit: 'Others' is no limit"),
        ("grants:", "grant:", "f, line 9: grant: this is not a key; there are limits, grants"),
        ("per: day", "per: [day", "f, line 7: "),
        ("per: day", "per: !!python/object:os.system day", "f, line 6: "),
        ("zone: Europe/Berlin", "zone: 2026-99-99", "f: month must be in 1..12"),
        (GOOD, "", "f is empty"),
        (GOOD, "- 1", "f, line 1: it must have keys: limits, grants"),
        (GOOD, "a: &a [*a]", "f, line 1: a: this is not a key"),
        (GOOD, "limits: &a [*a]", "f, line 1: limits[1]: it must have keys"),
        pytest.param(GOOD, "[" * 5000, "f", marks=pytest.mark.large),
        (GOOD, "{[a]: 1}", "f"),
        (GOOD, "limits: 2026-99-99", "f"),
        (GOOD, "\x00", "f"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, problem: str) -> None:
    with pytest.raises(LimitsFileError) as error:
        of_text(GOOD.replace(old, new), "f")
    assert str(error.value).startswith("f")
    assert problem in str(error.value)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = of_file(tmp_path / "usage.db")
    Store(database).open()
    return database


def write(path: Path, text: str) -> None:
    """Write it so that the change is seen, however quick."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_it_is_read_again_and_the_last_good_one_holds(
    tmp_path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "limits.yaml"
    write(path, GOOD)
    file = LimitsFile(str(path))
    found = file.refresh(lambda: database)
    assert found is not None
    rules, since = found
    assert set(since) == {rules.limits[0].id}
    assert file.refresh(lambda: database) is None

    write(path, GOOD.replace("per: day", "per: dya"))
    for _ in range(3):
        assert file.refresh(lambda: database) is None
    told = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert f"{path}, line 6: limits[1].per" in told[0]
    assert "The limits that were read before stay in force." in told[0]

    path.unlink()
    assert file.refresh(lambda: database) is None
    assert "cannot be read" in caplog.text

    write(path, GOOD.replace("100_000", "5"))
    anew = file.refresh(lambda: database)
    assert anew is not None
    assert anew[0].limits[0].amount == 5
    assert anew[1] == since


def test_one_that_was_never_good_says_so_until_it_is(tmp_path: Path, database: Database) -> None:
    path = tmp_path / "limits.yaml"
    file = LimitsFile(str(path))
    for _ in range(2):
        with pytest.raises(LimitsFileError, match="cannot be read"):
            file.refresh(lambda: database)
    write(path, GOOD)
    assert file.refresh(lambda: database) is not None


def test_it_holds_before_the_ledger_is_open(tmp_path: Path) -> None:
    def away() -> Database:
        raise Unavailable("the ledger is being opened")

    path = tmp_path / "limits.yaml"
    write(path, GOOD)
    found = LimitsFile(str(path)).refresh(away)
    assert found is not None
    assert found[1] == {}
