"""The routes of limits: what holds for who asks, and for admins all of them, to change as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Request, Response

from ...limits import admin
from ...limits.admin import AdminError
from ...limits.budget import Budget
from ...limits.rules import RuleError, Rules
from ...limits.table import GRANT, LIMIT
from ...screens.usage.preview import Preview, preview
from .. import compat
from ..runtime import Runtime
from .answered import answered, read
from .signing import Signed, by_header

_OFF: Final = "Limits are off here (LIMITS=true turns them on)."
_MOST_BYTES: Final = 100_000
_NONE: Final = {"read_only": True, "source": "off", "limits": [], "grants": []}
_KINDS: Final = {"limits": LIMIT, "limits/grants": GRANT}

Spec = Annotated[
    dict[str, Any], Body(description="What the limit or the grant says: docs/limits.md.")
]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="Its `number` in the list.")]
T = TypeVar("T")


def add_limits(to: APIRouter, runtime: Runtime, signed: Signed) -> None:
    """Add the routes."""
    _add_reading(to, runtime, signed)
    _add_preview(to, runtime, signed)
    for path, kind in _KINDS.items():
        _add_changing(to, runtime, signed, path, kind)


def _add_reading(to: APIRouter, runtime: Runtime, signed: Signed) -> None:
    @to.get("/mine/limits")
    async def my_limits(request: Request, user: Any = Depends(signed.user)) -> Response:
        """The limits that hold for you: what is used, what is left, and when it is back."""
        found: dict[str, Any] = {"limits": []}
        if isinstance(runtime.limits, Budget):
            groups = (await runtime.groups.refresh((user.id,))).get(user.id, ())
            found = await _asked(admin.mine, runtime.limits, user.id, groups)
        return answered(request, "limits", found, "json")

    @to.get("/limits")
    async def limits(request: Request, user: Any = Depends(signed.admin)) -> Response:
        """All limits and grants, and how much of each limit is used."""
        found: Any = _NONE
        if isinstance(runtime.limits, Budget):
            found = await _asked(admin.listed, runtime.limits)
        of_users = [one for one in (*found["limits"], *found["grants"]) if "user" in one]
        people = await compat.people(sorted({one["user"] for one in of_users}))
        for one in of_users:
            one["user_name"] = people.get(one["user"], (None, None))[0]
        return answered(request, "limits", found, "json")


def _add_preview(to: APIRouter, runtime: Runtime, signed: Signed) -> None:
    @to.post("/limits/preview", response_model=Preview, dependencies=[Depends(_bounded)])
    async def preview_limit(request: Request, spec: Spec, user: Any = Depends(signed.admin)) -> Any:
        """Whom a limit would refuse now, if it were made or changed so. Nothing is changed."""
        rules = _budget(runtime).books.rules or Rules()

        def reading(connection: Any) -> Preview | RuleError:
            try:
                return preview(connection, rules, spec)
            except RuleError as error:
                return error

        found = await read(runtime, reading)
        if isinstance(found, RuleError):
            raise HTTPException(422, str(found))
        people = await compat.people([row["user_id"] for row in found["data"] if row["user_id"]])
        for row in found["data"]:
            row["user"] = people.get(row["user_id"] or "", (None, None))[0]
        return found


def _add_changing(to: APIRouter, runtime: Runtime, signed: Signed, path: str, kind: str) -> None:
    changes = [Depends(by_header)]
    writes = [*changes, Depends(_bounded)]

    @to.post(f"/{path}", status_code=201, name=f"create_{kind}", dependencies=writes)
    async def create(spec: Spec, user: Any = Depends(signed.admin)) -> Any:
        """Make one."""
        return await _asked(admin.create, _budget(runtime), kind, spec, user.id)

    @to.put(f"/{path}/{{number}}", name=f"change_{kind}", dependencies=writes)
    async def change(number: Number, spec: Spec, user: Any = Depends(signed.admin)) -> Any:
        """Put another in its place."""
        return await _asked(admin.change, _budget(runtime), kind, number, spec, user.id)

    @to.delete(f"/{path}/{{number}}", status_code=204, name=f"delete_{kind}", dependencies=changes)
    async def delete(number: Number, user: Any = Depends(signed.admin)) -> Response:
        """Take it out."""
        await _asked(admin.delete, _budget(runtime), kind, number, user.id)
        return Response(status_code=204)


def _budget(runtime: Runtime) -> Budget:
    if isinstance(runtime.limits, Budget):
        return runtime.limits
    raise HTTPException(409, _OFF)


async def _asked(ask: Callable[..., T], *args: Any) -> T:
    """Ask the limits, away from the event loop."""
    try:
        return await asyncio.to_thread(ask, *args)
    except AdminError as error:
        raise HTTPException(error.status, error.text) from None


def _bounded(request: Request) -> None:
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > _MOST_BYTES:
        raise HTTPException(413, f"Send at most {_MOST_BYTES:,} bytes, and say how many.")
