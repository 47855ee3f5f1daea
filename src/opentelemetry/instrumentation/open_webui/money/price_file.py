"""The operator's own prices: a YAML file, checked as a whole, read again when it changes.

.. code-block:: yaml

    currency: USD
    prices:
      - model: gpt-4o*
        input_per_million: 2.50
        cache_read_per_million: 1.25
        output_per_million: 10.00
      - model: helpdesk            # a workspace model, instead of the model that it stands on
        per_request: 0.01
      - model: llama3*
        provider: ollama
        input_per_million: 0.05
        output_per_million: 0.05

``docs/numbers.md`` has all keys.
"""

from __future__ import annotations

import fnmatch
import functools
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import yaml

from .. import providers
from ..answers.billed import MODALITIES

_logger = logging.getLogger(__name__)

_MILLION: Final = 1_000_000
# No model costs as much, for anything; more is a mistake in the unit.
_HIGHEST: Final = Decimal(1_000_000)
_LARGEST_FILE: Final = 1 << 22

# Parts of tokens that may have a price of their own, and whose price they have otherwise.
_PARTS: Final = {
    "cache_read": ("input",),
    "cache_creation": ("input",),
    "cache_creation_1h": ("cache_creation", "input"),
    **{f"input_{kind}": ("input",) for kind in MODALITIES},
    **{f"cache_read_{kind}": ("cache_read", f"input_{kind}", "input") for kind in MODALITIES},
    **{f"output_{kind}": ("output",) for kind in MODALITIES},
    "reasoning": ("output",),
}
_FALLBACKS: Final[Mapping[str, tuple[str, ...]]] = {**_PARTS, "annotated_page": ("page",)}
_BY_MILLIONS: Final = ("input", "output", *_PARTS, "citation")
_BY_ONE: Final = (
    "request", "image", "second", "character", "page", "annotated_page", "web_search",
    "file_search", "message",
)  # fmt: skip
RATES: Final = {
    **{f"{unit}_per_million": unit for unit in _BY_MILLIONS},
    **{f"per_{unit}": unit for unit in _BY_ONE},
}
"""Keys of the file, and what one unit of each counts."""
_CONDITIONS: Final = ("model", "provider", "connection")
_KEYS: Final = (*_CONDITIONS, *RATES)
# How many answers are remembered: there are few models, but users may name any.
_MOST_FOUND: Final = 1000
_TOP: Final = ("currency", "prices")


class PriceFileError(ValueError):
    """The file holds what it may not; the text names file, line and key, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One price: for which model, and perhaps of whom."""

    model: str
    """A name, in which ``*`` and ``?`` stand for any text and any character."""
    provider: str | None = None
    """``gen_ai.provider.name``."""
    connection: str | None = None
    """How the address of the request begins."""
    rates: dict[str, Decimal] = field(default_factory=dict)
    """USD for one of each unit: a token, a request, …"""

    def rate(self, unit: str) -> Decimal | None:
        """Return the price of one of a unit: its own, or that of what it is a part of."""
        own = self.rates.get(unit)
        if own is not None:
            return own
        wholes = (self.rates.get(whole) for whole in _FALLBACKS.get(unit, ()))
        return next((rate for rate in wholes if rate is not None), None)

    def knows_any(self, units: Iterable[str]) -> bool:
        """Whether a cost can be told where the amounts of these units are known."""
        known = set(units)
        return not any(self.rates.values()) or any(
            unit in known or not known.isdisjoint(_FALLBACKS.get(unit, ())) for unit in self.rates
        )

    def is_for(self, model: str, provider: str, url: str) -> bool:
        """Whether this is the price of a model.

        Direct connections are their users' own affair, unless they are named.
        """
        return (
            self._is_of(provider)
            and (self.connection is None or url.startswith(self.connection))
            and _pattern(self.model).fullmatch(model) is not None
        )

    def _is_of(self, provider: str) -> bool:
        return provider != providers.DIRECT if self.provider is None else provider == self.provider


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(text))


class PriceFile:
    """The prices in a file. :meth:`refresh` reads it again when it has changed.

    Args:
        path: The file. Without a path there are no prices.

    Raises:
        PriceFileError: From :meth:`load`, if the file cannot be read or holds what it may not.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._found: dict[tuple[str, ...], Entry | None] = {}
        self.entries: tuple[Entry, ...] = ()
        self.usable = True
        """Whether the file was ever good; a price is not taken from elsewhere before."""
        self.modified: float | None = None
        """When the file was last changed whose prices are in force: Unix time, in seconds."""

    def load(self) -> None:
        """Read the file now."""
        if self._path:
            self._seen = self._state()
            try:
                self.entries, self._found = parse(_text(self._path), self._path), {}
            except PriceFileError:
                self.usable = bool(self.entries)
                raise
            self.usable = True
            self.modified = self._seen[0] / 1e9 if self._seen else None

    def refresh(self) -> None:
        """Read the file if it has changed; if it is bad now, say so and keep what was."""
        if not self._path or self._state() == self._seen:
            return
        try:
            self.load()
        except PriceFileError as error:
            _logger.error("Open WebUI instrumentation: %s. %s", error, self.without())
        else:
            _logger.info("Open WebUI instrumentation: read the prices in %s anew.", self._path)

    def without(self) -> str:
        """Return what counts while the file is bad, in words for a person."""
        if self.entries:
            return "The prices that were read before stay in force."
        return "Until it is mended, no call has a price."

    def find(self, model: str, picked: str | None, provider: str, url: str) -> Entry | None:
        """Return the price of a call.

        An entry that has the very name of the picked model comes first, so that a workspace model
        may have a price of its own; then the first one, in the order of the file, that is for the
        model or for the picked one.
        """
        names = (model,) if picked is None or picked == model else (model, picked)
        key = (*names, provider, url)
        # Another thread may read the file anew meanwhile: what is found here is of these entries.
        found = self._found
        if key in found:
            return found[key]
        entry = self._find(names, provider, url)
        if len(found) < _MOST_FOUND:
            found[key] = entry
        return entry

    def _find(self, names: tuple[str, ...], provider: str, url: str) -> Entry | None:
        for entry in self.entries:
            if entry.model == names[-1] and entry.is_for(entry.model, provider, url):
                return entry
        for entry in self.entries:
            if any(entry.is_for(name, provider, url) for name in names):
                return entry
        return None

    def _state(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _text(path: str) -> str:
    try:
        if Path(path).stat().st_size > _LARGEST_FILE:
            raise PriceFileError(f"{path} is larger than {_LARGEST_FILE} bytes")
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PriceFileError(f"{path} cannot be read: {error}") from None


def parse(text: str, name: str) -> tuple[Entry, ...]:
    """Return the prices in a text.

    Raises:
        PriceFileError: The text holds what it may not.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PriceFileError(f"{name}, line {line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise PriceFileError(f"{name}: {error}") from None
    return tuple(_Reader(name).entries(root))


class _Reader:
    """Reads YAML nodes, which know their lines, into entries."""

    def __init__(self, name: str) -> None:
        self._name = name

    def entries(self, root: yaml.Node | None) -> Iterator[Entry]:
        if root is None:
            raise PriceFileError(f"{self._name} is empty: it must have the key prices")
        top = self._mapping(root, "the file", _TOP)
        currency = top.get("currency")
        if currency is not None and currency.value != "USD":
            raise self._error(currency, f"currency is {currency.value!r}; it must be USD")
        prices = top.get("prices")
        if not isinstance(prices, yaml.SequenceNode):
            raise self._error(prices or root, "prices must be a list of entries")
        for node in prices.value:
            yield self._entry(node)

    def _entry(self, node: yaml.Node) -> Entry:
        fields = self._mapping(node, "an entry of prices", _KEYS)
        if "model" not in fields:
            raise self._error(node, "an entry of prices must have the key model")
        rates = {RATES[key]: self._rate(key, fields[key]) for key in fields if key in RATES}
        if not rates:
            raise self._error(node, f"the entry has no price: it must have one of {_list(RATES)}")
        given = {key: self._text(key, fields[key]) for key in _CONDITIONS if key in fields}
        return Entry(rates=rates, **given)

    def _mapping(self, node: yaml.Node, what: str, keys: tuple[str, ...]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, f"{what} must have keys: {_list(keys)}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.value not in keys:
                raise self._error(key, f"{key.value!r} is not a key; there are {_list(keys)}")
            if key.value in found:
                raise self._error(key, f"{key.value} stands here twice")
            found[key.value] = value
        return found

    def _text(self, key: str, node: yaml.Node) -> str:
        text = node.value.strip() if isinstance(node, yaml.ScalarNode) else ""
        if not text or node.tag.endswith(":null"):
            raise self._error(node, f"{key} must be a text")
        # In a pattern, brackets would stand for a choice of characters, which model names lack.
        if key == "model" and set(text) & set("[]"):
            raise self._error(node, f"model is {text!r}; of patterns it may have only * and ?")
        return text

    def _rate(self, key: str, node: yaml.Node) -> Decimal:
        try:
            plain = isinstance(node, yaml.ScalarNode) and not node.tag.endswith((":bool", ":null"))
            rate = Decimal(node.value.strip()) if plain else Decimal("NaN")
        except InvalidOperation:
            rate = Decimal("NaN")
        if not rate.is_finite() or not 0 <= rate <= _HIGHEST:
            raise self._error(
                node, f"{key} is {_shown(node)}; it must be a number of USD from 0 to {_HIGHEST}"
            )
        return rate / _MILLION if key.endswith("_per_million") else rate

    def _error(self, node: yaml.Node, problem: str) -> PriceFileError:
        return PriceFileError(f"{self._name}, line {node.start_mark.line + 1}: {problem}")


def _shown(node: yaml.Node) -> str:
    return repr(node.value) if isinstance(node, yaml.ScalarNode) else "not a number"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
