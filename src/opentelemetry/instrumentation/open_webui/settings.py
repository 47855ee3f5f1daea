"""What an operator can set: one frozen value, from the environment and from keywords.

Every setting is a field of :class:`Settings`. Its environment variable is
``OTEL_PYTHON_OPEN_WEBUI_`` and the field's name in capitals; its keyword in
``OpenWebUIInstrumentor().instrument(...)`` is the field's name. One variable is OpenTelemetry's
own, ``OTEL_SEMCONV_STABILITY_OPT_IN``.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Final

from .misspelt import misspelt

_logger = logging.getLogger(__name__)

PREFIX: Final = "OTEL_PYTHON_OPEN_WEBUI_"
FAILURES: Final = ("open", "closed")
IDENTITIES: Final = ("name", "email", "hash", "none")
STABILITY: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST_NAMES: Final = "gen_ai_latest_experimental"
_DEFAULT_NAMES: Final = "default"
_Report = Callable[[str], None]

_TRUE: Final = ("true", "t", "yes", "y", "on", "1")
_FALSE: Final = ("false", "f", "no", "n", "off", "0")
_DATABASES: Final = ("sqlite", "postgresql", "postgres")
_PASSWORD: Final = re.compile(r"(?<=://).*@")


class SettingError(ValueError):
    """A setting holds what it may not; the text names the setting and what is allowed."""


def _one_of(*allowed: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if isinstance(value, str) and value.strip().lower() in allowed:
            return value.strip().lower()
        raise ValueError(f"one of {', '.join(allowed)}")

    return parse


def _boolean(value: object) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError("true or false (or yes or no, on or off, 1 or 0)")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("a text")


def _ledger(value: object) -> str:
    text = str(value).strip()
    if text.lower() in _TRUE or text.lower() in _FALSE:
        return str(text.lower() in _TRUE).lower()
    if text.partition(":")[0].partition("+")[0] in _DATABASES and "://" in text:
        return text
    raise ValueError("true, false or a database URL (sqlite:////… or postgresql://…)")


def _whole(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        try:
            number = None if isinstance(value, bool) else int(str(value).strip())
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return parse


def _seconds(low: float, high: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(str(value).strip())
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"a number of seconds from {low:g} to {high:g}")
        return number

    return parse


def _opt_in(value: object) -> str:
    """Find ours in a list in which other conventions (``http``, ``database``) have theirs."""
    if not isinstance(value, str):
        raise ValueError("a text")
    opted = {one.strip().lower() for one in value.split(",")}
    if LATEST_NAMES in opted:
        return LATEST_NAMES
    if any(one.startswith("gen_ai") for one in opted):
        raise ValueError(f"a list in which {LATEST_NAMES} is all that GenAI may have")
    return _DEFAULT_NAMES


def _setting(
    default: Any, parse: Callable[[object], Any], fallback: Any = None, variable: str = ""
) -> Any:
    """A field; ``fallback`` is what a bad environment value becomes, the default if not given."""
    safe = default if fallback is None else fallback
    return field(default=default, metadata={"parse": parse, "fallback": safe, "variable": variable})


def variable_of(item: Field[Any]) -> str:
    """Return the environment variable of a setting."""
    return item.metadata["variable"] or PREFIX + item.name.upper()


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force. ``docs/settings.md`` has the table for people."""

    # A misspelt identity must not show the names that it was meant to hide.
    user_identity: str = _setting("name", _one_of(*IDENTITIES), fallback="none")
    """What ``user.name`` holds: ``name``, ``email``, ``hash`` or ``none``."""
    user_hash_salt: str = _setting("", _text)
    """The secret that ``hash`` is salted with; needed for it."""
    ask_usage: bool = _setting(True, _boolean)
    """Ask OpenAI-compatible providers to report the usage of a stream."""
    estimate_usage: bool = _setting(True, _boolean)
    """Estimate the tokens of calls of which the provider reports none."""
    price_file: str = _setting("", _text)
    """Path of a YAML file with the operator's own prices."""
    series_limit: int = _setting(70_000, _whole(100, 10_000_000))
    """Accounting series kept apart, per process; further users count as ``__other__``."""
    groups_cache_seconds: float = _setting(30.0, _seconds(1, 3600))
    """How old a known group membership may be."""
    inherited_groups: bool = _setting(False, _boolean)
    """Count users in the groups above their own, too, where Open WebUI nests groups."""
    idle_seconds: float = _setting(900.0, _seconds(1, 86_400))
    """Silence after which a series is no longer exported."""
    announce_seconds: float = _setting(0.0, _seconds(0, 3600))
    """How long a new series shows its old total; 0 takes the longest export interval, or where
    Prometheus reads, until it has."""
    shutdown_seconds: float = _setting(2.0, _seconds(0.1, 600))
    """How long the end of the process waits for the last export."""
    ledger: str = _setting("false", _ledger)
    """Keep a ledger of all calls: ``true``, ``false``, or the URL of a database for it."""
    ledger_days: int = _setting(0, _whole(0, 36_500))
    """Days after which the ledger forgets calls and their sums; 0 keeps all."""
    screens: bool = _setting(True, _boolean)
    """Answer Open WebUI's own Analytics and Settings → Usage from the ledger, if there is one, and
    serve the usage page."""
    leaderboard: str = _setting("off", _one_of("off", "anonymous", "named"))
    """Whether the usage page has a leaderboard, and whether that names others."""
    limits: bool = _setting(False, _boolean)
    """Hold users and groups to their limits; needs the ledger."""
    limits_file: str = _setting("", _text)
    """Path of a YAML file with the limits, instead of those that are kept in the ledger."""
    limits_fail: str = _setting("open", _one_of(*FAILURES))
    """What becomes of calls while the ledger cannot be asked: ``open`` lets them in, ``closed``
    refuses those that a limit is for."""
    load_others: bool = _setting(False, _boolean)
    """Load the other installed instrumentations too, under our own distro."""
    semconv_stability_opt_in: str = _setting(_DEFAULT_NAMES, _opt_in, variable=STABILITY)
    """Whether the GenAI client metrics have the names to come; takes OpenTelemetry's list."""

    @property
    def latest_names(self) -> bool:
        """Whether the GenAI client metrics have the names to come."""
        return self.semconv_stability_opt_in == LATEST_NAMES

    @classmethod
    def load(
        cls,
        keywords: Mapping[str, object],
        environ: Mapping[str, str] | None = None,
        *,
        quiet: bool = False,
    ) -> Settings:
        """Read the environment, then the keywords, which win.

        Args:
            keywords: Fields of this class; others are ignored, they belong to the instrumentor.
            environ: Where to read variables from; the process's, if not given.
            quiet: Whether to leave it to another to complain of the environment.

        Raises:
            SettingError: A keyword holds what it may not. A bad variable raises nothing: it is
                logged as an error and its safe fallback counts, because a typing error in a
                deployment must cost neither the chat nor its accounts.
        """
        found = os.environ if environ is None else environ
        report = _ignore if quiet else _report
        values = {**cls._from_environ(found, report), **cls._from_keywords(keywords)}
        settings = cls._with_salt(cls(**values), "user_identity" in keywords, report)
        return cls._with_ledger(settings, "limits" in keywords, report)

    @classmethod
    def _from_environ(cls, environ: Mapping[str, str], report: _Report) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for item in fields(cls):
            key = variable_of(item)
            text = environ.get(key, "").strip()
            if not text:
                continue
            try:
                values[item.name] = item.metadata["parse"](text)
            except ValueError as error:
                values[item.name] = item.metadata["fallback"]
                problem = f"{key}={_shown(text)} is not allowed; it must be {error}"
                report(f"{problem}. Going on with {values[item.name]}.")
        if report is _ignore:
            return values
        names = [item.name.upper() for item in fields(cls) if not item.metadata["variable"]]
        for key, meant in misspelt(environ, PREFIX, names):
            report(f"{key} is not a setting, so it changes nothing; {_instead(meant, names)}")
        return values

    @classmethod
    def _from_keywords(cls, keywords: Mapping[str, object]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for item in fields(cls):
            if item.name not in keywords:
                continue
            value = keywords[item.name]
            try:
                values[item.name] = item.metadata["parse"](value)
            except ValueError as error:
                raise SettingError(
                    f"{item.name}={_shown(value)} is not allowed; it must be {error}"
                ) from None
        return values

    @classmethod
    def _with_salt(cls, settings: Settings, strict: bool, report: _Report) -> Settings:
        if settings.user_identity != "hash" or settings.user_hash_salt:
            return settings
        problem = f"user_identity=hash needs a salt: set user_hash_salt ({PREFIX}USER_HASH_SALT)"
        if strict:
            raise SettingError(problem)
        report(f"{problem}. Going on with user_identity=none.")
        return replace(settings, user_identity="none")

    @classmethod
    def _with_ledger(cls, settings: Settings, strict: bool, report: _Report) -> Settings:
        if not settings.limits or settings.ledger != "false":
            return settings
        problem = f"limits=true needs the ledger: set ledger ({PREFIX}LEDGER) to true"
        if strict:
            raise SettingError(problem)
        report(f"{problem}. Going on with limits=false: nobody is limited.")
        return replace(settings, limits=False)


def _shown(value: object) -> str:
    """Return a value as a message may have it: the URL of a database may hold a password."""
    return _PASSWORD.sub("***@", repr(value))


def _report(problem: str) -> None:
    _logger.error("Open WebUI instrumentation: %s", problem)


def _ignore(_problem: str) -> None:
    pass


def _instead(meant: str, names: Sequence[str]) -> str:
    if meant:
        return f"did you mean {meant}?"
    return f"there are {', '.join(PREFIX + name for name in sorted(names))}."
