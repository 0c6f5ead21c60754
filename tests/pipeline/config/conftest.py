"""Small operators with every kind of option, in place of the installed ones, so that only the loader is tested."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

import pipeline.operator as contract
from pipeline.config import load_text
from pipeline.config.layouts import FieldOptions
from pipeline.errors import ConfigurationError, Finding, Severity
from pipeline.operator import Claim, Flow, Forecast, NodeKind, Operator, Options, Scope
from pipeline.units import Duration, Secret, Size, Topic

FILE = Path("graphs/line.yaml")


class Full(StrEnum):
    """What gives way."""

    OLDEST = "drop_oldest"
    NEWEST = "drop_newest"


class Plc(Options):
    """A PLC."""

    plc_id: Annotated[str, Meta(description="name", pattern=r"^[A-Za-z0-9_.-]{0,64}$")] = ""
    address: Annotated[str, Meta(description="where it is", min_length=1)]
    port: Annotated[int, Meta(description="TCP port", ge=1, le=65535)] = 102
    rack: int = 0
    slot: int = 1


class Block(Options):
    """A block."""

    db: Annotated[int, Meta(description="number", ge=1)]
    layout: str

    def check(self, scope: Scope) -> Iterable[Finding]:
        """The layout exists."""
        if self.layout not in scope.layouts:
            yield Finding(path=("layout",), message=f"no layout '{self.layout}'")


class Source(Options):
    """A source."""

    plcs: tuple[Plc, ...] | Plc = ()
    tenant_id: str = ""
    every: Annotated[Duration, Meta(description="period", gt=0)] = Duration(1)
    blocks: list[Block] = msgspec.field(default_factory=list)
    tags: dict[str, str | FieldOptions] = msgspec.field(default_factory=dict)
    tsap: tuple[int, int] | None = None


class Beat(Options):
    """A transform."""

    every: Annotated[Duration, Meta(gt=0)] = Duration(30)
    width: Annotated[float, Meta(gt=0)] | None = None
    as_: Annotated[Literal["", "string"], Meta(description="how")] = msgspec.field(default="", name="as")


class Tls(Options):
    """Encryption."""

    enabled: bool = True
    ca_file: Path | None = None


class Log(Options):
    """A journal."""

    path: str
    max_size: Annotated[Size, Meta(ge=1024)] = Size(1024**3)
    max_age: Duration = Duration(7 * 86400)
    when_full: Full = Full.OLDEST
    commit_interval: Duration = Duration(1)


class Mqtt(Options):
    """A sink."""

    host: Annotated[str, Meta(description="name of the broker", min_length=1)]
    port: int = 8883
    topic: Topic = Topic("plc/{tenant_id}/{plc_id}")
    qos: Annotated[int, Meta(ge=0, le=1)] = 1
    username: str = ""
    password: Secret = Secret()
    tls: Tls = Tls()
    journal: Log = Log(path="data")
    limit: int | Literal["none"] | Duration = "none"

    def check(self, scope: Scope) -> Iterable[Finding]:
        """Half a login, and no encryption."""
        del scope
        if self.password and not self.username:
            yield Finding(path=("password",), message="needs a username")
        if not self.tls.enabled:
            yield Finding(path=("tls", "enabled"), message="in clear", severity=Severity.WARNING)


class Target(Options):
    """Where to."""

    address: str
    db: int


class Mirror(Options):
    """A mirror."""

    target: Target
    allow: list[str]

    def check(self, scope: Scope) -> Iterable[Finding]:
        """A range has two dots, and an address is more than a digit."""
        del scope
        yield from (Finding(path=("allow", i), message="no range") for i, r in enumerate(self.allow) if ".." not in r)
        if self.target.address == "1":
            yield Finding(path=("target", "address"), message="no address")


def _operator(kind: NodeKind, name: str, options: type[Options]) -> Operator:
    def build(options, context):  # pragma: no cover - a loaded graph isn't run here
        raise NotImplementedError

    return Operator(kind=kind, name=name, options=options, build=build)


@pytest.fixture(autouse=True)
def operators(monkeypatch):
    """The operators of these tests, by section and type."""
    made = {
        (kind, name): _operator(kind, name, options)
        for kind, name, options in (
            (NodeKind.SERVICE, "mqtt_broker", Options),
            (NodeKind.SOURCE, "s7", Source),
            (NodeKind.TRANSFORM, "heartbeat", Beat),
            (NodeKind.SINK, "mqtt", Mqtt),
            (NodeKind.SINK, "s7_mirror", Mirror),
        )
    }

    def connections(options: Source, scope: Scope) -> Iterable[Claim]:
        plcs = options.plcs if isinstance(options.plcs, tuple) else (options.plcs,)
        for index, plc in enumerate(plcs):
            yield Claim(what="PLC connection", key=f"{plc.address}:{plc.port}", path=("plcs", index, "address"))

    def journal(options: Mqtt, scope: Scope) -> Iterable[Claim]:
        yield Claim(what="journal", key=options.journal.path, path=("journal", "path"))

    made[NodeKind.SOURCE, "s7"].claims(connections)
    made[NodeKind.SOURCE, "s7"].predict(lambda *_: Forecast(flow=Flow(frames=10, size=100)))
    made[NodeKind.SINK, "mqtt"].claims(journal)
    monkeypatch.setattr(contract, "_locations", lambda: {key: lambda made=found: made for key, found in made.items()})
    return made


@pytest.fixture
def problems():
    """A function from a graph file's text to its problems as a person reads them, without the file's name."""

    def told(text: str, **environ: str) -> list[str]:
        try:
            found = load_text(text, FILE, environ).warnings
        except ConfigurationError as error:
            found = error.problems
        return [str(problem).removeprefix(f"{FILE}:").strip() for problem in found]

    return told
