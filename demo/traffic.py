"""The day: who does what, and how it is sent.

Every question carries a mark, `case=…`, by which the provider's log tells the steps apart.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.openwebui import TURN_TASKS, Auth, OpenWebUI
from harness.seed import TOOL_ID

LATER_TASKS = ("follow_up_generation",)


@dataclass(frozen=True)
class Program:
    """A client of the HTTP API."""

    label: str
    path: str = "/api/chat/completions"
    stream: bool = False
    auth: Auth = "api_key"
    source: str = "api"
    calls: int = 1

    def send(self, server: OpenWebUI, step: Step, chats: dict[str, str]) -> None:
        """Ask once."""
        server.chat(
            step.user, step.model, step.text, stream=self.stream, auth=self.auth, path=self.path
        )


@dataclass(frozen=True)
class Browser:
    """The browser app; what it asks for beside the answer depends on the kind of chat."""

    label: str
    tasks: tuple[str, ...] = TURN_TASKS
    temporary: bool = False
    again: bool = False
    tools: tuple[str, ...] = ()
    source: str = "ui"

    @property
    def calls(self) -> int:
        """Calls to models for one turn: the answer, one more if a tool runs, and the tasks."""
        return 1 + bool(self.tools) + len(self.tasks)

    def send(self, server: OpenWebUI, step: Step, chats: dict[str, str]) -> None:
        """Take one turn; `chats` remembers each user's last one."""
        chat = f"local:{uuid.uuid4()}" if self.temporary else None
        tools: dict[str, Any] = {"tool_ids": [*self.tools]} if self.tools else {}
        chats[step.user] = server.turn(
            step.user,
            step.model,
            step.text,
            chat_id=chats.get(step.user) if self.again else chat,
            tasks=self.tasks,
            **tools,
        )


NEW_CHAT = Browser("a new chat in the browser")
SAME_CHAT = Browser("the same chat goes on", LATER_TASKS, again=True)
TEMPORARY = Browser("a temporary chat in the browser", LATER_TASKS, temporary=True)
TOOL_CHAT = Browser("a chat in which a tool runs", tools=(TOOL_ID,))
API = Program("API key")
API_STREAM = Program("API key, streamed", stream=True)
SCRIPT = Program("a script with a session token", auth="session")
RAW_OPENAI = Program("the raw OpenAI route", "/openai/chat/completions")
RAW_OLLAMA = Program("the raw Ollama route, streamed", "/ollama/api/chat", stream=True)


@dataclass(frozen=True)
class Step:
    """One person doing one thing, perhaps several times."""

    user: str
    way: Program | Browser
    model: str
    question: str
    times: int = 1
    case: str = ""

    @property
    def text(self) -> str:
        """What is sent. Short answers keep the day short on a real provider."""
        return f"{self.question} Answer in one sentence. (case={self.case})"

    @property
    def calls(self) -> int:
        """Calls to models that this has to cause."""
        return self.times * self.way.calls


@dataclass(frozen=True)
class Part:
    """A part of the day."""

    name: str
    steps: tuple[Step, ...]


DAY = (
    Part(
        "morning",
        (
            Step("alice", NEW_CHAT, "gpt-std", "How do I measure how bright a star is?"),
            Step("alice", SAME_CHAT, "gpt-std", "And how exactly?"),
            Step("bob", API_STREAM, "helpdesk", "A student cannot print. What now?", 3),
            Step("carol", NEW_CHAT, "llama-std", "What rhymes with lantern?"),
            Step("dora", API, "gpt-mini", "Is this comment friendly: 'Well done'?", 6),
            Step("admin", SCRIPT, "gpt-std", "Are you there?", 2),
        ),
    ),
    Part(
        "noon",
        (
            Step("dora", TOOL_CHAT, "toolbox", "Look up the open day."),
            Step("alice", API_STREAM, "gpt-mini", "Give me a name for this variable: x.", 5),
            Step("bob", RAW_OPENAI, "gpt-std", "Write an exam question on rivers.", 2),
            Step("carol", TEMPORARY, "gpt-mini", "What do I say at a birthday party?"),
        ),
    ),
    Part(
        "afternoon",
        (
            Step("bob", API, "gpt-429", "Grade this essay: 'Rivers are wet.'", 3),
            Step("bob", RAW_OLLAMA, "llama-mini", "Grade this essay: 'Rivers are wet.'", 2),
            Step("alice", NEW_CHAT, "helpdesk", "How do I book the telescope?"),
            Step("dora", NEW_CHAT, "localdesk", "Write a headline for the open day."),
            Step("carol", SCRIPT, "llama-std", "Which word is misspelt: lantrn?", 2),
            Step("admin", NEW_CHAT, "gpt-mini", "What is new in version control?"),
        ),
    ),
    Part(
        "night",
        (
            Step("dora", API, "llama-std", "Translate 'open day' to French.", 8),
            Step("alice", API_STREAM, "localdesk", "Summarise: the star got brighter.", 4),
        ),
    ),
)


def the_day(models: Mapping[str, str] | None = None) -> tuple[Part, ...]:
    """The day with a case for each step.

    With `models` each step uses the model that stands there for its own, and steps whose model
    has none are left out.
    """
    parts = (Part(part.name, tuple(cases(part, models))) for part in DAY)
    return tuple(part for part in parts if part.steps)


def cases(part: Part, models: Mapping[str, str] | None) -> Iterator[Step]:
    """The steps of a part that take place."""
    for number, step in enumerate(part.steps, 1):
        model = step.model if models is None else models.get(step.model)
        if model is not None:
            yield replace(step, model=model, case=f"{part.name}-{number}")


def steps_of(day: Iterable[Part]) -> dict[str, Step]:
    """All steps by case."""
    return {step.case: step for part in day for step in part.steps}
