"""An aiohttp server in a daemon thread, the base of the harness's own servers."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self

from aiohttp import web

from harness.running import Running

HOST = "127.0.0.1"
START_TIMEOUT = 10.0
STOP_TIMEOUT = 10.0


class WebThread(Running):
    """Serves the application that `make_app` builds, on its own event loop and a free port."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def make_app(self) -> web.Application:
        """Build the application to serve."""
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        """Address of the server without a trailing slash."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> Self:
        """Start serving; returns once the port is open."""
        self._ready.clear()
        self._error = None
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT):
            raise TimeoutError(f"{type(self).__name__} did not start")
        if self._error is not None:
            raise self._error
        return self

    def stop(self) -> None:
        """Stop serving and free the port; open connections are cut."""
        if self._loop is None or self._stop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_TIMEOUT)
        self._loop = self._stop = self._thread = None

    def close(self) -> None:
        """The same."""
        self.stop()

    def finish_step(self) -> None:
        """Wait until the loop has done what it is at."""
        with suppress(RuntimeError):  # It has just been closed.
            if self._loop is not None:
                done = threading.Event()
                self._loop.call_soon_threadsafe(done.set)
                done.wait(STOP_TIMEOUT)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        # A handler is cancelled when its client leaves: that is how an abandoned stream is seen
        # while the server sleeps between two pieces.
        runner = web.AppRunner(
            self.make_app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.2
        )
        await runner.setup()
        site = web.TCPSite(runner, HOST, self.port, reuse_address=True)
        await site.start()
        # Keeps the port over a restart, which stands for a provider that comes back.
        self.port = runner.addresses[0][1]
        self._ready.set()
        try:
            await self._stop.wait()
        finally:
            await runner.cleanup()
