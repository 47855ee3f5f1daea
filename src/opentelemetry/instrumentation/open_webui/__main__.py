"""``python -m opentelemetry.instrumentation.open_webui doctor``."""

from __future__ import annotations

import argparse
import sys

from .version import __version__


def main() -> int:
    """Run a command; return its exit status."""
    parser = argparse.ArgumentParser(prog="opentelemetry-open-webui")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("doctor", help="say what works here; made for pasting into a bug report")
    parser.parse_args()

    from .doctor import examine  # It imports Open WebUI, which takes seconds.

    return examine()


if __name__ == "__main__":
    sys.exit(main())
