"""What a call asks of the host that it is made in: :mod:`~..host.runtime` answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from ..answers.estimates import Text
from ..providers import Provider
from ..settings import Settings
from .asking import UsageFilter
from .call import Asked, ModelCall
from .caller import Caller
from .endpoints import Endpoint
from .habits import Habits
from .live import LiveCall

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Memberships(Protocol):
    """Which groups users are in."""

    def fresh(self, user_id: str) -> bool:
        """Whether what is known of the user may be used."""

    async def wait(self, user_id: str) -> None:
        """Wait, for a moment at most, until the user's groups may be used."""

    def wait_in_thread(self, user_id: str) -> None:
        """Do the same from a thread, which may block."""


class Addresses(Protocol):
    """Where the configured providers are."""

    def has(self, url: str) -> bool:
        """Whether an address is a provider's."""

    def is_own(self, url: str) -> bool:
        """Whether an address is this server's."""

    def provider(self, url: str) -> Provider | None:
        """Return who is called at an address, where its configuration says so."""


class Host(Protocol):
    """The instrumented process."""

    habits: Habits

    @property
    def active(self) -> bool:
        """Whether the instrumentation is on."""

    @property
    def settings(self) -> Settings:
        """The settings in force."""

    @property
    def groups(self) -> Memberships:
        """Which groups users are in."""

    @property
    def connections(self) -> Addresses:
        """Where the configured providers are."""

    def measure(self, endpoint: Endpoint, payload: Mapping[str, Any]) -> Text | None:
        """Measure what a request gives to read, in case that nobody will say its tokens."""

    def passes_length_on(self) -> bool:
        """Whether clients are told the length that a provider gave its answer."""

    def unknown_caller(self, operation: str, path: str) -> Caller:
        """Return who is behind a call on a path that we do not know."""

    def permit(self, caller: Caller, asked: Asked) -> Awaitable[None] | None:
        """Raise what tells a refusal, if the limits refuse a call that nobody let in before.

        Returns:
            What does so; ``None`` if there are no limits.
        """

    def permit_in_thread(self, caller: Caller, asked: Asked) -> None:
        """Do the same where it may block for a moment."""

    def current(self, span: Span) -> AbstractContextManager[None]:
        """Make a span the parent of what happens inside."""

    def start_call(
        self,
        asked: Asked,
        caller: Caller,
        *,
        usage_filter: UsageFilter | None = None,
        on_end: Callable[[ModelCall], None] | None = None,
    ) -> LiveCall:
        """Start a call."""
