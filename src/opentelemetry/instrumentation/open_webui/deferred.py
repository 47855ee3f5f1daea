"""Work put off from where it must not be done: finalisers.

The garbage collector runs them in whatever thread, at whatever line, also while that thread holds a
lock that the work needs: of the accounts, of the SDK, of logging. There they only say what is to be
done; the event loop does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from .guard import report

# Its `put` may interrupt itself in the same thread (Python's documentation of `queue`).
_waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
_loop: asyncio.AbstractEventLoop | None = None


def soon(work: Callable[[], None]) -> None:
    """Have work done by the event loop; takes no lock."""
    _waiting.put(work)
    loop = _loop
    if loop is not None:
        # A loop that is closed has nothing more to do; what is left is done at the end.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(do)


def later(seconds: float, work: Callable[[], None]) -> bool:
    """Have work done by the event loop after a while.

    Returns:
        Whether there is a loop that will.
    """
    loop = _loop
    if loop is None:
        return False
    try:
        if asyncio._get_running_loop() is loop:
            # It need not be woken, at the price of a system call.
            loop.call_later(seconds, work)
        else:
            loop.call_soon_threadsafe(loop.call_later, seconds, work)
    except RuntimeError:  # It is closed.
        return False
    return True


def use_this_loop() -> None:
    """Have it done by the running loop from now on."""
    global _loop
    _loop = asyncio.get_running_loop()


def forget() -> None:
    """Leave what has been put off to the process that this one was forked from."""
    global _waiting, _loop
    _waiting, _loop = SimpleQueue(), None


def do() -> None:
    """Do what has been put off so far."""
    # Nearly always there is nothing, and an exception would say so dearly.
    while not _waiting.empty():
        try:
            work = _waiting.get_nowait()
        except Empty:
            return
        try:
            work()
        except Exception:
            report("the end of an abandoned answer")
