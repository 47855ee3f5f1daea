"""The script of ours on pages that are not as Open WebUI's are today."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route

from harness.analytics import CHOICE
from harness.browser import Browser, find_chromium
from opentelemetry.instrumentation.open_webui.screens import loader

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium, and no right to install it"
)

ADDRESS = "http://127.0.0.1:9"
FOOTER = "Message counts are based on assistant responses."
PERIOD = """<select id=period><option value=24h>24 h<option value=7d>7 d
<option value=all>All</select>"""
GRAIN = "<select id=grain><option value=hourly>h<option value=daily>d</select>"
PAGE = """<!doctype html><html lang=en><head><script src=/static/loader.js defer></script></head>
<body><main><div><h2>Analytics</h2><div>{selects}</div></div><div>{grain}<table></table></div>
<div>{footer}</div></main><script src=/app.js defer></script></body></html>"""
# As the page does: whatever changes, it asks once for everything; a period brings its own grain.
APP = """
let waiting = false;
const load = () => { if (waiting) return; waiting = true; queueMicrotask(() => { waiting = false;
  for (const name of ["summary", "models", "users", "daily", "tokens"])
    fetch(`/api/v1/analytics/${name}?granularity=${document.querySelector('#grain')?.value}`); }); };
document.querySelector('#period')?.addEventListener('change', () => {
  document.querySelector('#grain').value = 'hourly'; load(); });
for (const name of ['#grain', '#group'])
  document.querySelector(name)?.addEventListener('change', load);
load();
"""


class Site:
    """A page, and what it asks for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.html = ""
        self.ledger: dict[str, str] = {"X-Usage-Ledger": "true"}
        self.asked: list[str] = []
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.route("**/*", self._answer)

    def _answer(self, route: Route) -> None:
        path = urlsplit(route.request.url).path
        if path.startswith("/api/"):
            self.asked.append(route.request.url.removeprefix(ADDRESS))
            route.fulfill(json={}, headers=self.ledger)
            return
        body: dict[str, Any] = {
            "/": {"body": self.html, "content_type": "text/html"},
            loader.PATH: {"body": loader.script(), "content_type": "text/javascript"},
            "/app.js": {"body": APP, "content_type": "text/javascript"},
        }
        strict = {"Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src *"}
        route.fulfill(**body.get(path, {"status": 404}), headers=strict)

    def open(self, selects: str = PERIOD, grain: str = GRAIN, footer: str = FOOTER) -> None:
        self.html = PAGE.format(selects=selects, grain=grain, footer=footer)
        self.again()

    def again(self) -> None:
        self.page.goto(ADDRESS)
        self.settle()

    def settle(self, milliseconds: int = 400) -> None:
        self.page.wait_for_timeout(milliseconds)
        assert self.errors == []

    def choose(self, source: str) -> list[str]:
        """Choose a source; return what was asked for then."""
        before = len(self.asked)
        self.page.select_option(CHOICE, source)
        self.settle()
        return self.asked[before:]

    @property
    def text(self) -> str:
        return self.page.locator("main > div").last.inner_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def site(browser: Browser) -> Iterator[Site]:
    with browser.tab(ADDRESS) as tab:
        yield Site(tab)


def test_the_choice_is_there_and_asks_for_all_five(site: Site) -> None:
    site.open(f"<select id=group><option value=''>All<option value=g>G</select>{PERIOD}")
    assert [url for url in site.asked if "source" in url] == []
    asked = site.choose("api")
    assert len(asked) == 5
    assert all(url.endswith("source=api") for url in asked)
    assert site.page.input_value("#group") == ""
    assert site.text.startswith("Messages are answers")
    assert all("source" not in url for url in site.choose(""))


def test_without_groups_it_asks_by_the_period_and_keeps_the_grain(site: Site) -> None:
    site.open()
    site.page.select_option("#grain", "daily")
    site.settle()
    asked = site.choose("ui")
    assert all("source=ui" in url for url in asked)
    assert {url for url in asked[-5:] if "granularity=daily" not in url} == set()
    assert (site.page.input_value("#period"), site.page.input_value("#grain")) == ("24h", "daily")


def test_where_nothing_makes_the_page_ask_it_is_loaded_again(site: Site) -> None:
    site.open()
    site.page.evaluate("document.querySelector('#period').replaceWith("
                       "document.querySelector('#period').cloneNode(true))")  # fmt: skip
    site.settle()
    site.choose("api")
    site.settle(1500)
    assert all("source=api" in url for url in site.asked[-5:])
    assert site.page.input_value(CHOICE) == "api"


@pytest.mark.parametrize(
    "selects",
    ["", "<select><option value=24h>24 h</select>", "<select><option value=all>All</select>"],
)
def test_on_another_page_nothing_happens(site: Site, selects: str) -> None:
    site.open(selects)
    assert len(site.asked) == 5
    assert site.page.locator(CHOICE).count() == 0
    assert site.text == FOOTER


def test_only_the_pages_own_sentence_is_changed(site: Site) -> None:
    site.open(footer="<b>Something else</b>")
    assert site.page.locator(CHOICE).count() == 1
    assert site.text == "Something else"


def test_what_the_number_of_tokens_says_of_itself_is_changed(site: Site) -> None:
    site.open(grain=f"{GRAIN}<div><span class=cursor-help>5 tokens</span></div>")
    site.page.evaluate("""document.querySelector('.cursor-help').parentElement._tippy = {
        props: {content: 'estimates'}, setContent(text) { this.props.content = text; }}""")
    site.choose("api")
    told = "document.querySelector('.cursor-help').parentElement._tippy.props.content"
    assert site.page.evaluate(told).startswith("Messages are answers")


def test_answers_that_are_not_of_the_ledger_are_told(site: Site) -> None:
    site.ledger = {}
    site.open()
    assert site.page.locator(CHOICE).is_disabled()
    assert site.text.startswith("The usage ledger cannot be read")
    site.ledger = {"X-Usage-Ledger": "true"}
    site.page.select_option("#period", "7d")
    site.settle()
    assert site.page.locator(CHOICE).is_enabled()
    assert site.text.startswith("Messages are answers")


def test_other_requests_are_left_alone(site: Site) -> None:
    site.open()
    site.choose("api")
    site.asked.clear()
    for asked in (
        "'/api/v1/analytics/models/a/chats?x=1'",
        "'/api/v1/chats/'",
        "new URL('/api/v1/users/', location)",
        "new Request('/api/v1/models')",
        "'/api/v1/analytics/users?source=ui'",
    ):
        site.page.evaluate(f"fetch({asked}).then(answer => answer.status)")
    site.settle()
    assert [url for url in site.asked if "source=api" in url] == []
    site.page.evaluate("fetch(new URL('/api/v1/analytics/users', location))")
    site.settle()
    assert site.asked[-1] == "/api/v1/analytics/users?source=api"


def test_a_choice_that_there_is_not_is_none(site: Site) -> None:
    site.open()
    for kept in ("background", "<b>", json.dumps({"a": 1})):
        site.page.evaluate("kept => localStorage.setItem('analyticsSource', kept)", kept)
        site.again()
        assert site.page.input_value(CHOICE) == ""
        assert "source" not in site.asked[-1]
