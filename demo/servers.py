"""The Open WebUI of the demo, with the stand-in provider or with a real one behind it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from harness.habits import teach
from harness.openwebui import HOST, OpenWebUI, free_port
from harness.provider import Provider
from harness.seed import WorkspaceModel, create_model, seeded_server

SETTING = "OTEL_PYTHON_OPEN_WEBUI_"
ANNOUNCE_SECONDS = 1
A_DAY = 86_400
DESK = "frontdesk"
LIST_TIMEOUT = 30.0
# The server gets a clean environment; the way to a real provider may need these of ours.
NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Unusable(Exception):
    """The real provider cannot be used as asked."""


@dataclass(frozen=True)
class RealProvider:
    """An OpenAI-compatible API of somebody else's."""

    url: str
    key: str
    models: tuple[str, ...]

    @property
    def stand_ins(self) -> dict[str, str]:
        """Models of the day by what takes their place here."""
        return {"gpt-std": self.models[0], "gpt-mini": self.models[-1], "helpdesk": DESK}

    def environment(self) -> dict[str, str]:
        """What Open WebUI needs to use it and nothing else."""
        names = [spelt for name in NETWORK for spelt in (name, name.lower())]
        return {
            "OPENAI_API_BASE_URL": self.url,
            "OPENAI_API_KEY": self.key,
            "ENABLE_OLLAMA_API": "false",
            # Nobody gave its models to our users.
            "BYPASS_MODEL_ACCESS_CONTROL": "true",
            # The check against the provider's log is what these are for, and there is none.
            "ENABLE_FORWARD_USER_INFO_HEADERS": "false",
            **{name: os.environ[name] for name in names if name in os.environ},
        }


def real_provider(url: str, key: str, models: Sequence[str]) -> RealProvider:
    """The provider with the models to use: the first one that it lists, if none are given."""
    url = url.rstrip("/")
    offered = offered_models(url, key)
    unknown = [model for model in models if model not in offered]
    if unknown:
        raise Unusable(f"{url} does not offer {', '.join(unknown)}; it has {', '.join(offered)}")
    return RealProvider(url, key, tuple(models) or (offered[0],))


def offered_models(url: str, key: str) -> list[str]:
    """Ids of the models that a provider lists."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{url}/models", headers=headers, timeout=LIST_TIMEOUT)
        models = [str(model["id"]) for model in answer.raise_for_status().json()["data"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise Unusable(f"cannot list the models of {url}: {error}") from error
    if not models:
        raise Unusable(f"{url} offers no model")
    return models


@dataclass(frozen=True)
class Demo:
    """An Open WebUI that is not started yet, and where its metrics will be."""

    server: OpenWebUI
    metrics_url: str


def prepared(provider: Provider, real: RealProvider | None) -> Demo:
    """The server under the instrumentation, with users, groups and models in its database."""
    port = free_port()
    env = {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": HOST,
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
        f"{SETTING}ANNOUNCE_SECONDS": str(ANNOUNCE_SECONDS),
        # Nothing may fall silent: without a Prometheus to ask for increases, totals are read.
        f"{SETTING}IDLE_SECONDS": str(A_DAY),
        f"{SETTING}LEDGER": "true",
        f"{SETTING}PRICE_FILE": str(Path(__file__).with_name("prices.yaml")),
        **(real.environment() if real else {}),
    }
    server = seeded_server(provider, launcher="instrument", env=env)
    if real is None:
        # Not the first day: of which models to ask for usage has been learned (docs/numbers.md).
        teach(server, provider)
    return Demo(server, f"http://{HOST}:{port}/metrics")


def add_desk(server: OpenWebUI, real: RealProvider) -> None:
    """A workspace model on a real one, so that picked and requested models differ here, too."""
    system = {"system": "You are the front desk."}
    create_model(server, WorkspaceModel(DESK, "Front Desk", real.models[0], system, {}))
