"""The broker: name, TCP, TLS, logins, rights; and a frame that is followed from the edge's login into InfluxDB."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import datetime, timezone

from diagnosis.finding import GOOD, PROBLEM, WARNING, Finding
from diagnosis.mqtt import NOBODY, NOT_AUTHORISED, Client, MqttError
from diagnosis.platform import Platform
from influx.api import InfluxError, Refused
from provision.tenants import DOCTOR as TENANT

__all__ = ["TENANT", "examine", "follow"]

_PLC = "canary"
_TOPIC = f"plc/{TENANT}/{_PLC}"
_ROTATE = "compare infra/.env with what the broker was given: infra/setup, then tell the broker (it says how)"
_USERS = ("MQTT_USERNAME", "SENSOR_MQTT_USER", "TELEGRAF_MQTT_USER", "ANALYTICS_MQTT_USER")
_SOON = 30
_ARRIVAL = 30.0
"""Seconds that a frame may take into InfluxDB: Telegraf writes each second."""


def examine(platform: Platform) -> Iterator[Finding]:
    """From the name to the rights; ends at the first step without which there is no other."""
    host, port = platform.broker
    start = time.monotonic()
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError) as error:
        advice = "correct MQTT_BROKER in infra/.env, or the name server"
        reason = getattr(error, "strerror", "it is no name")
        yield Finding("broker", "name", PROBLEM, f"'{host}' can't be resolved: {reason}", advice)
        return
    yield Finding("broker", "name", GOOD, f"{host} is {address}", "", time.monotonic() - start)
    start = time.monotonic()
    try:
        socket.create_connection((host, port), 10).close()
    except OSError as error:
        advice = "does it run? docker compose -f infra/compose.yaml ps mosquitto, and its log; is MQTT_PORT right?"
        yield Finding("broker", "TCP", PROBLEM, f"{host}:{port}: {error.strerror or error}", advice)
        return
    yield Finding("broker", "TCP", GOOD, f"port {port} is open", "", time.monotonic() - start)
    secured = _handshake(platform)
    yield secured
    if secured.mark == PROBLEM:
        return
    for name in _USERS:
        yield _login(platform, name)
    yield _denied(platform)


def _handshake(platform: Platform) -> Finding:
    try:
        context = platform.tls()
        if context is None:
            return Finding("broker", "TLS", WARNING, "MQTT_TLS is false: passwords travel in clear", "set it to true")
        start = time.monotonic()
        raw = socket.create_connection(platform.broker, 10)
        with context.wrap_socket(raw, server_hostname=platform.broker[0]) as made:
            peer, version = made.getpeercert() or {}, made.version()
    except ssl.SSLCertVerificationError as error:
        advice = (
            "the edge's MQTT_CA_FILE and the broker's certificate are not of one authority, or the certificate is too "
            "old or for another name: infra/setup --check; hand infra/secrets/ca.crt to every edge; --host for a name"
        )
        return Finding("broker", "TLS", PROBLEM, f"the certificate is not trusted: {error.verify_message}", advice)
    except (OSError, ssl.SSLError) as error:
        advice = "is this the TLS port (8883)? can MQTT_CA_FILE be read, and is it a certificate?"
        return Finding("broker", "TLS", PROBLEM, f"no TLS: {error.strerror or error}", advice)
    end = ssl.cert_time_to_seconds(str(peer["notAfter"]))
    days = int((end - time.time()) // 86400)
    until = f"{version}, certificate until {datetime.fromtimestamp(end, timezone.utc):%Y-%m-%d} ({days} days)"
    mark, advice = (WARNING, "renew it: infra/setup") if days < _SOON else (GOOD, "")
    return Finding("broker", "TLS", mark, until, advice, time.monotonic() - start)


def _login(platform: Platform, name: str) -> Finding:
    user, password = platform.login(name)
    if not user or not password:
        return Finding("broker", "login", WARNING, f"{name} or its password is not set", "run infra/setup")
    start = time.monotonic()
    try:
        with Client(platform.broker, user, password, platform.tls()):
            return Finding("broker", "login", GOOD, f"as {user}", "", time.monotonic() - start)
    except (MqttError, OSError) as error:
        return Finding("broker", "login", PROBLEM, f"as {user}: {error}", _ROTATE)


def _denied(platform: Platform) -> Finding:
    """Sensors must not write a PLC's topic."""
    try:
        with Client(platform.broker, *platform.login("SENSOR_MQTT_USER"), platform.tls()) as client:
            code = client.publish(_TOPIC, b"{}")
    except (MqttError, OSError) as error:
        return Finding("broker", "rights", WARNING, f"it could not be tried whether sensors are kept out: {error}")
    if code == NOT_AUTHORISED:
        return Finding("broker", "rights", GOOD, f"sensors must not write {_TOPIC}")
    advice = "the access list does not hold: run infra/setup, then tell the broker; is acl_file in its configuration?"
    return Finding("broker", "rights", PROBLEM, f"sensors could write {_TOPIC}", advice)


def follow(platform: Platform) -> Iterator[Finding]:
    """Publish a frame as the edge does, and find it at a subscriber and in InfluxDB, with the time of each hop."""
    ts = round(time.time(), 3)
    body = json.dumps({"ts": ts, "ip": "127.0.0.1", "db": 1, "values": {"heartbeat": 1}}).encode()
    start = time.monotonic()
    try:
        with Client(platform.broker, *platform.login("MQTT_USERNAME"), platform.tls()) as edge:
            code = edge.publish(_TOPIC, body)
            yield _published(code, time.monotonic() - start)
            if code == NOT_AUTHORISED:
                return
            with Client(platform.broker, *platform.login("ANALYTICS_MQTT_USER"), platform.tls()) as reader:
                reader.subscribe(_TOPIC)
                again = time.monotonic()
                edge.publish(_TOPIC, body)
                yield _received(reader, body, again)
    except (MqttError, OSError) as error:
        yield Finding("frame", "broker", PROBLEM, f"a frame can't be published: {error}", _ROTATE)
        return
    if code != NOBODY:
        yield _stored(platform, ts, start)


def _published(code: int, seconds: float) -> Finding:
    if code == NOT_AUTHORISED:
        advice = "its rights are plc/#: run infra/setup, then tell the broker; MQTT 3.1.1 would not even have said so"
        return Finding("frame", "broker", PROBLEM, f"the edge's user must not write {_TOPIC}", advice, seconds)
    if code == NOBODY:
        advice = "Telegraf has no session there: does it run, can it log in? docker compose logs telegraf"
        return Finding("frame", "broker", PROBLEM, "published, but nobody at the broker stores frames", advice, seconds)
    if code:
        return Finding("frame", "broker", PROBLEM, f"refused with reason 0x{code:02x}", "see the broker's log", seconds)
    return Finding("frame", "broker", GOOD, f"published to {_TOPIC} and acknowledged", "", seconds)


def _received(reader: Client, body: bytes, start: float) -> Finding:
    try:
        while reader.receive(10)[1] != body:
            pass
    except (MqttError, OSError) as error:
        advice = f"the access list denies reading, which the broker does not say: run infra/setup ({error})"
        return Finding("frame", "subscriber", PROBLEM, "analytics subscribed, and nothing came", advice)
    return Finding("frame", "subscriber", GOOD, "arrived at a subscriber", "", time.monotonic() - start)


def _stored(platform: Platform, ts: float, start: float) -> Finding:
    moment = datetime.fromtimestamp(ts, timezone.utc)
    begin, end = (f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%dT%H:%M:%S.%f}Z" for at in (ts - 0.01, ts + 0.01))
    flux = (
        f'from(bucket: "{platform.bucket}_raw") |> range(start: {begin}, stop: {end}) '
        f'|> filter(fn: (r) => r.tenant_id == "{TENANT}" and r.plc_id == "{_PLC}")'
    )
    missed = f"the frame of {moment:%H:%M:%S} UTC did not come within {_ARRIVAL:g} s"
    while True:
        try:
            if platform.api(platform.token("grafana")).query(flux, platform.org):
                return Finding("frame", "influxdb", GOOD, "stored by Telegraf", "", time.monotonic() - start)
        except Refused as error:
            missed = str(error)
        except InfluxError as error:  # nobody answers: waiting brings nothing
            missed = str(error)
            break
        if time.monotonic() - start > _ARRIVAL:
            break
        time.sleep(0.2)
    advice = (
        "between broker and database: does Telegraf run? docker compose -f infra/compose.yaml ps telegraf; its log "
        "names the reason (401: its token; 404: its bucket; no line at all: it is stopped or hangs); to see what "
        "it makes of frames set TELEGRAF_DEBUG_FILE=/tmp/telegraf_out.lp and look at that file in its container"
    )
    return Finding("frame", "influxdb", PROBLEM, missed, advice)
