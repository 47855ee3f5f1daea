"""``opentelemetry-open-webui``: the commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Final

from .ledger import arguments as ledger_arguments
from .limits import arguments as limits_arguments
from .version import __version__


def main() -> int:
    """Run a command; return its exit status."""
    parser = argparse.ArgumentParser(prog="opentelemetry-open-webui")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    doctor = commands.add_parser(
        "doctor", help="say what works here and what is to be mended; made for a bug report"
    )
    doctor.add_argument("--all", action="store_true", help="print each line, also what is well")
    doctor.add_argument("--pid", type=int, help="look at the server with this process only")
    doctor.add_argument("--url", help="look at the server at this address only")
    doctor.add_argument(
        "--seconds", type=float, default=8, help="how long it may take (default: %(default)s)"
    )
    ledger_arguments.add_to(commands)
    limits_arguments.add_to(commands)
    given = parser.parse_args()
    if given.command in _COMMANDS:
        return _COMMANDS[given.command](given)

    from .doctor import Options, examine  # It imports what exports telemetry.

    return examine(Options(given.all, given.pid, given.url, given.seconds))


def _ledger(options: argparse.Namespace) -> int:
    try:
        from .ledger.command import run  # It needs what an installation elsewhere may not have.
    except ImportError as error:
        return _lacks("ledger", error)
    return run(options)


def _limits(options: argparse.Namespace) -> int:
    try:
        from .limits.command import run
    except ImportError as error:
        return _lacks("limits", error)
    return run(options)


def _lacks(command: str, error: ImportError) -> int:
    print(f"{command}: {error}: pip install 'opentelemetry-instrumentation-open-webui[ledger]'")
    return 1


_COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "ledger": _ledger,
    "limits": _limits,
}


if __name__ == "__main__":
    sys.exit(main())
