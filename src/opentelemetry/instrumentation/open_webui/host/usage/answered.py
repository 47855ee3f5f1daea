"""How the usage API's answers leave: as JSON or CSV, with an ETag and the link to the next page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ...guard import report
from ...ledger.ledger import Unavailable
from ...screens.usage import tables
from ...screens.usage.spans import Wrong
from .. import lookup
from ..runtime import Runtime

AWAY: Final = "The usage ledger cannot be read now."
SLOW: Final = f"The usage ledger took longer than {lookup.SECONDS:.0f} seconds. Please try again."
_HEADERS: Final = {
    "Cache-Control": "private, no-cache",
    "Vary": "Authorization, Cookie, X-Api-Key, Origin",
    "X-Content-Type-Options": "nosniff",
}

T = TypeVar("T")


async def read(runtime: Runtime, reading: Callable[[Connection], T]) -> T:
    """Read the ledger, away from the event loop.

    Raises:
        HTTPException: What was asked for makes no sense (400), or the ledger is away (503).
    """
    try:
        return await lookup.read(runtime.ledger, reading)
    except Wrong as error:
        raise HTTPException(400, str(error)) from None
    except TimeoutError:
        raise HTTPException(503, SLOW) from None
    except Unavailable:
        raise HTTPException(503, AWAY) from None
    except Exception:
        report("an answer of the usage API")
        raise HTTPException(503, AWAY) from None


def answered(request: Request, kind: str, answer: Mapping[str, Any], form: str) -> Response:
    """Return an answer as it is wished for; nothing but 304 if who asks has it.

    Args:
        request: Open WebUI's.
        kind: One of :data:`~...screens.usage.tables.COLUMNS`.
        answer: What was read.
        form: ``json`` or ``csv``.
    """
    if form == "csv":
        text, media = tables.as_text(kind, answer["data"]), "text/csv"
    else:
        text, media = json.dumps(answer, ensure_ascii=False, separators=(",", ":")), None
    body = text.encode("utf-8", "replace")
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {**_HEADERS, "ETag": etag}
    if answer.get("next"):
        headers["Link"] = f'<{answer["next"]}>; rel="next"'
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if form == "csv":
        headers["Content-Disposition"] = f'attachment; filename="usage-{kind}.csv"'
    return Response(body, media_type=media or "application/json", headers=headers)


def following(request: Request, **changes: object) -> str:
    """Return the address of the next page: this one with other parameters."""
    given = {name: value for name, value in request.query_params.items() if name not in changes}
    return f"{request.url.path}?{urlencode({**given, **changes})}"
