"""What others write is told short, printable and valid, and different things stay different."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.bounds import (
    CUT,
    LONGEST,
    MOST_TOKENS,
    bound,
    finite,
    number,
    text,
    text_or_none,
    whole,
)
from unit.sdk import caller_named

anything = st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cc", "Cf"]))
long = st.builds(lambda piece, times: piece * times, st.text(min_size=1), st.integers(1, 2000))


@given(anything | long)
def test_a_text_is_short_printable_and_valid(written: str) -> None:
    told = text(written)
    assert len(told) <= LONGEST
    assert len(told.encode()) <= 1024
    assert not {unicodedata.category(c) for c in told} & {"Cc", "Cs", "Zl", "Zp"}
    assert text(told) == told
    if len(written) > LONGEST:
        assert CUT in told
    else:
        assert len(told) == len(written)


@pytest.mark.parametrize(
    "name",
    ["gpt-4o", "Дора 多拉", "Çarol 🦉", "👩\u200d💻", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "a\u00a0b\u3000c", "e\u0301", "\U0001fae9"],
)  # fmt: skip
def test_names_of_people_stay_as_they_are(name: str) -> None:
    assert text(name) == name


# NUL, line ends, escape, delete, bidi overrides, invisible ones, half an emoji.
BAD = (
    0,
    0xA,
    0xD,
    0x1B,
    0x7F,
    0x85,
    0x2028,
    0x2029,
    0x202E,
    0x2066,
    0x200B,
    0xFEFF,
    0xD800,
    0xDFFF,
)


@pytest.mark.parametrize("bad", [chr(code) for code in BAD], ids=[hex(code) for code in BAD])
def test_what_deceives_or_breaks_is_replaced(bad: str) -> None:
    assert text(f"a{bad}b") == "a\ufffdb"


def test_long_texts_that_differ_anywhere_near_their_ends_stay_different() -> None:
    beginning = "m" * 5_000_000
    told = {text(beginning + end) for end in "abc"} | {text(beginning), text("m" * 1000)}
    assert len(told) == 5


def test_the_same_text_is_told_the_same_in_every_process() -> None:
    code = (
        "from opentelemetry.instrumentation.open_webui.bounds import text;print(text('é' * 5000))"
    )
    run = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code], capture_output=True, check=True, text=True
    )
    assert run.stdout.strip() == text("é" * 5000)


@pytest.mark.parametrize("value", [None, "", 5, 1.5, True, b"x", ["x"], {"x": 1}, object()])
def test_what_is_no_text_is_none(value: object) -> None:
    assert text_or_none(value) is None


def test_fields_of_a_value_are_bounded() -> None:
    caller = caller_named(chat_id="c" * 1000)
    assert len(caller.chat_id or "") == LONGEST
    object.__setattr__(caller, "chat_id", 7)
    bound(caller, "chat_id", "route")
    assert (caller.chat_id, caller.route) == (None, "/api/chat/completions")


@given(st.integers() | st.floats() | st.text() | st.booleans() | st.none())
def test_a_number_of_things_is_whole_and_credible(value: object) -> None:
    told = whole(value, MOST_TOKENS)
    assert told is None or (type(told) is int and 0 <= told <= MOST_TOKENS and told == value)


@given(st.integers() | st.floats() | st.text() | st.booleans() | st.none())
def test_an_amount_is_finite_and_credible(value: object) -> None:
    told = number(value, 1e6)
    assert told is None or (type(told) is float and 0 <= told <= 1e6)


def test_the_highest_that_is_believed() -> None:
    assert whole(MOST_TOKENS, MOST_TOKENS) == MOST_TOKENS
    assert whole(float(MOST_TOKENS), MOST_TOKENS) == MOST_TOKENS
    assert whole(MOST_TOKENS + 1, MOST_TOKENS) is None
    assert finite(float("inf")) is finite(float("nan")) is finite(-1.0) is None
    assert finite(0.0) == 0.0
