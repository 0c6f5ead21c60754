"""Mosquitto's files: who may log in, what each may write and read, and how its health is asked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from provision.environment import edge_password
from provision.places import Places
from provision.work import ProvisionError, Work

__all__ = ["RELOAD", "User", "hashed", "matches", "platform_users", "tenant_user", "write"]

RELOAD = "docker compose -f infra/compose.yaml kill -s HUP mosquitto   (or: sudo systemctl reload mosquitto)"
"""How a running broker takes new users and rights."""
_ROUNDS = 1000
"""Of PBKDF2. The passwords are long and random; the broker counts them for each login, on its only thread."""
_MOUNTED = "/etc/mosquitto/retrofit"
"""Where `mosquitto.conf` has these files, in a container and on Debian."""


class User(NamedTuple):
    """One who may log in.

    Attributes:
        name: the user name, or the common name of a client's certificate.
        password: in clear.
        rights: as an access list has them: `write plc/#`.
    """

    name: str
    password: str
    rights: tuple[str, ...]


def platform_users(env: Mapping[str, str]) -> list[User]:
    """The users that every platform has.

    `MQTT_USER`, where it is not the edge's name, is what the sensors of an older `.env` log in as: `MQTT_PASSWORD` is
    theirs, and the edge has one of its own.

    Raises:
        ProvisionError: one name for two users.
    """
    edge, sensors = env["MQTT_USERNAME"], ("write mov/dados/#",)
    users = [
        User(edge, edge_password(env), ("write plc/#", *sensors)),
        User(env["SENSOR_MQTT_USER"], env["SENSOR_MQTT_PASSWORD"], sensors),
        User(env["TELEGRAF_MQTT_USER"], env["TELEGRAF_MQTT_PASSWORD"], ("read plc/#", "read mov/dados/#")),
        User(env["ANALYTICS_MQTT_USER"], env["ANALYTICS_MQTT_PASSWORD"], ("read plc/#", "read mov/dados/#")),
        User("health", env["HEALTH_MQTT_PASSWORD"], ("read $SYS/broker/uptime",)),
    ]
    if env["MQTT_USER"] not in {edge, env["SENSOR_MQTT_USER"]}:
        users.insert(1, User(env["MQTT_USER"], env["MQTT_PASSWORD"], sensors))
    names = [user.name for user in users]
    twice = sorted({name for name in names if names.count(name) > 1 or not name or set(name) & set(":\r\n\0")})
    if twice:
        raise ProvisionError(f".env: '{twice[0]}' can't be the name of a user of the broker, or of two of them")
    return users


def tenant_user(name: str, password: str) -> User:
    """A tenant writes and reads what lies below its own name, and nothing else."""
    return User(name, password, (f"readwrite plc/{name}/#",))


def write(places: Places, work: Work, users: Iterable[User]) -> None:
    """The three files. Each user has a block of its own: a `pattern` would hold for every user."""
    users = list(users)
    work.folder(places.broker)
    if places.ca_cert.is_file():
        work.file(places.broker / "ca.crt", places.ca_cert.read_text(encoding="ascii"), "copy ca.crt for the broker")
    elif work.dry:
        work.do("copy ca.crt for the broker", lambda: None)
    known = _read(places.broker / "passwords")
    lines = [f"{user.name}:{_kept(known.get(user.name, ''), user.password)}\n" for user in users]
    shown = ", ".join(user.name for user in users)
    work.file(places.broker / "passwords", "".join(lines), f"write the broker's passwords: {shown}")
    blocks = ["# Made by infra/setup and infra/tenant. Who is not named here, and what is not named, is refused.\n"]
    blocks += [f"user {user.name}\n" + "".join(f"topic {right}\n" for right in user.rights) for user in users]
    work.file(places.broker / "acl", "\n".join(blocks), f"write the broker's access list: {shown}")
    health = next(user for user in users if user.name == "health")
    work.folder(places.broker / "health")
    options = f"-h localhost\n-p 8883\n--cafile {_MOUNTED}/ca.crt\n-u health\n-P {health.password}\n"
    work.file(places.broker / "health" / "mosquitto_sub", options, "write the login of the broker's health check")


def hashed(password: str, salt: bytes = b"", rounds: int = _ROUNDS) -> str:
    """The password as Mosquitto 2 keeps it: PBKDF2 with SHA-512, salt and hash in base64."""
    salt = salt or secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def matches(kept: str, password: str) -> bool:
    """Whether a kept hash is this password's."""
    parts = kept.split("$")
    if len(parts) != 5 or parts[1] != "7" or not parts[2].isdigit():  # noqa: PLR2004 - "", 7, rounds, salt, hash
        return False
    try:
        again = hashed(password, base64.b64decode(parts[3], validate=True), int(parts[2]))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(again, kept)


def _kept(known: str, password: str) -> str:
    """The hash there is, when it is right: with a new salt the file would change at each run."""
    return known if matches(known, password) else hashed(password)


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: kept for name, _, kept in (line.partition(":") for line in lines)}
