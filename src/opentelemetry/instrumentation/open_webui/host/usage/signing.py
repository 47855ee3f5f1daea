"""Who asks, as Open WebUI's own dependencies find out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Depends, HTTPException, Request

_ADMINS: Final = "Only admins see what others use."
_BY_HEADER: Final = "Send the token in the header Authorization."


@dataclass(frozen=True, slots=True)
class Signed:
    """Dependencies that return who asks, or refuse."""

    user: Callable[..., Any]
    """Anybody who may use Open WebUI."""
    admin: Callable[..., Any]


def signed() -> Signed:
    """Return them, once Open WebUI is there."""
    verified = sys.modules["open_webui.utils.auth"].get_verified_user

    def ours(request: Request, user: Any = Depends(verified)) -> Any:
        # Open WebUI lets pages of all origins read what the cookie opens, unless CORS_ALLOW_ORIGIN
        # is set. Browsers name the origin of a page that is not ours, and none where ours reads.
        if "origin" in request.headers:
            by_header(request)
        return user

    def admin(user: Any = Depends(ours)) -> Any:
        if user.role != "admin":
            raise HTTPException(403, _ADMINS)
        return user

    return Signed(ours, admin)


def by_header(request: Request) -> None:
    """Refuse what has nothing but the cookie, which a foreign page can make a browser send."""
    if "authorization" not in request.headers and "x-api-key" not in request.headers:
        raise HTTPException(403, _BY_HEADER)
