"""The data blocks that the first system's agent read: `source` for one, `dbs` for many; what was assumed is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from pipeline.config.document import Listing, Record
from pipeline.importing.section import Section

__all__ = ["COUNTERS", "SENSORS", "Block", "Machines", "read_blocks"]

SENSORS = 2
"""Byte of a machine at which its sensors begin."""
COUNTERS = {"contador_bom": 62, "contador_ruim": 64}
"""Bytes of a machine's counters."""
_PRESS = 14
"""Bytes of the layout that the first version knew: one press."""
_PRESS_PARSERS = {"db500", "db1"}
_NUMBERS = ("db_number", "db", "number")
_SIZES = ("db_size", "size")
"""What people call a block's number and size, the agent's own names first."""
_NO_NUMBER = "no db_number: DB1 assumed"


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


def read_blocks(root: Section, source: Section) -> tuple[Block, ...]:
    """The blocks of `dbs`, or the one of `source` where there are none.

    Args:
        root: with `dbs`.
        source: with number and size for entries without their own.
    """
    usual = _Usual(source)
    return _listed(root, usual) or (_only(source, usual),)


class _Usual:
    """Number and size of a block as `source` has them, for blocks without their own; None where it has none."""

    def __init__(self, source: Section) -> None:
        self.number, self.size = _counted(source, _NUMBERS, 1), _counted(source, _SIZES, _PRESS)
        self._source = source

    def tell_unused(self, blocks: Sequence[Block]) -> None:
        """What of it no block has."""
        used = (
            (_NUMBERS, self.number, {block.db for block in blocks}),
            (_SIZES, self.size, {block.size for block in blocks}),
        )
        for names, said, found in used:
            if said is not None and said not in found:
                key = next(name for name in names if name in self._source.entries)
                self._source.tell(key, f"{said}: left out, since each entry of dbs has its own")


def _counted(section: Section, names: Sequence[str], default: int) -> int | None:
    key = section.named(*names)
    return None if section.take(key) is None else section.number(key, default)


def _only(source: Section, usual: _Usual) -> Block:
    number, size = usual.number, usual.size
    if number is None:
        source.miss(_NO_NUMBER)
        number = 1
    elif size is None and number != 1:
        source.miss(f"no db_size: {_PRESS} bytes assumed, as one press")
    if size is None:
        size = _PRESS
    if size != _PRESS:
        known = "its first 14 bytes are read, as one press" if size > _PRESS else "its layout is not known"
        source.tell(source.named(*_SIZES), f"{size}: {known}; declare the fields of DB{number} under layouts:")
    return Block(db=number, size=size, known=size >= _PRESS)


def _listed(root: Section, usual: _Usual) -> tuple[Block, ...]:
    entry = root.take("dbs")
    if entry is None:
        return ()
    if not isinstance(entry.value, Listing):
        root.tell("dbs", "is no list, left out")
        return ()
    found = []
    for index, item in enumerate(entry.value.items):
        if isinstance(item, Record):
            found.append(_block(Section(item, f"dbs[{index}].", root.notes), usual))
        else:
            root.tell(f"dbs[{index}]", "is no mapping, left out", item.line)
    if found:
        usual.tell_unused(found)
    return tuple(found)


def _block(section: Section, usual: _Usual) -> Block:
    section.take("name")
    number = _number(section, usual)
    parser, machines = section.text("parser", "raw"), _machines(section)
    size = _size(section, usual, number, parser, machines)
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


def _number(section: Section, usual: _Usual) -> int:
    number = _counted(section, _NUMBERS, 1)
    if number is None:
        number = usual.number
    if number is None:
        section.miss(_NO_NUMBER)
        number = 1
    return number


def _size(section: Section, usual: _Usual, number: int, parser: str, machines: Machines) -> int:
    """Bytes of a block; told where they had to be assumed, or leave no more of a line of machines than one press."""
    own, options = _counted(section, _SIZES, _PRESS), section.take("parser_opts") is not None
    size = own if own is not None else usual.size
    machine = machines.machine_block_size
    if size is None:
        if parser == "db500" and (options or number != 1) and machines.machines * machine > 0:
            size = machines.machines * machine
            section.miss(f"no db_size: {size} bytes assumed, {machines.machines} machines of {machine}")
        else:
            size = _PRESS
            section.miss(f"no db_size: {_PRESS} bytes assumed" + ", as one press" * (parser in _PRESS_PARSERS))
    elif parser == "db500" and _PRESS <= size < machine and (size > _PRESS or options or own is None):
        section.tell(
            section.named(*_SIZES),
            f"{size} bytes hold no machine of {machine}, so the first {_PRESS} are read, as one press",
        )
    elif parser == "db1" and size > _PRESS:
        section.tell("parser", f"the first {_PRESS} of {size} bytes are read, as one press")
    return size


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
    section.tell(
        section.named(*_SIZES), f"{size} bytes hold {fitting} of {machines.machines} machines, so there are {fitting}"
    )
    return replace(machines, machines=fitting)


def _tags(section: Section) -> dict[str, str]:
    tags = section.section("tags")
    return {name: tags.text(name) for name in list(tags.entries)}
