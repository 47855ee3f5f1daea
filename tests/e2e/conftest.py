"""Servers, a provider and an OTLP receiver for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.otlp import Receiver
from harness.postgres import Postgres
from harness.provider import Provider


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """What Open WebUI keeps embeddings in, without torch."""
    with Postgres() as database:
        yield database
