"""The outputs of the first system's agent: MQTT, HTTP, or standard output. Values of secrets are never kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.config.document import Entry, Record, Scalar
from pipeline.importing.section import Note, Section

__all__ = ["Mqtt", "Server", "header_variable", "read_output"]

_MQTT = (
    *("broker", "port", "topic", "qos", "retain", "username", "password", "client_id", "keepalive", "keep_alive"),
    *("tls", "ca_file", "cert_file", "key_file", "tls_insecure"),
)
_MODES = ("mqtt", "http", "stdout")
_INSECURE = "taken, but anybody can read along; give the authority as ca_file instead"
_TOKENS = ("token", "bearer_token", "bearer", "auth_token", "access_token")
"""What people call the token that a server wants as `Authorization: Bearer`."""
_OWN_HEADERS = {"content-type", "content-length", "host", "connection"}


@dataclass(frozen=True, kw_only=True)
class Mqtt:
    """`output.mqtt`; `qos` None and `keep_alive` (seconds) 0 where not said; of a password only that there is one."""

    broker: str
    port: int
    topic: str
    qos: int | None
    client_id: str
    keep_alive: int
    username: str
    has_password: bool
    tls: bool
    ca_file: str
    cert_file: str
    key_file: str
    insecure: bool


@dataclass(frozen=True, kw_only=True)
class Server:
    """`output.http`; `url` is empty where it holds something secret, of token and `headers` no values are kept."""

    url: str
    timeout: float
    has_token: bool
    headers: tuple[str, ...]
    insecure: bool


def read_output(root: Section) -> Mqtt | Server | None:
    """Read `output:`; None is standard output."""
    entry = root.entries.get("output")
    if entry is not None and isinstance(entry.value, Scalar):  # output: mqtt
        root.entries["output"] = Entry(Record({"mode": entry}, entry.line, entry.column), entry.line, entry.column)
    section = root.section("output")
    mode = section.text("mode", "stdout")
    if mode not in _MODES:
        section.tell("mode", f"'{mode}' is not one of {', '.join(_MODES)}; stdout instead")
    mqtt = section.entries.get("mqtt")
    if mqtt is None or not isinstance(mqtt.value, Record):
        misplaced = {key: section.entries.pop(key) for key in _MQTT if key in section.entries}
        if misplaced:
            line = min(each.line for each in misplaced.values())
            section.entries["mqtt"] = Entry(Record(misplaced, line, 1), line, 1)
            section.notes.append(Note(line, "mended: the keys of output.mqtt were not indented below it"))
    for other in ("mqtt", "http"):
        if other != mode and section.take(other) is not None:
            section.tell(other, f"the mode is {mode}, left out")
    output: Mqtt | Server | None = None
    if mode == "mqtt":
        output = _mqtt(section.section("mqtt"))
    elif mode == "http":
        output = _server(section.section("http"))
    section.close()
    return output


def _mqtt(section: Section) -> Mqtt:
    password, username = section.take("password"), section.text("username")
    if password is not None:
        said = "not copied; set MQTT_PASSWORD" if username else "not copied; it has no username beside it"
        section.tell("password", said)
    if section.flag("retain", default=False):
        section.tell("retain", "frames are not retained; the newest are on the page, and in the database")
    qos = section.number("qos", 1) if section.take("qos") else None
    if qos is not None and qos > 1:
        section.tell("qos", f"{qos} becomes 1: the broker has each frame at least once, and frames sent twice are one")
    output = Mqtt(
        broker=section.text("broker"),
        port=section.number("port", 1883),
        topic=section.text("topic", "plc/db500"),
        qos=None if qos is None else max(0, min(1, qos)),
        client_id=section.text("client_id"),
        keep_alive=max(0, section.number(section.named("keepalive", "keep_alive"), 0)),
        username=username,
        has_password=password is not None and bool(username),
        tls=section.flag("tls", default=False),
        ca_file=section.text("ca_file"),
        cert_file=section.text("cert_file"),
        key_file=section.text("key_file"),
        insecure=section.flag("tls_insecure", default=False),
    )
    if output.qos == 0:
        section.tell("qos", "taken, but frames are lost when a connection breaks; with 1 none is")
    if output.insecure:
        section.tell("tls_insecure", _INSECURE)
    section.close()
    return output


def _server(section: Section) -> Server:
    url = section.text("url")
    if why := _unfit(url):
        section.tell("url", f"{why}; set HTTP_URL, without user and password")
        url = ""
    token = section.named(*_TOKENS)
    has_token = section.take(token) is not None
    headers = section.section("headers")
    names = [name for name in headers.entries if name.lower() not in _OWN_HEADERS]
    if has_token:
        section.tell(token, "not copied; set HTTP_TOKEN, without the word Bearer")
        for name in [name for name in names if name.lower() == "authorization"]:
            headers.tell(name, f"left out, since {token} counts")
            names.remove(name)
    for name in names:
        headers.tell(name, f"not copied, since it may be a secret; set {header_variable(name)}")
    output = Server(
        url=url,
        timeout=section.number("timeout", 5.0),
        has_token=has_token,
        headers=tuple(names),
        insecure=not section.flag("tls_verify", default=True),
    )
    if output.insecure:
        section.tell("tls_verify", _INSECURE)
    section.close()
    return output


def _unfit(url: str) -> str:
    """Why an address can't be copied; empty when it can."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is no address"
    return "may hold a secret, so it was not copied" if parts.query or parts.username or parts.password else ""


def header_variable(name: str) -> str:
    """The environment variable for the value of a header."""
    return "HTTP_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
