"""Answers to the requests of Open WebUI's own screens, from the ledger.

Each endpoint stays where it is, behind Open WebUI's own check of who asks. Whatever goes wrong with
our answer, Open WebUI's own is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from ..calls.scene import present
from ..guard import report
from ..ledger.ledger import Unavailable
from ..screens import analytics, personal
from ..screens.asked import Asked, asked
from ..screens.parts import TooManyParts
from ..wrapping import Wrapper, bound
from . import compat, lookup
from .runtime import Runtime

HEADER: Final = "X-Usage-Ledger"
"""Marks an answer as ours; the page tells people where it is missing."""

Theirs = Callable[[], Awaitable[dict[str, Any]]]
"""Returns Open WebUI's own answer, as JSON has it."""
Ours = Callable[[Runtime, dict[str, Any], Theirs], Awaitable[dict[str, Any]]]
"""Returns our answer; takes the endpoint's arguments."""
Reading = Callable[[Connection, Asked], dict[str, Any]]


class _NotOurs(Exception):
    """Open WebUI is to answer this one: it knows what is wrong with the request."""


# Where nothing of ours is broken.
_THEIRS: Final = (_NotOurs, TooManyParts, Unavailable)


def answers(runtime: Runtime, name: str) -> Wrapper:
    """Wrap an endpoint of one of :data:`SCREENS`."""
    from starlette.exceptions import HTTPException

    async def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
        own = _Own(wrapped, args, kwargs)
        if not runtime.active:
            return await own.answer()
        try:
            answering = SCREENS[name](runtime, bound(wrapped, args, kwargs), own.as_json)
            return own.shaped(await asyncio.wait_for(answering, lookup.SECONDS))
        except HTTPException:
            raise
        except _THEIRS:
            pass
        except Exception:
            report(f"the answer of {wrapped.__module__}.{name}")
        return await own.answer()

    return wrapper


@dataclass(slots=True)
class _Own:
    """Open WebUI's own endpoint, with what it was called with."""

    function: Callable[..., Any]
    args: Any
    kwargs: Any
    _answer: Any = None

    async def answer(self) -> Any:
        """Return its answer; it is asked once."""
        if self._answer is None:
            self._answer = await self.function(*self.args, **self.kwargs)
        return self._answer

    async def as_json(self) -> dict[str, Any]:
        try:
            answer = await self.answer()
        except Exception as error:
            raise _NotOurs from error
        found: dict[str, Any] = answer.model_dump(mode="json")
        return found

    def shaped(self, found: dict[str, Any]) -> Any:
        """Return our answer as this version of Open WebUI has it: what it lacks is left out."""
        from starlette.responses import JSONResponse

        shape = compat.response_model(self.function)
        content = shape.model_validate(found).model_dump(mode="json")
        return JSONResponse(content, headers={HEADER: "true"})


async def _asked(given: dict[str, Any]) -> Asked:
    here = present()
    source = None if here is None else here.request.query_params.get("source")
    group = given.get("group_id")
    return asked(given, source, await compat.group_and_below(group) if group else ())


def _analytics(read: Reading) -> Ours:
    async def ours(runtime: Runtime, given: dict[str, Any], _theirs: Theirs) -> dict[str, Any]:
        wanted = await _asked(given)
        if wanted.compare and not wanted.is_bounded:
            raise _NotOurs
        return await lookup.read(runtime.ledger, lambda connection: read(connection, wanted))

    return ours


def _with_chats(
    read: Reading, add: Callable[[dict[str, Any], dict[str, Any], Asked], dict[str, Any]]
) -> Ours:
    async def ours(runtime: Runtime, given: dict[str, Any], theirs: Theirs) -> dict[str, Any]:
        wanted = await _asked(given)
        found = await lookup.read(runtime.ledger, lambda connection: read(connection, wanted))
        return add(found, await theirs(), wanted)

    return ours


async def _users(runtime: Runtime, given: dict[str, Any], _theirs: Theirs) -> dict[str, Any]:
    wanted = await _asked(given)
    found = await lookup.read(
        runtime.ledger, lambda connection: analytics.users(connection, wanted)
    )
    ids = [user["user_id"] for user in found["users"]]
    return analytics.with_people(found, await compat.people(ids))


async def _usage(runtime: Runtime, given: dict[str, Any], theirs: Theirs) -> dict[str, Any]:
    own, user = await theirs(), given["user"]
    start, end = own["period"]["start_date"], own["period"]["end_date"]

    def read(connection: Connection) -> dict[str, Any]:
        zone = getattr(user, "timezone", None)
        return personal.merged(own, personal.read(connection, user.id, start, end, zone))

    return await lookup.read(runtime.ledger, read)


SCREENS: Final[dict[str, Ours]] = {
    "get_summary": _with_chats(analytics.summary, analytics.with_chats_of_all),
    "get_model_analytics": _with_chats(analytics.models, analytics.with_chats),
    "get_user_analytics": _users,
    "get_daily_stats": _analytics(analytics.daily),
    "get_token_usage": _analytics(analytics.tokens),
    "get_user_usage_by_session_user": _usage,
}
"""Our answers, by the names of Open WebUI's endpoints."""
