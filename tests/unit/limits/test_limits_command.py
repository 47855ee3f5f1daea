"""``opentelemetry-open-webui limits``, as administrators run it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import yaml

from opentelemetry.instrumentation.open_webui.__main__ import main
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.settings import PREFIX
from unit.ledger.books import booking
from unit.limits.test_limits_file import GOOD

pytestmark = pytest.mark.database


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (PREFIX + "LEDGER", PREFIX + "LIMITS_FILE", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    store = Store(of_file(tmp_path / "usage.db"))
    store.open()
    store.write([booking(time.time(), input=100, output=20)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "limits.yaml"
    staff = "{name: S, group: staff, measure: cost, amount: 5, per: month, counts_from: start}"
    more = f"    counts_from: start\n  - {staff}\n"
    path.write_text(GOOD.replace("grants:\n", f"{more}grants:\n"))
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["opentelemetry-open-webui", "limits", *arguments])
    return main()


def test_a_file_is_checked(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", str(file)) == 0
    assert capsys.readouterr().out == f"{file} is right: 2 limits, 1 grant.\n"
    file.write_text(file.read_text().replace("per: day", "per: dya"))
    assert run(monkeypatch, "check", str(file)) == 1
    assert f"limits: {file}, line 6: limits[1].per: 'dya'" in capsys.readouterr().err


def test_what_is_applied_is_exported_and_explained(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "apply", str(file)) == 0
    assert "there are now 2 limits, 1 grant." in capsys.readouterr().out
    assert run(monkeypatch, "export") == 0
    exported = capsys.readouterr().out
    assert [one["name"] for one in yaml.safe_load(exported)["limits"]] == ["Tokens", "S"]
    file.write_text(exported)
    assert run(monkeypatch, "apply", str(file)) == 0
    capsys.readouterr()
    assert run(monkeypatch, "explain", "u-alice") == 0
    told = capsys.readouterr().out
    assert "User u-alice, in research, teaching:" in told
    assert "Tokens: holds\n    it is for everyone" in told
    assert "120 tokens of 100,000 tokens used, 99,880 tokens left, back at 00:00" in told
    assert "S: does not hold\n    it is for group staff" in told
    assert run(monkeypatch, "explain", "u-alice", "--group", "staff") == 0
    told = capsys.readouterr().out
    assert "S: holds" in told
    assert "0.0000 USD of 5.00 USD used, 5.00 USD left" in told


def test_a_file_in_force_is_what_is_explained(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PREFIX + "LIMITS_FILE", str(file))
    assert run(monkeypatch, "explain", "nobody") == 0
    told = capsys.readouterr().out
    assert "User nobody, in no group:" in told
    assert "Tokens: holds" in told
    assert run(monkeypatch, "apply", str(file)) == 0
    assert "They do not hold while LIMITS_FILE is set" in capsys.readouterr().out


def test_a_bad_file_changes_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "apply", str(file)) == 0
    bad = file.with_name("bad.yaml")
    bad.write_text("limits: 5")
    assert run(monkeypatch, "apply", str(bad)) == 1
    assert "line 1: limits: it must be a list" in capsys.readouterr().err
    assert run(monkeypatch, "export") == 0
    assert "Tokens" in capsys.readouterr().out
