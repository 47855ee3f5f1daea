"""With the privacy switch on, no name, e-mail address or group leaves the collector in clear."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from stack.conftest import Stack, stack_of
from stack.reports import in_prometheus, lines, wait_for

SALT = "0123456789abcdef0123456789abcdef"
HASH = re.compile(r"[0-9a-f]{64}")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    salt = {"PRIVACY_SALT": SALT}
    yield from stack_of(tmp_path_factory.mktemp("privacy"), "privacy", env=salt)


def test_no_name_leaves_the_collector(stack: Stack) -> None:
    for user in ("alice", "bob", "carol", "dora"):
        stack.server.chat(user, "gpt-std", "case=private tell me", stream=True)
    chat = stack.server.turn("dora", "toolbox", "case=private look it up", tool_ids=["case_lookup"])
    stack.provider.wait_idle(1)
    calls = len(stack.provider.snapshot())
    events = wait_for(lambda: (e := lines(stack.collector.ledger)) and len(e) == calls and e)
    requests = in_prometheus("open_webui.usage.requests")
    groups = in_prometheus("open_webui.group.requests")
    wait_for(
        lambda: sum(v for _, v in stack.prometheus.query(f"increase({requests}[1h] anchored)"))
        == calls
    )
    traces = wait_for(lambda: stack.jaeger.traces(json.dumps({"gen_ai.conversation.id": chat})))
    series = stack.prometheus.query('last_over_time({__name__=~".+"}[1h])')
    files = b"".join(path.read_bytes() for path in stack.collector.ledger.glob("*"))
    told = json.dumps([events, traces, series], ensure_ascii=False) + files.decode()

    for user in stack.server.world.users.values():
        assert user.name not in told
        assert user.email not in told
        for group in user.groups:
            assert f'"{group}"' not in told
    # Spans are called what they were called: their names tell of models and tools.
    called = {span["operationName"] for trace in traces for span in trace["spans"]}
    assert called == {"invoke_agent toolbox", "chat gpt-tools", "execute_tool look_up"}
    # The same name has the same hash everywhere.
    names = {e["user.id"]: e["user.name"] for e in events}
    assert all(map(HASH.fullmatch, names.values()))
    assert len(set(names.values())) == len(names) == 4
    in_series = {s["user_id"]: s["user_name"] for s, _ in stack.prometheus.query(requests)}
    assert in_series == names
    hashed = {s["open_webui_group_name"] for s, _ in stack.prometheus.query(groups)}
    assert {name for name in hashed if not HASH.fullmatch(name)} == {"(none)"}
    assert len(hashed) > 2
    assert all(HASH.fullmatch(e["open_webui.user.groups"]) for e in events)
