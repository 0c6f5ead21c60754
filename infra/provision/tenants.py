"""Tenants: each has a user at the broker, a certificate, topics of its own, and a folder to be handed over."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping

from provision.broker import User, platform_users, tenant_user
from provision.certificates import Authority
from provision.environment import KEEP, ROTATABLE, Environment, new_secret
from provision.places import Places
from provision.work import SHARED, ProvisionError, Work

__all__ = ["AUTHORITY", "BROKER", "DOCTOR", "add", "listed", "remove", "renew", "rotate", "users"]

_NAME = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_-])?")
_SHARED_TOPICS = re.compile(r"db\d*|tags", re.IGNORECASE)
"""Frames without tenant and PLC go to `plc/db<n>` and `plc/tags`: nobody may own them."""
AUTHORITY, BROKER = "ca", "broker"
"""What `infra/setup --rotate` makes anew beside tenants."""
DOCTOR = "doctor"
"""As this tenant `infra/doctor` publishes."""
_ENV = """\
# The edge of tenant {name}: configs/line1.yaml needs nothing else once the two empty lines are filled in.
# Beside this file lie ca.crt, and tls.crt with tls.key for mutual TLS: MQTT_PORT=8884, MQTT_CERT_FILE, MQTT_KEY_FILE.
TENANT_ID={name}
PLC_ID=
PLC_IP=
MQTT_BROKER={broker}
MQTT_PORT=8883
MQTT_TLS=true
# The path of ca.crt on that machine; as it stands, the edge is started in this folder.
MQTT_CA_FILE=ca.crt
MQTT_USERNAME={name}
MQTT_USER={name}
MQTT_PASSWORD={password}
MQTT_FALLBACK=refuse
# {keep}
KEEP_AFTER_ACK=24h
COMPOSE_PROFILES=edge
EDGE_MQTT_BROKER={broker}
EDGE_TOKEN={token}
"""


def listed(places: Places) -> list[str]:
    """The names of all tenants, sorted."""
    return sorted(path.parent.name for path in places.tenants.glob("*/.env"))


def users(places: Places) -> list[User]:
    """The tenants as users of the broker.

    Raises:
        ProvisionError: a tenant's file has lost its password.
    """
    found = []
    for name in listed(places):
        path = places.tenants / name / ".env"
        password = Environment(path).values.get("MQTT_PASSWORD")
        if not password:
            raise ProvisionError(f"{path} has no MQTT_PASSWORD; make a new one: infra/setup --rotate {name}")
        found.append(tenant_user(name, password))
    return found


def add(places: Places, work: Work, name: str, env: Mapping[str, str], broker: str) -> None:
    """A tenant's folder: user, certificate, `.env`. Is it there already, only what is missing is added.

    Args:
        places: of the platform.
        work: what is done.
        name: the tenant's, part of its topics.
        env: of the platform, whose users' names are taken.
        broker: the name by which the tenant's edge finds the broker.

    Raises:
        ProvisionError: the name can't be a tenant's.
    """
    _check(places, name, env)
    folder = places.tenants / name
    authority = Authority(places, work)
    work.folder(folder)
    authority.issue(folder, name)
    _copy_authority(places, work, name)
    if not (folder / ".env").is_file():
        text = _ENV.format(name=name, keep=KEEP, broker=broker, password=new_secret(), token=new_secret())
        work.file(folder / ".env", text, f"write {folder / '.env'}")


def renew(places: Places, work: Work) -> None:
    """Certificates that near their end, for all tenants."""
    for name in listed(places):
        Authority(places, work).issue(places.tenants / name, name)
        _copy_authority(places, work, name)


def remove(places: Places, work: Work, name: str) -> None:
    """Void the tenant's certificate and forget its password.

    Raises:
        ProvisionError: there is no such tenant.
    """
    _known(places, name)
    folder = places.tenants / name
    Authority(places, work).revoke(folder)
    work.do(f"remove {folder}", lambda: shutil.rmtree(folder))


def rotate(places: Places, work: Work, name: str) -> None:
    """A new password and a new certificate; the old ones are void.

    Raises:
        ProvisionError: there is no such tenant.
    """
    _known(places, name)
    folder = places.tenants / name
    env = Environment(folder / ".env")
    env.set({"MQTT_PASSWORD": new_secret()})
    env.save(work)
    Authority(places, work).reissue(folder, name)


def _copy_authority(places: Places, work: Work, name: str) -> None:
    if places.ca_cert.is_file():
        text = places.ca_cert.read_text(encoding="ascii")
        work.file(places.tenants / name / "ca.crt", text, f"copy ca.crt for tenant {name}", SHARED)


def _known(places: Places, name: str) -> None:
    if name not in listed(places):
        raise ProvisionError(f"there is no tenant '{name}'; there are: {', '.join(listed(places)) or 'none'}")


def _check(places: Places, name: str, env: Mapping[str, str]) -> None:
    if not _NAME.fullmatch(name):
        raise ProvisionError(
            f"'{name}' can't be a tenant's name: letters, digits, _ - and . (not first or last), 64 at most"
        )
    if _SHARED_TOPICS.fullmatch(name):
        raise ProvisionError(f"'{name}' can't be a tenant's name: plc/{name} is where frames without a tenant go")
    if name.lower() == DOCTOR:
        raise ProvisionError(f"'{name}' can't be a tenant's name: infra/doctor publishes its trial frames as that one")
    if name in {AUTHORITY, BROKER, *ROTATABLE}:
        raise ProvisionError(f"'{name}' can't be a tenant's name: infra/setup --rotate {name} makes that anew")
    if name in {user.name for user in platform_users(env)}:
        raise ProvisionError(
            f"'{name}' can't be a tenant's name: the broker has that user already (the platform's own)"
        )
    similar = next((each for each in listed(places) if each != name and each.lower() == name.lower()), None)
    if similar:
        raise ProvisionError(f"'{name}' differs from tenant '{similar}' in capital letters only")
