"""The configuration of the first system's agent: what it says, and what of it can't be taken, by line.

It reads as that agent's loader did: keys of `output.mqtt` that stand one level too high count as its own, a bare
`output: mqtt` is its mode, and YAML 1.1's `yes` and `on` are true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pipeline.config.document import Listing, Parsed, Record, parse
from pipeline.config.problems import Problems
from pipeline.errors import ConfigurationError, UsageError
from pipeline.importing.outputs import Mqtt, Server, read_output
from pipeline.importing.section import Note, Section

__all__ = ["COUNTERS", "SENSORS", "Agent", "Block", "Machines", "read_agent"]

SENSORS = 2
"""Byte of a machine at which its sensors begin."""
COUNTERS = {"contador_bom": 62, "contador_ruim": 64}
"""Bytes of a machine's counters."""
_PRESS = 14
"""Bytes of the layout that the first version knew: one press."""
_PRESS_PARSERS = {"db500", "db1"}


@dataclass(frozen=True)
class Machines:
    """`parser_opts` of the parser `db500`: how many machines and sensors there are, and their sizes in bytes."""

    machines: int = 5
    sensors_per_machine: int = 5
    machine_block_size: int = 66
    sensor_block_size: int = 6

    def fits(self, counter: str) -> bool:
        """Whether a counter lies behind the sensors, inside of the machine."""
        sensors_end = SENSORS + self.sensors_per_machine * self.sensor_block_size
        return sensors_end <= COUNTERS[counter] <= self.machine_block_size - 2


@dataclass(frozen=True, kw_only=True)
class Block:
    """A data block.

    Attributes:
        db: its number.
        size: bytes that were read.
        machines: an array of machines; None for anything else.
        known: its layout is that of one press, 14 bytes; False where only its bytes are known.
        measurement: as configured; empty for the usual one.
        tags: fixed tags.
    """

    db: int
    size: int
    machines: Machines | None = None
    known: bool = True
    measurement: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Agent:
    """The whole configuration. `output` is None for stdout; `every` is in seconds."""

    ip: str
    port: int
    rack: int
    slot: int
    every: float
    blocks: tuple[Block, ...]
    tenant_id: str
    plc_id: str
    output: Mqtt | Server | None
    metrics_port: int
    store_path: str


def read_agent(text: str, file: Path) -> tuple[Agent, list[Note]]:
    """Read a configuration.

    Args:
        text: of the file.
        file: for messages.

    Returns:
        What it says, and what a person should know of it, in the order of lines.

    Raises:
        ConfigurationError: it can't be read as YAML.
        UsageError: it is something else.
    """
    parsed = parse(text)
    if parsed.root is None:
        problems = Problems(str(file))
        for mishap in parsed.mishaps:
            problems.mishap(mishap)
        if parsed.mishaps:
            raise ConfigurationError(problems.all)
    notes = _mended(parsed)
    root = parsed.root
    if not isinstance(root, Record) or "source" not in root.entries:
        what = (
            "is a graph file already" if isinstance(root, Record) and "sources" in root.entries else "has no `source:`"
        )
        raise UsageError(f"'{file}' {what}; import takes the config.yaml of the first agent (source, output, dbs)")
    agent = _agent(Section(root, "", notes))
    return agent, sorted(set(notes))


def _mended(parsed: Parsed) -> list[Note]:
    """What the reading has mended, once a kind, and what stays odd."""
    first: dict[str, int] = {}
    for line, what in parsed.done:
        first.setdefault(what, line)
    lines = Counter(what for _, what in parsed.done)
    notes = [
        Note(line, f"mended: {what}" + f", in {lines[what]} places" * (lines[what] > 1)) for what, line in first.items()
    ]
    return notes + [Note(mishap.line, mishap.message) for mishap in parsed.mishaps if mishap.mended is None]


def _agent(root: Section) -> Agent:
    source = root.section("source")
    for key in ("rack", "slot", "db_number", "db_size", "poll_interval"):  # some versions had them one level up
        if key in root.entries:
            source.entries.setdefault(key, root.entries.pop(key))
    identity = root.section("identity")
    for key in ("tenant_id", "plc_id"):
        if key in identity.entries and root.entries.get(key) is None:
            root.entries[key] = identity.entries[key]
            identity.take(key)
            identity.tell(key, "the agent did not read this, so its frames had no such name; taken as meant")
    kind, host = source.text("type", "s7"), source.text("host")
    if kind != "s7":
        source.tell("type", f"'{kind}' is read as s7")
    number, size = source.number("db_number", 1), source.number("db_size", _PRESS)
    agent = Agent(
        ip=source.text("ip", host),
        port=source.number("port", 102),
        rack=source.number("rack", 0),
        slot=source.number("slot", 1),
        every=source.number("poll_interval", 1.0),
        blocks=_blocks(root) or (_only(source, number, size),),
        tenant_id=root.text("tenant_id"),
        plc_id=root.text("plc_id"),
        output=read_output(root),
        metrics_port=root.number("metrics_port", 9108),
        store_path=root.text("store_path", "queue.sqlite"),
    )
    for section in (source, identity, root):
        section.close()
    return agent


# blocks


def _only(source: Section, number: int, size: int) -> Block:
    if size != _PRESS:
        known = "its first 14 bytes are read, as one press" if size > _PRESS else "its layout is not known"
        source.tell("db_size", f"{size}: {known}; declare the fields of DB{number} under layouts:")
    return Block(db=number, size=size, known=size >= _PRESS)


def _blocks(root: Section) -> tuple[Block, ...]:
    entry = root.take("dbs")
    if entry is None:
        return ()
    if not isinstance(entry.value, Listing):
        root.tell("dbs", "is no list, left out")
        return ()
    found = []
    for index, item in enumerate(entry.value.items):
        if isinstance(item, Record):
            found.append(_block(Section(item, f"dbs[{index}].", root.notes)))
        else:
            root.tell(f"dbs[{index}]", "is no mapping, left out", item.line)
    return tuple(found)


def _block(section: Section) -> Block:
    section.take("name")
    number, size = section.number("db_number", 1), section.number("db_size", _PRESS)
    parser, machines = section.text("parser", "raw"), _machines(section)
    # The parser's first version read one press of 14 bytes under the same name.
    many = parser == "db500" and size >= machines.machine_block_size > 0
    known = many or (parser in _PRESS_PARSERS and size >= _PRESS)
    if not known:
        section.tell(
            "parser", f"'{parser}' of {size} bytes is not known: declare the fields of DB{number} under layouts:"
        )
    measurement, fields = section.text("measurement"), section.section("fields")
    if fields.text("db", str(number)) != str(number):
        section.tell("fields", f"db is {number} in the frames")
    fields.close()
    block = Block(
        db=number,
        size=size,
        machines=_fitted(machines, size, section) if many else None,
        known=known,
        measurement="" if measurement == f"s7_db{number}" else measurement,
        tags=_tags(section),
    )
    section.close()
    return block


def _machines(section: Section) -> Machines:
    options = section.section("parser_opts")
    found = {name: options.number(name, usual) for name, usual in asdict(Machines()).items()}
    options.close()
    return Machines(**found)


def _fitted(machines: Machines, size: int, section: Section) -> Machines:
    """As many machines as the block has room for."""
    for counter, at in COUNTERS.items():
        if not machines.fits(counter):
            section.tell("parser_opts", f"{counter} at byte {at} lies outside of a machine or in its sensors, left out")
    fitting = size // machines.machine_block_size
    if fitting >= machines.machines:
        return machines
    section.tell("db_size", f"{size} bytes hold {fitting} of {machines.machines} machines, so there are {fitting}")
    return replace(machines, machines=fitting)


def _tags(section: Section) -> dict[str, str]:
    tags = section.section("tags")
    return {name: tags.text(name) for name in list(tags.entries)}
