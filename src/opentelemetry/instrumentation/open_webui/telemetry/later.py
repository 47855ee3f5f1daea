"""Ended calls wait a moment and are told of together: between requests, on no answer's way.

What runs once in a while runs on memory that has gone cold. In a server that does other work
between two calls, telling of one call takes three to four times as long as telling of the next one
right after it.
"""

from __future__ import annotations

import threading
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
        self._telling = threading.RLock()
        self._is_due = False
        self._waits = False

    def begin(self) -> None:
        """Take it that a server is up, whose event loop tells of them from now on."""
        # What an earlier loop was to do, it may never have come to.
        self._is_due, self._waits = False, True

    def end(self) -> None:
        """Tell of all of them, and from now on of each at once: the server is about to stop."""
        self._waits = False
        self._tell_all()

    def add(self, call: ModelCall) -> None:
        """Take a call that ends now."""
        self._ended.append((call, time.time_ns()))
        if not self._waits:
            self._tell_all()
        elif not self._is_due:
            self._plan(PAUSE)

    def forget(self) -> None:
        """Leave them to the process that this one was forked from."""
        self._ended.clear()
        self._telling = threading.RLock()
        self._is_due = self._waits = False

    def _tell_all(self) -> None:
        # Not before another thread is done with the one that it is at.
        with self._telling:
            while self._ended:
                self._next()

    def _plan(self, seconds: float) -> None:
        self._is_due = deferred.later(seconds, self._tell_some)
        if not self._is_due:
            self._tell_all()

    def _tell_some(self) -> None:
        # First, so that what another thread adds meanwhile plans anew.
        self._is_due = False
        for _ in range(_AT_ONCE):
            if not self._ended:
                return
            self._next()
        self._plan(0)

    def _next(self) -> None:
        with self._telling:
            if self._ended:
                self._tell(*self._ended.popleft())
