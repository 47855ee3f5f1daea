"""Accounts: how much each user and each group has used, of which model and from where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.metrics import Observation

from .. import names
from ..calls.call import ModelCall
from ..settings import Settings
from . import folding, readers
from .attributes import Attributes, units_of
from .handing import Moment
from .observing import observe
from .rhythm import Rhythm
from .sdk import Providers
from .totals import Entry, Row, Tags, Totals

_COUNTERS = (
    names.USAGE_REQUESTS,
    names.USAGE_TOKENS,
    names.USAGE_TOKEN_DETAILS,
    names.USAGE_COST,
    names.USAGE_UNPRICED,
    names.USAGE_CHARACTERS,
    names.USAGE_IMAGES,
    names.USAGE_AUDIO_DURATION,
    names.USAGE_PAGES,
    names.GROUP_REQUESTS,
    names.GROUP_TOKENS,
    names.GROUP_COST,
)
_GAUGES = (names.USER_GROUP, names.USER_LAST_SEEN)
_OBSERVED = {metric.name: metric for metric in (*_COUNTERS, *_GAUGES)}


def _of_tokens(kind: str, *more: tuple[str, bool]) -> tuple[Row, Row]:
    """Where tokens are booked: on a user, and on a group."""
    tags: Tags = ((names.TOKEN_TYPE, kind), *more)
    return (names.USAGE_TOKENS.name, tags), (names.GROUP_TOKENS.name, tags)


def _of_detail(kind: str) -> Row:
    return names.USAGE_TOKEN_DETAILS.name, ((names.TOKEN_DETAIL, kind),)


# As told, and as estimated.
_ESTIMATED: Final = (names.USAGE_ESTIMATED, True)
_INPUT: Final = (_of_tokens("input"), _of_tokens("input", _ESTIMATED))
_OUTPUT: Final = (_of_tokens("output"), _of_tokens("output", _ESTIMATED))
_CACHE_READ, _CACHE_CREATION, _REASONING = map(
    _of_detail, ("cache_read", "cache_creation", "reasoning")
)
_COST: Final[Row] = (names.USAGE_COST.name, ())
_GROUP_COST: Final[Row] = (names.GROUP_COST.name, ())
_UNPRICED: Final[Row] = (names.USAGE_UNPRICED.name, ())

_OTHER_USER: Tags = ((names.USER_ID, names.FOLDED),)
_OTHER_NAMED_USER: Tags = (*_OTHER_USER, (names.USER_NAME, names.FOLDED))

# Telling shards apart: instruments of one name live in scopes that differ by this attribute only.
_SHARD = "open_webui.shard"


class Accounts:
    """Books calls, and shows the totals.

    Args:
        settings: The settings in force.
        sdk: Where metrics go.
    """

    def __init__(self, settings: Settings, sdk: Providers) -> None:
        self._announce_seconds = settings.announce_seconds
        self._sdk = sdk
        self._share = folding.share_of_user(settings.series_limit)
        self._group_share = folding.share_of_group(settings.series_limit)
        self._rhythm: Rhythm | None = None
        self.totals = Totals(
            idle=settings.idle_seconds,
            limit=settings.series_limit,
            shard_size=readers.shard_size(None),
            on_shard=self._observe,
            fold=folding.folded,
            membership=names.USER_GROUP.name,
        )
        # An export of many series may take longer than the interval between two.
        self.totals.until_read = True

    def open(self) -> None:
        """Make the instruments."""
        for name in _OBSERVED:
            self.totals.open(name)

    def tune(self) -> None:
        """Fit the totals to who reads them."""
        provider = self._sdk.meters
        pulled = readers.are_pulled(provider) and not self._announce_seconds
        self._rhythm = Rhythm() if pulled else None
        hold = 0.0 if pulled else readers.hold_seconds(provider)
        self.totals.hold = self._announce_seconds or hold
        self.totals.shard_size = readers.shard_size(provider)

    def exported(self, well: bool) -> None:
        """Take it that an export came through, or that none does."""
        # Who comes and reads is not to wait for a collector that may never be there.
        if readers.are_pushed(self._sdk.meters):
            self.totals.exported(well)

    def be_read(self) -> None:
        """Take it that a collection begins."""
        if self._rhythm is not None:
            self.totals.hold = self._rhythm.read()

    def ended(self, call: ModelCall, _outcome: Attributes, moment: Moment) -> None:
        """Book a call: on its user, and on each of the user's groups."""
        caller, common = call.caller, _common_tags(call)
        user = _user_tags(caller.user_id, caller.user_name)
        other = _OTHER_USER if caller.user_name is None else _OTHER_NAMED_USER
        entries, of_group = _entries(call)
        place = self.totals.book(user, common, entries, other, self._share)
        if place.less:
            common = folding.folded(common)
        groups = call.groups or (names.NO_GROUP,)
        for group in groups:
            owner: Tags = ((names.GROUP_NAME, group),)
            self.totals.book(owner, common, of_group, folding.OTHER_GROUP, self._group_share)
        if place.own:
            self.totals.set_members(caller.user_id, _memberships(user, groups))
        who = user if place.own else other
        self.totals.set_gauge(names.USER_LAST_SEEN.name, who, moment.now / 1e9)

    def update_members(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Show in which groups users are now, by id; nobody becomes active by it."""
        for user_id, tags in self.totals.members().items():
            if user_id in groups:
                user = tuple(tag for tag in tags if tag[0] != names.GROUP_NAME)
                self.totals.set_members(
                    user_id, _memberships(user, groups[user_id] or (names.NO_GROUP,)), moved=False
                )

    def _observe(self, name: str, shard: int) -> None:
        """Open the instrument of one shard: the SDK limits the attribute sets of each one."""
        meter, metric = self._sdk.meter({_SHARD: shard} if shard else None), _OBSERVED[name]
        create = (
            meter.create_observable_counter
            if metric in _COUNTERS
            else meter.create_observable_gauge
        )
        observe(create, metric, lambda: self._shown(name, shard))

    def _shown(self, name: str, shard: int) -> list[Observation]:
        return [
            Observation(value, attributes) for value, attributes in self.totals.shown(name, shard)
        ]


def _memberships(user: Tags, groups: Sequence[str]) -> list[Tags]:
    return [(*user, (names.GROUP_NAME, group)) for group in groups]


def _user_tags(user_id: str, user_name: str | None) -> Tags:
    who = ((names.USER_ID, user_id),)
    return who if user_name is None else (*who, (names.USER_NAME, user_name))


def _common_tags(call: ModelCall) -> Tags:
    asked, caller = call.asked, call.caller
    return (
        (names.REQUEST_MODEL, asked.model),
        (names.MODEL_ID, caller.model_id or asked.model),
        (names.PROVIDER_NAME, asked.provider),
        (names.SOURCE, caller.source),
        (names.TASK, caller.task),
        (names.OPERATION, asked.operation),
    )


def _entries(call: ModelCall) -> tuple[list[Entry], list[Entry]]:
    """What is booked of a call: on its user, and on each group."""
    usage, estimated = call.usage, call.estimated
    failed: Tags = () if call.error is None else ((names.ERROR_TYPE, call.error),)
    of_user: list[Entry] = [((names.USAGE_REQUESTS.name, failed), 1)]
    of_group: list[Entry] = [((names.GROUP_REQUESTS.name, failed), 1)]
    for (told, guessed), amount, guess in (
        (_INPUT, usage.input, estimated.input),
        (_OUTPUT, usage.output, estimated.output),
    ):
        if amount is not None:
            for_user, for_group = told if guess is None else guessed
            of_user.append((for_user, amount))
            of_group.append((for_group, amount))
    for detail, amount in (
        (_CACHE_READ, usage.cache_read),
        (_CACHE_CREATION, usage.cache_creation),
        (_REASONING, usage.reasoning),
    ):
        if amount:
            of_user.append((detail, amount))
    of_user += [((metric.name, ()), units) for metric, units in units_of(call)]
    if call.cost is not None:
        of_user.append((_COST, call.cost.usd))
        of_group.append((_GROUP_COST, call.cost.usd))
    if call.unpriced:
        of_user.append((_UNPRICED, 1))
    return of_user, of_group
