"""The usage page and its API on a real server, in a real browser, against the provider's log."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from e2e.servers import PREFIX, instrumented
from harness.browser import Browser, find_chromium
from harness.foreign import ForeignSite, change_by, read_by
from harness.openwebui import VERSION, OpenWebUI, serves
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import PASSWORD
from harness.usage import UsagePage
from harness.world import User
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from unit.ledger.books import booking

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium, and no right to install it"
)

API = "/api/v1/usage"
DAY = 86_400
YEAR = {"period": "365d"}
EVIL = "<img src=x onerror=\"window.evil='yes'\">"
FORMULA = "=HYPERLINK(1)"
OF_ALL = ("summary", "users", "groups", "models", "calls", "chargeback")
# What opens the user menu.
AVATAR = (
    '[alt="Open User Profile Menu"]'
    if (0, 8) <= VERSION < (0, 9)
    else "#sidebar button img, nav button img"
)
VIEWS = ("mine", "history", "leaderboard", "all", "users", "groups", "models", "calls", "chargeback", "limits")  # fmt: skip


@dataclass(frozen=True)
class Used:
    """One call, as it is true."""

    user: str
    source: str
    model: str
    input: int
    output: int
    cost: int | None
    failed: bool = False


@dataclass
class Place:
    """A server, and all calls that its ledger has."""

    server: OpenWebUI
    provider: Provider
    past: list[Used]
    calls: list[Used] = field(default_factory=list)

    def note(self) -> None:
        """Note what the provider has served until now."""
        self.provider.wait_idle(1)
        self.calls = [*self.past, *map(self._served, self.provider.snapshot())]

    def _served(self, call: Any) -> Used:
        source = "ui" if call.case.startswith("ui") else "api"
        tokens = (call.input_tokens or 0, call.output_tokens or 0)
        return Used(call.user_id, source, call.model, *tokens, cost=None)

    def user(self, name: str) -> User:
        return self.server.world.user(name)

    def of(self, name: str | None = None, source: str = "both") -> list[Used]:
        who = None if name is None else self.user(name).id
        return [
            call
            for call in self.calls
            if who in (None, call.user) and source in ("both", call.source)
        ]

    def api(self, path: str, user: str = "admin", auth: str = "api_key") -> Any:
        return self.server.ask("GET", f"{API}/{path}", user=user, auth=auth)


def of_the_past(server: OpenWebUI) -> tuple[list[Used], list[Any]]:
    """Eleven months of calls with prices, some of them failed."""
    rng, now, used, bookings = random.Random(7), time.time(), [], []
    for number in range(400):
        user = server.world.user(("alice", "bob", "carol", "dora")[number % 4])
        failed, cost = rng.random() < 0.1, rng.choice([None, rng.randrange(1, 10**8)])
        one = Used(
            user.id,
            rng.choice(("ui", "api", "background")),
            rng.choice(("gpt-std", "gpt-mini", FORMULA)),
            rng.randrange(10, 3000),
            0 if failed else rng.randrange(5, 900),
            cost,
            failed,
        )
        used.append(one)
        bookings.append(
            booking(
                now - 2 * DAY - rng.random() ** 2 * 300 * DAY,
                user_id=one.user,
                user_name=user.name,
                groups=user.groups,
                source=one.source,
                picked=one.model,
                model=one.model,
                input=one.input,
                output=one.output,
                cost=cost,
                unpriced=cost is None,
                error="429" if failed else None,
            )
        )
    return used, bookings


@pytest.fixture(scope="module")
def place(provider: Provider, receiver: Receiver) -> Iterator[Place]:
    env = {"LEDGER": "true", "LEADERBOARD": "named", "LIMITS": "true"}
    server = instrumented(provider, receiver, {PREFIX + name: env[name] for name in env})
    past, bookings = of_the_past(server)
    database = of_file(server.data_dir / "usage.db")
    store = Store(database, server.world.groups.get)
    store.open()
    store.write(bookings)
    database.disconnect()
    with server:
        found = Place(server, provider, past)
        models = [model for model in ("gpt-std", "llama-std") if serves(model)]
        for number in range(4):
            server.chat("bob", models[number % len(models)], f"case=api-{number}")
        server.chat("alice", "gpt-mini", "case=api-alice")
        # Before 0.9, the browser itself makes the chat of a turn.
        if VERSION >= (0, 9):
            server.turn("carol", "llama-std", "case=ui-turn hello")
        found.note()
        time.sleep(1)
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def sight(place: Place, browser: Browser, request: pytest.FixtureRequest) -> Iterator[UsagePage]:
    """The page of a user, the admin's if none is named."""
    name = getattr(request, "param", "admin")
    with browser.sign_in(place.server.base_url, place.user(name).token) as app:
        yield UsagePage(app.page, place.server.base_url)


def assert_tiles(sight: UsagePage, calls: Iterable[Used]) -> None:
    calls = list(calls)
    assert sight.number("requests") == len(calls)
    assert sight.number("tokens") == sum(call.input + call.output for call in calls)
    assert sight.number("failed") == sum(call.failed for call in calls)
    cost = sight.page.locator('[data-tile="cost"] a').first.get_attribute("title") or "0 USD"
    assert Decimal(cost.removesuffix(" USD")) * 10**9 == sum(call.cost or 0 for call in calls)
    # What no price is known of is said beside it, unless there is nothing of that kind.
    unpriced = sight.page.locator('[data-tile="cost"] .note').all_text_contents()
    missing = priced_at_nothing(calls)
    assert unpriced == ([f"+ {missing:,} without a known price"] if missing else [])


def priced_at_nothing(calls: Iterable[Used]) -> int:
    return sum(call.cost is None and bool(call.input + call.output) for call in calls)


@pytest.mark.parametrize("sight", ["bob", "carol", "dora"], indirect=True)
def test_everybody_sees_their_own_to_the_token(
    place: Place, sight: UsagePage, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["sight"]
    sight.open(**YEAR)
    assert_tiles(sight, place.of(name))
    for source in ("ui", "api", "background", "both"):
        sight.source(source)
        calls = place.of(name, source)
        assert_tiles(sight, calls)
        models = {row[0]: row[1] for row in sight.rows("By model")}
        expected: dict[str, int] = defaultdict(int)
        for call in calls:
            expected[call.model] += 1
        assert models == {model: f"{number:,}" for model, number in expected.items()}
    assert sight.views == ["My usage", "My calls", "Leaderboard"]
    assert sight.complaints == []


@pytest.mark.parametrize("sight", ["bob"], indirect=True)
def test_a_users_page_has_nothing_of_others(place: Place, sight: UsagePage) -> None:
    for view in ("users", "all", "calls", "chargeback", "nothing", "constructor", "toString"):
        sight.open(view, user_id=place.user("alice").id, group="teaching", chart=view, **YEAR)
        assert_tiles(sight, place.of("bob"))
        assert "Users" not in sight.views


def test_admins_see_everybody_and_the_calls_behind_each_number(
    place: Place, sight: UsagePage
) -> None:
    sight.open("all", **YEAR)
    assert_tiles(sight, place.of())
    assert sight.number("active_users") == len({call.user for call in place.of()})
    sight.after(lambda: sight.page.locator('[data-key="split"]').select_option("model"))
    models = {call.model for call in place.of()}
    assert set(sight.page.locator(".legend li").all_text_contents()) == models
    assert sight.page.locator(f".chart .layer-{len(models) - 1}").count() > 0
    sight.view("Users")
    rows = sight.rows("Users")
    shown = {row[0].split("\n")[0]: row for row in rows}
    for name in ("alice", "bob", "carol", "dora"):
        calls, row = place.of(name), shown[place.user(name).name]
        assert row[1] == f"{len(calls):,}"
        assert row[2].removeprefix("≈ ") == f"{sum(call.input for call in calls):,}"
        assert row[5] == str(sum(call.failed for call in calls))
    row = sight.page.locator("tbody tr", has_text=place.user("dora").name)
    sight.after(lambda: row.locator("td").last.locator("a").click())
    failed = [call for call in place.of("dora") if call.failed]
    assert [row[-1] for row in sight.calls()] == ["429"] * len(failed)
    sight.after(lambda: sight.page.get_by_role("button", name="Only User").click())
    assert len(sight.calls()) == sum(call.failed for call in place.of())
    assert sight.complaints == []


def test_users_are_found_sorted_and_narrowed(place: Place, sight: UsagePage) -> None:
    sight.open("users", **YEAR)
    sight.after(lambda: sight.page.get_by_role("button", name="Requests").click())
    numbers = [int(row[1].replace(",", "")) for row in sight.rows("Users")]
    assert numbers == sorted(numbers, reverse=True)
    sight.after(lambda: sight.page.get_by_role("button", name="Requests").click())
    numbers = [int(row[1].replace(",", "")) for row in sight.rows("Users")]
    assert numbers == sorted(numbers)
    field = sight.page.get_by_label("Name or e-mail")
    field.fill("ALICE@")
    sight.after(lambda: field.press("Enter"))
    assert len(sight.rows("Users")) == 1


def test_nobody_is_asked_to_sign_in_and_comes_back(place: Place, browser: Browser) -> None:
    page = browser.tab(place.server.base_url)
    page.goto(f"{place.server.base_url}/usage")
    page.wait_for_url("**/auth?redirect=%2Fusage")
    page.locator('input[type="email"]').fill(place.user("bob").email)
    page.locator('input[type="password"]').fill(PASSWORD)
    page.locator('button[type="submit"]').click()
    page.wait_for_url("**/usage")
    UsagePage(page, place.server.base_url).settle()
    assert page.locator("nav").inner_text().startswith("My usage")
    page.context.close()


@pytest.mark.parametrize("name", ["bob", "admin"])
def test_the_user_menu_leads_to_it(place: Place, browser: Browser, name: str) -> None:
    with browser.sign_in(place.server.base_url, place.user(name).token) as app:
        app.new_chat()
        page = app.page
        link = page.locator('a[data-usage-ledger="page"]')
        for _ in range(2):
            page.locator(AVATAR).last.click()
            link.wait_for()
            assert (link.count(), link.inner_text().strip()) == (1, "Usage")
            page.keyboard.press("Escape")
            link.wait_for(state="detached")
        page.locator(AVATAR).last.click()
        link.click()
        page.wait_for_url("**/usage")
        UsagePage(page, place.server.base_url).settle()
        page.get_by_text("Back to Open WebUI").click()
        page.wait_for_selector("#chat-input")


@pytest.mark.skipif(VERSION < (0, 12), reason="the page looked otherwise before 0.12")
def test_analytics_leads_to_it(place: Place, sight: UsagePage) -> None:
    sight.page.goto(f"{place.server.base_url}/admin/analytics")
    sight.page.locator('a[data-usage-ledger="page"]').click()
    sight.page.wait_for_url("**/usage?view=all")
    sight.settle()
    assert sight.page.locator("nav [aria-current]").inner_text() == "Everybody"


@pytest.mark.parametrize("sight", ["alice"], indirect=True)
def test_a_call_made_elsewhere_shows_up_within_seconds(place: Place, sight: UsagePage) -> None:
    sight.open("history", **YEAR)
    before = sight.rows("Calls")[0]
    place.server.chat("alice", "gpt-mini", "case=api-again")
    place.note()
    sight.wait(f"({ROW_ONE}) !== {before[0]!r}")
    assert sight.rows("Calls")[0][1:3] == ["gpt-mini", "API"]
    sight.view("My usage")
    assert_tiles(sight, place.of("alice"))


ROW_ONE = "document.querySelector('tbody th').innerText.trim()"


@pytest.mark.parametrize("theme", ["light", "dark", "oled-dark", "her"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_for_all_eyes_hands_and_windows(
    place: Place, sight: UsagePage, theme: str, width: int
) -> None:
    sight.page.set_viewport_size({"width": width, "height": 844})
    sight.page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    for view in VIEWS:
        sight.open(view, split="model", **YEAR)
        assert not sight.overflows, view
        assert sight.wrong_for_who_cannot_see() == [], view
    sight.page.get_by_text("New limit").click()
    assert sight.wrong_for_who_cannot_see() == []
    assert not sight.overflows
    assert sight.complaints == []


@pytest.mark.parametrize("sight", ["bob"], indirect=True)
def test_it_is_used_by_keys_alone(place: Place, sight: UsagePage) -> None:
    sight.open(**YEAR)
    press, focused = sight.page.keyboard.press, "document.activeElement"
    press("Tab")
    assert sight.page.evaluate(f"{focused}.textContent") == "Skip to the numbers"
    for _ in range(3):
        press("Tab")
    assert sight.page.evaluate(f"{focused}.textContent") == "My calls"
    sight.after(lambda: press("Enter"))
    assert sight.page.locator("nav [aria-current]").inner_text() == "My calls"
    assert sight.page.evaluate(f"{focused}.id") == "content"
    for _ in range(2):
        press("Tab")
    assert sight.page.evaluate(f"{focused}.value") == "both"
    for source in ("ui", "api"):
        sight.after(lambda: press("ArrowRight"))
        assert sight.page.evaluate(f"{focused}.value") == source
        assert {row[2] for row in sight.rows("Calls")} == {source.upper()}


def test_in_german(place: Place, sight: UsagePage) -> None:
    sight.page.add_init_script("localStorage.setItem('locale', 'de-DE')")
    sight.open("all", **YEAR)
    assert sight.page.evaluate("document.documentElement.lang") == "de-DE"
    assert sight.views[0] == "Meine Nutzung"
    tokens = sum(call.input + call.output for call in place.of())
    assert sight.tile("tokens").removeprefix("≈ ") == f"{tokens:,}".replace(",", ".")
    assert sight.tile("cost").endswith("$")


def test_a_limit_is_tried_made_seen_and_taken_out(
    place: Place, sight: UsagePage, browser: Browser
) -> None:
    page = sight.page
    sight.open("limits")
    page.get_by_text("New limit").click()
    for name, value in {"name": "Much", "amount": "5000000", "per": "month"}.items():
        page.locator(f'[name="{name}"]').fill(value)
    page.locator('[name="measure"]').select_option("tokens")
    page.get_by_text("Whom would it refuse now?").click()
    sight.wait("document.querySelector('[data-preview]').textContent")
    assert page.locator("[data-preview]").inner_text().startswith("It would refuse 0 of ")
    page.locator('[name="amount"]').fill("-5")
    page.get_by_text("Save").click()
    sight.wait("document.querySelector('[data-preview]').textContent.startsWith('amount')")
    page.locator('[name="amount"]').fill("5000000")
    page.get_by_text("Save").click()
    sight.wait("document.querySelector('tbody th')?.innerText === 'Much'")
    assert sight.rows("Limits")[0][1:4] == ["Everyone", "Tokens", "5,000,000"]
    with browser.sign_in(place.server.base_url, place.user("dora").token) as app:
        theirs = UsagePage(app.page, place.server.base_url)
        theirs.open()
        theirs.wait("document.querySelector('[data-limit=Much]')")
        assert "left of 5,000,000" in app.page.locator("[data-limit=Much]").inner_text()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete: Much").click()
    sight.wait("!document.querySelector('tbody th')")
    assert [one for one in sight.complaints if "422" not in one] == []


def test_a_grant_is_made_changed_and_taken_out(
    place: Place, sight: UsagePage, browser: Browser
) -> None:
    page, bob = sight.page, place.user("bob")
    few = {"name": "Few", "user": bob.id, "measure": "requests", "amount": 5, "per": "month"}
    made = place.server.request("POST", f"{API}/limits", user="admin", json=few)
    assert made.status == 201, made.text
    sight.open("limits")
    assert sight.rows("Limits")[0][1] == f"User: {bob.name}"
    page.get_by_text("New grant").click()
    page.locator('[name="limit"]').select_option("Few")
    page.locator('[name="kind"]').select_option("user")
    for name, value in {"whom": bob.email, "more": "much", "until": "2099-01-01"}.items():
        page.locator(f'[name="{name}"]').fill(value)
    page.get_by_text("Save").click()
    sight.wait("document.querySelector('[data-preview]').textContent.startsWith('more')")
    page.locator('[name="more"]').fill("20")
    page.get_by_text("Save").click()
    sight.wait("!document.querySelector('form')")
    assert sight.rows("Grants")[0][:3] == ["Few", f"User: {bob.name}", "20"]
    grants = page.locator("table").last
    grants.get_by_role("button", name="Edit: Few").click()
    assert page.locator('[name="until"]').input_value() == "2099-01-01"
    page.locator('[name="more"]').fill("30")
    page.get_by_text("Save").click()
    sight.wait("!document.querySelector('form')")
    assert sight.rows("Grants")[0][:3] == ["Few", f"User: {bob.name}", "30"]
    with browser.sign_in(place.server.base_url, bob.token) as app:
        theirs = UsagePage(app.page, place.server.base_url)
        theirs.open()
        theirs.wait("document.querySelector('[data-limit=Few]')?.innerText.includes('of 35')")
    page.once("dialog", lambda dialog: dialog.accept())
    grants.get_by_role("button", name="Delete: Few").click()
    sight.wait("document.querySelectorAll('table').length === 1")
    place.server.request("DELETE", f"{API}/limits/{made.json()['number']}", user="admin")
    assert [one for one in sight.complaints if "422" not in one] == []


def test_names_do_nothing(place: Place, sight: UsagePage) -> None:
    user = place.user("dora")
    form = {"name": EVIL, "email": user.email, "role": "user", "profile_image_url": "/user.png"}
    path = f"/api/v1/users/{user.id}/update"
    place.server.ask("POST", path, user="admin", auth="session", json=form)
    for view in VIEWS:
        sight.open(view, **YEAR)
    sight.open("users", **YEAR)
    assert EVIL in sight.page.inner_text("tbody")
    assert sight.page.evaluate("window.evil") is None
    assert sight.page.locator("main img").count() == 0
    assert sight.complaints == []
    with sight.page.expect_download() as started:
        sight.page.get_by_text("Download CSV").click()
    text = started.value.path().read_text("utf-8-sig")
    assert EVIL.replace('"', '""') in text
    place.server.ask("POST", path, user="admin", auth="session", json={**form, "name": user.name})
    models = place.server.request("GET", f"{API}/models?format=csv&period=365d", user="admin").text
    assert f"\n'{FORMULA}" in models
    assert f"\n{FORMULA}" not in models


@pytest.mark.parametrize("auth", ["api_key", "session", "cookie"])
def test_a_key_shows_its_own_user_and_nobody_else(place: Place, auth: Any) -> None:
    for name in ("alice", "bob", "dora"):
        mine = place.api("mine?period=365d", name, auth)
        assert mine["total"]["requests"] == len(place.of(name))
        calls = place.api("mine/calls?period=365d&limit=1000", name, auth)["data"]
        assert {call["user_id"] for call in calls} == {place.user(name).id}
        for path in OF_ALL:
            for query in ("", f"?user_id={place.user(name).id}", "?role=admin"):
                answer = place.server.request("GET", f"{API}/{path}{query}", user=name, auth=auth)
                assert answer.status == 403
    answer = place.server.request("GET", f"{API}/mine", user=None)
    assert answer.status == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_foreign_page_reads_and_changes_nothing(
    place: Place, browser: Browser, host: str
) -> None:
    target, admin = place.server.base_url, place.user("admin")
    limit = {"name": "Evil", "everyone": True, "measure": "requests", "amount": 0, "per": "day"}
    with ForeignSite() as site:
        page = browser.tab(target)
        page.context.unroute_all()
        page.context.add_cookies([{"name": "token", "value": admin.token, "url": target}])
        page.goto(site.address(host))
        # The cookie goes with what the page asks for, and Open WebUI's own answers are read.
        if host == "127.0.0.1":
            assert read_by(page, target, ["/api/v1/chats/"]) == ["/api/v1/chats/"]
        gets = ("mine", "mine/calls?format=csv", "mine/limits", "leaderboard", "limits", *OF_ALL)
        assert read_by(page, target, [f"{API}/{path}" for path in gets]) == []
        changes = [
            ("POST", f"{API}/limits", json.dumps(limit)),
            ("POST", f"{API}/limits/preview", json.dumps(limit)),
            ("PUT", f"{API}/limits/1", json.dumps(limit)),
            ("DELETE", f"{API}/limits/1", "{}"),
            ("PUT", f"{API}/leaderboard/me", json.dumps({"shown": False})),
        ]
        assert change_by(page, target, changes) == []
        # Nor is it shown within the page, which could lie over it.
        page.evaluate("target => { frames.inside.location = target + '/usage'; }", target)
        page.wait_for_timeout(1000)
        assert "chrome-error" in page.frame(name="inside").url  # type: ignore[union-attr]
        page.context.close()
    assert place.api("limits")["limits"] == []
    assert place.api("leaderboard")["you_are_shown"] is True


def test_everything_adds_up_for_programs(place: Place) -> None:
    found, path = [], "calls?period=365d&limit=100"
    while path:
        answer = place.api(path)
        found += answer["data"]
        path = (answer["next"] or "").removeprefix(f"{API}/")
    assert len(found) == len(place.of())
    charged = place.api("chargeback?from=2020-01-01&to=2199-01-01")
    total = sum(call.cost or 0 for call in place.of())
    assert sum(Decimal(row["cost_usd"] or 0) for row in charged["data"]) * 10**9 == total
    answer = place.server.request("GET", f"{API}/summary?month=2026-01", user="admin")
    again = place.server.request(
        "GET", f"{API}/summary?month=2026-01", user="admin",
        headers={"If-None-Match": answer.headers["etag"]},
    )  # fmt: skip
    assert (again.status, again.body) == (304, b"")


def test_open_webui_is_not_touched(place: Place) -> None:
    server = place.server
    assert server.request("GET", "/health").status == 200
    assert "Open WebUI" in server.request("GET", "/somewhere").text
    assert server.request("GET", "/usage/none.js").status == 404
    shell = server.request("GET", "/usage")
    assert "script-src 'self'; style-src 'self'" in shell.headers["content-security-policy"]
    assert not [word for word in ("http://", "https://", "<style", "onclick") if word in shell.text]
    assert "failed in" not in server.log_text()
