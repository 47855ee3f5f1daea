"""The routes of the usage API. Who asks is found out by Open WebUI's own dependencies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.openapi.utils import get_openapi
from sqlalchemy import Connection

from ...screens.usage import answers, board, history, shapes
from ...screens.usage.asking import Asked, Paged
from ...screens.usage.spans import Wrong, zone_of
from ...version import __version__
from .. import compat
from ..runtime import Runtime
from .answered import answered, following, read
from .limits import add_limits
from .parameters import (
    Board,
    Charged,
    Charted,
    ChartedOfAll,
    History,
    HistoryOfAll,
    Searched,
    Shown,
    Sorted,
)
from .signing import Signed, by_header, signed

T = TypeVar("T")

PREFIX: Final = "/api/v1/usage"
_OFF: Final = "There is no leaderboard here."
_DESCRIPTION: Final = """What users of Open WebUI used, of which models, and what it cost.

A session token or an API key of Open WebUI as `Authorization: Bearer …` says who asks. All but
`mine`, `mine/…` and `leaderboard` is for admins."""


def router(runtime: Runtime) -> APIRouter:
    """Return the routes."""
    who = signed()
    found = APIRouter(prefix=PREFIX, tags=["usage"])
    for add in (_add_mine, _add_sums, _add_calls, _add_leaderboard, add_limits):
        add(found, runtime, who)
    _add_document(found, who)
    return found


def _add_mine(to: APIRouter, runtime: Runtime, signed: Signed) -> None:
    @to.get("/mine", response_model=shapes.Mine)
    async def mine(
        request: Request,
        given: Annotated[Charted, Query()],
        user: Any = Depends(signed.user),
    ) -> Response:
        """What you used: in all, by source, by model and over time."""

        def reading(connection: Connection) -> shapes.Mine:
            began = answers.began(connection)
            asked = given.asked(began, _zone(user), user.id)
            return {
                **answers.overview(connection, asked, given.every, given.split),
                "you": {
                    "user_id": user.id,
                    "user": user.name,
                    "is_admin": user.role == "admin",
                    "leaderboard": runtime.settings.leaderboard,
                    "began": began,
                },
            }

        return answered(request, "overview", await read(runtime, reading), given.format)

    @to.get("/mine/calls", response_model=shapes.Calls)
    async def my_calls(
        request: Request,
        given: Annotated[History, Query()],
        user: Any = Depends(signed.user),
    ) -> Response:
        """Each of your calls, newest first. A page may be short; go on while there is `next`."""
        found = await read(runtime, _calls(request, given, user, user.id, None))
        return answered(request, "calls", found, given.format)


def _add_sums(to: APIRouter, runtime: Runtime, signed: Signed) -> None:
    @to.get("/summary", response_model=shapes.Summary)
    async def summary(
        request: Request,
        given: Annotated[ChartedOfAll, Query()],
        user: Any = Depends(signed.admin),
    ) -> Response:
        """What everybody used: in all, by source, by model and over time."""
        found = await read(
            runtime,
            lambda connection: answers.summary(
                connection, _asked(connection, given, user), given.every, given.split
            ),
        )
        return answered(request, "overview", found, given.format)

    @to.get("/users", response_model=shapes.Users)
    async def users(
        request: Request,
        given: Annotated[Searched, Query()],
        user: Any = Depends(signed.admin),
    ) -> Response:
        """What each user used; names and addresses are those of today."""
        only = await compat.found_people(given.search) if given.search else None
        found = await _paged(runtime, given, user, partial(answers.users, only=only))
        people = await compat.people([row["user_id"] for row in found["data"]])
        for row in found["data"]:
            row["user"], row["email"] = people.get(row["user_id"], (row["user"], None))
        return _page(request, "users", found, given)

    @to.get("/groups", response_model=shapes.Groups)
    async def groups(
        request: Request,
        given: Annotated[Sorted, Query()],
        user: Any = Depends(signed.admin),
    ) -> Response:
        """What each group used. A call counts in each group of its user."""
        found = await _paged(runtime, given, user, answers.groups)
        return _page(request, "groups", found, given)

    @to.get("/models", response_model=shapes.Models)
    async def models(
        request: Request,
        given: Annotated[Sorted, Query()],
        user: Any = Depends(signed.admin),
    ) -> Response:
        """What was used of each model that can be picked in Open WebUI."""
        found = await _paged(runtime, given, user, answers.models)
        return _page(request, "models", found, given)

    @to.get("/chargeback", response_model=shapes.Chargeback)
    async def chargeback(
        request: Request,
        given: Annotated[Charged, Query()],
        user: Any = Depends(signed.admin),
    ) -> Response:
        """What each group is charged: each call once, to the nano-dollar."""
        found = await read(
            runtime,
            lambda connection: answers.chargeback(
                connection,
                given.asked(answers.began(connection), _zone(user)),
                given.charge,
                given.priorities,
            ),
        )
        return answered(request, "chargeback", found, given.format)


def _add_calls(to: APIRouter, runtime: Runtime, signed: Signed) -> None:
    @to.get("/calls", response_model=shapes.Calls)
    async def calls(
        request: Request,
        given: Annotated[HistoryOfAll, Query()],
        user: Any = Depends(signed.admin),
    ) -> Response:
        """Each call, newest first. A page may be short; go on while there is `next`."""
        found = await read(runtime, _calls(request, given, user, given.user_id, given.group))
        people = await compat.people(sorted({row["user_id"] for row in found["data"]}))
        for row in found["data"]:
            row["user"] = people.get(row["user_id"], (row["user"], None))[0]
        return answered(request, "calls", found, given.format)


def _add_leaderboard(to: APIRouter, runtime: Runtime, signed: Signed) -> None:
    mode = runtime.settings.leaderboard

    def there_is_one() -> None:
        if mode == board.OFF:
            raise HTTPException(404, _OFF)

    @to.get("/leaderboard", response_model=shapes.Leaderboard)
    async def leaderboard(
        request: Request,
        given: Annotated[Board, Query()],
        user: Any = Depends(signed.user),
        _: None = Depends(there_is_one),
    ) -> Response:
        """Who used the most, without those who do not wish to be on it."""

        def reading(connection: Connection) -> tuple[Asked, list[Any]]:
            asked = given.asked(answers.began(connection), _zone(user))
            return asked, answers.leaders(connection, asked, given.sort, board.MOST_READ)

        asked, leaders = await read(runtime, reading)
        people = await compat.people_on_board([user.id, *(leader for leader, _ in leaders)])
        found = board.leaderboard(asked, leaders, people, user.id, mode, given.limit)
        return answered(request, "leaderboard", found, given.format)

    @to.put("/leaderboard/me", status_code=204, dependencies=[Depends(by_header)])
    async def show_me(
        wish: Shown,
        user: Any = Depends(signed.user),
        _: None = Depends(there_is_one),
    ) -> Response:
        """Be on the leaderboard from now on, or not."""
        await compat.show_on_board(user.id, wish.shown)
        return Response(status_code=204)


def _add_document(to: APIRouter, signed: Signed) -> None:
    @to.get("/openapi.json", include_in_schema=False)
    async def document(user: Any = Depends(signed.user)) -> dict[str, Any]:
        routes = [route for route in to.routes if getattr(route, "include_in_schema", False)]
        return get_openapi(
            title="Usage", version=__version__, description=_DESCRIPTION, routes=routes
        )


def _calls(
    request: Request, given: History, user: Any, user_id: str | None, group: str | None
) -> Callable[[Connection], shapes.Calls]:
    def reading(connection: Connection) -> shapes.Calls:
        asked = given.asked(answers.began(connection), _zone(user), user_id, group)
        page = history.page(connection, asked, given.listed)
        return {
            "period": answers.told(asked.span),
            "source": asked.source,
            "data": [answers.call(one, asked.span.zone) for one in page.calls],
            "next": following(request, before=page.before) if page.before else None,
        }

    return reading


async def _paged(
    runtime: Runtime, given: Sorted, user: Any, page: Callable[[Connection, Asked, Paged], T]
) -> T:
    return await read(
        runtime,
        lambda connection: page(connection, _asked(connection, given, user), given.paged),
    )


def _asked(connection: Connection, given: ChartedOfAll | Sorted, user: Any) -> Asked:
    return given.asked(answers.began(connection), _zone(user), given.user_id, given.group)


def _page(request: Request, kind: str, found: Any, given: Sorted) -> Response:
    end = given.offset + given.limit
    if end < found["total"]:
        found["next"] = following(request, offset=end)
    return answered(request, kind, found, given.format)


def _zone(user: Any) -> str | None:
    """Return the time zone that Open WebUI knows of a user, if it is one."""
    name = getattr(user, "timezone", None)
    try:
        return zone_of(name).key
    except Wrong:
        return None
