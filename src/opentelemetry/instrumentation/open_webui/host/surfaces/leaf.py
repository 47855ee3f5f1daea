"""What all functions that call a provider have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...calls.transport import Announced, Leaf, announced
from ...guard import guarded
from ...host.identity import find_caller
from ...host.runtime import Runtime
from ...wrapping import Wrapper, bound, is_async


def announces(leaf: Leaf) -> Callable[[Runtime], Wrapper]:
    """Return what wraps a function that calls a provider: asynchronous or not.

    The function may have ``request``, ``user`` and ``form_data`` among its arguments; what it lacks
    is taken from the request being served.
    """

    def wrapper_for(runtime: Runtime) -> Wrapper:
        async def announce(wrapped: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            token = announced.set(_announced(runtime, leaf, wrapped, args, kwargs))
            try:
                return await wrapped(*args, **kwargs)
            finally:
                announced.reset(token)

        def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
            if is_async(wrapped):
                return announce(wrapped, args, kwargs)
            token = announced.set(_announced(runtime, leaf, wrapped, args, kwargs))
            try:
                return wrapped(*args, **kwargs)
            finally:
                announced.reset(token)

        return wrapper

    return wrapper_for


@guarded
def _announced(
    runtime: Runtime, leaf: Leaf, function: Callable[..., Any], args: Any, kwargs: Any
) -> Announced | None:
    if not runtime.active:
        return None
    given = bound(function, args, kwargs)
    caller = find_caller(
        runtime.settings,
        given.get("request"),
        given.get("user"),
        form_of(given.get("form_data")),
        task=leaf.task,
        picked=leaf.picked,
    )
    runtime.groups.expect(caller.user_id)
    return Announced(runtime, leaf, caller)


def form_of(form: object) -> Mapping[str, Any]:
    """Return a form as a mapping: some of Open WebUI's functions take models of pydantic."""
    return form if isinstance(form, Mapping) else {"model": getattr(form, "model", None)}
