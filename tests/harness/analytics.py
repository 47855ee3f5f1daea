"""Open WebUI's Admin → Analytics and Settings → Usage as a person sees them, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Response

from harness.browser import App
from harness.openwebui import VERSION

REQUESTS = ("summary", "models", "users", "daily", "tokens")
CHOICE = "select[data-usage-ledger=source]"
PERIOD = 'select:has(option[value="24h"])'
GRAIN = 'select:has(option[value="daily"]):not(:has(option[value="7d"]))'
GROUP = 'select:has(option:text-is("All Users"))'

Row = dict[str, str]
"""A row of a table, by the words above its columns."""


@dataclass(frozen=True)
class Shown:
    """What the page shows."""

    totals: Row
    """By the page's own words for them."""
    bars: list[dict[str, int]]
    """Of each bar of the chart, by model."""
    models: dict[str, Row]
    """The row of each model, in the page's order."""


class Analytics:
    """The page, opened in the app of an admin."""

    has_input = True
    """Whether it shows what went into models and what came out of them, each by itself."""
    has_users = VERSION >= (0, 10)
    """Whether it shows how many users each model has."""
    tokens = "Total"
    """Above the column of all tokens."""

    def __init__(self, app: App, base_url: str) -> None:
        self.page = app.page
        self._base_url = base_url
        self.asked: dict[str, dict[str, str]] = {}
        """The parameters of the last request of each kind."""
        self.answers: dict[str, Response] = {}
        self.page.on("response", self._note)

    def _note(self, response: Response) -> None:
        address = urlsplit(response.url)
        if address.path.startswith("/api/v1/analytics/"):
            name = address.path.rsplit("/", 1)[1]
            given = {name: values[-1] for name, values in parse_qs(address.query).items()}
            self.asked[name], self.answers[name] = given, response

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
        self.page.wait_for_timeout(300)

    def choose(self, select: str, value: str) -> None:
        """Choose another value."""
        if self.page.locator(select).first.input_value() != value:
            self.after(lambda: self.page.locator(select).first.select_option(value))

    def choose_group(self, name: str) -> None:
        """Choose a group by its name."""
        self.after(lambda: self.page.locator(GROUP).first.select_option(label=name))

    def choose_days(self, first: date, last: date) -> None:
        """Choose a period by its first and last day; the page asks when it has both."""
        self.page.locator(PERIOD).first.select_option("custom")
        days = self.page.locator("input[type=date]")
        days.first.fill(first.isoformat())
        self.after(lambda: days.last.fill(last.isoformat()))

    def press(self, name: str) -> None:
        """Press a button that only changes what is drawn."""
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.page.wait_for_timeout(300)

    def sort(self, of: str, column: str) -> list[Row]:
        """Press what is above a column of the table of models or users, and return the rows."""
        above = self.page.locator("th")
        table = self.page.locator("table", has=above.filter(has_text=_exactly(of))).first
        table.locator(above).filter(has_text=_exactly(column)).first.click()
        self.page.wait_for_timeout(100)
        return self.rows(of)

    @property
    def choice(self) -> str | None:
        """What is chosen of Both, UI and API: empty for Both, ``None`` where there is no choice."""
        found = self.page.locator(CHOICE)
        return found.input_value() if found.count() else None

    def shown(self) -> Shown:
        """Read the page."""
        return Shown(self._totals(), self._bars(), {row["Model"]: row for row in self.rows()})

    def _totals(self) -> Row:
        found: Row = self.page.evaluate(TOTALS)
        return found

    def _bars(self) -> list[dict[str, int]]:
        return [bar_of(label) for label in self.page.evaluate(BARS)]

    def written(self, total: str, number: int) -> str:
        """A number as it stands among the totals."""
        return f"{number:,}"

    def rows(self, of: str = "Model") -> list[Row]:
        """The table of models, or that of users."""
        found: list[Row] = self.page.evaluate(ROWS, of)
        return found

    def users(self) -> list[Row]:
        """The table of users."""
        self.press("Users")
        found = self.rows("User")
        self.press("Models")
        return found

    def text(self) -> str:
        """The last words of the page."""
        return str(self.page.evaluate(LAST_WORDS))


class OlderAnalytics(Analytics):
    """The page before 0.12: always of messages, by day or of one day by hour, compared with nothing.

    Its chart is lines without numbers: what it draws is what it was told, as many points of each
    model as days.
    """

    has_input = False
    tokens = "Tokens"

    def _totals(self) -> Row:
        words = [pair.rsplit(" ", 1) for pair in self.page.evaluate(OLDER_TOTALS)]
        return {name.capitalize(): number.lower() for number, name in words}

    def _bars(self) -> list[dict[str, int]]:
        bars: list[dict[str, int]] = [day["models"] for day in self.answers["daily"].json()["data"]]
        lines = len({model for bar in bars for model in bar}) if len(bars) > 1 else 0
        assert self.page.evaluate(LINES) == [len(bars)] * min(lines, 8)
        return bars

    def written(self, total: str, number: int) -> str:
        """A number as it stands among the totals."""
        return compact(number) if total == "Tokens" else f"{number:,}"

    def rows(self, of: str = "Model") -> list[Row]:
        """The table of models, or that of users; before 0.11 it shortens to ``1K``, not ``1k``."""
        return [{**row, "Tokens": row["Tokens"].lower()} for row in super().rows(of)]

    def users(self) -> list[Row]:
        """The table of users, which stands beside that of models."""
        return self.rows("User")


def compact(number: int) -> str:
    """A number as Open WebUI shortens it."""
    for unit, size in (("m", 1_000_000), ("k", 1_000)):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return str(number)


TOTALS = """() => Object.fromEntries([...document.querySelectorAll('dl > div')].map(
    pair => [pair.children[0].textContent, pair.children[1].title]))"""
OLDER_TOTALS = f"""() => [...document.querySelector('{PERIOD}').parentElement.parentElement
    .nextElementSibling.querySelectorAll(':scope > * ')].map(pair => pair.textContent.trim())"""
BARS = """() => [...document.querySelectorAll('[data-point]')].map(
    bar => bar.getAttribute('aria-label'))"""
LINES = """() => [...document.querySelectorAll('svg[preserveAspectRatio=none] path')].map(
    path => path.getAttribute('d')).filter(d => d && !/[CZ]/i.test(d)).map(
    d => d.split('L').length)"""
ROWS = """of => [...document.querySelectorAll('table')].flatMap(table => {
    const words = [...table.querySelectorAll('th')].map(cell => cell.textContent.trim());
    return words[1] !== of ? [] : [...table.querySelectorAll('tbody tr')].filter(
        row => row.children.length === words.length).map(row => Object.fromEntries(
        words.map((word, at) => [word, row.children[at].textContent.trim()]))); })"""
LAST_WORDS = f"""() => {{
    const page = document.querySelector('{PERIOD}').parentElement.parentElement.parentElement;
    return page.lastElementChild.textContent.trim(); }}"""


def _exactly(text: str) -> re.Pattern[str]:
    return re.compile(rf"^\s*{re.escape(text)}\s*$")


def bar_of(label: str) -> dict[str, int]:
    """Read what a bar says of itself: ``Nov 20, 16:00: 5 Tokens. a: 2, b: 3``."""
    found = re.findall(r"(\S.*?): ([\d,]*\d)(?:, |$)", label.partition(". ")[2])
    return {model: int(amount.replace(",", "")) for model, amount in found}
