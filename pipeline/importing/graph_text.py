"""Writes a graph file for what the first system's agent did, with comments, and variables of the names that it read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from urllib.parse import urlsplit

from pipeline.importing.agent import Agent
from pipeline.importing.blocks import COUNTERS, SENSORS, Block, Machines
from pipeline.importing.outputs import Mqtt, Server, header_variable
from pipeline.importing.section import Note
from pipeline.s7.browse_graph import quoted
from pipeline.units import Duration, Topic

__all__ = ["graph_text", "queue_command"]

_TOPIC = "plc/{tenant_id}/{plc_id}"
_PRESS = """\
  press:
    size: 14
    fields:
      pecas_ruim:     BOOL @ 0.0
      pecas_boas:     BOOL @ 0.1
      maquina_ligada: BOOL @ 0.2
      AI_Corrente:    REAL @ 2
      AI_Vibracao:    REAL @ 6
      contador_bom:   INT @ 10
      contador_ruim:  INT @ 12"""


def graph_text(agent: Agent, name: str, origin: str, notes: Sequence[Note]) -> str:
    """The text of a graph file.

    Args:
        agent: what it has to do.
        name: the graph's.
        origin: the configuration's file name, for the first line.
        notes: put at its head.
    """
    lines = [
        f"# Made from {origin}. What the agent read from the environment counts before what stands here, as it did;",
        "# only OUTPUT_MODE, DB_NUMBER and DB_SIZE do so no longer.",
    ]
    if notes:
        lines += ["#", f"# To look at, by the line of {origin}:", *(f"#   {note.line}: {note.text}" for note in notes)]
    lines += ["", f"name: {name}", *_page(agent), "", "layouts:", *_layouts(agent.blocks), "", *_source(agent)]
    lines += [
        "",
        "transforms:",
        f"  frames: {{type: heartbeat, from: plc, every: {Duration(agent.heartbeat)}}}",
        "",
        "sinks:",
    ]
    if isinstance(agent.output, Mqtt):
        lines += _broker(agent.output)
    elif isinstance(agent.output, Server):
        lines += _server(agent.output)
    else:
        lines += ["  screen: {type: stdout, from: frames}"]
    if agent.output is not None:
        sink = "broker" if isinstance(agent.output, Mqtt) else "server"
        lines += [f"    journal: {{path: {_variable('DATA_DIR', _folder(agent), f'/{name}/{sink}')}}}"]
    return "\n".join(lines) + "\n"


def queue_command(agent: Agent, name: str) -> str:
    """The command that brings the agent's queue into the journal; empty where nothing is sent."""
    if isinstance(agent.output, Mqtt):
        sink, receiver = "broker", f"mqtt://{agent.output.broker or 'BROKER'}:{agent.output.port}"
        topic = str(Topic.parse(agent.output.topic))
    elif isinstance(agent.output, Server):
        url = urlsplit(agent.output.url or "https://SERVER/PATH")
        port = url.port or (443 if url.scheme == "https" else 80)
        sink, receiver, topic = "server", f"{url.scheme}://{url.hostname}:{port}", url.path or "/"
    else:
        return ""
    words = ["journal", "import", agent.store_path, f"{_folder(agent)}/{name}/{sink}", "--receiver", receiver]
    return shlex.join([*words, *(["--topic", topic] if topic != _TOPIC else [])])


def _folder(agent: Agent) -> str:
    """Journals go where the queue was, if that was anywhere: in a container that is what outlives it."""
    parent = PurePath(agent.store_path).parent.as_posix()
    return "data" if parent == "." else parent


def _page(agent: Agent) -> Iterator[str]:
    yield "http:                               # of this machine only; METRICS_HOST=0.0.0.0 wants a `token:` here"
    yield f'  listen: "${{METRICS_HOST:-127.0.0.1}}:${{METRICS_PORT:-{agent.metrics_port}}}"'


# layouts


def _layouts(blocks: Sequence[Block]) -> Iterator[str]:
    done: set[str] = set()
    for block in blocks:
        name = _layout_name(block, blocks)
        if name in done:
            continue
        done.add(name)
        if block.machines is not None:
            yield from _machines(block.machines, name.removeprefix("linha"))
        elif block.known:
            yield _PRESS
        else:
            yield f"  {name}:                            # its fields are not known: declare them here"
            yield f"    size: {block.size}"
            yield f"    fields: {{byte: 'BYTE[{block.size}] @ 0'}}"


def _layout_name(block: Block, blocks: Sequence[Block]) -> str:
    if block.machines is None:
        return "press" if block.known else f"db{block.db}"
    first = next(each.machines for each in blocks if each.machines is not None)
    return "linha" if block.machines == first else f"linha_{block.db}"


def _machines(made: Machines, suffix: str) -> Iterator[str]:
    yield f"  sensor{suffix}:"
    yield f"    size: {made.sensor_block_size}"
    yield "    fields:"
    yield "      valor: REAL @ 0"
    yield "      flags: BYTE @ 4"
    yield f"  maquina{suffix}:"
    yield f"    size: {made.machine_block_size}"
    yield "    fields:                         # on the wire: maquinas_0_sensores_2_valor"
    yield "      contador_bom_flag:  BOOL @ 0.0"
    yield "      contador_ruim_flag: BOOL @ 0.1"
    yield "      status_maquina:     BOOL @ 0.2"
    if made.sensors_per_machine:
        yield f"      sensores:           sensor{suffix}[{made.sensors_per_machine}] @ {SENSORS}"
    for counter, at in COUNTERS.items():
        if made.fits(counter):
            yield f"      {counter + ':':<20}INT @ {at}"
    yield f"  linha{suffix}:"
    yield f"    size: {made.machines * made.machine_block_size}"
    yield f"    fields: {{maquinas: 'maquina{suffix}[{made.machines}] @ 0'}}"


# nodes


def _source(agent: Agent) -> Iterator[str]:
    yield "sources:"
    yield "  plc:"
    yield "    type: s7"
    yield f"    address: {_variable('PLC_IP', agent.ip) if agent.ip else _needed('PLC_IP')}"
    yield f"    port: {_variable('PLC_PORT', agent.port)}"
    yield f"    rack: {agent.rack}"
    yield f"    slot: {agent.slot}"
    yield f"    tenant_id: {_variable('TENANT_ID', agent.tenant_id)}"
    yield f"    plc_id: {_variable('PLC_ID', agent.plc_id)}"
    yield f"    every: {Duration(agent.every)}"
    yield "    blocks:"
    for block in agent.blocks:
        yield f"      - db: {block.db}"
        yield f"        layout: {_layout_name(block, agent.blocks)}"
        if block.measurement:
            yield f"        measurement: {quoted(block.measurement)}"
        if block.tags:
            tags = ", ".join(f"{quoted(name)}: {quoted(value)}" for name, value in block.tags.items())
            yield f"        tags: {{{tags}}}"


def _broker(mqtt: Mqtt) -> Iterator[str]:
    yield "  broker:"
    yield "    type: mqtt"
    yield "    from: frames"
    yield f"    host: {_variable('MQTT_BROKER', mqtt.broker) if mqtt.broker else _needed('MQTT_BROKER')}"
    yield f"    port: {_variable('MQTT_PORT', mqtt.port)}"
    yield f"    topic: {_variable('MQTT_TOPIC', Topic.parse(mqtt.topic))}"
    yield f"    qos: {1 if mqtt.qos is None else mqtt.qos}                          # 1: until the broker has it"
    if mqtt.client_id:
        yield f"    client_id: {quoted(mqtt.client_id)}"
    if mqtt.keep_alive:
        yield f"    keep_alive: {Duration(mqtt.keep_alive)}"
    yield f"    username: {_variable('MQTT_USERNAME', mqtt.username)}"
    password = _needed("MQTT_PASSWORD") if mqtt.has_password else _variable("MQTT_PASSWORD", "")
    yield f"    password: {password}     # or {{file: /run/secrets/mqtt_password}}"
    yield "    tls:"
    yield f"      enabled: {_variable('MQTT_TLS', str(mqtt.tls).lower())}"
    yield f"      ca_file: {_variable('MQTT_CA_FILE', mqtt.ca_file)}"
    yield f"      cert_file: {_variable('MQTT_CERT_FILE', mqtt.cert_file)}"
    yield f"      key_file: {_variable('MQTT_KEY_FILE', mqtt.key_file)}"
    if mqtt.insecure:
        yield "      insecure: true                # anybody can read along"
    yield "    # envelope: seed                # frames exactly as the agent wrote them: without seq and boot"


def _server(server: Server) -> Iterator[str]:
    yield "  server:"
    yield "    type: http"
    yield "    from: frames"
    yield f"    url: {_variable('HTTP_URL', server.url) if server.url else _needed('HTTP_URL')}"
    yield "    format: object                  # one frame a request, as before; lines or array for many"
    yield f"    timeout: {Duration(server.timeout)}"
    if server.has_token:
        yield f"    token: {_needed('HTTP_TOKEN')}          # or {{file: /run/secrets/http_token}}"
    if server.headers:
        yield "    headers:"
        for name in server.headers:
            yield f"      {quoted(name)}: {_needed(header_variable(name))}"
    if server.insecure:
        yield "    tls: {insecure: true}           # anybody can read along"
    yield "    # envelope: seed                # frames exactly as the agent wrote them: without seq and boot"


# scalars


def _needed(variable: str) -> str:
    return f'"${{{variable}}}"'


def _variable(variable: str, default: object, rest: str = "") -> str:
    """A variable with its default; a text that can't be one stands alone."""
    text = str(default)
    if "${" in text or not _balanced(text):
        return quoted(text + rest)
    return json.dumps(f"${{{variable}:-{text}}}{rest}", ensure_ascii=False)


def _balanced(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth < 0:
            return False
    return not depth
