"""The file `.env`: read as Compose reads it, and completed without touching what stands there."""

from __future__ import annotations

import os
import re
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from provision.places import Owner, Places
from provision.work import ProvisionError, Work

__all__ = ["EDGE_PASSWORD", "KEEP", "ROTATABLE", "Environment", "edge_password", "new_secret", "quoted", "settings"]

EDGE_PASSWORD = "EDGE_MQTT_PASSWORD"  # noqa: S105 - a name
"""Stands only where MQTT_PASSWORD is that of another user than the edge."""
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*")
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=~-]*")
_VALUE = re.compile(
    r"""'(?P<single>(?:[^'\\]|\\(?!'))*)'(?:\s+\#.*)?     # a backslash before the last quote hides it from Compose
    |"(?P<double>[^"\\$]*)"(?:\s+\#.*)?
    |(?!['"\#])(?P<plain>(?:(?!\s\#)[^$])*)(?:[ ]\#.*)?""",
    re.VERBOSE,
)
"""A value that can be read in one way only."""
_ALPHABET = string.ascii_letters + string.digits
KEEP = (
    "How long an edge keeps what was acknowledged, to send it again by hand (journal resend). It costs a disk write a "
    "second; with 0s what a killed broker loses is gone"
)
"""What people read above `KEEP_AFTER_ACK`."""
_SESSIONS = (
    "The secret end of client ids: whoever knows an id can empty its session at the broker, with any login. Another "
    "one leaves the old session behind, and what waits in it"
)
_LENGTH = 32
_SENSORS = "sensors"
_HEADER = "Made by infra/setup. What you change stays. Never commit it, never send it around."
_SHORTEST = {"INFLUX_PASSWORD": 8}
"""InfluxDB's own limit."""
_INFLUX = {"INFLUX_URL": "http://127.0.0.1:8086", "INFLUX_ORG": "planta", "INFLUX_BUCKET": "processo"}
"""Where InfluxDB is, and what frames are kept under, unless told."""


class _Variable(NamedTuple):
    name: str
    make: Callable[[], str]
    secret: bool = False


def new_secret() -> str:
    """190 bits in letters and digits: they need no quoting anywhere."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def edge_password(env: Mapping[str, str]) -> str:
    """What the edge's user logs in with."""
    return env.get(EDGE_PASSWORD) or env.get("MQTT_PASSWORD", "")


def _fixed(name: str, value: str) -> _Variable:
    return _Variable(name, lambda: value)


def _made(name: str) -> _Variable:
    return _Variable(name, new_secret, secret=True)


def _sections(places: Places, owner: Owner, sensors: str) -> dict[str, list[_Variable]]:
    """What belongs into the file, by the comment above it. No name may ever be taken away: files out there have it.

    Args:
        places: where things are.
        owner: of the files.
        sensors: the password of the user `sensors` in an earlier file, "" where there is none.
    """
    return {
        "What starts: platform, edge, demo, or several with commas between them": [
            _fixed("COMPOSE_PROFILES", "platform"),
        ],
        "As whom the containers run: the owner of these files (rootless Docker: 0 and 0)": [
            _fixed("PLATFORM_UID", str(owner.uid)),
            _fixed("PLATFORM_GID", str(owner.gid)),
        ],
        "The machine that the edge reads; tenant and PLC are part of the topic": [
            _fixed("PLC_IP", ""),
            _fixed("TENANT_ID", ""),
            _fixed("PLC_ID", ""),
        ],
        KEEP: [
            _fixed("KEEP_AFTER_ACK", "24h"),
        ],
        "The broker, as the edge on this machine finds it; MQTT_USER is the same user under its other name": [
            _fixed("MQTT_BROKER", "localhost"),
            _fixed("MQTT_PORT", "8883"),
            _fixed("MQTT_TLS", "true"),
            _fixed("MQTT_CA_FILE", places.ca_cert.absolute().as_posix()),
            _fixed("MQTT_USERNAME", "edge_agent"),
            _fixed("MQTT_USER", "edge_agent"),
            _made("MQTT_PASSWORD"),
        ],
        "Other users of the broker: sensors may write mov/dados/# and nothing else": [
            _fixed("SENSOR_MQTT_USER", _SENSORS),
            _Variable("SENSOR_MQTT_PASSWORD", lambda: sensors or new_secret(), secret=True),
            _fixed("TELEGRAF_MQTT_USER", "telegraf"),
            _made("TELEGRAF_MQTT_PASSWORD"),
            _fixed("ANALYTICS_MQTT_USER", "analytics"),
            _made("ANALYTICS_MQTT_PASSWORD"),
            _made("HEALTH_MQTT_PASSWORD"),
        ],
        _SESSIONS: [
            _made("TELEGRAF_SESSION"),
            _made("ANALYTICS_SESSION"),
        ],
        "Names in the broker's certificate beside this machine's own, with commas; where 1883 listens without TLS": [
            _fixed("BROKER_HOSTS", ""),
            _fixed("MQTT_PLAIN_BIND", "127.0.0.1"),
        ],
        "The edge's page and metrics ask for this token": [
            _made("EDGE_TOKEN"),
        ],
        "InfluxDB takes user, password and token at its first start": [
            _fixed("INFLUX_URL", "http://localhost:8086"),
            _fixed("INFLUX_ORG", "planta"),
            _fixed("INFLUX_BUCKET", "processo"),
            _fixed("INFLUX_USER", "admin"),
            _made("INFLUX_PASSWORD"),
            _made("INFLUX_TOKEN"),
        ],
        "Grafana's user admin": [
            _made("GRAFANA_PASSWORD"),
        ],
    }


ROTATABLE = (
    "MQTT_PASSWORD",
    EDGE_PASSWORD,
    "SENSOR_MQTT_PASSWORD",
    "TELEGRAF_MQTT_PASSWORD",
    "ANALYTICS_MQTT_PASSWORD",
    "HEALTH_MQTT_PASSWORD",
    "EDGE_TOKEN",
    "GRAFANA_PASSWORD",
)
"""Secrets that may change any time. InfluxDB keeps its own and must be told first."""


class Environment:
    """One such file and what is changed of it; nothing is written before `save`.

    Attributes:
        path: the file.
        values: the variables as they are now.
    """

    def __init__(self, path: Path) -> None:
        """Read it; one that is not there is empty.

        Raises:
            ProvisionError: a line that is neither a comment nor NAME=value, or is not UTF-8.
        """
        self.path = path
        try:
            self._text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise ProvisionError(f"{path}:{line}: this is not UTF-8 text; save the file as UTF-8") from None
        self.values = _parsed(self._text, path)
        self._changed: list[str] = []

    def complete(self, places: Places, owner: Owner) -> None:
        """Add what is missing; what stands there stays, also when it is empty and may be.

        Raises:
            ProvisionError: a value that its service will refuse.
        """
        authority = self.values.get("MQTT_CA_FILE", "")
        if authority.endswith("/secrets/ca.crt") and not Path(authority).exists():  # ours, before it was moved
            self.set({"MQTT_CA_FILE": places.ca_cert.absolute().as_posix()})
        same = self.values.get("MQTT_USER") == (self.values.get("SENSOR_MQTT_USER") or _SENSORS)
        earlier = self.values.get("MQTT_PASSWORD", "") if same else ""
        for comment, variables in _sections(places, owner, earlier).items():
            self._add(comment, variables)
        if self.values["MQTT_USER"] != self.values["MQTT_USERNAME"]:
            self._add("Of the edge's user MQTT_USERNAME: MQTT_PASSWORD is MQTT_USER's here", [_made(EDGE_PASSWORD)])
        for name, least in _SHORTEST.items():
            if len(self.values[name]) < least:
                raise ProvisionError(f"{self.path}: {name} is shorter than {least} characters, which InfluxDB refuses")

    def set(self, values: Mapping[str, str]) -> None:
        """Give variables other values, each in its line; those that have none come last."""
        left = {name: value for name, value in values.items() if self.values.get(name) != value}
        self._changed += left
        self.values.update(left)
        lines = self._text.splitlines()
        for index, line in enumerate(lines):
            match = None if line.lstrip().startswith("#") else _LINE.fullmatch(line)
            if match and match["name"] in values:
                lines[index] = f"{match['name']}={quoted(values[match['name']])}"
                left.pop(match["name"], None)
        lines += [f"{name}={quoted(value)}" for name, value in left.items()]
        self._text = "".join(f"{line}\n" for line in lines)

    def save(self, work: Work) -> None:
        """Write what has changed."""
        work.file(self.path, self._text, f"write {self.path}: {', '.join(dict.fromkeys(self._changed))}")

    def _add(self, comment: str, variables: Iterable[_Variable]) -> None:
        """Those of them that are missing, below a comment."""
        made = {each.name: each.make() for each in variables if self._lacks(each)}
        self.set({name: value for name, value in made.items() if name in self.values})
        new = [name for name in made if name not in self.values]
        if new:
            start = "\n" if self._text else f"# {_HEADER}\n\n"
            self._text += "\n" * (self._text[-1:] not in {"", "\n"}) + start + f"# {comment}\n"
            self.set({name: made[name] for name in new})

    def _lacks(self, variable: _Variable) -> bool:
        return variable.name not in self.values or (variable.secret and not self.values[variable.name])


def settings(path: Path) -> dict[str, str]:
    """The variables that a command goes by: of its environment, else of the file `.env`. An empty one is not set.

    Raises:
        ProvisionError: the file can't be understood.
    """
    given = (*Environment(path).values.items(), *os.environ.items())
    return {**_INFLUX, **{name: text for name, text in given if text}}


def _parsed(text: str, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ProvisionError(f"{path}:{number}: this is not NAME=value; mend or remove the line")
        value = _VALUE.fullmatch(match["value"])
        if value is None:
            raise ProvisionError(
                f"{path}:{number}: Compose would read another value of {match['name']}, because of a $, \\, # or "
                f"quote; write {match['name']}='…', without an apostrophe inside, and comments in lines of their own"
            )
        found[match["name"]] = value["single"] or value["double"] or (value["plain"] or "").rstrip()
    return found


def quoted(value: str) -> str:
    """A value as both Compose and a shell take it."""
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value:
        raise ProvisionError("a value with an apostrophe can't stand in .env for shell and Compose alike")
    return f"'{value}'"
