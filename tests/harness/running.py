"""What is started and stopped again: servers, programs, browsers. One way for all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

STOP_TIMEOUT = 30.0
LOG_TAIL = 6000


class Running:
    """Runs within `with`, and is gone after it, whatever happened."""

    def start(self) -> Self:
        """Start; returns once it can be used."""
        raise NotImplementedError

    def close(self) -> None:
        """End it, and let go of all that it holds; also after a start that failed."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()


class Process(Running):
    """A program in a session of its own, with its directory and its log.

    Ctrl-C is for who started it, who then ends it in good order.
    """

    name = ""
    start_timeout = 60.0

    def __init__(self, directory: Path, log_file: Path) -> None:
        self.directory = directory
        self.log_file = log_file
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """The command line."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Its whole environment."""
        return {"PATH": os.environ["PATH"]}

    def is_ready(self) -> bool:
        """Whether it can be used."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start, and wait until it is ready."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + self.start_timeout
        while not self.is_ready():
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at start:\n{self._last_words()}")
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"{self.name} did not get ready:\n{self._last_words()}")
            time.sleep(0.05)
        return self

    def stop(self, sig: signal.Signals = signal.SIGTERM, timeout: float = STOP_TIMEOUT) -> int:
        """Ask it to end, kill what is left of it, and return its exit code: -9 if it did not."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(sig)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """Kill it and all its children at once; returns its exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        # The group outlives its leader: workers may be left when the leader is gone.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()

    def close(self) -> None:
        """End it."""
        self.stop()

    def log_text(self) -> str:
        """Everything that it has written so far."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def _last_words(self) -> str:
        return self.log_text()[-LOG_TAIL:]
