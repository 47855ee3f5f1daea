"""What the screens are answered with, reckoned anew from the calls in the ledger."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui.ledger.booking import Booking, milliseconds_of
from opentelemetry.instrumentation.open_webui.ledger.database import of_file
from opentelemetry.instrumentation.open_webui.ledger.store import Store
from opentelemetry.instrumentation.open_webui.screens import analytics, personal
from opentelemetry.instrumentation.open_webui.screens.asked import Asked, asked
from unit.ledger.books import NOON, booking, many

pytestmark = pytest.mark.database

BOOKINGS = [
    one._replace(picked=("helpdesk", "desk", "gpt-mini")[number % 3])
    for number, one in enumerate(many(400))
]
DAY = 86_400
START, END = NOON - 9 * DAY - 4321, NOON + 6 * DAY + 99
QUESTIONS = {
    "all": Asked(),
    "a period": Asked(START, END),
    "by API": Asked(START, END, source="api"),
    "in the app": Asked(START, END, source="ui"),
    "a group": Asked(START, END, group_ids=("id-b",)),
    "a group and one below it, by API": Asked(START, END, ("id-a", "id-b"), "api"),
    "a group without anybody": Asked(START, END, group_ids=("none",)),
    "since": Asked(START),
    "until": Asked(end=END),
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder: Path = tmp_path_factory.mktemp("ledger")
    store = Store(of_file(folder / "usage.db"), lambda name: f"id-{name}")
    store.open()
    store.write(BOOKINGS)
    return store


@pytest.fixture(params=QUESTIONS)
def question(request: pytest.FixtureRequest) -> Asked:
    return QUESTIONS[request.param]


def answer(store: Store, read: Callable[..., Any], *args: Any) -> Any:
    with store.database.reading() as connection:
        return read(connection, *args)


def right_ones(question: Asked) -> list[Booking]:
    return [
        one
        for one in BOOKINGS
        if question.period.start <= moment(one) < question.period.end
        and question.source in (None, one.source)
        and (
            not question.group_ids
            or not {f"id-{name}" for name in one.groups}.isdisjoint(question.group_ids)
        )
    ]


def moment(one: Booking) -> int:
    return milliseconds_of(one) // 1000


def tokens(calls: list[Booking]) -> dict[str, int]:
    read, written = sum(one.input or 0 for one in calls), sum(one.output or 0 for one in calls)
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}


def messages(calls: list[Booking]) -> int:
    return sum(one.task == "chat" for one in calls)


def by(calls: list[Booking], name: str) -> dict[str, list[Booking]]:
    found: dict[str, list[Booking]] = defaultdict(list)
    for one in calls:
        found[getattr(one, name)].append(one)
    return found


def test_the_summary_equals_the_calls(store: Store, question: Asked) -> None:
    calls = right_ones(question)
    assert answer(store, analytics.summary, question) == {
        "total_messages": messages(calls),
        "total_models": len({one.picked for one in calls}),
        "total_users": len({one.user_id for one in calls}),
    }


def test_models_equal_the_calls(store: Store, question: Asked) -> None:
    found = answer(store, analytics.models, question)["models"]
    models = by(right_ones(question), "picked")
    assert {model["model_id"]: (model["count"], model["unique_users"]) for model in found} == {
        name: (messages(its), len({one.user_id for one in its})) for name, its in models.items()
    }
    counts = [model["count"] for model in found]
    assert counts == sorted(counts, reverse=True)


def test_tokens_equal_the_calls(store: Store, question: Asked) -> None:
    calls = right_ones(question)
    found = answer(store, analytics.tokens, question)
    assert {model.pop("model_id"): model for model in found.pop("models")} == {
        name: {**tokens(its), "message_count": messages(its)}
        for name, its in by(calls, "picked").items()
    }
    assert found == {
        "total_input_tokens": tokens(calls)["input_tokens"],
        "total_output_tokens": tokens(calls)["output_tokens"],
        "total_tokens": tokens(calls)["total_tokens"],
    }


@pytest.mark.parametrize("by_tokens", [True, False])
def test_users_are_ranked_before_they_are_cut(store: Store, by_tokens: bool) -> None:
    users = by(right_ones(Asked(START, END)), "user_id")
    right = sorted(
        (tokens(its)["total_tokens"] if by_tokens else messages(its) for its in users.values()),
        reverse=True,
    )
    found = answer(store, analytics.users, Asked(START, END, limit=3, by_tokens=by_tokens))["users"]
    assert [user["total_tokens" if by_tokens else "count"] for user in found] == right[:3]
    for user in found:
        its = users[user["user_id"]]
        assert user["name"] == its[0].user_name
        assert {**user, **tokens(its), "count": messages(its)} == user


GRAINS = {"10m": "%Y-%m-%d %H:%M", "hourly": "%Y-%m-%d %H:00", "daily": "%Y-%m-%d"}


@pytest.mark.parametrize("granularity", GRAINS)
@pytest.mark.parametrize("by_tokens", [True, False])
def test_charts_equal_the_calls(store: Store, granularity: str, by_tokens: bool) -> None:
    question = Asked(START, END, granularity=granularity, by_tokens=by_tokens, compare=True)
    found = answer(store, analytics.daily, question)["data"]
    length = END - START + 1
    assert drawn(found) == reckoned(question, granularity, 0)
    before = Asked(START - length, START - 1, by_tokens=by_tokens)
    earlier = [{"date": entry["date"], **entry["previous"]} for entry in found]
    assert drawn(earlier) == reckoned(before, granularity, length)
    assert found[0]["start"] == datetime.fromtimestamp(START, UTC).isoformat()[:19]
    assert found[-1]["end"] == datetime.fromtimestamp(END + 1, UTC).isoformat()[:19]
    assert found[0]["previous"]["start"] == iso(START - length)
    assert found[-1]["previous"]["end"] == iso(END + 1 - length)
    # Every part is there, also one without calls.
    assert len(found) >= (END - START) // {"10m": 600, "hourly": 3600, "daily": DAY}[granularity]


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def drawn(entries: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return +Counter(
        {
            (entry["date"], model): value
            for entry in entries
            for model, value in entry["models"].items()
        }
    )


def reckoned(question: Asked, granularity: str, later: int) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for one in right_ones(question):
        clock = datetime.fromtimestamp(moment(one) + later, UTC)
        date = clock.replace(minute=clock.minute // 10 * 10).strftime(GRAINS[granularity])
        found[date, one.picked] += (
            tokens([one])["total_tokens"] if question.by_tokens else messages([one])
        )
    return +found


@pytest.mark.parametrize("question", [Asked(), Asked(START), Asked(end=END)])
def test_without_bounds_only_days_with_calls_are_drawn(store: Store, question: Asked) -> None:
    found = answer(store, analytics.daily, question)["data"]
    assert drawn(found) == reckoned(question, "daily", 0)
    assert all(entry["models"] for entry in found)


@pytest.mark.parametrize(
    "question",
    [
        Asked(END, START),
        Asked(int(time.time()) + DAY),
        Asked(end=1),
        Asked(10**30, 10**30 + 5),
        Asked(10**30),
        Asked(-(10**30), -(10**29)),
    ],
)
def test_a_period_of_nothing_has_no_days(store: Store, question: Asked) -> None:
    assert answer(store, analytics.daily, question) == {"data": []}
    assert answer(store, analytics.tokens, question)["total_tokens"] == 0


def test_an_empty_ledger_has_an_answer_to_everything(tmp_path: Path) -> None:
    store = Store(of_file(tmp_path / "usage.db"))
    store.open()
    assert answer(store, analytics.daily, Asked()) == {"data": []}
    assert answer(store, analytics.users, Asked()) == {"users": []}
    assert answer(store, analytics.summary, Asked())["total_users"] == 0
    assert answer(store, analytics.tokens, Asked(START, END))["total_tokens"] == 0


def test_chats_are_open_webuis_own_and_of_the_app_alone() -> None:
    theirs = {"total_chats": 7, "models": [{"model_id": "desk", "unique_chats": 4}]}
    mine: dict[str, Any] = {"models": [{"model_id": "desk"}, {"model_id": "new"}]}
    assert analytics.with_chats_of_all({}, theirs, Asked())["total_chats"] == 7
    assert analytics.with_chats_of_all({}, theirs, Asked(source="api"))["total_chats"] == 0
    chats = analytics.with_chats(mine, theirs, Asked(source="ui"))["models"]
    assert [model["unique_chats"] for model in chats] == [4, 0]
    chats = analytics.with_chats(mine, theirs, Asked(source="api"))["models"]
    assert [model["unique_chats"] for model in chats] == [0, 0]


def test_people_have_the_names_of_today_and_who_has_gone_the_one_of_then() -> None:
    found = {"users": [{"user_id": "1", "name": "Old"}, {"user_id": "2", "name": "Gone"}]}
    assert analytics.with_people(found, {"1": ("New", "new@example.org")})["users"] == [
        {"user_id": "1", "name": "New", "email": "new@example.org"},
        {"user_id": "2", "name": "Gone"},
    ]


@pytest.mark.parametrize("source", ["background", "API", "", "'; --", None])
def test_another_source_is_none(source: str | None) -> None:
    assert asked({}, source, ()).source is None


def test_what_is_asked_for_is_read_as_open_webui_reads_it() -> None:
    given = {
        "start_date": 0,
        "end_date": 5,
        "limit": -3,
        "metric": "tokens",
        "granularity": "3h",
        "compare": True,
        "user": object(),
    }
    assert asked(given, "api", ("g",)) == Asked(None, 5, ("g",), "api", 0, True, "3h", True)
    assert asked({"metric": "messages"}, None, ()) == Asked()


# Settings → Usage


def own_answer(days: int, **totals: Any) -> dict[str, Any]:
    """What Open WebUI says of somebody who wrote two messages on the first day."""
    dates = [iso(START + number * DAY)[:10] for number in range(days)]
    return {
        "totals": {
            "lifetime_tokens": 9,
            "longest_chat_seconds": 60,
            "total_chats": 2,
            "user_messages": 2,
            **totals,
        },
        "heatmap": [
            {
                "date": date,
                "messages": 3 if date == dates[0] else 0,
                "chats": 1,
                "tokens": 9,
                "models": {"desk": 1} if date == dates[0] else {},
            }
            for date in dates
        ],
        "top_tools": [{"name": "clock", "count": 1}],
        "period": {"start_date": START, "end_date": END, "days": days},
    }


def test_settings_usage_has_answers_and_tokens_of_all_calls(store: Store) -> None:
    mine = [one for one in BOOKINGS if one.user_id == "u-2"]
    here = [one for one in mine if START <= moment(one) <= END]
    found = personal.merged(
        own_answer(16), answer(store, personal.read, "u-2", START, END, "no zone")
    )
    totals, heatmap = found["totals"], found["heatmap"]
    assert totals["lifetime_tokens"] == tokens(mine)["total_tokens"]
    assert (totals["input_tokens"], totals["output_tokens"]) == (
        tokens(mine)["input_tokens"],
        tokens(mine)["output_tokens"],
    )
    assert totals["models_used"] == len({one.picked for one in mine})
    assert totals["assistant_messages"] == messages(here)
    assert totals["messages"] == messages(here) + 2
    assert (totals["longest_chat_seconds"], totals["total_chats"]) == (60, 2)
    days = by([one._replace(route=iso(moment(one))[:10]) for one in here], "route")
    assert {day["date"]: day["tokens"] for day in heatmap if day["tokens"]} == {
        date: tokens(its)["total_tokens"]
        for date, its in days.items()
        if tokens(its)["total_tokens"]
    }
    first = heatmap[0]
    assert first["messages"] == 2 + messages(days[first["date"]])
    assert totals["peak_daily_tokens"] == max(day["tokens"] for day in heatmap)
    assert totals["active_days"] == sum(day["messages"] > 0 for day in heatmap)
    assert sum(week["tokens"] for week in found["weekly_heatmap"]) == tokens(here)["total_tokens"]
    assert found["cumulative_heatmap"][-1]["tokens"] == tokens(here)["total_tokens"]
    assert [model["messages"] for model in found["top_models"]] == sorted(
        (messages(its) for its in by(here, "picked").values()), reverse=True
    )
    in_chats = [one for one in mine if one.source == "ui"]
    insights = found["insights"]
    assert insights["average_tokens_per_chat"] == tokens(in_chats)["total_tokens"] / 2
    assert insights["user_message_share"] + insights["assistant_message_share"] == pytest.approx(
        100
    )
    assert insights["most_used_model"] == found["top_models"][0]["model_id"]
    assert found["top_tools"] == own_answer(1)["top_tools"]


def test_who_called_nothing_has_zeros(store: Store) -> None:
    nobody = answer(store, personal.read, "nobody", START, END, None)
    found = personal.merged(own_answer(16), nobody)
    assert found["totals"]["lifetime_tokens"] == 0
    assert found["totals"]["messages"] == found["totals"]["user_messages"] == 2
    assert (found["top_models"], found["insights"]["most_used_model"]) == ([], None)


def test_days_are_those_of_the_users_time_zone(tmp_path: Path) -> None:
    store = Store(of_file(tmp_path / "usage.db"))
    store.open()
    midnight = NOON // DAY * DAY
    store.write([booking(midnight - 1800), booking(midnight + 1800)])
    period = midnight - 20_000, midnight + 20_000
    for zone, days in {"UTC": [1, 1], "Europe/Berlin": [0, 2], "America/New_York": [2, 0]}.items():
        found = answer(store, personal.read, "u-alice", *period, zone)
        assert [sum(sums.calls for sums in day.values()) for day in found.days] == days


def test_streaks_end_today() -> None:
    days = [{"messages": count} for count in (1, 1, 1, 0, 2, 2)]
    assert personal._streaks(days) == (2, 3)
    assert personal._streaks([*days, {"messages": 0}]) == (0, 3)
