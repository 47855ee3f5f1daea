"""The doctor, run as people run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2e.servers import otlp
from harness.openwebui import HOST, SETTINGS, free_port
from harness.otlp import Receiver

MODULE = [sys.executable, "-m", "opentelemetry.instrumentation.open_webui"]
SCRIPT = [str(Path(sys.executable).with_name("opentelemetry-open-webui"))]


def doctor(home: Path, command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), "DATA_DIR": str(home), **SETTINGS, **env}
    del environ["FROM_INIT_PY"]
    return subprocess.run(
        [*command, "doctor"], cwd=home, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", [MODULE, SCRIPT])
def test_all_is_well(command: list[str], receiver: Receiver, tmp_path: Path) -> None:
    receiver.clear()
    done = doctor(tmp_path, command, otlp(receiver))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("All is well.\n")
    assert "[ok] version 0." in done.stdout
    assert "patched: open_webui.routers.openai.generate_chat_completion" in done.stdout
    assert f"traces: otlp to http://{HOST}:" in done.stdout
    assert "[!!]" not in done.stdout
    [event] = receiver.wait_for(lambda r: r.events)
    assert event.attributes["open_webui.task"] == "doctor"
    assert [span.name for span in receiver.spans] == ["chat doctor"]
    assert receiver.increase("open_webui.usage.requests")
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_said_and_no_secret(receiver: Receiver, tmp_path: Path) -> None:
    receiver.clear()
    secrets = {
        "OPENAI_API_KEY": "sk-provider-secret",
        "WEBUI_SECRET_KEY": "session-secret",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer header-secret",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://me:url-secret@{HOST}:{free_port()}/?k=key-secret",
        "OTEL_PYTHON_OPEN_WEBUI_USER_IDENTITY": "hash",
        "OTEL_PYTHON_OPEN_WEBUI_USER_HASH_SALT": "salt-secret",
        "OTEL_PYTHON_OPEN_WEBUI_SERIES_LIMIT": "many",
        "OTEL_PYTHON_OPEN_WEBUI_PRICE_FILE": str(tmp_path / "prices.yaml"),
    }
    (tmp_path / "prices.yaml").write_text("prices:\n  - model: m\n    per_image: -1")
    done = doctor(tmp_path, MODULE, {**otlp(receiver), **secrets})
    assert done.returncode == 1
    assert (
        "[!!] Open WebUI instrumentation: OTEL_PYTHON_OPEN_WEBUI_SERIES_LIMIT='many'" in done.stdout
    )
    assert "a whole number from 100" in done.stdout
    assert "user_hash_salt = (set)" in done.stdout
    assert "prices.yaml, line 3: per_image is '-1'" in done.stdout
    assert f"[!!] metrics: otlp to http://{HOST}:" in done.stdout
    assert "[ok] traces: otlp to" in done.stdout
    assert "secret" not in done.stdout + done.stderr
    assert [span.name for span in receiver.spans] == ["chat doctor"]


def test_without_open_webui_it_says_so(tmp_path: Path) -> None:
    hidden = tmp_path / "open_webui"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('broken installation')")
    done = doctor(tmp_path, MODULE, {"PYTHONPATH": str(tmp_path), "OTEL_TRACES_EXPORTER": "none"})
    assert done.returncode == 1
    assert "[!!] cannot be imported: ImportError: broken installation" in done.stdout
