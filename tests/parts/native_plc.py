"""An S7 server that is not ours: the C++ one in the wheel of python-snap7 2.0.2, as a child process.

It runs in a virtual environment of its own, made once in the user's cache, since 2.0.2 and 3.x can't live in one.

    with NativePlc({1: bytes(14)}, counter=(1, 10), tick=0.01) as plc:    # plc.port
        plc.poke(1, 2, struct.pack(">f", 10.0))
        plc.kill(), plc.start()                                           # a power cycle, on the same port
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Self

from filelock import FileLock

from tests.parts.waiting import free_port, freeze, wait_until

__all__ = ["NativePlc", "native_missing", "native_python"]

VERSION = "2.0.2"
_READ_EVENT = 0x00020000


def native_python() -> Path:
    """The Python that has python-snap7 2.0.2; made on first use, by one process at a time.

    Raises:
        OSError: it could not be made, with the end of what venv or pip said.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retrofit-pipeline"
    folder = home / f"native-plc-{VERSION}"
    python = folder / "bin" / "python"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"native-plc-{VERSION}.lock"):
        if not (folder / "complete").exists():
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(folder)],
                [str(python), "-m", "pip", "install", "-q", f"python-snap7=={VERSION}"],
                [str(python), "-c", "from snap7.server import Server; Server(log=False)"],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
                if done.returncode:
                    raise OSError(f"{' '.join(command[1:4])}: {(done.stderr or done.stdout).strip()[-300:]}")
            (folder / "complete").touch()
    return python


@cache
def native_missing() -> str:
    """Why there is no native server here, "" when there is one."""
    try:
        native_python()
    except (OSError, subprocess.SubprocessError) as error:
        return f"no C++ S7 server (python-snap7 {VERSION}): {error}"
    return ""


class NativePlc:
    """The server as a process.

    Attributes:
        port: where it listens, on each of its addresses; the same after each start.
        events: what clients did, oldest first, with `events=True`: dicts of EvtCode, EvtParam1 and so on.
    """

    def __init__(
        self,
        blocks: Mapping[int, bytes],
        *,
        port: int = 0,
        pdu: int = 0,
        counter: tuple[int, int] | None = None,
        tick: float = 0.01,
        events: bool = False,
        addresses: Sequence[str] = ("127.0.0.1",),
    ) -> None:
        """Describe the server; `start` or `with` starts it.

        Args:
            blocks: content of the data blocks by number; each start begins with it.
            port: 0 takes a free one.
            pdu: forces that PDU on every client, 240 to 2000; 0 grants what is asked, from 240.
            counter: (DB, byte) of an INT (big-endian) that goes up by one each tick, after 32767 from 0.
            tick: seconds.
            events: collect what clients do.
            addresses: more than one makes that many PLCs in the one process, with the same port and the same blocks.
        """
        self.port = port or free_port()
        self.events: list[dict[str, int]] = []
        self._options = {
            "port": self.port,
            "blocks": {str(number): bytes(content).hex() for number, content in blocks.items()},
            "pdu": pdu,
            "counter": counter,
            "tick": tick,
            "events": events,
            "addresses": list(addresses),
        }
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._said: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "the native PLC is off"
        return self._process.pid

    @property
    def reads(self) -> int:
        """Items that were read well, with `events=True`."""
        return sum(event["EvtCode"] == _READ_EVENT for event in tuple(self.events))

    def start(self) -> None:
        """Power on; returns when it listens."""
        child = Path(__file__).with_name("native_plc_child.py")
        self._said = []
        self._process = subprocess.Popen(
            # -P: what stands beside the child must not hide modules of Python, such as `platform`.
            [native_python(), "-P", child, json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="native-plc", daemon=True)
        self._reader.start()
        wait_until(lambda: "ready" in self._said or not self._alive(), "the native PLC is ready")
        assert self._alive(), "the native PLC ended: " + " ".join(self._said)

    def kill(self) -> None:
        """Power off, without a word to anybody; nothing when it is off already."""
        if self._process is None or self._reader is None:
            return
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process = self._reader = None

    def restart(self) -> None:
        """Power off and on."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop the process where it is (SIGSTOP): connections stay, answers don't come."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def poke(self, db: int, byte: int, data: bytes) -> None:
        """Write into a block's memory."""
        self._tell(f"poke {db} {byte} {data.hex()}")

    def cpu(self, state: str) -> None:
        """Switch the CPU: `run` or `stop`."""
        self._tell(f"cpu {state}")

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the native PLC is off"
        self._process.send_signal(number)

    def _tell(self, command: str) -> None:
        assert self._process is not None, "the native PLC is off"
        assert self._process.stdin is not None
        before = self._said.count("done")
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        wait_until(lambda: self._said.count("done") > before or not self._alive(), command)

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                self.events.append(json.loads(line))
            else:
                self._said.append(line.strip())
