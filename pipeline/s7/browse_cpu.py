"""What a CPU says of itself: which lists are asked, and what their records mean. All numbers are big-endian.

Sources: "System Software for S7-300/400", chapter 33 (lists 0011, 001C, 0131, 0232, 0424), and VIPA's operation list
SPEED7, 17.11 (list 0132); compared with the answers of the C++ server of python-snap7 2.0.2. S7-1200 and S7-1500 know
few of these lists.
"""

from __future__ import annotations

import re
import struct

import msgspec

__all__ = [
    "CONNECTIONS",
    "IDENTIFICATION",
    "LIMITS",
    "NAMES",
    "PROTECTION",
    "Connections",
    "Identity",
    "Names",
    "Protection",
    "may_ask_names",
    "read_connections",
    "read_identity",
    "read_limits",
    "read_names",
    "read_protection",
]

IDENTIFICATION, NAMES = (0x0011, 0), (0x001C, 0)
LIMITS, CONNECTIONS, PROTECTION = (0x0131, 1), (0x0132, 1), (0x0232, 4)
"""Number and index of the lists."""
_HEAD = struct.Struct(">HHHH")
_MODULE, _HARDWARE, _FIRMWARE = 1, 6, 7
_VERSION = 0x56
_VERSION_AT = 24
_PLANT_NAME, _MODULE_NAME, _SERIAL, _TYPE_NAME = 1, 2, 5, 7
_SELECTOR = {1: "RUN", 2: "RUN-P", 3: "STOP", 4: "MRES"}
_STOPPED_BY_NAMES = re.compile(r"6ES7 ?31\d-\dF")
"""Order numbers of the fail-safe CPUs of S7-300: list 001C made a 315F and a 317F defective (python-snap7#467)."""


class Identity(msgspec.Struct, frozen=True):
    """Who a CPU is. What it does not tell is empty.

    Attributes:
        order_number: `6ES7 315-2EH14-0AB0`.
        firmware: `V3.2.6`.
        hardware: the hardware's version.
    """

    order_number: str = ""
    firmware: str = ""
    hardware: str = ""


class Names(msgspec.Struct, frozen=True):
    """How a CPU is called.

    Attributes:
        plant: the station's name, as its engineer wrote it.
        module: the module's name, the same.
        type: what it is: `CPU 315-2 PN/DP`.
        serial: the serial number.
    """

    plant: str = ""
    module: str = ""
    type: str = ""
    serial: str = ""


class Protection(msgspec.Struct, frozen=True):
    """How a CPU is protected.

    Attributes:
        level: 1 none, 2 writing needs the password, 3 reading too.
        selector: where the mode selector stands: RUN, RUN-P, STOP, MRES; "" where it has none.
    """

    level: int
    selector: str = ""


class Connections(msgspec.Struct, frozen=True):
    """How a CPU's connections are used.

    Attributes:
        free: how many more it takes.
        pg: those of programming devices, such as this one.
        op: those of panels.
        s7: configured ones that stand.
        basic: those of S7 basic communication.
        others: all others.
        pg_reserved: connections that are kept for programming devices.
        op_reserved: connections that are kept for panels.
    """

    free: int
    pg: int
    op: int
    s7: int = 0
    basic: int = 0
    others: int = 0
    pg_reserved: int = 0
    op_reserved: int = 0

    @property
    def taken(self) -> int:
        """All that are used."""
        return self.pg + self.op + self.s7 + self.basic + self.others


def may_ask_names(order_number: str) -> bool:
    """Whether the list of names does no harm: it has made fail-safe CPUs of S7-300 defective."""
    return bool(order_number) and not _STOPPED_BY_NAMES.match(order_number)


def records(data: bytes, number: int) -> dict[int, bytes]:
    """The records of a list by their index, each with it.

    Only complete ones: the C++ server cuts a list where the PDU ends, and says that it was the last part.

    Raises:
        ValueError: it is another list, or none.
    """
    if len(data) < _HEAD.size:
        raise ValueError("its answer is no list")
    found, _, size, count = _HEAD.unpack_from(data)
    count = min(count, (len(data) - _HEAD.size) // max(size, 1))
    if found != number or size < 4 or not count:  # noqa: PLR2004 - an index and something
        raise ValueError(f"its answer is no list {number:04X}")
    cut = [data[at : at + size] for at in range(_HEAD.size, _HEAD.size + size * count, size)]
    return {int.from_bytes(record[:2], "big"): record for record in cut}


def read_identity(data: bytes) -> Identity:
    """List 0011: order number and versions.

    Raises:
        ValueError: it is none.
    """
    found = records(data, IDENTIFICATION[0])
    module, hardware, firmware = (found.get(index, b"") for index in (_MODULE, _HARDWARE, _FIRMWARE))
    return Identity(order_number=_text(module[2:22]), firmware=_version(firmware), hardware=_version(hardware))


def read_names(data: bytes) -> Names:
    """List 001C: names and serial number.

    Raises:
        ValueError: it is none.
    """
    found = {index: _text(record[2:]) for index, record in records(data, NAMES[0]).items()}
    plant, module, kind, serial = (found.get(index, "") for index in (_PLANT_NAME, _MODULE_NAME, _TYPE_NAME, _SERIAL))
    return Names(plant=plant, module=module, type=kind, serial=serial)


def read_limits(data: bytes) -> int:
    """List 0131: how many connections a CPU has.

    Raises:
        ValueError: it doesn't say.
    """
    return _words(data, *LIMITS, 3)[2]


def read_connections(data: bytes) -> Connections:
    """List 0132: who has them.

    Raises:
        ValueError: it doesn't say.
    """
    record = records(data, CONNECTIONS[0]).get(CONNECTIONS[1], b"")
    words = _words(data, *CONNECTIONS, 8)
    basic, others = struct.unpack_from(">BH", record.ljust(38, b"\0"), 35)
    pg_reserved, op_reserved, pg, op, _, s7, free = words[1:8]
    return Connections(
        free=free, pg=pg, op=op, s7=s7, basic=basic, others=others, pg_reserved=pg_reserved, op_reserved=op_reserved
    )


def read_protection(data: bytes) -> Protection:
    """List 0232: the protection level that counts now.

    Raises:
        ValueError: it doesn't say.
    """
    _, _, _, level, selector = _words(data, *PROTECTION, 5)
    if not 1 <= level <= 4:  # noqa: PLR2004 - S7-1500 has a fourth: complete protection
        raise ValueError(f"unknown protection level {level}")
    return Protection(level=level, selector=_SELECTOR.get(selector, ""))


def _words(data: bytes, number: int, index: int, count: int) -> tuple[int, ...]:
    """The first words of one record, its index included."""
    record = records(data, number).get(index, b"")
    if len(record) < 2 * count:
        raise ValueError(f"list {number:04X} has no complete record {index}")
    return struct.unpack_from(f">{count}H", record)


def _version(record: bytes) -> str:
    """`V3.2.6` where the first byte is a V, else the number of a hardware's version."""
    version = record[_VERSION_AT:]
    if len(version) < 4:  # noqa: PLR2004 - two words
        return ""
    if version[0] == _VERSION:
        return f"V{version[1]}.{version[2]}.{version[3]}"
    return str(int.from_bytes(version[2:4], "big"))


def _text(data: bytes) -> str:
    text = data.partition(b"\0")[0].decode("latin-1").strip()
    return text if text.isprintable() else ""
