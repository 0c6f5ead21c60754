"""`doctor`: everything that a graph speaks with, tried step by step; each finding says what to do."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
import urllib.error
from collections.abc import AsyncIterator, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path

import click
import msgspec

from pipeline import log
from pipeline.cli import graph_file
from pipeline.clock import Clock
from pipeline.config import load
from pipeline.config.http import Http
from pipeline.diagnosis import Diagnosis, Mark, Situation
from pipeline.errors import JournalError, Problem
from pipeline.frame import Origin
from pipeline.graph import Graph, Node
from pipeline.journal.tools import summary
from pipeline.process import new_loop
from pipeline.terminal.remote import Remote, address_of
from pipeline.units import Duration, Size

__all__ = ["command", "diagnose"]

_LEAST_ROOM = 0.05
_GROWTH_PAUSE = 2.0
_MOMENT = 0.001
"""Seconds: what took less is not told."""
_COLOURS = {Mark.GOOD: "green", Mark.NOTE: "cyan", Mark.WARNING: "yellow", Mark.PROBLEM: "red"}
_MARKED = tuple[str, Diagnosis]
"""The node's name, "" for the machine and the graph as a whole; the finding."""


@click.command(name="doctor")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="As one JSON array, for programs.")
@click.option("--no-canary", is_flag=True, help="Publish nothing.")
def command(file: str, as_json: bool, no_canary: bool) -> int:
    """Try everything that a graph speaks with: names, TCP, TLS, logins, rights, PLCs and their blocks, disk, clock.

    It reads each PLC a few times on a connection of its own, and publishes one heartbeat frame on each topic. The graph
    may run meanwhile, and what it says of itself is looked at too. Exit code 1 when there is a problem.

    \b
    Examples:
      pipeline doctor configs/line1.yaml
      pipeline doctor configs/line1.yaml --json --no-canary
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure("error")
    graph = load(graph_file(file), os.environ)
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        found = runner.run(_shown(diagnose(graph, canary=not no_canary), as_json=as_json))
    if as_json:
        rows = [{"node": name, **msgspec.to_builtins(each)} for name, each in found]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
    else:
        counts = {mark: sum(each.mark is mark for _, each in found) for mark in Mark}
        click.echo(f"{graph.path}: {counts[Mark.PROBLEM]} problems, {counts[Mark.WARNING]} warnings")
    return 1 if any(each.mark is Mark.PROBLEM for _, each in found) else 0


async def diagnose(graph: Graph, *, canary: bool = True) -> AsyncIterator[_MARKED]:
    """Find what is right and wrong, node by node, as it is found.

    Args:
        graph: a checked one.
        canary: whether sinks may send a frame of their own.
    """
    clock = Clock(asyncio.get_running_loop())
    for problem in graph.warnings:
        yield problem.node, _warning(problem)
    yield "", await asyncio.to_thread(_synchronised)
    for node in graph.running():
        scope = graph.scope(node)
        incoming = tuple(_incoming(graph, node))
        situation = Situation(scope=scope, clock=clock, incoming=incoming, canary=canary)
        asked = node.operator.diagnosed(node.options, situation)
        if asked is not None:
            async for each in asked:
                yield node.name, each
        for claim in node.operator.claimed(node.options, scope):
            if claim.what == "journal":
                for each in await asyncio.to_thread(_journal, Path(claim.key)):
                    yield node.name, each
    if graph.http is not None and graph.http.port:
        for each in await asyncio.to_thread(_running, graph.http):
            yield "", each


async def _shown(findings: AsyncIterator[_MARKED], *, as_json: bool) -> list[_MARKED]:
    """Show each finding as soon as it is found, under its node's name; all of them."""
    found: list[_MARKED] = []
    async for name, each in findings:
        if not as_json:
            if not found or found[-1][0] != name:
                click.echo(click.style(name or "this machine", bold=True))
            mark = click.style(f"{each.mark:<8}", fg=_COLOURS[each.mark])
            part = f"{each.part}: " if each.part else ""
            taken = f" ({Duration(round(each.seconds, 3))})" if each.seconds and each.seconds >= _MOMENT else ""
            click.echo(f"  {mark} {each.what:<10} {part}{each.found}{taken}")
            if each.advice:
                click.echo(f"           {'':<10} → {each.advice}")
        found.append((name, each))
    return found


def _incoming(graph: Graph, node: Node) -> Iterator[Origin]:
    """Origins of the frames that reach a node, from all that lies before it."""
    waiting, seen = list(node.inputs), set()
    while waiting:
        giver = graph.nodes[waiting.pop()]
        if giver.name in seen or not giver.enabled:
            continue
        seen.add(giver.name)
        waiting += giver.inputs
        yield from giver.operator.known_origins(giver.options, graph.scope(giver))


def _warning(problem: Problem) -> Diagnosis:
    part = f"{problem.file}:{problem.line}"
    return Diagnosis(what="graph", mark=Mark.WARNING, found=problem.message, advice=problem.hint, part=part)


def _synchronised() -> Diagnosis:
    """Whether this machine's clock follows a time server: frames carry its time."""
    asked = shutil.which("timedatectl")
    said = ""
    if asked:
        done = subprocess.run(  # noqa: S603 - a constant
            [asked, "show", "-p", "NTPSynchronized", "--value"], capture_output=True, text=True, check=False, timeout=10
        )
        said = done.stdout.strip()
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    if said == "yes":
        return Diagnosis(what="clock", mark=Mark.GOOD, found=f"{now}, follows a time server")
    if said == "no":
        hint = "set it up (timedatectl set-ntp true): frames with a wrong time don't show where people look"
        return Diagnosis(what="clock", mark=Mark.WARNING, found=f"{now}, follows no time server", advice=hint)
    found = f"{now}; this machine does not tell whether it follows a time server"
    return Diagnosis(what="clock", mark=Mark.NOTE, found=found, advice="compare it with a watch")


def _journal(path: Path) -> Iterator[Diagnosis]:
    there = next(each for each in (path, *path.parents) if os.access(each, os.F_OK))
    usage = shutil.disk_usage(there)
    found = f"{Size(usage.free)} free of {Size(usage.total)}"
    if not there.is_dir():
        advice = f"{path} can't be made: move that file away, or set DATA_DIR or the node's `path` to another folder"
        yield Diagnosis(what="disk", mark=Mark.PROBLEM, found=f"{there} is a file, no folder", advice=advice)
        return
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        advice = f"mount it writable, or keep {path} on another disk"
        yield Diagnosis(what="disk", mark=Mark.PROBLEM, found=f"{there} is on a read-only disk", advice=advice)
    elif not os.access(there, os.W_OK):
        advice = "give the folder to the user who runs the pipeline"
        yield Diagnosis(what="disk", mark=Mark.PROBLEM, found=f"{there} can't be written", advice=advice)
    elif usage.free < usage.total * _LEAST_ROOM:
        advice = "make room: a journal that can't grow drops frames when the receiver is away"
        yield Diagnosis(what="disk", mark=Mark.WARNING, found=found, advice=advice, part=str(there))
    else:
        yield Diagnosis(what="disk", mark=Mark.GOOD, found=found, part=str(there))
    if there != path:
        return
    try:
        kept = summary(str(path))
    except (JournalError, OSError) as error:
        yield Diagnosis(what="journal", mark=Mark.NOTE, found=str(error), part=str(path))
        return
    waiting = f"{kept.frames} frames wait"
    if kept.oldest is not None:
        waiting += f", the oldest for {Duration(max(0, int(time.time() - kept.oldest)))}"
    yield Diagnosis(what="journal", mark=Mark.GOOD, found=waiting, part=str(path))
    if kept.dead:
        advice = f"see why: pipeline journal show --dead {path}; mend it, then stop the graph and run journal requeue"
        yield Diagnosis(what="journal", mark=Mark.WARNING, found=f"{kept.dead} dead letters", advice=advice)
    if kept.aside:
        found = f"damaged parts were moved aside: {', '.join(kept.aside)}"
        yield Diagnosis(what="journal", mark=Mark.WARNING, found=found, advice="look at the disk and at power cuts")


def _running(http: Http) -> Sequence[Diagnosis]:
    """What the graph says of itself, where it runs on this machine."""
    remote = Remote(address_of(http), http.token, http.users)
    status, text = _get(remote, "/readyz")
    if not status:
        return [Diagnosis(what="running", mark=Mark.NOTE, found=f"the graph does not run at {http.listen}: {text}")]
    if status in {401, 403}:
        advice = "start doctor with the same EDGE_TOKEN as the graph"
        return [Diagnosis(what="running", mark=Mark.WARNING, found="it runs with another token", advice=advice)]
    ready = status == 200  # noqa: PLR2004 - HTTP's
    mark = Mark.GOOD if ready else Mark.PROBLEM
    found = [
        Diagnosis(what="running", mark=mark, found="it runs and is ready" if ready else f"not ready: {text[:500]}")
    ]
    before = _figures(remote)
    time.sleep(_GROWTH_PAUSE)
    after = _figures(remote)
    backlog, grown = after["edge_backlog_size"], after["edge_backlog_size"] - before["edge_backlog_size"]
    if backlog and grown > 0:
        advice = "frames come faster than they are acknowledged: see the sink's findings (network, login, access list)"
        text = f"{backlog:.0f} frames wait, {grown:.0f} more than {_GROWTH_PAUSE:g} s ago"
        found.append(Diagnosis(what="backlog", mark=Mark.PROBLEM, found=text, advice=advice))
    else:
        found.append(Diagnosis(what="backlog", mark=Mark.GOOD, found=f"{backlog:.0f} frames wait"))
    failed = after["plc_publish_fail_total"] - before["plc_publish_fail_total"]
    if failed:
        advice = "see the sink's findings: network, login, access list"
        found.append(Diagnosis(what="publish", mark=Mark.PROBLEM, found=f"{failed:.0f} just failed", advice=advice))
    return found


def _figures(remote: Remote) -> dict[str, float]:
    totals = {"edge_backlog_size": 0.0, "plc_publish_fail_total": 0.0}
    for line in _get(remote, "/metrics")[1].splitlines():
        sample, _, value = line.rpartition(" ")
        name = sample.partition("{")[0]
        if name in totals:
            totals[name] += float(value)
    return totals


def _get(remote: Remote, path: str) -> tuple[int, str]:
    """Status and text of what the running graph answers; 0 and the reason where nobody does."""
    try:
        with remote.open(path, 5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        return 0, str(getattr(error, "reason", error))
