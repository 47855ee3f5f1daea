"""Functions of Open WebUI that the tests install: pipes that answer in every way a pipe can."""

from __future__ import annotations

from harness.openwebui import OpenWebUI
from harness.seed import as_admin

GIVEN, MADE = 11, 7
"""The tokens that a pipe reports, where it does."""

SYNC = f'''
"""
title: Sync pipes
"""

USAGE = {{"prompt_tokens": {GIVEN}, "completion_tokens": {MADE}, "total_tokens": {GIVEN + MADE}}}


def chunk(text, finish=None, **more):
    return {{"choices": [{{"index": 0, "delta": {{"content": text}}, "finish_reason": finish}}], **more}}


class Pipe:
    def pipes(self):
        kinds = ("text", "generator", "counting", "dict", "raising", "requests", "httpx")
        return [{{"id": kind, "name": kind}} for kind in kinds]

    def pipe(self, body, __user__, __request__):
        kind = body["model"].split(".")[-1]
        return getattr(self, kind)(body, __user__, __request__)

    def text(self, body, user, request):
        return "an answer"

    def generator(self, body, user, request):
        return iter(["an ", "answer"])

    def counting(self, body, user, request):
        if not body.get("stream"):
            message = {{"role": "assistant", "content": "an answer"}}
            return {{"choices": [{{"message": message, "finish_reason": "stop"}}], "usage": USAGE}}
        return iter([chunk("an "), chunk("answer", "stop", usage=USAGE)])

    def dict(self, body, user, request):
        return {{"choices": [{{"message": {{"role": "assistant", "content": "an answer"}}}}]}}

    def raising(self, body, user, request):
        raise RuntimeError("no")

    def requests(self, body, user, request):
        import requests

        form = {{"model": "gpt-std", "messages": body["messages"], "stream": body["stream"]}}
        url = request.app.state.TEST_PROVIDER + "/chat/completions"
        headers = {{"X-OpenWebUI-User-Id": user["id"]}}
        if not body["stream"]:
            requests.post(url, json=form, headers=headers).json()
            return "an answer"
        form["stream_options"] = {{"include_usage": True}}
        answer = requests.post(url, json=form, headers=headers, stream=True)
        return (str(len(line)) for line in answer.iter_lines())

    def httpx(self, body, user, request):
        import httpx

        form = {{"model": "gpt-std", "messages": body["messages"]}}
        url = request.app.state.TEST_PROVIDER + "/chat/completions"
        headers = {{"X-OpenWebUI-User-Id": user["id"]}}
        httpx.Client(trust_env=False).post(url, json=form, headers=headers).json()
        return "an answer"
'''

ASYNC = '''
"""
title: Async pipes
"""

from starlette.responses import StreamingResponse


class Pipe:
    def pipes(self):
        kinds = ("text", "generator", "response", "calls", "raising", "aiohttp", "httpx")
        return [{"id": kind, "name": kind} for kind in kinds]

    async def pipe(self, body, __user__, __request__):
        kind = body["model"].split(".")[-1]
        return await getattr(self, kind)(body, __user__, __request__)

    async def text(self, body, user, request):
        return "an answer"

    async def generator(self, body, user, request):
        async def pieces():
            yield "an "
            yield "answer"

        return pieces()

    async def response(self, body, user, request):
        async def pieces():
            yield 'data: {"choices": [{"delta": {"content": "an answer"}}]}\\n\\n'
            yield "data: [DONE]\\n\\n"

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def calls(self, body, user, request):
        from open_webui.models.users import Users
        from open_webui.utils.chat import generate_chat_completion

        form = {"model": "gpt-std", "messages": body["messages"], "stream": body["stream"]}
        found = Users.get_user_by_id(user["id"])
        if hasattr(found, "__await__"):  # synchronous before 0.9
            found = await found
        return await generate_chat_completion(request, form, found)

    async def raising(self, body, user, request):
        raise RuntimeError("no")

    async def aiohttp(self, body, user, request):
        import aiohttp

        form = {"model": "gpt-std", "messages": body["messages"]}
        url = request.app.state.TEST_PROVIDER + "/chat/completions"
        headers = {"X-OpenWebUI-User-Id": user["id"]}
        async with aiohttp.ClientSession() as session:
            async with session.post(url, json=form, headers=headers) as answer:
                await answer.json()
        return "an answer"

    async def httpx(self, body, user, request):
        import httpx

        form = {"model": "gpt-std", "messages": body["messages"], "stream": True,
                "stream_options": {"include_usage": True}}
        url = request.app.state.TEST_PROVIDER + "/chat/completions"
        headers = {"X-OpenWebUI-User-Id": user["id"]}
        async with httpx.AsyncClient(trust_env=False) as client:
            async with client.stream("POST", url, json=form, headers=headers) as answer:
                async for line in answer.aiter_lines():
                    pass
        return "an answer"
'''


def install(server: OpenWebUI, address: str) -> None:
    """Install the pipes, and tell them where the provider is."""
    for name, content in (("sync_pipes", SYNC), ("async_pipes", ASYNC)):
        content = content.replace("request.app.state.TEST_PROVIDER", repr(address))
        form = {"id": name, "name": name, "content": content, "meta": {"description": name}}
        as_admin(server, "/api/v1/functions/create", form)
        as_admin(server, f"/api/v1/functions/id/{name}/toggle", {})
