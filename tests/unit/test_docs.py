"""The documents as their readers use them: links lead somewhere, and commands are there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from opentelemetry.instrumentation.open_webui.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/**/*.md")])
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))


def tokens(path: Path) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text()):
        yield token
        yield from token.children or ()


def links(path: Path) -> Iterator[str]:
    """Where its relative links and pictures lead."""
    for token in tokens(path):
        target = token.attrs.get("href") or token.attrs.get("src")
        if target is not None and not re.match(r"[a-z]+:", str(target)):
            yield str(target)


def anchors(path: Path) -> set[str]:
    """The headings of a document, as addresses name them; one that stands again has a number."""
    everything = list(tokens(path))
    seen: Counter[str] = Counter()
    found = set()
    for opening, heading in pairwise(everything):
        if opening.type == "heading_open":
            name = re.sub(r"[^\w\- ]", "", heading.content.lower()).replace(" ", "-")
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    broken = []
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", path.read_text(), re.M))
    assert named <= TARGETS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_piece_of_yaml_is_yaml(path: Path) -> None:
    for token in tokens(path):
        if token.type == "fence" and token.info == "yaml":
            assert list(yaml.safe_load_all(token.content)), token.content


def test_every_setting_is_told_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    table = dict(re.findall(r"^\| `(\w+)` \|\s*(.*?)\s*\|", page, re.M))
    ours = {item.name.upper(): in_words(item.default) for item in fields(Settings)}
    assert table.items() <= ours.items()
    assert [name for name in ours if name not in page] == []


def in_words(default: object) -> str:
    text = str(default).lower() if isinstance(default, bool) else str(default).removesuffix(".0")
    return f"`{text}`" if text else ""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_installed_from_an_index_that_has_it_not(path: Path) -> None:
    """To be taken out with the first release, as CONTRIBUTING.md says."""
    by_name = r"(?:\binstall|\binject|--with)\b.* '?opentelemetry-instrumentation-open-webui(?!/)"
    assert re.findall(by_name, path.read_text()) == []
