"""``/static/loader.js``, which Open WebUI's page loads: ours, and the operator's own behind it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import resources
from typing import Any, Final

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

PATH: Final = "/static/loader.js"
_SCRIPTS: Final = ("analytics.js", "menu.js")
# What they say is of the file alone.
_OF_THE_FILE: Final = (b"content-length", b"etag", b"last-modified", b"accept-ranges")
_CONDITIONS: Final = (b"if-none-match", b"if-modified-since", b"if-range", b"range")
_KIND: Final = "text/javascript"


@functools.cache
def script() -> bytes:
    """Return our part."""
    folder = resources.files(__package__)
    return b"".join(folder.joinpath(name).read_bytes() for name in _SCRIPTS)


async def serve(app: App, scope: Any, receive: Receive, send: Send) -> None:
    """Serve what an app has at :data:`PATH`, with our part before it.

    Args:
        app: Open WebUI, which serves the file that it shipped or that the operator put there.
        scope: Of a GET request, as the rest.
        receive: Passed on.
        send: Gets the answer.
    """
    from starlette.exceptions import HTTPException  # Open WebUI brings it.
    from starlette.responses import Response

    async def with_ours(message: Message) -> None:
        if message["type"] != "http.response.start" or message["status"] != 200:
            await send(message)
            return
        headers = [pair for pair in message["headers"] if pair[0].lower() not in _OF_THE_FILE]
        await send({**message, "headers": [*headers, (b"cache-control", b"no-cache")]})
        await send({"type": "http.response.body", "body": script(), "more_body": True})

    asked = [pair for pair in scope["headers"] if pair[0].lower() not in _CONDITIONS]
    try:
        # An extension would let the server read the file by itself.
        await app({**scope, "headers": asked, "extensions": {}}, receive, with_ours)
    except HTTPException:  # There is no such file.
        alone = Response(script(), media_type=_KIND, headers={"cache-control": "no-cache"})
        await alone(scope, receive, send)
