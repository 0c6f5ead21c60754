"""Writing into a data block: requests of one PDU each, their answers, and refusals in plain words.

Requests are built by python-snap7's `S7Protocol`, as bytes (transport size BYTE), one item each. What one request
carries is taken over by the PLC in one piece; longer stretches are cut between fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from snap7.datatypes import S7Area, S7WordLen
from snap7.s7protocol import S7Protocol

from pipeline.errors import ReadError, Refused
from pipeline.frame import Extent
from pipeline.s7.plan import Range, Request, cut
from pipeline.s7.wire import refused, request_frame

__all__ = ["Write", "largest_write", "refused_write", "writes"]

_OVERHEAD = 28
"""Bytes of a write request around its data: header 10, function and item 14, the data's own header 4."""
_GOOD = 0xFF
_ANSWERS = (2, 3)
"""Kinds of PDU that answer: without data, and with data."""
_LENGTHS, _WRITTEN, _ANSWER_SIZE = b"\0\2\0\1", b"\5\1", 15
"""Of the answer to one item: lengths of parameters and data, the parameters (function, items), and all its bytes."""
_PERMIT = "permit 'PUT/GET access from remote partner', and give it the protection level 'full access'"
_REFUSALS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0x03: ("write access denied", f"the target's CPU or block is write-protected: lift that, {_PERMIT}"),
        0x05: (
            "target too short",
            "the target's block ends before the written range does: make it longer, or set start",
        ),
        0x0A: (
            "target does not exist",
            "the target's block is missing, or has 'Optimized block access' switched on: load it, or switch that off",
        ),
        0x8104: ("writing not permitted", f"in the target's CPU {_PERMIT}; switch off the block's optimized access"),
        0x8404: ("target does not exist", "the target's block is missing, or shorter than the written range"),
        **dict.fromkeys((0xD241, *range(0xD601, 0xD606)), ("protection level", f"in the target's CPU {_PERMIT}")),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Write(Request):
    """A request that writes; it reads no items.

    Attributes:
        at: offset of its first byte in what is written as a whole.
        data: the bytes.
    """

    at: int
    data: bytes

    def answer(self, pdu: bytes) -> list[bytes | int]:
        """Nothing where it was written, else the return code of the one item.

        Raises:
            Refused: the PLC refused the request as a whole; the stream is fine.
            ReadError: it is no such answer; the connection must be closed.
        """
        if pdu[1] in _ANSWERS and (error := int.from_bytes(pdu[10:12], "big")):
            raise refused_write(error)
        if pdu[1] != _ANSWERS[-1] or pdu[6:10] != _LENGTHS or pdu[12:14] != _WRITTEN or len(pdu) != _ANSWER_SIZE:
            raise ReadError("invalid answer", f"not an answer to a write request: {pdu[:_ANSWER_SIZE].hex()}")
        return [b"" if pdu[-1] == _GOOD else pdu[-1]]


def largest_write(pdu: int) -> int:
    """Bytes that one write request carries."""
    return pdu - _OVERHEAD


def writes(extent: Extent, data: bytes, pdu: int) -> list[Write]:
    """The requests that write `data` to an extent, in ascending order, cut between its fields.

    Args:
        extent: where to; its `solid` says what is never cut, unless a single one is longer than a request.
        data: as many bytes as the extent has.
        pdu: the negotiated PDU, bytes.
    """
    wanted = Range(S7Area.DB, extent.db, extent.start, extent.size, extent.solid)
    return [
        _write(extent, part.offset, data[part.offset : part.offset + part.size])
        for part in cut(wanted, largest_write(pdu))
    ]


def refused_write(code: int) -> Refused:
    """The refusal of a write by return or header code, with what to change in the target."""
    known = refused(code)
    if code not in _REFUSALS:
        return known
    reason, advice = _REFUSALS[code]
    return Refused(reason, known.detail, advice)


def _write(extent: Extent, at: int, data: bytes) -> Write:
    pdu = S7Protocol().build_write_request(S7Area.DB, extent.db, extent.start + at, S7WordLen.BYTE, data)
    return Write((), request_frame(pdu), at, data)
