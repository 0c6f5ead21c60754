"""The contract between the engine and the operators: typed options, a context, four decorators, discovery.

An operator is one function from its options and a `Context` to a piece of Rx (`operators/README.md` teaches it):

- a **source** returns an Observable of frames, or a dict of them by part name (one actor each);
- a **transform** returns a function from Observable to Observable;
- a **sink** returns an async function that takes its frames from a `Mailbox` until that is closed;
- a **service** returns an async function that calls `started()` when it can be connected to and runs until cancelled.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, dataclass_transform, get_type_hints

import msgspec
from reactivex import Observable, abc, create
from reactivex.disposable import Disposable

from pipeline.errors import Finding, ReadError, UsageError
from pipeline.frame import Extent, Frame, Origin
from pipeline.numbering import Numbering
from pipeline.straight import Straight

if TYPE_CHECKING:
    import structlog
    from reactivex.scheduler.eventloop import AsyncIOScheduler

    from pipeline.actor import Actor, Mailbox
    from pipeline.checkpoint import Keeper
    from pipeline.clock import Clock
    from pipeline.config.layouts import Layout
    from pipeline.delivery.letters import Letters
    from pipeline.diagnosis import Diagnosis, Situation
    from pipeline.metrics import Metrics
    from pipeline.recording.tape import Tape
    from pipeline.testing.stage import Stage

__all__ = [
    "Channel",
    "Claim",
    "Context",
    "Copy",
    "Emit",
    "Flow",
    "Forecast",
    "NodeKind",
    "Operator",
    "Options",
    "Overflow",
    "RunService",
    "RunSink",
    "Scope",
    "Transform",
    "Witness",
    "find",
    "names",
    "service",
    "sink",
    "source",
    "transform",
]


class _KeywordOnly(msgspec.StructMeta):
    """Makes every options class keyword-only: msgspec hands `frozen` on to subclasses, but not `kw_only`."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        return super().__new__(cls, name, bases, namespace, **{"kw_only": True, **config})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Options(msgspec.Struct, metaclass=_KeywordOnly, frozen=True, forbid_unknown_fields=True):
    """Base of all options. Each field is `Annotated[type, Meta(description=…, bounds)]`; no default for an address."""

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """Mistakes that no single option shows. Offline: nothing is opened or connected."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What options may be judged against, offline.

    Attributes:
        graph: the graph's name.
        node: the node's name.
        layouts: the graph's layouts by name.
        folder: the folder of the graph file.
    """

    graph: str
    node: str
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    folder: Path = Path()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that only one actor may have: a journal's folder, a PLC's connection, a range that is written.

    Attributes:
        what: the kind of thing: "journal", "PLC connection", "TCP port".
        key: equal keys of one kind collide.
        path: the option that names it.
    """

    what: str
    key: str
    path: tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A place outside of the graph where messages pass. `str()` writes it as topics are written.

    Attributes:
        server: whose; equal texts are one server.
        levels: its name, level by level; `+` stands for any one level, `#` at the end for any that follow.
        path: the option that names it.
    """

    server: str
    levels: tuple[str, ...]
    path: tuple[str | int, ...]

    def __str__(self) -> str:
        return "/".join(self.levels)

    def meets(self, other: Channel) -> bool:
        """Whether a message may pass both."""
        if self.server != other.server:
            return False
        for mine, theirs in zip(self.levels, other.levels, strict=False):
            if "#" in {mine, theirs}:
                return True
            if mine != theirs and "+" not in {mine, theirs}:
                return False
        longer = max(self.levels, other.levels, key=len)
        shorter = min(len(self.levels), len(other.levels))
        return len(longer) == shorter or longer[shorter] == "#"


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Bytes of one device that a sink writes into another.

    Attributes:
        source: what is read.
        target: where it is written.
        path: the option that says so.
    """

    source: Extent
    target: Extent
    path: tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What passes a node, as `check` predicts it.

    Attributes:
        frames: frames a second.
        size: bytes of an average encoded frame.
        blocks: blocks that the frames come from.
        names: the names that their values have; empty where nobody knows.
        partial: whether a frame may leave out values that stay as they were told before.
    """

    frames: float = 0.0
    size: float = 0.0
    blocks: int = 0
    names: frozenset[str] = frozenset()
    partial: bool = False

    def __add__(self, other: Flow) -> Flow:
        """Two flows joined: rates and blocks add up, sizes average by rate."""
        frames = self.frames + other.frames
        size = (self.frames * self.size + other.frames * other.size) / frames if frames else 0.0
        return Flow(
            frames=frames,
            size=size,
            blocks=self.blocks + other.blocks,
            names=self.names | other.names,
            partial=self.partial or other.partial,
        )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What `check` predicts of a node.

    Attributes:
        flow: what leaves the node (of a sink: what it sends).
        lines: name and value, as shown to the user: ("cycle time at 5 ms round trip", "6.2 ms").
        warnings: what the user should know before the first run.
    """

    flow: Flow
    lines: tuple[tuple[str, str], ...] = ()
    warnings: tuple[Finding, ...] = ()


class NodeKind(StrEnum):
    """The four sections of a graph file; the value is the section's name and the folder's."""

    SERVICE = "services"
    SOURCE = "sources"
    TRANSFORM = "transforms"
    SINK = "sinks"


class Overflow(StrEnum):
    """What a full mailbox gives up. Every drop is counted with its reason."""

    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"


Transform = Callable[[Observable[Frame]], Observable[Frame]]
RunSink = Callable[["Mailbox"], Awaitable[None]]
RunService = Callable[[Callable[[], None]], Awaitable[None]]
Emit = Callable[[Frame], None]
OptionsT = TypeVar("OptionsT", bound=Options)
AnswerT = TypeVar("AnswerT")
Build = Callable[[Any, "Context"], Any]
Told = Callable[[OptionsT, Scope], AnswerT]
"""What a node tells of itself offline."""


class Witness(Protocol):
    """Told what the device of a source's actor says, as on the wire, so that it can be recorded and played again.

    `wall` is the wall clock of the moment, in seconds.
    """

    def opened(self, wall: float, asked: bytes, answer: bytes) -> None:
        """A connection was granted: the last request of its handshake, and the answer to it."""

    def answered(self, wall: float, asked: bytes | bytearray, answer: bytes) -> None:
        """A request was answered. Its number may be written into `asked` again later; nothing else of it changes."""

    def lost(self, wall: float, error: ReadError) -> None:
        """The connection is gone, or can't be had."""


@dataclass
class Operator(Generic[OptionsT]):
    """A registered operator: its factory and what it says of itself.

    Attributes:
        kind: which section of the graph file it belongs to.
        name: the file's name, which is its `type:`.
        options: the class of its options.
        build: the factory.
        capacity: frames that a sink's mailbox holds.
        overflow: what that mailbox gives up when full.
    """

    kind: NodeKind
    name: str
    options: type[Options]
    build: Build
    capacity: int = 10_000
    overflow: Overflow = Overflow.DROP_NEWEST
    _predict: Callable[[Any, Scope, Flow], Forecast] | None = None
    _claims: Callable[[Any, Scope], Iterable[Claim]] | None = None
    _reads: Callable[[Any, Scope], Iterable[Extent]] | None = None
    _writes: Callable[[Any, Scope, Sequence[Extent]], Iterable[Copy | Finding]] | None = None
    _plays: Callable[[Any, Tape], Callable[[], asyncio.BaseProtocol]] | None = None
    _hears: Callable[[Any, Scope], Iterable[Channel]] | None = None
    _says: Callable[[Any, Scope], Iterable[Channel]] | None = None
    _origins: Callable[[Any, Scope], Iterable[Origin]] | None = None
    _judges: Callable[[Any, Scope, Sequence[Origin]], Iterable[Finding]] | None = None
    _stages: Callable[[Any, Scope], Iterable[Stage]] | None = None
    _diagnose: Callable[[Any, Situation], AsyncIterator[Diagnosis]] | None = None

    @property
    def doc(self) -> str:
        """The module's docstring: what it does, ordering, guarantee, memory, disconnects."""
        return inspect.getdoc(importlib.import_module(self.build.__module__)) or ""

    def predict(
        self, function: Callable[[OptionsT, Scope, Flow], Forecast]
    ) -> Callable[[OptionsT, Scope, Flow], Forecast]:
        """Decorate the function that foretells, from options, scope and what flows in, what `check` shows."""
        self._predict = function
        return function

    def claims(self, function: Told[OptionsT, Iterable[Claim]]) -> Told[OptionsT, Iterable[Claim]]:
        """Decorate the function that lists what only one actor may have."""
        self._claims = function
        return function

    def reads(self, function: Told[OptionsT, Iterable[Extent]]) -> Told[OptionsT, Iterable[Extent]]:
        """Decorate a source's function that lists which bytes its frames carry as `raw`."""
        self._reads = function
        return function

    def writes(
        self, function: Callable[[OptionsT, Scope, Sequence[Extent]], Iterable[Copy | Finding]]
    ) -> Callable[[OptionsT, Scope, Sequence[Extent]], Iterable[Copy | Finding]]:
        """Decorate a sink's function that lists, from what its sources read, what it writes, or why it must not."""
        self._writes = function
        return function

    def hears(self, function: Told[OptionsT, Iterable[Channel]]) -> Told[OptionsT, Iterable[Channel]]:
        """Decorate a source's function that lists where its messages come from."""
        self._hears = function
        return function

    def says(self, function: Told[OptionsT, Iterable[Channel]]) -> Told[OptionsT, Iterable[Channel]]:
        """Decorate a sink's function that lists where it publishes."""
        self._says = function
        return function

    def plays(
        self, function: Callable[[OptionsT, Tape], Callable[[], asyncio.BaseProtocol]]
    ) -> Callable[[OptionsT, Tape], Callable[[], asyncio.BaseProtocol]]:
        """Decorate a source's function that gives, from a recording, the device's end of each connection."""
        self._plays = function
        return function

    def origins(self, function: Told[OptionsT, Iterable[Origin]]) -> Told[OptionsT, Iterable[Origin]]:
        """Decorate a source's function that lists the origins of its frames, as far as they are known offline."""
        self._origins = function
        return function

    def judges(
        self, function: Callable[[OptionsT, Scope, Sequence[Origin]], Iterable[Finding]]
    ) -> Callable[[OptionsT, Scope, Sequence[Origin]], Iterable[Finding]]:
        """Decorate a sink's function that finds what is wrong with its frames' origins; transforms may add tags."""
        self._judges = function
        return function

    def stages(self, function: Told[OptionsT, Iterable[Stage]]) -> Told[OptionsT, Iterable[Stage]]:
        """Decorate the function that gives what the node speaks with in users' tests (`pipeline/testing/`)."""
        self._stages = function
        return function

    def diagnose(
        self, function: Callable[[OptionsT, Situation], AsyncIterator[Diagnosis]]
    ) -> Callable[[OptionsT, Situation], AsyncIterator[Diagnosis]]:
        """Decorate the async generator that `doctor` asks what is right and wrong with what the node speaks with."""
        self._diagnose = function
        return function

    @property
    def is_staged(self) -> bool:
        """Whether what it speaks with can be played in a test."""
        return self._stages is not None

    @property
    def is_playable(self) -> bool:
        """Whether its devices can be recorded and played again."""
        return self._plays is not None

    @property
    def is_copying(self) -> bool:
        """Whether it writes into devices."""
        return self._writes is not None

    def player(self, options: Options, tape: Tape) -> Callable[[], asyncio.BaseProtocol]:
        """What plays the device of one actor; `is_playable` says whether there is such a thing."""
        if self._plays is None:
            raise RuntimeError(f"{self.name} has no player")
        return self._plays(options, tape)

    def forecast(self, options: Options, scope: Scope, inflow: Flow) -> Forecast:
        """The operator's prediction; without one, what flows in flows out."""
        return self._predict(options, scope, inflow) if self._predict else Forecast(flow=inflow)

    def claimed(self, options: Options, scope: Scope) -> tuple[Claim, ...]:
        """The operator's claims; without a function, none."""
        return tuple(self._claims(options, scope)) if self._claims else ()

    def extents(self, options: Options, scope: Scope) -> tuple[Extent, ...]:
        """What the operator reads; without a function, nothing that anybody could copy."""
        return tuple(self._reads(options, scope)) if self._reads else ()

    def known_origins(self, options: Options, scope: Scope) -> tuple[Origin, ...]:
        """Where the operator's frames come from; without a function, nobody knows."""
        return tuple(self._origins(options, scope)) if self._origins else ()

    def judged(self, options: Options, scope: Scope, incoming: Sequence[Origin]) -> tuple[Finding, ...]:
        """What the operator finds wrong with the origins of its frames; without a function, nothing."""
        return tuple(self._judges(options, scope, incoming)) if self._judges else ()

    def staged(self, options: Options, scope: Scope) -> tuple[Stage, ...]:
        """What it speaks with, played; without a function, nothing."""
        return tuple(self._stages(options, scope)) if self._stages else ()

    def diagnosed(self, options: Options, situation: Situation) -> AsyncIterator[Diagnosis] | None:
        """What `doctor` finds at it; None where it speaks with nobody."""
        return self._diagnose(options, situation) if self._diagnose else None

    def heard(self, options: Options, scope: Scope) -> tuple[Channel, ...]:
        """Where its messages come from; without a function, from nowhere that anybody publishes to."""
        return tuple(self._hears(options, scope)) if self._hears else ()

    def said(self, options: Options, scope: Scope) -> tuple[Channel, ...]:
        """Where it publishes; without a function, nowhere that anybody subscribes to."""
        return tuple(self._says(options, scope)) if self._says else ()

    def copies(self, options: Options, scope: Scope, incoming: Sequence[Extent]) -> tuple[Copy | Finding, ...]:
        """What the operator writes of `incoming`; without a function, nothing."""
        return tuple(self._writes(options, scope, incoming)) if self._writes else ()


def source(build: Callable[[OptionsT, Context], Any]) -> Operator[OptionsT]:
    """Register a source: a function to an Observable of frames, or to a dict of them by part."""
    return _register(NodeKind.SOURCE, build)


def transform(build: Callable[[OptionsT, Context], Transform]) -> Operator[OptionsT]:
    """Register a transform: a function to a function from Observable to Observable, as RxPY's operators are."""
    return _register(NodeKind.TRANSFORM, build)


def sink(
    *, capacity: int = 10_000, overflow: Overflow = Overflow.DROP_NEWEST
) -> Callable[[Callable[[OptionsT, Context], RunSink]], Operator[OptionsT]]:
    """Register a sink: a function to an async function that empties its mailbox until it is closed.

    Args:
        capacity: frames that its mailbox holds.
        overflow: which frame a full mailbox gives up.
    """

    def register(build: Callable[[OptionsT, Context], RunSink]) -> Operator[OptionsT]:
        operator = _register(NodeKind.SINK, build)
        operator.capacity = capacity
        operator.overflow = overflow
        return operator

    return register


def service(build: Callable[[OptionsT, Context], RunService]) -> Operator[OptionsT]:
    """Register a service: a function to an async function that says when it can be connected to."""
    return _register(NodeKind.SERVICE, build)


def _register(kind: NodeKind, build: Callable[[OptionsT, Context], Any]) -> Operator[OptionsT]:
    name = build.__module__.rpartition(".")[2]
    options = next(iter(get_type_hints(build).values()), None)
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise TypeError(f"operator '{name}': annotate the first parameter of {build.__name__}() with its `Options`")
    return Operator(kind=kind, name=name, options=options, build=build)


@cache
def _shipped() -> Mapping[tuple[NodeKind, str], Callable[[], Operator[Any]]]:
    """Where each operator of this project is, without importing any: the files of `operators/`."""
    found: dict[tuple[NodeKind, str], Callable[[], Operator[Any]]] = {}
    for kind in NodeKind:
        package = importlib.import_module(f"operators.{kind}")
        for module in pkgutil.iter_modules(package.__path__):
            found[kind, module.name] = lambda path=f"operators.{kind}.{module.name}", name=module.name: getattr(  # type: ignore[misc]
                importlib.import_module(path), name
            )
    return found


@cache
def _locations() -> Mapping[tuple[NodeKind, str], Callable[[], Operator[Any]]]:
    """Where each operator is: those of this project, then entry points `<kind>.<type>`."""
    found = dict(_shipped())
    for entry in entry_points(group="pipeline.operators"):
        section, _, name = entry.name.partition(".")
        if section not in set(NodeKind):
            raise UsageError(
                f"a package has the entry point '{entry.name}', which names no section; "
                "write it as sinks.name, or with services, sources, transforms"
            )
        found.setdefault((NodeKind(section), name), entry.load)
    return found


def names(kind: NodeKind, *, shipped: bool = False) -> list[str]:
    """The types that a section of a graph file may use, sorted; of this project alone where only those are meant."""
    return sorted(name for found, name in (_shipped() if shipped else _locations()) if found is kind)


def find(kind: NodeKind, name: str) -> Operator[Any]:
    """The operator of this kind and type; imports its module.

    Raises:
        KeyError: there is none.
        UsageError: its module, or what that needs, is not there.
    """
    load = _locations()[kind, name]
    try:
        return load()
    except (ImportError, AttributeError) as error:
        word = kind.value.removesuffix("s")
        raise UsageError(f"the {word} '{name}' can't be loaded: {error}; install what its package needs") from error


@dataclass(kw_only=True)
class Context:
    """What the engine gives an operator's factory; a source makes one for each of its parts by `part`.

    Attributes:
        graph: the graph's name.
        node: the node's name.
        boot: the ULID of this process start.
        clock: the one clock.
        scheduler: for Rx operators that need one.
        layouts: the graph's layouts by name.
        folder: the folder of the graph file.
        metrics: where plain-integer counters are made.
        log: a structlog logger bound to node (and part).
        actor: the running part: its state, its counters.
        parts: the contexts made by `part`, by name.
        pause: a sink calls it with True to stop the sources in front of it, with False to let them go on.
        stop: ends the graph in order, as SIGTERM does, when there is nobody left to work for.
        tasks: the running tasks of `observable`.
        kept: what the node of this name remembers while its process lives, though the graph is loaded anew.
        numbering: the `seq` of the sinks.
        witness: told what a source's device says; None where nobody records.
        details: set it to a function that gives what page and API show beside state and counters (JSON-able).
        checkpoint: a source calls it right after it has given frames; what it gets says, now or later, whether they are
            processed (`pipeline/checkpoint.py`).
        keeper: a sink that keeps what it takes sets it, so that checkpoints wait until that is safe.
        letters: a sink sets it to what its receiver has refused for good, for the page.
    """

    graph: str
    node: str
    boot: str
    clock: Clock
    scheduler: AsyncIOScheduler
    layouts: Mapping[str, Layout]
    folder: Path
    metrics: Metrics
    log: structlog.typing.FilteringBoundLogger
    actor: Actor
    parts: dict[str, Context] = field(default_factory=dict)
    make_part: Callable[[Context, str], Context] | None = None
    is_paused: Callable[[], bool] = bool
    pause: Callable[[bool], object] = bool
    stop: Callable[[], object] = bool
    details: Callable[[], Mapping[str, object]] | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    kept: dict[str, Any] = field(default_factory=dict)
    numbering: Numbering = field(default_factory=Numbering)
    witness: Witness | None = None
    checkpoint: Callable[[], Callable[[], bool]] = lambda: lambda: True
    keeper: Keeper | None = None
    letters: Letters | None = None

    def part(self, name: str) -> Context:
        """The context of one part of a source (one PLC), with an actor of its own named `<node>/<name>`."""
        if name not in self.parts:
            if self.make_part is None:
                raise RuntimeError("only a source's context has parts")
            self.parts[name] = self.make_part(self, name)
        return self.parts[name]

    @property
    def paused(self) -> bool:
        """True while sinks ask for no more frames (`when_full: pause`).

        Of a source: a sink behind it asks; it skips ticks and counts them. Of a transform: all its sources pause.
        """
        return self.is_paused()

    def observable(self, run: Callable[[Emit], Awaitable[None]]) -> Observable[Frame]:
        """An Observable that runs `run(emit)` as one task while subscribed.

        It completes when `run` returns, fails when `run` raises, and cancels it when disposed; what `run` emits until
        it is cancelled, in the same loop turn, still goes through.
        """

        def subscribe(observer: abc.ObserverBase[Frame], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            async def body() -> None:
                try:
                    await run(observer.on_next)
                except Exception as error:  # noqa: BLE001 - handed to the supervisor, which counts and logs it
                    observer.on_error(error)
                else:
                    observer.on_completed()

            task = self.clock.loop.create_task(body(), name=self.actor.name)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

            def cancel() -> None:
                task.cancel()

            return Disposable(cancel)

        return Straight(subscribe)

    def ticks(self, every: float, phase: float = 0.0) -> Observable[int]:
        """Ticks that don't drift, numbered from 0, in one loop turn with all others of that period."""

        def subscribe(observer: abc.ObserverBase[int], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            count = -1

            def tick(missed: int) -> None:
                nonlocal count
                count += missed + 1
                observer.on_next(count)

            return Disposable(self.clock.tick(every, tick, phase))

        return create(subscribe)

    async def blocking(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run blocking work (files, LMDB) on an executor thread, and wait for it without blocking the loop."""
        return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
