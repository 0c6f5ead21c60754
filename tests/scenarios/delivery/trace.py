"""What a traced pipeline wrote to its journal and to its broker, and the journal as a power cut would leave it.

`strace` writes down every write, with its bytes and times. A power cut keeps what had been synced (fdatasync, or a
write through an O_DSYNC descriptor); of the rest, which the kernel may write in any order, chance keeps some whole,
some in part (torn at a sector), and forgets some.
"""

import contextlib
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.parts.waiting import wait_until

__all__ = ["Sent", "Trace", "frames", "wait_written", "wrapper"]

_CALLS = "execve,openat,close,lseek,pwrite64,pwritev,fdatasync,fsync,msync,ftruncate,write,writev,sendto,sendmsg"
_LINE = re.compile(r"(?P<at>\d+\.\d+) (?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+).*<(?P<took>[\d.]+)>$")
_OFFSET = re.compile(r", \d+(?=\)| <unfinished|$)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_BODY = re.compile(rb'"plc_id":"plc(\d+)","values":\{[^{}]{0,200}\}(?:,"error":"[^"]*")?,"seq":(\d+),"boot":"(\w{26})"')
_SECTOR = 512


def wrapper(folder: Path) -> list[str]:
    """The command that traces what follows it; the traced process keeps its id. One file a thread."""
    folder.mkdir(exist_ok=True)
    times = ["--absolute-timestamps=format:unix,precision:ns", "--syscall-times=ns"]
    return ["strace", "-D", "-qq", "-ff", *times, "-xx", "-s", "9999999", "-e", f"trace={_CALLS}", "-o", f"{folder}/t"]


def wait_written(folder: Path) -> None:
    """Return when `strace` has ended, after the process that it traced."""
    name = str(folder).encode()

    def over() -> bool:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes()
                if command.startswith(b"strace") and name in command:
                    return False
        return True

    wait_until(over, "strace has ended")


class _Call(NamedTuple):
    begin: float
    end: float
    name: str
    arguments: str
    result: int


@dataclass
class _Write:
    """Bytes written to the journal's file; `end` is infinite when the call never ended."""

    begin: float
    end: float
    offset: int
    data: bytes
    synced: bool
    durable: float = float("inf")


@dataclass
class _File:
    """An open descriptor of the journal's file."""

    synced: bool
    position: int = 0


class Sent(NamedTuple):
    """A frame in a PUBLISH."""

    plc: int
    seq: int
    boot: str


@dataclass
class Trace:
    """One traced run, by the wall clock.

    Attributes:
        writes: to the journal's file, in order.
        syncs: of that file: begin and end.
        sent: when the first byte of each PUBLISH was handed to the socket.
    """

    writes: list[_Write] = field(default_factory=list)
    syncs: list[tuple[float, float]] = field(default_factory=list)
    sent: dict[Sent, float] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, pid: int) -> "Trace":
        """Read the files of one run of the process `pid`; its children are left out."""
        trace = cls()
        calls = sorted(call for file in _threads(folder, pid) for call in _calls(file))
        streams: dict[int, list[tuple[float, bytes]]] = defaultdict(list)
        files: dict[int, _File] = {}
        for call in calls:
            trace._take(call, files, streams)
        for pieces in streams.values():
            trace._publishes(pieces)
        for write in trace.writes:
            if write.synced:
                write.durable = write.end
            else:
                write.durable = min((end for begin, end in trace.syncs if begin >= write.end), default=write.durable)
        return trace

    def _take(self, call: _Call, files: dict[int, _File], streams: dict[int, list[tuple[float, bytes]]]) -> None:
        """One call; `files` are the descriptors of the journal's file."""
        if call.name in {"openat", "execve"}:
            if call.result >= 0 and _text(call.arguments).endswith(b"data.mdb"):
                files[call.result] = _File("O_DSYNC" in call.arguments or "O_SYNC" in call.arguments)
            return
        descriptor = int(call.arguments.partition(",")[0])
        if call.name == "close":
            files.pop(descriptor, None)
        elif call.name in {"fdatasync", "fsync"}:
            if descriptor in files:
                self.syncs.append((call.begin, call.end))
        elif descriptor not in files:
            if call.name != "lseek":
                streams[descriptor].append((call.begin, _text(call.arguments)[: max(0, call.result)]))
        else:
            self._write(call, files[descriptor])

    def _write(self, call: _Call, file: _File) -> None:
        """A write to the journal's file: LMDB seeks before `writev`, and names the place to `pwrite64`."""
        if call.name == "lseek":
            file.position = call.result
        elif call.name in {"pwrite64", "pwritev"}:
            offset = int(call.arguments.rpartition(",")[2])
            self.writes.append(_Write(call.begin, call.end, offset, _text(call.arguments), file.synced))
        elif call.name == "writev":
            self.writes.append(_Write(call.begin, call.end, file.position, _text(call.arguments), file.synced))
            file.position += len(self.writes[-1].data)
        else:
            raise ValueError(f"{call.name} on the journal's file is not understood")

    def _publishes(self, pieces: Sequence[tuple[float, bytes]]) -> None:
        starts, position = [], 0
        for at, data in pieces:
            starts.append((position, at))
            position += len(data)
        index = 0
        for match in _BODY.finditer(b"".join(data for _, data in pieces)):
            while index + 1 < len(starts) and starts[index + 1][0] <= match.start():
                index += 1
            self.sent.setdefault(_name(match), starts[index][1])

    def committed(self) -> dict[Sent, float]:
        """When each frame was on disk: its bytes, and after them the meta page that makes them count."""
        metas = [write.durable for write in self.writes if write.offset < 2 * 4096]
        found: dict[Sent, float] = {}
        for durable, data in _joined(self.writes):
            at = min((meta for meta in metas if meta >= durable), default=float("inf"))
            for match in _BODY.finditer(data):
                found.setdefault(_name(match), at)
        return found

    def image(self, base: bytes, cut: float, chance: random.Random) -> bytes:
        """The file after a power cut.

        Args:
            base: the file before the run.
            cut: seconds since 1970.
            chance: decides what becomes of what was not synced.
        """
        content = bytearray(base)
        for write in self.writes:
            if write.begin > cut:
                break
            data = write.data
            if write.durable > cut:
                fate = chance.random()
                data = (
                    b"" if fate < 1 / 3 else data[: chance.randrange(0, len(data), _SECTOR)] if fate < 1 / 2 else data
                )
            if data:
                content.extend(bytes(max(0, write.offset + len(data) - len(content))))
                content[write.offset : write.offset + len(data)] = data
        return bytes(content)


def _threads(folder: Path, pid: int) -> Iterator[Path]:
    """A thread's file does not begin with the program that a process runs."""
    for file in folder.glob("t.*"):
        if file.suffix == f".{pid}" or " execve(" not in file.read_text(encoding="ascii", errors="replace"):
            yield file


def frames(text: str) -> Iterator[Sent]:
    """The frames in a text."""
    return map(_name, _BODY.finditer(text.encode()))


def _calls(file: Path) -> Iterator[_Call]:
    with file.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if (match := _LINE.match(line.rstrip("\n"))) is not None:
                begin = float(match["at"])
                end = begin + float(match["took"])
                yield _Call(begin, end, match["call"], match["arguments"], int(match["result"]))
            elif " pwrite" in line:  # the process was killed in it
                begin, _, rest = line.partition(" ")
                name, _, arguments = rest.partition("(")
                if (offset := _OFFSET.search(arguments)) is not None:
                    yield _Call(float(begin), float("inf"), name, arguments[: offset.end()], 0)


def _text(arguments: str) -> bytes:
    return bytes.fromhex("".join(_STRING.findall(arguments)).replace("\\x", ""))


def _name(match: re.Match[bytes]) -> Sent:
    return Sent(int(match[1]), int(match[2]), match[3].decode())


def _joined(writes: Sequence[_Write]) -> Iterator[tuple[float, bytes]]:
    """Writes that follow each other in the file, as one: a batch may be longer than one call."""
    pieces: list[_Write] = []
    for write in writes:
        last = pieces[-1] if pieces else write
        if pieces and (last.offset + len(last.data), last.durable) != (write.offset, write.durable):
            yield last.durable, b"".join(piece.data for piece in pieces)
            pieces = []
        pieces.append(write)
    if pieces:
        yield pieces[-1].durable, b"".join(piece.data for piece in pieces)
