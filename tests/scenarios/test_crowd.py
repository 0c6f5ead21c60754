"""A thousand clients at the page, none of them well-behaved: the line reads on, and the health check is answered."""

import contextlib
import random
import socket
from pathlib import Path

import pytest

from tests.parts.waiting import free_port, wait_until

GRAPH = """\
name: crowd
http: {{listen: "127.0.0.1:${{METRICS_PORT}}"}}
recorder: {{enabled: false}}
layouts:
  wide: {{size: 800, fields: {{values: "REAL[200] @ 0"}}}}
services:
  plc: {{type: s7_simulator, port: {port}, dbs: [{{db: 1, layout: wide}}]}}
sources:
  press: {{type: s7, plcs: [{plcs}], every: 500ms, blocks: [{{db: 1, layout: wide}}]}}
sinks:
  lines: {{type: file, from: press, folder: lines}}
"""
PLCS = 10
CLIENTS = 1000
ROUNDS = 15
MORE_MEMORY = 64 << 20
MORE_FILES = 200
ASKING = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"


def status(pid: int, name: str) -> int:
    """Bytes of a process's memory, by the kernel's name for them."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


class Nuisance:
    """A client: idle, dripping its head, asking and not reading, sending a body without end, or half gone."""

    def __init__(self, url: str, kind: int) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._kind = kind
        self._at = 0
        self.cut = False
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setblocking(False)
        with self._noticing():
            self._begin()

    def _begin(self) -> None:
        if self._kind == 2:
            self._socket.send((ASKING + b"\r\n") * 20)
        elif self._kind == 3:
            self._socket.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        elif self._kind == 4:
            self._socket.send(ASKING)
            self._socket.shutdown(socket.SHUT_WR)

    @contextlib.contextmanager
    def _noticing(self):
        try:
            yield
        except BlockingIOError:
            pass
        except OSError:
            self.cut = True

    def annoy(self) -> None:
        """One byte more."""
        with self._noticing():
            if self._kind == 1:
                self._socket.send(ASKING[self._at % len(ASKING) :][:1])
                self._at += 1
            elif self._kind == 3:
                self._socket.send(b"1\r\nx\r\n")

    def close(self) -> None:
        """Go, at last."""
        self._socket.close()


@pytest.mark.timeout(180)
def test_a_thousand_bad_clients_cost_neither_memory_nor_ticks_nor_the_health_check(line, tmp_path):
    """They come again as they are cut off; meanwhile all is answered that is asked well."""
    port = free_port()
    plcs = ", ".join(f"{{plc_id: p{n}, address: 127.0.0.1, port: {port}, slot: {n}}}" for n in range(PLCS))
    file = tmp_path / "crowd.yaml"
    file.write_text(GRAPH.format(port=port, plcs=plcs), encoding="utf-8")
    pipeline = line(file, {})
    pipeline.wait_ready()
    assert pipeline.get("/metrics")[0] == 200
    before = status(pipeline.pid, "VmRSS")
    chance = random.Random(7)  # noqa: S311 - repeatable
    crowd: list[Nuisance] = []
    try:
        crowd += [Nuisance(pipeline.url, chance.randrange(5)) for _ in range(CLIENTS)]
        for _ in range(ROUNDS):
            for client in crowd:
                client.annoy()
            for n in chance.sample(range(CLIENTS), 20):
                crowd[n].close()
                crowd[n] = Nuisance(pipeline.url, chance.randrange(5))
            assert pipeline.get("/healthz") == (200, "ok\n")
        assert pipeline.get("/readyz")[0] == 200
        assert len(list(Path(f"/proc/{pipeline.pid}/fd").iterdir())) < MORE_FILES
        read = pipeline.metric("plc_read_ok_total")
        wait_until(lambda: pipeline.metric("plc_read_ok_total") >= read + 2 * PLCS, "the line reads on")
        assert status(pipeline.pid, "VmHWM") - before < MORE_MEMORY
        # None on a quiet machine; this client itself may take a busy one's cores for a moment.
        assert pipeline.metric("edge_ticks_skipped_total") <= pipeline.metric("plc_read_ok_total") / 10
        assert pipeline.metric("plc_read_fail_total") == 0
    finally:
        for client in crowd:
            client.close()
    assert pipeline.get("/healthz") == (200, "ok\n")
    assert pipeline.terminate() == 0
