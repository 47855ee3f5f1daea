"""The accounting table: totals by tags; which series are announced, active, idle or folded.

Knows nothing of OpenTelemetry. A *series* is one metric with one set of tags, and its total only
ever grows. What the table shows of a series at a moment follows four rules:

* Announced before it moves: a series that is new, or was idle, shows its old total for ``hold``
  seconds, and until it was read, so that every reader sees where it starts from.
* Silent when idle: a series that has not moved for ``idle`` seconds, and whose total was read, is
  not shown.
* While no export comes through, nothing counts as read.
* Folded at the limit: once ``limit`` series of a kind exist (of users, of groups), or one owner has
  more than its share of them, new accounts tell less of what they are for, or belong to somebody
  who stands for all others.

Reading costs in proportion to the series that are shown, not to those that exist.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Final

_logger = logging.getLogger(__name__)

Tags = tuple[tuple[str, str | int], ...]
"""Attribute names and values, in an order that the caller keeps to."""
Number = int | float
Account = tuple[Tags, Tags]
"""Whose, and what it is for."""
Row = tuple[str, Tags]
"""A metric, and the tags that a series of it has beside the account's."""
Entry = tuple[Row, Number]
"""What to book: where, and how much."""

_NEVER: Final = float("-inf")
_EMPTY: Final[Mapping[Tags, dict[Row, Series]]] = MappingProxyType({})
# Seconds after which new series are shown, whatever becomes of exports: some may come through, and
# nobody hear of it.
_LONGEST_OUTAGE: Final = 86_400.0
# What OTLP's integers hold.
_MOST: Final = (1 << 63) - 1


class Place(Enum):
    """Which account amounts went to: of whom, and whether it tells less of what it is for."""

    OWN = (True, False)
    OWN_LESS = (True, True)
    OTHER = (False, False)
    OTHER_LESS = (False, True)

    def __init__(self, own: bool, less: bool) -> None:
        self.own = own
        self.less = less


class Series:
    """One total and what is shown of it."""

    __slots__ = (
        "_announced", "_held_until", "_tags", "last_moved", "shard", "told", "total", "unseen",
    )  # fmt: skip

    def __init__(self, tags: tuple[Tags, ...], shard: set[Series]) -> None:
        # In parts, of which each may be one with other series: there are very many.
        self._tags = tags
        self.shard = shard
        self.total: Number = 0
        self.told: Number = 0
        """What was read last."""
        self.last_moved = _NEVER
        self._announced: Number = 0
        self._held_until = _NEVER
        self.unseen = False
        """Whether the announcement is to be read once at least, and was not yet."""

    @property
    def attributes(self) -> dict[str, str | int]:
        """Return its tags, in a dictionary of their own."""
        return dict(itertools.chain.from_iterable(self._tags))

    def announce(self, now: float, hold: float, until_read: bool) -> None:
        """Show for a time what was read last: it was silent, and is about to move."""
        self._announced, self._held_until = self.told, now + hold
        self.unseen = until_read
        self.shard.add(self)

    def held(self, now: float) -> bool:
        """Whether it shows its old total still."""
        return self.unseen or now < self._held_until

    def shown(self, now: float) -> Number:
        """Return the value to export."""
        return self._announced if self.held(now) else self.total

    def release(self) -> None:
        """Show the total from now on."""
        self._held_until, self.unseen = _NEVER, False

    def lose(self, now: float) -> None:
        """Take it that what was read last has come to nobody."""
        # What has shown more may have come to somebody after all, and never shows less.
        if now < self._held_until + _LONGEST_OUTAGE and self.told == self._announced:
            self.unseen = True

    def show(self, since: float) -> None:
        """Show it as if it had moved then."""
        self.last_moved = since
        self.shard.add(self)

    def hide(self) -> None:
        """Stop showing; the next move announces the series again."""
        self.last_moved = _NEVER
        self.shard.discard(self)


class Totals:
    """All series of one process. Safe to use from any thread.

    Args:
        idle: Seconds of silence after which a series is no longer shown.
        limit: Series that there may be of each kind; further accounts are folded.
        fold: Returns what tags become that tell less.
        shard_size: Series of one metric that one exported instrument may carry.
        on_shard: Called with a metric's name and a shard's index when a shard is opened.
        membership: The metric that shows who is a member of what.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        idle: float,
        limit: int,
        shard_size: int,
        on_shard: Callable[[str, int], None],
        fold: Callable[[Tags], Tags] = lambda tags: tags,
        membership: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.until_read = False
        """Whether a new series shows its old total until somebody reads it, however late."""
        self._least_idle = idle
        self.hold = 0.0
        self._limit = limit
        self.shard_size = shard_size
        self._on_shard = on_shard
        self._fold = fold
        self._membership = membership
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[Tags, dict[Tags, dict[Row, Series]]] = {}
        self._turned_to: tuple[Tags | None, Mapping[Tags, dict[Row, Series]]] = (None, _EMPTY)
        self._gauges: dict[tuple[str, Tags], Series] = {}
        self._shared: dict[Tags, Tags] = {}
        self._keys: dict[Row, Row] = {}
        self._shards: dict[str, list[set[Series]]] = {}
        self._series: Counter[str] = Counter()
        self._owned: Counter[tuple[str, str | int]] = Counter()
        self._room: dict[str, int] = {}
        self._members: dict[str, tuple[tuple[Tags, ...], tuple[Series, ...]]] = {}
        self._opened: list[tuple[str, int]] = []
        self._warned = False
        self._announcing = False
        self._unheard = False

    @property
    def hold(self) -> float:
        """Seconds for which a new series shows its old total."""
        return self._hold

    @hold.setter
    def hold(self, seconds: float) -> None:
        self._hold = seconds
        # A series is never hidden before its last total was exported.
        self.idle = max(self._least_idle, 3 * seconds)
        """Seconds of silence until a series is hidden."""

    def book(
        self, owner: Tags, what: Tags, entries: Iterable[Entry], other: Tags, share: int
    ) -> Place:
        """Add amounts to the series of one account.

        Args:
            owner: The tags of whose account it is. The name of the first one is the kind.
            what: The tags of what it is for; all entries share both.
            entries: What to add.
            other: Who stands for all owners where there is no room.
            share: Series that the owner may have.

        Returns:
            Which account the amounts went to.
        """
        with self._lock:
            now = self._clock()
            silent_since = now - self.idle
            place, account = Place.OWN, (owner, what)
            series = self._page(what).get(owner)
            if series is None:
                place, account = self._place(owner, what, other, share)
                series = self._open(account)
            for key, amount in entries:
                row = series.get(key) or self._row(series, key, account, share)
                if row.last_moved < silent_since:
                    row.announce(now, self._hold, self.until_read)
                row.last_moved = now
                total = row.total + amount
                # What is no number, or beyond what can be told, would cost the whole export.
                if total <= _MOST:
                    row.total = total
        self._announce_shards()
        return place

    def set_members(self, who: str, tags: Sequence[Tags], *, moved: bool = True) -> None:
        """Show the membership metric as 1 for each of ``tags``, and for nothing else of ``who``.

        Args:
            who: Whose memberships these are.
            tags: All of them.
            moved: Whether they are active by it; if not, they stay as active as they were.
        """
        wanted = tuple(tags)
        with self._lock:
            now = self._clock()
            known, rows = self._members.get(who, ((), ()))
            since = now if moved else max((row.last_moved for row in rows), default=_NEVER)
            if known != wanted:
                for row in rows:
                    row.hide()
                rows = tuple(self._member(each) for each in wanted if self._may_show(each))
                self._members[who] = (wanted, rows)
            if now - since <= self.idle:
                for row in rows:
                    row.show(since)
        self._announce_shards()

    def set_gauge(self, metric: str, tags: Tags, value: Number) -> None:
        """Show a value of somebody who is active by it, until they were silent for ``idle``."""
        with self._lock:
            row = self._gauge(metric, tags)
            row.total = value
            row.show(self._clock())
        self._announce_shards()

    def members(self) -> dict[str, Tags]:
        """Return the tags of the first membership of everybody who has one shown now."""
        with self._lock:
            now, idle = self._clock(), self.idle
            return {
                who: tuple(rows[0].attributes.items())
                for who, (_, rows) in self._members.items()
                if rows and now - rows[0].last_moved <= idle
            }

    def shown(self, metric: str, shard: int) -> list[tuple[Number, dict[str, str | int]]]:
        """Return the values and attributes to export now."""
        with self._lock:
            now, idle = self._clock(), self.idle
            rows = self._shards[metric][shard]
            for row in [row for row in rows if now - row.last_moved > idle]:
                # Who reads rarely has still to see the last total. Hidden so that its next move is
                # announced, however long idleness takes by then.
                if row.told == row.total and not self._unheard:
                    row.hide()
            if self._announcing:
                return [(row.shown(now), row.attributes) for row in rows if row.held(now)]
            for row in rows:
                row.told = row.shown(now)
                row.unseen = False
            return [(row.told, row.attributes) for row in rows]

    def exported(self, well: bool) -> None:
        """Take it that an export came through, or that none does."""
        with self._lock:
            self._unheard = not well
            lost = [] if well else [rows for shards in self._shards.values() for rows in shards]
        for rows in lost:
            # Who books waits for one shard, not for all.
            with self._lock:
                now = self._clock()
                for row in rows:
                    row.lose(now)

    def open(self, metric: str) -> None:
        """Open the metric's first shard, so that it is exported from the start."""
        with self._lock:
            self._open_shard(metric)
        self._announce_shards()

    def announce(self) -> bool:
        """Show from now on only what is held; return whether there is anything."""
        with self._lock:
            now, self._announcing = self._clock(), True
            return any(
                row.held(now) for shards in self._shards.values() for rows in shards for row in rows
            )

    def release(self) -> None:
        """Show all totals from now on: the process ends."""
        with self._lock:
            self._announcing = self.until_read = False
            self.hold = 0.0
            for shards in self._shards.values():
                for rows in shards:
                    for row in rows:
                        row.release()

    def clear(self) -> None:
        """Begin with nothing, and a lock of its own: this process was forked from another."""
        self._lock = threading.Lock()
        self._unheard = False
        for kept in (
            self._accounts, self._shared, self._keys, self._series, self._owned, self._members,
        ):  # fmt: skip
            kept.clear()
        self._turned_to = (None, _EMPTY)
        for metric, shards in self._shards.items():
            self._room[metric] = self.shard_size
            for rows in shards:
                rows.clear()

    def _page(self, what: Tags) -> Mapping[Tags, dict[Row, Series]]:
        """Return the accounts of all owners that are for the same: a call books on several."""
        if what is not self._turned_to[0]:
            self._turned_to = (what, self._accounts.get(what, _EMPTY))
        return self._turned_to[1]

    def _open(self, account: Account) -> dict[Row, Series]:
        owner, what = account
        self._turned_to = (None, _EMPTY)
        return self._accounts.setdefault(self._one(what), {}).setdefault(owner, {})

    def _one(self, tags: Tags) -> Tags:
        """Return equal tags that are kept already, if there are: few are different."""
        return self._shared.setdefault(tags, tags)

    def _place(self, owner: Tags, what: Tags, other: Tags, share: int) -> tuple[Place, Account]:
        """Return the first account that is there or may be opened."""
        if self._has_room(owner, share):
            return Place.OWN, (owner, what)
        self._warn()
        less = self._fold(what)
        if owner in self._page(less) or self._has_room(owner, 2 * share):
            return Place.OWN_LESS, (owner, less)
        if other in self._page(what) or self._owned[other[0]] < share:
            return Place.OTHER, (other, what)
        return Place.OTHER_LESS, (other, less)

    def _has_room(self, tags: Tags, share: int) -> bool:
        return self._owned[tags[0]] < share and self._series[tags[0][0]] < self._limit

    def _row(self, series: dict[Row, Series], key: Row, account: Account, share: int) -> Series:
        """Return the series of an entry that is new to its account."""
        if self._owned[account[0][0]] >= share:
            key = (key[0], self._fold(key[1]))
        row = series.get(key)
        if row is None:
            owner, what = account
            metric, extra = key = self._keys.setdefault(key, key)
            row = series[key] = self._new(metric, (owner, self._one(what), extra))
        return row

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning(
                "Open WebUI instrumentation: there are more accounting series than the limit of %d,"
                " or more models of one user than are kept apart; what is new from here on counts"
                " under __other__. Totals stay right. Raise OTEL_PYTHON_OPEN_WEBUI_SERIES_LIMIT to"
                " keep more apart.",
                self._limit,
            )

    def _may_show(self, tags: Tags) -> bool:
        known = (self._membership, tags) in self._gauges
        return known or self._series[tags[0][0]] < self._limit

    def _member(self, tags: Tags) -> Series:
        row = self._gauge(self._membership, tags)
        row.total = 1
        return row

    def _gauge(self, metric: str, tags: Tags) -> Series:
        row = self._gauges.get((metric, tags))
        if row is None:
            row = self._gauges[metric, tags] = self._new(metric, (tags,))
        return row

    def _new(self, metric: str, tags: tuple[Tags, ...]) -> Series:
        if not self._room.get(metric):
            self._open_shard(metric)
        self._room[metric] -= 1
        owner = tags[0][0]
        self._series[owner[0]] += 1
        self._owned[owner] += 1
        return Series(tags, self._shards[metric][-1])

    def _open_shard(self, metric: str) -> None:
        shards = self._shards.setdefault(metric, [])
        shards.append(set())
        self._room[metric] = self.shard_size
        self._opened.append((metric, len(shards) - 1))

    def _announce_shards(self) -> None:
        # Outside the lock: whoever opens an instrument may at once be asked for its values.
        while self._opened:
            self._on_shard(*self._opened.pop(0))
