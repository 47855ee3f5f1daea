"""``make stack``: the whole pipeline from local programs, with the demo's traffic flowing.

Open WebUI with the library, the collector, Prometheus, Jaeger and a page that shows our dashboards
on the live data, on free loopback ports, until Ctrl-C or SIGTERM. What is where stands in
``.stack/env`` once all is ready; the data stays.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx

from demo.servers import SETTING, RealProvider, Unusable, add_desk, real_provider
from demo.traffic import the_day
from harness.openwebui import OpenWebUI, RequestFailed, free_port
from harness.programs import ROOT, Collector, Jaeger, LivePage, Prometheus, Unavailable
from harness.provider import Provider
from harness.seed import seeded_server

HOME = ROOT / ".stack"
ENV_FILE = HOME / "env"
EXPORT_SECONDS = 5
PAUSE = 1.0
INTERRUPTED = 130
# Of the environment, what leads to another provider than the stand-in.
ELSEWHERE = ("OPENAI_API_BASE_URL", "OPENAI_API_KEY", "OLLAMA_BASE_URL")
# Exports come every 5 seconds; a scraping Prometheus would see them as often as it scrapes.
PAGE_INTERVAL = 15
# What says that there is a screen to open a page on.
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
PLACES = """\
  dashboards      {DASHBOARDS_URL}
                  our dashboards on the live data; a click on a trace shows it
  Open WebUI      {OPEN_WEBUI_URL}
  Prometheus      {PROMETHEUS_URL}/api/v1/query?query=open_webui_usage_requests_total
                  its API: the Go module that it is built from holds no web page
  Jaeger          {JAEGER_URL}/api/traces?service=open-webui
                  its API, likewise
  OTLP by HTTP    {COLLECTOR_OTLP_URL}
  ledger          {LEDGER_DIR}
"""
NO_PAGE = "(needs Node 20 and npm)"


def main() -> int:
    """Run the stack; the status to exit with."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    ENV_FILE.unlink(missing_ok=True)
    try:
        with ExitStack() as running:
            run(running, traffic=os.environ.get("TRAFFIC", "1") != "0")
    except KeyboardInterrupt:
        say("stopped; the data is in .stack")
        return 0
    except Unusable as problem:
        say(f"cannot go on: {problem}")
        return 2
    finally:
        ENV_FILE.unlink(missing_ok=True)
    return INTERRUPTED


def run(running: ExitStack, *, traffic: bool) -> None:
    """Start everything, say where it is, and stay."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    directory = HOME / time.strftime("%Y-%m-%dT%H%M%S")
    directory.mkdir(mode=0o700)
    has_page = prepared_page()
    jaeger, port = Jaeger(directory), free_port()
    prometheus = Prometheus(directory, port)
    collector = Collector(directory, prometheus.url, jaeger.otlp, metrics_port=port)
    provider = running.enter_context(Provider())
    for program in (prometheus, jaeger, collector):
        say(f"starting {program.name}")
        running.enter_context(program)
    real = provider_of_environment() if traffic else None
    say("starting Open WebUI")
    server = running.enter_context(open_webui(provider, collector, directory, traffic=traffic))
    if real:
        add_desk(server, real)
    page = LivePage(directory, prometheus.url, jaeger.url, interval=PAGE_INTERVAL)
    if has_page:
        running.enter_context(page)
    tell(
        {
            **({"DASHBOARDS_URL": page.url} if has_page else {}),
            "OPEN_WEBUI_URL": server.base_url,
            "PROMETHEUS_URL": prometheus.url,
            "JAEGER_URL": jaeger.url,
            "COLLECTOR_OTLP_URL": collector.otlp,
            "LEDGER_DIR": str(collector.ledger),
        }
    )
    if has_page:
        show(page.url)
    if traffic:
        admin = server.world.admin
        say(f"sign in to Open WebUI as {admin.email} with {admin.password}")
        flow(server, real)
    say("no traffic and no user: the first to sign up is the administrator")
    while True:
        time.sleep(3600)


def provider_of_environment() -> RealProvider | None:
    """The OpenAI-compatible provider that the environment names."""
    url = os.environ.get("OPENAI_API_BASE_URL")
    return real_provider(url, os.environ.get("OPENAI_API_KEY", ""), []) if url else None


def open_webui(
    provider: Provider, collector: Collector, directory: Path, *, traffic: bool
) -> OpenWebUI:
    """An Open WebUI that exports to the collector; with traffic, it has the demo's people."""
    milliseconds = str(EXPORT_SECONDS * 1000)
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_grpc,
        "OTEL_METRIC_EXPORT_INTERVAL": milliseconds,
        f"{SETTING}LEDGER": "true",
        f"{SETTING}PRICE_FILE": str(ROOT / "demo" / "prices.yaml"),
        # Users would not see the stand-in's models otherwise, nor those of another provider.
        "BYPASS_MODEL_ACCESS_CONTROL": "true",
        **{name: os.environ[name] for name in ELSEWHERE if os.environ.get(name)},
    }
    options = {"launcher": "instrument", "env": env, "data_dir": directory / "open-webui"}
    return seeded_server(provider, **options) if traffic else OpenWebUI(provider, **options)


def prepared_page() -> bool:
    """Whether the page with the dashboards is built, or can be."""
    try:
        LivePage.prepare()
    except Unavailable as problem:
        say(f"no page with the dashboards, which needs Node 20 and npm: {problem}")
        return False
    return True


def show(url: str) -> None:
    """Open a page where there is a screen."""
    if sys.platform == "darwin" or any(os.environ.get(name) for name in SCREENS):
        webbrowser.open(url)


def tell(places: Mapping[str, str]) -> None:
    """Write what is where for programs, and print it for people."""
    text = "".join(f"{name}={value}\n" for name, value in places.items())
    unfinished = ENV_FILE.with_name("env.unfinished")
    unfinished.write_text(text)
    unfinished.replace(ENV_FILE)
    say("all is ready (.stack/env says so to programs):")
    print(PLACES.format_map({"DASHBOARDS_URL": NO_PAGE, **places}), end="", flush=True)


def flow(server: OpenWebUI, real: RealProvider | None) -> None:
    """Live through the demo's day again and again."""
    for send in steps(server, real):
        try:
            send()
        except (RequestFailed, TimeoutError, httpx.HTTPError) as error:
            say(f"a request failed: {error or type(error).__name__}")
        time.sleep(PAUSE)


def steps(server: OpenWebUI, real: RealProvider | None) -> Iterator[Callable[[], None]]:
    """Everything that the people of the demo do, without an end."""
    day = the_day(real.stand_ins if real else None)
    while True:
        chats: dict[str, str] = {}
        for part in day:
            for step in part.steps:
                for _ in range(step.times):
                    yield lambda step=step, chats=chats: step.way.send(server, step, chats)


def say(text: str) -> None:
    """Show progress."""
    print(f"stack: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
