from __future__ import annotations

import pytest

from opentelemetry.instrumentation.open_webui.calls.turn import Turn
from unit.sdk import Sdk, caller_named, points


@pytest.mark.parametrize(
    ("error", "caller", "within_a_pipe", "kind"),
    [
        (None, {}, False, None),
        ("500", {}, False, "500"),
        ("cancelled", {}, False, "cancelled"),
        # The user has the answer all the same.
        ("500", {"task": "title_generation"}, False, None),
        # A pipe may try another model.
        ("500", {}, True, None),
    ],
)
def test_a_turn_fails_with_its_answer(
    error: str | None, caller: dict[str, str], within_a_pipe: bool, kind: str | None
) -> None:
    sdk = Sdk()
    work = sdk.telemetry.spans.start_turn(caller_named(model_id="desk"))
    turn = Turn(work, frozenset(), None, lambda: sdk.telemetry.spans.end_turn(work, ()))
    turn.hold()
    call = sdk.call(**caller)
    call.call.parent_id = "pipe" if within_a_pipe else None
    call.end(error)
    turn.answered(call.call)
    turn.release()
    [point] = points(sdk.reader.get_metrics_data(), "gen_ai.invoke_agent.duration")
    assert point.attributes.get("error.type") == kind
    span = sdk.spans.get_finished_spans()[-1]
    assert (span.attributes or {}).get("error.type") == kind
    assert span.status.is_ok is (kind is None)


def test_what_waits_for_the_end_of_a_turn_is_done_even_if_the_end_fails() -> None:
    done: list[str] = []

    def end() -> None:
        raise RuntimeError("no")

    turn = Turn(None, frozenset(), None, end)  # type: ignore[arg-type]
    turn.after(lambda: done.append("ticket"))
    turn.hold()
    turn.hold()
    turn.release()
    assert done == []
    with pytest.raises(RuntimeError):
        turn.release()
    turn.release()
    assert done == ["ticket"]
