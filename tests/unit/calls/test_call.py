from __future__ import annotations

import asyncio
import functools
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui import deferred
from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.calls.clients.bodies import Watch
from opentelemetry.instrumentation.open_webui.calls.live import LiveCall
from opentelemetry.instrumentation.open_webui.calls.passage import Passage, watched
from unit.sdk import Recorder, Sdk, asked, begun

WORD = b'data: {"choices":[{"delta":{"content":"w"},"finish_reason":null}]}\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}\n'
DONE = b"data: [DONE]\n"
STREAM = [WORD, b"\n", LAST, b"\n", USAGE, b"\n", DONE, b"\n"]


class Body:
    """A body that notes whether it was closed."""

    def __init__(self, pieces: list[bytes], error: BaseException | None = None) -> None:
        self.closed = False
        self.pieces = self._run(pieces, error)

    async def _run(self, pieces: list[bytes], error: BaseException | None) -> AsyncIterator[bytes]:
        try:
            for piece in pieces:
                await asyncio.sleep(0)
                yield piece
            if error is not None:
                raise error
        finally:
            self.closed = True


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def a_call(recorder: Recorder, *, stream: bool = True, **more: Any) -> LiveCall:
    return begun(recorder, asked(stream=stream), **more)


async def all_of(stream: AsyncIterator[bytes]) -> list[bytes]:
    return [piece async for piece in stream]


def test_a_stream_passes_untouched_and_ends_the_call_once(recorder: Recorder) -> None:
    call, body = a_call(recorder), Body(STREAM)
    assert asyncio.run(all_of(watched(call, body.pieces, nullcontext))) == STREAM
    call.end("again")
    assert recorder.told == [call.call]
    assert (call.call.error, call.call.usage, call.call.chunks) == (None, Usage(9, 5), 3)
    assert call.call.first_chunk is not None
    assert body.closed


def test_what_calls_models_itself_leaves_its_tokens_to_them(recorder: Recorder) -> None:
    live = a_call(recorder)
    outer = live.call
    outer.delegated = True
    asyncio.run(all_of(watched(live, Body(STREAM).pieces, nullcontext)))
    assert (outer.usage, outer.estimated, outer.cost, outer.unpriced) == (
        Usage(), Usage(), None, False,
    )  # fmt: skip


def test_an_answer_in_pieces_that_is_no_stream_is_one_message(recorder: Recorder) -> None:
    call = a_call(recorder, stream=False)
    passage = Passage(call)
    text = b'{"usage": {"prompt_tokens": 9,\n "completion_tokens": 5}}'
    passage.piece(text[:20])
    passage.piece(text[20:])
    passage.end()
    assert (call.call.usage, call.call.first_chunk) == (Usage(9, 5), None)


@pytest.mark.parametrize(("status", "error"), [(200, "cancelled"), (503, "503")])
def test_an_answer_that_nobody_reads(recorder: Recorder, status: int, error: str) -> None:
    call = a_call(recorder)
    call.call.status = status
    Passage(call).close()
    # A finaliser may be who closes it: nothing is done there.
    assert recorder.told == []
    deferred.do()
    assert [call.error for call in recorder.told] == [error]


def test_a_broken_stream_raises_as_before_and_names_the_exception(recorder: Recorder) -> None:
    body = Body([WORD], ConnectionResetError("secret"))
    with pytest.raises(ConnectionResetError):
        asyncio.run(all_of(watched(a_call(recorder), body.pieces, nullcontext)))
    assert [call.error for call in recorder.told] == ["ConnectionResetError"]


@pytest.mark.parametrize(("pieces", "error"), [(1, "cancelled"), (3, None)])
def test_leaving_early_is_an_error_only_before_the_answer_is_complete(
    recorder: Recorder, pieces: int, error: str | None
) -> None:
    body = Body(STREAM)

    async def leave() -> None:
        stream = watched(a_call(recorder), body.pieces, nullcontext)
        for _ in range(pieces):
            await stream.__anext__()
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(leave())
    deferred.do()
    assert [call.error for call in recorder.told] == [error]
    assert body.closed


def test_cancelling_the_reader_ends_the_call(recorder: Recorder) -> None:
    async def forever() -> AsyncIterator[bytes]:
        yield WORD
        await asyncio.sleep(60)

    async def cancel() -> None:
        task = asyncio.create_task(all_of(watched(a_call(recorder), forever(), nullcontext)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert [call.error for call in recorder.told] == ["cancelled"]


def test_a_body_that_nobody_reads_ends_the_call(recorder: Recorder) -> None:
    stream = watched(a_call(recorder), Body(STREAM).pieces, nullcontext)
    assert recorder.told == []
    del stream
    gc.collect()
    deferred.do()
    assert [call.error for call in recorder.told] == ["cancelled"]


def test_the_garbage_collector_may_come_while_the_accounts_are_locked() -> None:
    """It runs in the exporter's thread, too, at whatever line that is."""
    sdk = Sdk()
    stream = watched(sdk.call(), Body(STREAM).pieces, nullcontext)
    watch = Watch(sdk.call())
    done = threading.Event()

    def collect() -> None:
        nonlocal stream, watch
        with sdk.telemetry.totals._lock:
            del stream, watch
            gc.collect()
        done.set()

    threading.Thread(target=collect, daemon=True).start()
    assert done.wait(5)
    assert sdk.events == []
    deferred.do()
    assert len(sdk.events) == 2


def test_what_is_put_off_fails_alone() -> None:
    done: list[str] = []
    deferred.soon(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    deferred.soon(lambda: done.append("after it"))
    deferred.do()
    assert done == ["after it"]


def test_what_is_put_off_is_done_by_the_loop(recorder: Recorder) -> None:
    async def abandon() -> None:
        deferred.use_this_loop()
        stream = watched(a_call(recorder), Body(STREAM).pieces, nullcontext)
        del stream
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [call.error for call in recorder.told] == ["cancelled"]

    asyncio.run(abandon())


def test_a_failing_reader_of_ours_changes_nothing(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call = a_call(recorder)
    monkeypatch.setattr(LiveCall, "begin_answer", lambda self, piece: 1 / 0)
    assert asyncio.run(all_of(watched(call, Body(STREAM).pieces, nullcontext))) == STREAM
    assert len(recorder.told) == 1
    assert caplog.text.count("instrumentation failed in the reading of an answer") <= 1


def test_a_failing_recorder_is_not_noticed(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "ended", functools.partial(int, "no number"))
    assert (
        asyncio.run(all_of(watched(a_call(recorder), Body(STREAM).pieces, nullcontext))) == STREAM
    )
