"""Putting wrappers where Open WebUI looks its functions up, and taking them away again.

Open WebUI's modules bind each other's functions by name, FastAPI keeps the endpoint that it was
decorated with, and the app's state holds handlers. So a wrapper replaces the original *wherever* it
is referred to: in every loaded ``open_webui`` module, in their routers' routes and in the app's
state. Before a module is imported, only a hook waits for it; nothing here imports Open WebUI.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import wrapt

from ..guard import report
from ..wrapping import Wrapper
from . import compat

if TYPE_CHECKING:
    from ..host.runtime import Runtime

_logger = logging.getLogger(__name__)

PACKAGE: Final = "open_webui"
# When it has been imported, everything that serves requests has been.
MAIN: Final = "open_webui.main"
PATCHED: Final = "patched"
ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True)
class Target:
    """A function of Open WebUI to wrap."""

    module: str
    attribute: str
    """Name in the module; a dotted one reaches into a class or an object."""
    wrapper: Callable[[Runtime], Wrapper]
    covers: str
    """What is not seen without it, in words for a person."""
    when: str = ""
    """The module without which there is nothing to look for; its own one, if empty."""
    since: tuple[int, ...] = (0, 6)
    """The first version of Open WebUI that has what it covers."""
    optional: bool = False
    """Whether Open WebUI may do without the module."""
    is_path: bool = True
    """Whether it is on the way of calls to models; what is beside them counts as no path."""


class Patcher:
    """Wraps targets as their modules are imported; undoes all of it."""

    def __init__(self, targets: Sequence[Target], runtime: Callable[[], Runtime]) -> None:
        self._targets = targets
        self._runtime = runtime
        self._active = True
        self._undo: list[Callable[[], None]] = []
        self._state: dict[Target, str] = {}
        self._here: set[str] = set()

    def install(self) -> None:
        """Wrap what is imported, and the rest when it is."""
        modules = [name for target in self._targets for name in (target.when, target.module)]
        for module in filter(None, dict.fromkeys(modules)):
            wrapt.register_post_import_hook(functools.partial(self._imported, module), module)
        wrapt.register_post_import_hook(lambda _: self._report_absent(), MAIN)

    def remove(self) -> None:
        """Put every original back."""
        self._active = False
        while self._undo:
            self._undo.pop()()
        self._state.clear()

    def _imported(self, name: str, _module: ModuleType) -> None:
        if not self._active:
            return
        self._here.add(name)
        for target in self._targets:
            # Functions may bring in a client long after Open WebUI is there.
            if name in (target.when, target.module) and self._is_time(target):
                self._patch(target)

    def _is_time(self, target: Target) -> bool:
        return (not target.when or target.when in self._here) and target not in self._state

    def states(self) -> list[tuple[Target, str]]:
        """Return what became of each target: see :meth:`state`."""
        return [(target, self.state(target)) for target in self._targets]

    def state(self, target: Target) -> str:
        """Return what became of a target: patched, absent, missing or failed, and why."""
        if target in self._state:
            return self._state[target]
        if compat.version() < target.since:
            since = ".".join(map(str, target.since))
            return f"{ABSENT} in this version (since {since})"
        if target.optional and target.module not in sys.modules:
            return f"{ABSENT}: not in use"
        return "missing"

    def _patch(self, target: Target) -> None:
        try:
            if self._wrap(target):
                self._state[target] = PATCHED
        except Exception as error:
            self._state[target] = f"failed: {type(error).__name__}: {error}"
            report(f"the patching of {target.module}.{target.attribute}")

    def _wrap(self, target: Target) -> bool:
        module = sys.modules.get(target.module)
        holder, name = _holder(module, target.attribute)
        original = getattr(holder, name, None)
        if original is None:
            return False
        wrapped = wrapt.FunctionWrapper(original, target.wrapper(self._runtime()))
        if inspect.ismodule(holder):
            _replace_everywhere(original, wrapped)
            self._undo.append(lambda: _replace_everywhere(wrapped, original))
        else:
            setattr(holder, name, wrapped)
            self._undo.append(lambda: setattr(holder, name, original))
        return True

    def _report_absent(self) -> None:
        if not self._active:
            return
        absent = [t for t in self._targets if self.state(t).startswith(("missing", "failed"))]
        if absent:
            _logger.warning(
                "Open WebUI instrumentation: this version of Open WebUI lacks %s. Not covered: %s."
                " Everything else works.",
                ", ".join(f"{target.module}.{target.attribute}" for target in absent),
                "; ".join(dict.fromkeys(target.covers for target in absent)),
            )
        if compat.version()[:2] > compat.NEWEST:
            _logger.warning(
                "Open WebUI %s is newer than this instrumentation knows (%s). It works as far as"
                " Open WebUI is what it was; look for calls with open_webui.task=unknown.",
                compat.version_text(),
                ".".join(map(str, compat.NEWEST)),
            )


def _holder(module: ModuleType | None, attribute: str) -> tuple[Any, str]:
    *path, name = attribute.split(".")
    return functools.reduce(lambda thing, part: getattr(thing, part, None), path, module), name


def _replace_everywhere(old: Any, new: Any) -> None:
    from starlette.applications import Starlette  # Open WebUI brings it; we do without otherwise.
    from starlette.routing import Router

    for module in _modules():
        for name, value in list(vars(module).items()):
            if value is old:
                setattr(module, name, new)
            elif isinstance(value, Router):
                _replace_in_routes(value.routes, old, new)
            elif isinstance(value, Starlette):
                _replace_in_routes(value.routes, old, new)
                _replace_in_state(value.state, old, new)


def _replace_in_routes(routes: Iterable[Any], old: Any, new: Any) -> None:
    for route in routes:
        if getattr(route, "endpoint", None) is old:
            route.endpoint = new
            # FastAPI calls this one, and has read the endpoint's signature before.
            route.dependant.call = new


def _replace_in_state(state: Any, old: Any, new: Any) -> None:
    for name, value in list(vars(state).get("_state", {}).items()):
        if value is old:
            setattr(state, name, new)


def _modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if (name == PACKAGE or name.startswith(f"{PACKAGE}.")) and module is not None:
            yield module
