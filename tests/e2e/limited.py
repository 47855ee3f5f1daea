"""A server with limits in a file, which a test changes while it runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import yaml

from e2e.servers import PREFIX
from harness.openwebui import TURN_TASKS, VERSION, Answer, OpenWebUI, turn_body
from harness.provider import Provider
from harness.seed import Person, add_person, seeded_server

PROBE = "dora"
"""Asks for nothing in tests, but whether the file was read."""
SENTENCE = "used"
TIMEOUT = 20.0


def limit(name: str, amount: Any, measure: str = "requests", **more: Any) -> dict[str, Any]:
    """A limit of a day, for everybody unless it says for whom."""
    who = {} if {"user", "group"} & more.keys() else {"everyone": True}
    return {"name": name, "measure": measure, "amount": amount, "per": "day", **who, **more}


class LimitedServer:
    """A server, and its limits."""

    def __init__(
        self, provider: Provider, directory: Path, env: dict[str, str], workers: int = 1
    ) -> None:
        self.provider = provider
        self.file = directory / "limits.yaml"
        self._even = False
        self._people = 0
        settings = {"LEDGER": "true", "LIMITS": "true", "LIMITS_FILE": str(self.file)}
        named = {PREFIX + key: value for key, value in settings.items()}
        self.file.write_text("limits: []\n")
        self.server: OpenWebUI = seeded_server(
            provider, launcher="instrument", workers=workers, env={**named, **env}
        )

    def set(self, *limits: dict[str, Any]) -> None:
        """Have these limits and no others, from the next request on."""
        self._even = not self._even
        probe = limit("probe", 0 if self._even else "unlimited", user=self.id_of(PROBE))
        content = yaml.safe_dump({"limits": [*limits, probe]}, allow_unicode=True)
        written = self.file.with_suffix(".new")
        written.write_text(content, "utf-8")
        os.replace(written, self.file)
        wanted, seen, deadline = 429 if self._even else 200, 0, time.monotonic() + TIMEOUT
        # Each worker reads it by itself.
        while seen < (1 if self.server.workers == 1 else 12):
            answer = self.server.request(
                "POST", "/api/embeddings", user=PROBE, json={"model": "gpt-std", "input": "case=p"}
            )
            seen = seen + 1 if answer.status == wanted else 0
            assert time.monotonic() < deadline, self.server.log_text()[-3000:]
            time.sleep(0.05)
        self.provider.wait_idle(0.2)
        self.provider.clear()

    def refuse(self, *users: str, **more: Any) -> None:
        """Let these users call nothing, and everybody else anything."""
        self.set(*(limit(f"none for {user}", 0, user=self.id_of(user), **more) for user in users))

    def lift(self) -> None:
        """Limit nobody."""
        self.set()

    def somebody(self) -> str:
        """The short name of a new user, who has used nothing yet."""
        self._people += 1
        person = Person(f"new{self._people}", f"New {self._people}")
        add_person(self.server, person)
        return person.key

    def turn(self, user: str, model: str, text: str, *, wait: bool = True, **fields: Any) -> str:
        """Send a message as the app does, and wait for all of its answer; returns the chat."""
        if VERSION >= (0, 9):
            return self.server.turn(user, model, text, wait=wait, **fields)
        # The app made the chat, with both messages in it, before it asked for the answer.
        tasks, chat = fields.pop("tasks", TURN_TASKS), fields.pop("chat_id", "")
        body = turn_body(model, text, chat_id=chat, tasks=tasks, **fields)
        chat = chat or self.new_chat(user, body)
        sent = {**body, "parent_message": body["user_message"]}
        headers = self.server.browser_headers()
        options = {"user": user, "auth": "session", "headers": headers}
        self.server.ask("POST", "/api/chat/completions", json={**sent, "chat_id": chat}, **options)
        if wait:
            self.server.finish_turn(user, chat)
        return chat

    def new_chat(self, user: str, body: dict[str, Any]) -> str:
        """Make a chat with a message, and the place of its answer; returns its id."""
        asked = body["user_message"]
        answer = {"id": body["id"], "parentId": asked["id"], "role": "assistant", "content": ""}
        messages = {asked["id"]: asked, body["id"]: {**answer, "model": body["model"]}}
        history = {"messages": messages, "currentId": body["id"]}
        form = {"chat": {"title": "New Chat", "models": [body["model"]], "history": history}}
        made = self.server.ask("POST", "/api/v1/chats/new", user=user, auth="session", json=form)
        return str(made["id"])

    def id_of(self, user: str) -> str:
        """A user's id."""
        return self.server.world.user(user).id

    def served(self) -> list[str]:
        """The tasks of the calls that have reached the provider since the limits were set."""
        self.provider.wait_idle(0.3)
        return sorted(call.task for call in self.provider.snapshot())


def assert_refused(answer: Answer, limited: LimitedServer) -> None:
    """The status and the headers that all refusals have, and a provider that heard nothing."""
    assert answer.status == 429, f"{answer.status} {answer.text[:300]}"
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert answer.headers["x-ratelimit-limit-requests"] == "0"
    assert limited.provider.snapshot() == []
