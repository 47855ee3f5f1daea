"""The budgets of groups: ``prometheus/budgets.yaml``, checked as a whole.

.. code-block:: yaml

    default: 100
    groups:
      research: 250
      "R&D": 1000
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

_MOST: Final = 1e12
_LONGEST: Final = 256
_ALLOWED: Final = f"US dollars for a calendar month: a number above 0, up to {_MOST:.0f}"


class BudgetError(ValueError):
    """The file holds what it may not; the text names file, line and key, and what is allowed."""


@dataclass(frozen=True)
class Budgets:
    """What groups may cost in a calendar month, in US dollars."""

    default: float | None = None
    """Of every group that is not named. Without it, these have no budget."""
    groups: Mapping[str, float] = field(default_factory=dict)
    """Of groups, by name."""


def parse(text: str, file: str) -> Budgets:
    """Return the budgets in a text.

    Args:
        text: YAML.
        file: What the file is called in errors.

    Raises:
        BudgetError: The text holds what it may not.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BudgetError(f"{file}, line {line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise BudgetError(f"{file}: {error}") from None
    return _Reader(file).budgets(root)


class _Reader:
    """Reads the nodes of the file, which know their lines."""

    def __init__(self, file: str) -> None:
        self._file = file

    def budgets(self, root: yaml.Node | None) -> Budgets:
        found = dict(self._pairs(root, "", lambda key: key in ("default", "groups")))
        default, groups = found.get("default"), found.get("groups")
        return Budgets(
            None if default is None or _is_null(default) else self._amount(default, "default"),
            {
                name: self._amount(value, f"groups.{name}")
                for name, value in self._pairs(groups, "groups.", lambda name: len(name) <= _LONGEST)
            },
        )  # fmt: skip

    def _pairs(
        self, node: yaml.Node | None, within: str, allowed: Callable[[str], bool]
    ) -> Iterator[tuple[str, yaml.Node]]:
        if node is None or _is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            what = within.rstrip(".") or "the file"
            raise self._error(node, f"{what}: has to be keys with values, as in `research: 250`")
        seen: set[str] = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not name or not allowed(name):
                raise self._error(key, f"{within}{name or '?'}: {_KEYS[within]}")
            if name in seen:
                raise self._error(key, f"{within}{name}: is there twice")
            seen.add(name)
            yield name, value

    def _amount(self, node: yaml.Node, key: str) -> float:
        text = node.value if isinstance(node, yaml.ScalarNode) else "keys or a list"
        try:
            amount = float(text) if node.tag in _NUMBERS else math.nan
        except ValueError:
            amount = math.nan
        if not 0 < amount <= _MOST:
            raise self._error(node, f"{key}: has to be {_ALLOWED}, not {text!r}")
        return amount

    def _error(self, node: yaml.Node, what: str) -> BudgetError:
        return BudgetError(f"{self._file}, line {node.start_mark.line + 1}: {what}")


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_KEYS: Final = {
    "": "is no key of this file; the keys are default and groups",
    "groups.": f"is no name of a group: 1 to {_LONGEST} characters",
}
