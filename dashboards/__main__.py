"""Writes all dashboards and rules; with ``--check``, says which of them are out of date."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from . import groups, health, models, rules, usage, user, users
from .frame import PAGES, RECORDED_PAGES
from .promql import Exact, Portable, Recorded
from .queries import Queries

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGE = {
    "usage": usage.build,
    "users": users.build,
    "user": user.build,
    "groups": groups.build,
    "models": models.build,
    "health": health.build,
}


def files() -> Iterator[tuple[Path, str]]:
    """Every file that is made, and its content."""
    for reading in (Exact(), Portable(), Recorded()):
        for page in RECORDED_PAGES if isinstance(reading, Recorded) else PAGES:
            board = PAGE[page](Queries(reading)).dashboard.build()
            text = json.dumps(board, cls=JSONEncoder, indent=1, ensure_ascii=False, sort_keys=True)
            yield HERE / reading.key / f"{page}.json", f"{text}\n"
    for path, text in rules.files():
        yield ROOT / path, text


def main(arguments: list[str]) -> int:
    """Write or check; the status to exit with."""
    old = [(path, text) for path, text in files() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path, _ in old:
            print(f"out of date: {path.relative_to(ROOT)} (make dashboards)")
        return 1 if old else 0
    for path, text in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
