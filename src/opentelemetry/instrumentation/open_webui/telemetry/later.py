"""Ended calls wait a moment and are told of together: between requests, on no answer's way.

What runs once in a while runs on memory that has gone cold. In a server that does other work
between two calls, telling of one call takes three to four times as long as telling of the next one
right after it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from .. import deferred
from ..calls.call import ModelCall

PAUSE: Final = 0.5
"""Seconds that a call may wait."""
# What is told of at once, in a millisecond or two, before the event loop does other work.
_AT_ONCE: Final = 16


class Later:
    """The ended calls that nobody was told of yet.

    Args:
        tell: Tells of one, and of when it ended, in nanoseconds of Unix time.
    """

    def __init__(self, tell: Callable[[ModelCall, int], None]) -> None:
        self._tell = tell
        self._ended: deque[tuple[ModelCall, int]] = deque()
        self._is_due = False
        self.waits = False
        """Whether there is an event loop to tell of them: a server is up, and not about to stop."""

    def add(self, call: ModelCall) -> None:
        """Take a call that ends now."""
        self._ended.append((call, time.time_ns()))
        if not self.waits:
            self.tell()
        elif not self._is_due:
            self._plan(PAUSE)

    def tell(self) -> None:
        """Tell of all of them now."""
        while self._ended:
            self._next()

    def forget(self) -> None:
        """Leave them to the process that this one was forked from."""
        self._ended.clear()
        self._is_due = self.waits = False

    def _plan(self, seconds: float) -> None:
        self._is_due = deferred.later(seconds, self._tell_some)
        if not self._is_due:
            self.tell()

    def _tell_some(self) -> None:
        # First, so that what another thread adds meanwhile plans anew.
        self._is_due = False
        for _ in range(_AT_ONCE):
            if not self._ended:
                return
            self._next()
        self._plan(0)

    def _next(self) -> None:
        try:
            call, ended = self._ended.popleft()
        except IndexError:
            return  # Another thread tells of it.
        self._tell(call, ended)
