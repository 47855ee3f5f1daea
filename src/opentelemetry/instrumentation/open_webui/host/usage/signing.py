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

    def admin(user: Any = Depends(verified)) -> Any:
        if user.role != "admin":
            raise HTTPException(403, _ADMINS)
        return user

    return Signed(verified, admin)


def by_header(request: Request) -> None:
    """Refuse to change anything by the cookie, which a foreign page can make a browser send."""
    if "authorization" not in request.headers and "x-api-key" not in request.headers:
        raise HTTPException(403, _BY_HEADER)
