"""Questions about the PLC itself, in USERDATA: system status lists (SZL), clock, blocks. Answers may come in parts.

Sources: "System Software for S7-300/400", chapter 33, for the lists; python-snap7 for the frames.
"""

from __future__ import annotations

from snap7.s7protocol import S7Protocol

from pipeline.errors import Refused
from pipeline.s7.session import Question
from pipeline.s7.wire import REFUSALS, refused, request_frame

__all__ = ["block_question", "blocks_question", "clock_question", "content", "following", "szl_question"]

BLOCKS, SZL, CLOCK = 0x83, 0x84, 0x87
"""Type and group of answers: the sixth byte of their parameters."""
_DB = 0x41
_HEADER = 10
_PARAMETERS = 12
_PARTS_AT = 17
"""Where the parts of an answer are counted: the number of this one, two bytes on whether more follow."""


def szl_question(number: int, index: int = 0) -> Question:
    """What asks for a system status list."""
    return Question((), request_frame(S7Protocol().build_read_szl_request(number, index)), SZL)


def clock_question() -> Question:
    """What asks for the CPU's date and time."""
    return Question((), request_frame(S7Protocol().build_get_clock_request()), CLOCK)


def blocks_question() -> Question:
    """What asks for the numbers of all data blocks."""
    return Question((), request_frame(S7Protocol().build_list_blocks_of_type_request(_DB)), BLOCKS)


def block_question(db: int) -> Question:
    """What asks what a data block is."""
    return Question((), request_frame(S7Protocol().build_get_block_info_request(_DB, db)), BLOCKS)


def following(pdu: bytes) -> Question | None:
    """What asks for the part that follows this one; None behind the last."""
    if int.from_bytes(pdu[6:8], "big") < _PARAMETERS or not pdu[_PARTS_AT + 2]:
        return None
    kind, function, part = pdu[15], pdu[16], pdu[_PARTS_AT]
    frame = S7Protocol().build_userdata_followup_request(kind & 0xF, function, part)
    return Question((), request_frame(frame), kind)


def content(pdu: bytes) -> bytes:
    """What an answer, or this part of it, carries.

    Raises:
        Refused: the CPU says no, or the answer is incomplete.
    """
    at = _HEADER + int.from_bytes(pdu[6:8], "big")
    code = int.from_bytes(pdu[at - 2 : at], "big")
    if code in REFUSALS:
        raise refused(code)
    if code or pdu[at : at + 1] != b"\xff":
        detail = f"code 0x{code or int.from_bytes(pdu[at : at + 1], 'big'):04X}"
        raise Refused("not supported", detail, "this CPU does not tell it: leave it away")
    return pdu[at + 4 : at + 4 + int.from_bytes(pdu[at + 2 : at + 4], "big")]
