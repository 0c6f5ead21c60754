"""`infra/compose.yaml` as Docker Compose itself understands it, with what `infra/setup` has made; without an engine."""

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load
from tests.parts.compose import compose
from tests.parts.line import ROOT
from tests.parts.platform import INFRA, Plant, platform

pytestmark = [pytest.mark.real("openssl", "compose"), pytest.mark.timeout(120)]

PLATFORM = {"mosquitto", "influxdb", "influx-init", "telegraf", "grafana", "analytics", "backup"}
ONCE = {"influx-init"}
GB = 2 * 1024**3


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    """A platform that was just set up."""
    with platform() as made:
        made.do("setup")
        yield made


@pytest.fixture(scope="module")
def everything(plant: Plant) -> dict[str, Any]:
    """All services by name."""
    found: dict[str, Any] = compose(plant.infra / "compose.yaml", "platform", "edge", "demo")["services"]
    return found


def test_three_commands_start_the_platform_and_profiles_the_rest(plant):
    """Without a profile what `.env` names: the platform; an edge stands alone where the broker is another machine's."""
    file = plant.infra / "compose.yaml"
    assert set(compose(file)["services"]) == PLATFORM
    assert set(compose(file, "platform")["services"]) == PLATFORM
    assert set(compose(file, "edge")["services"]) == {"edge"}
    assert set(compose(file, "platform", "edge")["services"]) == PLATFORM | {"edge"}
    assert set(compose(file, "demo")["services"]) == PLATFORM | {"demo-edge", "plc"}


def test_what_was_not_set_up_is_not_started(plant, tmp_path):
    """Compose stops, and says what to run."""
    (tmp_path / "compose.yaml").write_text((plant.infra / "compose.yaml").read_text(encoding="utf-8"))
    with pytest.raises(AssertionError, match="run infra/setup first"):
        compose(tmp_path / "compose.yaml", "platform")


def test_only_these_ports_are_published(everything):
    """1883 and 9001 on loopback; what has no port is inside only."""
    published = {
        (port.get("host_ip", ""), port["published"], port["target"])
        for service in everything.values()
        for port in service.get("ports", ())
    }
    everywhere = {("", str(port), port) for port in (8883, 8884, 9108, 8086, 3000)}
    assert published == everywhere | {("127.0.0.1", "1883", 1883), ("127.0.0.1", "9001", 9001)}
    for name, service in everything.items():
        assert ("outside" in service["networks"]) or not service.get("ports"), name
        assert "inside" in service["networks"], name


def test_the_edge_has_its_own_password_where_an_earlier_user_has_the_other():
    """`EDGE_MQTT_PASSWORD` is what the broker was given for it."""
    with platform() as plant:
        (plant.infra / ".env").write_text("MQTT_USER=fabrica\nMQTT_PASSWORD=earlier\n", encoding="utf-8")
        plant.do("setup")
        edge = compose(plant.infra / "compose.yaml", "edge")["services"]["edge"]
        assert edge["environment"]["MQTT_PASSWORD"] == plant.env["EDGE_MQTT_PASSWORD"] != "earlier"


IMAGE = {"DATA_DIR": "/data", "METRICS_HOST": "0.0.0.0", "METRICS_PORT": "9108"}  # noqa: S104
EDGES = ["cpu", "db500", "exporter", "http", "lean", "line1", "line1-oee", "mirror", "s7plus"]


@pytest.mark.parametrize(
    ("service", "graph", "elsewhere"),
    [
        *(("edge", graph, set()) for graph in EDGES),
        ("analytics", "analytics", {"INFLUX_TOKEN", "INFLUX_SENSORS_TOKEN", "INFLUX_CA_FILE"}),
    ],
)
def test_a_shipped_graph_gets_every_variable_that_it_names(everything, service, graph, elsewhere):
    """An empty one leaves the graph its default, and the graph starts with the image's own, which open its page."""
    path = ROOT / "configs" / f"{graph}.yaml"
    text = re.sub(r"(?m)(^| )#.*", "", path.read_text(encoding="utf-8"))
    given = IMAGE | everything[service]["environment"]
    assert set(re.findall(r"\$\{(\w+)", text)) - elsewhere <= set(given)
    named = {"PLC_IP": "192.0.2.1", "MIRROR_IP": "192.0.2.2", "HTTP_URL": "https://server.plant"}
    load(path, given | named | dict.fromkeys(elsewhere - {"INFLUX_CA_FILE"}, "x"))


def test_telegraf_gets_every_variable_of_its_page_but_what_its_script_makes(everything):
    """How long its bucket keeps, and its names at the broker, among them."""
    text = (INFRA / "telegraf" / "telegraf.conf").read_text(encoding="utf-8")
    made = {"TELEGRAF_INFLUX_TOKEN", "TELEGRAF_INFLUX_SENSORS_TOKEN", "INFLUX_TOKEN"}
    inside = {"TELEGRAF_HEALTH_LISTEN"}
    assert set(re.findall(r"\$\{(\w+)", text)) - made - inside <= set(everything["telegraf"]["environment"])


def test_what_env_says_reaches_the_edge_and_its_own_graph(plant):
    """The shipped graphs' variables by `.env`, further ones by `.env.edge`; backups go where the host looks."""
    own = plant.infra / ".env.edge"
    own.write_text("MY_OVEN=192.0.2.9\nMQTT_PORT=1\n", encoding="utf-8")
    said = {"IDEAL_RATE": "90", "TIMEZONE": "America/Manaus", "MQTT_CERT_FILE": "/data/tls.crt", "BACKUP_DIR": "/mnt/b"}
    services = compose(plant.infra / "compose.yaml", "platform", "edge", environment=said)["services"]
    own.unlink()
    folder = said.pop("BACKUP_DIR")
    said |= {"MY_OVEN": "192.0.2.9", "MQTT_PORT": "8883"}
    assert said.items() <= services["edge"]["environment"].items()
    (mount,) = (each for each in services["backup"]["volumes"] if each["target"] == "/infra/backups")
    assert (mount["source"], "create_host_path" in mount["bind"]) == (folder, False)


def test_lan_1883_opens_that_port_and_no_other():
    """By `infra/setup --lan-1883`; `--no-lan-1883` takes it back."""
    with platform() as plant:
        plant.do("setup", "--lan-1883")
        for address, option in (("0.0.0.0", "--no-lan-1883"), ("127.0.0.1", "--lan-1883")):  # noqa: S104
            ports = compose(plant.infra / "compose.yaml")["services"]["mosquitto"]["ports"]
            found = {port["target"]: port.get("host_ip") for port in ports}
            assert (found[1883], found[9001]) == (address, "127.0.0.1")
            plant.do("setup", option)


def test_each_service_is_pinned_watched_bounded_and_nobody_in_particular(everything, plant):
    """A version, a health check, memory, rotated logs, no rights, the user who owns the files; 2 GB together."""
    owner = (plant.infra / "secrets").stat()
    for name, service in everything.items():
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.\d+(-[a-z-]+)?", service["image"]), name
        assert service["user"] == f"{owner.st_uid}:{owner.st_gid}", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["logging"] == {"driver": "json-file", "options": {"max-file": "5", "max-size": "10m"}}, name
        assert ("healthcheck" in service) or name in ONCE or service.get("build"), name
    memory = {name: int(service["mem_limit"]) for name, service in everything.items()}
    assert set(memory) == PLATFORM | {"edge", "demo-edge", "plc"}
    assert sum(memory.values()) <= GB


@pytest.mark.real("netns")
@pytest.mark.parametrize("by_hand", [False, True], ids=["service", "by hand"])
def test_the_simulated_press_answers_with_what_its_service_is_given(everything, plant, tmp_path, by_hand):
    """Its command with the image's and its own variables, or those of `.env`; then its health check, and a read."""
    text = (ROOT / "infra" / "Dockerfile").read_text(encoding="utf-8")
    image = dict(word.split("=", 1) for word in re.findall(r"^ENV (.*)$", text, re.MULTILINE)[-1].split())
    own = plant.env if by_hand else everything["plc"].get("environment", {})
    environment = {**image, **own, "PATH": os.environ["PATH"], "PIPELINE": f"{sys.executable} -m pipeline"}
    _, *check = everything["plc"]["healthcheck"]["test"]
    script = f"""
        ip link set lo up
        $PIPELINE {shlex.join(everything["plc"]["command"])} 2>log & plc=$!
        trap 'kill $plc; wait $plc; cat log' EXIT
        until grep -q listens log; do kill -0 $plc || exit 1; done
        {shlex.join([sys.executable, *check[1:]])} && $PIPELINE probe 127.0.0.1:1102 --db 1 --for 1s --json
    """
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    environment["PYTHONPATH"] = str(ROOT)
    command = ["unshare", "--net", "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"size": 14' in done.stdout, done.stdout


def test_who_waits_for_whom(everything):
    """Telegraf and Grafana begin when broker and database are healthy and the tokens are made."""
    for name, others in {
        "telegraf": {"mosquitto", "influxdb", "influx-init"},
        "grafana": {"influxdb", "influx-init"},
        "analytics": {"mosquitto", "influxdb", "influx-init"},
        "influx-init": {"influxdb"},
        "edge": {"mosquitto"},
    }.items():
        waits = everything[name]["depends_on"]
        assert others == set(waits), name
        for other in others:
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert waits[other]["condition"] == wanted, (name, other)
    assert everything["edge"]["depends_on"]["mosquitto"]["required"] is False


def test_all_data_are_in_folders_that_setup_has_made(everything, plant):
    """There is no volume that `down -v` could erase, nor a folder that Docker would make as root's."""
    assert "volumes" not in compose(plant.infra / "compose.yaml", "platform")
    owner = (plant.infra / "secrets").stat().st_uid
    for name, service in everything.items():
        for mount in service.get("volumes", ()):
            assert mount["type"] == "bind", name
            source = Path(mount["source"])
            shipped = ROOT / source.relative_to(plant.infra.parent)
            assert source.exists() or shipped.exists(), (name, source)
            if not mount.get("read_only"):
                assert source.is_dir(), (name, source)
                assert (source.stat().st_uid, stat.S_IMODE(source.stat().st_mode)) == (owner, 0o700), source


def test_a_service_sees_no_secret_that_is_not_its_own(everything, plant):
    """Of all that setup has made: the authority's key nobody, passwords and tokens who needs them."""
    env = plant.env
    secrets = {name: value for name, value in env.items() if name.endswith(("PASSWORD", "TOKEN", "SESSION"))}
    assert len(secrets) >= 8
    holders = {
        name: {secret for secret, value in secrets.items() if value in str(service)}
        for name, service in everything.items()
    }
    assert holders == {
        "mosquitto": set(),
        "influxdb": set(),
        "influx-init": {"INFLUX_PASSWORD", "INFLUX_TOKEN"},
        "telegraf": {"TELEGRAF_MQTT_PASSWORD", "TELEGRAF_SESSION", "EDGE_TOKEN"},
        "grafana": {"GRAFANA_PASSWORD"},
        "analytics": {"ANALYTICS_MQTT_PASSWORD", "ANALYTICS_SESSION", "EDGE_TOKEN"},
        "backup": {"INFLUX_TOKEN"},
        "edge": {"MQTT_PASSWORD", "EDGE_TOKEN"},
        "demo-edge": {"MQTT_PASSWORD", "EDGE_TOKEN"},
        "plc": set(),
    }
    for name, service in everything.items():
        for mount in service.get("volumes", ()):
            seen = Path(mount["source"])
            assert not (plant.infra / "secrets" / "authority" / "ca.key").is_relative_to(seen), (name, seen)


def test_a_tenants_env_starts_its_edge_on_another_machine(plant, tmp_path):
    """Taken over as `infra/.env` beside `ca.crt`: nothing else is needed but the PLC's address and name."""
    plant.do("tenant", "add", "acme", "--host", "localhost")
    elsewhere = tmp_path / "infra"
    elsewhere.mkdir()
    handed = plant.infra / "secrets" / "tenants" / "acme" / ".env"
    (elsewhere / "compose.yaml").write_text((plant.infra / "compose.yaml").read_text(encoding="utf-8"))
    (elsewhere / ".env").write_text(handed.read_text(encoding="utf-8"))
    services = compose(elsewhere / "compose.yaml")["services"]
    assert set(services) == {"edge"}
    given = services["edge"]["environment"]
    assert (given["MQTT_BROKER"], given["TENANT_ID"], given["MQTT_FALLBACK"]) == ("localhost", "acme", "refuse")
