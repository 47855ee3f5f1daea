"""The server around it all: requests that come in, HTTP clients that reach providers, the end."""

from __future__ import annotations

import asyncio
import importlib
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from ...calls import clients
from ...calls.scene import Scene, scene
from ...guard import guarded, report
from ...host.runtime import Runtime
from ...wrapping import Wrapper, bound
from ..patching import MAIN, Patcher, Target
from ..startup import tell_what_is_on
from ..upkeep import keeping_up


def incoming(runtime: Runtime) -> Wrapper:
    """Wrap the router: whatever calls a model while a request is served is that request's."""
    from starlette.requests import HTTPConnection  # Open WebUI brings it; others may not.

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        if runtime.active and args[0]["type"] != "lifespan":
            scene.set(Scene(HTTPConnection(args[0])))
            runtime.connections.listens(args[0].get("server"))
        await wrapped(*args, **kwargs)

    return wrapper


def _client(module: str, function: str) -> Callable[[Runtime], Wrapper]:
    """Return what wraps an HTTP client, without importing it before Open WebUI has."""

    def wrapper_for(runtime: Runtime) -> Wrapper:
        client = importlib.import_module(f"{clients.__name__}.{module}")
        wrapper: Wrapper = getattr(client, function)(runtime)
        return wrapper

    return wrapper_for


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
    runtime.telemetry.begin()
    runtime.ledger.begin()
    runtime.limits.begin()
    try:
        async with server as state, keeping_up(runtime):
            # Open WebUI has set its logging up by now.
            _tell_what_is_on(runtime)
            yield state
    finally:
        if runtime.active:
            await _finish(runtime)


@guarded
def _tell_what_is_on(runtime: Runtime) -> None:
    from ... import OpenWebUIInstrumentor

    if runtime.active:
        patcher: Patcher = OpenWebUIInstrumentor()._patcher
        tell_what_is_on(patcher.states(), runtime.telemetry)


async def _finish(runtime: Runtime) -> None:
    """Do it beside the event loop, in a thread of its own: those of the loop may all be busy."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        try:
            runtime.finish()
        except Exception:
            report("the last export")
        finally:
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, daemon=True).start()
    await done.wait()


TARGETS: Final = (
    Target(
        "aiohttp.client",
        "ClientSession._request",
        _client("aiohttp", "sends"),
        covers="every call to a model over aiohttp, which is nearly all",
        when=MAIN,
    ),
    Target(
        "aiohttp.client",
        "ClientSession._ws_connect",
        _client("aiohttp", "connects"),
        covers="voice calls",
        when=MAIN,
    ),
    Target(
        "requests.sessions",
        "Session.send",
        _client("requests", "sends"),
        covers="calls to models over requests",
        when=MAIN,
        optional=True,
    ),
    *(
        Target(
            module,
            f"{pool}.urlopen",
            _client("urllib3", "opens"),
            covers="calls to models over urllib3",
            when=MAIN,
            optional=True,
        )
        for module, pool in (
            ("urllib3.poolmanager", "PoolManager"),
            ("urllib3.connectionpool", "HTTPConnectionPool"),
        )
    ),
    Target(
        "http.client",
        "HTTPConnection.request",
        _client("http", "sends"),
        covers="calls to models over urllib and http.client",
        when=MAIN,
    ),
    *(
        Target(
            module,
            f"{client}.send",
            _client("httpx", function),
            covers=f"calls to models over {module}",
            when=MAIN,
            optional=True,
        )
        for module in ("httpx", "httpx2")
        for client, function in (("Client", "sends"), ("AsyncClient", "sends_async"))
    ),
    Target(
        MAIN,
        "app.router.middleware_stack",
        incoming,
        covers="who makes calls that are no chat: retrieval, images in a turn, unknown paths",
    ),
    Target(
        MAIN,
        "app.router.lifespan_context",
        lifespan,
        covers="the last export when the server stops",
        is_path=False,
    ),
    Target(
        "open_webui.utils.telemetry.metrics",
        "setup_metrics",
        own_metrics,
        covers="telling processes apart in Open WebUI's own metrics",
        optional=True,
        is_path=False,
    ),
)
