"""What all functions that call a provider have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..caller import find_caller
from ..guard import guarded
from ..patching import Wrapper, bound
from ..runtime import Runtime
from ..transport import Leaf, Pending, pending


def announces(leaf: Leaf) -> Callable[[Runtime], Wrapper]:
    """Return what wraps a function ``(request, form_data, user, …)`` that calls a provider."""

    def wrapper_for(runtime: Runtime) -> Wrapper:
        async def wrapper(
            wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any
        ) -> Any:
            announced = _announce(runtime, leaf, wrapped, args, kwargs)
            if announced is None:
                return await wrapped(*args, **kwargs)
            token = pending.set(announced)
            try:
                result = await wrapped(*args, **kwargs)
            except BaseException as error:
                announced.fail(error)
                raise
            finally:
                pending.reset(token)
            _answer(announced, result)
            return result

        return wrapper

    return wrapper_for


@guarded
def _announce(
    runtime: Runtime, leaf: Leaf, function: Callable[..., Any], args: Any, kwargs: Any
) -> Pending | None:
    if not runtime.active:
        return None
    given = bound(function, args, kwargs)
    caller = find_caller(given["request"], given.get("user"), given["form_data"], runtime.settings)
    runtime.groups.expect(caller.user_id)
    return Pending(runtime, leaf, caller)


@guarded
def _answer(announced: Pending, result: Any) -> None:
    announced.answered(result)
