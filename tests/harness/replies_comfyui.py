"""ComfyUI: a workflow is queued, a web socket says when it is done, then its images are fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

from harness.replies import Prompt, Reply
from harness.replies_common import PNG, behaving, json_reply, number_in, png

CHECKPOINT = "standin.safetensors"
MODEL_KEYS = ("ckpt_name", "unet_name")
OUTPUT_NODES = ("SaveImage", "SaveImageAdvanced", "PreviewImage")
OBJECT_INFO = {
    "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [[CHECKPOINT], {}]}}},
    "UNETLoader": {"input": {"required": {"unet_name": [[CHECKPOINT], {}]}}},
}

Workflow = Mapping[str, Any]


def workflow_of(body: Mapping[str, Any]) -> Workflow:
    """The workflow that a body queues."""
    workflow = body.get("prompt")
    return workflow if isinstance(workflow, dict) else {}


def inputs(workflow: Workflow) -> list[Mapping[str, Any]]:
    """The inputs of all nodes."""
    nodes = [node for node in workflow.values() if isinstance(node, dict)]
    return [node["inputs"] for node in nodes if isinstance(node.get("inputs"), dict)]


def workflow_model(body: Mapping[str, Any]) -> str:
    """The model that a workflow loads, if it says so in the usual way."""
    names = [own[key] for own in inputs(workflow_of(body)) for key in MODEL_KEYS if key in own]
    return str(names[0]) if names else ""


def image_count(workflow: Workflow) -> int:
    """The images that a workflow makes: those of its empty latent image, else one."""
    return next(
        (number_in(own, "batch_size") for own in inputs(workflow) if "batch_size" in own), 1
    )


class ComfyUI:
    """What a ComfyUI server remembers: who listens, and which workflows it has run."""

    def __init__(self) -> None:
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._done: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def queue(self, prompt: Prompt) -> Reply:
        """Queue a workflow, and soon tell its client that it is done."""
        return behaving(prompt, self._run)

    def _run(self, prompt: Prompt) -> Reply:
        workflow, images = workflow_of(prompt.body), image_count(workflow_of(prompt.body))
        self._done[prompt.id] = {
            "prompt": [1, prompt.id, workflow, {}, []],
            "outputs": outputs(prompt.id, workflow, images),
            "status": {"status_str": "success", "completed": True, "messages": []},
        }
        client = str(prompt.body.get("client_id", ""))
        task = asyncio.get_running_loop().create_task(self._announce(client, prompt.id, workflow))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        value = {"prompt_id": prompt.id, "number": prompt.number, "node_errors": {}}
        return json_reply(value, images=images)

    async def _announce(self, client: str, prompt_id: str, workflow: Workflow) -> None:
        socket = self._sockets.get(client)
        if socket is None:
            return
        for node in (*workflow, None):
            await asyncio.sleep(0.005)
            if not socket.closed:
                data = {"node": node, "prompt_id": prompt_id}
                await socket.send_json({"type": "executing", "data": data})

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """The web socket on which a client hears of its workflows."""
        client = request.query.get("clientId", "")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[client] = socket
        try:
            status = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client}
            await socket.send_json({"type": "status", "data": status})
            async for message in socket:
                if message.type == WSMsgType.ERROR:
                    break
        finally:
            self._sockets.pop(client, None)
        return socket

    async def history(self, request: web.Request) -> web.StreamResponse:
        """What became of a workflow."""
        prompt_id = request.match_info["id"]
        done = self._done.get(prompt_id)
        return web.json_response({} if done is None else {prompt_id: done})

    async def view(self, request: web.Request) -> web.StreamResponse:
        """An image by its name."""
        seed = int.from_bytes(request.query.get("filename", "").encode()[-8:], "big")
        return web.Response(body=png(seed), content_type=PNG)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Take an image to be edited."""
        form = await request.post()
        name = getattr(form.get("image"), "filename", "image.png")
        return web.json_response({"name": name, "subfolder": "", "type": "input"})


def outputs(prompt_id: str, workflow: Workflow, images: int) -> dict[str, Any]:
    """What each node that saves images has saved."""
    made = [
        {"filename": f"{prompt_id}_{number:05}_.png", "subfolder": "", "type": "output"}
        for number in range(images)
    ]
    savers = [
        name
        for name, node in workflow.items()
        if isinstance(node, dict) and node.get("class_type") in OUTPUT_NODES
    ]
    return {name: {"images": made} for name in savers}
