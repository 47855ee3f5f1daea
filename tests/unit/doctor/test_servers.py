"""Which processes are Open WebUI servers, and what is known of them."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.doctor import servers
from opentelemetry.instrumentation.open_webui.doctor.report import BAD, Report

PYTHON = "/venv/bin/python3.11"


class Proc:
    """A directory like the kernel's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "uptime").write_text("1000.0 1.0")

    def add(
        self, pid: int, *args: str, parent: int = 1, started: int = 5000, **environ: str
    ) -> Path:
        process = self.path / str(pid)
        (process / "fd").mkdir(parents=True)
        (process / "net").mkdir()
        (process / "cmdline").write_text("\0".join(args) + "\0")
        rest = ["S", str(parent), *["0"] * 17, str(started)]
        (process / "stat").write_text(f"{pid} (a (name) {pid}) {' '.join(rest)}")
        (process / "environ").write_text("\0".join(f"{k}={v}" for k, v in environ.items()))
        return process

    def listen(self, process: Path, port: int, inode: int) -> None:
        (process / "fd" / "3").symlink_to(f"socket:[{inode}]")
        with (process / "net" / "tcp").open("a") as table:
            table.write("  sl  local_address rem_address   st tx_queue\n")
            row = f"0: 00000000:{port:04X} 00000000:0000 0A 0:0 0:0 0 0 0 {inode} 1"
            table.write(
                row + "\n" + row.replace(" 0A ", " 01 ").replace(f":{port:04X}", ":0001") + "\n"
            )


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "proc").mkdir()
    return Proc(tmp_path / "proc")


@pytest.mark.parametrize(
    ("args", "is_one"),
    [
        ([PYTHON, "/venv/bin/open-webui", "serve", "--port", "3000"], True),
        (["python3", "-m", "uvicorn", "open_webui.main:app", "--workers", "2"], True),
        (
            [
                PYTHON,
                "/venv/bin/gunicorn",
                "-k",
                "uvicorn_worker.UvicornWorker",
                "open_webui.main:app",
            ],
            True,
        ),
        (["gunicorn: master [open_webui.main:app]"], True),
        (["python", "-m", "open_webui", "serve"], True),
        ([PYTHON, "/venv/bin/open-webui", "--help"], False),
        (["bash", "-c", "open-webui serve"], False),
        (["grep", "open_webui.main:app"], False),
        (["vim", "open_webui.main"], False),
        ([PYTHON, "/venv/bin/opentelemetry-open-webui", "doctor"], False),
        ([PYTHON, "-c", "from multiprocessing.spawn import spawn_main"], False),
        ([], False),
    ],
)
def test_servers_are_known_by_their_command(args: list[str], is_one: bool, proc: Proc) -> None:
    proc.add(7, *args)
    assert [server.pid for server in servers.find(proc.path)] == ([7] if is_one else [])


def test_workers_belong_to_their_server(proc: Proc) -> None:
    main = proc.add(7, "python", "-m", "uvicorn", "open_webui.main:app", OTEL_A="b", PYTHONPATH="x")
    proc.add(8, "python", "-c", "spawn", parent=7)
    worker = proc.add(9, "python", "-m", "uvicorn", "open_webui.main:app", parent=8)
    proc.add(10, "python", "other.py")
    proc.listen(main, 8080, 42)
    proc.listen(worker, 9464, 43)
    (main / "net" / "tcp6").write_text((worker / "net" / "tcp").read_text())
    [server] = servers.find(proc.path)
    assert server.pids == [7, 8, 9]
    assert server.ports == {8080, 9464}
    assert server.environ == {"OTEL_A": "b", "PYTHONPATH": "x"}
    assert not server.is_launched
    assert server.age == 1000 - 5000 / os.sysconf("SC_CLK_TCK")


def test_a_command_is_told_without_secrets(proc: Proc) -> None:
    args = ("--ssl-keyfile-password", "a1", "--workers", "2", "--token=b2", "open_webui.main:app")
    proc.add(7, "python", "-m", "uvicorn", *args)
    [server] = servers.find(proc.path)
    assert server.command == (
        "python -m uvicorn --ssl-keyfile-password (hidden) --workers 2 --token=(hidden)"
        " open_webui.main:app"
    )


def leave_note(directory: Path, pid: int, started: int) -> None:
    folder = directory / f"opentelemetry-open-webui-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    note: dict[str, Any] = {"pid": pid, "started": started, "exports": {}}
    (folder / f"{pid}.json").write_text(json.dumps(note))


def test_notes_are_those_of_living_processes(proc: Proc, tmp_path: Path) -> None:
    proc.add(7, PYTHON, "/venv/bin/open-webui", "serve", started=500)
    proc.add(8, PYTHON, "/venv/bin/open-webui", "serve", started=600)
    proc.add(9, PYTHON, "of_my_own.py", started=700)
    leave_note(tmp_path / "tmp", 7, 500)
    leave_note(tmp_path / "tmp", 8, 599)
    leave_note(tmp_path / "tmp", 9, 700)
    leave_note(tmp_path / "tmp", 10, 800)
    found = servers.find(proc.path)
    assert [(server.pid, len(server.notes)) for server in found] == [(7, 1), (8, 0), (9, 1)]


def test_the_note_of_a_container_is_found_in_its_own_files(proc: Proc) -> None:
    process = proc.add(
        4711, "python3", "-m", "uvicorn", "open_webui.main:app", started=900, TMPDIR="/t"
    )
    (process / "status").write_text("Name:\tpython\nNSpid:\t4711\t12\nThreads:\t1\n")
    # Its helper was started at the same moment.
    helper = proc.add(4712, "python3", "-c", "helper", parent=4711, started=900, TMPDIR="/t")
    (helper / "status").write_text("NSpid:\t4712\t13\n")
    (helper / "root").symlink_to(process / "root")
    leave_note(process / "root" / "t", 12, 900)
    leave_note(process / "root" / "t", 14, 900)
    leave_note(process / "root" / "tmp", 12, 901)
    [server] = servers.find(proc.path)
    assert [note.pid for note in server.notes] == [12]


def test_where_no_processes_are_shown_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert servers.find(tmp_path / "nothing") == []


# The report


def test_failures_come_first_once_and_what_is_well_is_folded() -> None:
    report = Report()
    one, other = report.section("One"), report.section("Other")
    for number in range(80):
        one.ok(f"fine {number}")
    one.brief = "80 are fine"
    one.note("by the way")
    other.bad("broken", "Mend it")
    one.bad("broken", "Mend it")
    other.ok("shown")
    text = report.printed(everything=False)
    assert text.splitlines()[:3] == ["To be mended", "  [!!] broken", "       -> Mend it"]
    assert text.count("broken") == 1
    assert "[ok] 80 are fine\n  [--] by the way" in text
    assert "fine 7" not in text
    assert "[ok] shown" in text
    assert text.endswith("Not all is well: 1 to be mended, named at the top.")
    assert "fine 79" in report.printed(everything=True)
    assert [line.mark for line in report.failures] == [BAD]


def test_what_was_not_looked_at_is_not_called_well() -> None:
    report = Report()
    report.section("S").ok("fine")
    assert report.printed(everything=False).endswith("\nAll is well.")
    report.unseen.append("no running server was")
    text = report.printed(everything=False)
    assert text.endswith("\nWhat was looked at is well, but no running server was.")
    report.section("T").bad("broken")
    assert report.printed(everything=False).endswith("named at the top.")


def test_a_line_holds_no_secret_and_commands_no_terminal() -> None:
    report = Report()
    report.section("S").bad("http://me:pass@h/p?key=secret \x1b[2J\nnext" + "x" * 2000)
    text = report.printed(everything=False)
    assert "pass" not in text
    assert "secret" not in text
    assert "\x1b" not in text
    assert len(text) < 1000
