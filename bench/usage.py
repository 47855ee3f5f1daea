"""How quick each answer of the usage API is when the ledger is full.

    PYTHONPATH=tests:. .venv/bin/python -m bench.usage LEDGER

LEDGER is one as bench.ledger makes it: sqlite:////folder/usage.db, or postgresql://…

The answers are asked for through Open WebUI's framework, as the page does: parameters read, the
ledger read, the answer written. The ledger is only read.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, Final, NamedTuple

from fastapi import FastAPI
from fastapi.testclient import TestClient

from opentelemetry.instrumentation.open_webui.host.patching import MAIN, Patcher
from opentelemetry.instrumentation.open_webui.host.surfaces import usage
from opentelemetry.instrumentation.open_webui.ledger.database import of_url
from opentelemetry.instrumentation.open_webui.limits.off import Off
from opentelemetry.instrumentation.open_webui.settings import Settings

HEAVIEST: Final = "00000000-1111-4111-8111-111111111111"
GROUP: Final = "group 5"
MOST: Final = 200.0
"""Milliseconds that an answer may take, 19 of 20 times."""
SPANS: Final = ("today", "7d", "30d", "last_month", "365d", "all")
NARROWED: Final = ("", "source=api", f"user_id={HEAVIEST}", f"group={GROUP}", "model=model-7")


class Ledger:
    """A database that is read."""

    is_on = True

    def __init__(self, url: str) -> None:
        self.reading = of_url(url).reading


class People:
    """Users as Open WebUI has them: each has a name."""

    @staticmethod
    async def get_users_by_user_ids(user_ids: list[str]) -> list[Any]:
        """Return them."""
        return [
            SimpleNamespace(id=user, name=user, email=f"{user}@example.org", settings=None)
            for user in user_ids
        ]


def get_verified_user() -> Any:
    """The admin, who is the heaviest user as well."""
    return SimpleNamespace(id=HEAVIEST, name="Ada", role="admin", timezone="Europe/Berlin")


def served(url: str) -> TestClient:
    """An app with the API in it."""
    app = FastAPI()
    main, auth = ModuleType(MAIN), ModuleType("open_webui.utils.auth")
    users = ModuleType("open_webui.models.users")
    main.app, auth.get_verified_user = app, get_verified_user  # type: ignore[attr-defined]
    users.Users = People  # type: ignore[attr-defined]
    for module in (ModuleType("open_webui"), main, auth, users):
        sys.modules[module.__name__] = module
    runtime = SimpleNamespace(
        active=True, ledger=Ledger(url), settings=Settings(leaderboard="named"), limits=Off()
    )
    Patcher(usage.TARGETS, lambda: runtime).install()  # type: ignore[arg-type,return-value]
    return TestClient(app)


def questions() -> Iterator[tuple[str, list[str]]]:
    """Yield each path with what is asked of it."""
    periods = [f"period={name}" for name in SPANS]
    yield "mine", [*periods, *(f"{one}&source=api" for one in periods)]
    for path in ("summary", "users", "groups", "models"):
        yield path, [f"{period}&{only}" for period in periods for only in NARROWED]
    rare = ("", "failed=true", "unpriced=true", "task=none")
    yield "mine/calls", [f"{period}&{only}" for period in periods for only in rare]
    yield "calls", [f"{p}&{only}&{one}" for p in periods for only in rare for one in NARROWED]
    yield "leaderboard", periods
    yield "chargeback", [f"{one}&charge={rule}" for one in periods for rule in ("split", "first")]


class Took(NamedTuple):
    """How long an answer took, in milliseconds: by the clock, and of the processor."""

    wall: float
    cpu: float


def timed(client: TestClient, address: str, times: int) -> list[Took]:
    """Return how long an answer takes: the first time, and then what is remembered of it."""
    found = []
    for _ in range(times + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = client.get(f"/api/v1/usage/{address}")
        found.append(Took(1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
        assert answer.status_code == 200, answer.text
    return found


def p95(values: list[float]) -> float:
    """Return what 19 of 20 are below."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def main() -> None:
    """Measure all, and print what is slow."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ledger", help="its address")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    client = served(options.ledger)
    for path, asked in questions():
        by_query = {query: timed(client, f"{path}?{query}", options.times) for query in asked}
        all_of = [took for some in by_query.values() for took in some[1:]]
        first = max(some[0].cpu for some in by_query.values())
        wall, cpu = p95([took.wall for took in all_of]), p95([took.cpu for took in all_of])
        mark = "" if wall <= MOST else "  more than it may"
        middle = statistics.median(took.wall for took in all_of)
        print(
            f"{path:12} median {middle:6.1f}  p95 {wall:6.1f} ms  CPU p95 {cpu:6.1f} ms,"
            f" the first time at most {first:6.1f} ms{mark}"
        )
        for query in sorted(by_query, key=lambda query: -max(by_query[query]).cpu)[:3]:
            print(f"{'':14}{max(by_query[query]).cpu:6.1f} ms of CPU at most: {query}")


if __name__ == "__main__":
    main()
