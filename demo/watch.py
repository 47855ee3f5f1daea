"""What the demo does once the tables are printed: stay up, and tell what else is reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx

from demo import metrics
from demo.figures import NOTHING, Figures, Report
from demo.ledger import FILE
from demo.servers import Demo

WATCH_SECONDS = 2.0
ANALYTICS = "/admin/analytics"


def stay(demo: Demo, say: Callable[[str], None]) -> None:
    """Go on until interrupted."""
    print(where_to_look(demo), flush=True)
    try:
        watch(demo, say)
    except KeyboardInterrupt:
        say("stopping")


def where_to_look(demo: Demo) -> str:
    """What a person may want to do next."""
    server, admin = demo.server, demo.server.world.admin
    return f"""\
Where to look further

  metrics             {demo.metrics_url}
  Open WebUI          {server.base_url}{ANALYTICS}
                      its own Analytics: sign in as {admin.email} with {admin.password}
  the ledger          opentelemetry-open-webui ledger report --database {server.data_dir / FILE}
  its log             {server.log_file}
  what names mean     docs/telemetry.md
  to use it yourself  README.md

Chat in Open WebUI: what is reported of it appears below. Ctrl-C ends the demo.
"""


def watch(demo: Demo, say: Callable[[str], None]) -> None:
    """Print what is added to the accounts, until the server ends."""
    known = metrics.read(demo.metrics_url).users
    while is_up(demo):
        time.sleep(WATCH_SECONDS)
        try:
            report = metrics.read(demo.metrics_url)
        except httpx.HTTPError:
            continue
        for line in added(known, report):
            say(line)
        known = report.users
    say("Open WebUI has ended by itself")


def is_up(demo: Demo) -> bool:
    """Whether the server's process runs."""
    return demo.server.process is not None and demo.server.process.poll() is None


def added(known: Figures, report: Report) -> Iterator[str]:
    """A line for each of the figures that grew."""
    for key, amount in report.users.items():
        more = amount - known.get(key, NOTHING)
        if more != NOTHING:
            yield (
                f"{report.names[key.who]}: {key.picked}, {key.source}, {key.task}:"
                f" {more.requests} more requests, {more.input:,} input"
                f" and {more.output:,} output tokens"
            )
