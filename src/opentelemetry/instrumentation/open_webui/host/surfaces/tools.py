"""Tools that run inside a turn: ``utils/middleware.py``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ...calls.scene import present
from ...calls.work import Work
from ...guard import guarded
from ...host.runtime import Runtime
from ...wrapping import Wrapper, bound
from ..patching import Target

_MIDDLEWARE: Final = "open_webui.utils.middleware"
_COVERS: Final = "spans of tool runs"


def called_tool(runtime: Runtime) -> Wrapper:
    """Wrap ``execute_tool_call``: the model called the tool by the provider's own means."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        called = _called(runtime, wrapped, args, kwargs)
        if called is None:
            return await wrapped(*args, **kwargs)
        return await _traced(runtime, *called, lambda: wrapped(*args, **kwargs))

    return wrapper


def prompted_tools(runtime: Runtime) -> Wrapper:
    """Wrap ``chat_completion_tools_handler``: a prompt made the model choose among the tools."""

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        replaced = _with_traced_tools(runtime, wrapped, args, kwargs)
        return await (wrapped(*args, **kwargs) if replaced is None else wrapped(**replaced))

    return wrapper


async def _traced(
    runtime: Runtime, name: object, call_id: object, run: Callable[[], Awaitable[Any]]
) -> Any:
    work = _begun(runtime, name, call_id)
    if work is None:
        return await run()
    try:
        with runtime.telemetry.spans.current(work.span):
            result = await run()
        if _failed(result):
            work.fail()
        return result
    except Exception as error:
        work.broke(error)
        raise
    finally:
        work.end()


@guarded
def _begun(runtime: Runtime, name: object, call_id: object) -> Work | None:
    here = present()
    turn = here.turn if here is not None else None
    return runtime.telemetry.spans.start_tool(
        name,
        call_id,
        here.model_id if here is not None else None,
        turn.chat_id if turn is not None else None,
    )


@guarded
def _called(
    runtime: Runtime, function: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[object, object] | None:
    if not runtime.active:
        return None
    call = bound(function, args, kwargs)["tool_call"]
    return call["function"]["name"], call.get("id")


@guarded
def _failed(result: Any) -> bool | None:
    """Open WebUI turns a tool's exception into ``{"error": …}`` in second place."""
    outcome = result[1] if isinstance(result, tuple) else None
    return isinstance(outcome, Mapping) and set(outcome) == {"error"}


@guarded
def _with_traced_tools(
    runtime: Runtime, function: Callable[..., Any], args: Any, kwargs: Any
) -> dict[str, Any] | None:
    if not runtime.active:
        return None
    given = bound(function, args, kwargs)
    tools = {
        name: _with_traced_callable(runtime, name, tool) for name, tool in given["tools"].items()
    }
    return {**given, "tools": tools}


def _with_traced_callable(
    runtime: Runtime, name: str, tool: Mapping[str, Any]
) -> Mapping[str, Any]:
    run = tool.get("callable")
    if run is None:
        return tool

    async def traced(*args: Any, **kwargs: Any) -> Any:
        return await _traced(runtime, name, None, lambda: run(*args, **kwargs))

    return {**tool, "callable": traced}


TARGETS: Final = (
    Target(_MIDDLEWARE, "execute_tool_call", called_tool, covers=_COVERS, since=(0, 12)),
    Target(_MIDDLEWARE, "chat_completion_tools_handler", prompted_tools, covers=_COVERS),
)
