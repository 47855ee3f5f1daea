"""A real Open WebUI process, and a client for its HTTP API.

with Provider() as provider, seeded_server(provider) as server:  # from harness.seed
    server.chat("alice", "gpt-std", "case=one")
"""

from __future__ import annotations

import atexit
import importlib.metadata
import json as jsonlib
import os
import shutil
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import httpx

from harness.provider import Provider
from harness.running import Process
from harness.world import World

Launcher = Literal["plain", "instrument", "start.sh"]
Auth = Literal["api_key", "session", "cookie"]

HOST = "127.0.0.1"
SECRET_KEY = "harness-secret-key-that-never-changes"
START_TIMEOUT = 180.0
REQUEST_TIMEOUT = 120.0
TURN_TASKS = ("title_generation", "tags_generation", "follow_up_generation")
STARTING_LINE = "Waiting for application startup"
STARTUP_SECONDS = 1.5
POLLS_OF_WORKERS = 10

# The Docker image's own start script, shortened to what matters here: a shell between the launcher
# and the server, a secret key made when none is given, exec, and workers from the environment.
START_SH = """\
#!/usr/bin/env bash
SCRIPT_DIR=$( cd -- "$( dirname -- "${BASH_SOURCE[0]}" )" &> /dev/null && pwd )
cd "$SCRIPT_DIR" || exit
KEY_FILE="${WEBUI_SECRET_KEY_FILE:-.webui_secret_key}"
PORT="${PORT:-8080}"
HOST="${HOST:-0.0.0.0}"
if test "$WEBUI_SECRET_KEY $WEBUI_JWT_SECRET_KEY" = " "; then
  if ! [ -e "$KEY_FILE" ]; then
    echo $(head -c 12 /dev/random | base64) > "$KEY_FILE"
  fi
  WEBUI_SECRET_KEY=$(cat "$KEY_FILE")
fi
PYTHON_CMD=$(command -v python3 || command -v python)
UVICORN_WORKERS="${UVICORN_WORKERS:-1}"
WEBUI_SECRET_KEY="$WEBUI_SECRET_KEY" exec "$PYTHON_CMD" -m uvicorn open_webui.main:app \\
  --host "$HOST" --port "$PORT" --forwarded-allow-ips "${FORWARDED_ALLOW_IPS:-*}" \\
  --workers "$UVICORN_WORKERS"
"""


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON."""
        return jsonlib.loads(self.body)

    def events(self) -> list[Any]:
        """The JSON values of a server-sent event stream or of JSON lines."""
        lines = [line.removeprefix("data:").strip() for line in self.text.splitlines()]
        return [jsonlib.loads(line) for line in lines if line.startswith("{")]

    def content(self) -> str:
        """The assistant's text, whichever of the wire formats it came in."""
        return "".join(content_of(value) for value in self.events() or [self.json()])


@dataclass
class StreamedAnswer:
    """An answer that is still being read."""

    status: int
    headers: dict[str, str]
    chunks: Iterator[bytes]
    read: list[bytes] = field(default_factory=list)

    def take(self, count: int) -> list[bytes]:
        """Read up to `count` chunks more."""
        taken = [chunk for _, chunk in zip(range(count), self.chunks, strict=False)]
        self.read += taken
        return taken


class RequestFailed(AssertionError):
    """A request that had to succeed did not."""


class OpenWebUI(Process):
    """One Open WebUI server process (with its workers) on a free port.

    The environment is a clean one: nothing of the caller's comes through but what `env` names.
    Without `data_dir` the data lives in a temporary directory that `close` removes; `copy_from`
    names a seeded directory to begin with, whose users come along as `world`. A stopped server
    can be started again on the same port and data.
    """

    name = "Open WebUI"
    start_timeout = START_TIMEOUT

    def __init__(
        self,
        provider: Provider,
        *,
        bin_dir: Path | None = None,
        data_dir: Path | None = None,
        copy_from: Path | None = None,
        launcher: Launcher = "plain",
        env: Mapping[str, str] | None = None,
        workers: int = 1,
        port: int = 0,
    ) -> None:
        self.provider = provider
        self.bin_dir = (bin_dir or Path(sys.executable).parent).absolute()
        self.run_dir = Path(tempfile.mkdtemp(prefix="open-webui-"))
        super().__init__(self.run_dir, self.run_dir / "server.log")
        self.data_dir = data_dir or self.run_dir / "data"
        self.launcher = launcher
        self.extra_env = dict(env or {})
        self.workers = workers
        self.port = port or free_port()
        self._world: World | None = None
        self._log_start = 0
        # A new connection for each request, so that requests reach all workers.
        self._client = httpx.Client(
            base_url=self.base_url,
            timeout=REQUEST_TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=0),
            # A proxy of the caller's environment has no way to our loopback port.
            trust_env=False,
        )
        if copy_from is not None:
            shutil.copytree(copy_from, self.data_dir, dirs_exist_ok=True)
        atexit.register(self._discard)
        self.data_dir.mkdir(parents=True, exist_ok=True)

    # --- the process ------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Address of the server without a trailing slash."""
        return f"http://{HOST}:{self.port}"

    @property
    def world(self) -> World:
        """The users, groups and models in this server's database."""
        if self._world is None:
            self._world = World.load(self.data_dir)
        return self._world

    @world.setter
    def world(self, world: World) -> None:
        self._world = world

    def start(self) -> Self:
        """Start the process; returns once it is healthy."""
        self._log_start = len(self.log_text())
        super().start()
        if self.workers > 1:
            time.sleep(STARTUP_SECONDS)
        return self

    def close(self) -> None:
        """Stop the process and remove its files."""
        self.stop()
        self._client.close()
        self._discard()

    def _discard(self) -> None:
        atexit.unregister(self._discard)
        self.kill()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def pids(self) -> list[int]:
        """Ids of the main process and its children."""
        if self.process is None:
            return []
        leader = self.process.pid
        return [
            leader,
            *(pid for pid in process_ids() if pid != leader and group_of(pid) == leader),
        ]

    def command(self) -> list[str]:
        """The command line of the launcher."""
        serve = [self._bin("open-webui"), "serve", "--host", HOST, "--port", str(self.port)]
        instrument = self._bin("opentelemetry-instrument")
        if self.launcher == "plain":
            return serve
        if self.launcher == "instrument":
            return [instrument, *serve]
        script = self.run_dir / "start.sh"
        script.write_text(START_SH)
        return [instrument, "bash", str(script)]

    def environment(self) -> dict[str, str]:
        """The environment of the process."""
        return {
            "PATH": f"{self.bin_dir}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.run_dir),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "HOST": HOST,
            "PORT": str(self.port),
            "UVICORN_WORKERS": str(self.workers),
            **self._settings(),
            **self.extra_env,
        }

    def _settings(self) -> dict[str, str]:
        return {
            **SETTINGS,
            "DATA_DIR": str(self.data_dir),
            "STATIC_DIR": str(self.run_dir / "static"),
            "OPENAI_API_BASE_URL": self.provider.openai_url,
            "OLLAMA_BASE_URL": self.provider.ollama_url,
        }

    def _bin(self, name: str) -> str:
        return str(self.bin_dir / name)

    def is_ready(self) -> bool:
        """Whether all workers serve."""
        return self._healthy() and self._workers_started()

    def _healthy(self) -> bool:
        try:
            return self._client.get("/health", timeout=5.0).status_code == 200
        except httpx.HTTPError:
            return False

    def _workers_started(self) -> bool:
        # One worker is enough for /health while the others still import. Open WebUI's logging
        # swallows uvicorn's line that the startup is complete, so the line before it must do.
        log = self.log_text()[self._log_start :]
        return self.workers == 1 or log.count(STARTING_LINE) >= self.workers

    # --- the HTTP API -----------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        user: str | None = None,
        auth: Auth | None = "api_key",
        json: object = None,
        stream: bool | None = None,
        files: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_TIMEOUT,
    ) -> Answer:
        """Send a request as `user` and read it all; `stream` sets that field of `json`."""
        response = self._client.request(
            method,
            path,
            json=with_stream(json, stream),
            files=files,
            data=data,
            content=content,
            headers={**self._auth(user, auth), **(headers or {})},
            timeout=timeout,
        )
        return Answer(response.status_code, lower(response.headers), response.content)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """`request` that must succeed; returns the JSON of the answer."""
        answer = self.request(method, path, **options)
        if answer.status != 200:
            raise RequestFailed(f"{method} {path}: {answer.status} {answer.text[:2000]}")
        return answer.json()

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        user: str | None = None,
        auth: Auth | None = "api_key",
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_TIMEOUT,
    ) -> Iterator[StreamedAnswer]:
        """Send a request and read the answer bit by bit; leaving early closes the connection."""
        with self._client.stream(
            method,
            path,
            json=json,
            headers={**self._auth(user, auth), **(headers or {})},
            timeout=timeout,
        ) as response:
            yield StreamedAnswer(response.status_code, lower(response.headers), response.iter_raw())

    def abandon(self, method: str, path: str, *, chunks: int, **options: Any) -> list[bytes]:
        """Read `chunks` pieces of an answer, then close the connection."""
        with self.stream(method, path, **options) as answer:
            return answer.take(chunks)

    def chat(
        self,
        user: str,
        model: str,
        text: str,
        *,
        stream: bool = False,
        auth: Auth = "api_key",
        path: str = "/api/chat/completions",
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> Answer:
        """One chat completion; `fields` go into the request body."""
        body = chat_body(model, text, stream=stream, **fields)
        return self.request("POST", path, user=user, auth=auth, json=body, headers=headers)

    def turn(
        self,
        user: str,
        model: str,
        text: str,
        *,
        chat_id: str | None = None,
        tasks: Iterable[str] = TURN_TASKS,
        wait: bool = True,
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> str:
        """One turn the way the browser app asks for it; returns the chat's id.

        The work goes on in the background and is waited for unless `wait` is false. Without
        `chat_id` the turn opens a new saved chat; `local:…` makes a temporary one.
        """
        body = turn_body(model, text, chat_id=chat_id, tasks=tasks, **fields)
        path = "/api/chat/completions"
        headers = {**self.browser_headers(), **(headers or {})}
        if VERSION < (0, 9):
            # The app made the chat, with both messages in it, before it asked for the answer.
            chat_id = chat_id or self.new_chat(user, body)
            body |= {"parent_message": body["user_message"], "chat_id": chat_id}
        answer = self.ask("POST", path, user=user, auth="session", json=body, headers=headers)
        chat = chat_id or str(answer["chat_id"])
        if wait:
            self.finish_turn(user, chat)
        return chat

    def new_chat(self, user: str, body: dict[str, Any]) -> str:
        """Make a chat with a turn's message, and the place of its answer; returns its id."""
        asked = body["user_message"]
        answer = {"id": body["id"], "parentId": asked["id"], "role": "assistant", "content": ""}
        messages = {asked["id"]: asked, body["id"]: {**answer, "model": body["model"]}}
        history = {"messages": messages, "currentId": body["id"]}
        form = {"chat": {"title": "New Chat", "models": [body["model"]], "history": history}}
        made = self.ask("POST", "/api/v1/chats/new", user=user, auth="session", json=form)
        return str(made["id"])

    def finish_turn(self, user: str, chat_id: str, timeout: float = 60.0) -> None:
        """Wait until nothing of a turn is left to do, the tasks after its answer included."""
        deadline = time.monotonic() + timeout
        # Each worker knows its own tasks only, and which one answers is a matter of chance.
        needed = 1 if self.workers == 1 else POLLS_OF_WORKERS
        quiet = 0
        while quiet < needed:
            quiet = 0 if self._turn_runs(user, chat_id) else quiet + 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"turn in chat {chat_id} still running")
            time.sleep(0.05)
        # The title of a new chat is made beside the turn and is not among its tasks.
        self.provider.wait_idle(0.3, timeout)

    def _turn_runs(self, user: str, chat_id: str) -> bool:
        if not chat_id.startswith("local:"):
            path = f"/api/tasks/chat/{chat_id}"
            return bool(self.ask("GET", path, user=user, auth="session")["task_ids"])
        # A temporary chat's tasks are shown to its browser's socket alone, so ask for all tasks.
        return bool(self.ask("GET", "/api/tasks", user="admin", auth="session")["tasks"])

    def browser_headers(self) -> dict[str, str]:
        """Headers of a same-origin fetch by the browser app."""
        return {
            "Origin": self.base_url,
            "Referer": f"{self.base_url}/",
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Mode": "cors",
            "Sec-Fetch-Dest": "empty",
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0",
        }

    def _auth(self, user: str | None, auth: Auth | None) -> dict[str, str]:
        if user is None or auth is None:
            return {}
        who = self.world.user(user)
        if auth == "cookie":
            return {"Cookie": f"token={who.token}"}
        return {"Authorization": f"Bearer {who.api_key if auth == 'api_key' else who.token}"}

    # --- groups -----------------------------------------------------------------------------------

    def create_group(self, name: str, parent: str | None = None) -> str:
        """Create a group, below another one if `parent` names it; returns its id."""
        form = {
            "name": name,
            "description": "",
            "parent_group_id": self.world.groups[parent] if parent else None,
        }
        group = self.ask("POST", "/api/v1/groups/create", user="admin", auth="session", json=form)
        self.world.groups[name] = group["id"]
        return str(group["id"])

    def add_to_group(self, user: str, group: str) -> None:
        """Make a user a member of a group."""
        self._change_group(user, group, "add")
        self.world.joined(user, group)

    def remove_from_group(self, user: str, group: str) -> None:
        """End a user's membership of a group."""
        self._change_group(user, group, "remove")
        self.world.left(user, group)

    def _change_group(self, user: str, group: str, change: str) -> None:
        self.ask(
            "POST",
            f"/api/v1/groups/id/{self.world.groups[group]}/users/{change}",
            user="admin",
            auth="session",
            json={"user_ids": [self.world.user(user).id]},
        )


def turn_body(
    model: str, text: str, *, chat_id: str | None, tasks: Iterable[str], **fields: object
) -> dict[str, object]:
    """The body of a turn as the browser app sends it."""
    question, reply = str(uuid.uuid4()), str(uuid.uuid4())
    place = {"chat_id": chat_id} if chat_id else {"parent_id": None}
    message = {
        "id": question,
        "parentId": None,
        "childrenIds": [reply],
        "role": "user",
        "content": text,
        "timestamp": int(time.time()),
        "models": [model],
    }
    return {
        **chat_body(model, text, stream=True),
        "session_id": f"harness-{uuid.uuid4()}",
        "id": reply,
        "user_message": message,
        "background_tasks": dict.fromkeys(tasks, True),
        "params": {},
        "features": {},
        **place,
        **fields,
    }


VERSION = tuple(map(int, importlib.metadata.version("open-webui").split(".")[:2]))
"""Of the Open WebUI under test, as far as its features follow it."""


def serves(model: str) -> bool:
    """Whether this version can call a model: before 0.8 it adds a tag to Ollama's tagless names."""
    return VERSION >= (0, 8) or not model.startswith(("llama", "localdesk", "embed-local"))


# Persistent configuration would bring the seeding provider's address back from the database.
SETTINGS: dict[str, str] = {
    "ENABLE_PERSISTENT_CONFIG": "false",
    "WEBUI_SECRET_KEY": SECRET_KEY,
    "FROM_INIT_PY": "true",
    "USE_SLIM_DOCKER": "true",
    # Before there was a slim variant, the vector database was opened at the start.
    "VECTOR_DB": "pgvector" if VERSION >= (0, 11) else "chroma",
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "ENABLE_VERSION_UPDATE_CHECK": "false",
    "RAG_EMBEDDING_ENGINE": "openai",
    "OPENAI_API_KEY": "provider-key",
    "ENABLE_OLLAMA_API": "true",
    "ENABLE_OPENAI_API": "true",
    "ENABLE_API_KEYS": "true",
    "ENABLE_API_KEY": "true",
    "USER_PERMISSIONS_FEATURES_API_KEYS": "true",
    "ENABLE_FORWARD_USER_INFO_HEADERS": "true",
    "WEBUI_AUTH": "true",
    "JWT_EXPIRES_IN": "-1",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    # The seed grants access as Open WebUI has it since 0.8.
    **({} if VERSION >= (0, 8) else {"BYPASS_MODEL_ACCESS_CONTROL": "true"}),
}


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def chat_body(
    model: str, text: str, *, stream: bool = False, **fields: object
) -> dict[str, object]:
    """The body of a chat request with one user message."""
    messages = [{"role": "user", "content": text}]
    return {"model": model, "messages": messages, "stream": stream, **fields}


def with_stream(body: object, stream: bool | None) -> object:
    """`body` with its `stream` field set, if it is to be set."""
    return body if stream is None or not isinstance(body, dict) else {**body, "stream": stream}


def lower(headers: httpx.Headers) -> dict[str, str]:
    """Headers by lower-case name."""
    return {name.lower(): value for name, value in headers.items()}


def content_of(value: dict[str, Any]) -> str:
    """The assistant's text in a chunk or a whole answer."""
    if "message" in value:
        return str(value["message"].get("content") or "")
    return "".join(
        str((choice.get("delta") or choice.get("message") or {}).get("content") or "")
        for choice in value.get("choices") or []
    )


def process_ids() -> list[int]:
    """Ids of all processes."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def group_of(pid: int) -> int:
    """The process group of a process, 0 if it has gone."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
