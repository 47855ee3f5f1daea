"""Servers, a provider and an OTLP receiver for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.otlp import Receiver
from harness.postgres import Postgres
from harness.provider import Provider
from semconv.check import of_receiver


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Whatever the tests made the server report has to be as the conventions have it, too."""
    with Receiver() as receiver:
        yield receiver
        assert of_receiver(receiver) == []


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """What Open WebUI keeps embeddings in, without torch."""
    with Postgres() as database:
        yield database
