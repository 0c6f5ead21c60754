"""What `setup` and `tenant` have in common: how they begin, what they say, how they fail."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from provision import broker, tenants
from provision.certificates import Authority
from provision.places import DATA, Owner, Places, own_names
from provision.work import ProvisionError, Work

__all__ = ["BROKER", "CLIENTS", "HOME", "broker_files", "broker_names", "provide", "tell"]

HOME = Path(__file__).resolve().parents[1]
"""The folder `infra`."""
BROKER = "mosquitto-broker"
CLIENTS = ("MQTT_USERNAME", "TELEGRAF_MQTT_USER", "ANALYTICS_MQTT_USER")
"""Whose certificates are made, for mutual TLS on port 8884."""


def provide(places: Places, work: Work, env: Mapping[str, str]) -> None:
    """All that the platform needs beside its variables, as far as it is missing; what is there stays.

    Raises:
        ProvisionError: something is there that can't be right.
    """
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
    return ["localhost", "mosquitto", "127.0.0.1", "::1", *own_names(), *(each for each in given if each)]


def broker_files(places: Places, work: Work, env: Mapping[str, str]) -> None:
    """Users and rights, from `.env` and the tenants' folders."""
    broker.write(places, work, [*broker.platform_users(env), *tenants.users(places)])


def tell(run: Callable[[Work], int], *, dry: bool) -> int:
    """Run a command; its mistakes become one line on stderr and exit code 1."""
    try:
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
