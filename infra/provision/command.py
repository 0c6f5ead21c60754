"""What `setup` and `tenant` have in common: how they begin, what they say, how they fail."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from provision import broker, tenants
from provision.certificates import Authority
from provision.places import DATA, Owner, Places, own_names
from provision.work import ProvisionError, Work

if sys.platform != "win32":
    import fcntl

__all__ = ["BROKER", "CLIENTS", "HOME", "broker_files", "broker_names", "host", "provide", "tell"]

HOME = Path(__file__).resolve().parents[1]
"""The folder `infra`."""
BROKER = "mosquitto-broker"
CLIENTS = ("MQTT_USERNAME", "TELEGRAF_MQTT_USER", "ANALYTICS_MQTT_USER")
"""Whose certificates are made, for mutual TLS on port 8884."""

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_HOST = 253
_LONGEST_USER = 64
"""Of a certificate's common name."""
_NO_USER = frozenset(":$#\\\"'`")


def provide(places: Places, work: Work, env: Mapping[str, str]) -> None:
    """All that the platform needs beside its variables, as far as it is missing; what is there stays.

    Raises:
        ProvisionError: something is there that can't be right.
    """
    _check_names(env)
    for folder in (places.secrets, places.influx, places.authority, places.broker):
        work.folder(folder)
    for name in ("data", *DATA):
        work.folder(places.root / name)
    authority = Authority(places, work)
    authority.make()
    authority.issue(places.broker, BROKER, server=broker_names(env))
    for variable in CLIENTS:
        authority.issue(places.clients / env[variable], env[variable])
    tenants.renew(places, work)
    broker_files(places, work, env)
    work.private(places.secrets)


def broker_names(env: Mapping[str, str]) -> list[str]:
    """By which names and addresses the broker may be called: each is in its certificate."""
    given = [each.strip() for each in env.get("BROKER_HOSTS", "").split(",")]
    return ["localhost", "mosquitto", "127.0.0.1", "::1", *own_names(), *(host(each) for each in given if each)]


def host(text: str) -> str:
    """The text, where it can stand in a certificate as a host's name or address.

    Raises:
        ProvisionError: it can't.
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.split(".")
        if not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit() or len(text) > _LONGEST_HOST:
            raise ProvisionError(
                f"'{text}' (--host, or BROKER_HOSTS in .env) is neither a host name nor an address: write it without a "
                "port, and letters beyond a-z as the name server has them (xn--…)"
            ) from None
    return text


def _check_names(env: Mapping[str, str]) -> None:
    """Users become common names of certificates, by way of a file of openssl's, and lines of Mosquitto's files.

    Raises:
        ProvisionError: one that can't.
    """
    for variable in (*CLIENTS, "MQTT_USER", "SENSOR_MQTT_USER"):
        name = env[variable]
        if not 0 < len(name) <= _LONGEST_USER or not name.isprintable() or name.strip() != name or _NO_USER & set(name):
            raise ProvisionError(
                f".env: '{name}' ({variable}) can't be the name of a user of the broker: 1 to {_LONGEST_USER} "
                f"characters, none of {' '.join(sorted(_NO_USER))}, and no blank at either end"
            )


def broker_files(places: Places, work: Work, env: Mapping[str, str]) -> None:
    """Users and rights, from `.env` and the tenants' folders.

    Raises:
        ProvisionError: two users of one name.
    """
    ours, theirs = broker.platform_users(env), tenants.users(places)
    both = {user.name for user in ours} & {user.name for user in theirs}
    if both:
        raise ProvisionError(f".env: '{min(both)}' can't be the name of one of the platform's users: it is a tenant's")
    broker.write(places, work, [*ours, *theirs])


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait for another of these commands to end: each writes files from what it has read before."""
    if sys.platform == "win32":  # no lock that leaves no file behind
        yield
        return
    folder = os.open(HOME, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # of a network's file system that has no such lock
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def tell(run: Callable[[Work], int], *, dry: bool) -> int:
    """Run a command, one at a time; its mistakes become one line on stderr and exit code 1."""
    try:
        with _alone():
            return run(Work(Owner.of(HOME), dry=dry))
    except ProvisionError as error:
        print(f"error: {error}", file=sys.stderr)
    except PermissionError as error:
        print(f"error: {error.filename}: {error.strerror}; run this as the owner of infra/", file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}; what was made before stays: run it again", file=sys.stderr)
    return 1
