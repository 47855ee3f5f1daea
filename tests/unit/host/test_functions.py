"""What Open WebUI raises of an error that the user's browser passes on."""

from __future__ import annotations

import pytest

from opentelemetry.instrumentation.open_webui.host.surfaces.functions import DIRECT

QUOTA = {"message": "no", "type": "requests", "code": "insufficient_quota"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Exception(QUOTA), "insufficient_quota"),
        (Exception(str({"error": QUOTA})), "insufficient_quota"),
        (Exception(str({"error": {"code": 503, "status": "UNAVAILABLE"}})), "UNAVAILABLE"),
        (Exception(str({"error": {**QUOTA, "status": 429}})), "429"),
        (Exception(str({"status": 401, "title": "Unauthorized"})), "401"),
        (Exception(str({"status_code": "502", "detail": "x"})), "502"),
        (Exception(str({"error": {"code": "made up"}})), "_OTHER"),
        (Exception(str({"error": "words", "code": ["x"]})), "_OTHER"),
        (Exception("{}"), "_OTHER"),
        (Exception("words"), None),
        (Exception("(" * 10_000), None),
        (Exception("{'error': " * 1_000), None),
        (Exception(str({"error": {"message": "x" * 100_000}})), None),
        (Exception(), None),
        (Exception("a", "b"), None),
        (ValueError(str({"status": 401})), None),
    ],
)
def test_a_direct_connections_error_is_its_providers(error: Exception, told: str | None) -> None:
    assert DIRECT.told(error) == told
