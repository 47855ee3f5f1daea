"""The configurations, by the programs that read them, and the compose file by its specification."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import version
from itertools import product
from pathlib import Path

import pytest
import yaml

from harness.programs import CONFIGS, ROOT, tool

SALT = "0123456789abcdef0123456789abcdef"
CONFIGURATIONS = "".join((CONFIGS / f"{name}.yaml").read_text() for name in ("gateway", "scrape"))
# What says where the collector listens.
LISTENS = set(re.findall(r"COLLECTOR_(?:\w+_ENDPOINT|METRICS_HOST)", CONFIGURATIONS))
INPUTS = [("privacy", "off"), ("sampling", "off"), ("scrape", "clickhouse", "off")]


def validate(*files: str, salt: str = SALT) -> subprocess.CompletedProcess[str]:
    environ = {"PRIVACY_SALT": salt} if salt else {}
    command = [tool("otelcol"), "validate", *(f"--config={CONFIGS / name}.yaml" for name in files)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("switches", product(*INPUTS), ids="-".join)
def test_the_gateway_with_every_choice_of_switches(switches: tuple[str, ...]) -> None:
    done = validate("gateway", *switches)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "http://127.0.0.1:9090/api/v1/otlp"),
        ({"PROMETHEUS_URL": "https://prometheus"}, "https://prometheus/api/v1/otlp"),
        (
            {"PROMETHEUS_URL": "http://mimir:8080", "PROMETHEUS_OTLP_PATH": "/otlp"},
            "http://mimir:8080/otlp",
        ),
        (
            {"PROMETHEUS_URL": "http://vm:8428", "PROMETHEUS_OTLP_PATH": "/opentelemetry"},
            "http://vm:8428/opentelemetry",
        ),
    ],
)
def test_metrics_go_to_the_path_of_whoever_takes_them(
    environ: dict[str, str], address: str
) -> None:
    command = [tool("otelcol"), "print-config", f"--config={CONFIGS / 'gateway.yaml'}"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    exporter = yaml.safe_load(done.stdout)["exporters"]["otlp_http/prometheus"]
    assert exporter["endpoint"] == address


def test_the_agent() -> None:
    done = validate("agent")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("salt", ["", "short"])
def test_without_a_salt_the_privacy_switch_fails_closed(salt: str) -> None:
    done = validate("gateway", "privacy", salt=salt)
    assert done.returncode != 0
    assert "hmac_key must" in done.stderr


def test_prometheus_and_its_rules() -> None:
    for command in (
        ["check", "config", "--syntax-only", ROOT / "prometheus" / "prometheus.yml"],
        ["check", "rules", *sorted((ROOT / "prometheus" / "rules").glob("*.yml"))],
    ):
        done = subprocess.run(
            [tool("promtool"), *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_attribute_of_the_contract_is_on_the_allow_list() -> None:
    from opentelemetry.instrumentation.open_webui import names

    config = yaml.safe_load((CONFIGS / "privacy.yaml").read_text())
    allowed = set(config["processors"]["redaction/privacy"]["allowed_keys"])
    emitted = {
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", value)
    } - {names.SCOPE, names.USAGE_EVENT, names.PROVIDER_NAME and "open_webui.pipe"}
    assert emitted - allowed == set()


# --- compose.yaml ---------------------------------------------------------------------------------


def interpolated() -> str:
    """The file as it is with everything set in .env that has no default."""
    given = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
    return given.sub(
        lambda found: found[3] if found[2] == "-" else "given", (ROOT / "compose.yaml").read_text()
    )


def test_the_compose_file_is_one() -> None:
    compose_spec = pytest.importorskip("compose_spec")
    document = yaml.safe_load(interpolated())
    plain = yaml.safe_dump({key: value for key, value in document.items() if key[:2] != "x-"})
    parsed = compose_spec.PyCompose.from_yaml(plain)
    parsed.validate()
    assert set(parsed.service_names()) >= {
        "open-webui",
        "collector",
        "prometheus",
        "jaeger",
        "grafana",
    }


def test_open_webui_reaches_the_collector_and_no_store() -> None:
    """Users' tools and functions run in its container."""
    document = yaml.safe_load(interpolated())
    on: dict[str, set[str]] = {}
    for name, service in document["services"].items():
        if service.get("network_mode") != "none":
            on[name] = set(service["networks"])
    assert set().union(*on.values()) == set(document["networks"])
    [shared] = on["open-webui"]
    assert {name for name, networks in on.items() if shared in networks} == {
        "open-webui",
        "collector",
    }
    stores = {name for name, networks in on.items() if networks == {"stores"}}
    assert stores == {"prometheus", "jaeger", "grafana"}
    # A container listens on all its networks, unless it is told an address of one of them.
    collector = document["services"]["collector"]
    places = {key: value for key, value in collector["environment"].items() if key in LISTENS}
    everywhere = {key for key, value in places.items() if value.startswith("0.0.0.0")}
    assert everywhere == {"COLLECTOR_GRPC_ENDPOINT", "COLLECTOR_HTTP_ENDPOINT"}
    [alias] = collector["networks"]["stores"]["aliases"]
    assert {places[key] for key in places.keys() - everywhere} == {alias}
    assert alias not in on
    assert not (collector["networks"][shared] or {}).get("aliases")
    for name in LISTENS - places.keys():
        defaults = re.findall(rf"\$\{{env:{name}:-([^}}]+)\}}", CONFIGURATIONS)
        assert defaults, name
        assert all(default.startswith("127.0.0.1") for default in defaults), name


def test_no_page_of_another_origin_reads_from_prometheus() -> None:
    command = yaml.safe_load(interpolated())["services"]["prometheus"]["command"]
    assert "--web.cors.origin=none" in command


def test_only_its_owner_reads_what_the_collector_keeps() -> None:
    services = yaml.safe_load(interpolated())["services"]
    [*_, command] = services["collector-volume"]["command"]
    user, directory = services["collector"]["user"], "/var/lib/otelcol"
    assert command == f"chown -R {user} {directory} && chmod -R go= {directory}"
    gateway = yaml.safe_load((CONFIGS / "gateway.yaml").read_text())
    agent = yaml.safe_load((CONFIGS / "agent.yaml").read_text())
    for part in (
        gateway["extensions"]["file_storage"],
        gateway["exporters"]["file/ledger"],
        agent["extensions"]["file_storage"],
    ):
        assert part["directory_permissions"] == "0700"


def test_the_compose_file_keeps_to_its_rules() -> None:
    text = (ROOT / "compose.yaml").read_text()
    example = (ROOT / ".env.example").read_text()
    services = yaml.safe_load(interpolated())["services"]
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert "build" in service or re.search(r":v?\d+\.\d+", service["image"]), name
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume
    for variable in set(re.findall(r"\$\{(\w+)", text)):
        assert re.search(rf"^{variable}=", example, re.M), variable
    # The image works as it stands there, and is of a version of Open WebUI that is tested.
    [image] = re.findall(r"^OPEN_WEBUI_IMAGE=(.*)$", example, re.M)
    assert re.fullmatch(r"[a-z-]+/[a-z-]+:[\d.]+", image)
    assert image.rpartition(":")[2] == version("open-webui")
    secrets = re.findall(r"^(\w*(?:KEY|PASSWORD|SALT))=(.*)$", example, re.M)
    assert len(secrets) >= 4
    assert all(value == "" for _, value in secrets)
    assert "depends_on" in services["open-webui"]


def test_files_that_a_person_changes_say_what_they_are() -> None:
    for path in (
        *CONFIGS.glob("*.yaml"),
        ROOT / "compose.yaml",
        ROOT / "prometheus/prometheus.yml",
    ):
        assert Path(path).read_text().startswith("# "), path
