"""The usage page as a person sees it, in a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page

AXE = "axe-core@4.11.0"
SERIOUS = ("serious", "critical")


class UsagePage:
    """The page, in one tab."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self._base_url = base_url
        self.complaints: list[str] = []
        """What the browser says that is wrong with it."""
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: self.complaints.append(message.text)
            if message.type in ("error", "warning")
            else None,
        )

    def open(self, view: str = "", **place: str) -> None:
        """Open a view by its address."""
        query = urlencode({**({"view": view} if view else {}), **place})
        self.page.goto(f"{self._base_url}/usage?{query}")
        self.settle()

    def settle(self) -> None:
        """Wait until all is drawn that was asked for."""
        self.page.wait_for_load_state()
        self.wait(
            "document.querySelector('nav') && document.querySelector('#content').children.length"
            " && !document.querySelector('#status').textContent"
        )

    def wait(self, condition: str, seconds: float = 20.0) -> None:
        """Wait until something is true. The page forbids what Playwright would do for it."""
        deadline = time.monotonic() + seconds
        while not self.page.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < deadline, (condition, self.page.inner_text("body"))
            self.page.wait_for_timeout(50)

    def after(self, action: Callable[[], Any]) -> None:
        """Do something, and wait until the page shows what it brought."""
        action()
        self.settle()

    def view(self, name: str) -> None:
        """Choose a view by its name."""
        self.after(lambda: self.page.locator("nav").get_by_text(name, exact=True).click())

    def source(self, source: str) -> None:
        """Choose where calls are from."""
        self.after(lambda: self.page.locator(f'label:has(input[value="{source}"])').click())

    @property
    def views(self) -> list[str]:
        """The names of the views that there are."""
        return self.page.locator("nav a").all_text_contents()

    def tile(self, name: str) -> str:
        """What a tile shows."""
        return self.page.locator(f'[data-tile="{name}"] .number').inner_text()

    def number(self, name: str) -> int:
        """The same as a number, without the mark of an estimate."""
        return int(self.tile(name).removeprefix("≈").strip().replace(",", ""))

    def rows(self, caption: str) -> list[list[str]]:
        """The cells of a table."""
        found: list[list[str]] = self.page.evaluate(ROWS, caption)
        return found

    def calls(self) -> list[list[str]]:
        """The cells of all calls, older pages included: one may be short, where calls are rare."""
        found, older = self.rows("Calls"), self.page.locator('[data-key="older"]')
        while older.is_enabled():
            self.after(older.click)
            found += self.rows("Calls")
        return found

    def wrong_for_who_cannot_see(self) -> list[str]:
        """What axe-core finds that is serious."""
        self.page.evaluate(axe())
        found = self.page.evaluate("axe.run()")
        return [
            f"{one['id']}: {node['target']}"
            for one in found["violations"]
            if one["impact"] in SERIOUS
            for node in one["nodes"]
        ]

    @property
    def overflows(self) -> bool:
        """Whether anything is wider than the window."""
        wide: bool = self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        return wide


ROWS = """caption => {
    const table = [...document.querySelectorAll('table')].find(
        table => table.caption.textContent === caption);
    return [...(table?.tBodies[0].rows || [])].map(
        row => [...row.cells].map(cell => cell.innerText.trim())); }"""


def axe() -> str:
    """The script of axe-core, fetched once with npm. Skips where it cannot be had."""
    place = Path(tempfile.gettempdir()) / f"{AXE.replace('@', '-')}.js"
    if not place.exists():
        place.write_text(fetched())
    return place.read_text()


def fetched() -> str:
    """Fetch it."""
    if not shutil.which("npm"):
        pytest.skip("axe-core is fetched with npm, and there is none")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["npm", "pack", AXE, "--json", "--loglevel=error"],
            cwd=folder, text=True, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"axe-core cannot be fetched: {done.stderr.strip()[-500:]}")
        package = Path(folder) / json.loads(done.stdout)[0]["filename"]
        with tarfile.open(package) as archive:
            script = archive.extractfile("package/axe.min.js")
            assert script is not None
            return script.read().decode()
