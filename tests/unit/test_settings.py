from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path

import pytest

from opentelemetry.instrumentation.open_webui.settings import (
    LATEST_NAMES,
    PREFIX,
    STABILITY,
    SettingError,
    Settings,
)

GOOD = [
    ("user_identity", "Email", "email"),
    ("user_hash_salt", "pepper", "pepper"),
    ("ask_usage", "FALSE", False),
    ("series_limit", "100", 100),
    ("groups_cache_seconds", "2.5", 2.5),
    ("idle_seconds", "60", 60.0),
    ("announce_seconds", "1", 1.0),
    ("shutdown_seconds", "30", 30.0),
    ("load_others", "true", True),
    ("ledger", "Yes", "true"),
    ("ledger", "off", "false"),
    ("ledger", "sqlite:////data/usage.db", "sqlite:////data/usage.db"),
    ("ledger", "postgresql+psycopg://u:p@db/x", "postgresql+psycopg://u:p@db/x"),
    ("ledger_days", "400", 400),
]
BAD = [
    ("user_identity", "nmae", "one of name, email, hash, none", "none"),
    ("ask_usage", "perhaps", "true or false (or yes or no, on or off, 1 or 0)", True),
    ("ask_usage", "2", "true or false", True),
    ("series_limit", "99", "a whole number from 100 to 10000000", 70_000),
    ("series_limit", "1e3", "a whole number from 100 to 10000000", 70_000),
    ("groups_cache_seconds", "0", "a number of seconds from 1 to 3600", 30.0),
    ("idle_seconds", "nan", "a number of seconds from 1 to 86400", 900.0),
    ("announce_seconds", "-1", "a number of seconds from 0 to 3600", 0.0),
    ("shutdown_seconds", "0", "a number of seconds from 0.1 to 600", 2.0),
    ("load_others", "yes please", "true or false", False),
    ("ledger", "maybe", "true, false or a database URL", "false"),
    ("ledger", "mysql://u:p@db/x", "true, false or a database URL", "false"),
    ("ledger", "/data/usage.db", "true, false or a database URL", "false"),
    ("ledger_days", "-1", "a whole number from 0 to 36500", 0),
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
    with pytest.raises(SettingError, match=rf"{name}=.*{re.escape(allowed)}"):
        Settings.load({name: text}, {})


def test_hash_without_salt_shows_nobody(caplog: pytest.LogCaptureFixture) -> None:
    assert Settings.load({}, {PREFIX + "USER_IDENTITY": "hash"}).user_identity == "none"
    assert "USER_HASH_SALT" in caplog.text
    with pytest.raises(SettingError, match="USER_HASH_SALT"):
        Settings.load({"user_identity": "hash"}, {})
    assert (
        Settings.load({"user_identity": "hash", "user_hash_salt": "s"}, {}).user_identity == "hash"
    )


@pytest.mark.parametrize("yes", ["true", "True", "T", "yes", "Y", "on", "ON", "1", True, 1])
@pytest.mark.parametrize("no", ["false", "FALSE", "f", "No", "n", "off", "Off", "0", False, 0])
def test_booleans_take_what_people_write(yes: object, no: object) -> None:
    assert Settings.load({"load_others": yes, "ask_usage": no}, {}) == Settings(
        load_others=True, ask_usage=False
    )
    variables = {PREFIX + "LOAD_OTHERS": f" {yes} ", PREFIX + "ASK_USAGE": str(no)}
    assert Settings.load({}, variables) == Settings(load_others=True, ask_usage=False)


@pytest.mark.parametrize(
    ("opted", "latest"),
    [
        ("", False),
        ("http", False),
        ("http/dup, database", False),
        ("gen_ai_latest_experimental", True),
        ("http,GEN_AI_latest_experimental ,database/dup", True),
        # What other instrumentations may know by then.
        ("gen_ai_latest_experimental,gen_ai/dup", True),
        (",,", False),
    ],
)
def test_the_switch_of_the_conventions_is_theirs(
    opted: str, latest: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert Settings.load({}, {STABILITY: opted}).latest_names is latest
    assert Settings.load({"semconv_stability_opt_in": opted}, {}).latest_names is latest
    assert Settings.load({}, {PREFIX + "SEMCONV_STABILITY_OPT_IN": opted}).latest_names is False
    assert [record for record in caplog.records if STABILITY in record.message] == []


def test_a_value_of_genai_that_is_not_known_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert not Settings.load({}, {STABILITY: "http,gen_ai_latest"}).latest_names
    assert f"{STABILITY}='http,gen_ai_latest' is not allowed" in caplog.text
    assert LATEST_NAMES in caplog.text
    for bad in ("gen_ai/dup", True):
        with pytest.raises(SettingError, match="semconv_stability_opt_in="):
            Settings.load({"semconv_stability_opt_in": bad}, {})


MISSPELT = {
    PREFIX + "SERIES_LIMITS": "SERIES_LIMIT",
    PREFIX + "USER_IDENTIY": "USER_IDENTITY",
    PREFIX + "USERIDENTITY": "USER_IDENTITY",
    PREFIX + "PRICES": "",
    PREFIX: "",
    "OTEL_PYTHON_OPENWEBUI_USER_IDENTITY": "USER_IDENTITY",
    "OTEL_PYTHON_OPENWEBUI_SOMETHING": "",
    "OTEL_PYTHON_OPEN_WEB_UI_ASK_USAGE": "ASK_USAGE",
    "OTEL_PYHTON_OPEN_WEBUI_PRICE_FILE": "PRICE_FILE",
    "OTEL_PYTHON_OPEN_WEUI_IDLE_SECOND": "IDLE_SECONDS",
    "OTEL_OPEN_WEBUI_USER_HASH_SALT": "USER_HASH_SALT",
    "OTEL_OPENWEBUI_INHERITED_GROUPS": "INHERITED_GROUPS",
    "OPEN_WEBUI_OTEL_LOAD_OTHERS": "LOAD_OTHERS",
    "OPENTELEMETRY_PYTHON_OPEN_WEBUI_ASK_USAGE": "ASK_USAGE",
    "otel_python_open_webui_ask_usage": "ASK_USAGE",
}


@pytest.mark.parametrize(("key", "meant"), MISSPELT.items())
def test_a_misspelt_variable_is_named_once(
    key: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert Settings.load({}, {key: "s3cr3t"}) == Settings()
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert f"{key} is not a setting" in caplog.text
    assert (f"did you mean {PREFIX}{meant}?" if meant else f"{PREFIX}ASK_USAGE") in caplog.text
    # It may be a secret.
    assert "s3cr3t" not in caplog.text


def test_variables_of_others_are_none_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    found = {"OTEL_PYTHON_OPENAI_PRICE_LIST", "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", "OPEN_WEBUI_URL"}
    for package, files in (
        ("open_webui", ("env.py", "config.py")),
        ("opentelemetry.sdk", ("environment_variables/__init__.py",)),
        ("opentelemetry.instrumentation", ("environment_variables.py",)),
    ):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            for root in spec.submodule_search_locations:
                for file in files:
                    path = Path(root) / file
                    if path.exists():
                        found |= set(
                            re.findall(r"[\"']([A-Z][A-Z0-9_]{3,})[\"']", path.read_text())
                        )
    assert len(found) > 50
    Settings.load({}, dict.fromkeys(found, "x"))
    assert caplog.text == ""


def test_the_distro_leaves_complaints_to_the_instrumentor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    variables = {PREFIX + "ASK_USAGE": "perhaps", PREFIX + "USER_IDENTITY": "hash", PREFIX: "x"}
    assert Settings.load({}, variables, quiet=True) == Settings(user_identity="none")
    assert caplog.text == ""


def test_nothing_set_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert Settings.load({"tracer_provider": None}, {}) == Settings()
    assert caplog.text == ""


def test_the_password_of_a_wrong_database_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    url = "mysql://me:p@ss/word@db/x"
    Settings.load({}, {PREFIX + "LEDGER": url})
    with pytest.raises(SettingError) as raised:
        Settings.load({"ledger": url}, {})
    for told in (caplog.text, str(raised.value)):
        assert "mysql://***@db/x" in told
        assert "word" not in told


def test_limits_need_the_ledger(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingError, match="limits=true needs the ledger: set ledger"):
        Settings.load({"limits": True}, {})
    assert Settings.load({}, {PREFIX + "LIMITS": "true"}).limits is False
    assert "Going on with limits=false: nobody is limited." in caplog.text
    assert Settings.load({}, {PREFIX + "LIMITS": "true", PREFIX + "LEDGER": "true"}).limits
    assert Settings.load({"limits": True, "ledger": "true"}, {}).limits_fail == "open"
    with pytest.raises(SettingError, match=r"limits_fail='shut' .* one of open, closed"):
        Settings.load({"limits_fail": "shut"}, {})
