"""What happens around a call: the request being served, its turn, the pipe that is running."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from .call import ModelCall
from .caller import Caller
from .turn import Turn


# A tuple, which is made anew with other values in a tenth of the time that a dataclass takes.
class Scene(NamedTuple):
    """What a call inherits from what it happens in."""

    request: Any
    """The HTTP request being served, or the one that Open WebUI builds for work of its own."""
    user: Any = None
    """Open WebUI's user, where it is known from elsewhere than the request."""
    turn: Turn | None = None
    model_id: str | None = None
    """The model that the caller picked for this answer."""
    dispatched: str | None = None
    """The model that is being called, before an arena has chosen another for it."""
    source: str | None = None
    """The source of the chat request that all this belongs to."""
    call: ModelCall | None = None
    """The pipe that is running, and may call models itself."""
    ticket: Any = None
    """The leave to call models that was given for it (:class:`~..host.admission.Leave`), if any."""
    caller: Caller | None = None
    """On whose behalf the chat request is made, where this began with one."""
    lent: bool = False
    """Whether this thread has it from a pipe that it may outlive: it holds as long as that runs."""


scene: Final[ContextVar[Scene | None]] = ContextVar("open_webui_scene", default=None)


def present() -> Scene | None:
    """Return the scene of what is running here, unless it is over."""
    here = scene.get()
    over = here is not None and here.lent and here.call is not None and here.call.ended
    return None if over else here


def running_pipe() -> ModelCall | None:
    """Return the call of the pipe that is running here, if one is."""
    here = present()
    return None if here is None else here.call
