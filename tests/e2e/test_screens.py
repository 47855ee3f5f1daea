"""Open WebUI's own Analytics and Settings → Usage, in a real browser, against the provider's log.

What happened long ago is put into the ledger beforehand; what happens now is done on the server.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from e2e.servers import PREFIX, instrumented
from harness.analytics import CHOICE, GRAIN, PERIOD, Analytics
from harness.browser import Browser, find_chromium
from harness.openwebui import VERSION, OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import TEACHING
from harness.world import World
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from unit.ledger.books import booking

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium, and no right to install it"
)

NEWEST = VERSION >= (0, 12)
SOURCES = {"": ("api", "background", "ui"), "ui": ("ui",), "api": ("api",)}
DAY = 86_400
SPANS = {"24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "90d": 90 * DAY}
GRAINS = {"24h": ("10m", "hourly"), "7d": ("hourly", "daily"), "30d": ("3h", "6h", "daily")}
MINUTES = {"10m": 10, "hourly": 60, "3h": 180, "6h": 360, "daily": 1440}
MESSAGES = "Messages are answers that users asked for"
AWAY = "The usage ledger cannot be read now"


@dataclass(frozen=True)
class Used:
    """One call, as it is true."""

    time: float
    user: str
    groups: tuple[str, ...]
    source: str
    model: str
    is_message: bool
    input: int
    output: int

    @property
    def tokens(self) -> int:
        return self.input + self.output


def of_the_past(world: World) -> list[Used]:
    """Two years of calls: Bob's all by API, as he is in a group of those who do nothing else."""
    rng, now = random.Random(7), time.time()
    found = []
    for number in range(600):
        user = world.user(("alice", "bob", "carol")[number % 3])
        found.append(
            Used(
                now - 120 - rng.random() ** 3 * 700 * DAY,
                user.id,
                user.groups,
                "api" if number % 3 == 1 else rng.choice(("ui", "api", "background")),
                rng.choice(("gpt-std", "gpt-mini", "llama-std")),
                rng.random() < 0.7,
                rng.randrange(10, 3000),
                rng.randrange(5, 900),
            )
        )
    return found


def book(server: OpenWebUI, calls: Iterable[Used]) -> None:
    """Put calls into the ledger of a server that has not been started yet."""
    database = of_file(server.data_dir / "usage.db")
    store = Store(database, server.world.groups.get)
    store.open()
    store.write(
        [
            booking(
                call.time,
                user_id=call.user,
                user_name=None,
                groups=call.groups,
                source=call.source,
                picked=call.model,
                model=call.model,
                task="chat" if call.is_message else "title_generation",
                input=call.input,
                output=call.output,
            )
            for call in calls
        ]
    )
    database.disconnect()


def served(provider: Provider, world: World) -> list[Used]:
    """The provider's log."""
    users = {user.id: user for user in world.users.values()}
    return [
        Used(
            time.time(),
            call.user_id,
            users[call.user_id].groups,
            "ui" if call.case.startswith("ui") else "api",
            call.model,
            call.task == "chat",
            call.input_tokens or 0,
            call.output_tokens or 0,
        )
        for call in provider.snapshot()
    ]


@dataclass
class Place:
    """A server, and all calls that its ledger has."""

    server: OpenWebUI
    calls: list[Used]

    def of(
        self, start: float, end: float, source: str = "", group: str | None = None
    ) -> list[Used]:
        return [
            call
            for call in self.calls
            if start <= int(call.time) <= end
            and call.source in SOURCES[source]
            and (group is None or group in call.groups)
        ]

    def api(self, path: str, user: str = "admin") -> dict[str, object]:
        answer: dict[str, object] = self.server.ask("GET", path, user=user, auth="session")
        return answer


@pytest.fixture(scope="module")
def place(provider: Provider, receiver: Receiver) -> Iterator[Place]:
    """First Open WebUI alone is asked; then the same with us, which the other tests go on with."""
    server = instrumented(
        provider, receiver, {f"{PREFIX}LEDGER": "true", f"{PREFIX}SCREENS": "false"}
    )
    past = of_the_past(server.world)
    book(server, past)
    with server:
        for number in range(4):
            server.chat("bob", ("gpt-std", "llama-std")[number % 2], f"case=api-{number}")
        server.chat("alice", "gpt-mini", "case=api-alice")
        server.turn("carol", "llama-std", "case=ui-turn hello")
        provider.wait_idle(1)
        alone = Place(server, [])
        assert_that_open_webui_alone_shows_nothing(alone)
        server.stop()
        server.extra_env.pop(f"{PREFIX}SCREENS")
        server.start()
        time.sleep(1)
        yield Place(server, past + served(provider, server.world))


def assert_that_open_webui_alone_shows_nothing(place: Place) -> None:
    group = place.server.world.groups[TEACHING]
    alone = place.api(f"/api/v1/analytics/summary?group_id={group}")
    assert (alone["total_messages"], alone["total_users"]) == (0, 0)
    assert place.api(f"/api/v1/analytics/tokens?group_id={group}")["total_tokens"] == 0
    usage = place.api("/api/v1/users/usage", "bob") if VERSION >= (0, 11) else None
    assert usage is None or usage["totals"]["lifetime_tokens"] == 0  # type: ignore[index]
    assert "usageLedger" not in place.server.request("GET", "/static/loader.js").text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(place: Place, browser: Browser) -> Iterator[Analytics]:
    with browser.sign_in(place.server.base_url, place.server.world.admin.token) as app:
        app.new_chat()
        page = Analytics(app, place.server.base_url)
        page.open()
        yield page


def assert_shown(page: Analytics, place: Place, group: str | None = None) -> list[Used]:
    """Compare everything on the page with the calls that it has asked for."""
    asked = page.asked["daily"]
    start, end = int(asked.get("start_date", 0)), int(asked.get("end_date", time.time()))
    calls = place.of(start, end, asked.get("source", ""), group)
    shown = page.shown()
    assert shown.totals == {
        "Tokens": sum(call.tokens for call in calls),
        "Input": sum(call.input for call in calls),
        "Output": sum(call.output for call in calls),
        "Messages": sum(call.is_message for call in calls),
        "Chats": shown.totals["Chats"],
        "Users": len({call.user for call in calls}),
    }
    by_tokens = asked.get("metric") == "tokens"
    right = bars_of(calls, start, end, asked["granularity"], by_tokens)
    if start:
        assert [+Counter(bar) for bar in shown.bars] == right
    else:
        assert [+Counter(bar) for bar in shown.bars if bar] == [bar for bar in right if bar]
    for model, row in shown.models.items():
        its = [call for call in calls if call.model == model]
        assert row[2] == f"{sum(call.is_message for call in its):,}"
        assert row[3] == str(len({call.user for call in its}))
        assert row[5:8] == [
            compact(sum(getattr(call, name) for call in its))
            for name in ("input", "output", "tokens")
        ]
    assert set(shown.models) == {call.model for call in calls}
    return calls


def bars_of(
    calls: Iterable[Used], start: float, end: float, granularity: str, by_tokens: bool
) -> list[Counter[str]]:
    """The chart as Open WebUI would draw it of these calls; the server's clock shows UTC."""
    step = timedelta(minutes=MINUTES[granularity])
    bars: dict[datetime, Counter[str]] = {}
    clock = part_of(start or min(call.time for call in calls), step)
    while clock.timestamp() <= end:
        bars[clock] = Counter()
        clock += step
    for call in calls:
        bars[part_of(call.time, step)][call.model] += call.tokens if by_tokens else call.is_message
    return [+bars[clock] for clock in sorted(bars)]


def part_of(moment: float, step: timedelta) -> datetime:
    clock = datetime.fromtimestamp(moment, UTC)
    midnight = clock.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (clock - midnight) // step * step


def compact(number: int) -> str:
    """As Open WebUI shortens numbers."""
    for unit, size in (("m", 1_000_000), ("k", 1_000)):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return str(number)


newest = pytest.mark.skipif(not NEWEST, reason="the page looked otherwise before 0.12")


@newest
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("period", [*SPANS, "ytd", "1y", "all"])
def test_each_number_is_what_was_used(
    place: Place, page: Analytics, period: str, source: str
) -> None:
    page.choose(PERIOD, period)
    page.choose(CHOICE, source)
    assert page.choice == source
    assert page.asked["tokens"].get("source", "") == source
    assert assert_shown(page, place)


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
def test_a_group_of_nobody_but_users_by_api_is_seen(place: Place, page: Analytics) -> None:
    page.choose(PERIOD, "90d")
    page.choose(CHOICE, "api")
    page.choose_group(TEACHING)
    calls = assert_shown(page, place, TEACHING)
    assert place.server.world.user("bob").id in {call.user for call in calls}
    page.choose(CHOICE, "ui")
    assert_shown(page, place, TEACHING)
    page.choose_group("All Users")


@newest
def test_messages_are_drawn_and_ranked_as_well(place: Place, page: Analytics) -> None:
    page.choose(PERIOD, "7d")
    page.choose(CHOICE, "")
    page.after(lambda: page.press("Messages"))
    assert page.asked["users"]["metric"] == "messages"
    calls = assert_shown(page, place)
    page.press("Users")
    ranked = Counter(call.user for call in calls if call.is_message).most_common()
    names = {user.id: user.name for user in place.server.world.users.values()}
    assert [(row[1], row[2]) for row in page.rows()] == [
        (names[user], str(count)) for user, count in ranked
    ]
    page.press("Models")
    page.page.get_by_role("columnheader", name="Model", exact=True).click()
    models = [row[1] for row in page.rows()]
    assert models == sorted(models)
    page.after(lambda: page.press("Tokens"))


@newest
def test_it_is_compared_with_the_period_before(place: Place, page: Analytics) -> None:
    page.choose(PERIOD, "7d")
    page.choose(CHOICE, "api")
    asked = page.asked["daily"]
    page.after(lambda: page.press("Compare"))
    asked = page.asked["daily"]
    assert (asked["compare"], asked["source"]) == ("true", "api")
    start, end = int(asked["start_date"]), int(asked["end_date"])
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    data = place.api(f"/api/v1/analytics/daily?{query}")["data"]
    length = end - start + 1
    for now, then in ((0, False), (length, True)):
        calls = place.of(start - now, end - now, "api")
        shown = sum(
            value
            for entry in data  # type: ignore[attr-defined]
            for value in (entry["previous"] if then else entry)["models"].values()
        )
        assert shown == sum(call.tokens for call in calls)
    page.after(lambda: page.press("Compare"))


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
    page.open()


@pytest.mark.skipif(VERSION < (0, 11), reason="there is no Settings → Usage")
def test_settings_usage_shows_what_was_used_by_api(place: Place, browser: Browser) -> None:
    bob = place.server.world.user("bob")
    calls = [call for call in place.calls if call.user == bob.id]
    with browser.sign_in(place.server.base_url, bob.token) as app:
        app.new_chat()
        app.page.keyboard.press("Control+.")
        app.page.get_by_text("Usage", exact=True).first.click()
        app.page.get_by_text("Lifetime tokens").wait_for()
        app.page.wait_for_timeout(500)
        text = app.page.locator('[role="dialog"]').first.inner_text()
        assert text.splitlines()[text.splitlines().index("Lifetime tokens") - 1] == compact(
            sum(call.tokens for call in calls)
        )
        assert MESSAGES in text
        assert "estimates and may not reflect" not in text
    answers = Counter(call.model for call in calls if call.is_message and is_of_two_years(call))
    usage = place.api("/api/v1/users/usage", "bob")
    found = {model["model_id"]: model["messages"] for model in usage["top_models"]}  # type: ignore[attr-defined]
    assert found == answers


def is_of_two_years(call: Used) -> bool:
    return call.time >= time.time() - 729 * DAY


@pytest.mark.parametrize("name", ["summary", "models", "users", "daily", "tokens"])
def test_nobody_else_sees_everybody(place: Place, name: str) -> None:
    server, admin = place.server, place.server.world.admin
    for auth in ("session", "api_key", "cookie"):
        for query in ("", "?source=api", f"?user_id={admin.id}&user={admin.id}&role=admin"):
            path = f"/api/v1/analytics/{name}{query}"
            assert server.request("GET", path, user="bob", auth=auth).status in (401, 403)
    assert server.request("GET", f"/api/v1/analytics/{name}", user=None).status in (401, 403)


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
            assert usage["totals"]["lifetime_tokens"] == tokens  # type: ignore[index]


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
