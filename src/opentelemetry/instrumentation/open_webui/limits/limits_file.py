"""The limits in a YAML file: checked as a whole, read again when it changes.

.. code-block:: yaml

    limits:
      - name: Tokens of students
        group: students
        measure: tokens
        amount: 100_000
        per: day
        zone: Europe/Berlin
    grants:
      - limit: Tokens of students
        user: 9d4b0e2c-…
        more: 50 %
        until: 2026-12-04

``docs/limits.md`` has all keys.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from ..ledger.database import Database
from ..ledger.ledger import Unavailable
from . import table
from .rules import Path as Place
from .rules import RuleError, Rules, parse

_logger = logging.getLogger(__name__)

_LARGEST_FILE: Final = 1 << 21


class LimitsFileError(ValueError):
    """The file holds what it may not; the text names file, line and key, and what is allowed."""


class LimitsFile:
    """The limits in a file. :meth:`refresh` reads it again when it has changed.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: object = None
        self._rules: Rules | None = None
        self._is_told = False
        self._problem = ""

    def load(self) -> Rules:
        """Read the file now.

        Raises:
            LimitsFileError: It cannot be read, or holds what it may not.
        """
        self._seen = self._state()
        self._rules = read(self._path)
        self._is_told = False
        return self._rules

    def refresh(self, database: Callable[[], Database]) -> tuple[Rules, dict[str, int]] | None:
        """Return the limits, and since when each is known, if they have changed.

        While the file is bad, those that were read last stay in force.

        Raises:
            LimitsFileError: It was never good.
        """
        if self._rules is None or self._state() != self._seen:
            self._read_anew()
        if self._rules is None:
            raise LimitsFileError(self._problem)
        if self._is_told:
            return None
        try:
            since = table.first_seen(database(), self._rules.limits)
        except Unavailable:
            # Asked for again, and until then they count from when this process began.
            return self._rules, {}
        self._is_told = True
        return self._rules, since

    def _read_anew(self) -> None:
        if self._seen is not None and self._state() == self._seen:
            return
        is_first = self._seen is None
        try:
            self.load()
        except LimitsFileError as error:
            self._problem = str(error)
            if self._rules is not None:
                _logger.error(
                    "Open WebUI instrumentation: %s. The limits that were read before stay in"
                    " force.",
                    error,
                )
            return
        if not is_first:
            _logger.info("Open WebUI instrumentation: read the limits in %s anew.", self._path)

    def _state(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._path)
        except OSError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_size, found.st_ino


def read(path: str) -> Rules:
    """Return the limits in a file.

    Raises:
        LimitsFileError: It cannot be read, or holds what it may not.
    """
    try:
        if Path(path).stat().st_size > _LARGEST_FILE:
            raise LimitsFileError(f"{path} is larger than {_LARGEST_FILE} bytes")
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LimitsFileError(f"{path} cannot be read: {error}") from None
    return of_text(text, path)


def of_text(text: str, name: str) -> Rules:
    """Return the limits in a text.

    Args:
        text: YAML.
        name: What the text is called in errors.

    Raises:
        LimitsFileError: It holds what it may not.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise LimitsFileError(f"{name} is empty: it must have the key limits")
        _check_keys(root, name)
        value = _value_of(loader, root, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise LimitsFileError(f"{name}, line {_line(mark)}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise LimitsFileError(f"{name}: {error}") from None
    try:
        return parse(value)
    except RuleError as error:
        line = _line(_node_at(root, error.path).start_mark)
        raise LimitsFileError(f"{name}, line {line}: {error}") from None


def _value_of(loader: yaml.SafeLoader, root: yaml.Node, name: str) -> Any:
    try:
        return loader.construct_document(root)
    except ValueError as error:
        # Of a day that there is not.
        raise LimitsFileError(f"{name}: {error}") from None


def _line(mark: Any) -> int:
    return 1 if mark is None else int(mark.line) + 1


def _check_keys(root: yaml.Node, name: str) -> None:
    """Let no key stand twice: of the two, YAML would take the later one."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys: set[Any] = set()
            for key, value in node.value:
                if key.value in keys if isinstance(key, yaml.ScalarNode) else False:
                    line = _line(key.start_mark)
                    raise LimitsFileError(f"{name}, line {line}: {key.value} stands here twice")
                keys.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
                waiting.append(value)


def _node_at(node: yaml.Node, path: Place) -> yaml.Node:
    """Return the node at a place, or the nearest one around it."""
    for part in path:
        found = _child(node, part)
        if found is None:
            return node
        node = found
    return node


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(part, int):
        inside = node.value if isinstance(node, yaml.SequenceNode) else []
        return inside[part] if part < len(inside) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    pairs = ((key, value) for key, value in node.value if key.value == part)
    # The key's own line: a long value begins below it.
    return next((_with_line_of(key, value) for key, value in pairs), None)


def _with_line_of(key: yaml.Node, value: yaml.Node) -> yaml.Node:
    return value if isinstance(value, (yaml.SequenceNode, yaml.MappingNode)) else key
