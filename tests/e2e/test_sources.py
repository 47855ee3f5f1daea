"""Every place in Open WebUI's source that sends a request is covered, or known to call no model.

It fails on the day that a new version has a place that nobody has looked at yet, and names it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.openwebui import VERSION
from opentelemetry.instrumentation.open_webui.host.surfaces import TARGETS

SENDS = frozenset((
    "post", "put", "patch", "request", "send", "stream", "ws_connect", "urlopen", "urlretrieve",
    "putrequest", "getresponse",
))  # fmt: skip
# Libraries that would call models without any of these.
SDKS = frozenset(("openai", "anthropic", "ollama", "litellm", "cohere", "mistralai", "groq"))
# The place where a wrapped function is called, rather than a place that it calls.
CALLS_A_TARGET = frozenset(("open_webui.routers.audio.realtime.realtime_call",))

# What sends, and calls no model: a module, a module and a function, or the beginning of either.
CALLS_NO_MODEL = (
    # Services that find and convert documents; Mistral's and Perplexity's models are covered.
    "open_webui.retrieval.loaders.",
    "open_webui.retrieval.web.",
    # Models are loaded, unloaded, listed, copied; tokens are counted without a model.
    "open_webui.main.unload_model",
    "open_webui.routers.images.set_image_model",
    "open_webui.routers.ollama.download_file_stream",
    "open_webui.routers.ollama.upload_model",
    "open_webui.routers.openai.count_anthropic_tokens",
    "open_webui.routers.openai.send_model_management_request",
    # Filters and settings of a pipelines server; its models are called as OpenAI's are.
    "open_webui.routers.pipelines.",
    # Pictures on their way to ComfyUI, before it is asked.
    "open_webui.utils.images.comfyui.comfyui_upload_image",
    # Signing in, licences, terminals, code, apps, queues, notifications.
    "open_webui.routers.auths.",
    "open_webui.routers.configs.",
    "open_webui.routers.terminals.",
    "open_webui.socket.",
    "open_webui.utils.apps.",
    "open_webui.utils.auth.",
    "open_webui.utils.automations._set_terminal_cwd",
    "open_webui.utils.code_interpreter.",
    "open_webui.utils.oauth.",
    "open_webui.utils.webhook.",
)
# The same, of versions before.
CALLED_NO_MODEL = (
    "open_webui.routers.ollama.copy_model",
    "open_webui.routers.ollama.delete_model",
    "open_webui.routers.ollama.get_",
    "open_webui.routers.ollama.show_model_info",
    "open_webui.utils.images.comfyui.get_image",
)


@dataclass
class Function:
    """One function of a module: what it sends with, and which names it uses."""

    name: str
    sends: list[int] = field(default_factory=list)
    """Lines."""
    names: set[str] = field(default_factory=set)


class Reader(ast.NodeVisitor):
    """Reads the functions of one module; methods by their class, inner functions as their outer."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {"": Function("")}
        self.imports: set[str] = set()
        self._classes: list[str] = []
        self._function = self.functions[""]

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._classes.append(node.name)
        self.generic_visit(node)
        self._classes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        # Decorators are the module's: `router.post` sends nothing.
        body = ast.Module([*node.body], [])
        if self._function.name:
            self.generic_visit(body)
            return
        name = ".".join((*self._classes, node.name))
        self._function = self.functions.setdefault(name, Function(name))
        self.generic_visit(body)
        self._function = self.functions[""]

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Assign(self, node: ast.Assign) -> None:
        # A table of functions is used as they are.
        target = node.targets[0]
        if isinstance(target, ast.Name) and not self._function.name and not self._classes:
            self._function = self.functions.setdefault(target.id, Function(target.id))
            self.generic_visit(node)
            self._function = self.functions[""]
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in SENDS:
            self._function.sends.append(node.lineno)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._function.names.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._function.names.add(node.attr)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.imports.update(alias.name.partition(".")[0] for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module and not node.level:
            self.imports.add(node.module.partition(".")[0])

    def used_by(self, names: set[str]) -> set[str]:
        """The functions that these use, through however many others of the module."""
        known: set[str] = set()
        todo = [self.functions[name] for name in names if name in self.functions]
        while todo:
            function = todo.pop()
            if function.name in known:
                continue
            known.add(function.name)
            todo += [
                other
                for other in self.functions.values()
                if other.name and other.name.rpartition(".")[2] in function.names
            ]
        return known


def modules() -> Iterator[tuple[str, Reader]]:
    """Open WebUI's modules by name."""
    spec = find_spec("open_webui")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        if {"migrations", "test"} & set(parts):
            continue
        reader = Reader()
        reader.visit(ast.parse(path.read_text()))
        yield ".".join(parts).removesuffix(".__init__"), reader


def uncovered(module: str, reader: Reader) -> Iterator[str]:
    """The places of a module that no target leads to and no list excuses."""
    entries = {target.attribute for target in TARGETS if target.module == module}
    covered = reader.used_by(entries)
    for function in reader.functions.values():
        place = f"{module}.{function.name}".removesuffix(".")
        known = function.name in covered or place in CALLS_A_TARGET
        excused = place.startswith(CALLS_NO_MODEL + CALLED_NO_MODEL)
        if function.sends and not known and not excused:
            yield f"{place} (line {', '.join(map(str, function.sends))})"


def test_every_place_that_sends_is_covered_or_calls_no_model() -> None:
    places = [place for module, reader in modules() for place in uncovered(module, reader)]
    assert not places, (
        f"Open WebUI {'.'.join(map(str, VERSION))} sends requests in places that nobody has looked"
        " at. Cover what calls a model, and name the others in CALLS_NO_MODEL:\n"
        + "\n".join(places)
    )


def test_no_model_is_called_through_a_library() -> None:
    found = {module: reader.imports & SDKS for module, reader in modules()}
    assert {module: sdks for module, sdks in found.items() if sdks} == {}


def test_a_place_without_its_entry_is_named() -> None:
    reader = dict(modules())["open_webui.routers.openai"]
    assert not list(uncovered("open_webui.routers.openai", reader))
    assert [place for place in uncovered("open_webui.routers.other", reader) if "speech" in place]


@pytest.mark.skipif(VERSION < (0, 12), reason="says what is true of the newest version")
def test_what_is_excused_is_there() -> None:
    sending = [
        f"{module}.{function.name}"
        for module, reader in modules()
        for function in reader.functions.values()
        if function.sends
    ]
    assert [p for p in CALLS_NO_MODEL if not any(place.startswith(p) for place in sending)] == []
