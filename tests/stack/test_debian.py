"""The platform under Debian's packages: the page's own commands, on files of this machine that nobody else sees."""

import re
import subprocess

import pytest

from pipeline.config import load
from tests.parts.platform import INFRA, platform

pytestmark = [pytest.mark.real("netns", "mosquitto", "openssl"), pytest.mark.timeout(120)]

BEFORE = """
set -eu
ip link set lo up
mount -t tmpfs none /etc/mosquitto && mkdir /etc/mosquitto/conf.d
mount -t tmpfs none /var/lib/mosquitto && chown mosquitto: /var/lib/mosquitto
sudo() { "$@"; }
systemctl() { mosquitto -c /etc/mosquitto/mosquitto.conf & broker=$!; trap 'kill $broker; wait $broker' EXIT; }
"""
HEALTHY = """
check() { XDG_CONFIG_HOME=/etc/mosquitto/retrofit/health mosquitto_sub -t '$SYS/broker/uptime' -C 1 -W 3; }
for _ in $(seq 20); do check 2>/dev/null && break; kill -0 $broker; done
check
ss -Hltn | awk '{print "listens", $4}'
ps -o user= -p $broker
"""


def block(part: str) -> str:
    """The one block of commands in the page with this in it."""
    text = (INFRA / "README.md").read_text(encoding="utf-8")
    (found,) = [each for each in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if part in each]
    return found


INSTEAD = """
set -eu
mkdir -p /etc/grafana && mount -t tmpfs none /etc/grafana && mount -t tmpfs none /etc/systemd/system
sudo() { "$@"; }
systemctl() { echo "systemctl $*"; }
"""
PACKAGE = """
[Service]
User=grafana
ExecStart=/bin/true
"""


@pytest.mark.real("systemd")
def test_telegraf_and_grafana_get_units_variables_and_rights_by_the_documented_commands():
    """Systemd understands both; Grafana has what Compose would give it, and nobody else can read that."""
    after = (
        f"cat >/etc/systemd/system/grafana-server.service <<'END'{PACKAGE}END\n"
        "systemd-analyze verify --man=no grafana-server.service retrofit-telegraf.service retrofit-backup.timer 2>&1\n"
        "stat -c '%a %n' /etc/grafana/retrofit.env /etc/grafana/dashboards/fleet.json\n"
        "find /etc/grafana/provisioning -name influxdb.yaml; cat /etc/grafana/retrofit.env"
    )
    with platform() as plant:
        plant.do("setup")
        file = plant.infra / ".env"
        more = "ALERT_EMAIL=a@b.example\nSMTP_HOST=mail:25\nSMTP_FROM=g@b.example\n"
        file.write_text(file.read_text(encoding="utf-8") + more, encoding="utf-8")
        command = ["unshare", "--mount", "bash", "-c", "\n".join((INSTEAD, block("retrofit-telegraf"), after))]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=plant.infra.parent)
        password = plant.env["GRAFANA_PASSWORD"]
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    ours = [line for line in done.stdout.splitlines() if "retrofit" in line or "grafana-server" in line]
    assert "systemctl enable --now retrofit-telegraf grafana-server retrofit-backup.timer" in ours
    assert [line for line in ours if re.search("nknown|gnoring|nvalid|ailed", line)] == []
    assert "600 /etc/grafana/retrofit.env" in done.stdout
    assert "/etc/grafana/provisioning/datasources/influxdb.yaml" in done.stdout
    given = dict(line.split("=", 1) for line in done.stdout.splitlines() if re.match("[A-Z_]+=", line))
    assert given == {
        "INFLUX_URL": "http://localhost:8086",
        "INFLUX_ORG": "planta",
        "INFLUX_BUCKET": "processo",
        "GF_SECURITY_ADMIN_PASSWORD": password,
        "ALERT_EMAIL": "a@b.example",
        "GF_SMTP_HOST": "mail:25",
        "GF_SMTP_FROM_ADDRESS": "g@b.example",
    }


def test_the_analytics_get_their_variables_by_the_documented_commands():
    """As Compose gives them; its graph takes them, and nobody else can read them."""
    before = (
        'set -eu\nmkdir -p /etc/retrofit-pipeline && mount -t tmpfs none /etc/retrofit-pipeline\nsudo() { "$@"; }\n'
    )
    after = "stat -c '%a %n' /etc/retrofit-pipeline/*; cat /etc/retrofit-pipeline/analytics.env"
    with platform() as plant:
        plant.do("setup")
        for name in ("analytics", "analytics_sensors"):
            (plant.infra / "secrets" / "influx" / f"{name}.token").write_text(f"of-{name}\n", encoding="utf-8")
        steps = (before, 'systemctl() { echo "systemctl $*"; }', block("retrofit@analytics"), after)
        command = ["unshare", "--mount", "bash", "-c", "\n".join(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=plant.infra.parent)
        env = plant.env
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "644 /etc/retrofit-pipeline/ca.crt\n" in done.stdout
    assert "600 /etc/retrofit-pipeline/analytics.env\n" in done.stdout
    given = dict(line.split("=", 1) for line in done.stdout.splitlines() if re.match("[A-Z_]+=", line))
    assert given["MQTT_PASSWORD"] == env["ANALYTICS_MQTT_PASSWORD"]
    assert (given["INFLUX_TOKEN"], given["INFLUX_SENSORS_TOKEN"]) == ("of-analytics", "of-analytics_sensors")
    options = load(INFRA.parent / "configs" / "analytics.yaml", given).nodes["sensors_insights"].options
    assert (options.org, options.bucket) == ("mov_industria", "mov_dados")


def test_the_documented_commands_start_it_and_both_clients_come_in():
    """As the package's own user; an edge's message and a sensor's go through; without TLS only from this machine."""
    with platform() as plant:
        steps = (BEFORE, block("conf.d.debian"), HEALTHY, block("mosquitto_pub"))
        command = ["unshare", "--mount", "--net", "bash", "-c", "\n".join(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=plant.infra.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ seconds\n(listens .*\n)+mosqui", done.stdout, re.MULTILINE), done.stdout
    listeners = set(re.findall(r"^listens (.*)$", done.stdout, re.MULTILINE))
    assert {each for each in listeners if not each.endswith((":8883", ":8884"))} == {"127.0.0.1:1883"}
    assert done.stderr.count("u'edge_agent'") == 2
    assert "rror" not in done.stderr
