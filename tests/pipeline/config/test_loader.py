"""Every mistake that a graph file can hold is told with its place, its node, its option and the way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import load, load_text
from pipeline.config.predict import forecast
from pipeline.errors import ConfigurationError
from pipeline.operator import NodeKind
from pipeline.units import Duration, Secret, Size, Topic

LINE1 = """\
name: line1
http: {listen: "${METRICS_HOST:-127.0.0.1}:${METRICS_PORT:-9108}"}    # token: or users: for other addresses

layouts:                            # records of named fields; they nest (UDT) and repeat (arrays)
  press:
    size: 14
    fields:
      pecas_ruim:     BOOL @ 0.0
      pecas_boas:     BOOL @ 0.1
      maquina_ligada: BOOL @ 0.2
      AI_Corrente:    {type: REAL, at: 2, unit: A}
      AI_Vibracao:    {type: REAL, at: 6, unit: mm/s}
      contador_bom:   INT @ 10
      contador_ruim:  INT @ 12

sources:
  press:
    type: s7
    plcs:                           # one actor each; a single PLC may also be written without the list
      - {plc_id: "${PLC_ID:-}", address: "${PLC_IP}", port: "${PLC_PORT:-102}", rack: 0, slot: 1}
    tenant_id: "${TENANT_ID:-}"
    every: "${POLL_INTERVAL:-1s}"
    blocks:
      - {db: 1, layout: press}      # also: name, measurement (default s7_db<n>), tags, start, every

transforms:
  frames: {type: heartbeat, from: press, every: 30s}

sinks:
  broker:
    type: mqtt
    from: frames
    host: "${MQTT_BROKER}"
    port: "${MQTT_PORT:-8883}"
    topic: "${MQTT_TOPIC:-plc/{tenant_id}/{plc_id}}"
    qos: 1
    username: "${MQTT_USERNAME:-}"
    password: "${MQTT_PASSWORD:-}"  # or {file: /run/secrets/mqtt_password}
    tls: {enabled: "${MQTT_TLS:-true}", ca_file: "${MQTT_CA_FILE:-}"}   # cert_file, key_file: mutual TLS
    journal: {path: "${DATA_DIR:-data}/line1/broker", max_size: 1GiB, max_age: 7d, when_full: drop_oldest}
  mirror:
    type: s7_mirror
    from: press
    enabled: "${MIRROR:-false}"     # a disabled node is checked, but needs no variable
    target: {address: "${MIRROR_IP}", db: 101}
    allow: ["DB101.0..13"]
"""
SOURCES = "sources:\n  press: {type: s7, plcs: {address: 10.0.0.1}}\n"
SMALL = SOURCES + "sinks:\n  broker: {type: mqtt, from: press, host: h}\n"
NEEDED = {"PLC_IP": "10.0.0.1", "MQTT_BROKER": "broker.local"}


def test_the_whole_file_loads():
    """Substituted values become numbers, durations and switches; what no variable gives has its default."""
    environ = {**NEEDED, "PLC_PORT": "1102", "POLL_INTERVAL": "20ms", "MQTT_TLS": "FALSE", "MQTT_PASSWORD": "p:w"}
    environ["MQTT_USERNAME"] = "edge"
    graph = load_text(LINE1, Path("configs/line1.yaml"), environ)
    assert [(node.name, node.kind, node.enabled, node.inputs, node.line) for node in graph.nodes.values()] == [
        ("press", NodeKind.SOURCE, True, (), 17),
        ("frames", NodeKind.TRANSFORM, True, ("press",), 27),
        ("mirror", NodeKind.SINK, False, ("press",), 41),
        ("broker", NodeKind.SINK, True, ("frames",), 30),
    ]
    source, sink = graph.nodes["press"].options, graph.nodes["broker"].options
    assert (source.plcs[0].port, source.every, source.blocks[0].db) == (1102, Duration(0.02), 1)
    assert (sink.port, sink.topic, type(sink.topic)) == (8883, "plc/{tenant_id}/{plc_id}", Topic)
    assert (sink.tls.enabled, sink.tls.ca_file, sink.password) == (False, None, Secret("p:w"))
    assert (sink.journal.path, sink.journal.max_size, sink.journal.max_age) == (
        "data/line1/broker",
        Size(1024**3),
        Duration(7 * 86400),
    )
    assert (graph.name, graph.http.host, graph.http.port) == ("line1", "127.0.0.1", 9108)
    assert graph.layouts["press"].size == 14
    assert [str(warning) for warning in graph.warnings] == [
        "configs/line1.yaml:39:20: warning: node 'broker' (mqtt): tls.enabled: in clear"
    ]


def test_missing_variables_are_named_but_not_for_disabled_nodes(problems):
    """Each missing variable is told at each place; the disabled mirror's is not."""
    assert problems(LINE1, MQTT_BROKER="") == [
        (
            "20:42: node 'press' (s7): plcs[0].address: environment variable PLC_IP is not set; "
            "set it, or give a default here: ${PLC_IP:-…}"
        ),
        (
            "33:11: node 'broker' (mqtt): host: environment variable MQTT_BROKER is not set; "
            "set it, or give a default here: ${MQTT_BROKER:-…}"
        ),
    ]
    assert problems(LINE1, **NEEDED, MIRROR="true") == [
        (
            "45:23: node 'mirror' (s7_mirror): target.address: environment variable MIRROR_IP is not set; "
            "set it, or give a default here: ${MIRROR_IP:-…}"
        )
    ]


def test_the_blocks_alone_need_no_variable_of_anything_else():
    """No address, broker, or login of the page; the blocks' own variables are asked for, and layouts checked."""
    text = LINE1.replace("{db: 1, layout: press}", '{db: "${DB}", layout: press}')
    assert text != LINE1
    outside = {"METRICS_HOST": "0.0.0.0"}  # noqa: S104 - nothing listens
    graph = load_text(text, Path("x.yaml"), {**outside, "DB": "7"}, only="blocks")
    assert [block.db for block in graph.nodes["press"].options.blocks] == [7]
    assert (list(graph.nodes), graph.http) == (["press"], None)
    for wrong, told in ((text, "blocks[0].db: environment variable DB"), (LINE1.replace("size: 14", "size: 13"), "13")):
        with pytest.raises(ConfigurationError) as caught:
            load_text(wrong, Path("x.yaml"), outside, only="blocks")
        assert [told in str(problem) for problem in caught.value.problems] == [True]


def test_a_disabled_node_is_checked(problems):
    """Only variables may miss; the rest of a disabled node must be right."""
    text = LINE1.replace("db: 101", "db: x").replace("allow:", "alow:")
    assert problems(text, **NEEDED) == [
        "41:3: node 'mirror' (s7_mirror): allow: is required and missing",
        "45:43: node 'mirror' (s7_mirror): target.db: must be a whole number, found the text 'x'",
        "46:5: node 'mirror' (s7_mirror): alow: unknown option; did you mean 'allow'?",
    ]


def test_a_disabled_node_that_lacks_a_variable_is_checked_all_the_same(problems):
    """What doesn't depend on the variable is bound and checked; its own value is not."""
    assert problems(LINE1.replace("DB101.0..13", "DB101.0-13"), **NEEDED) == [
        "46:13: node 'mirror' (s7_mirror): allow[0]: no range"
    ]
    number = LINE1.replace("db: 101", 'db: "${MIRROR_DB}"')
    assert problems(number, **NEEDED) == []
    assert load_text(number, Path("x.yaml"), NEEDED).nodes["mirror"].enabled is False


def test_the_seeds_topic_is_the_frames(problems):
    """`${TENANT_ID}` and `${PLC_ID}` in a topic mean the frame's fields, written in the file or in the variable."""
    for topic in ("plc/${TENANT_ID}/${PLC_ID}", "${MQTT_TOPIC:-plc/${TENANT_ID}/${PLC_ID}}", "${T}"):
        text = SMALL.replace("host: h", f'host: h, topic: "{topic}"')
        environ = {"TENANT_ID": "not this", "T": "plc/${TENANT_ID}/${PLC_ID}"}
        assert load_text(text, Path("x.yaml"), environ).nodes["broker"].options.topic == "plc/{tenant_id}/{plc_id}"
    assert problems(SMALL.replace("host: h", 'host: "${TENANT_ID}"')) != []


MISTAKES = {
    "tab": (
        SOURCES + "sinks:\n\tbroker: {type: mqtt, from: press, hst: h}\n",
        ["4:1: a tab stands here; YAML takes only spaces", "hst: unknown option; did you mean 'host'?", "host: is req"],
    ),
    "indentation": (
        SOURCES + "sinks:\n  broker:\n    type: mqtt\n     from: press\n    host: h\n    qos: 2\n",
        [
            "6:6: this line is indented by 5 spaces, the lines around it by 4; indent it by 4",
            "8:10: node 'broker' (mqtt): qos: must be <= 1, got 2",
        ],
    ),
    "indentation in doubt": (
        "sources:\n  press:\n    type: s7\n   every: 1s\n  other: 1\n",
        ["4:4: this line is indented by 3 spaces, the lines around it by 2 or 4; indent it by 2 or 4"],
    ),
    "colon without space": (
        SOURCES + "sinks:\n  broker:\n    type: mqtt\n    from:press\n    host: h\n    qos: 3\n",
        ["6:5: a space is missing behind the colon of 'from:'; write `from: …`", "8:10: node 'broker' (mqtt): qos"],
    ),
    "colon without space in flow": (
        SMALL.replace("host: h", "host: h, qos:2"),
        ["4:46: a space is missing behind the colon of 'qos:'", "4:50: node 'broker' (mqtt): qos: must be <= 1"],
    ),
    "colon forgotten": (
        SMALL.replace("sinks:\n", "sinks\n"),
        ["3:1: this line is no `key: value`: the colon is missing"],
    ),
    "comparison without quotes": (
        SMALL.replace("sinks:\n", "x-levels:\n  CRITICO: > 30\nsinks:\n"),
        ['4:12: a text on one line can\'t begin with > or |; put it in quotes: "> 30"'],
    ),
    "quote never closed": (
        SMALL.replace("  press: {type: s7", '  press: {type: "s7'),
        ["2:17: the quote that opens here isn't closed on its line; close it"],
    ),
    "bracket never closed": (
        SMALL.replace("10.0.0.1}}", "10.0.0.1}"),
        ["2:10: the { that opens here isn't closed; close it with }"],
    ),
    "comma forgotten": (SMALL.replace("s7, plcs", "s7 plcs"), ["2:24: a comma is missing inside of {…}"]),
    "braces at the start of a text": (
        SOURCES + "name: {tenant_id}/x\n",
        ["3:18: text follows the closing bracket; put one pair of quotes around the whole text"],
    ),
    "two colons": (SOURCES + "name: a: b\n", ["3:8: a second `: ` in one line; put the value in quotes"]),
    "variable in flow": (
        SMALL.replace("host: h", "host: ${MQTT_BROKER:-secret}, qos: 4"),
        [
            (
                "4:43: ${MQTT_BROKER} stands without quotes inside of {…} or […], where braces are YAML's own; "
                'put quotes around the whole text: "${MQTT_BROKER}"'
            ),
            "qos: must be <= 1, got 4",
        ],
    ),
    "duplicate key": (
        SMALL + "sinks: {}\nname: a\nname: b\n",
        [
            "5:1: 'sinks' stands twice in one mapping, here and in line 3; keep one, or give the second another name",
            "7:1: 'name' stands twice in one mapping, here and in line 6",
        ],
    ),
    "two documents": (SMALL + "---\na: 1\n", ["5:1: a second document begins here; one file holds one graph"]),
    "empty": (
        "# nothing\n",
        ["the file is empty; a graph has name, http, recorder, layouts, services, sources, transforms"],
    ),
    "no nodes": ("name: a\n", ["the graph has no nodes; declare them in sources, transforms and sinks"]),
    "no mapping": ("- a\n", ["1:1: a graph file is made of `key: value` lines"]),
    "alias": (SMALL.replace("host: h", "host: *x"), ["4:43: a text that begins with * points to an anchor"]),
    "unknown top key": (SMALL + "sink: {}\n", ["5:1: unknown key 'sink'; did you mean 'sinks'?"]),
    "section no mapping": (SOURCES + "sinks: [broker]\n", ["3:8: sinks: must be a mapping of names"]),
    "node no mapping": (SOURCES + "sinks:\n  broker: mqtt\n", ["4:3: node 'broker': this node has no options"]),
    "unknown key": (
        SMALL.replace("from", "form"),
        ["4:3: node 'broker' (mqtt): from: is required", "4:24: node 'broker' (mqtt): form: unknown option; did you"],
    ),
    "unknown type": (
        SMALL.replace("mqtt", "mqqt"),
        ["4:18: node 'broker': type: there is no sink of type 'mqqt'; did you mean 'mqtt'?"],
    ),
    "type of another section": (
        SMALL.replace("mqtt", "heartbeat"),
        ["4:18: node 'broker': type: there is no sink of type 'heartbeat'; it is a transform: declare this node under"],
    ),
    "no type": (
        "sinks:\n  mqtt: {from: []}\n",
        ["from: names no node", "2:3: node 'mqtt': type: is required and missing; write `type: mqtt`"],
    ),
    "unknown node": (
        SMALL.replace("from: press", "from: pres"),
        [
            "4:30: node 'broker' (mqtt): from: there is no node 'pres'; did you mean 'press'?",
        ],
    ),
    "no from": (
        SOURCES + "transforms: {b: {type: heartbeat}}\n",
        ["node 'b' (heartbeat): from: is required and missing; name the source or transform"],
    ),
    "empty from": (SMALL.replace("from: press", "from: []"), ["from: names no node; name at least one"]),
    "node twice in from": (SMALL.replace("from: press", "from: [press, press]"), ["4:38: node", "'press' is named tw"]),
    "from of a source": (SMALL.replace("s7,", "s7, from: broker,"), ["2:21: node 'press' (s7): from: a source takes"]),
    "from a sink": (
        SMALL + "  other: {type: s7_mirror, from: broker, target: {address: a, db: 1}, allow: []}\n",
        ["5:34: node 'other' (s7_mirror): from: 'broker' is a sink and gives no frames; take from"],
    ),
    "cycle": (
        SMALL.replace("from: press", "from: b")
        + "transforms:\n  a: {type: heartbeat, from: [press, b]}\n  b: {type: heartbeat, from: a}\n",
        ["6:38: node 'a' (heartbeat): from: frames would go round in a circle: a -> b -> a; take one of these"],
    ),
    "own name": (
        SMALL + "transforms:\n  a: {type: heartbeat, from: a}\n",
        ["6:30: node 'a' (heartbeat): from: frames would go round in a circle: a -> a"],
    ),
    "name used twice": (
        SMALL + "transforms:\n  press: {type: heartbeat, from: press}\n",
        ["6:3: node 'press' (heartbeat): the name is also used in sources, line 2; give one of them another name"],
    ),
    "bad node name": (
        SMALL.replace("broker:", "máquina:"),
        ["4:3: node 'máquina' (mqtt): this can't be a node's name; a letter, then up to 63 letters without accents"],
    ),
    "bad graph name": (
        SMALL + "name: a/b\n",
        ["5:7: name: must be a letter or digit, then up to 63 letters", "got 'a/b'"],
    ),
    "graph name with a line end": (
        SMALL + "name: |\n  line1\n",
        ["5:7: name: must be a letter or digit, then up to 63 letters", r"got 'line1\n'"],
    ),
    "unused node": (
        SMALL + "transforms:\n  idle: {type: heartbeat, from: press}\n",
        ["6:3: warning: node 'idle' (heartbeat): nobody takes from this node; name it in the `from: idle`"],
    ),
    "used by a disabled node only": (
        SMALL.replace("type: mqtt,", "type: mqtt, enabled: false,"),
        ["2:3: warning: node 'press' (s7): only disabled nodes take from this node"],
    ),
    "takes from a disabled node": (
        SMALL.replace("type: s7,", "type: s7, enabled: false,"),
        ["4:30: warning: node 'broker' (mqtt): from: takes only from disabled nodes, so nothing will arrive"],
    ),
    "two sinks on one journal": (
        SMALL + "  second: {type: mqtt, from: press, host: h, password: a, journal: {path: data}}\n",
        [
            "5:75: node 'second' (mqtt): journal.path: the journal 'data' is taken by node 'broker' too (line 4); only",
            "password: needs a username",
            "password: a secret",
        ],
    ),
    "two actors on one PLC connection": (
        SMALL.replace("sinks:", "  twin: {type: s7, plcs: [{address: 10.0.0.1}]}\nsinks:").replace(
            "from: press", "from: [press, twin]"
        ),
        [
            (
                "3:37: node 'twin' (s7): plcs[0].address: the PLC connection '10.0.0.1:102' is taken by "
                "node 'press' too (line 2)"
            )
        ],
    ),
    "secret in clear": (
        SMALL.replace("host: h", "host: h, username: u, password: hunter2"),
        [
            (
                "4:69: warning: node 'broker' (mqtt): password: a secret is written in clear; "
                "use ${NAME} from the environment, or {file: path}"
            )
        ],
    ),
    "secret in a default": (
        SMALL.replace("host: h", 'host: h, username: u, password: "${PASSWORD:-hunter2}"'),
        ["4:69: warning: node 'broker' (mqtt): password: a secret is written in clear"],
    ),
    "wrong unit": (
        SMALL.replace("type: s7,", "type: s7, every: 5 sec,"),
        ["2:28: node 'press' (s7): every: '5 sec' is not a duration; write a number and a unit (us, ms, s, m"],
    ),
    "no unit": (SMALL.replace("type: s7,", "type: s7, every: 5,"), ["every: '5' is not a duration; write a number"]),
    "bound of a duration": (
        SMALL.replace("type: s7,", "type: s7, every: 0s,"),
        ["2:28: node 'press' (s7): every: must be > 0s, got 0s"],
    ),
    "size": (
        SMALL.replace("host: h", "host: h, journal: {path: a, max_size: 12B}"),
        ["4:75: node 'broker' (mqtt): journal.max_size: must be >= 1KiB, got 12B"],
    ),
    "quoted number": (
        SMALL.replace("host: h", 'host: h, port: "8883"'),
        ["4:52: node 'broker' (mqtt): port: must be a whole number, found the text '8883'; write it without quotes"],
    ),
    "fraction": (
        SMALL.replace("host: h", "host: h, port: 1.5"),
        ["port: must be a whole number, found the number 1.5"],
    ),
    "yes": (
        SMALL.replace("host: h", "host: h, tls: {enabled: yes}"),
        ["tls.enabled: must be true or false, found the text 'yes'; write true without quotes"],
    ),
    "wrong choice": (
        SMALL.replace("host: h", "host: h, journal: {path: a, when_full: drop_newst}"),
        ["must be one of drop_oldest, drop_newest, found the text 'drop_newst'; did you mean 'drop_newest'?"],
    ),
    "no alternative fits": (
        SMALL.replace("host: h", "host: h, limit: much"),
        ["limit: must be a whole number or one of none or a duration such as 500ms, found the text 'much'"],
    ),
    "no value": (SMALL.replace("host: h", "host:"), ["host: has no value; write text, or remove the line"]),
    "list for text": (SMALL.replace("host: h", "host: [h]"), ["host: must be text, found a list"]),
    "text for mapping": (
        SMALL.replace("host: h", "host: h, tls: {}, journal: path:a"),
        ["journal: must be a mapping, found a single value; is a space behind a colon missing?"],
    ),
    "fixed number of entries": (SMALL.replace("type: s7,", "type: s7, tsap: [1],"), ["tsap: must have 2 entries, f"]),
    "bad pattern": (
        SMALL.replace("{address: 10.0.0.1}", "{address: 10.0.0.1, plc_id: a/b}"),
        ["plcs.plc_id: must match ^[A-Za-z0-9_.-]{0,64}$, got 'a/b'"],
    ),
    "bad substitution": (
        SMALL.replace("host: h", 'host: "${MQTT-BROKER:-x}"'),
        ["host: '${MQTT-BROKER' is no substitution; write ${NAME} or ${NAME:-default}, and $${ where ${ itself"],
    ),
    "options that disagree": (
        SMALL.replace("host: h", "host: h, password: {file: /run/secret}"),
        [
            "4:56: node 'broker' (mqtt): password: needs a username",
            "password.file: there is no file '/run/secret' yet",
        ],
    ),
    "a file's text in place of its name": (
        SMALL.replace("host: h", f"host: h, username: u, password: {{file: {'secret' * 50}}}"),
        ["the file 'secretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretse' can't be looked"],
    ),
    "open page": (
        SMALL + "http: {listen: 0.0.0.0:9108, users: {ana: ''}}\n",
        [
            "5:16: http.listen: other machines can connect to 0.0.0.0, and nobody would have to log in; set token or",
            "5:43: http.users.ana: an empty password; set one, or remove the user",
        ],
    ),
    "bad listen": (
        SMALL + "http: {listen: 9108}\n",
        ["5:16: http.listen: '9108' is no address to listen on; write host:port, such as 127.0.0.1:9108"],
    ),
    "unknown layout": (
        SMALL.replace("type: s7,", "type: s7, blocks: [{db: 1, layout: pres}],"),
        ["2:46: node 'press' (s7): blocks[0].layout: no layout 'pres'"],
    ),
    "broken layout is told once": (
        SMALL.replace("type: s7,", "type: s7, blocks: [{db: 1, layout: p}],") + "layouts: {p: {size: 2, field: {}}}\n",
        ["5:14: layouts.p.fields: is required and missing", "5:24: layouts.p.field: unknown option; did you mean"],
    ),
    "a layout's mistakes hide none of its others, and cause none elsewhere": (
        SMALL.replace("type: s7,", "type: s7, blocks: [{db: 1, layout: a}, {db: 2, layout: c}],")
        + """\
layouts:
  a:
    size: 4
    fields:
      x: REAAL @ 0
      y: INT @ 3
      z: BOOL @ 1.9
      w: b @ 0
      q: INT @ -2
      r: STRING[300] @ 0
      s: {type: INT, at: 3, enum: {a: 1}, scale: x}
      t: {at: 0, unit: [A]}
      u: [0]
      v: "${NOT_SET} @ 1"
  b: {fields: {x: a @ 0}}
  c: {size: many, filds: {}, fields: {all: "a[2] @ 0", rest: b @ 8}}
  d: 7
  e: {fields: [INT @ 0]}
""",
        [
            "9:10: layouts.a.fields.x: unknown type or layout 'REAAL'; did you mean REAL?",
            "10:10: layouts.a.fields.y: 'y' (bytes 3 to 4) leaves its layout: layout 'a' has 4 bytes",
            "11:10: layouts.a.fields.z: bit 9 of '1.9' does not exist",
            "13:10: layouts.a.fields.q: '-2' is no place",
            "14:10: layouts.a.fields.r: STRING[300]: the length must be 1 to 254",
            "15:36: layouts.a.fields.s.enum.a: must be a whole number, found the text 'a'",
            "15:50: layouts.a.fields.s.scale: must be a number, found the text 'x'",
            "15:10: layouts.a.fields.s: 's' (bytes 3 to 4) leaves its layout",
            "15:10: layouts.a.fields.s: 's' (bytes 3 to 4) overlaps 'y' (bytes 3 to 4)",
            "16:10: layouts.a.fields.t.type: is required and missing",
            "16:24: layouts.a.fields.t.unit: must be text, found a list",
            "17:10: layouts.a.fields.u: must be",
            "18:10: layouts.a.fields.v: environment variable NOT_SET is not set",
            "19:19: layouts.b.fields.x: layout 'a' contains itself: a > b > a",
            "20:13: layouts.c.size: must be a whole number",
            "20:19: layouts.c.filds: unknown option; did you mean 'fields'?",
            "21:6: layouts.d: must be a mapping",
            "22:15: layouts.e.fields: must be a mapping",
        ],
    ),
    "letters that nothing can be called by": (
        SMALL.replace("host: h", 'host: h, journal: {path: "a\\0b"}, tls: {ca_file: "c\\0d"}'),
        [
            "journal.path: has a NUL character, which no path or name can have; take the \\0 out",
            "tls.ca_file: must be a path, found the text 'c\\x00d'; take the \\0 out",
        ],
    ),
    "fields that overlap": (
        SMALL + "layouts:\n  p:\n    fields:\n      a: REAL @ 0\n      b: INT @ 2\n",
        ["9:10: layouts.p.fields.b:"],
    ),
    "field outside": (
        SMALL + "layouts:\n  p:\n    size: 4\n    fields:\n      a: LREAL @ 0\n",
        [":10: layouts.p.fields.a:"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(problems, name):
    """The mistake is told with line, column, node, option, what was found and what to do; nothing else is."""
    text, expected = MISTAKES[name]
    told = problems(text)
    for part in expected:
        assert any(part in line for line in told), told
    assert all(any(part in line for part in expected) for line in told), told
    assert not re.search("hunter2|secret}", "\n".join(told))


def test_all_mistakes_come_at_once_in_the_order_of_lines(problems):
    """One run tells everything, of every kind."""
    text = LINE1.replace("size: 14", "size: many").replace("every: 30s", "every: 30").replace("qos: 1", "qos: 7")
    told = problems(text)
    assert [int(line.partition(":")[0]) for line in told] == [6, 20, 27, 33, 36]


def test_yaml_1_2_scalars_and_anchors():
    """`yes` is text, 010 is ten, `<<` merges, and a place for anchors may stand at the top."""
    text = (
        "x-plc: &plc {rack: 010, slot: 0x2}\nx-b: &b {<<: [*plc], address: b}\n"
        "sources:\n  press: {type: s7, tenant_id: 0123, plcs: [{<<: *plc, address: yes, slot: 3}, *b]}\n"
        "sinks:\n  broker: {type: mqtt, from: press, host: h, limit: 1h}\n"
    )
    graph = load_text(text, Path("x.yaml"), {})
    source = graph.nodes["press"].options
    assert [(plc.address, plc.rack, plc.slot) for plc in source.plcs] == [("yes", 10, 3), ("b", 10, 2)]
    assert source.tenant_id == "0123"
    assert graph.nodes["broker"].options.limit == Duration(3600)
    assert graph.name == "x"


def test_a_secret_may_be_a_file():
    """`{file: path}` is not opened by the loader."""
    text = SMALL.replace("host: h", "host: h, username: u, password: {file: /no/such/file}")
    assert load_text(text, Path("x.yaml"), {}).nodes["broker"].options.password == Secret(file=Path("/no/such/file"))


def test_files_that_are_no_text_are_told(tmp_path):
    """Another encoding, a missing file and a folder are mistakes of the user, not of the program."""
    path = tmp_path / "a.yaml"
    path.write_bytes(b"name: a\nhost: m\xe1quina\n")
    with pytest.raises(ConfigurationError, match=r"a\.yaml:2:8: this file is not UTF-8: byte 0xE1 .*save it as UTF-8"):
        load(path, {})
    path.write_text("name: a", encoding="utf-16")
    with pytest.raises(ConfigurationError, match="this file is UTF-16; save it as UTF-8"):
        load(path, {})
    path.write_text(SMALL, encoding="utf-8-sig")
    assert list(load(path, {}).nodes) == ["press", "broker"]
    with pytest.raises(ConfigurationError, match="can't be read: No such file"):
        load(tmp_path / "b.yaml", {})
    with pytest.raises(ConfigurationError, match="can't be read"):
        load(tmp_path, {})


def test_flows_add_up_in_the_forecast():
    """A node that takes from two sources is foretold to see the frames of both."""
    text = SMALL.replace("sinks:", "  twin: {type: s7, plcs: {address: b}}\nsinks:").replace("press,", "[press, twin],")
    foretold = forecast(load_text(text, Path("x.yaml"), {}))
    assert [(node.name, prediction.flow.frames) for node, prediction in foretold] == [
        ("press", 10),
        ("twin", 10),
        ("broker", 20),
    ]


_TEXTS = st.one_of(
    st.text(),
    st.text(alphabet=st.sampled_from("ab:-&*!|>'\"%@`{}[],?#\t\n  ${}\\<\r\x85\u2028")),
    st.lists(st.sampled_from(LINE1.splitlines(keepends=True))).map("".join),
    st.tuples(st.integers(0, len(LINE1)), st.text(max_size=3), st.integers(0, 5)).map(
        lambda cut: LINE1[: cut[0]] + cut[1] + LINE1[cut[0] + cut[2] :]
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_TEXTS)
def test_no_text_crashes_the_loader(text):
    """Whatever stands in a file, it loads or is refused by problems with places inside of it."""
    lines = len(re.split("\r\n|[\r\n\x85\u2028\u2029]", text))
    try:
        found = load_text(text, Path("x.yaml"), NEEDED).warnings
    except ConfigurationError as error:
        found = error.problems or [None]
    assert all(0 <= problem.line <= lines for problem in found), found


@pytest.mark.parametrize(
    "text",
    ["[" * 3000, "{a: " * 3000, "a: " + "9" * 5000, "${" * 2000, "a: &a [*a]", "a: &a {b: *a}\n<<: *a", "!!int x: &y"],
)
def test_hostile_texts_are_refused(text):
    """Deep nesting, huge numbers and aliases in circles end as problems."""
    with pytest.raises(ConfigurationError):
        load_text(text, Path("x.yaml"), {})


@pytest.mark.parametrize(
    "text",
    [
        "sources:\n" + "".join(f"\tp{n}:\n\t\ttype: s7\n" for n in range(500)),
        "sources: {" + ", ".join(f"p{n}: ${{X{n}}}" for n in range(500)) + "}\n",
        "layouts:\n" + "  l: {size: 1}\n" * 500,
    ],
    ids=["tabs", "quotes", "doubles"],
)
def test_all_mistakes_of_one_kind_are_told_whatever_their_number(text):
    """Each has its own line or column; they are mended together, not in a round each."""
    with pytest.raises(ConfigurationError) as told:
        load_text(text, Path("x.yaml"), {})
    assert len({(problem.line, problem.column) for problem in told.value.problems}) >= 499


def test_so_many_mistakes_are_bounded():
    """Six thousand copies of one line: as many as anybody reads are told, the rest is counted."""
    lines = "".join(f"  p{n}: {{type: s7, plcs: {{address: 10.0.0.1}}}}\n" for n in range(3000))
    with pytest.raises(ConfigurationError) as told:
        load_text(f"sources:\n{lines}sinks:\n  broker: {{type: mqtt, from: p0, host: h}}\n", Path("x.yaml"), {})
    *_, last = str(told.value).splitlines()
    assert last == "… and 1802 more"
    assert "there are more errors than the 1000 told here" in {each.message for each in told.value.problems}
    assert len(str(told.value)) < 50_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMALL.replace("host: h", f"host: h, {'x' * 1000}: 1"), "xxx: unknown option"),
        (SMALL.replace("host: h", 'host: h, "\\e[31m\\u202ex": 1'), r"\x1b[31m\u202ex: unknown option"),
        (SMALL.replace("from: press", f'from: "{"x" * 60_000}"'), "there is no node 'xxx"),
    ],
    ids=["option", "letters", "name"],
)
def test_what_a_mistake_repeats_is_short_and_shows_what_it_is_made_of(problems, text, said):
    """Neither a long text nor one that colours or turns round a terminal reaches it."""
    told = "\n".join(problems(text))
    assert said in told
    assert len(told) < 3000
    assert told.replace("\n", "").isprintable()


def test_a_file_that_is_no_configuration_is_not_read_to_its_end(tmp_path):
    """Gigabytes by mistake cost neither memory nor minutes, wherever they were cut."""
    path = tmp_path / "x.yaml"
    for content in (b"a: b\n" * 300_000, "é".encode() * 3_000_000):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="longer than 1024 KiB; a configuration is short"):
            load(path, {})


@pytest.mark.parametrize("text", ['name: "\\ud800"\n', 'sources: {"\\udfff": {type: s7}}\n', 'name: "${BROKEN}"\n'])
def test_what_could_not_be_written_anywhere_is_refused(text):
    """Half a letter as an escape, and a variable of another encoding: its text would fail later, in a log or frame."""
    with pytest.raises(ConfigurationError, match=r"half a letter|a variable of the environment is not UTF-8") as told:
        load_text(text, Path("x.yaml"), {"BROKEN": b"caf\xe9".decode("utf-8", "surrogateescape")})
    assert str(told.value).encode()
