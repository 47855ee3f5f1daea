"""The people, groups and models that the harness puts into an Open WebUI database."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

FILE_NAME = "harness-world.json"


@dataclass(frozen=True)
class User:
    """A user with all means of signing in."""

    id: str
    name: str
    email: str
    password: str
    role: str
    api_key: str
    token: str
    groups: tuple[str, ...] = ()


@dataclass
class World:
    """What a seeded database holds: users by short name, group ids by name, ids of models."""

    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()

    @property
    def admin(self) -> User:
        """The first user."""
        return self.users["admin"]

    def user(self, name: str) -> User:
        """A user by short name."""
        return self.users[name]

    def user_with_id(self, user_id: str) -> User:
        """A user by Open WebUI's id."""
        return next(user for user in self.users.values() if user.id == user_id)

    def joined(self, name: str, group: str) -> None:
        """Note that a user was added to a group."""
        user = self.users[name]
        self.users[name] = replace(user, groups=tuple(sorted({*user.groups, group})))

    def left(self, name: str, group: str) -> None:
        """Note that a user was removed from a group."""
        user = self.users[name]
        self.users[name] = replace(user, groups=tuple(g for g in user.groups if g != group))

    def save(self, directory: Path) -> None:
        """Write the world next to the database that it describes."""
        (directory / FILE_NAME).write_text(json.dumps(asdict(self), ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, directory: Path) -> World:
        """Read what `save` wrote."""
        stored = json.loads((directory / FILE_NAME).read_text("utf-8"))
        users = {
            name: User(**{**user, "groups": tuple(user["groups"])})
            for name, user in stored["users"].items()
        }
        return cls(users, stored["groups"], tuple(stored["models"]))
