"""A process that books calls, run by tests that kill it: `python -m unit.ledger.processes …`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from opentelemetry.instrumentation.open_webui import ids
from opentelemetry.instrumentation.open_webui.ledger import database
from opentelemetry.instrumentation.open_webui.ledger.ledger import Ledger
from opentelemetry.instrumentation.open_webui.ledger.place import Place
from unit.ledger.books import booking


def place_of(folder: Path, url: str = "") -> Place:
    """A ledger in a file of a folder, or at an address."""
    if url:
        return Place("test", folder, lambda: database.of_url(url))
    return Place("test", folder, lambda: database.of_file(folder / "usage.db"))


def ledger_in(folder: Path, url: str = "", jobs: Any = ()) -> Ledger:
    """A ledger that has not begun."""
    return Ledger(lambda: place_of(folder, url), lambda _name: None, jobs, seconds=5.0)


def main(folder: str, log: str, per_second: str, url: str = "") -> None:
    """Book calls until killed, and note the id of each that has ended, with the time."""
    ledger = ledger_in(Path(folder), url)
    ledger.begin()
    pause = 1 / float(per_second)
    due = time.perf_counter()
    with open(log, "a", buffering=1) as ended:
        while True:
            one = booking(time.time(), id=ids.new())
            ledger._queue.append(one)
            ended.write(f"{one.id} {time.time():.6f}\n")
            due += pause
            time.sleep(max(0.0, due - time.perf_counter()))


if __name__ == "__main__":
    main(*sys.argv[1:])
