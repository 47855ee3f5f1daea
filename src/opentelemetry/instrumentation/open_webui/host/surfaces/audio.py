"""Speech, transcription and realtime voice: ``routers/audio``, whichever engine does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...calls.scene import scene
from ...calls.transport import Announced, Leaf, announced
from ...guard import guarded
from ...host.identity import find_caller
from ...host.runtime import Runtime
from ...wrapping import Wrapper
from ..patching import Target
from .leaf import announces

_ROUTER: Final = "open_webui.routers.audio"
_REALTIME: Final = "open_webui.routers.audio.realtime"

# Some engines speak, or listen, by way of a model for more.
SPEECH: Final = Leaf(frozenset({"speech", "realtime"}), operation="speech")
TRANSCRIPTION: Final = Leaf(frozenset({"transcription", "chat"}), operation="transcription")
REALTIME: Final = Leaf(frozenset({"realtime"}))


def voice_user(_runtime: Runtime) -> Wrapper:
    """Wrap ``get_verified_user_by_token``: a voice call says who it is in its first message."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        user = await wrapped(*args, **kwargs)
        here = scene.get()
        if here is not None and user is not None:
            scene.set(here._replace(user=user))
        return user

    return wrapper


def voice_call(runtime: Runtime) -> Wrapper:
    """Wrap ``_get_realtime_connection``: from here on, the task is one voice call."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        _expect_call(runtime)
        return await wrapped(*args, **kwargs)

    return wrapper


@guarded
def _expect_call(runtime: Runtime) -> None:
    if runtime.active:
        # The socket's first message brings a session's token, and nothing else is taken there.
        caller = find_caller(runtime.settings, auth="session", picked=False)
        runtime.groups.expect(caller.user_id)
        announced.set(Announced(runtime, REALTIME, caller))


TARGETS: Final = (
    Target(_ROUTER, "speech", announces(SPEECH), covers="speech"),
    Target(_ROUTER, "transcription_handler", announces(TRANSCRIPTION), covers="transcription"),
    Target(
        _REALTIME,
        "get_verified_user_by_token",
        voice_user,
        covers="who makes voice calls",
        since=(0, 12),
    ),
    Target(_REALTIME, "_get_realtime_connection", voice_call, covers="voice calls", since=(0, 12)),
)
