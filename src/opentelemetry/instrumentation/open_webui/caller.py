"""Who is calling: read off Open WebUI's request, user and metadata. Changes nothing of them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from .names import CHAT_TASK, SYSTEM_USER
from .settings import Settings
from .turn import Turn

Metadata = Callable[[str], Any]
"""Open WebUI's metadata of a call, by key."""

# Callers of these routes write the whole body, so its `metadata` is theirs and not Open WebUI's.
_RAW_ROUTES: Final = ("/openai/", "/ollama/")
_LONGEST_TASK_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Scene:
    """What a call inherits from the chat request it is part of."""

    turn: Turn | None
    model_id: str | None
    """The model that the caller picked for this answer."""


scene: Final[ContextVar[Scene | None]] = ContextVar("open_webui_scene", default=None)


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a model is called, from where, and for what."""

    user_id: str
    user_name: str | None
    roles: tuple[str, ...]
    source: str
    """``ui``, ``api`` or ``background``."""
    auth: str
    """``api_key``, ``session`` or ``internal``."""
    task: str
    chat_id: str | None
    route: str | None
    model_id: str | None
    """The model that the caller picked in Open WebUI."""


def find_caller(request: Any, user: Any, form: Mapping[str, Any], settings: Settings) -> Caller:
    """Return who makes ``request``.

    Args:
        request: Starlette's request, or the one that Open WebUI builds for work of its own.
        user: Open WebUI's user, who may be missing.
        form: The body of the model call, with ``model`` and perhaps ``metadata``.
        settings: How users are named.
    """
    route = _route(request)
    metadata = _metadata(request, form, route)
    task = str(metadata("task") or CHAT_TASK)[:_LONGEST_TASK_NAME]
    auth = _auth(request)
    inherited = scene.get()
    picked = inherited.model_id if inherited is not None and task == CHAT_TASK else None
    return Caller(
        user_id=_text(user, "id") or SYSTEM_USER,
        user_name=user_name(user, settings),
        roles=tuple(role for role in (_text(user, "role"),) if role),
        source=_source(request, metadata, auth),
        auth=auth,
        task=task,
        chat_id=_string(metadata("chat_id")),
        route=route,
        model_id=picked or _string(form.get("model")),
    )


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
    return hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]


def _metadata(request: Any, form: Mapping[str, Any], route: str | None) -> Metadata:
    of_request = getattr(request.state, "metadata", None) or {}
    of_form = form.get("metadata") or {}
    if route is not None and route.startswith(_RAW_ROUTES):
        of_form = {}
    # Open WebUI merges them in this order, too. They may be large, so we do without a copy.
    return lambda key: of_request[key] if key in of_request else of_form.get(key)


def _route(request: Any) -> str | None:
    route = request.scope.get("route")
    return getattr(route, "path", None) or _string(request.scope.get("path"))


def _auth(request: Any) -> str:
    kind = getattr(request.state, "auth_type", None)
    if kind is None:
        return "internal"
    return "api_key" if kind == "api_key" else "session"


def _source(request: Any, metadata: Metadata, auth: str) -> str:
    if metadata("internal") or metadata("automation_id"):
        return "background"
    if (_string(metadata("chat_id")) or "").startswith("channel:"):
        return "background"
    if auth == "internal":
        return "background"
    if auth == "session" and (metadata("session_id") or _from_own_page(request)):
        return "ui"
    return "api"


def _from_own_page(request: Any) -> bool:
    """Whether a page of this very server made the request: the browser app does."""
    headers = request.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        return bool(site == "same-origin")
    # Browsers leave Sec-Fetch-Site out where the server is reached by plain HTTP.
    referer, host = headers.get("referer"), headers.get("host")
    return bool(referer and host and urlsplit(referer).netloc == host)


def _text(thing: Any, name: str) -> str | None:
    return _string(getattr(thing, name, None))


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
