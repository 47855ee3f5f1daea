from __future__ import annotations

import logging

import pytest

from opentelemetry.instrumentation.open_webui.settings import PREFIX, SettingError, Settings

GOOD = [
    ("user_identity", "Email", "email"),
    ("user_hash_salt", "pepper", "pepper"),
    ("ask_usage", "FALSE", False),
    ("series_limit", "100", 100),
    ("groups_cache_seconds", "2.5", 2.5),
    ("idle_seconds", "60", 60.0),
    ("announce_seconds", "1", 1.0),
    ("load_others", "true", True),
]
BAD = [
    ("user_identity", "nmae", "one of name, email, hash, none", "none"),
    ("ask_usage", "perhaps", "true or false", True),
    ("series_limit", "99", "a whole number from 100 to 10000000", 70_000),
    ("series_limit", "1e3", "a whole number from 100 to 10000000", 70_000),
    ("groups_cache_seconds", "0", "a number of seconds from 1 to 3600", 30.0),
    ("idle_seconds", "nan", "a number of seconds from 1 to 86400", 900.0),
    ("announce_seconds", "-1", "a number of seconds from 0 to 3600", 0.0),
    ("load_others", "1", "true or false", False),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_reads_the_environment(name: str, text: str, value: object) -> None:
    assert getattr(Settings.load({}, {PREFIX + name.upper(): text}), name) == value


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_keyword_wins_over_the_environment(name: str, text: str, value: object) -> None:
    settings = Settings.load({name: value}, {PREFIX + name.upper(): "nonsense"})
    assert getattr(settings, name) == value


@pytest.mark.parametrize(("name", "text", "allowed", "fallback"), BAD)
def test_a_bad_variable_is_named_and_its_fallback_counts(
    name: str, text: str, allowed: str, fallback: object, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings.load({}, {PREFIX + name.upper(): text})
    assert getattr(settings, name) == fallback
    assert PREFIX + name.upper() in caplog.text
    assert allowed in caplog.text


@pytest.mark.parametrize(("name", "text", "allowed", "fallback"), BAD)
def test_a_bad_keyword_raises_and_is_named(
    name: str, text: str, allowed: str, fallback: object
) -> None:
    with pytest.raises(SettingError, match=rf"{name}=.*{allowed}"):
        Settings.load({name: text}, {})


def test_hash_without_salt_shows_nobody(caplog: pytest.LogCaptureFixture) -> None:
    assert Settings.load({}, {PREFIX + "USER_IDENTITY": "hash"}).user_identity == "none"
    assert "USER_HASH_SALT" in caplog.text
    with pytest.raises(SettingError, match="USER_HASH_SALT"):
        Settings.load({"user_identity": "hash"}, {})
    assert (
        Settings.load({"user_identity": "hash", "user_hash_salt": "s"}, {}).user_identity == "hash"
    )


def test_an_unknown_variable_is_named(caplog: pytest.LogCaptureFixture) -> None:
    Settings.load({}, {PREFIX + "SERIES_LIMITS": "1000"})
    assert PREFIX + "SERIES_LIMITS is not a setting" in caplog.text


def test_nothing_set_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert Settings.load({"tracer_provider": None}, {}) == Settings()
    assert caplog.text == ""
