"""`infra/tenant`: who gets what, which names nobody gets, and that nothing of it is left behind."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.parts.platform import Plant, platform

pytestmark = [pytest.mark.real("openssl"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    """A platform with one tenant; tests leave it so."""
    with platform() as made:
        made.do("setup")
        made.do("tenant", "add", "acme", "--host", "localhost")
        yield made


def broker_files(plant: Plant) -> tuple[str, str]:
    """Passwords and access list."""
    folder = plant.infra / "secrets" / "mosquitto"
    return (folder / "passwords").read_text(encoding="utf-8"), (folder / "acl").read_text(encoding="utf-8")


def test_a_tenant_is_handed_all_that_its_edge_needs(plant):
    """Variables for the shipped graph, certificate with its name, the authority; two lines are left to fill in."""
    folder = plant.infra / "secrets" / "tenants" / "acme"
    assert {path.name for path in folder.iterdir()} == {".env", "ca.crt", "tls.crt", "tls.key"}
    env = plant.variables(folder / ".env")
    assert (env["TENANT_ID"], env["MQTT_USERNAME"], env["MQTT_USER"]) == ("acme", "acme", "acme")
    assert (env["MQTT_BROKER"], env["MQTT_PORT"], env["MQTT_TLS"]) == ("localhost", "8883", "true")
    assert env["MQTT_CA_FILE"] == "ca.crt"
    assert str(plant.infra) not in (folder / ".env").read_text(encoding="utf-8")
    assert env["MQTT_PASSWORD"] not in plant.env.values()
    assert [name for name, value in env.items() if not value] == ["PLC_ID", "PLC_IP"]
    passwords, acl = broker_files(plant)
    assert "\nacme:$7$" in passwords
    assert acl.endswith("user acme\ntopic readwrite plc/acme/#\n")


def test_adding_again_changes_nothing_and_setup_keeps_tenants(plant):
    """A lost certificate alone is made again."""
    before = broker_files(plant)
    assert plant.do("tenant", "add", "acme", "--host", "localhost") == "nothing to do: all is there\n"
    assert plant.do("setup") == "nothing to do: all is there\n"
    (plant.infra / "secrets" / "tenants" / "acme" / "tls.crt").unlink()
    assert "certificate of acme" in plant.do("setup")
    assert broker_files(plant) == before


def test_a_removed_tenant_leaves_nothing_behind(plant):
    """Neither folder nor user nor right; a dry run removes nothing."""
    before = broker_files(plant)
    plant.do("tenant", "add", "beta.2", "--host", "localhost")
    assert "plc/beta.2/#" in plant.do("tenant", "list")
    plant.do("tenant", "remove", "beta.2", "--dry-run")
    assert "beta.2" in plant.do("tenant", "list")
    plant.do("tenant", "remove", "beta.2")
    assert "beta.2" not in plant.do("tenant", "list")
    assert not (plant.infra / "secrets" / "tenants" / "beta.2").exists()
    assert broker_files(plant) == before
    assert "R\t" in (plant.infra / "secrets" / "authority" / "revoked.txt").read_text()


@pytest.mark.parametrize(
    "name",
    ["", "a/b", "+", "#", "..", ".x", "a b", "a:b", "a\nb", "é", "x" * 65, "db1", "DB500", "db", "tags", "telegraf",
     "edge_agent", "sensors", "health", "ACME", "doctor", "Doctor", "ca", "broker", "MQTT_PASSWORD", "acme."],
)  # fmt: skip
def test_names_that_would_reach_into_others_topics_are_refused(plant, name):
    """Wildcards and slashes; users of the platform; `plc/db1`, which frames without a tenant share; look-alikes."""
    before = broker_files(plant)
    done = plant.run("tenant", "add", name, "--host", "localhost")
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.strip().splitlines()) <= 2
    assert "Traceback" not in done.stderr
    assert broker_files(plant) == before
    assert plant.do("tenant", "list").split()[0] == "acme"


def test_several_at_once_are_all_there(plant):
    """Each writes the broker's files with all tenants in them."""
    names = [f"at-once-{n}" for n in range(4)]
    with ThreadPoolExecutor() as pool:
        said = [*pool.map(lambda name: plant.do("tenant", "add", name, "--host", "localhost"), names)]
    assert all("Hand over" in each for each in said)
    assert all(f"\n{name}:$7$" in broker_files(plant)[0] for name in names)
    for name in names:
        plant.do("tenant", "remove", name)


def test_what_is_not_there_is_said(plant):
    """An unknown tenant, a name that the broker's certificate lacks, a platform that is not set up."""
    for arguments, told in (
        (("remove", "nobody"), "there is no tenant 'nobody'; there are: acme"),
        (("add", "beta", "--host", "elsewhere.plant"), "first infra/setup --host elsewhere.plant"),
    ):
        done = plant.run("tenant", *arguments)
        assert (done.returncode, told in done.stderr) == (1, True), done.stderr
    with platform() as fresh:
        done = fresh.run("tenant", "list")
        assert (done.returncode, "first run infra/setup" in done.stderr) == (1, True)
