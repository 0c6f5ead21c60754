"""One frame's symbols on one program: what is asked, what the answers' bytes mean, what has no value and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from pipeline.errors import Refused
from pipeline.frame import Scalar
from pipeline.identifiers import RESERVED
from pipeline.s7.decode import Decoder, Leaf, compile_decoder
from pipeline.s7plus.link import Address
from pipeline.s7plus.program import Program, Symbol
from pipeline.s7plus.symbols import Path, flat_name
from pipeline.s7plus.wanted import SymbolOptions, WantedSymbols, treatment_mistake

__all__ = ["Answer", "Scan", "Value"]

_FIRST_RETRY, _LAST_RETRY = 10.0, 300.0
NO_SYMBOL = "no such symbol"

Answer = tuple[dict[str, Scalar], dict[str, str] | None]
"""Values, and by name why one is absent."""


@dataclass(frozen=True)
class Value:
    """A value.

    Attributes:
        leaf: name, type and treatment; its place is counted when it is asked, among what else is asked.
        symbol: where it comes from.
    """

    leaf: Leaf
    symbol: Symbol


class Scan:
    """What makes one frame, for as long as a program lasts.

    Attributes:
        values: all that can be asked.
        missing: reason by name of what the program does not give.
        explained: more about that, by name, for the log.
        left_out: reason by symbol of what it gives but has no name or no value here, for the log.
        bad: reason by name of what is missing or was refused.
        parts: what is asked now, in order.
        failure: why nothing of it can be read, else "".
        asked: the values of these parts.
        retry_at: monotonic time of the next trial of what was refused.
    """

    def __init__(self, wanted: WantedSymbols, program: Program) -> None:
        self.values: list[Value] = []
        self.missing: dict[str, str] = {}
        self.explained: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.parts: tuple[Address, ...] = ()
        self.failure = ""
        self._wanted = {name: options.symbol for name, _, options in wanted.paths}
        self._names: set[str] = set()
        self._attempts = 0
        self.retry_at = 0.0
        for name, path, options in wanted.paths:
            try:
                found = program.find(path)
            except KeyError as error:
                self.missing[name or options.symbol] = NO_SYMBOL
                self.explained[name or options.symbol] = error.args[0]
            else:
                for symbol in found:
                    self._add(wanted, name, symbol, symbol.path[len(path) :], options)
        self._refused: dict[str, str] = {}
        self._settle()

    @property
    def bad(self) -> Mapping[str, str]:
        """Reason by name of what has no value."""
        return {**self.missing, **self._refused}

    @property
    def is_partial(self) -> bool:
        """Whether the PLC refuses some of it."""
        return bool(self._refused)

    @property
    def size(self) -> int:
        """How many values there would be."""
        return len(self.values) + len(self.missing)

    def symbol(self, name: str) -> str:
        """Where a value comes from, for people."""
        found = (str(value.symbol) for value in self.values if value.leaf.name == name)
        return next(found, self._wanted.get(name, name))

    def _add(self, wanted: WantedSymbols, prefix: str, symbol: Symbol, rest: Path, options: SymbolOptions) -> None:
        tail = flat_name(rest, wanted.separator)
        name = wanted.separator.join(part for part in (prefix, tail) if part) or flat_name(
            _last(symbol.path), wanted.separator
        )
        if symbol.type is None:
            self._leave_out(name, prefix, str(symbol), f"{symbol.type_name} has no value")
            return
        if mistake := treatment_mistake(options, symbol.type):
            self._leave_out(name, prefix or name, str(symbol), mistake)
            return
        if name in RESERVED or name in self._names:
            why = "is reserved" if name in RESERVED else "is also the name of another symbol"
            self.left_out[str(symbol)] = f"'{name}' {why}; give it as a tag with a name of its own"
            return
        leaf = Leaf(
            name,
            symbol.type,
            byte=0,
            bit=0,
            size=sum(symbol.sizes),
            length=symbol.length,
            unit=options.unit,
            scale=options.scale,
            offset=options.offset,
            text=bool(options.as_),
            enum=tuple(options.enum.items()),
            timezone=wanted.timezone if symbol.type.takes == "timezone" else "",
        )
        self._names.add(name)
        self.values.append(Value(leaf, symbol))

    def _leave_out(self, name: str, prefix: str, symbol: str, why: str) -> None:
        """A tag that can't be given is bad; a block just has no value of it."""
        if prefix:
            self.missing[name] = why
        else:
            self.left_out[symbol] = why

    # what was refused

    def heal(self, now: float) -> bool:
        """Ask for everything again when the pause is over; True when that changes what is asked."""
        if not self._refused or now < self.retry_at:
            return False
        self._refused = {}
        self._settle()
        return True

    def recovered(self) -> None:
        """All that was asked came."""
        if not self._refused:
            self._attempts = 0

    def _refuse(self, refused: Mapping[str, str], now: float) -> None:
        pause = min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(self._attempts, 16))
        self._attempts += 1
        self.retry_at = now + pause
        self._refused = {**self._refused, **refused}
        self._settle()

    def _settle(self) -> None:
        self.asked = [value for value in self.values if value.leaf.name not in self._refused]
        self.parts = tuple(chain.from_iterable(value.symbol.parts for value in self.asked))
        self._sizes = list(chain.from_iterable(value.symbol.sizes for value in self.asked))
        packed: list[Leaf] = []
        offset = 0
        for value in self.asked:
            packed.append(replace(value.leaf, byte=offset))
            offset += value.leaf.size
        self._decode: Decoder = compile_decoder(packed)
        self.failure = "" if self.asked else next(iter(self.bad.values()), "nothing to read")

    # answers

    def take(self, parts: Sequence[bytes | int], now: float, refusals: Mapping[int, Refused]) -> Answer:
        """Values of what was asked; what the PLC refused is left out until its next trial.

        Args:
            parts: bytes or error code of each part.
            now: monotonic time.
            refusals: what the error codes among the parts mean.
        """
        plain = [part for part in parts if isinstance(part, bytes)]
        if len(plain) != len(parts) or list(map(len, plain)) != self._sizes:
            plain = self._mend(parts, now, refusals)
        values, wrong = self._decode(b"".join(plain))
        bad = self.bad
        return values, {**(wrong or {}), **bad} if bad else wrong

    def _mend(self, parts: Sequence[bytes | int], now: float, refusals: Mapping[int, Refused]) -> list[bytes]:
        """The bytes of what is good; texts may come without the characters that they don't use."""
        good: list[bytes] = []
        refused: dict[str, str] = {}
        at = 0
        for value in self.asked:
            mine = parts[at : at + len(value.symbol.parts)]
            at += len(mine)
            code = next((part for part in mine if isinstance(part, int)), None)
            found = [part for part in mine if isinstance(part, bytes)]
            if code is not None:
                refused[value.leaf.name] = refusals[code].reason
                self.explained[value.leaf.name] = str(refusals[code])
            elif value.leaf.type.width and value.leaf.type.size <= len(found[0]) <= value.leaf.size:
                good.append(found[0].ljust(value.leaf.size, b"\0"))
            elif tuple(map(len, found)) == value.symbol.sizes:
                good.extend(found)
            else:
                sizes = sum(map(len, found))
                refused[value.leaf.name] = f"{sizes} bytes are no {value.leaf.type.name}"
        if refused:
            self._refuse(refused, now)
        return good


def _last(path: Path) -> Path:
    """The last name of a path, with its indices."""
    at = max(number for number, step in enumerate(path) if isinstance(step, str))
    return path[at:]
