"""The server around it all: the HTTP client that reaches providers, and the end of the process."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from .. import transport
from ..guard import guarded, report
from ..patching import MAIN, Target, Wrapper, bound
from ..runtime import Runtime

# A collector that does not answer must not keep the server from stopping.
_PATIENCE: Final = 8.0


def http_client(_runtime: Runtime) -> Wrapper:
    """Wrap ``aiohttp.ClientSession._request``: every request passes it, few are announced."""
    return transport.request


def lifespan(runtime: Runtime) -> Wrapper:
    """Wrap the app's lifespan: uvicorn ends a worker by a signal, after which nothing runs."""

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        return _until_shutdown(runtime, wrapped(*args, **kwargs))

    return wrapper


def own_metrics(runtime: Runtime) -> Wrapper:
    """Wrap ``setup_metrics``: the series of each process need a name of their own."""

    def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        named = _with_instance_id(wrapped, args, kwargs) if runtime.active else None
        return wrapped(*args, **kwargs) if named is None else wrapped(**named)

    return wrapper


@guarded
def _with_instance_id(
    function: Callable[..., Any], args: Any, kwargs: Any
) -> dict[str, Any] | None:
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource

    given = bound(function, args, kwargs)
    if SERVICE_INSTANCE_ID in given["resource"].attributes:
        return None
    own = Resource({SERVICE_INSTANCE_ID: str(uuid.uuid4())})
    return {**given, "resource": given["resource"].merge(own)}


@asynccontextmanager
async def _until_shutdown(runtime: Runtime, server: Any) -> AsyncIterator[Any]:
    try:
        async with server as state:
            yield state
    finally:
        if runtime.active:
            await _finish(runtime)


async def _finish(runtime: Runtime) -> None:
    try:
        work = asyncio.get_running_loop().run_in_executor(None, runtime.finish)
        await asyncio.wait((work,), timeout=_PATIENCE)
    except Exception:
        report("the last export")


TARGETS: Final = (
    Target(
        "aiohttp.client",
        "ClientSession._request",
        http_client,
        covers="every call to a model",
        when=MAIN,
    ),
    Target(
        MAIN,
        "app.router.lifespan_context",
        lifespan,
        covers="the last export when the server stops",
    ),
    Target(
        "open_webui.utils.telemetry.metrics",
        "setup_metrics",
        own_metrics,
        covers="telling processes apart in Open WebUI's own metrics",
        optional=True,
    ),
)
