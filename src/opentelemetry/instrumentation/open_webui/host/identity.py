"""Who is calling: read off Open WebUI's request, user and metadata. Changes nothing of them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

from ..bounds import text_or_none
from ..calls.caller import Caller
from ..calls.scene import Scene, present
from ..names import CHAT_TASK, SYSTEM_USER, TASKS, UNKNOWN_TASK
from ..settings import Settings
from .compat import auth_type, own_hosts, task_names

Metadata = Callable[[str], Any]
"""Open WebUI's metadata of a call, by key."""

# Callers of these routes write the whole body, so its `metadata` is theirs and not Open WebUI's,
# unless Open WebUI makes a chat of it.
_RAW_ROUTES: Final = (
    "/openai/", "/ollama/", "/api/embeddings", "/api/v1/embeddings", "/api/message",
    "/api/v1/messages",
)  # fmt: skip
_CHANNEL: Final = "channel:"
_CHANNEL_ROUTES: Final = "/api/v1/channels/"
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


# Work of Open WebUI's own, outside any request.
NOWHERE: Final = Scene(SimpleNamespace(scope={}, headers={}, state=SimpleNamespace()))


def find_caller(
    settings: Settings,
    request: Any = None,
    user: Any = None,
    form: Mapping[str, Any] = _NOTHING,
    *,
    task: str | None = None,
    auth: str | None = None,
    picked: bool = True,
) -> Caller:
    """Return on whose behalf a model is called.

    Args:
        settings: How users are named.
        request: Starlette's request, or the one that Open WebUI builds for work of its own; the one
            being served, if not given.
        user: Open WebUI's user; the one who made the request, if not given.
        form: The body of the model call, with ``model`` and perhaps ``metadata``.
        task: Open WebUI's task, where no metadata name one.
        auth: How the user signed in, where the request does not say.
        picked: Whether the model answers for the one that the caller picked.
    """
    here = present() or NOWHERE
    request = request if request is not None else here.request
    user = _user(here, request, user)
    route = _route(request)
    metadata = _metadata(request, _NOTHING if _is_raw(here, route) else form)
    task = task or metadata("task") or _task_of_pipe(here)
    task = CHAT_TASK if not task else _known_task(task)
    auth = auth or _auth(request)
    role = text_or_none(getattr(user, "role", None))
    return Caller(
        user_id=_id_of(user),
        user_name=user_name(user, settings),
        roles=() if role is None else (role,),
        source=here.source or _source(request, metadata, auth, route),
        auth=auth,
        task=task,
        chat_id=_string(metadata("chat_id")),
        route=route,
        model_id=_picked(here, form, task) if picked else None,
    )


def find_user_id(request: Any = None, user: Any = None) -> str:
    """Return the id that :func:`find_caller` finds, alone."""
    here = present() or NOWHERE
    return _id_of(_user(here, request if request is not None else here.request, user))


def user_id_in(here: Scene) -> str:
    """Return the same of a scene."""
    return _id_of(_user(here, here.request, None))


def source_of_chat(request: Any, form: Mapping[str, Any]) -> str:
    """Return the source that :func:`find_caller` finds for a chat request, alone."""
    return _source(request, _metadata(request, form), _auth(request), _route(request))


def _user(here: Scene, request: Any, user: Any) -> Any:
    return user or here.user or getattr(request.state, "user", None)


def _id_of(user: Any) -> str:
    known = getattr(user, "id", None)
    return known if isinstance(known, str) and known else SYSTEM_USER


def _task_of_pipe(here: Scene) -> str | None:
    # Whoever calls models on the way to a title calls them for the title.
    return None if here.call is None else here.call.caller.task


def _picked(here: Scene, form: Mapping[str, Any], task: str) -> str | None:
    if here.call is not None:
        return here.call.caller.model_id
    answer = here.model_id if task == CHAT_TASK else None
    return answer or here.dispatched or _string(form.get("model"))


def _known_task(task: object) -> str:
    """Return the name of a task that is ours or Open WebUI's: a caller may write any other."""
    name = str.__str__(task) if isinstance(task, str) else UNKNOWN_TASK
    return name if name in TASKS or name in task_names() else UNKNOWN_TASK


def user_name(user: Any, settings: Settings) -> str | None:
    """Return what the user is called, by the setting ``user_identity``."""
    match settings.user_identity:
        case "name":
            return _text(user, "name") or SYSTEM_USER
        case "email":
            return _text(user, "email") or SYSTEM_USER
        case "hash":
            # By e-mail address, which stays when a user is renamed, and which other systems know.
            known = (_text(user, "email") or SYSTEM_USER).lower()
            return pseudonym(known, settings.user_hash_salt)
        case _:
            return None


def pseudonym(text: str, salt: str) -> str:
    """Return the first 16 hexadecimal digits of the HMAC-SHA256 (RFC 2104) of ``text``."""
    message = text.encode("utf-8", "surrogatepass")
    return hmac.new(salt.encode(), message, hashlib.sha256).hexdigest()[:16]


def _metadata(request: Any, form: Mapping[str, Any]) -> Metadata:
    of_request, of_form = getattr(request.state, "metadata", None), form.get("metadata")
    if not (isinstance(of_request, dict) and of_request):
        return (of_form if isinstance(of_form, dict) else _NOTHING).get
    if not (isinstance(of_form, dict) and of_form):
        return of_request.get
    # Open WebUI merges them in this order, too. They may be large, so we do without a copy.
    return lambda key: of_request[key] if key in of_request else of_form.get(key)


def _is_raw(here: Scene, route: str | None) -> bool:
    return here.model_id is None and route is not None and route.startswith(_RAW_ROUTES)


def _route(request: Any) -> str | None:
    route = request.scope.get("route")
    return getattr(route, "path", None) or _string(request.scope.get("path"))


def _auth(request: Any) -> str:
    kind = auth_type(request)
    if kind is None:
        return "internal"
    return "api_key" if kind == "api_key" else "session"


def _source(request: Any, metadata: Metadata, auth: str, route: str | None) -> str:
    """Return from where a request comes, by what Open WebUI's own code says of it."""
    if auth == "internal" or getattr(request.state, "internal", False) is True:
        return "background"
    # Whoever writes in a channel does not wait for the model that is mentioned there.
    if (route or "").startswith(_CHANNEL_ROUTES) and _is_in_channel(metadata):
        return "background"
    if auth == "session" and (metadata("session_id") or _from_own_page(request)):
        return "ui"
    return "api"


def _is_in_channel(metadata: Metadata) -> bool:
    return (_string(metadata("chat_id")) or "").startswith(_CHANNEL)


def _from_own_page(request: Any) -> bool:
    """Whether a page of this very server made the request: the browser app does."""
    headers = request.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        return bool(site == "same-origin")
    # Browsers leave Sec-Fetch-Site out where the server is reached by plain HTTP; with a WebSocket
    # they send no Referer.
    page = _host(headers.get("referer") or headers.get("origin") or "")
    return bool(page) and (page in _own_hosts(headers) or page in own_hosts())


def _own_hosts(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield the names by which the request says that it reached us; proxies change the first."""
    yield headers.get("host") or ""
    for name in (headers.get("x-forwarded-host") or "").split(","):
        yield name.strip()


def _host(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:
        return ""


def _text(thing: Any, name: str) -> str | None:
    return _string(getattr(thing, name, None))


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
