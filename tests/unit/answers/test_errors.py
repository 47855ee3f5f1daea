"""``error.type`` is one of a bounded set, whoever makes up the error."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.answers.errors import (
    CODES,
    of_answer,
    of_exception,
    of_status,
)

STATUSES = {str(status) for status in range(100, 600)}


class Made(ConnectionError):
    """Somebody's own."""


def pretending(name: str, module: str) -> type[Exception]:
    return type(name, (aiohttp.ClientPayloadError,), {"__module__": module})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError(), "ValueError"),
        (TimeoutError(), "TimeoutError"),
        (asyncio.IncompleteReadError(b"", 1), "IncompleteReadError"),
        (aiohttp.ClientPayloadError(), "ClientPayloadError"),
        (aiohttp.ServerDisconnectedError(), "ServerDisconnectedError"),
        (httpx.ReadTimeout(""), "ReadTimeout"),
        (requests.exceptions.ProxyError(), "ProxyError"),
        (json.JSONDecodeError("", "", 0), "JSONDecodeError"),
        (Made(), "ConnectionError"),
        (type("Random1", (Exception,), {})(), "Exception"),
        (pretending("Random2", "builtins")(), "ClientPayloadError"),
        (pretending("Random3", "aiohttp.client_exceptions")(), "ClientPayloadError"),
        (pretending("Random4", "no.such")(), "ClientPayloadError"),
    ],
)
def test_exceptions(error: BaseException, kind: str) -> None:
    assert of_exception(error) == kind


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "400"), (599, "599"), (100, "100"), (600, "_OTHER"), (0, "_OTHER")]
)
def test_statuses(status: int, kind: str) -> None:
    assert of_status(status) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "rate_limit_exceeded", "type": "requests"}, "rate_limit_exceeded"),
        ({"code": "r4nd0m", "type": "overloaded_error"}, "overloaded_error"),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, "429"),
        ({"code": "503"}, "503"),
        ({"code": "0503"}, "_OTHER"),
        ({"code": "\uff15\uff10\uff13"}, "_OTHER"),
        ({"code": 10**5000}, "_OTHER"),
        ({"code": True, "type": ["x"]}, "_OTHER"),
        (["rate_limit_exceeded"], "_OTHER"),
    ],
)
def test_errors_of_providers(error: object, kind: str) -> None:
    assert of_answer(error) == kind


names = st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.text()) | st.none()


@given(st.fixed_dictionaries({}, optional={"code": names, "type": names}))
def test_no_provider_makes_up_a_new_one(error: dict[str, Any]) -> None:
    assert of_answer(error) in CODES | STATUSES | {"_OTHER"}
