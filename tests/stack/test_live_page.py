"""The page of `make stack`: a real browser sees on it what the provider served, and can click through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from harness.browser import Browser, find_chromium
from harness.programs import LivePage, Unavailable
from harness.provider import ServedCall
from stack.conftest import Stack
from stack.reports import in_prometheus, wait_for

TIMEOUT = 30_000
PAGES = ("usage", "users", "user", "groups", "models", "health")
RANGE = "from=now-15m&to=now"
DRAWN = "() => window.__found?.waiting.length === 0"
CALLS = [("alice", "gpt-std"), ("alice", "gpt-mini"), ("bob", "gpt-std"), ("carol", "gpt-429")]


@dataclass
class Live:
    """The page, the browser's tab that shows it, and what was called."""

    stack: Stack
    url: str
    tab: Page
    calls: list[ServedCall]

    def open(self, path: str) -> None:
        """Go to an address and wait until all of it is drawn."""
        self.tab.goto(f"{self.url}{path}")
        self.drawn()

    def drawn(self) -> None:
        self.tab.wait_for_function(DRAWN)
        found = self.tab.evaluate("window.__found")
        assert found["errors"] == []

    def panel(self, title: str) -> Locator:
        """A panel by its title."""
        return self.tab.locator(f'section[aria-label*="{title}"], [data-testid*="{title}"]').first

    def query(self) -> dict[str, list[str]]:
        """The parameters of the address."""
        return parse_qs(urlsplit(self.tab.url).query)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[LivePage]:
    try:
        LivePage.prepare()
    except Unavailable as reason:
        pytest.skip(f"the page cannot be built here: {reason}")
    directory = tmp_path_factory.mktemp("page")
    with LivePage(directory, stack.prometheus.url, stack.jaeger.url, interval=1) as running:
        yield running


@pytest.fixture(scope="module")
def live(stack: Stack, page: LivePage) -> Iterator[Live]:
    if find_chromium() is None:
        pytest.skip("there is no Chromium to look with")
    for number, (user, model) in enumerate(CALLS):
        stack.server.chat(user, model, f"case=api-{number} tell me")
    stack.provider.wait_idle(2)
    served = stack.provider.snapshot()
    expression = f"sum(increase({in_prometheus('open_webui.usage.requests')}[1h] anchored))"
    wait_for(lambda: [v for _, v in stack.prometheus.query(expression)] == [len(served)])
    with Browser() as browser:
        tab = browser.tab(page.url)
        tab.set_default_timeout(TIMEOUT)
        yield Live(stack, page.url, tab, served)


def test_it_shows_what_the_provider_served(live: Live) -> None:
    live.open("/")
    assert "/d/open-webui-usage?" in live.tab.url
    tokens = sum(call.input_tokens or 0 for call in live.calls)
    for title, number in (
        ("Requests", len(live.calls)),
        ("Tokens in", tokens),
        ("Active users", 3),
    ):
        expect(live.panel(title)).to_contain_text(f"{number:,}")


@pytest.mark.parametrize("name", PAGES)
def test_every_dashboard_is_drawn(live: Live, name: str) -> None:
    live.open(f"/d/open-webui-{name}?{RANGE}")
    assert live.tab.title().startswith("Open WebUI: ")


def test_one_clicks_from_the_leaderboard_to_a_user_and_to_a_trace(live: Live) -> None:
    live.open(f"/d/open-webui-usage?{RANGE}")
    live.tab.get_by_role("link", name="Users", exact=True).click()
    live.tab.wait_for_url("**/d/open-webui-users?**")
    assert live.query()["from"] == ["now-15m"]
    alice = live.stack.server.world.user("alice")
    live.tab.get_by_role("link", name=alice.name).first.click()
    live.tab.wait_for_url("**/d/open-webui-user?**")
    live.drawn()
    assert live.query()["var-user"] == [alice.id]
    calls = [call for call in live.calls if call.user_id == alice.id]
    expect(live.panel("Requests")).to_contain_text(str(len(calls)))
    trace = live.tab.locator('a[href^="/trace/"]').first
    trace.click()
    live.tab.wait_for_url("**/trace/*")
    expect(live.tab.locator("#trace")).to_contain_text(re.compile("gpt-(std|mini)"))


def test_dropdowns_and_time_range_choose(live: Live) -> None:
    live.open(f"/d/open-webui-usage?{RANGE}")
    live.tab.get_by_label("Model", exact=True).click()
    live.tab.get_by_role("option", name="gpt-mini").click()
    live.tab.wait_for_url("**var-model=gpt-mini**")
    live.drawn()
    expect(live.panel("Requests")).to_contain_text("1")
    live.tab.get_by_test_id("data-testid TimePicker Open Button").click()
    live.tab.get_by_text("Last 5 minutes", exact=True).click()
    live.tab.wait_for_url("**from=now-5m**")
    assert live.query()["var-model"] == ["gpt-mini"]


def test_it_asks_anew_by_itself(live: Live) -> None:
    live.open(f"/d/open-webui-usage?{RANGE}&refresh=1s")
    before = len(live.calls)
    expect(live.panel("Requests")).to_contain_text(str(before))
    live.stack.server.chat("bob", "gpt-std", "case=api-more tell me")
    expect(live.panel("Requests")).to_contain_text(str(before + 1), timeout=TIMEOUT)


OWN = {"sec-fetch-site": "same-origin"}
QUERY = "/prometheus/api/v1/query?query=1"
REFUSED = {
    "another origin": (QUERY, {"origin": "http://evil.example"}, 403),
    "another port of this machine": (QUERY, {"origin": "http://127.0.0.1:1"}, 403),
    "a picture on another site": (QUERY, {"sec-fetch-site": "cross-site"}, 403),
    "a page on another port": (QUERY, {"sec-fetch-site": "same-site"}, 403),
    "a name that leads here": (QUERY, {"host": "evil.example"}, 403),
    "what changes or ends Prometheus": ("/prometheus/-/quit", OWN, 404),
    "its configuration": ("/prometheus/api/v1/status/config", OWN, 404),
    "a way around": ("/prometheus/api/v1/query/../status/config", OWN, 404),
    "a hidden way around": ("/prometheus/api/v1/query%2f..%2fstatus%2fconfig", OWN, 404),
    "other paths of Jaeger": ("/jaeger/api/services", OWN, 404),
    "files beside its own": ("/..%2fpackage.json", OWN, 404),
    "files above": ("/../../../../etc/passwd", OWN, 404),
    "no dashboard": ("/dashboards/..%2f..%2fpyproject.toml", OWN, 404),
}


@pytest.mark.parametrize(("path", "headers", "status"), REFUSED.values(), ids=REFUSED)
def test_it_refuses(page: LivePage, path: str, headers: dict[str, str], status: int) -> None:
    # As typed: a client would tidy the path.
    url = httpx.URL(page.url).copy_with(raw_path=path.encode())
    answer = httpx.get(url, headers=headers, trust_env=False)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"]


def test_it_only_reads(page: LivePage) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        assert httpx.request(method, f"{page.url}{QUERY}", trust_env=False).status_code == 405
    assert httpx.post(f"{page.url}/", trust_env=False).status_code == 405
    own = httpx.post(
        f"{page.url}/prometheus/api/v1/query",
        data={"query": "1"},
        headers={"origin": page.url, **OWN},
        trust_env=False,
    )
    assert own.json()["status"] == "success"
