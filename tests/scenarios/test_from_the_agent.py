"""From the first system's agent to this pipeline, as its user does it: two commands, then a line that runs."""

import json
import sqlite3
from contextlib import closing

import pytest

from pipeline.cli import main
from tests.parts.line import Line, frames_of
from tests.parts.mosquitto import PASSWORDS
from tests.parts.waiting import free_port, wait_until

CONFIG = """\
source:
\tip: "127.0.0.1"
\tdb_number: 1
\tdb_size: 14
\tpoll_interval: 0.1
output:
\tmode: mqtt
\tmqtt:
\tbroker: localhost
\tport: {port}
\ttopic: "plc/${{TENANT_ID}}/${{PLC_ID}}"
\tusername: edge
\tpassword: {password}
\ttls: true
\tca_file: "{ca_file}"
"""


@pytest.mark.real("mosquitto", "openssl", "native_plc")
@pytest.mark.timeout(300)
def test_configuration_and_queue_go_on_in_a_running_line(press, broker, tmp_path, monkeypatch, capsys):
    """Tabs and misplaced keys are mended; the queue arrives first, in order, marked; then the press's live values."""
    monkeypatch.chdir(tmp_path)
    secret = PASSWORDS["edge"]
    text = CONFIG.format(port=broker.port, password=secret, ca_file=broker.ca_file)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    payloads = [
        {"ts": 1731800000.5 + n, "tenant_id": "acme", "plc_id": "press1", "values": {"contador_bom": n}}
        for n in range(300)
    ]
    with closing(sqlite3.connect("queue.sqlite")) as database, database:
        database.execute("CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, ts REAL, payload TEXT)")
        database.executemany("INSERT INTO events(ts, payload) VALUES(0, ?)", [(json.dumps(each),) for each in payloads])

    with pytest.raises(SystemExit, match="0"):
        main(["import", "config.yaml", "-o", "line.yaml"])
    said = capsys.readouterr().err
    (command,) = [line.partition(": pipeline ")[2] for line in said.splitlines() if "journal import" in line]
    with pytest.raises(SystemExit, match="0"):
        main(command.split())
    assert "300 events" in capsys.readouterr().out

    names = {"TENANT_ID": "acme", "PLC_ID": "press1", "PLC_PORT": str(press.port), "MQTT_PASSWORD": secret}
    subscriber = broker.subscribe("plc/acme/press1")
    with Line(tmp_path / "line.yaml", names | {"METRICS_PORT": str(free_port())}, tmp_path) as line:
        line.wait_ready()
        wait_until(lambda: len(subscriber.messages) > 320, "queue and live frames")
        assert line.terminate() == 0
    frames = frames_of(subscriber.messages)
    assert [{key: frame[key] for key in ("ts", "tenant_id", "plc_id", "values")} for frame in frames[:300]] == payloads
    assert [frame.get("replayed") for frame in frames[:300]] == [True] * 300
    assert [frame["seq"] for frame in frames[300:]] == list(range(len(frames) - 300))
    assert all(frame["values"]["AI_Corrente"] == 12.5 for frame in frames[300:] if "AI_Corrente" in frame["values"])
    assert secret not in (tmp_path / "line.yaml").read_text(encoding="utf-8") + line.log + said
