"""Open WebUI's own Analytics and Settings → Usage, in a real browser, against the provider's log."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page

from e2e.screens import (
    DAY,
    NASTY,
    SOURCES,
    Place,
    Used,
    bars_of,
    book,
    of_the_past,
    period_of,
    served,
)
from e2e.servers import PREFIX, instrumented
from harness.analytics import (
    CHOICE,
    GRAIN,
    PERIOD,
    Analytics,
    OlderAnalytics,
    Row,
    compact,
)
from harness.browser import App, Browser, find_chromium
from harness.openwebui import VERSION
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import TEACHING

pytestmark = [
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium, and no right to install it"),
    pytest.mark.skipif(VERSION < (0, 8), reason="there is no Analytics"),
]

NEWEST = VERSION >= (0, 12)
PAGE = Analytics if NEWEST else OlderAnalytics
PERIODS = ("24h", "7d", "30d", "90d", *(("ytd", "1y") if NEWEST else ()), "all")
GRAINS = {"24h": ("10m", "hourly"), "7d": ("hourly", "daily"), "30d": ("3h", "6h", "daily")}
MESSAGES = "Messages are answers that users asked for"
AWAY = "The usage ledger cannot be read now"
ENDPOINTS = ("summary", "models", "users", "daily", "tokens")
NO_SOURCES = ("background", "%00", "API", "ui,api", "'%20OR%201=1--", NASTY, "a" * 5000)
RUBBISH = (
    *(f"source={source}" for source in NO_SOURCES),
    "source=ui&source=api",
    "source[]=api",
    "group_id=",
    "group_id='%20OR%201=1--",
    f"group_id={'x' * 5000}",
    "start_date=-1&end_date=-1",
    "start_date=9999999999&end_date=1",
    "start_date=1&end_date=99999999999",
    "start_date=99999999999999",
    "start_date=1e9&end_date=%00",
    "limit=-1",
    f"limit={'9' * 15}",
    "granularity=10m",
    "granularity=%27&metric=%27",
    "compare=true",
    "compare=perhaps",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def place(provider: Provider, receiver: Receiver, browser: Browser) -> Iterator[Place]:
    """First Open WebUI alone is asked; then the same with us, which the other tests go on with."""
    server = instrumented(
        provider, receiver, {f"{PREFIX}LEDGER": "true", f"{PREFIX}SCREENS": "false"}
    )
    place = Place(server, of_the_past(server.world))
    book(server, place.calls)
    with server:
        for number in range(4):
            server.chat("bob", ("gpt-std", "llama-std")[number % 2], f"case=api-{number}")
        server.chat("alice", "gpt-mini", "case=api-alice")
        server.turn("carol", "llama-std", "case=ui-turn hello")
        create = {"name": NASTY, "description": NASTY}
        server.ask("POST", "/api/v1/groups/create", user="admin", auth="session", json=create)
        provider.wait_idle(1)
        with browser.sign_in(server.base_url, server.world.admin.token) as app:
            app.new_chat()
            alone = PAGE(app, server.base_url)
            alone.open()
            alone.choose_group(TEACHING)
            assert alone.choice is None
            place.alone = alone.shown()
        if VERSION >= (0, 11):
            assert place.api("/api/v1/users/usage", "bob")["totals"]["lifetime_tokens"] == 0
        server.stop()
        server.extra_env.pop(f"{PREFIX}SCREENS")
        server.start()
        time.sleep(1)
        place.calls += served(provider, server.world)
        yield place


@pytest.fixture(scope="module")
def page(place: Place, browser: Browser) -> Iterator[Analytics]:
    with browser.sign_in(place.server.base_url, place.server.world.admin.token) as app:
        app.new_chat()
        page = PAGE(app, place.server.base_url)
        page.open()
        yield page


def assert_shown(page: Analytics, place: Place, group: str | None = None) -> list[Used]:
    """Compare everything on the page with the calls that it has asked for."""
    asked = page.asked["daily"]
    start, end = period_of(page)
    calls = place.of(start, end, asked.get("source", ""), group)
    shown = page.shown()
    right = {
        "Tokens": sum(call.tokens for call in calls),
        "Input": sum(call.input for call in calls),
        "Output": sum(call.output for call in calls),
        "Messages": sum(call.is_message for call in calls),
        "Users": len({call.user for call in calls}),
    }
    if not page.has_input:
        del right["Input"], right["Output"]
    assert shown.totals == {
        "Chats": shown.totals["Chats"],
        **{name: page.written(name, number) for name, number in right.items()},
    }
    by_tokens = asked.get("metric") == "tokens"
    bars = bars_of(calls, start, end, asked["granularity"], by_tokens) if calls else []
    drawn = [+Counter(bar) for bar in shown.bars]
    if start and calls:
        assert drawn == bars
    else:
        assert [bar for bar in drawn if bar] == [bar for bar in bars if bar]
    assert set(shown.models) == {call.model for call in calls}
    for model, row in shown.models.items():
        its = numbers_of([call for call in calls if call.model == model], page)
        assert {name: row[name] for name in its} == its
    return calls


def numbers_of(calls: list[Used], page: Analytics) -> Row:
    """What a row says of these calls."""
    columns = {page.tokens: "tokens"}
    if page.has_input:
        columns.update(Input="input", Output="output")
    users = {"Users": str(len({call.user for call in calls}))} if page.has_users else {}
    return {
        "Messages": f"{sum(call.is_message for call in calls):,}",
        **users,
        **{
            column: compact(sum(getattr(call, name) for call in calls))
            for column, name in columns.items()
        },
    }


newest = pytest.mark.skipif(not NEWEST, reason="before 0.12 there is no such choice on the page")


def test_a_group_that_nobody_was_seen_in_is_seen(place: Place, page: Analytics) -> None:
    """Why all of this was made: the group of who calls by API shows nobody, and then them."""
    assert place.alone is not None
    assert place.alone.models == {}
    assert {place.alone.totals[name] for name in ("Messages", "Tokens", "Users")} == {"0"}
    page.choose(PERIOD, "90d")
    page.choose(CHOICE, "api")
    page.choose_group(TEACHING)
    calls = assert_shown(page, place, TEACHING)
    bob = place.server.world.user("bob")
    its = [call for call in calls if call.user == bob.id]
    assert its
    row = next(row for row in page.users() if row["User"] == bob.name)
    assert row[page.tokens] == compact(sum(call.tokens for call in its))
    page.choose(CHOICE, "ui")
    assert_shown(page, place, TEACHING)
    page.choose_group("All Users")
    page.choose(CHOICE, "")
    assert_shown(page, place)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("period", PERIODS)
def test_each_number_is_what_was_used(
    place: Place, page: Analytics, period: str, source: str
) -> None:
    page.choose(PERIOD, period)
    page.choose(CHOICE, source)
    assert page.choice == source
    assert page.asked["tokens"].get("source", "") == source
    assert assert_shown(page, place)


@pytest.mark.skipif(VERSION < (0, 10), reason="days cannot be chosen on the page")
def test_a_period_may_be_chosen_by_its_days(place: Place, page: Analytics) -> None:
    last = datetime.now(UTC).date() - timedelta(days=3)
    page.choose_days(last - timedelta(days=40), last)
    page.choose(CHOICE, "api")
    start, end = period_of(page)
    assert end + 1 - start == 41 * DAY
    assert assert_shown(page, place)
    page.choose(PERIOD, "7d")


@newest
@pytest.mark.parametrize(
    ("period", "grain"), [(period, grain) for period in GRAINS for grain in GRAINS[period]]
)
def test_however_finely_it_is_drawn(place: Place, page: Analytics, period: str, grain: str) -> None:
    page.choose(PERIOD, period)
    page.choose(GRAIN, grain)
    page.choose(CHOICE, "api")
    assert page.asked["daily"]["granularity"] == grain
    assert_shown(page, place)
    page.choose(CHOICE, "")
    assert page.asked["daily"]["granularity"] == grain


@newest
def test_messages_are_drawn_as_well(place: Place, page: Analytics) -> None:
    page.choose(PERIOD, "7d")
    page.choose(CHOICE, "")
    page.after(lambda: page.press("Messages"))
    assert page.asked["users"]["metric"] == "messages"
    assert_shown(page, place)
    page.after(lambda: page.press("Tokens"))


def test_users_are_ranked(place: Place, page: Analytics) -> None:
    page.choose(PERIOD, "30d")
    page.choose(CHOICE, "")
    calls = place.of(*period_of(page))
    rows = page.users()
    assert {row["User"] for row in rows} == {place.names[call.user] for call in calls}
    for row in rows:
        its = [call for call in calls if place.names[call.user] == row["User"]]
        assert row["Messages"] == f"{sum(call.is_message for call in its):,}"
        assert row[page.tokens] == compact(sum(call.tokens for call in its))
    by = (lambda call: call.tokens) if NEWEST else (lambda call: call.is_message)
    assert [row["User"] for row in rows] == ranked(calls, lambda call: place.names[call.user], by)


def test_it_is_sorted_by_each_column(place: Place, page: Analytics) -> None:
    page.choose(PERIOD, "90d")
    page.choose(CHOICE, "")
    calls = place.of(*period_of(page))
    for column, name in (("Messages", "is_message"), (page.tokens, "tokens")):
        right = ranked(calls, lambda call: call.model, lambda call, name=name: getattr(call, name))
        first, second = (models(page.sort("Model", column)) for _ in range(2))
        assert right in (first, second)
        assert first == second[::-1]
    first, second = (models(page.sort("Model", "Model")) for _ in range(2))
    assert first == second[::-1]
    assert set(first) == {call.model for call in calls}


def models(rows: Iterable[Row]) -> list[str]:
    return [row["Model"] for row in rows]


def ranked(
    calls: Iterable[Used], key: Callable[[Used], str], by: Callable[[Used], int]
) -> list[str]:
    amounts: Counter[str] = Counter()
    for call in calls:
        amounts[key(call)] += by(call)
    return [name for name, _ in amounts.most_common()]


@newest
def test_it_is_compared_with_the_period_before(place: Place, page: Analytics) -> None:
    page.choose(PERIOD, "7d")
    page.choose(CHOICE, "api")
    page.after(lambda: page.press("Compare"))
    asked = page.asked["daily"]
    assert (asked["compare"], asked["source"]) == ("true", "api")
    start, end = period_of(page)
    data = page.answers["daily"].json()["data"]
    length = end - start + 1
    for now, then in ((0, False), (length, True)):
        calls = place.of(start - now, end - now, "api")
        shown = sum(
            value
            for entry in data
            for value in (entry["previous"] if then else entry)["models"].values()
        )
        assert shown == sum(call.tokens for call in calls)
    page.after(lambda: page.press("Compare"))


def test_names_are_shown_and_not_run(place: Place, page: Analytics, browser: Browser) -> None:
    page.choose(PERIOD, "all")
    page.choose(CHOICE, "")
    assert NASTY in models(page.rows())
    assert NASTY in {row["User"] for row in page.users()}
    page.choose_group(NASTY)
    page.choose_group("All Users")
    for bar in page.page.locator("[data-point]").all()[-1:]:
        bar.hover(force=True)
    page.page.locator("tbody tr", has_text=NASTY).first.click()
    page.page.wait_for_timeout(500)
    assert_unhurt(page.page)
    page.open()
    if VERSION >= (0, 11):
        with browser.sign_in(place.server.base_url, place.server.world.user("bob").token) as app:
            assert NASTY in usage_of(app)
            assert_unhurt(app.page)


def assert_unhurt(page: Page) -> None:
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.hurt === undefined")


def usage_of(app: App) -> str:
    """What Settings → Usage says."""
    app.new_chat()
    app.page.keyboard.press("Control+.")
    app.page.get_by_text("Usage", exact=True).first.click()
    app.page.get_by_text("Lifetime tokens").wait_for()
    app.page.wait_for_timeout(500)
    return app.page.locator('[role="dialog"]').first.inner_text()


def test_it_says_what_its_numbers_are(page: Analytics) -> None:
    assert page.text().startswith(MESSAGES)
    assert "estimates and may not reflect" not in page.page.content()


def test_the_choice_is_kept(page: Analytics) -> None:
    page.choose(CHOICE, "api")
    page.open()
    assert page.choice == "api"
    assert page.asked["summary"]["source"] == "api"
    page.choose(CHOICE, "")


def test_in_german_on_a_telephone(page: Analytics) -> None:
    page.page.evaluate("localStorage.setItem('locale', 'de-DE')")
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.open()
    choice = page.page.locator(CHOICE)
    assert choice.locator("option").all_text_contents() == ["Beide", "UI", "API"]
    assert page.text().startswith("Nachrichten sind Antworten")
    box = choice.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.page.evaluate("localStorage.setItem('locale', 'en-US')")
    page.page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.skipif(VERSION < (0, 11), reason="there is no Settings → Usage")
def test_settings_usage_shows_what_was_used_by_api(place: Place, browser: Browser) -> None:
    bob = place.server.world.user("bob")
    calls = [call for call in place.calls if call.user == bob.id]
    with browser.sign_in(place.server.base_url, bob.token) as app:
        text = usage_of(app)
    assert text.splitlines()[text.splitlines().index("Lifetime tokens") - 1] == compact(
        sum(call.tokens for call in calls)
    )
    assert MESSAGES in text
    assert "estimates and may not reflect" not in text
    answers = Counter(call.model for call in calls if call.is_message and is_of_two_years(call))
    usage = place.api("/api/v1/users/usage", "bob")
    found = {model["model_id"]: model["messages"] for model in usage["top_models"]}
    assert found == answers


def is_of_two_years(call: Used) -> bool:
    return call.time >= time.time() - 729 * DAY


@pytest.mark.parametrize("name", ENDPOINTS)
def test_nobody_else_sees_everybody(place: Place, name: str) -> None:
    server, admin, group = place.server, place.server.world.admin, place.server.world.groups
    claims = f"user_id={admin.id}&user={admin.id}&role=admin"
    for query in ("", "source=api", f"group_id={group[TEACHING]}&source=ui", claims, *RUBBISH):
        path = f"/api/v1/analytics/{name}?{query}"
        for auth in ("session", "api_key", "cookie"):
            answer = server.request("GET", path, user="bob", auth=auth)
            assert answer.status in (401, 403)
            assert "total" not in answer.text
        assert server.request("GET", path, user=None).status in (401, 403)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_rubbish_is_answered_with_an_error_or_with_what_is_asked_for(
    place: Place, name: str
) -> None:
    for query in RUBBISH:
        path = f"/api/v1/analytics/{name}?{query}"
        answer = place.server.request("GET", path, user="admin", auth="session")
        assert answer.status in (200, 400, 422), query
    for source in NO_SOURCES:
        everything = place.api(f"/api/v1/analytics/{name}")
        assert place.api(f"/api/v1/analytics/{name}?source={source}") == everything
    assert "failed in the answer" not in place.server.log_text()


@pytest.mark.skipif(VERSION < (0, 11), reason="there is no Settings → Usage")
def test_nobody_sees_anothers_usage(place: Place) -> None:
    world = place.server.world
    right = {
        name: sum(call.tokens for call in place.calls if call.user == world.user(name).id)
        for name in ("alice", "bob", "dora")
    }
    for name, tokens in right.items():
        for other in ("alice", "bob"):
            its = world.user(other).id
            query = f"?user_id={its}&id={its}&user={its}&group_id={world.groups[TEACHING]}"
            usage = place.api(f"/api/v1/users/usage{query}", name)
            assert usage["totals"]["lifetime_tokens"] == tokens


def test_when_the_ledger_cannot_be_read_open_webuis_own_numbers_are_shown(
    place: Place, page: Analytics
) -> None:
    """This spoils the ledger: nothing comes after it."""
    page.choose(PERIOD, "7d")
    page.choose(CHOICE, "api")
    with closing(sqlite3.connect(place.server.data_dir / "usage.db")) as connection:
        connection.execute("ALTER TABLE usage_ledger_line RENAME TO away")
        connection.commit()
    page.open()
    assert page.page.locator(CHOICE).is_disabled()
    assert page.choice == ""
    assert AWAY in page.text()
    shown = place.api("/api/v1/analytics/summary")
    assert shown["total_messages"] == 1
    assert place.server.request("GET", "/health").status == 200
    log = place.server.log_text()
    assert log.count("failed in the answer of open_webui.routers.analytics.get_summary") == 1
