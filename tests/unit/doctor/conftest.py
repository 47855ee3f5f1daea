"""A ledger that the doctor finds in a server's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(of_file(tmp_path / "usage.db"))
    store.open()
    yield store
    store.database.disconnect()
