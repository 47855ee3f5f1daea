"""The usage page, and its API, beside what Open WebUI serves itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from ...guard import report
from ...wrapping import Wrapper
from ..patching import MAIN, Target
from ..runtime import Runtime

PAGE: Final = "/usage"
API: Final = "/api/v1/usage/"


def served(runtime: Runtime) -> Wrapper:
    """Wrap the router: what is ours is served by routes of our own, all else passes by."""
    if not runtime.ledger.is_on:
        return _as_it_is

    @functools.cache
    def routes() -> Any:
        from ..usage.routes import routes

        return routes(runtime)

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        scope = args[0]
        path = scope.get("path", "")
        is_ours = path == PAGE or path.startswith((f"{PAGE}/", API))
        if is_ours and scope["type"] == "http" and runtime.active:
            await _ours(routes, *args)
        else:
            await wrapped(*args, **kwargs)

    return wrapper


async def _ours(routes: Callable[[], Any], scope: Any, receive: Any, send: Any) -> None:
    from starlette.exceptions import HTTPException

    try:
        await routes()(scope, receive, send)
    except HTTPException:
        raise
    except Exception:
        report("the usage API")
        raise HTTPException(503, "The usage page failed; the log says why.") from None


def _as_it_is(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


TARGETS: Final = (
    Target(
        MAIN,
        "app.router.middleware_stack",
        served,
        covers="the usage page and its API",
        since=(0, 6),
    ),
)
"""Beside those of the other screens."""
