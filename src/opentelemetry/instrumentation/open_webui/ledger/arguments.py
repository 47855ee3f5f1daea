"""What the command ``ledger`` takes, without what it needs to run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("user id", "user"),
    "group": ("group",),
    "model": ("model",),
    "picked": ("picked model",),
    "source": ("source",),
    "provider": ("provider",),
}
"""What a report can be by, and the columns that shows it in."""
FORMATS: Final = ("table", "csv", "json")
_PLAIN: Final = FORMATS[1:]


def add_to(commands: Any) -> None:
    """Add the command to a parser's."""
    ledger = commands.add_parser("ledger", help="report, export, and keep the ledger of all calls")
    actions = ledger.add_subparsers(dest="action", required=True, metavar="action")
    for name, words, add in (
        ("report", "what was used, by whom and of what", _add_report),
        ("export", "all calls, one a line", _add_export),
        ("prune", "take out what is older than some days", _add_prune),
        ("forget", "put a pseudonym in the place of a user", _add_forget),
        ("check", "compare all sums with the calls", _add_nothing),
    ):
        action = actions.add_parser(name, help=words)
        action.add_argument(
            "--database",
            metavar="PATH-OR-URL",
            help="the ledger; by default where this environment's Open WebUI has it",
        )
        add(action)


def _add_period(action: argparse.ArgumentParser) -> None:
    action.add_argument("--month", metavar="YYYY-MM", help="that month")
    action.add_argument("--from", dest="start", metavar="YYYY-MM-DD", help="from that day on")
    action.add_argument("--to", dest="end", metavar="YYYY-MM-DD", help="up to and with that day")
    action.add_argument("--zone", default="UTC", help="the time zone of days and months (UTC)")
    for name in ("user", "group", "source", "model", "picked", "provider"):
        action.add_argument(f"--{name}", help=f"only calls of that {name}")


def _add_report(action: argparse.ArgumentParser) -> None:
    _add_period(action)
    action.add_argument(
        "--by", default="user", help=f"one or more of {','.join(COLUMNS)}, with commas (user)"
    )
    action.add_argument(
        "--charge",
        choices=("split", "first"),
        help="charge each call once: to its user's groups in equal parts, or to the first of them",
    )
    action.add_argument(
        "--priority", default="", metavar="GROUP,…", help="the order of groups for --charge first"
    )
    action.add_argument("--format", choices=FORMATS, default="table")


def _add_export(action: argparse.ArgumentParser) -> None:
    _add_period(action)
    action.add_argument("--format", choices=_PLAIN, default="csv")
    action.add_argument("--output", metavar="FILE", help="write there; by default it is printed")


def _add_prune(action: argparse.ArgumentParser) -> None:
    action.add_argument("--days", type=_days, required=True, help="how old the oldest may be")


def _days(text: str) -> int:
    days = int(text)
    if days < 1:
        raise ValueError
    return days


def _add_forget(action: argparse.ArgumentParser) -> None:
    action.add_argument("user", metavar="USER-ID", help="Open WebUI's id of the user")


def _add_nothing(_action: argparse.ArgumentParser) -> None:
    pass
