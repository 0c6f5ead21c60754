"""The disk: full, read-only, slow; the journal damaged, cut short, of a newer version, opened twice."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.journal import tools as journal_tools
from pipeline.journal.file import Store
from tests.parts.line import Line
from tests.parts.waiting import wait_until
from tests.scenarios.delivery.plant import SAVED, Plant, pass_time

pytestmark = [pytest.mark.real("mosquitto", "strace"), pytest.mark.timeout(1800)]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
PAGE = 4096


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own on `folder`."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def tampered(plant: Plant, injection: str) -> Iterator[None]:
    """Meanwhile the pipeline's system calls on its journal's file do what `strace` has them do."""
    calls = injection.partition(":")[0]
    command = ["strace", "-f", "-qq", "-p", str(plant.line.pid), "-P", str(plant.journal / "data.mdb")]
    command += ["-e", f"trace={calls}", "-e", f"inject={injection}", "-o", str(plant.folder / "tampered")]
    with subprocess.Popen(command) as strace:
        status = Path(f"/proc/{plant.line.pid}/status")
        wait_until(lambda: f"TracerPid:\t{strace.pid}" in status.read_text(), "strace is attached")
        try:
            yield
        finally:
            strace.send_signal(signal.SIGINT)


def trouble(plant: Plant, words: str) -> None:
    """Wait until the pipeline says so."""
    wait_until(lambda: words in plant.line.get("/api/graph")[1], f"it says '{words}'")


@needs_root
def test_the_disk_is_full(plant, conclude, full):
    """A disk of 1 MB while the broker is away: what the disk does not take waits in memory."""
    plant = plant(broker=SAVED)
    with small_disk(plant.journal, "1m"):
        plant.start()
        plant.flow(500)
        plant.broker.stop()
        trouble(plant, "disk full")
        pass_time(30.0 if full else 2.0)
        waiting = plant.backlog()
        plant.restart_broker()
        made = conclude(plant, 5, "disk full, broker away")
        made.note = f"{waiting:,.0f} frames waited, of which 1 MB was on disk."
        assert made.dropped == {}
        assert plant.verdict().gaps == 0


def test_the_disk_becomes_read_only(plant, conclude, full):
    """Writes to the journal fail with EROFS for a while, broker away; then they work again."""
    plant = plant(broker=SAVED)
    times = 5 if full else 2
    plant.start()
    plant.flow(500)
    plant.broker.stop()
    for _ in range(times):
        with tampered(plant, "pwrite64,writev,fdatasync:error=EROFS"):
            trouble(plant, "read-only file system")
            pass_time(plant.chance.uniform(0.0, 2.0))
        wait_until(lambda: "read-only file system:" not in current(plant), "it writes again")
    plant.restart_broker()
    made = conclude(plant, 5, "disk read-only for a while (EROFS injected), broker away", faults=times)
    assert made.dropped == {}
    assert plant.verdict().gaps == 0


def current(plant: Plant) -> str:
    """What the delivery says now."""
    found = re.search(r'"trouble": ?"([^"]*)"', plant.line.get("/api/graph")[1])
    return found[1] if found else ""


@pytest.mark.parametrize("interval", ["0s", "1s"])
def test_the_disk_is_slow(plant, conclude, full, interval):
    """Each fsync takes 300 ms: frames gather for one commit, the reads go on, nobody waits longer than for two."""
    plant = plant(broker=SAVED, journal={"commit_interval": interval})
    plant.start()
    plant.flow(500)
    with tampered(plant, "fdatasync:delay_exit=300000"):
        plant.flow(30_000 if full else 2000)
        plant.broker.stop()
        pass_time(2.0)
        plant.restart_broker()
        plant.flow(1000)
    made = conclude(plant, 5, f"every fsync takes 300 ms, `commit_interval: {interval}`")
    assert made.dropped == {}
    assert plant.verdict().gaps == 0


def flip(plant: Plant, file: Path) -> None:
    """Random bytes at ten places."""
    content = bytearray(file.read_bytes())
    for _ in range(10):
        content[plant.chance.randrange(len(content))] ^= plant.chance.randrange(1, 256)
    file.write_bytes(content)


def cut_short(plant: Plant, file: Path) -> None:
    """The end is missing."""
    os.truncate(file, plant.chance.randrange(4 * PAGE, file.stat().st_size))


@pytest.mark.parametrize("damage", [flip, cut_short])
def test_a_damaged_journal(plant, conclude, full, damage: Callable[[Plant, Path], None]):
    """Killed, damaged, started: what can be read is sent, what can't is told in numbers, and new frames flow."""
    plant = plant(broker=SAVED)
    times = 10 if full else 2
    plant.start()
    plant.flow(200)
    told = 0
    for _ in range(times):
        plant.broker.stop()
        wait_until(lambda: plant.backlog() > 2000, "a backlog")
        plant.count_drops()
        plant.kill(1.0)
        held = journal_tools.summary(str(plant.journal)).frames
        damage(plant, plant.journal / "data.mdb")
        logged = len(plant.line.log)
        plant.line.start()
        wait_until(lambda: plant.line.get("/healthz")[0] == 200, "it lives")
        plant.restart_broker()
        plant.flow(1000)
        if saved := re.search(r"(\d+) frames were saved", plant.line.log[logged:]):
            told += max(0, held - int(saved[1]))
        wait_until(lambda: plant.backlog() < 50, "the backlog is sent", 60)
    plant.dropped["told"] = told
    title = "journal damaged at random bytes" if damage is flip else "journal cut short"
    made = conclude(plant, 5, title, faults=times, allowed=1.0)
    made.dropped = {reason: count for reason, count in made.dropped.items() if count}
    made.note = f"{len(plant.verdict().missing):,} frames did not arrive; as many or more were told to be lost."


def test_a_journal_of_a_newer_version(plant, conclude):
    """It is moved aside, untouched and told; the pipeline goes on with a new one."""
    plant = plant(broker=SAVED)
    plant.start()
    plant.flow(200)
    plant.broker.stop()
    wait_until(lambda: plant.backlog() > 2000, "a backlog")
    plant.stop()
    store = Store(plant.journal)
    held, store.state.version = store.state.frames, store.state.version + 1
    with store.write():
        pass
    store.close()
    plant.line.start()
    wait_until(lambda: plant.line.get("/healthz")[0] == 200, "it lives")
    plant.restart_broker()
    plant.flow(1000)
    aside = journal_tools.summary(str(plant.journal)).aside
    assert len(aside) == 1
    assert "this program knows" in plant.line.log
    kept = Store(plant.journal / aside[0], readonly=True)
    assert kept.state.frames == held
    kept.close()
    plant.dropped["moved aside"] = held
    conclude(plant, 5, "journal of a newer version")


def test_a_journal_that_is_open_already(plant, conclude):
    """A second pipeline on the same journal ends with the reason; the first one does not notice."""
    plant = plant()
    plant.start()
    plant.flow(500)
    folder = plant.folder / "second"
    folder.mkdir()
    with Line(plant.folder / "graph.yaml", plant.environment, folder) as second:
        wait_until(lambda: second.exit_code is not None, "the second one ends")
        code, log = second.exit_code, second.log
    plant.flow(500)
    conclude(plant, 5, "journal opened twice")
    assert code == 2
    assert "another process" in log
