"""Open WebUI's Admin → Analytics and Settings → Usage as a person sees them, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Response

from harness.browser import App

REQUESTS = ("summary", "models", "users", "daily", "tokens")
CHOICE = "select[data-usage-ledger=source]"
PERIOD = 'select:has(option[value="24h"])'
GRAIN = 'select:has(option[value="daily"]):not(:has(option[value="7d"]))'


@dataclass(frozen=True)
class Shown:
    """What the page shows."""

    totals: dict[str, int]
    """By the page's own words for them."""
    bars: list[dict[str, int]]
    """Of each bar of the chart, by model."""
    models: dict[str, list[str]]
    """The row of each model, in the page's order."""


class Analytics:
    """The page, opened in the app of an admin."""

    def __init__(self, app: App, base_url: str) -> None:
        self.page = app.page
        self._base_url = base_url
        self.asked: dict[str, dict[str, str]] = {}
        """The parameters of the last request of each kind."""
        self.page.on("response", self._note)

    def _note(self, response: Response) -> None:
        address = urlsplit(response.url)
        if address.path.startswith("/api/v1/analytics/"):
            given = {name: values[-1] for name, values in parse_qs(address.query).items()}
            self.asked[address.path.rsplit("/", 1)[1]] = given

    def open(self) -> None:
        """Open the page, and wait until it is drawn."""
        self.after(lambda: self.page.goto(f"{self._base_url}/admin/analytics"))

    def after(self, action: Callable[[], Any]) -> None:
        """Do something, and wait until the page has asked anew for everything and drawn it."""
        self.asked = {}
        action()
        for _ in range(400):
            if set(self.asked) >= set(REQUESTS):
                break
            self.page.wait_for_timeout(50)
        assert set(self.asked) >= set(REQUESTS), self.asked
        self.page.wait_for_selector("table")
        self.page.wait_for_timeout(400)

    def choose(self, select: str, value: str) -> None:
        """Choose another value."""
        if self.page.locator(select).first.input_value() != value:
            self.after(lambda: self.page.locator(select).first.select_option(value))

    def choose_group(self, name: str) -> None:
        """Choose a group by its name."""
        select = self.page.locator('select[aria-label="User group"]')
        self.after(lambda: select.select_option(label=name))

    def press(self, name: str) -> None:
        """Press a button that only changes what is drawn."""
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.page.wait_for_timeout(300)

    @property
    def choice(self) -> str | None:
        """What is chosen of Both, UI and API: empty for Both, ``None`` where there is no choice."""
        found = self.page.locator(CHOICE)
        return found.input_value() if found.count() else None

    def shown(self) -> Shown:
        """Read the page."""
        return Shown(
            {
                name: int(value.replace(",", "").replace(".", ""))
                for name, value in self.page.evaluate(TOTALS).items()
            },
            [bar_of(label) for label in self.page.evaluate(BARS)],
            {row[1]: row for row in self.rows()},
        )

    def rows(self) -> list[list[str]]:
        """The cells of the table, of models or users."""
        found: list[list[str]] = self.page.evaluate(ROWS)
        return found

    def text(self) -> str:
        """The last words of the page."""
        return str(self.page.evaluate(LAST_WORDS))


TOTALS = """() => Object.fromEntries([...document.querySelectorAll('dl > div')].map(
    pair => [pair.children[0].textContent, pair.children[1].title]))"""
BARS = """() => [...document.querySelectorAll('[data-point]')].map(
    bar => bar.getAttribute('aria-label'))"""
ROWS = """() => [...document.querySelectorAll('tbody tr')].map(
    row => [...row.children].map(cell => cell.textContent.trim()))"""
LAST_WORDS = f"""() => {{
    const page = document.querySelector('{PERIOD}').parentElement.parentElement.parentElement;
    return page.lastElementChild.textContent.trim(); }}"""


def bar_of(label: str) -> dict[str, int]:
    """Read what a bar says of itself: ``Nov 20, 16:00: 5 Tokens. a: 2, b: 3``."""
    found = re.findall(r"([\w./-]+): ([\d,]+)(?=,? |$)", label.partition(". ")[2])
    return {model: int(amount.replace(",", "")) for model, amount in found}
