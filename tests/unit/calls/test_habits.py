"""What is learned of models, for how long, and by whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opentelemetry.instrumentation.open_webui.calls.habits import (
    _MOST_KNOWN,
    FILE_NAME,
    Habits,
    key_of,
)

KEY = key_of("http://gw/v1/chat/completions", "m")
OTHER = key_of("http://gw/v1/chat/completions", "n")
HOST = "gw"
MINUTE, DAY = 60.0, 86_400.0


class World:
    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.habits = Habits(lambda: self.now)

    def asks(self, key: str = KEY, host: str = HOST) -> bool:
        return self.habits.asks(key, host)

    def comes(self, reported: bool, key: str = KEY, nulls: bool = False) -> None:
        self.habits.came_unasked(key, reported=reported, nulls=nulls)


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_stream_goes_unasked_and_a_silent_model_is_asked_from_then_on(
    world: World,
) -> None:
    assert not world.asks()
    world.comes(reported=False)
    assert world.asks()
    assert not world.asks(OTHER)


def test_a_model_that_reports_by_itself_is_never_asked(world: World) -> None:
    world.comes(reported=True)
    assert not world.asks()
    # One server behind a gateway may be silent; the chunk of another must not be hidden.
    world.comes(reported=False)
    world.comes(reported=True)
    world.comes(reported=False)
    world.comes(reported=False)
    assert not world.asks()
    world.comes(reported=False)
    assert world.asks()


@pytest.mark.parametrize("host", ["api.openai.com", "mine.openai.azure.com"])
def test_a_host_that_documents_its_silence_is_asked_at_once(world: World, host: str) -> None:
    assert world.asks(host=host)
    world.comes(reported=False)
    world.now += 30 * DAY
    assert world.asks(host=host)


def test_what_was_learned_is_looked_at_again_after_a_week(world: World) -> None:
    world.comes(reported=False)
    world.now += 8 * DAY
    assert not world.asks()
    world.comes(reported=True)
    assert not world.asks()


def test_a_refusal_is_that_of_one_model_and_is_forgotten_after_a_time(world: World) -> None:
    for key in (KEY, OTHER):
        world.comes(reported=False, key=key)
    world.habits.refused(KEY)
    assert (world.asks(), world.asks(OTHER)) == (False, True)
    world.now += 11 * MINUTE
    assert world.asks()
    world.habits.refused(KEY)
    world.now += 11 * MINUTE
    assert not world.asks()
    world.now += 10 * MINUTE
    assert world.asks()
    for _ in range(2_000):
        world.habits.refused(KEY)
    world.now += DAY + 1
    assert world.asks()


def test_a_model_that_has_taken_the_option_is_not_given_up_at_once(world: World) -> None:
    world.comes(reported=False)
    world.habits.came_asked(KEY)
    world.habits.refused(KEY)
    world.habits.refused(KEY)
    assert world.asks()
    world.habits.came_asked(KEY)
    world.habits.refused(KEY)
    world.habits.refused(KEY)
    assert world.asks()
    world.habits.refused(KEY)
    assert not world.asks()


def test_what_may_be_a_refusal(world: World) -> None:
    habits = world.habits
    assert [habits.may_refuse(KEY, status) for status in (400, 422, 500, 429)] == [True] * 4
    habits.came_asked(KEY)
    assert [habits.may_refuse(KEY, status) for status in (400, 422, 500, 429)] == [
        True, True, False, False,
    ]  # fmt: skip
    # Once something has gone wrong, the next failure is looked into, until it is explained.
    habits.failed_asked(KEY)
    assert habits.may_refuse(KEY, 500)
    habits.failed_either_way(KEY)
    assert not habits.may_refuse(KEY, 500)


def test_what_was_learned_outlives_the_process_and_is_shared(world: World, tmp_path: Path) -> None:
    world.habits.keep_in(tmp_path)
    world.comes(reported=False, nulls=True)
    world.habits.sync()
    second = World()
    second.habits.keep_in(tmp_path)
    second.habits.sync()
    assert (second.asks(), second.habits.nulls(KEY)) == (True, True)
    second.now += 5
    second.comes(reported=True, key=OTHER)
    second.comes(reported=True)
    second.habits.sync()
    world.comes(reported=False, key=key_of("x", "y"))
    world.habits.sync()
    assert not world.asks()
    third = World()
    third.habits.keep_in(tmp_path)
    third.habits.sync()
    assert len(third.habits._known) == 3
    path = tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [FILE_NAME]


def test_the_file_names_nobody(world: World, tmp_path: Path) -> None:
    world.habits.keep_in(tmp_path)
    world.comes(reported=True, key=key_of("http://user:secret@host/v1", "private-model"))
    world.habits.sync()
    text = (tmp_path / FILE_NAME).read_text()
    assert "secret" not in text
    assert "private" not in text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        json.dumps({"version": 1, "models": {KEY: {"reports": "yes"}}}).encode(),
        json.dumps({"version": 1, "models": {KEY: {"unknown": 1}}}).encode(),
        json.dumps({"version": 1, "models": {"short": {"reports": True}}}).encode(),
        json.dumps({"version": 2, "models": {KEY: {"reports": False}}}).encode(),
    ],
)
def test_a_bad_file_is_no_obstacle(world: World, tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    world.habits.keep_in(tmp_path)
    world.habits.sync()
    assert not world.asks()
    world.comes(reported=False)
    world.habits.sync()
    assert json.loads((tmp_path / FILE_NAME).read_bytes())["models"].keys() == {KEY}


def test_names_of_models_are_anybodys_and_take_no_room_for_ever(world: World) -> None:
    for number in range(3 * _MOST_KNOWN):
        world.comes(reported=False, key=key_of("c", str(number)))
    assert len(world.habits._known) <= _MOST_KNOWN
    for number in range(3 * _MOST_KNOWN):
        world.habits.failed_asked(str(number))
    assert len(world.habits._suspects) <= _MOST_KNOWN
