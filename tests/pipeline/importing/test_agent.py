"""`import`: the configuration of the first system's agent becomes a graph file that `check` accepts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import main, shipped_file
from pipeline.config import load_text
from pipeline.errors import ConfigurationError, UsageError
from pipeline.graph import Graph
from pipeline.importing.agent import read_agent
from pipeline.importing.graph_text import graph_text, queue_command

SEED = """\
source:
\tip: "192.168.0.121"
\tdb_number: 1
\tdb_size: 14
output:
\tmode: mqtt
\tmqtt:
\t\tbroker: mosquitto
\t\tport: 8883
\t\ttopic: "plc/${TENANT_ID}/${PLC_ID}"
\t\ttls: true
\t\tca_file: "/app/ca.crt"
"""
"""As its documentation shows it, tabs included."""

PLANT = """\
source:
  ip: 192.168.0.121
  rack: 0
  slot: 2
  poll_interval: 0.5
output:
  mode: "mqtt"
  mqtt:
  broker: mosquitto       # one level too high: that loader mended it
  port: 8883
  topic: plc/db500
  qos: 1
  retain: true
  username: edge_agent
  password: hunter2-secret
  tls: yes
  tls_insecure: false
  ca_file: null
metrics_port: 9200
store_path: /data/queue.sqlite
tenant_id: acme
plc_id: linha1_prensa
dbs:
  - name: "processo"
    db_number: 500
    db_size: 400
    measurement: "s7_db500"
    parser: "db500"
    parser_opts:
      machines: 6
      sensors_per_machine: 5
      machine_block_size: 66
      sensor_block_size: 6
    tags:
      area: "linha1"
    fields:
      db: 500
  - {name: small, db_number: 1, db_size: 14, parser: db500, measurement: press}
  - {name: scales, db_number: 200, db_size: 20, parser: db200_balancas}
influx:
  url: http://localhost:8086
"""


def made(config: str, **environment: str) -> tuple[Graph, str, list[str]]:
    """The graph with these variables set, its text, and the notes."""
    agent, notes = read_agent(config, Path("config.yaml"))
    text = graph_text(agent, "line", "config.yaml", notes)
    return load_text(text, Path("line.yaml"), environment), text, [f"{note.line}: {note.text}" for note in notes]


def test_the_documented_configuration_becomes_the_line_it_was() -> None:
    """Address, block, fields, broker, topic, TLS; the tabs are told as mended."""
    graph, _, notes = made(SEED)
    plc, broker = graph.nodes["plc"].options, graph.nodes["broker"].options
    assert (plc.address, plc.port, plc.rack, plc.slot, plc.every) == ("192.168.0.121", 102, 0, 1, 1.0)
    assert [(block.db, block.layout) for block in plc.blocks] == [(1, "press")]
    assert [field.name for field in graph.layouts["press"].fields] == [
        *("pecas_ruim", "pecas_boas", "maquina_ligada", "AI_Corrente", "AI_Vibracao"),
        *("contador_bom", "contador_ruim"),
    ]
    assert (broker.host, broker.port, broker.qos) == ("mosquitto", 8883, 1)
    assert broker.topic == "plc/{tenant_id}/{plc_id}"
    assert (broker.tls.enabled, broker.tls.ca_file) == (True, "/app/ca.crt")
    assert graph.nodes["frames"].options.every == 30
    assert graph.http is not None
    assert graph.http.listen == "127.0.0.1:9108"
    assert notes == ["2: mended: tab replaced by spaces, in 10 places"]


def test_variables_override_as_they_did() -> None:
    """A compose file with the agent's environment goes on working."""
    graph, _, _ = made(
        SEED,
        PLC_IP="10.0.0.9",
        MQTT_BROKER="other",
        MQTT_PORT="1883",
        MQTT_TLS="false",
        MQTT_TOPIC="x/y",
        TENANT_ID="acme",
        METRICS_PORT="9999",
    )
    plc, broker = graph.nodes["plc"].options, graph.nodes["broker"].options
    assert (plc.address, plc.tenant_id) == ("10.0.0.9", "acme")
    assert (broker.host, broker.port, broker.tls.enabled, broker.topic) == ("other", 1883, False, "x/y")
    assert graph.http is not None
    assert graph.http.port == 9999


def test_a_whole_plant_with_db500_and_everything_else_listed_by_line() -> None:
    """Misplaced keys are taken, the layout follows `parser_opts`, the rest is told; the secret is nowhere."""
    graph, text, notes = made(PLANT, MQTT_PASSWORD="x")
    plc, broker = graph.nodes["plc"].options, graph.nodes["broker"].options
    assert (plc.slot, plc.every, plc.tenant_id, plc.plc_id) == (2, 0.5, "acme", "linha1_prensa")
    assert [(block.db, block.layout, block.series, dict(block.tags)) for block in plc.blocks] == [
        (500, "linha", "s7_db500", {"area": "linha1"}),
        (1, "press", "press", {}),
        (200, "db200", "s7_db200", {}),
    ]
    leaves = {leaf.name: leaf.byte for leaf in graph.layouts["linha"].leaves(plc.naming)}
    assert leaves["maquinas_0_sensores_2_valor"] == 14
    assert leaves["maquinas_5_contador_ruim"] == 5 * 66 + 64
    assert len(leaves) == 6 * (3 + 2 * 5 + 2)
    assert (broker.username, broker.password.reveal(), broker.tls.enabled) == ("edge_agent", "x", True)
    assert broker.journal.path == "/data/line/broker"
    assert graph.http is not None
    assert graph.http.port == 9200
    assert notes == [
        "9: mended: the keys of output.mqtt were not indented below it",
        "13: output.mqtt.retain: frames are not retained; the newest are on the page, and in the database",
        "15: output.mqtt.password: not copied; set MQTT_PASSWORD",
        "39: dbs[2].parser: 'db200_balancas' of 20 bytes is not known: declare the fields of DB200 under layouts:",
        "40: influx: nothing here does this, left out",
    ]
    assert "hunter2" not in text


def test_without_its_password_the_new_graph_says_what_is_missing() -> None:
    """A secret that was there is not forgotten silently."""
    with pytest.raises(ConfigurationError, match="MQTT_PASSWORD is not set"):
        made(PLANT)


HTTP = """\
source: {ip: 192.168.0.121, db_number: 1}
output:
  mode: http
  http:
    url: https://example.com/ingest
    timeout: 2.5
    tls_verify: false
    headers: {X-Api-Key: s3cret-key, Content-Type: application/json}
  mqtt: {broker: mosquitto}
"""


def test_http_posts_one_object_a_request_with_its_secrets_as_variables() -> None:
    """Header values may be secrets; what the sink sets itself is left out silently; the idle output is told."""
    graph, text, notes = made(HTTP, HTTP_X_API_KEY="key")
    server = graph.nodes["server"].options
    assert (server.url, server.format, server.timeout) == ("https://example.com/ingest", "object", 2.5)
    assert {name: value.reveal() for name, value in server.headers.items()} == {"X-Api-Key": "key"}
    assert server.tls.insecure
    assert "s3cret" not in text
    assert [note.partition(": ")[2].partition(":")[0] for note in notes] == [
        *("output.http.tls_verify", "output.http.headers.X-Api-Key", "output.mqtt"),
    ]


@pytest.mark.parametrize("key", ["token", "bearer_token"])
def test_a_bearer_token_becomes_a_variable(key: str) -> None:
    """Its value is in neither the new file nor the notes; a header that says the same gives way."""
    config = HTTP.replace("    timeout", f"    {key}: s3cret-token\n    timeout")
    config = config.replace("headers: {X-Api-Key: s3cret-key", "headers: {Authorization: Bearer s3cret-key")
    graph, text, notes = made(config, HTTP_TOKEN="mine")
    server = graph.nodes["server"].options
    assert (server.token.reveal(), server.headers) == ("mine", {})
    assert f"6: output.http.{key}: not copied; set HTTP_TOKEN, without the word Bearer" in notes
    assert f"9: output.http.headers.Authorization: left out, since {key} counts" in notes
    assert "s3cret" not in text + "".join(notes)
    with pytest.raises(ConfigurationError, match="HTTP_TOKEN is not set"):
        made(config)


@pytest.mark.parametrize(
    "url", ["https://user:pw-123@example.com/x", "https://example.com/x?token=pw-123", "https://[pw-123"]
)
def test_an_address_with_a_secret_becomes_a_variable(url: str) -> None:
    """User info and query never reach the new file."""
    graph, text, notes = made(HTTP.replace("https://example.com/ingest", url), HTTP_X_API_KEY="k", HTTP_URL="http://a/")
    assert graph.nodes["server"].options.url == "http://a/"
    assert "pw-123" not in text
    assert any("set HTTP_URL" in note for note in notes)


@pytest.mark.parametrize("output", ["", "output: stdout", "output: {mode: stdout}", "output: {mode: kafka}"])
def test_standard_output_is_what_remains(output: str) -> None:
    """Also for a mode that never was."""
    graph, _, notes = made("source: {ip: 10.0.0.1, db_number: 1}\n" + output)
    assert graph.nodes["screen"].operator.name == "stdout"
    assert bool(notes) == ("kafka" in output)


def test_two_lines_of_machines_have_two_layouts() -> None:
    """Names don't collide; a block too short for its machines has fewer, and says so; counters that don't fit go."""
    block = "  - {db_number: %d, db_size: %d, parser: db500, parser_opts: {machines: %d, sensors_per_machine: %d}}\n"
    config = "source: {ip: 10.0.0.1}\ndbs:\n" + block % (500, 330, 5, 5) + block % (501, 140, 5, 5)
    graph, _, notes = made(config + block % (502, 330, 5, 10))
    sizes = {name: layout.size for name, layout in graph.layouts.items() if name.startswith("linha")}
    assert sizes == {"linha": 330, "linha_501": 132, "linha_502": 330}
    assert notes == [
        "4: dbs[1].db_size: 140 bytes hold 2 of 5 machines, so there are 2",
    ]
    wide = (block % (502, 350, 5, 11)).replace("machines: 5,", "machines: 5, machine_block_size: 70,")
    graph, _, notes = made(config + wide)
    assert [note.partition(" at byte ")[0] for note in notes[1:]] == [
        "5: dbs[2].parser_opts: contador_bom",
        "5: dbs[2].parser_opts: contador_ruim",
    ]
    assert graph.layouts["linha_502"].size == 350


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("metrics_port: many", "metrics_port: is no number, 9108 instead"),
        ("dbs: 5", "dbs: is no list, left out"),
        ("dbs: [5]", "dbs[0]: is no mapping, left out"),
        ("tenant_id: [a]", "tenant_id: is no text, left out"),
        ("output: {mode: mqtt, mqtt: {broker: b, tls: perhaps}}", "neither true nor false, false instead"),
        ("output: {mode: mqtt, mqtt: {broker: b, qos: 0}}", "frames are lost when a connection breaks"),
        ("destination: {ip: 10.0.0.2}", "see configs/mirror.yaml"),
        ("identity: {plc_id: clp01}", "the agent did not read this"),
        ("heartbeat_interval: 0", "every 30 s instead"),
    ],
)
def test_every_odd_line_is_told_and_the_rest_taken(line: str, said: str) -> None:
    """With its number."""
    graph, _, notes = made("source: {ip: 10.0.0.1, db_number: 1}\n" + line)
    assert graph.nodes["plc"].options.address == "10.0.0.1"
    assert len(notes) == 1
    assert notes[0].startswith("2: ")
    assert said in notes[0]


def test_of_keys_that_stand_twice_the_last_counts() -> None:
    """As for the agent, which would have read that PLC."""
    text = "source:\n  ip: 10.0.0.9\n  db_number: 1\n  ip: 10.0.0.8\nsource: {ip: 10.0.0.1, ip: 10.0.0.7, db_number: 1}"
    graph, _, notes = made(text)
    assert graph.nodes["plc"].options.address == "10.0.0.7"
    assert [note.partition(":")[0] for note in notes] == ["4", "5", "5"]
    assert all(note.endswith("; this one counts, as for the agent") for note in notes)


def test_what_the_agent_had_of_its_broker_and_heartbeats_is_taken() -> None:
    """Client id, keep-alive and period; a level of delivery that there is none of is told."""
    options = "broker: b, client_id: edge01, keepalive: 60, qos: 2"
    text = (
        f"source: {{ip: 10.0.0.1, db_number: 1}}\noutput: {{mode: mqtt, mqtt: {{{options}}}}}\nheartbeat_interval: 15"
    )
    graph, _, notes = made(text)
    broker = graph.nodes["broker"].options
    assert (broker.client_id, broker.keep_alive, broker.qos) == ("edge01", 60, 1)
    assert graph.nodes["frames"].options.every == 15
    assert len(notes) == 1
    assert notes[0].startswith("2: output.mqtt.qos: 2 becomes 1")


def test_a_section_that_is_none_is_told_by_its_line() -> None:
    """All that is missing there, too."""
    _, notes = read_agent("output: stdout\nsource: 192.168.0.121\nstore_path: ''", Path("config.yaml"))
    assert {note.line for note in notes if note.text.startswith("source")} == {2}


@pytest.mark.parametrize("size", [8, 20])
def test_a_block_of_another_size_is_told(size: int) -> None:
    """Too short for a press: bytes; longer: its first 14 bytes, as the agent read them."""
    graph, _, notes = made(f"source:\n  ip: 10.0.0.1\n  db_size: {size}\n  db_number: 1")
    assert list(graph.layouts) == ["press" if size > 14 else "db1"]
    assert notes[0].startswith("3: source.db_size: ")


MACHINES = "parser: db500, parser_opts: {machines: 5}"
_AS_PRESS = "hold no machine of 66, so the first 14 are read, as one press"


@pytest.mark.parametrize(
    ("source", "block", "db", "layout", "said"),
    [
        ("db_number: 500, db_size: 330", "parser: db500", 500, 330, []),
        ("db_number: 500, db_size: 330", MACHINES, 500, 330, []),
        ("db: 500, size: 330", "parser: db500", 500, 330, []),
        ("", "db: 500, size: 330, " + MACHINES, 500, 330, []),
        ("", "number: '500', size: 400, " + MACHINES, 500, 330, []),
        ("", "db_number: 500, db: 7, size: 330, " + MACHINES, 500, 330, ["dbs[0].db: left out, since db_number"]),
        ("", "db: 500, parser: db500", 500, 330, ["dbs[0]: no db_size: 330 bytes assumed, 5 machines of 66"]),
        ("", "size: 330, " + MACHINES, 1, 330, ["dbs[0]: no db_number: DB1 assumed"]),
        ("", "db: 1, parser: db500", 1, 14, ["dbs[0]: no db_size: 14 bytes assumed, as one press"]),
        ("db_size: 14", "db: 500, parser: db500", 500, 14, [f"dbs[0].db_size: 14 bytes {_AS_PRESS}"]),
        ("", "db: 500, size: 40, parser: db500", 500, 14, [f"dbs[0].size: 40 bytes {_AS_PRESS}"]),
        ("", "db: 500, size: 20, parser: db1", 500, 14, ["dbs[0].parser: the first 14 of 20 bytes are read"]),
        ("", "db: many, size: 14, parser: db1", 1, 14, ["dbs[0].db: is no number, 1 instead"]),
        ("db: 7", "db: 500, size: 14, parser: db1", 500, 14, ["source.db: 7: left out, since each entry of dbs"]),
    ],
)
def test_a_block_has_its_number_and_size_by_any_name_or_from_the_source(
    source: str, block: str, db: int, layout: int, said: list[str]
) -> None:
    """What is taken is silent; what is assumed, doubled or not used is told."""
    graph, _, notes = made(f"source: {{ip: 10.0.0.1, {source}}}\ndbs:\n  - {{{block}}}")
    (found,) = graph.nodes["plc"].options.blocks
    assert (found.db, graph.layouts[found.layout].size) == (db, layout)
    told = [note.partition(": ")[2] for note in notes]
    assert [each[: len(start)] for each, start in zip(told, said, strict=True)] == said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ip: 10.0.0.1", ["source: no db_number: DB1 assumed"]),
        ("ip: 10.0.0.1, db_number: 500", ["source: no db_size: 14 bytes assumed, as one press"]),
        ("ip: 10.0.0.1, db: 500, size: 14", []),
    ],
)
def test_the_only_block_is_never_assumed_silently(source: str, said: list[str]) -> None:
    """With the line of its mapping."""
    assert made(f"source: {{{source}}}")[2] == [f"1: {each}" for each in said]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("sources: {press: {type: s7}}", "is a graph file already"),
        ("a: 1", "has no `source:`"),
        ("[1]", "has no `source:`"),
        ("", "has no `source:`"),
    ],
)
def test_something_else_is_refused(config: str, said: str) -> None:
    """In one line."""
    with pytest.raises(UsageError, match=said):
        read_agent(config, Path("config.yaml"))


def test_what_is_no_yaml_is_told_by_line() -> None:
    """As for a graph file."""
    with pytest.raises(ConfigurationError, match=r"config\.yaml:2:9: the quote"):
        read_agent("source: {ip: 1}\noutput: 'x\n", Path("config.yaml"))


HOSTS = st.from_regex(r"[a-z][a-z0-9-]{0,18}[a-z0-9]", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(HOSTS, TEXTS, TEXTS, TEXTS)
def test_no_text_breaks_the_new_file(broker: str, ca_file: str, username: str, tag: str) -> None:
    """Quotes, braces, dollars and hashes come out as they went in."""
    config = {
        "source": {"ip": "10.0.0.1"},
        "output": {"mode": "mqtt", "mqtt": {"broker": broker, "ca_file": ca_file, "username": username}},
        "dbs": [{"db_number": 1, "db_size": 14, "parser": "db500", "tags": {"area": tag}}],
    }
    graph, _, _ = made(json.dumps(config, ensure_ascii=False))
    options = graph.nodes["broker"].options
    assert (options.host, options.tls.ca_file, options.username) == (broker, ca_file, username)
    assert graph.nodes["plc"].options.blocks[0].tags == {"area": tag}


def test_a_note_stays_in_its_comment() -> None:
    """What it quotes may hold line breaks."""
    graph, _, notes = made('source: {ip: 10.0.0.1}\ndbs: [{db_number: 1, db_size: 14, parser: "a\\nservices: {}"}]')
    assert graph.nodes["plc"].options.blocks[0].layout == "db1"
    assert len(notes) == 1


def test_the_command_for_the_queue_goes_to_the_new_journal() -> None:
    """Same broker, same topic, the folder that the graph names."""
    agent, _ = read_agent(PLANT, Path("config.yaml"))
    assert queue_command(agent, "line") == (
        "journal import /data/queue.sqlite /data/line/broker --receiver mqtt://mosquitto:8883 --topic plc/db500"
    )
    agent, _ = read_agent(HTTP, Path("config.yaml"))
    assert queue_command(agent, "line") == (
        "journal import queue.sqlite data/line/server --receiver https://example.com:443 --topic /ingest"
    )


PRESS_DB = """\
DATA_BLOCK "Press"
{ S7_Optimized_Access := 'FALSE' }
VERSION : 0.1
STRUCT
  a : Int;
END_STRUCT;
BEGIN
END_DATA_BLOCK
"""


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    said = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, said.out, said.err


def test_the_command_writes_a_file_that_check_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes with file and line, what to set, what to do with the queue; never over a file that is there."""
    config, line = tmp_path / "config.yaml", tmp_path / "line 1.yaml"
    config.write_text(PLANT, encoding="utf-8")
    code, out, err = call(capsys, "import", str(config), "-o", str(line))
    assert (code, out) == (0, "")
    assert f"{config}:40: influx: nothing here does this" in err
    assert "set before it runs: MQTT_PASSWORD" in err
    assert "pipeline journal import /data/queue.sqlite" in err
    assert "hunter2" not in err
    monkeypatch.setenv("MQTT_PASSWORD", "x")
    assert call(capsys, "check", str(line))[0] == 0
    code, _, err = call(capsys, "import", str(config), "-o", str(line))
    assert (code, "is there already" in err) == (1, True)
    code, out, _ = call(capsys, "import", str(config))
    assert code == 0
    assert out.startswith("# Made from config.yaml")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a configuration, a source of TIA Portal, and `lines/` for new graphs."""
    monkeypatch.chdir(tmp_path)
    Path("lines").mkdir()
    Path("agent.yaml").write_text(SEED, encoding="utf-8")
    Path("Press.db").write_text(PRESS_DB, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("schema", "first"),
    [
        ("lines/graph.schema.json", "# yaml-language-server: $schema=graph.schema.json"),
        ("lines/configs/graph.schema.json", "# yaml-language-server: $schema=configs/graph.schema.json"),
        ("graph.schema.json", "# yaml-language-server: $schema=../graph.schema.json"),
        ("other/graph.schema.json", f"# yaml-language-server: $schema={shipped_file('graph.schema.json').as_posix()}"),
    ],
)
@pytest.mark.parametrize(
    "command", ["import agent.yaml", "import Press.db --db Press=1", "new graph --plc a --db 1 --size 9"]
)
def test_a_new_graph_names_the_schema_that_is_near(
    command: str, schema: str, first: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its way from the file; where there is none, that of the program; on standard output, no line."""
    (desk / schema).parent.mkdir(exist_ok=True)
    (desk / schema).touch()
    assert call(capsys, *command.split(), "-o", "lines/line.yaml")[0] == 0
    head, _, rest = Path("lines/line.yaml").read_text(encoding="utf-8").partition("\n")
    assert (head if "$schema" in head else "") == first
    assert "$schema" not in rest + call(capsys, *command.split())[1]


def test_a_new_graph_that_needs_a_hand_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is written, so that it can be mended there."""
    config, line = tmp_path / "config.yaml", tmp_path / "line.yaml"
    config.write_text(SEED.replace("192.168.0.121", "192.168.0.121:102"), encoding="utf-8")
    code, _, err = call(capsys, "import", str(config), "-o", str(line))
    assert code == 1
    assert "line.yaml" in err
    assert "write address: 192.168.0.121, port: 102" in err
    assert line.exists()


@pytest.mark.parametrize(("content", "said"), [(None, "can't be read"), (b"\xff\xfes\0", "UTF-16")])
def test_a_file_that_cannot_be_read_is_one_line(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No stack trace."""
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_bytes(content)
    code, _, err = call(capsys, "import", str(config))
    assert code == 1
    assert said in err
    assert "Traceback" not in err
