"""What is told of a call when there is no room to tell it apart: users, groups, models, errors."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from .. import names
from .totals import Tags

_logger = logging.getLogger(__name__)

_MODELS: Final = dict.fromkeys(
    (names.REQUEST_MODEL, names.RESPONSE_MODEL, names.MODEL_ID, names.AGENT_NAME, names.TOOL_NAME),
    names.FOLDED,
)
_MODELS_AND_ERRORS: Final = {**_MODELS, names.ERROR_TYPE: names.OTHER}
OTHER_GROUP: Final[Tags] = ((names.GROUP_NAME, names.FOLDED),)

# One user must not take the room of all others, nor one group that of most.
_OF_SERIES: Final = 10
_OF_GROUP_SERIES: Final = 2
_OF_SETS: Final = 2
_LEAST_SHARE: Final = 1_000
# Sets without models, for one with.
_WITHOUT_MODELS: Final = 4


def share_of_user(limit: int) -> int:
    """Return how many of all series of users one may have."""
    return max(limit // _OF_SERIES, _LEAST_SHARE)


def share_of_group(limit: int) -> int:
    """Return how many of all series of groups one may have."""
    return max(limit // _OF_GROUP_SERIES, _LEAST_SHARE)


def folded(tags: Tags) -> Tags:
    """Return tags that tell no model, and of an error only that there was one."""
    return _replaced(tags, _MODELS_AND_ERRORS)


def _replaced(tags: Tags, values: Mapping[str, str]) -> Tags:
    return tuple((name, values.get(name, value)) for name, value in tags)


T = TypeVar("T")


class Sets(Generic[T]):
    """The sets of attributes that histograms have. The SDK throws together all beyond a limit.

    Args:
        make: Makes of a set what records in it.
    """

    def __init__(self, make: Callable[[dict[str, Any]], T]) -> None:
        self.limit = 0
        """Sets that tell a model."""
        self._make = make
        self._kept: dict[Tags, T] = {}
        self._folded: dict[Tags, T] = {}
        self._owned: Counter[str] = Counter()

    def clear(self) -> None:
        """Begin with none."""
        for kept in (self._kept, self._folded, self._owned):
            kept.clear()

    def fitting(self, tags: Tags, user_id: str) -> T:
        """Return what records in the set, or where a new one has no room, in one without models."""
        known = self._kept.get(tags)
        if known is not None:
            return known
        if len(self._kept) < self.limit and self._owned[user_id] * _OF_SETS < self.limit:
            self._owned[user_id] += 1
            return self._kept.setdefault(tags, self._make(dict(tags)))
        return self._narrow(_replaced(tags, _MODELS))

    def _narrow(self, tags: Tags) -> T:
        known = self._folded.get(tags)
        if known is not None:
            return known
        if not self._folded:
            _logger.warning(
                "Open WebUI instrumentation: more models, tools and kinds of calls than histograms"
                " can tell apart; what is new from here on counts there as %s. Accounts are not"
                " affected.",
                names.FOLDED,
            )
        if len(self._folded) * _WITHOUT_MODELS < self.limit:
            return self._folded.setdefault(tags, self._make(dict(tags)))
        return self._make(dict(folded(tags)))
