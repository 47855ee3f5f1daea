"""Bodies of aiohttp's responses, fed as aiohttp's parser feeds them, and by a real server."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.streams import StreamReader
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui import deferred
from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.calls.asking import UsageFilter
from opentelemetry.instrumentation.open_webui.calls.call import ModelCall
from opentelemetry.instrumentation.open_webui.calls.clients.arrivals import watch
from opentelemetry.instrumentation.open_webui.calls.live import LiveCall
from opentelemetry.instrumentation.open_webui.calls.passage import Passage
from unit.examples import few
from unit.sdk import Recorder, asked, begun

NULL = b',"usage":null}'
WORD = b'data: {"choices":[{"delta":{"content":"w"},"finish_reason":null}]' + NULL + b"\n\n"
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]' + NULL + b"\n\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"
EVENTS = [WORD] * 20 + [LAST, USAGE, DONE]
ODD = [
    b": a comment\n\n",
    b"id: 7\n" + WORD,
    WORD[:-1],
    b"\n",
    WORD.replace(b"\n", b"\r\n"),
    b'data: {"n":1' + NULL + b"\rdata: {}" + b"\r\n\r\n",
    b'data: {"n":1}\r' + WORD,
    b'x: {"n":1' + NULL + b"\n\n",
    b'data: {"n":\ndata: 1' + NULL + b"\n\n",
    WORD.replace(b'"w"', b'",\\"usage\\":null}"'),
    WORD.replace(NULL, b', "usage": null}'),
]

Read = Callable[[StreamReader], Coroutine[Any, Any, list[Any]]]


async def _all(pieces: AsyncIterator[Any]) -> list[Any]:
    return [piece async for piece in pieces]


async def _until_empty(read: Callable[[], Awaitable[Any]]) -> list[Any]:
    return [piece async for piece in aiohttp.streams.AsyncStreamIterator(read)]


async def _by_readexactly(content: StreamReader) -> list[Any]:
    found = []
    try:
        while True:
            found.append(await content.readexactly(7))
    except asyncio.IncompleteReadError as rest:
        return [*found, rest.partial]


async def _once(content: StreamReader) -> list[Any]:
    return [await content.read()]


READS: dict[str, Read] = {
    "lines": lambda content: _all(aiter(content)),
    "iter_any": lambda content: _all(content.iter_any()),
    "iter_chunked": lambda content: _all(content.iter_chunked(7)),
    "iter_chunks": lambda content: _all(content.iter_chunks()),
    "read": _once,
    "read by 7": lambda content: _until_empty(lambda: content.read(7)),
    "readany": lambda content: _until_empty(content.readany),
    "readuntil": lambda content: _until_empty(lambda: content.readuntil(b"\n\n")),
    "readexactly": _by_readexactly,
}


class Answer:
    """A response whose body is fed piece by piece, each a chunk of HTTP."""

    def __init__(self, usage_filter: UsageFilter | None = None, *, stream: bool = True) -> None:
        protocol: Any = SimpleNamespace(
            _reading_paused=False,
            connected=True,
            pause_reading=lambda: None,
            resume_reading=lambda **_: None,
        )
        self.content = StreamReader(protocol, 1 << 16, loop=asyncio.get_running_loop())
        self.recorder = Recorder()
        self.live = begun(self.recorder, asked(stream=stream), usage_filter=usage_filter)

    def watch(self, *, mute: bool = False) -> None:
        watch(self, self.live, Passage(self.live), mute=mute)  # type: ignore[arg-type]

    def come(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.content.begin_http_chunk_receiving()
            self.content.feed_data(piece, len(piece))
            self.content.end_http_chunk_receiving()

    @property
    def told(self) -> list[ModelCall]:
        deferred.do()
        return self.recorder.told


async def passed(
    read: Read, pieces: Sequence[bytes], answer: Answer, before: int | None = None, ends: int = 0
) -> list[Any]:
    """What a reader gets of pieces, some of which have come before the answer is watched.

    Args:
        read: Reads.
        pieces: What comes; each is awaited by the reader, but those before.
        answer: The answer.
        before: How many come before it is watched; without it, it is not watched.
        ends: Whether the end has come by then.
    """
    answer.come(*pieces[:before])
    if before is not None:
        if ends:
            answer.come(*pieces[before:])
            answer.content.feed_eof()
        answer.watch()
    if answer.content.is_eof():
        return await read(answer.content)
    reading = asyncio.create_task(read(answer.content))
    for piece in pieces[before or 0 :] if before is not None else ():
        await asyncio.sleep(0)
        answer.come(piece)
    answer.content.feed_eof()
    return await reading


def cut(body: bytes, sizes: Sequence[int]) -> list[bytes]:
    """A body in pieces of these sizes, over and over."""
    pieces: list[bytes] = []
    at = 0
    while at < len(body):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(body[at : at + size])
        at += size
    return pieces


def joined(read: Sequence[Any]) -> bytes:
    return b"".join(piece[0] if isinstance(piece, tuple) else piece for piece in read)


SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=8)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@few
@given(sizes=SIZES, before=st.integers(0, 5), ends=st.booleans())
def test_who_reads_gets_what_comes_whichever_way_and_the_call_ends_once(
    read: Read, sizes: list[int], before: int, ends: bool
) -> None:
    async def go() -> None:
        answer, twin = Answer(), Answer()
        pieces = cut(b"".join(EVENTS), sizes)
        got = await passed(read, pieces, answer, before, ends)
        assert joined(got) == b"".join(pieces)
        if ends:
            assert got == await passed(read, pieces, twin)
        [call] = answer.told
        assert (call.error, call.usage, call.chunks) == (None, Usage(9, 5), 22)

    asyncio.run(go())


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@few
@given(
    sizes=st.one_of(st.none(), SIZES),
    before=st.integers(0, 5),
    ends=st.booleans(),
    nulls=st.booleans(),
    odd=st.lists(st.tuples(st.integers(0, 21), st.sampled_from(ODD)), max_size=4),
)
def test_what_only_we_asked_for_is_taken_out_whichever_way_it_is_read(
    read: Read,
    sizes: list[int] | None,
    before: int,
    ends: bool,
    nulls: bool,
    odd: list[tuple[int, bytes]],
) -> None:
    events = list(EVENTS)
    for at, event in odd:
        events.insert(at, event)
    alone = UsageFilter(nulls)
    expected = alone.feed(b"".join(events)) + alone.finish()

    async def go() -> None:
        answer = Answer(UsageFilter(nulls))
        pieces = events if sizes is None else cut(b"".join(events), sizes)
        assert joined(await passed(read, pieces, answer, before, ends)) == expected
        # By it, aiohttp pauses the connection, and has it go on.
        assert answer.content._size == 0
        [call] = answer.told
        assert (call.error, call.usage) == (None, Usage(9, 5))

    asyncio.run(go())


NO_NULL_OF_ITS_OWN = {
    "no data": NULL + b"\n\n",
    "no beginning": b"w" + NULL + b"\n\n",
    "no end": b'data: {"n":1' + NULL,
    "an event after a return": USAGE[:-2] + b"\r\r" + WORD,
    "usage before it": USAGE + WORD,
    "two": WORD + WORD,
    "spread": b'data: {"n":\ndata: 1' + NULL + b"\n\n",
    "said": WORD.replace(b'"w"', b'",\\"usage\\":null}"'),
    "an event of a name": b"event: word\n" + WORD,
}


@pytest.mark.parametrize("odd", NO_NULL_OF_ITS_OWN.values(), ids=NO_NULL_OF_ITS_OWN)
@pytest.mark.parametrize("nulls", [False, True])
def test_what_is_more_than_an_event_with_a_null_is_looked_at_closely(
    odd: bytes, nulls: bool
) -> None:
    pieces, alone = [WORD, odd, WORD, b"data: {", odd, WORD, DONE], UsageFilter(nulls)
    expected = alone.feed(b"".join(pieces)) + alone.finish()

    async def go() -> None:
        for before in range(len(pieces)):
            answer = Answer(UsageFilter(nulls))
            got = await passed(READS["iter_any"], pieces, answer, before)
            assert joined(got) == expected

    asyncio.run(go())


@pytest.mark.parametrize("before", [0, 1, 20])
def test_a_chunk_of_http_stays_one_where_something_of_it_is_taken_out(before: int) -> None:
    async def go() -> None:
        answer = Answer(UsageFilter())
        got = await passed(READS["iter_chunks"], EVENTS, answer, before)
        left = [piece for piece, ends in got if piece]
        assert len(left) == len(EVENTS) - 1 - max(0, before - 1)
        assert all(piece.endswith(b"\n\n") for piece in left)
        assert all(ends for _, ends in got)

    asyncio.run(go())


def test_what_is_held_back_comes_at_the_end() -> None:
    async def go() -> None:
        answer = Answer(UsageFilter())
        got = await passed(READS["iter_chunks"], [WORD, b"data: {", b'"a":1}'], answer, 0)
        assert [one for one in got if one != (b"", True)] == [
            (WORD.replace(NULL, b"}"), True),
            (b'data: {"a":1}', False),
        ]

    asyncio.run(go())


def test_the_first_chunk_is_there_when_it_has_come() -> None:
    async def go() -> None:
        answer = Answer()
        answer.watch()
        assert answer.live.call.first_chunk is None
        answer.come(WORD)
        assert answer.live.call.first_chunk is not None

    asyncio.run(go())


def test_what_is_not_read_yet_stays_small() -> None:
    async def go() -> None:
        answer = Answer(UsageFilter())
        answer.watch()
        held = []
        for at, piece in enumerate([b"x"] * 20_000 + [b"\n"] + [WORD, USAGE] * 500):
            answer.come(piece)
            answer.content.read_nowait()
            watched: Any = answer.content._buffer
            if at % 97 == 0:
                held.append(sum(map(len, watched.pieces)))
        assert 1 << 13 < max(held) < 1 << 15

    asyncio.run(go())


@pytest.mark.parametrize("comes", [True, False])
def test_sound_is_not_looked_at(comes: bool) -> None:
    async def go() -> None:
        answer = Answer()
        answer.come(USAGE)
        if comes:
            answer.content.feed_eof()
        answer.watch(mute=True)
        assert type(answer.content._buffer).append is deque.append
        if not comes:
            answer.come(USAGE)
            answer.content.feed_eof()
        [call] = answer.told
        assert (call.error, call.usage, call.first_chunk) == (None, Usage(), None)

    asyncio.run(go())


@pytest.mark.parametrize("fails", ["feed", "finish"])
def test_a_failing_filter_of_ours_lets_all_pass(
    fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UsageFilter, fails, lambda *_: 1 / 0)

    async def go() -> None:
        answer = Answer(UsageFilter())
        got = await passed(READS["read"], [USAGE, b": x\n"], answer, 1)
        assert joined(got) == (USAGE if fails == "feed" else b"") + b": x\n"
        assert [call.usage for call in answer.told] == [Usage(9, 5)]

    asyncio.run(go())


def test_a_failing_reader_of_ours_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveCall, "begin_answer", lambda self, piece: 1 / 0)

    async def go() -> None:
        answer = Answer()
        assert joined(await passed(READS["read"], EVENTS, answer, 1)) == b"".join(EVENTS)
        assert len(answer.told) == 1

    asyncio.run(go())


def test_where_ours_fails_at_the_end_all_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Passage, "end", lambda self: 1 / 0)

    async def go() -> None:
        answer = Answer(UsageFilter())
        got = await passed(READS["read"], [*EVENTS, WORD[:9]], answer, 1)
        assert joined(got).endswith(DONE + WORD[:9])

    asyncio.run(go())


def test_where_ours_fails_at_an_error_the_reader_meets_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Passage, "fail", lambda self, error: 1 / 0)

    async def go() -> None:
        answer = Answer()
        answer.watch()
        answer.content.set_exception(aiohttp.ClientPayloadError())
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.readany()

    asyncio.run(go())


@pytest.mark.parametrize("error", [None, aiohttp.ClientPayloadError()])
def test_who_keeps_a_body_keeps_nothing_of_its_call(error: Exception | None) -> None:
    async def go() -> None:
        answer = Answer(UsageFilter())
        answer.watch()
        answer.come(WORD)
        if error is None:
            answer.content.feed_eof()
        else:
            answer.content.set_exception(error)
        call = weakref.ref(answer.live)
        del answer.live
        assert call() is None

    asyncio.run(go())


def test_a_body_that_has_failed_before_it_is_watched_is_a_failed_call() -> None:
    async def go() -> None:
        answer = Answer(UsageFilter())
        answer.come(WORD)
        answer.content.set_exception(aiohttp.ClientPayloadError())
        answer.watch()
        assert [call.error for call in answer.told] == ["ClientPayloadError"]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.readany()

    asyncio.run(go())


# --- by a real server ---


HALTED = [WORD, WORD]


async def _serve(request: web.Request) -> web.StreamResponse:
    """Send two words, and then halt, break off, or write a line without end."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for piece in HALTED:
        await response.write(piece)
        await asyncio.sleep(0.01)
    match request.query["then"]:
        case "halt":
            await asyncio.sleep(5)
        case "break":
            assert request.transport is not None
            request.transport.close()
        case "run on":
            with suppress(ConnectionError):
                while True:
                    await response.write(b"x" * 100_000)
        case "end":
            await response.write(LAST + USAGE + DONE)
            await asyncio.sleep(5)
        case "finish":
            await response.write(LAST + USAGE + DONE)
    return response


@asynccontextmanager
async def responding(then: str, **options: Any) -> AsyncIterator[tuple[Any, Recorder]]:
    """A watched response of a real server, which does this after two words."""
    app, recorder = web.Application(), Recorder()
    app.router.add_post("/", _serve)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    deferred.use_this_loop()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(**options)) as session:
            response = await session.post(f"http://{host}:{port}/", params={"then": then})
            live = begun(recorder, asked(stream=True))
            watch(response, live, Passage(live), mute=False)
            box = [response]
            del response
            yield box, recorder
    finally:
        await runner.cleanup()


async def _read(response: aiohttp.ClientResponse) -> None:
    async with response:
        async for _ in response.content.iter_chunks():
            pass


async def _read_lines(response: aiohttp.ClientResponse) -> None:
    async with response:
        async for _ in response.content:
            pass


async def _read_and_raise_another(response: aiohttp.ClientResponse) -> None:
    async with response:
        try:
            await _until_empty(response.content.readany)
        except Exception as error:
            raise KeyError from error


async def _cancelled(response: aiohttp.ClientResponse) -> None:
    reading = asyncio.create_task(_read(response))
    await asyncio.sleep(0.1)
    reading.cancel()
    await reading


async def _close_while_another_is_handled(response: aiohttp.ClientResponse) -> None:
    try:
        raise KeyError
    except KeyError:
        await response.content.readany()
        response.close()


async def _read_and_close(response: aiohttp.ClientResponse) -> None:
    await response.content.readany()
    response.close()


async def _close_at_the_mark(response: aiohttp.ClientResponse) -> None:
    await response.content.readuntil(DONE)
    response.close()


async def _drop(response: aiohttp.ClientResponse) -> None:
    await response.content.readany()


# What aiohttp 3.14 raises, and what it raised before.
TOO_LONG = "LineTooLong" if hasattr(aiohttp.streams, "LineTooLong") else "ValueError"
Leave = Callable[[aiohttp.ClientResponse], Awaitable[None]]
LEAVING: dict[str, tuple[Leave, str, dict[str, Any], str | None]] = {
    "timed out": (_read, "halt", {"total": 0.3}, "TimeoutError"),
    "timed out, read whole": (lambda r: r.read(), "halt", {"total": 0.3}, "TimeoutError"),  # type: ignore[dict-item,return-value]
    "timed out, told otherwise": (_read_and_raise_another, "halt", {"total": 0.3}, "TimeoutError"),
    "silent": (_read, "halt", {"sock_read": 0.3}, "SocketTimeoutError"),
    "cancelled": (_cancelled, "halt", {}, "cancelled"),
    "closed": (_read_and_close, "halt", {}, "cancelled"),
    "closed after an error of others": (_close_while_another_is_handled, "halt", {}, "cancelled"),
    "dropped, and it comes to its end": (_drop, "finish", {}, None),
    "broken": (_read, "break", {}, "ClientPayloadError"),
    "too long a line": (_read_lines, "run on", {}, TOO_LONG),
    "closed at the end mark": (_close_at_the_mark, "end", {}, None),
}


@pytest.mark.parametrize(("leave", "then", "options", "error"), LEAVING.values(), ids=LEAVING)
def test_how_an_answer_is_left_is_what_is_told_of_it(
    leave: Leave, then: str, options: dict[str, Any], error: str | None
) -> None:
    async def go() -> None:
        async with responding(then, **options) as (box, recorder):
            with suppress(Exception, asyncio.CancelledError):
                await leave(box[0])
            box.clear()
            gc.collect()
            await asyncio.sleep(0.1)
            assert [call.error for call in recorder.told] == [error]

    asyncio.run(go())
