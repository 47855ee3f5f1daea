from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from opentelemetry.instrumentation.open_webui.host import lookup
from opentelemetry.instrumentation.open_webui.ledger.database import of_file

FOR_LONG = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000000)"
    " SELECT count(*) FROM n"
)


def test_what_takes_too_long_is_stopped_and_the_next_one_is_not(tmp_path: Path) -> None:
    stopped: list[OperationalError] = []
    ended = threading.Event()

    def reading(connection: Connection) -> Any:
        try:
            return connection.exec_driver_sql(FOR_LONG).scalar()
        except OperationalError as error:
            stopped.append(error)
            raise
        finally:
            ended.set()

    async def both() -> Any:
        ledger = of_file(tmp_path / "usage.db")
        with pytest.raises(TimeoutError):
            await lookup.read(ledger, reading, 0.5)
        assert await asyncio.to_thread(ended.wait, 20)
        return await lookup.read(
            ledger, lambda connection: connection.exec_driver_sql("SELECT 7").scalar()
        )

    assert asyncio.run(both()) == 7
    assert "interrupted" in str(stopped)
