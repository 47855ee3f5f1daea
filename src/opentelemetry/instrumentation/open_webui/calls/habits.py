"""Which models report the usage of a stream by themselves, which have to be asked, which refuse.

Known by documentation of some hosts; of all others it is learned. The first stream of a model goes
unasked: if it reports its usage, the model is never asked, because nobody could tell then what
would have come anyway. If not, the next streams are asked. A refusal is remembered for a time.

What is remembered is a model of a connection, by a hash that names neither, in a file beside Open
WebUI's data, so that it outlives the process; workers share it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

_logger = logging.getLogger(__name__)

FILE_NAME: Final = "opentelemetry-open-webui.json"
_VERSION: Final = 1
_KEY_BYTES: Final = 16

# OpenAI and Azure document that streams tell their usage by `stream_options` alone (OpenAI API
# reference, "stream_options"; Azure OpenAI REST API reference, "chatCompletionStreamOptions").
_SILENT_HOSTS: Final = ("api.openai.com", ".openai.azure.com")

_MINUTE: Final = 60.0
_DAY: Final = 86_400.0
# A model may begin to report by itself, with a new version of its server.
_LEARNED_FOR: Final = 7 * _DAY
_FIRST_PAUSE: Final = 10 * _MINUTE
_LONGEST_PAUSE: Final = _DAY
# A model that has taken the option may fail for another reason, and come back at the second try.
_REFUSALS_IN_DOUBT: Final = 3
# A gateway may report for one of its servers and not for another; then nothing is hidden.
_STREAMS_IN_DOUBT: Final = 3
# What a model that has taken the option answers to a request that it does not understand.
_NOT_UNDERSTOOD: Final = frozenset((400, 422))
# Beyond it the half that was learned first is forgotten: names of models are anybody's.
_MOST_KNOWN: Final = 10_000
_LARGEST_FILE: Final = 1 << 23


@dataclass(slots=True)
class Habit:
    """What is known of one model of a connection."""

    reports: bool | None = None
    """Whether its streams report unasked; ``None`` until one has come."""
    nulls: bool = False
    """Whether their chunks say ``"usage": null`` unasked."""
    accepts: bool = False
    """Whether a stream that was asked has come."""
    misses: int = 0
    """Streams without a report since the last that had one."""
    refusals: int = 0
    """Refusals since it was last accepted."""
    until: float = 0.0
    """Not asked before this moment (Unix time)."""
    learned: float = 0.0
    """When a stream last came unasked (Unix time)."""
    changed: float = 0.0
    """When any of this last changed (Unix time)."""


class Habits:
    """The habits of all models. To be used on the event loop's thread, but for :meth:`sync`.

    Args:
        clock: Unix time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[str, Habit] = {}
        self._suspects: set[str] = set()
        self._path: Path | None = None
        self._read_at: int | None = None
        self._dirty = False

    def asks(self, key: str, host: str) -> bool:
        """Whether to ask the next stream for its usage."""
        documented = host.endswith(_SILENT_HOSTS)
        habit = self._known.get(key)
        if habit is None:
            return documented
        now = self._clock()
        if now < habit.until:
            return False
        if habit.reports is None:
            return documented
        return not habit.reports and (documented or now - habit.learned < _LEARNED_FOR)

    def nulls(self, key: str) -> bool:
        """Whether chunks say ``"usage": null`` unasked."""
        habit = self._known.get(key)
        return habit is not None and habit.nulls

    def proven(self, key: str) -> bool:
        """Whether the model takes the option, as far as its last answer tells."""
        habit = self._known.get(key)
        return habit is not None and habit.accepts and key not in self._suspects

    def may_refuse(self, key: str, status: int) -> bool:
        """Whether an answer with an error may be for the option, so that a try without is due."""
        return not self.proven(key) or status in _NOT_UNDERSTOOD

    def came_unasked(self, key: str, *, reported: bool, nulls: bool) -> None:
        """Learn from a stream that came to its end without being asked."""
        habit, now = self._habit(key), self._clock()
        misses = 0 if reported else habit.misses + 1
        reports = reported or (bool(habit.reports) and misses < _STREAMS_IN_DOUBT)
        known = (habit.reports, habit.misses, habit.nulls)
        habit.reports, habit.misses, habit.nulls = reports, min(misses, _STREAMS_IN_DOUBT), nulls
        if known != (habit.reports, habit.misses, habit.nulls) or now - habit.learned > _DAY:
            habit.learned = now
            self._changed(habit)

    def came_asked(self, key: str) -> None:
        """Take it that the model takes the option."""
        habit = self._habit(key)
        self._suspects.discard(key)
        if not habit.accepts or habit.refusals:
            habit.accepts, habit.refusals = True, 0
            self._changed(habit)

    def failed_asked(self, key: str) -> None:
        """Take it that an answer failed, for whatever reason: the next failure is looked into."""
        if len(self._suspects) < _MOST_KNOWN:
            self._suspects.add(key)

    def failed_either_way(self, key: str) -> None:
        """Take it that a request failed with the option and without: it is not the option."""
        self._suspects.discard(key)

    def refused(self, key: str) -> None:
        """Take it that a request failed with the option and came without it."""
        habit = self._habit(key)
        habit.refusals += 1
        if not habit.accepts or habit.refusals >= _REFUSALS_IN_DOUBT:
            pause = _FIRST_PAUSE * 2.0 ** min(habit.refusals - 1, 16)
            habit.until = self._clock() + min(pause, _LONGEST_PAUSE)
        self._changed(habit)

    def _habit(self, key: str) -> Habit:
        habit = self._known.get(key)
        if habit is None:
            if len(self._known) >= _MOST_KNOWN:
                for old in list(self._known)[: _MOST_KNOWN // 2]:
                    del self._known[old]
            habit = self._known[key] = Habit()
        return habit

    def _changed(self, habit: Habit) -> None:
        habit.changed = self._clock()
        self._dirty = True

    # The file

    def keep_in(self, directory: Path) -> None:
        """Name the directory of the file; :meth:`sync` reads and writes it from now on."""
        self._path = directory / FILE_NAME

    def leave(self) -> None:
        """Leave the writing of what is new to the process that this one was forked from."""
        self._dirty = False

    def sync(self) -> None:
        """Take in what others have learned, and write what we have. Does I/O: for a thread.

        Raises:
            OSError: The file cannot be written. Everything goes on without it.
        """
        if self._path is None:
            return
        stamp = _stamp(self._path)
        if stamp != self._read_at:
            self._read_at = stamp
            self._merge(_read(self._path))
        if self._dirty:
            self._dirty = False
            _write(self._path, dict(self._known))
            self._read_at = _stamp(self._path)

    def _merge(self, found: dict[str, Habit]) -> None:
        for key, habit in list(found.items())[-_MOST_KNOWN:]:
            known = self._known.get(key)
            if known is None or known.changed < habit.changed:
                self._known[key] = habit


@functools.lru_cache(maxsize=256)
def key_of(connection: str, model: str) -> str:
    """Return the name of a model of a connection: a hash of both."""
    text = f"{connection}\n{model}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=_KEY_BYTES).hexdigest()


def _stamp(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _read(path: Path) -> dict[str, Habit]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("it is too large")
        stored = json.loads(path.read_bytes())
        models = stored["models"] if stored["version"] == _VERSION else {}
        return {key: habit for key, value in models.items() if (habit := _habit_of(key, value))}
    except FileNotFoundError:
        return {}
    except Exception as error:
        _logger.warning(
            "Open WebUI instrumentation: %s cannot be read (%s); what it tells of models is learned"
            " anew.",
            path,
            type(error).__name__,
        )
        return {}


def _habit_of(key: str, stored: dict[str, Any]) -> Habit | None:
    habit = Habit(**stored)
    kinds = {
        item.name: (bool, type(None)) if item.name == "reports" else type(item.default)
        for item in fields(Habit)
    }
    # JSON writes a float that is whole as it likes.
    right = all(
        isinstance(value, (int, float) if kinds[name] is float else kinds[name])
        for name, value in asdict(habit).items()
    )
    return habit if right and len(key) == 2 * _KEY_BYTES else None


def _write(path: Path, known: dict[str, Habit]) -> None:
    content = {
        "version": _VERSION,
        "models": {key: asdict(habit) for key, habit in known.items()},
    }
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps(content))
    new.chmod(0o600)
    new.replace(path)
