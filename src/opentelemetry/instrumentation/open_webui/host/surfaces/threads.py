"""Threads that a Function pipe starts: what they call, the pipe calls.

A thread has no context of who started it. It gets the pipe's scene and nothing else, because what
libraries keep in context variables may be wrong in another thread. Work that is handed to an
executor is the pipe's, the executor's own threads are not: they go on to work for others. A thread
may go on to do so, too; so it counts for the pipe as long as that runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ...calls.call import ModelCall
from ...calls.scene import Scene, present, scene
from ...guard import guarded
from ...host.runtime import Runtime
from ...wrapping import Wrapper
from ..patching import MAIN, Target
from .running import inside

T = TypeVar("T")


def starts(runtime: Runtime) -> Wrapper:
    """Wrap ``threading.Thread.start``."""

    def wrapper(wrapped: Callable[..., Any], thread: Any, args: Any, kwargs: Any) -> Any:
        here = _of_pipe(runtime)
        if here is not None:
            _lend(runtime, here._replace(lent=True), thread)
        return wrapped(*args, **kwargs)

    return wrapper


def submits(runtime: Runtime) -> Wrapper:
    """Wrap ``concurrent.futures.ThreadPoolExecutor.submit``."""

    def wrapper(wrapped: Callable[..., Any], _executor: Any, args: Any, kwargs: Any) -> Any:
        # Open WebUI has executors do several things for each request.
        around = scene.get()
        here = None if around is None or around.call is None else _of_pipe(runtime)
        if here is None or not args:
            return wrapped(*args, **kwargs)
        work = functools.partial(_run, runtime, here, args[0])
        # The threads that it may start for this are not the pipe's.
        token = scene.set(None)
        try:
            return wrapped(work, *args[1:], **kwargs)
        finally:
            scene.reset(token)

    return wrapper


def _of_pipe(runtime: Runtime) -> Scene | None:
    # Runs for every thread and all work of executors.
    here = scene.get()
    if here is None or here.call is None or not runtime.active:
        return None
    return present()


@guarded
def _lend(runtime: Runtime, here: Scene, thread: Any) -> None:
    own = thread.run

    def run() -> None:
        del thread.run
        _run(runtime, here, own)

    thread.run = run


def _run(runtime: Runtime, here: Scene, work: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    call: ModelCall = here.call  # type: ignore[assignment]  # it is the pipe's
    with inside(runtime, here, call):
        return work(*args, **kwargs)


TARGETS: Final = (
    Target(
        "threading",
        "Thread.start",
        starts,
        covers="for whom threads of Function pipes call models",
        when=MAIN,
    ),
    Target(
        "concurrent.futures.thread",
        "ThreadPoolExecutor.submit",
        submits,
        covers="for whom executors call models for Function pipes",
        when=MAIN,
    ),
)
