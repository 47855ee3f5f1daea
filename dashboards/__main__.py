"""Writes all dashboards and rules; with ``--check``, says which of them are out of date."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from . import budgets, groups, health, models, rules, sharing, usage, user, users
from .frame import PAGES, RECORDED_PAGES
from .promql import Beside, Exact, Portable, Reading, Recorded
from .queries import Queries

HERE = Path(__file__).parent
ROOT = HERE.parent
BUDGETS = ROOT / "prometheus" / "budgets.yaml"
PAGE = {
    "usage": usage.build,
    "users": users.build,
    "user": user.build,
    "groups": groups.build,
    "models": models.build,
    "health": health.build,
}


def files() -> Iterator[tuple[Path, str]]:
    """Every file that is made, and its content.

    Raises:
        BudgetError: The file with the budgets holds what it may not.
    """
    of = budgets.parse(BUDGETS.read_text(encoding="utf-8"), str(BUDGETS.relative_to(ROOT)))
    for path, text in rules.files(of):
        yield ROOT / path, text
    for reading in (Exact(), Portable(), Recorded()):
        for page in PAGES:
            built = PAGE[page](Queries(_of(page, reading))).dashboard.build()
            board = json.loads(JSONEncoder().encode(built))
            yield HERE / reading.key / f"{page}.json", _text(board)
            yield HERE / "import" / reading.key / f"{page}.json", _text(sharing.shared(board))


def _text(board: dict[str, Any]) -> str:
    return f"{json.dumps(board, indent=1, ensure_ascii=False, sort_keys=True)}\n"


def _of(page: str, reading: Reading) -> Reading:
    """How a page of a set reads totals: not all is recorded."""
    return Beside() if isinstance(reading, Recorded) and page not in RECORDED_PAGES else reading


def main(arguments: list[str]) -> int:
    """Write or check; the status to exit with."""
    try:
        made = list(files())
    except budgets.BudgetError as error:
        print(error, file=sys.stderr)
        return 2
    old = [(path, text) for path, text in made if not path.exists() or path.read_text() != text]
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
