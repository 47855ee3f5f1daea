"""How far off estimated tokens are, on texts of several kinds."""

from __future__ import annotations

from collections.abc import Iterator

from texts import errors


def table() -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"  {'text':10}{'tokens':>8}{'rule of thumb':>16}{'by a sample':>14}"
    for name, true, rule, sample in errors():
        yield f"  {name:10}{true:8}{rule:+16.0%}{sample:+14.0%}"
