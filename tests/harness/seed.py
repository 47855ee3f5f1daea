"""Fills an Open WebUI server through its HTTP API, and keeps the result for further servers.

The first boot and the seeding take about half a minute, so they happen once: `seeded_server`
gives each server a copy of the same data directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.openwebui import VERSION, OpenWebUI
from harness.provider import MODELS, Provider
from harness.world import User, World

PASSWORD = "Harness-Passw0rd!"
EVERYONE = [
    {"principal_type": "user", "principal_id": "*", "permission": "read"},
]
ICON = "/static/favicon.png"
# Open WebUI 0.7 fails on a model without capabilities.
META = {"profile_image_url": ICON, **({} if VERSION >= (0, 8) else {"capabilities": {}})}


@dataclass(frozen=True)
class Person:
    """A user to create."""

    key: str
    name: str
    groups: tuple[str, ...] = ()

    @property
    def email(self) -> str:
        """An address made from the short name."""
        return f"{self.key}@example.org"


@dataclass(frozen=True)
class WorkspaceModel:
    """A workspace model to create."""

    id: str
    name: str
    base: str
    params: dict[str, Any]
    meta: dict[str, Any]


RESEARCH, TEACHING, PUBLIC = "research", "teaching", "Öffentlichkeit & Co"
GROUPS = (RESEARCH, TEACHING, PUBLIC)
ADMIN = Person("admin", "Ada Admin")
PEOPLE = (
    Person("alice", "Alice Example", (RESEARCH, TEACHING)),
    Person("bob", 'Bob "the Builder" O\'Neil', (TEACHING,)),
    Person("carol", "Çarol 🦉 Løvås"),
    Person("dora", "Дора 多拉 \\ Иванова", (PUBLIC,)),
)

TOOL_ID = "case_lookup"
TOOL = '''\
"""
title: Case lookup
version: 0.1.0
"""


class Tools:
    def look_up(self, case: str) -> str:
        """
        Look up a case by its name.

        :param case: The name of the case.
        """
        return f"The record of {case} is complete."
'''

WORKSPACE_MODELS = (
    WorkspaceModel("helpdesk", "Help Desk", "gpt-std", {"system": "You are the help desk."}, {}),
    WorkspaceModel("localdesk", "Local Desk", "llama-std", {}, {}),
    WorkspaceModel("counted", "Counted", "gpt-std", {}, {"capabilities": {"usage": True}}),
    WorkspaceModel(
        "toolbox", "Toolbox", "gpt-tools", {"function_calling": "native"}, {"toolIds": [TOOL_ID]}
    ),
)


def seed(server: OpenWebUI) -> World:
    """Create everything in an empty, running server; also sets the server's `world`."""
    world = server.world = World()
    world.users["admin"] = with_api_key(server, sign_up_admin(server))
    for name in GROUPS:
        server.create_group(name)
    for person in PEOPLE:
        add_person(server, person)
    create_tool(server)
    create_models(server)
    world.models = (*MODELS, *(model.id for model in WORKSPACE_MODELS))
    return world


def sign_up_admin(server: OpenWebUI) -> User:
    """The first sign-up makes the admin."""
    form = {"name": ADMIN.name, "email": ADMIN.email, "password": PASSWORD}
    return user_from(ADMIN, server.ask("POST", "/api/v1/auths/signup", json=form))


def add_person(server: OpenWebUI, person: Person) -> None:
    """Create a user with an API key and put them into their groups."""
    form = {
        "name": person.name,
        "email": person.email,
        "password": PASSWORD,
        "role": "user",
        "profile_image_url": ICON,
    }
    answer = as_admin(server, "/api/v1/auths/add", form)
    server.world.users[person.key] = with_api_key(server, user_from(person, answer))
    for group in person.groups:
        server.add_to_group(person.key, group)


def user_from(person: Person, answer: dict[str, Any]) -> User:
    """The user in the answer of a sign-up."""
    return User(
        id=answer["id"],
        name=answer["name"],
        email=person.email,
        password=PASSWORD,
        role=answer["role"],
        api_key="",
        token=answer["token"],
    )


def with_api_key(server: OpenWebUI, user: User) -> User:
    """The user with a new API key."""
    headers = {"Authorization": f"Bearer {user.token}"}
    key = server.ask("POST", "/api/v1/auths/api_key", auth=None, headers=headers)["api_key"]
    return User(**{**vars(user), "api_key": key})


def create_tool(server: OpenWebUI) -> None:
    """Create the tool that everyone may use."""
    form = {
        "id": TOOL_ID,
        "name": "Case lookup",
        "content": TOOL,
        "meta": {"description": "Looks up a case."},
        "access_grants": EVERYONE,
    }
    as_admin(server, "/api/v1/tools/create", form)


def create_models(server: OpenWebUI) -> None:
    """Open the base models to everyone and create the workspace models."""
    for name in MODELS:
        create_model(server, WorkspaceModel(name, name, "", {}, {}))
    for model in WORKSPACE_MODELS:
        create_model(server, model)


def create_model(server: OpenWebUI, model: WorkspaceModel) -> None:
    """Create one model; without a base it stands for the provider's model of that id."""
    form = {
        "id": model.id,
        "name": model.name,
        "base_model_id": model.base or None,
        "params": model.params,
        "meta": {**META, "description": model.name, **model.meta},
        "access_grants": EVERYONE,
        "is_active": True,
    }
    as_admin(server, "/api/v1/models/create", form)


def as_admin(server: OpenWebUI, path: str, form: dict[str, Any]) -> Any:
    """Post a form as the admin."""
    return server.ask("POST", path, user="admin", auth="session", json=form)


# --- keeping it -----------------------------------------------------------------------------------


def seeded_server(provider: Provider, **options: Any) -> OpenWebUI:
    """An unstarted server on a copy of the seeded data; `options` as for `OpenWebUI`."""
    source = seeded_data_dir(options.get("bin_dir"))
    return OpenWebUI(provider, copy_from=source, **options)


def seeded_data_dir(bin_dir: Path | None = None) -> Path:
    """The seeded data directory, made when it is not there yet. Copy it, never serve it."""
    home = Path(tempfile.gettempdir()) / f"open-webui-seed-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    target = home / fingerprint(bin_dir or Path(sys.executable).parent)
    with locked(home / f"{target.name}.lock"):
        if not target.exists():
            make_seed(bin_dir, target)
    return target


def make_seed(bin_dir: Path | None, target: Path) -> None:
    """Seed a server and move its data to `target` in one step."""
    with Provider() as provider, OpenWebUI(provider, bin_dir=bin_dir) as server:
        seed(server).save(server.data_dir)
        server.stop()
        server.data_dir.rename(target)


def fingerprint(bin_dir: Path) -> str:
    """Changes with the installed Open WebUI, the seed and the models on offer."""
    packages = sorted(bin_dir.absolute().parent.glob("lib/python*/site-packages/open_webui-*"))
    parts = [str(bin_dir.absolute()), *map(str, packages), *MODELS]
    sources = [Path(__file__).with_name(name).read_bytes() for name in SOURCES]
    return hashlib.sha256("\n".join(parts).encode() + b"".join(sources)).hexdigest()[:16]


SOURCES = ("seed.py", "openwebui.py", "world.py")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes: test runs may start side by side."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
