"""What page, metrics and API see of a running graph, and the judgements they share: age, stale, ready.

Everything here reads; nothing is kept between requests, so that a graph nobody looks at costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import structlog

from pipeline.actor import Actor, State
from pipeline.frame import Origin
from pipeline.operator import NodeKind
from pipeline.port import Port
from pipeline.runtime import Runtime as Running

__all__ = [
    "Details",
    "Running",
    "actors_of",
    "describe_actor",
    "described",
    "details_of",
    "in_order",
    "is_stale",
    "labels_of",
    "periods",
    "ports_of",
    "reader_of",
    "readiness",
    "troubles",
]

Details = Mapping[str, object]

# A block is stale after three periods without data and one second, so that one lost read doesn't raise an alarm.
_MISSED_PERIODS = 3
_SLACK = 1.0
_UNKNOWN_PERIOD = 10.0
_CONNECTED = {State.RUNNING, State.DEGRADED}


def in_order(origins: Iterable[Origin]) -> list[Origin]:
    """Blocks as a person counts: press2 before press10."""
    return sorted(origins, key=_order)


def is_stale(age: float, period: float) -> bool:
    """Whether data of this age is old for a block that is read so often, seconds."""
    return age > _MISSED_PERIODS * period + _SLACK


def labels_of(origin: Origin) -> dict[str, str]:
    """The metric labels that tell blocks apart: tenant, PLC (its address where it has no name), data block."""
    labels = {
        "tenant": origin.tenant_id,
        "plc": origin.plc_id or origin.ip,
        "db": "" if origin.db is None else str(origin.db),
    }
    return {key: value for key, value in labels.items() if value}


def actors_of(running: Running, node: str) -> list[Actor]:
    """A node's actors: one, or one for each part of a source."""
    return [actor for name, actor in tuple(running.actors.items()) if name.partition("/")[0] == node]


def details_of(details: Mapping[str, Callable[[], Details]], actor: str) -> Details:
    """What an actor tells beside state and counters; one that can't tell doesn't take the page with it."""
    tell = details.get(actor)
    try:
        return {} if tell is None else dict(tell())
    except Exception as error:  # noqa: BLE001 - an operator's own code
        structlog.get_logger().error("details can't be read", node=actor, exc_info=error)
        return {"error": repr(error)}


def troubles(running: Running) -> list[Actor]:
    """The actors that do not do their work now, in the graph's order."""
    return [actor for actor in running.actors.values() if actor.state is not State.RUNNING]


def readiness(running: Running) -> tuple[bool, dict[str, str]]:
    """Whether every source has read once and every sink is connected; and what does not work now, by actor, if so too.

    A PLC that fails later does not make the graph unready: the others are read.
    """
    actors = dict(running.actors)
    missing = {
        node.name: "not started"
        for node in (*running.graph.of(NodeKind.SOURCE), *running.graph.of(NodeKind.SINK))
        if not any(name == node.name or name.startswith(f"{node.name}/") for name in actors)
    }
    told = {}
    for actor in troubles(running):
        why = f": {actor.reason}" if actor.reason else ""
        told[actor.name] = actor.state.value + why
        if actor.kind is NodeKind.SOURCE and not actor.was_running:
            missing[actor.name] = "has not read yet" + why
        elif actor.kind is NodeKind.SINK and actor.state not in _CONNECTED:
            missing[actor.name] = told[actor.name]
    return not missing, told | missing


def described(running: Running) -> dict[str, object]:
    """The graph with states and counters, for `/api/graph`. Options are left out: they hold secrets and addresses."""
    details = running.details
    return {
        "name": running.graph.name,
        "boot": running.boot,
        "started": running.started,
        "now": running.clock.wall(),
        "nodes": [
            {
                "name": node.name,
                "section": node.kind.value,
                "type": node.operator.name,
                "from": list(node.inputs),
                "enabled": node.enabled,
                "frames": running.ports[node.name].frames if node.name in running.ports else None,
                "actors": [
                    describe_actor(actor, details_of(details, actor.name)) for actor in actors_of(running, node.name)
                ],
            }
            for node in running.graph.nodes.values()
        ],
        "edges": [[giver.name, taker.name] for giver, taker in running.graph.edges()],
    }


def describe_actor(actor: Actor, details: Details) -> dict[str, object]:
    """A part with its state and counters (JSON-able)."""
    return {
        "name": actor.name,
        "state": actor.state.value,
        "reason": actor.reason,
        "since": actor.since,
        "was_running": actor.was_running,
        "errors": actor.errors,
        "frames": actor.frames if actor.kind is NodeKind.SOURCE else None,
        "drops": dict(actor.drops),
        "last_errors": [{"ts": ts, "reason": reason} for ts, reason in actor.last_errors],
        "details": details,
    }


def periods(running: Running) -> Callable[[Mapping[str, str]], float]:
    """The function from a block's labels to the seconds between two reads, as its source declares them."""
    declared = {
        frozenset((key, value) for key, value in labels.items() if value): period
        for labels, period in running.metrics.samples("plc_expected_interval_seconds")
    }
    return lambda labels: declared.get(frozenset(labels.items()), _UNKNOWN_PERIOD)


def reader_of(running: Running, origin: Origin) -> Actor | None:
    """The part of a source that reads a block; its reason says what the block's trouble is, and what to do."""
    node = running.sources.get(origin)
    return running.actors.get(f"{node}/{origin.plc_id or origin.ip}")


def ports_of(running: Running, name: str) -> list[Port]:
    """Where the frames of a node pass: its own output, of a sink those of its inputs."""
    node = running.graph.nodes.get(name)
    names = [name] if node is None or node.kind is not NodeKind.SINK else node.inputs
    return [running.ports[each] for each in names if each in running.ports]


def _order(origin: Origin) -> list[tuple[int, int, str]]:
    text = f"{origin.tenant_id} {origin.plc_id or origin.ip} {origin.db or 0} {origin.measurement}"
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", text)]
