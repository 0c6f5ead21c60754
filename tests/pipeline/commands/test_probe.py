"""`probe` without a terminal: a table, JSON, a graph that `check` takes; wrong calls in one line."""

import json
from functools import partial
from itertools import count

import pytest

from pipeline.cli import main
from pipeline.commands.probe import _Probe
from pipeline.config import load
from pipeline.config.document import Record, parse
from pipeline.config.interpolate import interpolate
from pipeline.errors import ReadError
from pipeline.operator import NodeKind
from pipeline.probing.layout import Named, layout_lines, name_mistake
from pipeline.probing.readings import Reading
from pipeline.probing.watch import watch
from pipeline.s7.browse_place import Access, Place
from tests.parts.plc import StrictPlc, plc_thread


class Moving(StrictPlc):
    """A PLC whose DB 1 counts at each read: an INT at byte 10, a bit at 0.2."""

    def __init__(self):
        super().__init__({1: bytearray(14), 2: bytearray(8)}, pdu=240)
        self._reads = count()

    def read(self, item):
        """The item, a moment later."""
        number = next(self._reads)
        self.blocks[0x84, 1][10:12] = (5000 + number).to_bytes(2, "big")
        self.blocks[0x84, 1][0] = 4 if number // 7 % 2 else 0
        return super().read(item)


@pytest.fixture
def plc():
    """The PLC, on a thread."""
    with plc_thread(Moving()) as plc:
        yield plc


@pytest.fixture
def run(run):
    """Calls `probe`."""
    return partial(run, "probe")


def test_fields_are_found_and_exported(run, plc, tmp_path):
    """JSON for programs, and a graph that reads what was found."""
    file = tmp_path / "press.yaml"
    code, out, err = run(
        f"127.0.0.1:{plc.port}", "--db", 1, "--every", "20ms", "--for", "1s", "--json", "--export", file
    )
    found = json.loads(out)
    assert (code, found["size"], found["db"]) == (0, 14, 1)
    assert [(field["type"], field["at"], field["guess"]) for field in found["fields"]][-1] == ("INT", "10", "counter")
    assert ("BOOL", "0.2") in [(field["type"], field["at"]) for field in found["fields"]]
    assert "is written" in err
    graph = load(file, {})
    assert (graph.layouts["db1"].size, graph.of(NodeKind.SOURCE)[0].options.port) == (14, plc.port)
    assert {field.name for field in graph.layouts["db1"].fields} >= {"counter_10"}
    assert "# counter; 50" in file.read_text()


def test_the_table_and_the_layout_alone(run, plc, tmp_path):
    """Bytes, fields; the section `layouts:` to paste."""
    file = tmp_path / "layout.yaml"
    call = (f"127.0.0.1:{plc.port}", "--db", 1, "--every", "20ms", "--for", "500ms", "--size", 12)
    code, out, err = run(*call, "--table", "--export", file, "--layout-only")
    assert code == 0
    assert "next: put it into a graph file" in err
    assert "check" not in err
    assert f"DB1 of 127.0.0.1:{plc.port}, 12 bytes" in out
    assert "counter" in out
    assert file.read_text().startswith("layouts:\n  db1:\n    size: 12\n    fields:\n")
    line = tmp_path / "line.yaml"
    with pytest.raises(SystemExit) as end:
        main(["new", "graph", "--plc", "10.0.0.1", "--db", "1", "--layout", str(file), "-o", str(line)])
    assert (end.value.code, load(line, {}).layouts["db1"].size) == (0, 12)


def test_a_connection_that_is_lost_costs_no_samples(run, plc, tmp_path, monkeypatch):
    """It is told once, another one is made, and what was seen before counts."""
    calls = count()

    async def flaky(*arguments):
        call = next(calls)
        if call == 1:
            raise ReadError("connection lost")
        samples = 0
        async for sample in watch(*arguments):
            yield sample
            samples += 1
            if call == 0 and samples == 20:
                raise ReadError("connection lost")

    monkeypatch.setattr("pipeline.commands.probe.watch", flaky)
    monkeypatch.setattr("pipeline.commands.probe._AGAIN", 0.01)
    file = tmp_path / "press.yaml"
    code, _, err = run(f"127.0.0.1:{plc.port}", "--db", 1, "--every", "20ms", "--for", "1s", "--export", file)
    assert (code, err.count("connection lost")) == (0, 1)
    assert "trying again until the time is over" in err
    assert next(calls) > 2
    assert "counter_10" in file.read_text()


def test_a_still_block_has_no_fields(run, plc):
    """All zero: that is said."""
    code, out, _ = run(f"127.0.0.1:{plc.port}", "--db", 2, "--every", "20ms", "--for", "100ms")
    assert code == 0
    assert "nothing: all bytes are zero" in out


def test_names_that_layouts_have_are_taken():
    """Letters of any language, blanks, signs, digits first; what two names would be one, or reserved, is told."""
    names = ["Temp óleo", "Posição %", "2a fase", 'a: "b" # c', "preço ${HOME}", "on"]
    assert [name_mistake(name, names[:n]) for n, name in enumerate(names)] == [""] * len(names)
    assert "another field's name" in name_mistake("Temp_óleo", names)
    assert "is reserved" in name_mistake("error", [])
    fields = [Named(name, Reading("INT", 2 * n, 2, 0.0), "x") for n, name in enumerate(names)]
    text = "\n".join(["f:", *(f"  {line}" for line in layout_lines(fields))])
    root = parse(text).root
    assert isinstance(root, Record)
    found = root.entries["f"].value
    assert isinstance(found, Record)
    assert [interpolate(name, {}).text for name in found.entries] == names


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--db", "9"], 2, "object does not exist: DB9"),
        (["--db", "1", "--size", "15"], 1, "--size: DB1 has 14 bytes, not 15"),
        (["--db", "1", "--every", "1"], 1, "--every"),
        (["--db", "1", "--for", "0"], 1, "--for: must be"),
        (["--db", "1", "--json", "--table"], 1, "choose one"),
        (["--db", "1", "--export", "."], 1, "there already"),
    ],
)
def test_what_can_not_be_looked_at(run, plc, arguments, code, said):
    """The exit code and one line that says why."""
    result = run(f"127.0.0.1:{plc.port}", *arguments)
    assert result[0] == code
    assert said in result[2]
    assert len(result[2].strip().splitlines()) == 1


def test_the_live_grid_exports_into_new_files(tmp_path, monkeypatch):
    """Its key `e`: a file of its own each time, which `check` takes."""
    monkeypatch.chdir(tmp_path)
    place = Place(name="press1", address="192.0.2.1", port=102, access=Access(slot=2))
    probe = _Probe(place, 1, 14, 0.5, layout_only=False)
    fields = [Named("contador_bom", Reading("INT", 10, 2, 0.0), "counter; 5000 to 5014")]
    assert [probe._save(fields).split()[0] for _ in range(2)] == ["db1.yaml", "db1-2.yaml"]
    for name in ("db1", "db1-2"):
        graph = load(tmp_path / f"{name}.yaml", {})
        assert (graph.name, graph.layouts["db1"].size) == (name, 14)
        assert graph.of(NodeKind.SOURCE)[0].options.plc_id == "press1"
