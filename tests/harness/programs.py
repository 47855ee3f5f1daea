"""The real programs of the pipeline, on free loopback ports: collector, Prometheus, Jaeger, a page."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from harness.openwebui import HOST, free_port

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".tools" / "bin"
CONFIGS = ROOT / "collector-config"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
LOG_TAIL = 3000
SERVICE = "open-webui"
LIVE = ROOT / "pictures" / "live.mjs"


def tool(name: str) -> Path:
    """A program that `make tools` has built."""
    return BIN / name


class Program:
    """One process, its directory and its log."""

    name = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / self.name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log_file = self.directory / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """The command line."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """What it finds in its environment beside the path."""
        return {}

    @property
    def ready_url(self) -> str:
        """Answers with 200 once it is ready."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start, and wait until it is ready."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env={"PATH": os.environ["PATH"], **self.environment()},
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for who started it, who then ends it in good order.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} did not start:\n{self.log_text()[-LOG_TAIL:]}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End it as a service manager does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def log_text(self) -> str:
        """What it has said."""
        return self.log_file.read_text(errors="replace")

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _is_ready(self) -> bool:
        try:
            return httpx.get(self.ready_url, timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


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
