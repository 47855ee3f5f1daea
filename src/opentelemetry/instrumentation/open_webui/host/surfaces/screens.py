"""Open WebUI's own screens: Analytics, Settings → Usage, and the script that its page loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...screens import loader
from ...wrapping import Wrapper
from ..patching import MAIN, Target
from ..runtime import Runtime

_ANALYTICS: Final = "open_webui.routers.analytics"
_ENDPOINTS: Final = (
    "get_summary",
    "get_model_analytics",
    "get_user_analytics",
    "get_daily_stats",
    "get_token_usage",
)


def _answers(endpoint: str) -> Callable[[Runtime], Wrapper]:
    """Return what wraps an endpoint, without importing SQLAlchemy before it is needed."""

    def wrapper_for(runtime: Runtime) -> Wrapper:
        if not runtime.ledger.is_on:
            return _as_it_is
        from .. import answering

        return answering.answers(runtime, endpoint)

    return wrapper_for


def script(runtime: Runtime) -> Wrapper:
    """Wrap the router: the script of Open WebUI's page gets a part of ours."""
    loader.script()  # If it cannot be read, nothing is wrapped.

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        scope = args[0]
        if scope.get("path") == loader.PATH and scope.get("method") == "GET" and runtime.active:
            await loader.serve(wrapped, *args)
        else:
            await wrapped(*args, **kwargs)

    return wrapper if runtime.ledger.is_on else _as_it_is


def _as_it_is(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


TARGETS: Final = (
    *(
        Target(
            _ANALYTICS,
            endpoint,
            _answers(endpoint),
            covers="Admin → Analytics from the ledger",
            since=(0, 8),
        )
        for endpoint in _ENDPOINTS
    ),
    Target(
        "open_webui.routers.users",
        "get_user_usage_by_session_user",
        _answers("get_user_usage_by_session_user"),
        covers="Settings → Usage from the ledger",
        since=(0, 11),
    ),
    Target(
        MAIN,
        "app.router.middleware_stack",
        script,
        covers="the choice of Both, UI or API in Admin → Analytics",
        since=(0, 8),
    ),
)
"""Beside those of :data:`~.TARGETS`, where there is a ledger to answer from."""
