"""What one user or provider writes costs nobody else anything: a real server under such abuse.

Mallory (Çarol's account, in no group) does what is not nice, by API key. Alice and Bob chat before,
during and after, and their metrics, spans and events have to be complete and exact each time.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.servers import instrumented
from e2e.truth import (
    GROUP_REQUESTS,
    USAGE_REQUESTS,
    Counts,
    Expectation,
    Truth,
    difference,
    reported,
)
from harness.openwebui import OpenWebUI, chat_body
from harness.otlp import Receiver
from harness.provider import Provider, ServedCall

API = "/api/chat/completions"
EMBEDDINGS = "/api/embeddings"
ANY_EMBEDDINGS = "/openai/embeddings"
MALLORY = "carol"
# How many times over what is many is sent (`make hostile`).
TIMES = int(os.environ.get("ABUSES", "1"))
HUGE = "x" * 5_000_000
LONG = "m" * 900_000
# As JSON writes it; Python's own encoder for requests refuses it.
BROKEN = r"gpt-\ud83d\u0000\n\u202ename"
LONGEST = 256
ASKS = {"stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def server(provider: Provider, receiver: Receiver) -> Iterator[OpenWebUI]:
    env = {
        "BYPASS_MODEL_ACCESS_CONTROL": "true",
        "ENABLE_OPENAI_API_PASSTHROUGH": "true",
        # The provider would refuse such headers.
        "ENABLE_FORWARD_USER_INFO_HEADERS": "false",
    }
    with instrumented(provider, receiver, env) as server:
        yield server


class Town:
    """The server, who lives there, and what has to be told of them."""

    def __init__(self, server: OpenWebUI, provider: Provider, receiver: Receiver) -> None:
        self.server, self.provider, self.receiver = server, provider, receiver
        self._number = 0
        self._users: dict[str, str] = {}

    def neighbours_chat(self) -> None:
        """Alice and Bob chat, in one piece and as a stream that tells its usage."""
        for user in ("alice", "bob"):
            for options in ({"stream": False}, {"stream": True, **ASKS}):
                self._number += 1
                case = f"neighbour-{self._number}"
                self._users[case] = user
                answer = self.server.chat(user, "gpt-std", f"case={case}", **options)
                assert answer.status == 200

    def abuse(self, what: Callable[[], None]) -> list[dict[str, Any]]:
        """Do it while the neighbours chat, look at what is told of them, and return what is of it.

        All of Mallory's calls have to be counted, too.
        """
        before = len(self._counted())
        chatting = threading.Thread(target=self.neighbours_chat)
        chatting.start()
        try:
            what()
        finally:
            chatting.join()
        self.neighbours_chat()
        self.check()
        return self._counted()[before:]

    def check(self) -> None:
        """Compare all that was ever told of the neighbours with what the provider told them."""
        self.provider.wait_idle(0.2)
        calls = [call for call in self.provider.snapshot() if call.case in self._users]
        assert len(calls) == self._number
        known = {case: Expectation(user=user) for case, user in self._users.items()}
        expected = Truth(self.server.world, calls, known).counts()
        self._wait(lambda: self._of_neighbours() == expected, lambda: difference(
            expected, self._of_neighbours()
        ))  # fmt: skip
        told = Counter(
            (known[call.case].user, call.input_tokens, call.output_tokens) for call in calls
        )
        for kept in (lambda: self.receiver.spans, lambda: self.receiver.events):
            self._wait(lambda kept=kept: self._tokens(kept()) == told, lambda: "spans or events")
        assert "Open WebUI instrumentation failed" not in self.server.log_text()
        assert "Exception while exporting" not in self.server.log_text()
        assert "Failed to encode" not in self.server.log_text()

    def _wait(self, holds: Callable[[], bool], why: Callable[[], str]) -> None:
        try:
            self.receiver.wait_for(lambda _: holds(), 15)
        except TimeoutError:
            raise AssertionError(why()) from None

    def _of_neighbours(self) -> Counts:
        ids = {self.server.world.user(user).id for user in ("alice", "bob")}
        counts: Counts = Counter()
        for (metric, tags), amount in reported(self.receiver).items():
            found = dict(tags)
            if found.get("user.id") in ids or found.get("open_webui.group.name") in (
                "research", "teaching",
            ):  # fmt: skip
                counts[metric, tags] = amount
        return counts

    def _tokens(self, told: list[Any]) -> Counter[Any]:
        names = {self.server.world.user(user).id: user for user in ("alice", "bob")}
        tokens = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
        return Counter(
            (names[one.attributes["user.id"]], *(one.attributes.get(name) for name in tokens))
            for one in told
            if one.attributes.get("user.id") in names
        )

    # Mallory

    def mallory(self, path: str, body: dict[str, Any] | str, status: int | None = 200) -> None:
        """Ask for something; ``status`` is what Open WebUI has to answer, if it matters."""
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        answer = self.server.request("POST", path, user=MALLORY, content=raw, headers=headers)
        assert status in (None, answer.status), answer.text[:300]

    def _counted(self) -> list[dict[str, Any]]:
        """The events of Mallory's calls, once all are told and counted."""
        self.provider.wait_idle(0.2)
        served = len(self.served())
        self._wait(lambda: len(self.events()) == served, lambda: f"{len(self.events())} {served}")
        self._wait(
            lambda: sum(self._requests().values()) == served, lambda: f"{self._requests()} {served}"
        )
        return self.events()

    def served(self) -> list[ServedCall]:
        """Mallory's calls, as the provider saw them."""
        return [call for call in self.provider.snapshot() if call.case not in self._users]

    def events(self) -> list[dict[str, Any]]:
        """The same, as told."""
        own = self.server.world.user(MALLORY).id
        return [e.attributes for e in self.receiver.events if e.attributes["user.id"] == own]

    def _requests(self) -> dict[Any, float]:
        own = ("user.id", self.server.world.user(MALLORY).id)
        return {
            tags: n for tags, n in self.receiver.increase(USAGE_REQUESTS).items() if own in tags
        }

    def series(self) -> int:
        """How many series there are of Mallory, and of those who are in no group."""
        own = ("user.id", self.server.world.user(MALLORY).id)
        alone = ("open_webui.group.name", "(none)")
        return len(
            {
                point.series
                for point in self.receiver.points
                if {own, alone} & point.attributes.items()
            }
        )


@pytest.fixture(scope="module")
def town(server: OpenWebUI, provider: Provider, receiver: Receiver) -> Town:
    town = Town(server, provider, receiver)
    town.neighbours_chat()
    town.check()
    return town


def chat(model: str, **fields: Any) -> dict[str, Any]:
    return chat_body(model, "case=mallory hello", **fields)


def embed(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "input": "case=mallory", **fields}


def assert_small(told: list[dict[str, Any]]) -> None:
    for attributes in told:
        for value in attributes.values():
            for text in value if isinstance(value, tuple) else (value,):
                assert not isinstance(text, str) or len(text) <= LONGEST
                assert not isinstance(text, str) or text.isprintable()


def test_a_chat_id_of_5_megabytes(town: Town, receiver: Receiver) -> None:
    def abuse() -> None:
        town.mallory(API, chat("gpt-std", chat_id=HUGE), status=None)
        town.mallory(EMBEDDINGS, embed("embed-std", metadata={"chat_id": HUGE}))
        town.mallory(ANY_EMBEDDINGS, embed("embed-std", metadata={"chat_id": HUGE}))
        town.mallory(API, chat("gpt-std", chat_id=[HUGE]), status=None)
        town.mallory(API, chat("gpt-std", chat_id=f"local:{HUGE}"), status=None)

    told = town.abuse(abuse)
    assert len(told) >= 2
    spans = [span.attributes for span in receiver.spans]
    chats = {str(one.get("gen_ai.conversation.id", ""))[:9] for one in (*told, *spans)}
    assert chats >= {"xxxxxxxxx", "local:xxx"}
    assert_small([*told, *spans])


@pytest.mark.parametrize("name", [LONG, "embed-" + "🦉" * 200_000], ids=["ascii", "emoji"])
def test_a_model_of_900_kilobytes_is_asked_for(town: Town, receiver: Receiver, name: str) -> None:
    def abuse() -> None:
        town.mallory(ANY_EMBEDDINGS, embed(name))
        # What Open WebUI refuses still has its turn.
        town.mallory(API, chat(name, chat_id="x"), status=None)
        town.mallory(API, chat(name), status=None)

    [told] = town.abuse(abuse)
    assert told["gen_ai.request.model"].startswith(name[:100])
    assert "…" in told["gen_ai.request.model"]
    turns = [span for span in receiver.spans if span.name.startswith(f"invoke_agent {name[:100]}")]
    assert len(turns) == 1
    assert_small([told, *({"name": span.name[:LONGEST]} for span in turns)])
    assert len(turns[0].name) <= LONGEST + len("invoke_agent ")


def test_a_model_whose_name_is_no_text_is_asked_for(town: Town, receiver: Receiver) -> None:
    def abuse() -> None:
        # Open WebUI cannot pass the answer on, which says the name again.
        body = f'{{"model":"{BROKEN}","input":"case=mallory"}}'
        town.mallory(ANY_EMBEDDINGS, body, status=None)
        body = f'{{"model":"{BROKEN}","chat_id":"{BROKEN}","messages":[]}}'
        town.mallory(API, body, status=None)

    told = town.abuse(abuse)
    name = "gpt-\ufffd\ufffd\ufffd\ufffdname"
    assert [event["gen_ai.request.model"] for event in told] == [name]
    assert [span for span in receiver.spans if span.name == f"invoke_agent {name}"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", ["gpt-long-name", "gpt-broken-name"])
def test_a_model_answers_with_such_a_name(town: Town, model: str, stream: bool) -> None:
    options = ASKS if stream else {}
    # Open WebUI cannot pass on a whole answer that is no valid text.
    body = chat(model, stream=stream, **options)
    [told] = town.abuse(lambda: town.mallory(API, body, status=None))
    [*_, call] = town.served()
    assert told["gen_ai.usage.input_tokens"] == call.input_tokens
    assert told["gen_ai.usage.output_tokens"] == call.output_tokens
    assert_small([told])


def test_a_user_is_called_by_5_megabytes(town: Town) -> None:
    def rename(name: str) -> None:
        profile = {"name": name, "profile_image_url": "/user.png"}
        town.server.ask(
            "POST", "/api/v1/auths/update/profile", user=MALLORY, auth="session", json=profile
        )

    def abuse() -> None:
        rename("y" * 5_000_000)
        town.mallory(API, chat("gpt-std"))

    try:
        [told] = town.abuse(abuse)
        assert told["user.name"].startswith("yyy")
        assert_small([told])
    finally:
        rename("Mallory")


def test_tasks_that_nobody_knows(town: Town) -> None:
    town.abuse(lambda: town.mallory(EMBEDDINGS, embed("embed-std", metadata={"task": "first"})))
    series = town.series()

    def abuse() -> None:
        for number in range(40 * TIMES):
            town.mallory(EMBEDDINGS, embed("embed-std", metadata={"task": f"t{number}"}))
        town.mallory(EMBEDDINGS, embed("embed-std", metadata={"task": ["t"]}))

    told = town.abuse(abuse)
    assert len(told) == 40 * TIMES + 1
    assert {event["open_webui.task"] for event in told} <= {"chat", "unknown"}
    assert town.series() == series


def test_60000_finish_reasons(town: Town) -> None:
    [told] = town.abuse(lambda: town.mallory(API, chat("gpt-many-reasons", stream=True, **ASKS)))
    [*_, call] = town.served()
    assert told["gen_ai.response.finish_reasons"][-1] == "…+59984"
    assert told["gen_ai.usage.input_tokens"] == call.input_tokens
    assert len(told["gen_ai.response.finish_reasons"]) == 17


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_usage_that_nobody_can_have_used(town: Town, stream: bool) -> None:
    [told] = town.abuse(lambda: town.mallory(API, chat("gpt-forged-usage", stream=stream)))
    assert told["open_webui.usage.estimated"] is True
    assert 0 < told["gen_ai.usage.input_tokens"] < 1000
    assert 0 < told["gen_ai.usage.output_tokens"] < 1000
    assert "open_webui.usage.cost" not in told


def test_errors_that_nobody_knows(town: Town) -> None:
    def abuse() -> None:
        for _ in range(10 * TIMES):
            town.mallory(API, chat("gpt-made-up-error"), status=None)
            town.mallory(API, chat("gpt-made-up-crash"), status=None)

    told = Counter(event["error.type"] for event in town.abuse(abuse))
    assert told == {"400": 10 * TIMES, "_OTHER": 10 * TIMES}


def test_all_of_it_has_made_few_series(town: Town, receiver: Receiver) -> None:
    assert town.series() < 300
    assert max(len(str(sorted(point.attributes.items()))) for point in receiver.points) < 4_000
    requests = receiver.increase(GROUP_REQUESTS)
    alone = {tags: n for tags, n in requests.items() if ("open_webui.group.name", "(none)") in tags}
    assert sum(alone.values()) == len(town.served())
