"""The configuration of the first system's agent: what it says, and what of it can't be taken, by line.

It reads as that agent's loader did: keys of `output.mqtt` that stand one level too high count as its own, a bare
`output: mqtt` is its mode, and YAML 1.1's `yes` and `on` are true.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.document import Parsed, Record, parse
from pipeline.config.problems import Problems
from pipeline.errors import ConfigurationError, UsageError
from pipeline.importing.blocks import Block, read_blocks
from pipeline.importing.outputs import Mqtt, Server, read_output
from pipeline.importing.section import Note, Section

__all__ = ["Agent", "read_agent"]


@dataclass(frozen=True, kw_only=True)
class Agent:
    """The whole configuration. `output` is None for stdout; `every` and `heartbeat` are in seconds."""

    ip: str
    port: int
    rack: int
    slot: int
    every: float
    blocks: tuple[Block, ...]
    tenant_id: str
    plc_id: str
    output: Mqtt | Server | None
    metrics_port: int
    store_path: str
    heartbeat: float


def read_agent(text: str, file: Path) -> tuple[Agent, list[Note]]:
    """Read a configuration.

    Args:
        text: of the file.
        file: for messages.

    Returns:
        What it says, and what a person should know of it, in the order of lines.

    Raises:
        ConfigurationError: it can't be read as YAML.
        UsageError: it is something else.
    """
    parsed = parse(text, last=True)
    if parsed.root is None:
        problems = Problems(str(file))
        for mishap in parsed.mishaps:
            problems.mishap(mishap)
        if parsed.mishaps:
            raise ConfigurationError(problems.all)
    notes = _mended(parsed)
    root = parsed.root
    if not isinstance(root, Record) or "source" not in root.entries:
        what = (
            "is a graph file already" if isinstance(root, Record) and "sources" in root.entries else "has no `source:`"
        )
        raise UsageError(f"'{file}' {what}; import takes the config.yaml of the first agent (source, output, dbs)")
    agent = _agent(Section(root, "", notes))
    return agent, sorted(set(notes))


def _mended(parsed: Parsed) -> list[Note]:
    """What the reading has mended, once a kind, and what stays odd."""
    first: dict[str, int] = {}
    for line, what in parsed.done:
        first.setdefault(what, line)
    lines = Counter(what for _, what in parsed.done)
    notes = [
        Note(line, f"mended: {what}" + f", in {lines[what]} places" * (lines[what] > 1)) for what, line in first.items()
    ]
    odd = [mishap for mishap in parsed.mishaps if mishap.mended is None]
    return notes + [
        Note(each.line, each.message + "; this one counts, as for the agent" * (" stands twice " in each.message))
        for each in odd
    ]


def _agent(root: Section) -> Agent:
    source = root.section("source")
    for key in ("rack", "slot", "db_number", "db_size", "poll_interval"):  # some versions had them one level up
        if key in root.entries:
            source.entries.setdefault(key, root.entries.pop(key))
    identity = root.section("identity")
    for key in ("tenant_id", "plc_id"):
        if key in identity.entries and root.entries.get(key) is None:
            root.entries[key] = identity.entries[key]
            identity.take(key)
            identity.tell(key, "the agent did not read this, so its frames had no such name; taken as meant")
    kind, host = source.text("type", "s7"), source.text("host")
    if kind != "s7":
        source.tell("type", f"'{kind}' is read as s7")
    agent = Agent(
        ip=source.text("ip", host),
        port=source.number("port", 102),
        rack=source.number("rack", 0),
        slot=source.number("slot", 1),
        every=source.number("poll_interval", 1.0),
        blocks=read_blocks(root, source),
        tenant_id=root.text("tenant_id"),
        plc_id=root.text("plc_id"),
        output=read_output(root),
        metrics_port=root.number("metrics_port", 9108),
        store_path=root.text("store_path") or "queue.sqlite",
        heartbeat=_heartbeat(root),
    )
    for section in (source, identity, root):
        section.close()
    return agent


def _heartbeat(root: Section) -> float:
    every = root.number("heartbeat_interval", 30.0)
    if every < 1:
        root.tell("heartbeat_interval", "heartbeats come each second at most, every 30 s instead")
        return 30.0
    return every
