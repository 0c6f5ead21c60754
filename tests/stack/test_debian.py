"""The broker under Debian's package: the page's own commands, on files of this machine that nobody else sees."""

import re
import subprocess

import pytest

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
