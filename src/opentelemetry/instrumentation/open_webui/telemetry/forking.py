"""Forks: of servers that load Open WebUI before their workers (``gunicorn --preload``), and others.

A forked process has a copy of all that its parent has counted and is about to say, under the same
name; of its parent's threads it has none, and a lock that one of them held stays locked. So it
begins anew: with a name, locks, connections and accounts of its own, and without its parent's
calls. Until it serves it is silent: most forked processes have nothing to tell.
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from ..guard import guarded
from . import readers

INSTANCE_ID: Final = "service.instance.id"


class Forked(Protocol):
    """What is to be right in a forked process, too."""

    active: bool

    def before_fork(self) -> None:
        """Be ready for a fork."""

    def begin_anew(self) -> None:
        """Take it that this process is a forked one."""


_followed: Final[weakref.WeakSet[Forked]] = weakref.WeakSet()
_registered = False


def follow(one: Forked) -> None:
    """Keep what is instrumented right through forks, for as long as it is active."""
    global _registered
    _followed.add(one)
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(before=_before, after_in_child=_in_child)


@guarded
def _before() -> None:
    for one in _active():
        one.before_fork()


@guarded
def _in_child() -> None:
    for one in _active():
        one.begin_anew()


def _active() -> list[Forked]:
    return [one for one in tuple(_followed) if one.active]


def begin_anew(providers: Iterable[Any]) -> None:
    """Give the SDK's providers a name, locks and sums of their own."""
    known = list(providers)
    names = _Names()
    for resource in {id(each): each for each in readers.resources(known)}.values():
        names.rename(resource)
    for part in readers.parts(known):
        _renew_locks(part)
    for storage in readers.storages(known):
        storage._instrument_view_instrument_matches.clear()


class _Names:
    """The new name of this process, for each that its parent had."""

    def __init__(self) -> None:
        self._new: dict[str, str] = {}

    def rename(self, resource: Any) -> None:
        # Tracers, meters and loggers all hold this one object.
        from opentelemetry.sdk.resources import Resource

        old = str(resource.attributes.get(INSTANCE_ID, ""))
        new = self._new.setdefault(old, forked_id(old))
        resource._attributes = resource.merge(Resource({INSTANCE_ID: new})).attributes


def forked_id(old: str) -> str:
    """Return the ``service.instance.id`` of a process whose parent has the old one.

    A name that somebody has given stays to be seen in it.
    """
    try:
        uuid.UUID(old or str(uuid.uuid4()))
    except ValueError:
        return f"{old}-{os.getpid()}"
    return str(uuid.uuid4())


def _renew_locks(thing: Any) -> None:
    for value in _values(thing):
        renew = getattr(value, "_at_fork_reinit", None)
        # Events and conditions may be waited for already, by threads that are ours.
        if renew is not None and hasattr(value, "acquire") and not hasattr(value, "notify"):
            renew()


def _values(thing: Any) -> Iterator[Any]:
    yield from tuple(getattr(thing, "__dict__", {}).values())
