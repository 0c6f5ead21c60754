"""Which data blocks a PLC has and how long they are: as the CPU lists them, or found by reading.

A byte that can be read exists, so a block ends where reading ends. Up to twenty bytes are tried in one request: a
thousand numbers cost fifty requests, and a length two to five.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from pipeline.errors import ReadError, Refused
from pipeline.s7.address import Area
from pipeline.s7.browse_line import Line
from pipeline.s7.plan import Range
from pipeline.s7.types import BLOCK_LIMIT
from pipeline.s7.userdata import block_question, blocks_question
from pipeline.s7.wire import REFUSALS

__all__ = ["FoundBlock", "find_blocks", "judge_blocks", "listed_blocks", "measure", "parse_numbers"]

_OUT_OF_RANGE, _MISSING = 0x05, 0x0A
_ENTRY = 4
_INFO_SIZE = 78
_LENGTH_AT = 40
_LAST = 65535


class FoundBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A data block.

    Attributes:
        db: its number.
        size: bytes; None where nobody tells.
        readable: its bytes can be read.
        reason: why not; "" where they can.
        code: the CPU's return code, 0xFF where it can be read.
    """

    db: int
    size: int | None
    readable: bool
    reason: str = ""
    code: int = 0xFF


def parse_numbers(text: str) -> list[int]:
    """Block numbers from `1-1000` or `1,5,100-200`.

    Raises:
        ValueError: it is written otherwise, or a number is not 1 to 65535.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = (each.strip() for each in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"'{part.strip()}' is no block number or range; write 1-1000 or 1,5,100-200")
        begin, end = int(first), int(last or first)
        if not 1 <= begin <= end <= _LAST:
            raise ValueError(f"'{part.strip()}': block numbers are 1 to {_LAST}, the first not above the last")
        numbers.update(range(begin, end + 1))
    return sorted(numbers)


async def listed_blocks(line: Line) -> list[int]:
    """The numbers of all data blocks, as the CPU lists them.

    Raises:
        Refused: it does not.
        ReadError: it does not answer; the connection is gone.
    """
    data = await line.tell(blocks_question())
    if len(data) % _ENTRY:
        raise Refused("invalid answer", f"a block list of {len(data)} bytes")
    return sorted({int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), _ENTRY)})


async def find_blocks(line: Line, numbers: Sequence[int], progress: Callable[[int], None]) -> list[FoundBlock]:
    """Try to read a byte of each number; those that exist, with their sizes.

    Args:
        line: the connection.
        numbers: what is tried.
        progress: told now and then which number is being tried.

    Raises:
        Refused: the CPU permits no reading at all.
        ReadError: no answer; the connection is gone.
    """
    found = []
    for few in _portions(numbers, line.items):
        progress(few[0])
        answers = await line.look([_byte(db, 0) for db in few])
        for wanted, answer in answers.items():
            if isinstance(answer, bytes):
                found.append(FoundBlock(db=wanted.db, size=await measure(line, wanted.db), readable=True))
            elif answer not in {_MISSING, _OUT_OF_RANGE}:
                found.append(_unreadable(wanted.db, None, answer))
    return found


async def judge_blocks(line: Line, numbers: Sequence[int], progress: Callable[[int], None]) -> list[FoundBlock]:
    """The blocks that a CPU lists, with the sizes that it tells, confirmed by reading; raises as `find_blocks`."""
    sizes: dict[int, int | None] = {}
    silent = False
    for db in numbers:
        progress(db)
        try:
            sizes[db] = None if silent else await _told(line, db)
        except ReadError:  # a CPU that left such a question without an answer is asked no more
            sizes[db], silent = None, True
    found = []
    for few in _portions(numbers, line.items // 2):
        ends = {db: (_byte(db, max(0, (sizes[db] or 1) - 1)), _byte(db, sizes[db] or 0)) for db in few}
        answers = await line.look([each for pair in ends.values() for each in pair])
        for db, (last, behind) in ends.items():
            exact = not isinstance(answers[behind], bytes)
            found.append(await _judge(line, db, sizes[db] if exact else None, answers[last]))
    return found


async def measure(line: Line, db: int) -> int:
    """The length of a block whose first byte can be read, in bytes; raises as `find_blocks`."""
    readable, missing = 0, BLOCK_LIMIT
    tries: Iterable[int] = [(1 << power) - 1 for power in range(1, 17)]
    while missing - readable > 1:
        answers = await line.look([_byte(db, at) for at in tries if readable < at < missing])
        for wanted, answer in answers.items():
            if isinstance(answer, bytes):
                readable = max(readable, wanted.start)
            else:
                missing = min(missing, wanted.start)
        step = max(1, -(-(missing - readable) // (line.items + 1)))
        tries = range(readable + step, missing, step)
    return readable + 1


async def _told(line: Line, db: int) -> int | None:
    """What the CPU says of a block's length; None where it refuses that for this block."""
    try:
        info = await line.tell(block_question(db))
    except Refused:
        return None
    return int.from_bytes(info[_LENGTH_AT : _LENGTH_AT + 2], "big") if len(info) == _INFO_SIZE else None


async def _judge(line: Line, db: int, size: int | None, answer: bytes | int) -> FoundBlock:
    if isinstance(answer, bytes):
        return FoundBlock(db=db, size=await measure(line, db) if size is None else size, readable=True)
    if size == 0 and answer == _OUT_OF_RANGE:
        return FoundBlock(db=db, size=0, readable=True)
    if size is not None and answer == _OUT_OF_RANGE:
        (first,) = (await line.look([_byte(db, 0)])).values()
        if isinstance(first, bytes):
            return FoundBlock(db=db, size=await measure(line, db), readable=True)
    return _unreadable(db, size, answer)


def _unreadable(db: int, size: int | None, code: int) -> FoundBlock:
    reason, _ = REFUSALS.get(code, (f"refused with code 0x{code:02X}", ""))
    return FoundBlock(db=db, size=size, readable=False, reason=reason, code=code)


def _portions(numbers: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    return (numbers[at : at + most] for at in range(0, len(numbers), most))


def _byte(db: int, at: int) -> Range:
    return Range(Area.DB.value, db, at, 1)
