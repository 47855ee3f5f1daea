"""What people see in the app when a limit is reached, and that their chat goes on afterwards.

`PICTURES=docs/images` keeps what it looks like.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.limited import LimitedServer, limit
from harness.browser import ANSWER, App, Browser, find_chromium
from harness.provider import Provider

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium, and no right to install it"
)


@pytest.fixture(scope="module")
def limited(
    provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LimitedServer]:
    limited = LimitedServer(provider, tmp_path_factory.mktemp("limits"), {})
    with limited.server:
        yield limited


@pytest.fixture
def user(limited: LimitedServer) -> str:
    limited.lift()
    return limited.somebody()


@pytest.fixture
def app(limited: LimitedServer, user: str) -> Iterator[App]:
    server = limited.server
    with (
        Browser() as browser,
        browser.sign_in(server.base_url, server.world.user(user).token) as app,
    ):
        yield app


def picture(app: App, name: str) -> None:
    if directory := os.environ.get("PICTURES"):
        app.page.wait_for_timeout(700)  # Notices come in slowly.
        app.page.screenshot(path=Path(directory) / f"{name}.png")


def heard(limited: LimitedServer, text: str) -> bool:
    """Whether the provider was asked this."""
    time.sleep(2.0)
    limited.provider.wait_idle(1.0)
    return any(text.encode() in call.body for call in limited.provider.snapshot())


def assert_leads_to_usage(app: App) -> None:
    """The sentence has one link to the usage page, and the way back leads to the chat."""
    link = app.page.locator(f'{ANSWER} a[data-usage-ledger="page"]')
    link.wait_for()
    assert (link.count(), link.inner_text()) == (1, "Usage")
    link.click()
    app.page.wait_for_url("**/usage")
    app.page.wait_for_selector("[data-limit]")
    app.page.go_back()
    link.wait_for()


def see(app: App, text: str) -> None:
    app.page.get_by_text(text).first.wait_for()


def test_a_chat_shows_the_sentence_and_goes_on_when_the_limit_is_lifted(
    limited: LimitedServer, app: App, user: str
) -> None:
    app.new_chat(["gpt-std"])
    app.send("Tell me of the lanterns")
    app.wait_for_answer()
    limited.provider.wait_idle(1.0)
    limited.set(limit("Messages of a day", 1, user=limited.id_of(user), zone="Europe/Berlin"))
    app.send("And of the gardens?")
    app.wait_for_answer(2)
    limited.provider.wait_idle(1.0)
    app.send("Who wrote all that?")
    see(app, "You have used your 1 request for today")
    picture(app, "limit-reached")
    assert not heard(limited, "Who wrote")
    app.page.reload()
    see(app, "You have used your 1 request for today")
    assert_leads_to_usage(app)
    limited.lift()
    app.send("Once more, please")
    assert heard(limited, "Once more")
    app.page.reload()
    for text in ("And of the gardens?", "Who wrote all that?", "Once more, please"):
        see(app, text)


def test_a_new_chat_shows_the_sentence_and_goes_on(
    limited: LimitedServer, app: App, user: str
) -> None:
    limited.refuse(user)
    app.new_chat(["gpt-std"])
    app.send("Hello?")
    see(app, "nothing is allowed")
    assert limited.served() == []
    limited.lift()
    app.send("Hello again")
    assert heard(limited, "Hello again")
    app.page.reload()
    see(app, "Hello again")


def test_a_limit_that_is_nearly_used_is_told_in_a_notice(
    limited: LimitedServer, app: App, user: str
) -> None:
    more = {"user": limited.id_of(user), "warn_at": "50 %", "zone": "Europe/Berlin"}
    limited.set(limit("Messages of a day", 100, **more))
    for number in range(60):
        limited.server.chat(user, "gpt-std", f"case=use-{number}")
    app.new_chat(["gpt-std"])
    app.send("Tell me of the lanterns")
    see(app, "of your 100 requests")
    picture(app, "limit-nearly-used")
    app.wait_for_answer()
