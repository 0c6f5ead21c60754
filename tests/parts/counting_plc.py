"""PLCs that keep the truth: a counter in their block moves with every read, and a file says what was answered and when.

They run in a process of their own, each on an address of its own, so that no kill of the pipeline touches the count.

    with CountingPlcs(folder, 20) as plcs:          # plcs.addresses, plcs.port
        plcs.tell(fault="garbage", plcs=[3])        # from the next answer on
        plcs.power(False), plcs.power(True)
        entries = plcs.entries()

Block DB1: UDINT `count` at byte 0, UDINT `check` (count with `MASK` applied) at its end, zeros between.
"""

import asyncio
import contextlib
import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import uvloop

from pipeline.s7.server import Connection, Item
from tests.parts import plc as faults
from tests.parts.plc import Fault, StrictPlc
from tests.parts.waiting import wait_until

__all__ = ["MASK", "CountingPlc", "CountingPlcs", "Entry", "Event", "block_layout"]

MASK = 0xA5C3_3C5A
_ROOT = Path(__file__).parents[2]
_ENTRY = struct.Struct("<BHId")
_HARMLESS = {"one_byte_at_a_time", "twice", "preceded", "split", "unasked"}


class Event(IntEnum):
    """What became of a count."""

    ANSWERED = 0
    """It went out in a good answer."""
    SPOILED = 1
    """It went out in an answer that nobody may believe, or not at all."""
    LATE = 2
    """It went out in a good answer, but so late that it may be refused."""
    LAST = 3
    """It was the last one of a connection: whether the client still read it nobody knows."""


class Entry(NamedTuple):
    """A line of the truth."""

    event: Event
    plc: int
    count: int
    at: float


def block_layout(size: int) -> dict[str, object]:
    """DB1 for a graph file."""
    return {"size": size, "fields": {"count": "UDINT @ 0", "check": f"UDINT @ {size - 4}"}}


class CountingPlcs:
    """The process, as tests see it.

    Attributes:
        addresses: one for each PLC.
        port: the same for all.
    """

    def __init__(self, folder: Path, number: int, *, size: int = 14, seed: int = 0, **options: int) -> None:
        """Describe them; `with` starts them.

        Args:
            folder: where the truth is written.
            number: of PLCs.
            size: bytes of their block.
            seed: of faults that come by chance.
            options: pdu, jobs, max_clients of each.
        """
        self.addresses = [f"127.0.{index // 250 + 1}.{index % 250 + 1}" for index in range(number)]
        self.port = _common_port(self.addresses)
        self._file = folder / "truth"
        self._settings = {
            "addresses": self.addresses,
            "port": self.port,
            "file": str(self._file),
            "size": size,
            "seed": seed,
            "options": options,
        }
        self._said: list[str] = []

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.parts.counting_plc", json.dumps(self._settings)]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, name="counting-plcs", daemon=True)
        self._reader.start()
        wait_until(lambda: self._said or self._process.poll() is not None, "the PLCs listen")
        if self._said != ["done"]:
            self.__exit__()
            raise AssertionError("the PLCs ended: " + "\n".join(self._said))
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._reader.join()
        self._process.stdout.close()

    def power(self, on: bool, plcs: Sequence[int] = ()) -> None:
        """Switch PLCs on or off, all unless told."""
        self.tell(power=on, plcs=list(plcs))

    def tell(self, **words: Any) -> None:
        """Change how PLCs behave from now on.

        Args:
            words: `plcs` (numbers, all unless told); `fault` (a name of `tests.parts.plc`, or null) with `chance`
                (of each answer, 1 unless told); `gap`, `delay` (seconds); `late` (from this delay on answers may be
                refused); `max_clients`; `mute` (true: the present connections never answer again).
        """
        before = len(self._said)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        wait_until(lambda: len(self._said) > before or self._process.poll() is not None, f"the PLCs do {words}")
        assert self._said[-1] == "done", "\n".join(self._said[before:])

    def entries(self) -> list[Entry]:
        """The truth so far."""
        self.tell()
        return [Entry(Event(fields[0]), *fields[1:]) for fields in _ENTRY.iter_unpack(self._file.read_bytes())]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line.rstrip())


def _common_port(addresses: Sequence[str]) -> int:
    """A port that is free on all addresses; below those that the system gives to clients."""
    while True:
        port = random.randrange(12_000, 32_000)  # noqa: S311 - no secret
        with ExitStack() as stack, contextlib.suppress(OSError):
            for address in addresses:
                stack.enter_context(socket.socket()).bind((address, port))
            return port


class CountingPlc(StrictPlc):
    """One of them; `note` is told what became of each count."""

    def __init__(self, number: int, size: int, note: Callable[[Event, int, int], None], **options: Any) -> None:
        super().__init__({1: bytearray(size)}, **options)
        self.number = number
        self.count = 0
        self.name: str | None = None
        self.chance = 1.0
        self.late = 60.0
        self._note = note
        self._answers: dict[Connection, int] = {}
        self._muted: set[Connection] = set()
        self._counted = 0

    def read(self, item: Item) -> tuple[int, bytes]:
        """A read of the block's beginning moves the counter; the answer with the block's end carries it."""
        if item.db == 1:
            memory = next(iter(self.blocks.values()))
            if item.start == 0:
                self.count += 1
                struct.pack_into(">I", memory, 0, self.count)
                struct.pack_into(">I", memory, len(memory) - 4, self.count ^ MASK)
            if item.start + item.size == len(memory):
                self._counted = self.count
        return super().read(item)

    def answer(self, connection: Connection, pdu: bytes) -> bytes | None:
        """A further request says that the client has read the last answer."""
        self._answers.pop(connection, None)
        self._counted = 0
        return super().answer(connection, pdu)

    def deliver(self, connection: Connection, frame: bytes) -> None:
        """Send it, and write down what was sent."""
        spoiled = connection in self._muted
        self.fault = None
        if self.name is not None and random.random() < self.chance:  # noqa: S311 - no secret
            self.fault = _fault(self.name)
            spoiled = spoiled or self.name not in _HARMLESS
        if self._counted:
            late = self.delay >= self.late
            event = Event.SPOILED if spoiled else Event.LATE if late else Event.ANSWERED
            self._note(event, self.number, self._counted)
            if event is Event.ANSWERED:
                self._answers[connection] = self._counted
        if connection not in self._muted:
            super().deliver(connection, frame)

    def mute(self) -> None:
        """The present connections are half-open: they stay, but nobody is at this end."""
        self._muted.update(self.connections)

    def _over(self, connection: Connection) -> None:
        self._muted.discard(connection)
        if count := self._answers.pop(connection, 0):
            self._note(Event.LAST, self.number, count)


def _fault(name: str) -> Fault:
    fault: Fault = getattr(faults, name)
    return fault


class _Connections(set[Connection]):
    """The living connections of a PLC, which says when one is over."""

    def __init__(self, over: Callable[[Connection], None]) -> None:
        super().__init__()
        self._over = over

    def discard(self, connection: Connection) -> None:
        super().discard(connection)
        self._over(connection)


async def _serve(settings: dict[str, Any], truth: BinaryIO) -> None:
    """In the child: all PLCs, until the parent closes our standard input."""
    random.seed(settings["seed"])

    def note(event: Event, plc: int, count: int) -> None:
        truth.write(_ENTRY.pack(event, plc, count, time.monotonic()))

    plcs = []
    for number, address in enumerate(settings["addresses"]):
        plc = CountingPlc(number, settings["size"], note, host=address, port=settings["port"], **settings["options"])
        plc.connections = _Connections(plc._over)
        await plc.power_on()
        plcs.append(plc)
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def listen() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    threading.Thread(target=listen, daemon=True).start()
    _say_done()
    while line := await lines.get():
        words = json.loads(line)
        for plc in [plcs[number] for number in words.get("plcs") or range(len(plcs))]:
            await _obey(plc, words)
        truth.flush()
        _say_done()


async def _obey(plc: CountingPlc, words: dict[str, Any]) -> None:
    if "fault" in words:
        plc.name, plc.chance = words["fault"], words.get("chance", 1.0)
    for name in ("gap", "delay", "late", "max_clients"):
        if name in words:
            setattr(plc, name, words[name])
    if words.get("mute"):
        plc.mute()
    if words.get("power") is True:
        await plc.power_on()
    elif words.get("power") is False:
        plc.close()


def _say_done() -> None:
    sys.stdout.write("done\n")
    sys.stdout.flush()


def _main(settings: dict[str, Any]) -> None:
    with Path(settings["file"]).open("wb") as truth, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, truth))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
