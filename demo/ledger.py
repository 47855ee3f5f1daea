"""The same numbers from the ledger, by the command that people use."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from demo.figures import BILLION, Amount, Figures, Key, add
from harness.openwebui import OpenWebUI

FILE = "usage.db"
COMMAND = [sys.executable, "-m", "opentelemetry.instrumentation.open_webui", "ledger", "report"]


def report(server: OpenWebUI, *options: str) -> str:
    """What the command prints, while the server runs."""
    command = [*COMMAND, "--database", str(server.data_dir / FILE), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def figures(server: OpenWebUI) -> Figures:
    """What it says by user, model, picked model and source."""
    lines = report(server, "--by", "user,model,picked,source", "--format", "json").splitlines()
    return {_key(row): _amount(row) for row in map(json.loads, lines)}


def _key(row: Mapping[str, Any]) -> Key:
    return Key(row["user id"], row["model"], row["picked model"], row["source"], task="")


def _amount(row: Mapping[str, Any]) -> Amount:
    return Amount(
        requests=row["requests"],
        failed=row["failed"],
        input=row["input tokens"],
        output=row["output tokens"],
        cost=int(Decimal(row["cost USD"] or 0) * BILLION),
        unpriced=row["unpriced"],
    )


def of_all_tasks(known: Figures) -> Figures:
    """Figures as the command has them, which does not tell tasks apart."""
    found: Figures = {}
    for key, amount in known.items():
        add(found, key._replace(task=""), amount)
    return found
