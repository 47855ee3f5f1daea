"""What the command ``limits`` takes, without what it needs to run."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to a parser's."""
    limits = commands.add_parser("limits", help="check, keep and explain the limits of usage")
    actions = limits.add_subparsers(dest="action", required=True, metavar="action")
    check = actions.add_parser("check", help="say whether a file of limits is right")
    check.add_argument("file", metavar="FILE", help="YAML")
    apply = _with_database(actions, "apply", "put the limits of a file into the ledger")
    apply.add_argument("file", metavar="FILE", help="YAML; what is not in it is taken out")
    _with_database(actions, "export", "print the limits that are in the ledger, as YAML")
    explain = _with_database(actions, "explain", "say which limits hold for a user, and why")
    explain.add_argument("user", metavar="USER-ID", help="Open WebUI's id of the user")
    explain.add_argument(
        "--group",
        action="append",
        metavar="NAME",
        help="a group of the user, once for each; by default those of their last call",
    )
    explain.add_argument("--file", metavar="FILE", help="explain the limits of that file instead")


def _with_database(actions: Any, name: str, words: str) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=words)
    action.add_argument(
        "--database",
        metavar="PATH-OR-URL",
        help="the ledger; by default where this environment's Open WebUI has it",
    )
    return action
