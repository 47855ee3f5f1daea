"""The real programs of the pipeline, on free loopback ports: collector, Prometheus, Jaeger, a page."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from harness.openwebui import HOST, free_port
from harness.running import Process

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".tools" / "bin"
CONFIGS = ROOT / "collector-config"
SERVICE = "open-webui"
LIVE = ROOT / "pictures" / "live.mjs"


def tool(name: str) -> Path:
    """A program that `make tools` has built."""
    return BIN / name


class Program(Process):
    """A program of the pipeline."""

    def __init__(self, directory: Path) -> None:
        own = directory / self.name
        own.mkdir(parents=True, exist_ok=True)
        super().__init__(own, own / "log.txt")

    @property
    def ready_url(self) -> str:
        """Answers with 200 once it is ready."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        try:
            return httpx.get(self.ready_url, timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


class Prometheus(Program):
    """Prometheus with our configuration, its addresses changed to what is here."""

    name = "prometheus"

    def __init__(self, directory: Path, collector_metrics_port: int = 8888) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._client = httpx.Client(timeout=60, trust_env=False)
        text = (ROOT / "prometheus" / "prometheus.yml").read_text()
        text = text.replace("collector:8888", f"{HOST}:{collector_metrics_port}")
        text = text.replace("localhost:9090", f"{HOST}:{self.port}")
        (self.directory / "prometheus.yml").write_text(text)
        shutil.copytree(ROOT / "prometheus" / "rules", self.directory / "rules", dirs_exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def ready_url(self) -> str:
        return f"{self.url}/-/ready"

    def command(self) -> Sequence[str]:
        return [
            str(tool("prometheus")),
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
            "--storage.tsdb.retention.time=400d",
            "--web.enable-otlp-receiver",
            "--web.cors.origin=none",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]

    def query(self, expression: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """The result of an instant query: labels and values."""
        data = {"query": expression, **({} if at is None else {"time": str(at)})}
        answer = self._ask("query", data)
        if answer["resultType"] == "scalar":
            return [({}, float(answer["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in answer["result"]]

    def query_range(
        self, expression: str, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """The result of a query over time: labels and points."""
        data = {"query": expression, "start": str(start), "end": str(end), "step": str(step)}
        return [
            (one["metric"], [(at, float(value)) for at, value in one["values"]])
            for one in self._ask("query_range", data)["result"]
        ]

    def _ask(self, what: str, data: dict[str, str]) -> dict[str, Any]:
        url = f"{self.url}/api/v1/{what}"
        answer = self._client.post(url, data=data).json()
        if answer["status"] != "success":
            raise ValueError(f"{answer['error']}: {data['query']}")
        return dict(answer["data"])


class Jaeger(Program):
    """Jaeger with our configuration."""

    name = "jaeger"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port, self._otlp_port = free_port(), free_port()
        self._grpc_port, self._health_port = free_port(), free_port()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def otlp(self) -> str:
        """Where the collector exports to, by OTLP over HTTP."""
        return f"http://{HOST}:{self._otlp_port}"

    @property
    def ready_url(self) -> str:
        return f"{self.url}/api/services"

    def command(self) -> Sequence[str]:
        return [str(tool("jaeger")), f"--config={ROOT / 'jaeger' / 'config.yaml'}"]

    def environment(self) -> Mapping[str, str]:
        return {
            **super().environment(),
            "JAEGER_DATA_DIR": str(self.directory / "data"),
            "JAEGER_OTLP_ENDPOINT": f"{HOST}:{self._otlp_port}",
            "JAEGER_QUERY_ENDPOINT": f"{HOST}:{self.port}",
            "JAEGER_QUERY_GRPC_ENDPOINT": f"{HOST}:{self._grpc_port}",
            "JAEGER_HEALTH_ENDPOINT": f"{HOST}:{self._health_port}",
        }

    def traces(self, tags: str = "{}", limit: int = 1500) -> list[dict[str, Any]]:
        """The traces of Open WebUI with these tags, a JSON object."""
        params = {"service": SERVICE, "tags": tags, "limit": str(limit), "lookback": "1h"}
        url = f"{self.url}/api/traces"
        answer = httpx.get(url, params=params, timeout=30, trust_env=False).raise_for_status()
        return list(answer.json()["data"] or ())


class Collector(Program):
    """The collector with our configurations, the later ones on top of the earlier ones."""

    name = "collector"

    def __init__(
        self,
        directory: Path,
        prometheus_url: str,
        jaeger: str,
        *switches: str,
        env: Mapping[str, str] | None = None,
        metrics_port: int = 0,
    ) -> None:
        super().__init__(directory)
        self._switches = switches
        self._env = dict(env or {})
        self._backends = {"PROMETHEUS_URL": prometheus_url, "JAEGER_OTLP_URL": jaeger}
        self.metrics_port = metrics_port or free_port()
        self._ports = {name: free_port() for name in ("GRPC", "HTTP", "LEDGER", "HEALTH", "SCRAPE")}
        self.ledger = self.directory / "ledger"

    @property
    def otlp(self) -> str:
        """Where Open WebUI exports to, by OTLP over HTTP."""
        return f"http://{HOST}:{self._ports['HTTP']}"

    @property
    def otlp_grpc(self) -> str:
        return f"http://{HOST}:{self._ports['GRPC']}"

    @property
    def scrape_url(self) -> str:
        """Where a Prometheus may scrape Open WebUI's metrics, with the switch `scrape`."""
        return f"http://{HOST}:{self._ports['SCRAPE']}/metrics"

    @property
    def ready_url(self) -> str:
        return f"http://{HOST}:{self._ports['HEALTH']}"

    def files(self) -> Sequence[str]:
        """The names of its configurations."""
        return ("gateway", *self._switches)

    def command(self) -> Sequence[str]:
        files = self.files()
        return [str(tool("otelcol")), *(f"--config={CONFIGS / name}.yaml" for name in files)]

    def environment(self) -> Mapping[str, str]:
        return {
            **super().environment(),
            **{
                f"COLLECTOR_{name}_ENDPOINT": f"{HOST}:{port}" for name, port in self._ports.items()
            },
            "COLLECTOR_METRICS_PORT": str(self.metrics_port),
            "COLLECTOR_QUEUE_DIR": str(self.directory / "queue"),
            "LEDGER_DIR": str(self.ledger),
            **self._backends,
            **self._env,
        }


class Agent(Collector):
    """A collector that hands on to a gateway."""

    name = "agent"

    def __init__(self, directory: Path, gateway: Collector) -> None:
        endpoint = gateway.otlp_grpc.removeprefix("http://")
        env = {"GATEWAY_OTLP_ENDPOINT": endpoint, "GATEWAY_INSECURE": "true"}
        super().__init__(directory, "", "", env=env)

    def files(self) -> Sequence[str]:
        """Its one configuration."""
        return ("agent",)


class Unavailable(Exception):
    """A program cannot be had here."""


class LivePage(Program):
    """Our dashboards in a browser, drawn by Grafana's components from what Prometheus answers now."""

    name = "page"

    def __init__(
        self, directory: Path, prometheus_url: str, jaeger_url: str, *, interval: int
    ) -> None:
        """``interval`` is how often Open WebUI exports, in seconds."""
        super().__init__(directory)
        self.port = free_port()
        self._options = {
            "prometheus": prometheus_url,
            "jaeger": jaeger_url,
            "interval": str(interval),
            "port": str(self.port),
        }

    @staticmethod
    def prepare() -> None:
        """Install and build what is missing: a minute, once.

        Raises:
            Unavailable: There is no Node, it is too old, or its packages cannot be had.
        """
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise Unavailable(f"there is no {program}")
        done = subprocess.run(
            ["node", str(LIVE), "--prepare"], stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"node ended with {done.returncode}"]
            raise Unavailable(lines[-1])

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def ready_url(self) -> str:
        return f"{self.url}/settings.json"

    def command(self) -> Sequence[str]:
        options = [part for name, value in self._options.items() for part in (f"--{name}", value)]
        return ["node", str(LIVE), *options]
