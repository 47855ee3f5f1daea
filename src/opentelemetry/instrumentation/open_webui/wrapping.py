"""What a wrapper of a function is given, whoever's function it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""What wrapt calls in place of the original."""


def bound(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments by name: which come by position differs between callers and versions.

    They are to be looked at only: the dictionary may be the caller's.
    """
    if not args:
        return kwargs
    method = getattr(function, "__func__", None)
    # What is remembered by a method would keep its object.
    names = _parameters(function) if method is None else _parameters(method)[1:]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a function is asynchronous. Python looks for a while, and each time anew."""
    plain = getattr(function, "__func__", function)
    return (_known if isinstance(plain, FunctionType) else inspect.iscoroutinefunction)(plain)


_known = functools.lru_cache(maxsize=256)(inspect.iscoroutinefunction)


@functools.lru_cache(maxsize=256)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
