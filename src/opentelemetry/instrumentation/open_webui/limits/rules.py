"""Limits and grants: what they say, and how they are read from what people write."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from ..bounds import LONGEST
from ..ledger.booking import NANO
from .windows import CALENDAR, MOST_HOURS, Window

MOST_LIMITS: Final = 500
MOST_GRANTS: Final = 5000
MOST_MODELS: Final = 50
LONGEST_NAME: Final = 100

COST: Final = "cost"
MEASURES: Final = ("requests", "tokens", "input_tokens", "output_tokens", COST)
SOURCES: Final = ("ui", "api", "background")
USER, GROUP, EVERYONE = "user", "group", "everyone"
WHO: Final = (USER, GROUP, EVERYONE)
EACH, SHARED = "each", "shared"
UNLIMITED: Final = "unlimited"
NOW, START = "now", "start"
ALL_LIMITS: Final = "*"

# More than anybody uses; with what a grant may add, sums of them still are 64-bit integers.
_MOST_THINGS: Final = 10**15
_MOST_USD: Final = 10**8
_MOST_PERCENT: Final = 1000
_FIRST_YEAR, _LAST_YEAR = 2000, 2099
_WARN_AT: Final = 80
_PERCENT: Final = re.compile(r"(\d{1,4})\s*%")
_HOURS: Final = re.compile(r"(\d{1,5})\s*hours?")

Path = tuple[str | int, ...]
"""Where something stands: keys and numbers of entries, from the top on."""


class RuleError(ValueError):
    """A limit says what it may not; the text names the key and what is allowed.

    Args:
        path: Where.
        problem: What is wrong, for a person.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{shown(path)}: {problem}" if path else problem)


class Who(NamedTuple):
    """Whom something is for."""

    kind: str
    """One of :data:`WHO`."""
    name: str = ""
    """The user's id, or the group's name."""

    def includes(self, user_id: str, groups: Iterable[str]) -> bool:
        """Whether a user is meant."""
        if self.kind == USER:
            return self.name == user_id
        return self.kind == EVERYONE or self.name in groups

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of what somebody may use in a span of time."""

    name: str
    who: Who
    measure: str
    """One of :data:`MEASURES`."""
    amount: int | None
    """Requests, tokens or nano-USD; ``None`` if unlimited."""
    window: Window
    shared: bool = False
    """Whether all whom it is for have it together, and not each of them."""
    models: tuple[str, ...] = ()
    """Patterns with ``*`` and ``?``; all models if there are none."""
    source: str | None = None
    """``ui``, ``api`` or ``background``."""
    observe: bool = False
    """Whether it only tells what it would refuse."""
    warn_at: int = _WARN_AT
    """Percent of the amount."""
    counts_from: int | str = NOW
    """:data:`NOW`: since it was first seen; :data:`START`: all of its window; or a Unix time."""
    direct: bool = False
    """Whether it is also for calls that users' browsers make with keys of their own."""
    id: str = ""
    """What tells it from others: it changes with all that is counted, and not with how much."""

    def __post_init__(self) -> None:
        """Reckon the id."""
        object.__setattr__(self, "id", _mark(self))

    @property
    def budget_of(self) -> str:
        """The group whose budget of a month it is, in USD and for all calls; empty if none's."""
        is_budget = self.shared and self.measure == COST and self.window.per == "month"
        is_of_all = not self.models and self.source is None
        return self.who.name if self.who.kind == GROUP and is_budget and is_of_all else ""

    def is_for(self, models: Sequence[str], source: str, *, direct: bool) -> bool:
        """Whether a call counts in it.

        Args:
            models: The names of the model.
            source: Where the call comes from.
            direct: Whether a user's browser makes it, with a key of its own.
        """
        return (
            (self.source is None or self.source == source)
            and (self.direct or not direct)
            and self.is_of(models)
        )

    def warns_from(self, allowed: int) -> int:
        """Return how much is used when people are to be warned."""
        return -(-allowed * self.warn_at // 100)

    def is_of(self, models: Sequence[str]) -> bool:
        """Whether one of the names of a model is meant."""
        if not self.models:
            return True
        return any(_pattern(glob).fullmatch(name) for glob in self.models for name in models)


@dataclass(frozen=True, slots=True)
class Grant:
    """More than a limit says, for somebody, for a while."""

    limit: str
    """The limit's name, or ``*`` for all."""
    who: Who
    until: int
    """Unix time."""
    percent: int = 0
    """Of the limit's amount."""
    more: int = 0
    """In the limit's measure."""

    def to(self, limit: Limit) -> int:
        """Return what it adds to a limit."""
        return self.more + (limit.amount or 0) * self.percent // 100


@dataclass(frozen=True, slots=True)
class Rules:
    """All limits and grants."""

    limits: tuple[Limit, ...] = ()
    grants: tuple[Grant, ...] = ()

    def next_end(self, now: float) -> float:
        """Return when the next grant ends (Unix time); infinite if none does."""
        return min((grant.until for grant in self.grants if grant.until > now), default=_NEVER)


_NEVER: Final = float("inf")


@functools.lru_cache(maxsize=4096)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob))


def _mark(limit: Limit) -> str:
    window = (limit.window.per, limit.window.hours, limit.window.zone)
    meaning = [*limit.who, limit.shared, limit.models, limit.source, limit.measure, *window]
    told = json.dumps([*meaning, limit.observe, limit.direct]).encode()
    return hashlib.blake2b(told, digest_size=8).hexdigest()


def shown(path: Path) -> str:
    """Return where something stands, for a person: ``limits[2].amount``."""
    parts = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


# Reading


def parse(value: object) -> Rules:
    """Read all limits and grants from a mapping, as YAML or JSON gives it.

    Raises:
        RuleError: Something in it is not allowed.
    """
    top = _mapping(value, (), ("limits", "grants"))
    limits = tuple(
        limit_of(entry, ("limits", number))
        for number, entry in enumerate(_entries(top, "limits", MOST_LIMITS))
    )
    _check_apart(limits)
    grants = tuple(
        grant_of(entry, limits, ("grants", number))
        for number, entry in enumerate(_entries(top, "grants", MOST_GRANTS))
    )
    return Rules(limits, grants)


def _entries(top: Mapping[str, Any], key: str, most: int) -> Sequence[Any]:
    entries = top.get(key)
    if entries is None:
        return ()
    if not isinstance(entries, (list, tuple)):
        raise RuleError((key,), "it must be a list of entries")
    if len(entries) > most:
        raise RuleError((key,), f"there may be at most {most:,} of them")
    return entries


def _check_apart(limits: Sequence[Limit]) -> None:
    names: set[str] = set()
    known: dict[str, Limit] = {}
    for number, limit in enumerate(limits):
        path: Path = ("limits", number)
        if limit.name in names:
            raise RuleError((*path, "name"), f"{limit.name!r} is the name of another limit")
        if limit.id in known:
            other = known[limit.id].name
            raise RuleError(path, f"it counts the same as {other!r}, of the same people: keep one")
        names.add(limit.name)
        known[limit.id] = limit


def limit_of(value: object, path: Path = ()) -> Limit:
    """Read one limit.

    Raises:
        RuleError: Something in it is not allowed.
    """
    given = _mapping(value, path, LIMIT_KEYS)
    who = _who(given, path)
    measure = _choice(given, "measure", path, MEASURES)
    window = _window(given, path)
    return Limit(
        name=_text(_needed(given, "name", path), (*path, "name"), LONGEST_NAME),
        who=who,
        measure=measure,
        amount=_amount(_needed(given, "amount", path), measure, (*path, "amount")),
        window=window,
        shared=_choice(given, "share", path, (EACH, SHARED), EACH) == SHARED,
        models=_models(given.get("models"), (*path, "models")),
        source=None if given.get("source") is None else _choice(given, "source", path, SOURCES),
        observe=_boolean(given, "observe", path),
        warn_at=_warn_at(given.get("warn_at"), (*path, "warn_at")),
        counts_from=_counts_from(given.get("counts_from"), window, (*path, "counts_from")),
        direct=_boolean(given, "direct", path),
    )


def grant_of(value: object, limits: Sequence[Limit], path: Path = ()) -> Grant:
    """Read one grant, to one of some limits.

    Raises:
        RuleError: Something in it is not allowed.
    """
    given = _mapping(value, path, GRANT_KEYS)
    name = _text(_needed(given, "limit", path), (*path, "limit"), LONGEST_NAME)
    to = [limit for limit in limits if name in (ALL_LIMITS, limit.name)]
    if name != ALL_LIMITS and not to:
        names = ", ".join(limit.name for limit in limits) or "(none)"
        raise RuleError((*path, "limit"), f"{name!r} is no limit; there are: {names[:LONGEST]}")
    zone = to[0].window.zone if to else "UTC"
    grant = Grant(
        limit=name,
        who=_who(given, path),
        until=_moment(_needed(given, "until", path), zone, (*path, "until"), end=True),
    )
    more, percent = _needed(given, "more", path), _percent(given.get("more"))
    if percent is not None and percent <= _MOST_PERCENT:
        return replace(grant, percent=percent)
    if percent is not None or name == ALL_LIMITS:
        raise RuleError((*path, "more"), f"it must be a percentage up to {_MOST_PERCENT} %")
    amount = _amount(more, to[0].measure, (*path, "more"))
    if amount is None:
        raise RuleError((*path, "more"), "it must be an amount or a percentage, such as 50 %")
    return replace(grant, more=amount)


def _mapping(value: object, path: Path, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RuleError(path, f"it must have keys: {', '.join(keys)}")
    for key in value:
        if key not in keys:
            named = str(key)[:LONGEST_NAME]
            raise RuleError((*path, named), f"this is not a key; there are {', '.join(keys)}")
    return value


def _needed(given: Mapping[str, Any], key: str, path: Path) -> Any:
    if given.get(key) is None:
        raise RuleError(path, f"the key {key} is missing")
    return given[key]


def _text(value: object, path: Path, most: int = LONGEST) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > most or not text.isprintable():
        raise RuleError(path, f"it must be a text of 1 to {most} printable characters, in quotes")
    return text


def _choice(
    given: Mapping[str, Any],
    key: str,
    path: Path,
    allowed: Sequence[str],
    otherwise: str | None = None,
) -> str:
    value = given.get(key, otherwise)
    if value is None:
        raise RuleError(path, f"the key {key} is missing: one of {', '.join(allowed)}")
    if value not in allowed:
        raise RuleError((*path, key), f"{_told(value)} must be one of {', '.join(allowed)}")
    return str(value)


def _boolean(given: Mapping[str, Any], key: str, path: Path) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise RuleError((*path, key), f"{_told(value)} must be true or false")
    return value


def _who(given: Mapping[str, Any], path: Path) -> Who:
    kinds = [kind for kind in WHO if given.get(kind) is not None]
    if len(kinds) != 1:
        raise RuleError(path, "it must have one of the keys user, group and everyone")
    kind = kinds[0]
    if kind != EVERYONE:
        return Who(kind, _text(given[kind], (*path, kind)))
    if given[kind] is not True:
        raise RuleError((*path, kind), "it must be true")
    return Who(EVERYONE)


def _amount(value: object, measure: str, path: Path) -> int | None:
    if value == UNLIMITED:
        return None
    most, unit = (_MOST_USD, NANO) if measure == COST else (_MOST_THINGS, 1)
    amount = _decimal(value)
    if amount is None or not 0 <= amount <= most or (amount * unit) % 1:
        kind = f"USD from 0 to {most:,}" if measure == COST else f"a whole number to {most:,}"
        raise RuleError(path, f"{_told(value)} must be {kind}, or {UNLIMITED}")
    return int(amount * unit)


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        # Longer ones are no amounts, and take long to read.
        text = str(value) if isinstance(value, (int, float)) else value
        number = Decimal(text if len(str(text)) <= _LONGEST_NUMBER else "NaN")
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() else None


_LONGEST_NUMBER: Final = 40


def _window(given: Mapping[str, Any], path: Path) -> Window:
    per, zone = _needed(given, "per", path), given.get("zone", "UTC")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError, TypeError, AttributeError):
        problem = f"{_told(zone)} must be a time zone, such as Europe/Berlin"
        raise RuleError((*path, "zone"), problem) from None
    if per in CALENDAR:
        return Window(per, zone)
    hours = _HOURS.fullmatch(per.strip()) if isinstance(per, str) else None
    if hours is None or not 1 <= int(hours[1]) <= MOST_HOURS:
        allowed = f"{', '.join(CALENDAR)}, or a number of hours up to {MOST_HOURS}: 5 hours"
        raise RuleError((*path, "per"), f"{_told(per)} must be one of {allowed}")
    return Window("", zone, int(hours[1]))


def _models(value: object, path: Path) -> tuple[str, ...]:
    if value is None:
        return ()
    globs = [value] if isinstance(value, str) else value
    if not isinstance(globs, (list, tuple)) or not 1 <= len(globs) <= MOST_MODELS:
        raise RuleError(path, f"it must be a model, or a list of 1 to {MOST_MODELS} of them")
    texts = tuple(_text(glob, path) for glob in globs)
    # In a pattern, brackets would stand for a choice of characters, which model names lack.
    for text in texts:
        if set(text) & set("[]"):
            raise RuleError(path, f"{text!r} may have of patterns only * and ?")
    return texts


def _percent(value: object) -> int | None:
    found = _PERCENT.fullmatch(value.strip().lstrip("+")) if isinstance(value, str) else None
    return None if found is None else int(found[1])


def _warn_at(value: object, path: Path) -> int:
    if value is None:
        return _WARN_AT
    percent = _percent(value)
    if percent is None or not 1 <= percent <= 100:
        raise RuleError(path, f"{_told(value)} must be a percentage from 1 % to 100 %")
    return percent


def _counts_from(value: object, window: Window, path: Path) -> int | str:
    if value is None or value in (NOW, START):
        return NOW if value is None else str(value)
    return _moment(value, window.zone, path, also=f"{NOW}, {START}, ")


def _moment(value: object, zone: str, path: Path, *, end: bool = False, also: str = "") -> int:
    """Return a moment that is told as a day or a time, in Unix time; at a day's end if asked."""
    found = _read_moment(value)
    try:
        if found is None or not _FIRST_YEAR <= found.year <= _LAST_YEAR:
            raise ValueError
        if end and not isinstance(found, datetime):
            window = Window("day", zone)
            return window.span(_unix(found, zone)).end or 0
        return _unix(found, zone)
    except (ValueError, OverflowError):
        shape = f"{also}a day (2026-12-04) or a time (2026-12-04T18:00)"
        raise RuleError(path, f"{_told(value)} must be {shape}") from None


def _read_moment(value: object) -> date | None:
    if isinstance(value, date):
        return value
    if not isinstance(value, str):
        return None
    for read in _READ:
        try:
            return read(value.strip())
        except ValueError:
            continue
    return None


_READ: Final[tuple[Callable[[str], date], ...]] = (date.fromisoformat, datetime.fromisoformat)


def _unix(moment: date, zone: str) -> int:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    placed = moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(zone))
    return int(placed.timestamp())


def _told(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


# Writing

LIMIT_KEYS: Final = (
    "name", "user", "group", "everyone", "share", "models", "source", "measure", "amount", "per",
    "zone", "observe", "warn_at", "counts_from", "direct",
)  # fmt: skip
GRANT_KEYS: Final = ("limit", "user", "group", "everyone", "more", "until")


def as_mapping(limit: Limit) -> dict[str, Any]:
    """Return a limit as :func:`limit_of` reads it."""
    window = limit.window
    told: dict[str, Any] = {
        "name": limit.name,
        limit.who.kind: limit.who.name or True,
        "share": SHARED if limit.shared else EACH,
        "measure": limit.measure,
        "amount": amount_as_written(limit.amount, limit.measure),
        "per": window.per or f"{window.hours} hours",
        "zone": window.zone,
        "observe": limit.observe,
        "warn_at": f"{limit.warn_at} %",
        "counts_from": _when(limit.counts_from, window.zone),
        "direct": limit.direct,
    }
    if limit.models:
        told["models"] = list(limit.models)
    if limit.source is not None:
        told["source"] = limit.source
    return told


def grant_as_mapping(grant: Grant, limits: Sequence[Limit]) -> dict[str, Any]:
    """Return a grant as :func:`grant_of` reads it."""
    to = next((limit for limit in limits if limit.name == grant.limit), None)
    more = f"{grant.percent} %"
    if not grant.percent and to is not None:
        more = amount_as_written(grant.more, to.measure)
    return {
        "limit": grant.limit,
        grant.who.kind: grant.who.name or True,
        "more": more,
        "until": _when(grant.until, to.window.zone if to else "UTC"),
    }


def amount_as_written(amount: int | None, measure: str) -> Any:
    """Return an amount as people write it: of costs the text of a decimal number."""
    if amount is None:
        return UNLIMITED
    return f"{in_units(amount, measure):f}" if measure == COST else amount


def in_units(amount: int, measure: str) -> Decimal:
    """Return an amount in requests, tokens or USD."""
    if measure != COST:
        return Decimal(amount)
    usd = (Decimal(amount) / NANO).normalize()
    return usd if usd.as_tuple().exponent <= 0 else usd.quantize(Decimal(1))  # type: ignore[operator]


def _when(moment: int | str, zone: str) -> str:
    if isinstance(moment, str):
        return moment
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat()
