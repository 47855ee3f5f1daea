"""Functions of Open WebUI that the tests install: pipes that answer in every way a pipe can."""

from __future__ import annotations

from importlib.util import find_spec

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

# Every HTTP client, every one of which reads its answer in a way of its own, and threads.
HTTP = '''
"""
title: Pipes that call a provider by themselves
"""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor


class Pipe:
    KINDS = (
        "httpx", "httpx_raw", "httpx_async_raw", "httpx2", "httpx2_async", "requests", "requests_raw",
        "urllib3", "urllib", "http_client", "aiohttp", "openai", "openai_async", "thread", "executor",
        "loop_executor",
    )

    def pipes(self):
        return [{"id": kind, "name": kind} for kind in self.KINDS]

    async def pipe(self, body, __user__, __request__):
        kind = body["model"].split(".")[-1]
        self.url = request.app.state.TEST_PROVIDER
        form = {"model": "gpt-std", "messages": body["messages"], "stream": bool(body.get("stream"))}
        if form["stream"]:
            form["stream_options"] = {"include_usage": True}
        answer = getattr(self, kind)(form, {"X-OpenWebUI-User-Id": __user__["id"]})
        if asyncio.iscoroutine(answer):
            await answer
        return "an answer"

    def httpx(self, form, headers):
        import httpx

        with httpx.Client(trust_env=False) as client:
            with client.stream("POST", self.url + "/chat/completions", json=form, headers=headers) as answer:
                list(answer.iter_lines())

    def httpx_raw(self, form, headers):
        import httpx

        with httpx.Client(trust_env=False) as client:
            with client.stream("POST", self.url + "/chat/completions", json=form, headers=headers) as answer:
                list(answer.iter_raw())

    async def httpx_async_raw(self, form, headers):
        import httpx

        async with httpx.AsyncClient(trust_env=False) as client:
            async with client.stream("POST", self.url + "/chat/completions", json=form, headers=headers) as answer:
                [piece async for piece in answer.aiter_raw()]

    def httpx2(self, form, headers):
        import httpx2

        with httpx2.Client(trust_env=False) as client:
            client.post(self.url + "/chat/completions", json=form, headers=headers).read()

    async def httpx2_async(self, form, headers):
        import httpx2

        async with httpx2.AsyncClient(trust_env=False) as client:
            async with client.stream("POST", self.url + "/chat/completions", json=form, headers=headers) as answer:
                [line async for line in answer.aiter_lines()]

    def requests(self, form, headers):
        import requests

        answer = requests.post(self.url + "/chat/completions", json=form, headers=headers, stream=True)
        list(answer.iter_lines())

    def requests_raw(self, form, headers):
        import requests

        answer = requests.post(self.url + "/chat/completions", json=form, headers=headers, stream=True)
        list(answer.raw.stream(100))

    def urllib3(self, form, headers):
        import urllib3

        headers = {**headers, "Content-Type": "application/json"}
        urllib3.PoolManager().request(
            "POST", self.url + "/chat/completions", body=json.dumps(form), headers=headers
        ).data

    def urllib(self, form, headers):
        import urllib.request

        headers = {**headers, "Content-Type": "application/json"}
        asked = urllib.request.Request(self.url + "/chat/completions", json.dumps(form).encode(), headers)
        with urllib.request.urlopen(asked) as answer:
            for line in answer:
                pass

    def http_client(self, form, headers):
        import http.client
        from urllib.parse import urlsplit

        parts = urlsplit(self.url + "/chat/completions")
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        headers = {**headers, "Content-Type": "application/json"}
        connection.request("POST", parts.path, json.dumps(form), headers)
        connection.getresponse().read()
        connection.close()

    async def aiohttp(self, form, headers):
        import aiohttp

        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.post(self.url + "/chat/completions", json=form) as answer:
                async for line in answer.content:
                    pass

    def openai(self, form, headers):
        import openai

        with openai.OpenAI(base_url=self.url, api_key="key", default_headers=headers) as client:
            answer = client.chat.completions.create(**form)
            if form["stream"]:
                list(answer)

    async def openai_async(self, form, headers):
        import openai

        async with openai.AsyncOpenAI(base_url=self.url, api_key="key", default_headers=headers) as client:
            answer = await client.chat.completions.create(**form)
            if form["stream"]:
                [chunk async for chunk in answer]

    def thread(self, form, headers):
        thread = threading.Thread(target=self.requests, args=(form, headers))
        thread.start()
        thread.join()

    def executor(self, form, headers):
        with ThreadPoolExecutor() as pool:
            pool.submit(self.httpx, form, headers).result()

    async def loop_executor(self, form, headers):
        await asyncio.get_running_loop().run_in_executor(None, self.urllib, form, headers)
'''
# What each of them needs, and older versions of Open WebUI may not bring.
NEEDS = {"httpx2": "httpx2", "httpx2_async": "httpx2", "openai": "openai", "openai_async": "openai"}
HTTP_KINDS = [
    kind
    for kind in (
        "httpx", "httpx_raw", "httpx_async_raw", "httpx2", "httpx2_async", "requests",
        "requests_raw", "urllib3", "urllib", "http_client", "aiohttp", "openai", "openai_async",
        "thread", "executor", "loop_executor",
    )
    if kind not in NEEDS or find_spec(NEEDS[kind])
]  # fmt: skip


def install(server: OpenWebUI, address: str) -> None:
    """Install the pipes, and tell them where the provider is."""
    for name, content in (("sync_pipes", SYNC), ("async_pipes", ASYNC), ("http_pipes", HTTP)):
        content = content.replace("request.app.state.TEST_PROVIDER", repr(address))
        form = {"id": name, "name": name, "content": content, "meta": {"description": name}}
        as_admin(server, "/api/v1/functions/create", form)
        as_admin(server, f"/api/v1/functions/id/{name}/toggle", {})
