"""The demo's command line: see `--help`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

import httpx

from demo import check, ledger, metrics
from demo.figures import Figures, Report
from demo.servers import (
    ANNOUNCE_SECONDS,
    Demo,
    RealProvider,
    Unusable,
    add_desk,
    prepared,
    real_provider,
)
from demo.tables import all_tables
from demo.traffic import Part, Step, steps_of, the_day
from demo.watch import stay
from harness.openwebui import RequestFailed
from harness.provider import Provider

QUIET_SECONDS = 0.5
HOLD_SECONDS = ANNOUNCE_SECONDS + 0.5
EQUAL_TIMEOUT = 10.0
SETTLE_TIMEOUT = 60.0
LOG_LINES = 40
INTERRUPTED = 130
WITH_COMMAND = "opentelemetry-open-webui ledger report --by user"

Say = Callable[[str], None]


def main() -> int:
    """Run the demo; the status to exit with."""
    options = read_options()
    # However it is ended, the processes that it started have to end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    say = progress()
    try:
        return run(options, say)
    except (Unusable, httpx.HTTPError) as problem:
        say(f"cannot go on: {problem}")
        return 2
    except KeyboardInterrupt:
        say("interrupted, everything is stopped")
        return INTERRUPTED


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=run.__doc__)
    parser.add_argument("--once", action="store_true", help="print the tables and end")
    parser.add_argument(
        "--provider-url",
        metavar="URL",
        help="use this OpenAI-compatible API (its base URL, often ending in /v1) instead of the"
        " stand-in provider; what it costs is yours to pay",
    )
    parser.add_argument(
        "--provider-key",
        metavar="KEY",
        default=os.environ.get("OPENAI_API_KEY", ""),
        help="its key; better given as OPENAI_API_KEY in the environment",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="a model of it to use, may be repeated (default: the first that it lists)",
    )
    options = parser.parse_args()
    if options.model and not options.provider_url:
        parser.error("--model is for a real provider: --provider-url is missing")
    return options


def progress() -> Say:
    """A function that prints a line with the seconds since now."""
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - start:6.1f} s  {text}", flush=True)

    return say


def run(options: argparse.Namespace, say: Say) -> int:
    """Send a small day of traffic through a real Open WebUI, and show what is reported of it."""
    real = None
    if options.provider_url:
        real = real_provider(options.provider_url, options.provider_key, options.model)
    # The harness needs one, also where nobody calls it.
    with Provider() as provider:
        say("preparing users, groups and models (half a minute, the first time)")
        demo = prepared(provider, real)
        say("starting Open WebUI under opentelemetry-instrument")
        with demo.server as server:
            say(f"Open WebUI is up at {server.base_url}, metrics at {demo.metrics_url}")
            day = the_day(real.stand_ins if real else None)
            if real:
                add_desk(server, real)
                say(f"{real.url} answers as {', '.join(real.models)}")
            live_through(demo, day, say)
            status = show(demo, provider, day, real, say)
            if options.once:
                say("the page to open, without ONCE=1: Open WebUI's own Admin → Analytics")
                say("where to look further: docs/telemetry.md, README.md, and this without ONCE=1")
            else:
                stay(demo, say)
        say("stopped")
    return status


def live_through(demo: Demo, day: Iterable[Part], say: Say) -> None:
    """Send all of it, step by step."""
    world = demo.server.world
    chats: dict[str, str] = {}
    for part in day:
        requests = sum(step.times for step in part.steps)
        calls = sum(step.calls for step in part.steps)
        people = len({step.user for step in part.steps})
        say(f"{part.name}: {requests} requests of {people} people, {calls} calls to models")
        for step in part.steps:
            say(f"  {world.user(step.user).name}: {step.model}, {step.way.label}{often(step)}")
            for _ in range(step.times):
                send(demo, step, chats, say)


def send(demo: Demo, step: Step, chats: dict[str, str], say: Say) -> None:
    """Send it once. What goes wrong is told and counted; the day goes on."""
    try:
        step.way.send(demo.server, step, chats)
    except (RequestFailed, TimeoutError, httpx.HTTPError) as error:
        say(f"    failed: {error or type(error).__name__}")


def often(step: Step) -> str:
    """How many times, if it is more than once."""
    return f", {step.times} times" if step.times > 1 else ""


# --- what was reported ----------------------------------------------------------------------------


def show(
    demo: Demo, provider: Provider, day: Iterable[Part], real: RealProvider | None, say: Say
) -> int:
    """Print the tables, and whether they are true; 0 if so, or if there is no way to know."""
    steps = steps_of(day)
    say("waiting until everything is reported")
    if real:
        report = settled(demo, sum(step.calls for step in steps.values()))
        print_tables(report)
        print_ledger(demo)
        say("not checked: only the stand-in provider tells what it served")
        return 0
    provider.wait_idle(QUIET_SECONDS)
    calls = provider.snapshot()
    expected = check.served(calls, demo.server.world, steps)
    report = equal_or_last(demo, expected)
    print_tables(report)
    booked = equal_or_last_booked(demo, ledger.of_all_tasks(expected.users))
    print_ledger(demo)
    wrong = [
        *check.not_served(calls, steps),
        *check.differences(report, expected),
        *check.differing(booked, ledger.of_all_tasks(expected.users), expected.names),
    ]
    verdict(wrong, expected, demo, say)
    return 1 if wrong else 0


def print_tables(report: Report) -> None:
    """All tables with some air around them."""
    print(f"\n{all_tables(report)}\n", flush=True)


def print_ledger(demo: Demo) -> None:
    """The same by user, from the ledger."""
    print(f"From the ledger: {WITH_COMMAND}\n\n{ledger.report(demo.server)}", flush=True)


def settled(demo: Demo, planned: int) -> Report:
    """The report once as many calls as planned are in it and it no longer moves."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    before, report = Report(), metrics.read(demo.metrics_url)
    while time.monotonic() < deadline and (report != before or report.total.requests < planned):
        time.sleep(HOLD_SECONDS)
        before, report = report, metrics.read(demo.metrics_url)
    return report


def equal_or_last(demo: Demo, expected: Report) -> Report:
    """The report once it is as expected, or as it is after a while."""
    # A new series first shows where it starts from.
    time.sleep(HOLD_SECONDS)
    deadline = time.monotonic() + EQUAL_TIMEOUT
    report = metrics.read(demo.metrics_url)
    while report != expected and time.monotonic() < deadline:
        time.sleep(QUIET_SECONDS)
        report = metrics.read(demo.metrics_url)
    return report


def equal_or_last_booked(demo: Demo, expected: Figures) -> Figures:
    """What the ledger has once it is as expected, or as it is after a while."""
    deadline = time.monotonic() + EQUAL_TIMEOUT
    booked = ledger.figures(demo.server)
    while booked != expected and time.monotonic() < deadline:
        time.sleep(QUIET_SECONDS)
        booked = ledger.figures(demo.server)
    return booked


def verdict(wrong: list[str], expected: Report, demo: Demo, say: Say) -> None:
    """Say whether the tables are true, and what is wrong with them if not."""
    total = expected.total
    if not wrong:
        say(
            f"checked: equal to the provider's own log of {total.requests} calls with"
            f" {total.input:,} input and {total.output:,} output tokens,"
            f" in each of {len(expected.users)} combinations of user, model, source and task,"
            " and so is the ledger"
        )
        return
    log = demo.server.log_text().splitlines()[-LOG_LINES:]
    print("\n".join(["The end of Open WebUI's log:", *log, ""]), flush=True)
    say("NOT EQUAL to what the provider served:")
    print("\n".join(f"  {difference}" for difference in wrong), flush=True)


if __name__ == "__main__":
    sys.exit(main())
