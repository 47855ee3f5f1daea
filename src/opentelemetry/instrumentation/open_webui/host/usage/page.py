"""The files of the page ``/usage``: a shell without any data, one stylesheet, and scripts."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...screens import usage

PATH: Final = "/usage"
_SHELL: Final = "index.html"
_KINDS: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@functools.cache
def files() -> dict[str, tuple[bytes, str]]:
    """Return the contents and the kinds of the files, by name."""
    folder = resources.files(usage.__name__).joinpath("page")
    return {
        file.name: (file.read_bytes(), _KINDS[file.name.rpartition(".")[2]])
        for file in folder.iterdir()
        if file.is_file()
    }


async def serve(request: Request) -> Response:
    """Serve one of them; the browser asks each time whether it is still the same."""
    found = files().get(request.path_params.get("name", _SHELL))
    if found is None:
        return Response("Not Found", status_code=404)
    content, media_type = found
    headers = {**_HEADERS, "ETag": f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


ROUTES: Final = (Route(PATH, serve), Route(f"{PATH}/{{name}}", serve))
