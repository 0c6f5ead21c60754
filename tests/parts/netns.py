"""Two network namespaces with a cable between them: what tests do to the link touches nothing else on the machine.

with Link() as link:                    # `namespaces_missing` says why there can be none
    with link.at("far"):                # this thread, and the processes that it starts, are at the far end
        broker.start()
    link.rate("80kbit")
    link.lose(30, "input", "output")
"""

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

__all__ = ["FAR", "NEAR", "Link", "namespaces_missing"]

NEAR, FAR = "10.99.0.1", "10.99.0.2"
"""Addresses of the two ends."""
_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def namespaces_missing() -> str:
    """Why there can be no namespaces here, "" when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "tc", "nft") if shutil.which(name) is None]
    return f"no {', '.join(missing)}" if missing else ""


class Link:
    """The namespaces `near` and `far`, their loopbacks, and a cable between them."""

    def __init__(self) -> None:
        self._names = {end: f"retrofit-{os.getpid()}-{end}" for end in ("near", "far")}

    def __enter__(self) -> Self:
        near, far = self._names.values()
        try:
            for name in self._names.values():
                _run("ip", "netns", "add", name)
                _run("ip", "-n", name, "link", "set", "lo", "up")
            _run("ip", "-n", near, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", far)
            for name, address in ((near, NEAR), (far, FAR)):
                _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "cable")
                _run("ip", "-n", name, "link", "set", "cable", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    @contextmanager
    def at(self, end: str) -> Iterator[None]:
        """This thread is at that end, with all that it starts meanwhile."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        there = os.open(Path("/run/netns") / self._names[end], os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(there)
            os.close(home)

    def rate(self, rate: str = "") -> None:
        """What goes through the cable, in both directions: `80kbit`; nothing for no limit."""
        for name in self._names.values():
            if rate:
                shape = ["tbf", "rate", rate, "burst", "4kb", "latency", "400ms"]
                _run("tc", "-n", name, "qdisc", "replace", "dev", "cable", "root", *shape)
            else:
                subprocess.run(["tc", "-n", name, "qdisc", "del", "dev", "cable", "root"], check=False)

    def rules(self, *rules: str) -> None:
        """Packet filter of the far end: rules of nftables, each behind its chain (`input`, `output`); none for none."""
        chains = "".join(
            f"chain {chain} {{ type filter hook {chain} priority 0; "
            + "; ".join(rule.partition(" ")[2] for rule in rules if rule.startswith(chain + " "))
            + "; }\n"
            for chain in ("input", "output")
            if any(rule.startswith(chain + " ") for rule in rules)
        )
        _run("ip", "netns", "exec", self._names["far"], "nft", f"flush ruleset\ntable inet test {{\n{chains}}}")

    def lose(self, percent: int, *chains: str) -> None:
        """Lose packets by chance: those that come to the far end (`input`), those that leave it (`output`)."""
        way = {"input": "iifname", "output": "oifname"}
        # A hundred of a hundred is not a number that nftables takes.
        chance = f"numgen random mod 100 < {percent} " if percent < 100 else ""
        self.rules(*(f"{chain} {way[chain]} cable {chance}drop" for chain in chains))


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
