"""Instrumented servers, started as people start them."""

from __future__ import annotations

from harness.habits import teach
from harness.openwebui import Launcher, OpenWebUI
from harness.otlp import Receiver
from harness.provider import Provider
from harness.seed import seeded_server

PREFIX = "OTEL_PYTHON_OPEN_WEBUI_"


def otlp(receiver: Receiver, interval: float = 0.5) -> dict[str, str]:
    """Variables that send everything to the receiver, soon."""
    milliseconds = str(int(interval * 1000))
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRIC_EXPORT_INTERVAL": milliseconds,
        "OTEL_BSP_SCHEDULE_DELAY": milliseconds,
        "OTEL_BLRP_SCHEDULE_DELAY": milliseconds,
    }


def instrumented(
    provider: Provider,
    receiver: Receiver,
    env: dict[str, str] | None = None,
    *,
    launcher: Launcher = "instrument",
    workers: int = 1,
    interval: float = 0.5,
    experienced: bool = True,
) -> OpenWebUI:
    """A server with users in it that reports to the receiver.

    An experienced one has seen a stream of each model, and asks for the usage of the others.
    """
    server = seeded_server(
        provider,
        launcher=launcher,
        workers=workers,
        env={**otlp(receiver, interval), **(env or {})},
    )
    if experienced:
        teach(server, provider)
    return server
