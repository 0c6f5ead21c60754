"""`infra/setup`: makes what is missing, keeps what is there, shows no secret, and says what is wrong."""

import ast
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.platform import INFRA, Plant, platform

pytestmark = [pytest.mark.real("openssl"), pytest.mark.timeout(180)]

EARLIER = """\
# MQTT Credentials
MQTT_USER=seu_usuario
MQTT_PASSWORD='sua senha # com espaço'

INFLUX_USER=admin
INFLUX_PASSWORD=sua_senha_influx  # Mínimo 8 caracteres
INFLUX_ORG=mov_industria
export INFLUX_BUCKET="mov_dados"
INFLUX_TOKEN=
GRAFANA_PASSWORD=sua_senha_grafana
"""
"""A file as the platform before this one had it, with what people make of such files."""


@pytest.fixture
def plant() -> Iterator[Plant]:
    """A platform, not set up."""
    with platform() as made:
        yield made


def contents(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file: bytes, rights, time of change."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def secrets_of(plant: Plant) -> set[str]:
    """Every generated secret there is, tenants' too."""
    files = [plant.infra / ".env", *(plant.infra / "secrets" / "tenants").glob("*/.env")]
    return {
        value
        for file in files
        for name, value in plant.variables(file).items()
        if name.endswith(("PASSWORD", "TOKEN", "SESSION")) and value
    }


def passwords(plant: Plant) -> dict[str, str]:
    """Mosquitto's users with their hashes."""
    text = (plant.infra / "secrets" / "mosquitto" / "passwords").read_text(encoding="utf-8")
    return dict(line.split(":", 1) for line in text.splitlines())


def logs_in(kept: str, password: str) -> bool:
    """Whether Mosquitto would take the password: PBKDF2 with SHA-512."""
    _, kind, rounds, salt, digest = kept.split("$")
    assert kind == "7"
    return hashlib.pbkdf2_hmac("sha512", password.encode(), b64decode(salt), int(rounds)) == b64decode(digest)


def test_the_first_run_makes_all_and_the_second_nothing(plant):
    """The second one also leaves every byte, right and time as it is."""
    assert "up -d" in plant.do("setup")
    before = contents(plant.infra)
    assert plant.do("setup") == "nothing to do: all is there\n"
    assert plant.do("setup", "--check") == "nothing to do: all is there\n"
    assert contents(plant.infra) == before
    env = plant.env
    assert {"COMPOSE_PROFILES", "INFLUX_ORG", "INFLUX_BUCKET", "MQTT_USER", "MQTT_USERNAME"} <= env.keys()
    generated = secrets_of(plant)
    assert len(generated) == 11
    assert all(re.fullmatch(r"[A-Za-z0-9]{32}", each) for each in generated)
    assert Path(env["MQTT_CA_FILE"]).is_file()


def test_nobody_else_may_read_and_the_owner_of_the_folder_owns_all(plant):
    """600 and 700; one file is for everybody: the authority's certificate. The containers run as that owner."""
    if os.getuid() == 0:
        os.chown(plant.infra, 1234, 1235)
    plant.do("setup")
    owner = plant.infra.stat()
    env = plant.env
    assert (env["PLATFORM_UID"], env["PLATFORM_GID"]) == (str(owner.st_uid), str(owner.st_gid))
    made = [plant.infra / ".env", *(plant.infra / "secrets").rglob("*"), *(plant.infra / "data").rglob("*")]
    assert len(made) > 20
    for path in made:
        wanted = 0o700 if path.is_dir() else 0o644 if path == plant.infra / "secrets" / "ca.crt" else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
        assert path.stat().st_uid == owner.st_uid, path


def test_a_dry_run_tells_and_changes_nothing(plant):
    """Neither before the first run, nor of a rotation."""
    before = contents(plant.infra)
    assert "nothing was changed" in plant.do("setup", "--dry-run")
    assert contents(plant.infra) == before
    assert not (plant.infra / "secrets").exists()
    plant.do("setup")
    before = contents(plant.infra)
    told = plant.do("setup", "--dry-run", "--rotate", "broker", "--rotate", "MQTT_PASSWORD", "--host", "broker.plant")
    assert "MQTT_PASSWORD" in told
    assert contents(plant.infra) == before


def test_no_secret_is_ever_shown(plant):
    """Not by a run, a rotation, a tenant, or a mistake; neither the old ones nor the new."""
    said = plant.do("setup")
    known = secrets_of(plant)
    for command, *arguments in (
        ("tenant", "add", "acme", "--host", "localhost"),
        ("setup", "--rotate", "MQTT_PASSWORD", "--rotate", "acme", "--rotate", "ca", "--rotate", "GRAFANA_PASSWORD"),
        ("setup", "--check"),
        ("setup", "--dry-run", "--rotate", "EDGE_TOKEN"),
        ("tenant", "list"),
        ("setup", "--rotate", "INFLUX_TOKEN"),
        ("tenant", "remove", "acme"),
    ):
        done = plant.run(command, *arguments)
        said += done.stdout + done.stderr
        known |= secrets_of(plant)
    assert len(known) >= 12
    assert [secret for secret in known if secret in said] == []
    assert "PRIVATE KEY" not in said


def test_an_earlier_env_stays_as_it_is_and_is_completed(plant):
    """Comments, quotes and all; its user may send what sensors send; an empty secret is filled in."""
    (plant.infra / ".env").write_text(EARLIER, encoding="utf-8")
    plant.do("setup")
    lines = (plant.infra / ".env").read_text(encoding="utf-8").splitlines()
    earlier = [line for line in EARLIER.splitlines() if line != "INFLUX_TOKEN="]
    assert [line for line in lines if line in earlier and line] == [line for line in earlier if line]
    assert len([line for line in lines if re.match("INFLUX_TOKEN=[A-Za-z0-9]{32}$", line)]) == 1
    users = passwords(plant)
    assert logs_in(users["seu_usuario"], "sua senha # com espaço")
    assert not logs_in(users["edge_agent"], "sua senha # com espaço")
    assert logs_in(users["edge_agent"], plant.env["EDGE_MQTT_PASSWORD"])
    acl = (plant.infra / "secrets" / "mosquitto" / "acl").read_text(encoding="utf-8")
    assert "user seu_usuario\ntopic write mov/dados/#\n" in acl
    assert plant.do("setup") == "nothing to do: all is there\n"


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("MQTT_PASSWORD='Prensa$Linha1\\n' # it's $5", "Prensa$Linha1\\n"),
        ("MQTT_PASSWORD=\"it's # 1\"  # the press's", "it's # 1"),
        ("MQTT_PASSWORD = a\\b`c#d'e  # $x", "a\\b`c#d'e"),
    ],
)
def test_a_value_is_read_as_compose_reads_it(plant, line, password):
    """Literally between apostrophes; up to a blank and # where there are no quotes."""
    (plant.infra / ".env").write_text(f"{line}\n", encoding="utf-8")
    plant.do("setup")
    assert logs_in(passwords(plant)["edge_agent"], password)


def test_the_edges_own_password_beside_an_earlier_users_is_told_and_rotated(plant):
    """Where there is none of its own, there is none to rotate."""
    (plant.infra / ".env").write_text(EARLIER, encoding="utf-8")
    assert "EDGE_MQTT_PASSWORD is new, and edge_agent's: every edge needs it as MQTT_PASSWORD" in plant.do("setup")
    before, old = passwords(plant), plant.env["EDGE_MQTT_PASSWORD"]
    assert "EDGE_MQTT_PASSWORD is new" not in plant.do("setup", "--rotate", "EDGE_MQTT_PASSWORD")
    after = passwords(plant)
    assert {user for user in after if after[user] != before[user]} == {"edge_agent"}
    assert not logs_in(after["edge_agent"], old)
    (plant.infra / ".env").unlink()
    plant.do("setup")
    assert "EDGE_MQTT_PASSWORD" not in plant.env
    assert "there is no 'EDGE_MQTT_PASSWORD'" in plant.run("setup", "--rotate", "EDGE_MQTT_PASSWORD").stderr


def test_names_of_sessions_are_added_to_an_older_env_and_the_former_ones_are_told(plant):
    """Once: the broker goes on keeping messages for the sessions that nobody comes back to."""
    assert "former sessions" not in plant.do("setup")
    env = plant.infra / ".env"
    lines = env.read_text(encoding="utf-8").splitlines(keepends=True)
    env.write_text("".join(line for line in lines if "_SESSION=" not in line), encoding="utf-8")
    assert "former sessions at the broker" in plant.do("setup")
    assert len(plant.env["TELEGRAF_SESSION"]) == len(plant.env["ANALYTICS_SESSION"]) == 32
    assert plant.do("setup") == "nothing to do: all is there\n"


def test_sensors_of_an_earlier_env_keep_their_password_where_their_user_has_the_same_name(plant):
    """`MQTT_USER=sensors`: what sensors out there log in with goes on, and is not the edge's."""
    (plant.infra / ".env").write_text("MQTT_USER=sensors\nMQTT_PASSWORD=earlier\n", encoding="utf-8")
    plant.do("setup")
    users = passwords(plant)
    assert logs_in(users["sensors"], "earlier")
    assert not logs_in(users["edge_agent"], "earlier")


def test_variables_may_lie_elsewhere(plant, tmp_path):
    """A link to them stays one, and what it leads to is completed."""
    kept = tmp_path / "kept"
    kept.write_text("PLC_ID=press\n", encoding="utf-8")
    (plant.infra / ".env").symlink_to(kept)
    plant.do("setup")
    assert (plant.infra / ".env").is_symlink()
    assert kept.read_text(encoding="utf-8").startswith("PLC_ID=press\n\n# ")
    assert plant.do("setup", "--check") == "nothing to do: all is there\n"
    assert {path.name for path in tmp_path.iterdir()} == {"kept"}


def test_a_folder_that_was_moved_is_told_and_mended(plant):
    """Edges on this machine look for the authority where it is now; another file of one's own stays."""
    plant.do("setup")
    moved = plant.infra.parent / "moved"
    shutil.move(plant.infra, moved)
    plant.infra = moved
    checked = plant.run("setup", "--check")
    assert (checked.returncode, "MQTT_CA_FILE" in checked.stdout) == (1, True), checked.stdout
    plant.do("setup")
    assert plant.env["MQTT_CA_FILE"] == str(moved / "secrets" / "ca.crt")
    env = moved / ".env"
    env.write_text(re.sub("(?m)^MQTT_CA_FILE=.*", "MQTT_CA_FILE=/elsewhere/ca.crt", _env(moved)), encoding="utf-8")
    assert plant.do("setup", "--check") == "nothing to do: all is there\n"


def test_a_shell_reads_the_file_as_setup_wrote_it(plant):
    """`. infra/.env`, in a folder whose name has a blank."""
    moved = plant.infra.parent / "a b"
    shutil.move(plant.infra, moved)
    plant.infra = moved
    plant.do("setup")
    done = subprocess.run(
        ["sh", "-c", '. ./.env; printf %s "$MQTT_CA_FILE"'], cwd=moved, capture_output=True, text=True, check=True
    )
    assert done.stdout == str(moved / "secrets" / "ca.crt")


@pytest.mark.parametrize("name", ["MQTT_PASSWORD", "TELEGRAF_MQTT_PASSWORD", "HEALTH_MQTT_PASSWORD", "EDGE_TOKEN"])
def test_a_rotated_secret_changes_everywhere_and_nothing_else_does(plant, name):
    """One line of .env; the one user's hash; the health check's login."""
    plant.do("setup")
    old, users = plant.env, passwords(plant)
    said = plant.do("setup", "--rotate", name)
    assert "HUP" in said
    new = plant.env
    assert {variable for variable in new if new[variable] != old[variable]} == {name}
    changed = {user for user, kept in passwords(plant).items() if kept != users[user]}
    user = {"MQTT_PASSWORD": "edge_agent", "TELEGRAF_MQTT_PASSWORD": "telegraf", "HEALTH_MQTT_PASSWORD": "health"}
    assert changed == ({user[name]} if name in user else set())
    for each in changed:
        assert logs_in(passwords(plant)[each], new[name])
        assert not logs_in(passwords(plant)[each], old[name])
    health = (plant.infra / "secrets" / "mosquitto" / "health" / "mosquitto_sub").read_text()
    assert new["HEALTH_MQTT_PASSWORD"] in health


def verified(plant: Plant, cert: Path) -> bool:
    """Whether the platform's authority has signed it."""
    command = ["openssl", "verify", "-CAfile", plant.infra / "secrets" / "ca.crt", cert]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def certificates(plant: Plant) -> list[Path]:
    """The broker's and all clients'."""
    return sorted((plant.infra / "secrets").rglob("tls.crt"))


def test_a_new_authority_makes_every_certificate_anew(plant):
    """Tenants' too; each is good, and the copies of the authority's certificate are the new one's."""
    plant.do("setup")
    plant.do("tenant", "add", "acme", "--host", "localhost")
    old = {path: path.read_bytes() for path in certificates(plant)}
    assert len(old) == 5
    assert "every edge" in plant.do("setup", "--rotate", "ca")
    for path in certificates(plant):
        assert path.read_bytes() != old[path]
        assert verified(plant, path), path
    ca = (plant.infra / "secrets" / "ca.crt").read_bytes()
    copies = [plant.infra / "secrets" / folder / "ca.crt" for folder in ("mosquitto", "tenants/acme")]
    assert [copy.read_bytes() for copy in copies] == [ca, ca]
    assert plant.do("setup", "--check") == "nothing to do: all is there\n"


@pytest.mark.real("faketime")
def test_certificates_are_renewed_before_they_end(plant):
    """Silent for two years, then --check fails and the same command renews, within three months of the end."""
    plant.do("setup")

    def at(days: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["faketime", f"+{days} days", sys.executable, str(plant.infra / "setup.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert at(700, "--check").returncode == 0
    late = at(760, "--check")
    assert late.returncode == 1
    assert "it ends on" in late.stdout
    assert at(760).returncode == 0
    assert at(760, "--check").returncode == 0
    assert at(1400, "--check").returncode == 0
    old = at(3600)
    assert old.returncode == 1
    assert "--rotate ca" in old.stderr


def test_a_name_of_the_broker_gets_into_its_certificate_and_stays_there(plant):
    """More of them add up, addresses too; a later run knows them."""
    plant.do("setup", "--host", "broker.plant")
    plant.do("setup", "--host", "10.1.2.3", "--host", "broker.plant")
    plant.do("setup", "--rotate", "broker")
    cert = plant.infra / "secrets" / "mosquitto" / "tls.crt"
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", cert], capture_output=True, text=True, check=True
    )
    for name in ("DNS:broker.plant", "IP Address:10.1.2.3", "DNS:localhost", "DNS:mosquitto", "IP Address:127.0.0.1"):
        assert name in done.stdout
    assert plant.env["BROKER_HOSTS"] == "broker.plant,10.1.2.3"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda infra: (infra / ".env").chmod(0o644), "tighten the rights"),
        (lambda infra: (infra / "secrets" / "authority" / "ca.key").chmod(0o644), "ca.key from 644 to 600"),
        (lambda infra: (infra / "secrets" / "mosquitto" / "tls.key").chmod(0o640), "tls.key from 640 to 600"),
        (lambda infra: (infra / "secrets" / "clients" / "telegraf").chmod(0o755), "telegraf from 755 to 700"),
        (
            lambda infra: (infra / "secrets" / "clients" / "telegraf" / "tls.key").chmod(0o644),
            "tls.key from 644 to 600",
        ),
        (lambda infra: (infra / "data").chmod(0o755), "data from 755 to 700"),
        (lambda infra: (infra / "data" / "influxdb").chmod(0o755), "influxdb from 755 to 700"),
        (lambda infra: (infra / "secrets" / "mosquitto" / "tls.key").unlink(), "certificate of mosquitto-broker"),
        (lambda infra: (infra / "secrets" / "mosquitto" / "acl").write_text("topic #"), "access list"),
        (lambda infra: (infra / "data" / "grafana").rmdir(), "make folder"),
        (
            lambda infra: (infra / ".env").write_text(
                re.sub("(?m)^MQTT_PASSWORD=.*", "MQTT_PASSWORD=own", _env(infra))
            ),
            "passwords",
        ),
    ],
    ids=[
        "rights",
        "authority",
        "broker",
        "client",
        "client's key",
        "data",
        "database",
        "key",
        "acl",
        "folder",
        "password by hand",
    ],
)
def test_what_has_gone_wrong_is_found_and_mended(plant, spoil, told):
    """`--check` says it and exits with 1, the same command without it mends it."""
    plant.do("setup")
    spoil(plant.infra)
    found = plant.run("setup", "--check")
    assert found.returncode == 1
    assert told in found.stdout
    plant.do("setup")
    assert plant.run("setup", "--check").returncode == 0


def _env(infra: Path) -> str:
    return (infra / ".env").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "arguments", "told"),
    [
        ("INFLUX_PASSWORD=secret7", (), "INFLUX_PASSWORD is shorter than 8"),
        ("this is secret7 nothing", (), ".env:1: this is not NAME=value"),
        ("PLC_ID=secret7 \xe7", (), ".env:1: this is not UTF-8 text"),
        (
            "#\nMQTT_PASSWORD=secret7$Line",
            (),
            ".env:2: Compose would read another value of MQTT_PASSWORD, because of a $",
        ),
        ('MQTT_PASSWORD="secret7$$Line"', (), "write MQTT_PASSWORD='…'"),
        ('MQTT_PASSWORD="secret7\\"', (), "write MQTT_PASSWORD='…'"),
        ("MQTT_PASSWORD='secret7\\'", (), "write MQTT_PASSWORD='…'"),
        ("MQTT_PASSWORD='secret7'7", (), "write MQTT_PASSWORD='…'"),
        ('MQTT_PASSWORD="secret7', (), "write MQTT_PASSWORD='…'"),
        ("MQTT_PASSWORD=#secret7", (), "write MQTT_PASSWORD='…'"),
        ("MQTT_PASSWORD=7\t# secret7", (), "write MQTT_PASSWORD='…'"),
        ("TELEGRAF_MQTT_USER=edge_agent", (), "'edge_agent' can't be the name"),
        ("MQTT_USERNAME=a:secret7", (), "can't be the name"),
        ("", ("--rotate", "nothing"), "there is no 'nothing' to rotate; there are: MQTT_PASSWORD"),
        ("", ("--rotate", "INFLUX_TOKEN"), "in InfluxDB first"),
        ("MQTT_USERNAME=", (), "'' (MQTT_USERNAME) can't be the name"),
        (f"TELEGRAF_MQTT_USER={'x' * 65}", (), "(TELEGRAF_MQTT_USER) can't be the name"),
        ("MQTT_USER='a#b'", (), "(MQTT_USER) can't be the name"),
        *(
            ("", ("--host", host), f"'{host}' (--host, or BROKER_HOSTS in .env) is neither a host name nor an address")
            for host in ("a b", "broker.plant:8883", "fábrica.local", "999.1.1.1", "a..b", "x" * 64, "x." * 127)
        ),
    ],
)
def test_a_mistake_is_one_line_and_changes_no_env(plant, line, arguments, told):
    """Exit code 1, no stack trace; the value that is wrong is not shown."""
    env = plant.infra / ".env"
    env.write_text(f"{line}\n", encoding="latin-1")
    done = plant.run("setup", *arguments)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stderr.startswith("Traceback")
    assert env.read_text(encoding="latin-1") == f"{line}\n" or "can't be the name" in told
    assert "secret7" not in done.stdout + done.stderr or ":secret7" in line


def test_a_name_beyond_ascii_is_the_certificates_too(plant):
    """Mosquitto compares it with the access list, byte by byte."""
    (plant.infra / ".env").write_text("MQTT_USERNAME=líder\n", encoding="utf-8")
    plant.do("setup")
    cert = plant.infra / "secrets" / "clients" / "líder" / "tls.crt"
    command = ["openssl", "x509", "-noout", "-subject", "-nameopt", "utf8,-esc_msb", "-in", cert]
    assert "CN=líder\n" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_tenants_name_is_no_other_users(plant):
    """Two users of one name would have each other's rights."""
    plant.do("setup")
    plant.do("tenant", "add", "acme", "--host", "localhost")
    users = passwords(plant)
    (plant.infra / ".env").write_text(_env(plant.infra).replace("MQTT_USER=edge_agent", "MQTT_USER=acme"))
    done = plant.run("setup")
    assert (done.returncode, "'acme' can't be the name" in done.stderr) == (1, True), done.stderr
    assert passwords(plant) == users


@pytest.mark.parametrize("command", [("setup",), ("setup", "--check"), ("doctor",), ("tenant", "list")], ids="-".join)
def test_a_reader_that_goes_early_is_no_mistake(plant, command):
    """As `| head` does; what has to be made is made."""
    plant.do("setup")
    plant.do("tenant", "add", "acme", "--host", "localhost")
    (plant.infra / "secrets" / "ca.crt").chmod(0o666)
    reading, writing = os.pipe()
    os.close(reading)
    script, *rest = command
    env = {**os.environ, "MQTT_PORT": "1", "INFLUX_URL": "http://127.0.0.1:1"}
    whole = [sys.executable, str(plant.infra / f"{script}.py"), *rest]
    done = subprocess.run(whole, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, env=env)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.real("netns")
def test_a_full_disk_is_one_line(plant):
    """No stack trace, and what is wrong; afterwards the same command goes on."""
    shutil.copytree(plant.infra, plant.infra.parent / "kept")
    script = (
        'mount -t tmpfs -o size=2m none "$1" && cp -r "$2/." "$1" && { cat /dev/zero >"$1/full" 2>/dev/null; '
        'exec "$3" -B "$1/setup.py"; }'
    )
    arguments = [str(plant.infra), str(plant.infra.parent / "kept"), sys.executable]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_when_an_old_certificate_dies_is_said(plant):
    """A broker that is only told to read anew takes the revoked one."""
    plant.do("setup")
    assert "edge_agent: its old certificate is refused on port 8884 from the broker's next restart on" in plant.do(
        "setup", "--rotate", "edge_agent"
    )


def test_a_lost_key_of_the_authority_is_no_reason_for_a_new_one(plant):
    """All edges would be locked out; it is said, and --rotate ca is the way."""
    plant.do("setup")
    (plant.infra / "secrets" / "authority" / "ca.key").unlink()
    done = plant.run("setup")
    assert done.returncode == 1
    assert "is lost" in done.stderr
    plant.do("setup", "--rotate", "ca")


def test_without_openssl_it_says_how_to_have_it(plant):
    """Nothing half made is called done."""
    done = subprocess.run(
        [sys.executable, str(plant.infra / "setup.py")], capture_output=True, text=True, check=False, env={"PATH": ""}
    )
    assert done.returncode == 1
    assert "openssl is not installed" in done.stderr
    assert "winget" in done.stderr


OWN = {"influx", *(path.parent.name for path in INFRA.glob("*/__init__.py"))}
"""Packages of the platform's commands."""


@pytest.mark.parametrize(
    "path",
    sorted([*INFRA.glob("*.py"), *(path for name in OWN for path in INFRA.glob(f"{name}/*.py"))]),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_it_runs_with_python_3_9_alone(path):
    """The grammar of 3.9, and no import that has to be installed."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {module.split(".")[0] for module in modules} - set(sys.stdlib_module_names) - OWN
    assert foreign == set()


def test_the_launchers_start_it_from_anywhere(plant, tmp_path):
    """`infra/setup` finds a Python by itself."""
    done = subprocess.run([plant.infra / "setup", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--rotate" in done.stdout
