"""Configurations and queues of another system, damaged: what is taken loads, what is not is said by its line."""

import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import load_text
from pipeline.config.interpolate import interpolate
from pipeline.errors import ConfigurationError, UsageError
from pipeline.importing.agent import read_agent
from pipeline.importing.graph_text import graph_text, queue_command
from pipeline.importing.queue import Dated, Malformed, read_queue
from pipeline.units import Topic
from tests.fuzz.test_config import ODD
from tests.parts.fuzzing import damaged, fuzzed, rewritten, worded

AGENT = """\
source:
  type: s7
  ip: 192.168.0.121
  port: 102
  rack: 0
  slot: 2
  poll_interval: 0.5
  db_number: 1
  db_size: 14
output:
  mode: "mqtt"
  mqtt:
    broker: mosquitto
    port: 8883
    topic: "plc/${TENANT_ID}/${PLC_ID}"
    qos: 1
    username: edge_agent
    password: hunter2
    tls: yes
    ca_file: /app/ca.crt
metrics_port: 9200
store_path: /data/queue.sqlite
tenant_id: acme
plc_id: linha1_prensa
dbs:
  - name: "processo"
    db_number: 500
    db_size: 330
    parser: db500
    parser_opts: {machines: 5, sensors_per_machine: 5, machine_block_size: 66, sensor_block_size: 6}
    measurement: s7_x
    tags: {area: linha1}
  - db_number: 1
    db_size: 20
    parser: raw
"""
SERVER = AGENT.replace('"mqtt"', "http").replace(
    "  mqtt:",
    "  http:\n    url: https://x.example/in\n    timeout: 5\n    headers: {X-Key: secret, Accept: a}\n  mqtt:",
)
KEYS = ["db_size: 66", "machines", "http", "stdout", "db500", "raw", "yes", "off", "1", "0", "-1", "70000", "1e400"]


def sound(error):
    """Values that S7 or MQTT don't have are told in the new file; its form is sound."""
    assert not any("YAML" in problem.message or "twice in" in problem.message for problem in error.problems), error


@fuzzed()
@given(rewritten([AGENT, SERVER], [*KEYS, *ODD]))
def test_a_configuration_becomes_a_graph_that_is_judged_by_its_lines(text):
    """Whatever it says: a text that can be read as a graph file, with problems of its values at most."""
    try:
        agent, notes = read_agent(text, Path("config.yaml"))
    except (ConfigurationError, UsageError) as error:
        worded(error)
        return
    made = graph_text(agent, "line", "config.yaml", notes)
    assert "hunter2" not in made or "hunter2" in text.replace("password: hunter2", "")
    code = "\n".join(line for line in made.splitlines() if not line.lstrip().startswith("#"))  # notes quote anything
    unset = dict.fromkeys(interpolate(code, {}).missing, "https://x.example/")
    try:
        load_text(made, Path("line.yaml"), unset)
    except ConfigurationError as error:
        sound(error)
    queue_command(agent, "line")


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    """The bytes of a queue of 40 events."""
    path = tmp_path_factory.mktemp("queue") / "queue.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE events(id INTEGER PRIMARY KEY AUTOINCREMENT, ts REAL, payload TEXT)")
        for n in range(40):
            payload = {"ts": 1.7e9 + n, "values": {"n": n}, "tenant_id": "a", "plc_id": "b"}
            database.execute("INSERT INTO events(ts, payload) VALUES (?, ?)", (payload["ts"], json.dumps(payload)))
    database.close()
    return path.read_bytes()


def taken(path):
    """What a queue gives, with records that have their row's time as such; None where it is refused in words."""
    try:
        events = list(read_queue(path, Topic("plc/{tenant_id}/{plc_id}")))
        return [event.record if isinstance(event, Dated) else event for event in events]
    except UsageError as error:
        worded(error, "can't be read as a queue")
        return None


@fuzzed(0.5)
@given(data=st.data())
def test_a_damaged_queue_is_read_as_far_as_it_goes(data, queue, tmp_path_factory):
    """SQLite finds the damage, or a payload is none; nothing else is raised."""
    path = tmp_path_factory.getbasetemp() / "queue.sqlite"
    path.write_bytes(data.draw(damaged([queue])))
    for event in taken(path) or ():
        assert isinstance(event, Malformed) or (event.topic and event.body)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
events = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("ts", "values", "tenant_id", "plc_id", "db", "ip"), values)
).map(json.dumps)


@fuzzed(0.5)
@given(
    payload=st.one_of(events, events.map(str.encode), st.text(), st.binary(), st.none(), st.integers(), st.floats()),
    ts=st.one_of(st.none(), st.floats(), st.text(), st.binary(), st.datetimes(timezones=st.timezones()).map(str)),
)
def test_any_payload_is_taken_or_malformed(payload, ts, tmp_path_factory):
    """A cell of any type; JSON of any shape."""
    path = tmp_path_factory.getbasetemp() / "cells.sqlite"
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE events(id INTEGER PRIMARY KEY, ts REAL, payload)")
    try:
        database.execute("INSERT INTO events(ts, payload) VALUES (?, ?)", (ts, payload))
    except (OverflowError, UnicodeEncodeError):
        return
    finally:
        database.commit()
        database.close()
    (event,) = taken(path)
    assert isinstance(event, Malformed) or event.topic.encode()
