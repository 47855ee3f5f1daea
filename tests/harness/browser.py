"""The browser app that Open WebUI ships, driven in headless Chromium.

with Browser() as browser, browser.sign_in(server.base_url, token) as app:
    app.new_chat(["gpt-std"])
    app.send("hello")
    app.wait_for_answer()
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from typing import Self
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import BrowserContext, Page, Playwright, Route, sync_playwright

from harness.running import Running

NAMES = ("chromium", "chromium-browser", "google-chrome")
INPUT = "#chat-input"
ANSWER = "#response-content-container"
# Shown as long as anything of the answers is still to come.
STOP = 'button[aria-label="Stop"]'
TIMEOUT = 30.0


def find_chromium() -> str | None:
    """Where the browser is, if there is one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser(Running):
    """One headless Chromium."""

    def __init__(self) -> None:
        self._playwright: Playwright = sync_playwright().start()
        options = ["--disable-gpu", "--disable-dev-shm-usage"]
        # Chromium refuses its sandbox to root, which test machines often are.
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        self._chromium = self._playwright.chromium.launch(
            executable_path=find_chromium(), args=options
        )

    def start(self) -> Self:
        """It runs already."""
        return self

    def close(self) -> None:
        """Close all pages, and end it."""
        self._chromium.close()
        self._playwright.stop()

    def tab(self, base_url: str) -> Page:
        """An empty page that reaches the host of an address and no other."""
        return self._context(base_url).new_page()

    def sign_in(self, base_url: str, token: str) -> App:
        """Open the app as the user of a session token, apart from all other users."""
        context = self._context(base_url)
        context.add_init_script(f"localStorage.setItem('token', {json.dumps(token)})")
        return App(context, base_url)

    def _context(self, base_url: str) -> BrowserContext:
        context = self._chromium.new_context(viewport={"width": 1280, "height": 900})
        context.route(lambda url: urlsplit(url).hostname != urlsplit(base_url).hostname, forbid)
        return context


def forbid(route: Route) -> None:
    """Apps ask foreign hosts for pictures; tests stay on loopback."""
    route.abort()


class App(Running):
    """The app of one user, in one page."""

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(TIMEOUT * 1000)
        self._context = context
        self._base_url = base_url

    def start(self) -> Self:
        """It is there already."""
        return self

    def close(self) -> None:
        """Close the page, and forget who was signed in."""
        self._context.close()

    def new_chat(self, models: Sequence[str] = (), *, temporary: bool = False) -> None:
        """Open an empty chat with these models."""
        query = {"models": ",".join(models)} if models else {}
        if temporary:
            query["temporary-chat"] = "true"
        self.page.goto(f"{self._base_url}/?{urlencode(query)}")
        self.page.wait_for_selector(INPUT)
        self._close_news()

    def send(self, text: str) -> None:
        """Type a message and press Enter."""
        self.page.click(INPUT)
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def wait_for_answer(self, answers: int = 1) -> None:
        """Wait until so many answers are there and nothing more of them is to come."""
        self.page.wait_for_function(
            "([answer, stop, count]) => document.querySelectorAll(answer).length >= count"
            " && !document.querySelector(stop)",
            arg=[ANSWER, STOP, answers],
        )

    def stop(self) -> None:
        """Press the stop button."""
        self.page.click(STOP)

    @property
    def chat_id(self) -> str | None:
        """The saved chat that the page shows."""
        found = re.search(r"/c/([\w-]+)", self.page.url)
        return found.group(1) if found else None

    def _close_news(self) -> None:
        """What is new in this version is told in a dialogue, above everything else."""
        button = self.page.get_by_role("button", name="Okay, Let's Go!")
        if button.count():
            button.first.click()
