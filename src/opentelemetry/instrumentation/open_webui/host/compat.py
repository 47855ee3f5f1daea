"""Every difference between Open WebUI's versions, and the few facts that we ask of it.

Nothing here imports Open WebUI by itself: these functions run when Open WebUI calls a model, and
then it is there.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry.instrumentation.utils import suppress_instrumentation

if TYPE_CHECKING:
    from ..ledger.place import Host

NEWEST: Final = (0, 12)
"""The newest minor version of Open WebUI that this was tested with."""


async def group_names(user_ids: Sequence[str], inherited: bool) -> dict[str, list[str]]:
    """Return the names of the groups that users are in, by their ids.

    Nothing of the lookup is traced: it is ours, not the request's.

    Args:
        user_ids: Who.
        inherited: Whether to tell the groups above their own, too; there are such since 0.12.
    """
    groups = sys.modules["open_webui.models.groups"].Groups
    many = getattr(groups, "get_groups_by_member_ids", None)  # since 0.7
    options = {"include_inherited": True} if inherited and version() >= (0, 12) else {}
    with suppress_instrumentation():
        if many is not None:
            found = await _result(many, list(user_ids), **options)
        else:
            one = groups.get_groups_by_member_id
            found = {user_id: await _result(one, user_id) for user_id in user_ids}
    _group_ids.update((group.name, group.id) for its in found.values() for group in its)
    return {user_id: [group.name for group in its] for user_id, its in found.items()}


_group_ids: Final[dict[str, str]] = {}


def group_id(name: str) -> str | None:
    """Return the id of a group that a user was found in, by its name."""
    return _group_ids.get(name)


async def group_and_below(group_id: str) -> tuple[str, ...]:
    """Return the ids of a group and of all below it; there are such since 0.12."""
    found = {group_id}
    if version() < (0, 12):
        return tuple(found)
    with suppress_instrumentation():
        groups = await sys.modules["open_webui.models.groups"].Groups.get_all_groups()
    below = defaultdict(list)
    for group in groups:
        below[group.parent_group_id].append(group.id)
    waiting = [group_id]
    while waiting:
        more = [child for child in below[waiting.pop()] if child not in found]
        found.update(more)
        waiting += more
    return tuple(sorted(found))


async def people(user_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the names and addresses of users that there are today, by their ids."""
    users = sys.modules["open_webui.models.users"].Users
    with suppress_instrumentation():
        found = await _result(users.get_users_by_user_ids, list(user_ids))
    return {user.id: (user.name, user.email) for user in found}


_ON_BOARD: Final = "usage_leaderboard"
"""Among the settings that Open WebUI keeps of a user: whether to be on the leaderboard."""
_MOST_FOUND: Final = 1000


async def found_people(text: str) -> list[str]:
    """Return the ids of users with a text in name or address, of whom there are not too many."""
    users = sys.modules["open_webui.models.users"].Users
    with suppress_instrumentation():
        found = await _result(users.get_users, filter={"query": text}, skip=0, limit=_MOST_FOUND)
    return [user.id for user in found["users"]]


async def people_on_board(user_ids: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Return the names of users that there are today, and whether they wish to be seen."""
    users = sys.modules["open_webui.models.users"].Users
    with suppress_instrumentation():
        found = await _result(users.get_users_by_user_ids, list(user_ids))
    return {
        user.id: (user.name, getattr(user.settings, _ON_BOARD, None) is not False) for user in found
    }


async def show_on_board(user_id: str, shown: bool) -> None:
    """Keep whether a user wishes to be seen."""
    users = sys.modules["open_webui.models.users"].Users
    with suppress_instrumentation():
        await _result(users.update_user_settings_by_id, user_id, {_ON_BOARD: shown})


def response_model(endpoint: Callable[..., Any]) -> Any:
    """Return the model of pydantic's that an endpoint of one of the routers answers with."""
    routes = sys.modules[endpoint.__module__].router.routes
    return next(route.response_model for route in routes if route.name == endpoint.__name__)


async def _result(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*args, **options)
    # Before 0.9 the database is asked synchronously, which would hold up the event loop.
    return await asyncio.to_thread(function, *args, **options)


def task_names() -> frozenset[str]:
    """Return the names of tasks that Open WebUI has in its list of them."""
    return _values(getattr(sys.modules.get("open_webui.constants"), "TASKS", ()))


@functools.cache
def _values(tasks: Any) -> frozenset[str]:
    return frozenset(str(task.value) for task in tasks)


def auth_type(request: Any) -> str | None:
    """Return how who made a request signed in: ``api_key`` or ``jwt``; ``None`` for nobody."""
    kind: str | None = getattr(request.state, "auth_type", None)
    if kind is not None or version() >= (0, 11):
        return kind
    # Before 0.11 it is only to be seen from the token. Open WebUI's own requests have one, too.
    if str(request.scope.get("path", "")).endswith("/internal"):
        return None
    token = _token(request)
    if not token:
        return None
    return "api_key" if token.startswith("sk-") else "jwt"


def _token(request: Any) -> str:
    given = getattr(getattr(request.state, "token", None), "credentials", None)
    if isinstance(given, str) and given:
        return given
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    return str(bearer or getattr(request, "cookies", {}).get("token", ""))


# Where Open WebUI keeps the addresses of providers, in `Config` since 0.11, and before that in
# `app.state.config` by another name.
_BASE_URLS: Final = {
    "openai.api_base_urls": "OPENAI_API_BASE_URLS",
    "ollama.base_urls": "OLLAMA_BASE_URLS",
    "rag.openai.api_base_url": "RAG_OPENAI_API_BASE_URL",
    "rag.azure_openai.base_url": "RAG_AZURE_OPENAI_BASE_URL",
    "rag.ollama.base_url": "RAG_OLLAMA_BASE_URL",
    "rag.external_reranker_url": "RAG_EXTERNAL_RERANKER_URL",
    "image_generation.openai.api_base_url": "IMAGES_OPENAI_API_BASE_URL",
    "image_generation.gemini.api_base_url": "IMAGES_GEMINI_API_BASE_URL",
    "image_generation.automatic1111.base_url": "AUTOMATIC1111_BASE_URL",
    "images.edit.openai.api_base_url": "IMAGES_EDIT_OPENAI_API_BASE_URL",
    "images.edit.gemini.api_base_url": "IMAGES_EDIT_GEMINI_API_BASE_URL",
    "audio.stt.openai.api_base_url": "STT_OPENAI_API_BASE_URL",
    "audio.stt.azure.base_url": "AUDIO_STT_AZURE_BASE_URL",
    "audio.stt.mistral.api_base_url": "AUDIO_STT_MISTRAL_API_BASE_URL",
    "audio.tts.openai.api_base_url": "TTS_OPENAI_API_BASE_URL",
    "audio.tts.azure.speech_base_url": "TTS_AZURE_SPEECH_BASE_URL",
    "audio.tts.mistral.api_base_url": "TTS_MISTRAL_API_BASE_URL",
    "audio.realtime.openai.api_base_url": "AUDIO_REALTIME_OPENAI_API_BASE_URL",
}


async def base_urls() -> list[tuple[str, str]]:
    """Return (configuration key, base URL) of every provider that Open WebUI is configured for."""
    with suppress_instrumentation():
        values = await _configured(_BASE_URLS)
    return [
        (key, url)
        for key, value in values.items()
        for url in (value if isinstance(value, list) else [value])
        if isinstance(url, str)
    ]


# Where it keeps what else there is to say of them.
_API_CONFIGS: Final = {
    "openai.api_configs": "OPENAI_API_CONFIGS",
    "ollama.api_configs": "OLLAMA_API_CONFIGS",
}


async def prefixes() -> list[str]:
    """Return what Open WebUI puts before the names of models of some connections."""
    with suppress_instrumentation():
        values = await _configured(_API_CONFIGS)
    several = [value for value in values.values() if isinstance(value, dict)]
    connections = [each for value in several for each in value.values()]
    found = [each.get("prefix_id") for each in connections if isinstance(each, dict)]
    return [prefix for prefix in found if isinstance(prefix, str) and prefix]


async def _configured(names: Mapping[str, str]) -> dict[str, Any]:
    module = sys.modules.get("open_webui.models.config")
    if module is not None and hasattr(module.Config, "get_many"):
        found: dict[str, Any] = await module.Config.get_many(*names)
        return found
    config = sys.modules["open_webui.main"].app.state.config
    return {key: getattr(config, name, None) for key, name in names.items()}


_own_hosts: frozenset[str] = frozenset()


def own_hosts() -> frozenset[str]:
    """Return the hosts, with their ports, under which Open WebUI is configured to be reached."""
    return _own_hosts


async def load_own_hosts() -> None:
    """Read them anew: ``WEBUI_URL`` and the origins that ``CORS_ALLOW_ORIGIN`` names."""
    global _own_hosts
    config = sys.modules.get("open_webui.config")
    origins = [*getattr(config, "CORS_ALLOW_ORIGIN", ()), await _webui_url()]
    hosts = {urlsplit(origin).netloc for origin in origins if isinstance(origin, str)}
    _own_hosts = frozenset(hosts - {""})


async def _webui_url() -> object:
    module = sys.modules.get("open_webui.models.config")
    if module is not None and hasattr(module.Config, "get"):
        with suppress_instrumentation():
            return await module.Config.get("webui.url")
    config = sys.modules["open_webui.main"].app.state.config
    return getattr(config, "WEBUI_URL", None)


def passes_length_on() -> bool:
    """Whether Open WebUI tells clients the length that a provider gave its answer."""
    router = sys.modules.get("open_webui.routers.openai")
    return "content-length" not in getattr(router, "_STRIP_PROXY_HEADERS", ())


def data_dir() -> Path | None:
    """Return the directory in which Open WebUI keeps its data, if it says where that is."""
    directory = getattr(sys.modules.get("open_webui.env"), "DATA_DIR", None)
    return None if directory is None else Path(directory)


def stores() -> Host:
    """Return where Open WebUI keeps its files and its tables."""
    from ..ledger.place import Host

    database = sys.modules.get("open_webui.internal.db")
    schema = getattr(sys.modules.get("open_webui.env"), "DATABASE_SCHEMA", None)
    return Host(data_dir(), getattr(database, "engine", None), schema or None)


def version_text() -> str:
    """Return Open WebUI's version as it names itself; empty if it does not."""
    return str(getattr(sys.modules.get("open_webui.env"), "VERSION", ""))


def version() -> tuple[int, ...]:
    """Return Open WebUI's version as numbers; the newest that we know if it names none."""
    numbers = re.findall(r"\d+", version_text().split("-")[0].split("+")[0])
    return tuple(map(int, numbers)) or NEWEST
