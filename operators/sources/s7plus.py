"""Reads optimised and symbolic blocks of S7-1200/1500 by the names of TIA Portal. Beta: `pip install '.[s7plus]'`.

No layouts, no PUT/GET, no standard access: the CPU says itself what its symbols are and where they lie. A block gives
one frame of all its values; arrays and records become flat names, `maquinas_1_valor`, with the program's own indices.

    sources:
      press:
        type: s7plus
        address: 192.168.0.121
        plc_id: press1
        every: 1s
        tls:                                   # SHA-256 of the CPU's certificate; older CPUs speak without TLS
          fingerprint: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        password: {file: /run/secrets/plc}     # where HMI access asks for one; with username: a user of the CPU
        blocks:
          - {symbol: DB_Press, db: 7}
        tags:
          temperatura: '"DB Forno".zonas[3].temperatura'
          estado: {symbol: DB_Press.estado, enum: {0: parado, 1: rodando}}

Frames, states, types and rules are those of `s7`. Ordering: frames of one PLC come in the order of their answers.
Delivery: a read that fails gives one failure frame per block when it begins to fail or fails otherwise; nothing is read
again for a past tick. A tick that finds the previous read still running, or no connection, is skipped and counted. A
symbol that the program does not have, or that the PLC refuses, is left out and named in `bad`; what was refused is
tried again after 10 s to 5 min; the others keep flowing. Memory: what is read, one answer, with `subscribe` at most
1000 notifications; the types of the whole program (at most 16 MiB) only while symbols are looked up. Disconnects:
connects, logs in and reads the program again, with back-off for ever. One session per PLC. Nothing is ever written to
a PLC.

Without `tls` a password goes only to older CPUs, which secure the session with a key of their own; other CPUs are never
sent it, and refuse what it would have opened. `record` and the flight recorder keep nothing of this source: a session
can't be played again.

The protocol does not tell with a value whether the program has changed since the symbols were looked up. So blocks and
types are looked at every `refresh`, and after a download the symbols are looked up anew; until then a symbol that was
moved may give what stands in its old place. With `subscribe: true` the CPU sends what changes, one small question per
tick proves that it lives, and every `refresh` all is read and compared; a CPU that grants none, or sends nothing, is
polled, and the log says so.

It stands on the package s7commplus, which calls itself beta; it was tested with that package's emulator of a CPU, not
on hardware. TLS secrets are on disk during the handshake, in a file for us alone in the folder for temporary files.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta
from reactivex import Observable

from pipeline.codecs import FrameJson
from pipeline.errors import Finding, Severity
from pipeline.frame import Frame, Kind, Origin
from pipeline.hosts import is_host
from pipeline.identifiers import IDENTIFIER
from pipeline.operator import Claim, Context, Emit, Flow, Forecast, Options, Scope, source
from pipeline.retry import Retry
from pipeline.s7.wanted import EVERY, check_plcs, check_timezone
from pipeline.s7plus.wanted import (
    SymbolBlockOptions,
    SymbolNaming,
    SymbolOptions,
    WantedSymbols,
    check_symbol_blocks,
    check_symbol_tags,
    want_symbol_block,
    want_symbol_tags,
)
from pipeline.units import Duration, Secret, Size

if TYPE_CHECKING:
    from pipeline.diagnosis import Diagnosis, Situation
    from pipeline.s7plus.link import Door

__all__ = ["S7Plus", "S7PlusPlc", "S7PlusTls", "s7plus"]

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{64}")
_VALUES = 20
"""Values of a block whose program nobody has asked yet, for forecasts."""

TenantId = Annotated[str, Meta(description="customer or site; part of the topic", **IDENTIFIER)]
PlcId = Annotated[str, Meta(description="the PLC's name; part of the topic", **IDENTIFIER)]
Port = Annotated[int, Meta(description="TCP port", ge=1, le=65535)]


class S7PlusPlc(Options, kw_only=True):
    """One PLC."""

    plc_id: PlcId = ""
    address: Annotated[str, Meta(description="IP address or host name", min_length=1)]
    port: Port = 102
    tenant_id: Annotated[str, Meta(description="the source's `tenant_id` unless told", **IDENTIFIER)] = ""
    fingerprint: Annotated[str, Meta(description="of its certificate, instead of tls.fingerprint")] = ""
    tags: Annotated[dict[str, str], Meta(description="fixed tags of all its frames")] = msgspec.field(
        default_factory=dict
    )

    @property
    def name(self) -> str:
        """What states and metrics call it."""
        return self.plc_id or self.address


class S7PlusTls(Options, kw_only=True):
    """How the session is encrypted. Whom one speaks with is checked unless `insecure` is set by hand."""

    enabled: Annotated[bool, Meta(description="encrypt the session")] = True
    fingerprint: Annotated[str, Meta(description="SHA-256 of the CPU's certificate, hexadecimal")] = ""
    ca_file: Annotated[str, Meta(description="PEM file of the authority; the address must be in the certificate")] = ""
    cert_file: Annotated[str, Meta(description="PEM file of our certificate, for mutual TLS")] = ""
    key_file: Annotated[str, Meta(description="PEM file of our key; empty: it is in cert_file")] = ""
    insecure: Annotated[bool, Meta(description="trust any certificate: anybody can pretend to be the CPU")] = False


class S7Plus(Options, kw_only=True):
    """Options of `s7plus`. A single PLC may be written without the list `plcs`."""

    plcs: Annotated[list[S7PlusPlc], Meta(description="the PLCs; all are read alike")] = msgspec.field(
        default_factory=list
    )
    plc_id: PlcId = ""
    address: Annotated[str, Meta(description="of a single PLC: IP address or host name")] = ""
    port: Port = 102
    tenant_id: TenantId = ""
    every: Annotated[Duration, EVERY]
    phase: Annotated[Duration, Meta(description="how much later than the common ticks it reads", ge=0)] = Duration(0)
    blocks: Annotated[list[SymbolBlockOptions], Meta(description="what is read as a whole, one frame each")] = (
        msgspec.field(default_factory=list)
    )
    tags: Annotated[
        dict[str, SymbolOptions | str], Meta(description="single symbols by name; they join one frame, `s7_tags`")
    ] = msgspec.field(default_factory=dict)
    subscribe: Annotated[bool, Meta(description="let the CPU send what changes, where it grants that")] = False
    refresh: Annotated[
        Duration, Meta(description="time between two looks whether the program has changed, 1s to 1h", ge=1, le=3600)
    ] = Duration(30)
    tls: Annotated[S7PlusTls | None, Meta(description="encryption; none unless told")] = None
    username: Annotated[str, Meta(description="a user of the CPU; empty where the access level has a password")] = ""
    password: Annotated[Secret, Meta(description="of the user or of the access level")] = Secret()
    connection_type: Annotated[
        Literal["hmi", "es", "pg"], Meta(description="as whom we connect: hmi, es (engineering station) or pg")
    ] = "hmi"
    timezone: Annotated[
        str, Meta(description="where the PLC's clock runs: America/Sao_Paulo; without it dates have no offset")
    ] = ""
    naming: Annotated[SymbolNaming, Meta(description="how flat names are made")] = SymbolNaming()
    timeout: Annotated[
        Duration, Meta(description="for connecting, login included, and for each answer", ge=0.05, le=60)
    ] = Duration(5)
    retry: Annotated[Retry, Meta(description="pauses between attempts to connect")] = Retry()

    def check(self, scope: Scope) -> Iterator[Finding]:
        """Mistakes of PLCs, blocks, symbols and TLS; the package that is missing."""
        del scope
        if find_spec("s7commplus") is None:
            hint = "pip install 'retrofit-pipeline[s7plus]', in a checkout pip install '.[s7plus]'"
            yield Finding(path=("type",), message="the package s7commplus is not installed", hint=hint)
        yield from check_plcs(self)
        if not self.blocks and not self.tags:
            hint = "give `blocks` or `tags` with symbols; `browse --s7plus ADDRESS` lists them"
            yield Finding(path=(), message="there is nothing to read", hint=hint)
        yield from check_symbol_blocks(self.blocks)
        yield from check_symbol_tags(self.tags)
        yield from check_timezone(self.timezone)
        yield from _check_login(self)
        yield from _check_tls(self)

    def each(self) -> list[S7PlusPlc]:
        """The PLCs, however they are written."""
        return self.plcs or [S7PlusPlc(plc_id=self.plc_id, address=self.address, port=self.port)]

    def wanted(self) -> list[WantedSymbols]:
        """The frames of one PLC."""
        separator = self.naming.separator
        found = [want_symbol_block(block, separator, self.every, self.timezone) for block in self.blocks]
        if self.tags:
            found.append(want_symbol_tags(self.tags, separator, self.every, self.timezone))
        return found


@source
def s7plus(options: S7Plus, context: Context) -> dict[str, Observable[Frame]]:
    """One stream of frames for each PLC."""
    return {plc.name: _stream(options, plc, context.part(plc.name)) for plc in options.each()}


def _stream(options: S7Plus, plc: S7PlusPlc, context: Context) -> Observable[Frame]:
    wanted = [(each, _origin(each, plc, options)) for each in options.wanted()]

    async def run(emit: Emit) -> None:
        # Imported here: the package is an extra, and who does not use it shall not pay for it.
        from pipeline.s7plus.poller import SymbolPoller, SymbolTarget  # noqa: PLC0415

        target = SymbolTarget(
            name=plc.name,
            door=_door(options, plc),
            password=options.password,
            retry=options.retry,
            phase=options.phase,
            refresh=options.refresh,
            subscribe=options.subscribe,
        )
        await SymbolPoller(context, target, wanted).run(emit)

    return context.observable(run)


def _door(options: S7Plus, plc: S7PlusPlc) -> Door:
    from pipeline.s7plus.link import Door  # noqa: PLC0415 - the package is an extra

    tls = options.tls or S7PlusTls(enabled=False)
    return Door(
        address=plc.address,
        port=plc.port,
        role=options.connection_type,
        timeout=options.timeout,
        secure=tls.enabled,
        fingerprint=(plc.fingerprint or tls.fingerprint) if tls.enabled else "",
        ca_file=tls.ca_file,
        cert_file=tls.cert_file,
        key_file=tls.key_file,
        username=options.username,
    )


@s7plus.diagnose
async def _diagnose(options: S7Plus, situation: Situation) -> AsyncIterator[Diagnosis]:
    from pipeline.s7plus.diagnosis import diagnose_symbols  # noqa: PLC0415 - the package is an extra

    del situation
    names = dict.fromkeys(str(path[0]) for one in options.wanted() for _, path, _ in one.paths)
    for plc in options.each():
        async for each in diagnose_symbols(plc.name, _door(options, plc), options.password, names):
            yield each


@s7plus.claims
def _claims(options: S7Plus, scope: Scope) -> Iterable[Claim]:  # noqa: ARG001 - the contract's arguments
    for index, plc in enumerate(options.each()):
        path = ("plcs", index, "address") if options.plcs else ("address",)
        if is_host(plc.address):  # else it may hold a password, and claims are shown
            yield Claim(what="PLC session", key=f"{plc.address.lower()}:{plc.port}", path=path)


@s7plus.origins
def _origins(options: S7Plus, scope: Scope) -> Iterable[Origin]:
    del scope
    for plc in options.each():
        yield from (_origin(each, plc, options) for each in options.wanted())


@s7plus.predict
def _predict(options: S7Plus, scope: Scope, inflow: Flow) -> Forecast:  # noqa: ARG001 - the contract's arguments
    """Frames and their size; what a block holds is known only online, so its names are not foretold."""
    plcs = options.each()
    flow = Flow()
    for wanted in options.wanted():
        names = [name or f"membro_{n}" for name, _, _ in wanted.paths for n in range(1 if name else _VALUES)]
        origin = _origin(wanted, plcs[0], options)
        size = len(FrameJson().encode(Frame(Kind.DATA, 1.7e9, origin, dict.fromkeys(names, 12.345678))))
        flow += Flow(frames=len(plcs) / wanted.every, size=size, blocks=len(plcs))
    lines = [("connections", str(len(plcs))), ("bytes a day", str(Size(flow.frames * flow.size * 86400)))]
    if options.blocks:
        lines.append(("size of a block", f"{_VALUES} values assumed; only the CPU knows"))
    return Forecast(flow=flow, lines=tuple(lines))


def _origin(wanted: WantedSymbols, plc: S7PlusPlc, options: S7Plus) -> Origin:
    return Origin(
        measurement=wanted.measurement,
        ip=plc.address,
        db=wanted.db,
        tenant_id=plc.tenant_id or options.tenant_id,
        plc_id=plc.plc_id,
        tags={**plc.tags, **wanted.tags},
        units=wanted.units,
    )


def _check_login(options: S7Plus) -> Iterator[Finding]:
    if options.username and not options.password:
        yield Finding(
            path=("username",),
            message="needs `password` beside it",
            hint="write ${NAME} from the environment, or {file: path}",
        )
    if options.tls is not None and options.tls.enabled:
        return
    if options.username:
        yield Finding(path=("username",), message="users log in over TLS only", hint="set `tls`")
    elif options.password:
        message = "is not sent without TLS, but to older CPUs that secure the session with a key of their own"
        hint = "set `tls: {fingerprint: …}`, or remove the password"
        yield Finding(path=("password",), message=message, hint=hint, severity=Severity.WARNING)


def _check_tls(options: S7Plus) -> Iterator[Finding]:
    tls = options.tls
    pins = [(("plcs", index, "fingerprint"), plc.fingerprint) for index, plc in enumerate(options.plcs)]
    if tls is not None:
        pins.append((("tls", "fingerprint"), tls.fingerprint))  # type: ignore[arg-type]  # a path of another length
    for path, pin in pins:
        if pin and not _FINGERPRINT.fullmatch(re.sub(r"[\s:-]", "", pin)):
            message = "this is no SHA-256: 64 hexadecimal digits"
            yield Finding(path=path, message=message, hint="openssl x509 -noout -fingerprint -sha256")
    if tls is None or not tls.enabled:
        return
    if tls.key_file and not tls.cert_file:
        yield Finding(
            path=("tls", "key_file"), message="needs cert_file beside it", hint="name the certificate of this key"
        )
    if tls.insecure:
        hint = "give the certificate's fingerprint, which the page shows once connected"
        message = "the CPU's certificate is not checked"
        yield Finding(path=("tls", "insecure"), message=message, hint=hint, severity=Severity.WARNING)
    elif not tls.ca_file and not all(plc.fingerprint or tls.fingerprint for plc in options.each()):
        hint = (
            "give `fingerprint` or `ca_file`; `insecure: true` trusts anybody, and shows the fingerprint to write here"
        )
        yield Finding(path=("tls",), message="nothing says which certificate is the CPU's", hint=hint)
