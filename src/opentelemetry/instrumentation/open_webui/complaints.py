"""What we have complained of in this process, kept for the doctor: logs are elsewhere, or gone."""

from __future__ import annotations

import logging
from typing import Final

_MOST: Final = 20
_LONGEST: Final = 600


class Complaints(logging.Handler):
    """Keeps our warnings and errors: the first few, each once and bounded."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a complaint."""
        text = " ".join(record.getMessage().split())[:_LONGEST]
        if len(self._kept) < _MOST:
            self._kept.setdefault(text, record.levelno)
        if logging.lastResort is not None and not self._has_company():
            # Python shows what no handler takes; with us there, it would not.
            logging.lastResort.handle(record)

    def _has_company(self) -> bool:
        """Whether others take our complaints, too: before logging is set up, nobody does."""
        logger: logging.Logger | None = logging.getLogger(__package__)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False

    def errors(self) -> list[str]:
        """Return what is to be mended."""
        return [text for text, level in tuple(self._kept.items()) if level >= logging.ERROR]

    def warnings(self) -> list[str]:
        """Return what is to be known."""
        return [text for text, level in tuple(self._kept.items()) if level < logging.ERROR]

    def clear(self) -> None:
        """Keep none of them."""
        self._kept.clear()


complaints: Final = Complaints()


def listen() -> None:
    """Keep complaints from now on."""
    logger = logging.getLogger(__package__)
    if complaints not in logger.handlers:
        logger.addHandler(complaints)


def stop() -> None:
    """Keep none any more."""
    complaints.clear()
    logging.getLogger(__package__).removeHandler(complaints)
