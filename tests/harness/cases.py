"""Answers of providers, byte for byte, as `tests/cases` has them, and a server that gives them.

Each case has a connection of its own: `/{case}/v1`, and a model there for each that it names.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from harness.webthread import WebThread

FOLDER = Path(__file__).parents[1] / "cases"
MAX_BODY = 1 << 26


@dataclass(frozen=True)
class ProviderCase:
    """What a client sends, what the provider answers, and what is right."""

    id: str
    send: tuple[dict[str, Any], ...]
    answers: tuple[dict[str, Any], ...]
    expect: dict[str, Any] = field(default_factory=dict)
    client: str | None = "same"
    wire: str = "openai"
    last: bool = False
    """Whether only the last of several requests is expected so."""

    @property
    def models(self) -> list[str]:
        """The models that are asked for."""
        named = [send.get("model") or send.get("body", {}).get("model") for send in self.send]
        return list(dict.fromkeys(filter(None, named)))

    def answer(self, model: str, asked: bool) -> dict[str, Any]:
        """The answer to a request for a model, with a wish for usage or without."""
        when = ("any", "asked" if asked else "unasked")
        return next(
            answer
            for answer in self.answers
            if answer["when"] in when and answer.get("model", model) == model
        )


def load(name: str) -> ProviderCase:
    """A case that was reported in public."""
    stored = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return ProviderCase(
        id=stored["id"],
        send=tuple(stored["send"]),
        answers=tuple(stored["answers"]),
        expect=stored["expect"],
        client=stored["client"],
        wire=stored["wire"],
        last=bool(stored.get("last")),
    )


@dataclass
class Request:
    """A request that came."""

    case: str
    asked: bool
    status: int
    body: bytes


class CaseProvider(WebThread):
    """Serves the cases."""

    def __init__(self, cases: Iterable[ProviderCase], port: int = 0) -> None:
        super().__init__(port)
        self.cases = {case.id: case for case in cases}
        self.requests: list[Request] = []
        self._lock = threading.Lock()

    def url(self, case: ProviderCase) -> str:
        """The base URL of a case."""
        return f"{self.base_url}/{case.id}" + ("" if case.wire == "ollama" else "/v1")

    def make_app(self) -> web.Application:
        """Models are listed, everything else is answered as the case has it."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/{case}/v1/models", self._models)
        app.router.add_get("/{case}/api/tags", self._tags)
        app.router.add_get("/{case}/api/version", self._version)
        app.router.add_post("/{case}/{path:.*}", self._answer)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        models = self.cases[request.match_info["case"]].models
        return web.json_response({"data": [{"id": model, "object": "model"} for model in models]})

    async def _tags(self, request: web.Request) -> web.Response:
        models = self.cases[request.match_info["case"]].models
        return web.json_response({"models": [{"name": one, "model": one} for one in models]})

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.12.3"})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/count_tokens"):
            raise web.HTTPNotFound
        body, case = await request.read(), self.cases[request.match_info["case"]]
        form = parsed(body)
        options = form.get("stream_options")
        asked = isinstance(options, dict) and bool(options.get("include_usage"))
        answer = case.answer(str(form.get("model", "")), asked)
        with self._lock:
            self.requests.append(Request(case.id, asked, answer["status"], body))
        response = web.StreamResponse(status=answer["status"], headers=answer["headers"])
        await response.prepare(request)
        for piece in answer["pieces"]:
            await response.write(text_of(piece).encode("utf-8", "surrogatepass"))
            await asyncio.sleep(0.001)
        await response.write_eof()
        return response


def text_of(piece: str | dict[str, Any]) -> str:
    """A piece of an answer, which may be a long one."""
    return piece if isinstance(piece, str) else str(piece["fill"]) * int(piece["times"])


def parsed(body: bytes) -> dict[str, Any]:
    """The object in a body, or an empty one."""
    try:
        form = json.loads(body)
    except ValueError:
        return {}
    return form if isinstance(form, dict) else {}
