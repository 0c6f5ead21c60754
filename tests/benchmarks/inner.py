"""Parts of the path alone, in this process: `decode`, `rx`."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

from reactivex import operators as ops
from snap7.util import get_bool, get_int, get_real

from pipeline.frame import Frame, Kind, Origin
from pipeline.port import Port
from pipeline.s7.address import parse_address
from pipeline.s7.decode import compile_decoder, leaves_of
from tests.benchmarks.loads import PRESS, REALS, Block, Field
from tests.benchmarks.results import Figure, Row, Spread
from tests.benchmarks.stage import Effort

__all__ = ["decode", "rx"]

_CONVERTERS: dict[str, Callable[..., Any]] = {"REAL": get_real, "INT": get_int, "BOOL": get_bool}


def decode(effort: Effort) -> Row:
    """Layouts of 7, 200 and 2,000 fields, against python-snap7's converters."""
    ratios: dict[int, Spread] = {}
    ours: dict[int, Spread] = {}
    for block in (PRESS, REALS[200], REALS[2000]):
        count = len(block.fields)
        rounds = [_decode(block, effort.pick(0.5, 0.05)) for _ in range(effort.times(5))]
        ratios[count] = Spread.of([theirs / mine for mine, theirs in rounds])
        ours[count] = Spread.of([mine for mine, _ in rounds])
    figures = [Figure(f"faster_{count}", ratio, "x", 10, None, True) for count, ratio in ratios.items()]
    figures += [Figure(f"decode_{count}", each, "us") for count, each in ours.items()]
    return Row("decode", figures, effort.times(5))


def _decode(block: Block, seconds: float) -> tuple[float, float]:
    """Microseconds a block: ours, theirs."""
    memory = bytearray(block.content)
    data = bytes(memory)
    leaves = [leaf for each in block.fields for leaf in leaves_of(each.name, parse_address(each.s7))]
    mine = compile_decoder(leaves)
    plan = [(each.name, _CONVERTERS[each.type], _place(each)) for each in block.fields]

    def theirs(memory: bytearray) -> dict[str, Any]:
        return {name: convert(memory, *place) for name, convert, place in plan}

    assert mine(data)[0] == theirs(memory)
    return _time(mine, seconds, data), _time(theirs, seconds, memory)


def _place(field: Field) -> tuple[int, ...]:
    return (field.byte, field.bit) if field.type == "BOOL" else (field.byte,)


def rx(effort: Effort) -> Row:
    """From a source's port to a sink's: directly, and through Rx with some operators."""
    frame = Frame(Kind.DATA, 1.7e9, Origin(measurement="s7_db1", db=1), {"contador_bom": 1})
    rounds = [_paths(frame, effort.pick(0.5, 0.05)) for _ in range(effort.times(5))]
    figures = [
        Figure(what, Spread.of([each[what] for each in rounds]), "us")
        for what in ("rx_none", "rx_transform", "rx_operator")
    ]
    return Row("rx", figures, len(rounds))


def _paths(frame: Frame, seconds: float) -> dict[str, float]:
    def path(operators: int) -> float:
        got: list[Frame] = []
        port, out = (Port(name, lambda *_: None) for name in ("source", "transform"))
        out.connect("sink", got.append)
        if operators < 0:
            port.connect("sink", got.append)
        else:
            port.pipe(*[ops.filter(lambda each: each is not None) for _ in range(operators)]).subscribe(out.push)

        def push() -> None:
            port.push(frame)
            got.clear()

        return _time(push, seconds)

    direct, one, eleven = path(-1), path(1), path(11)
    return {"rx_none": direct, "rx_transform": one - direct, "rx_operator": (eleven - one) / 10}


def _time(function: Callable[..., object], seconds: float, *arguments: object) -> float:
    """Microseconds a call: the best of five, each a fifth of so many seconds."""
    names = [f"argument{number}" for number in range(len(arguments))]
    scope = {"function": function, **dict(zip(names, arguments, strict=True))}
    timer = timeit.Timer(f"function({', '.join(names)})", globals=scope)
    count, took = timer.autorange()
    number = max(1, int(count * seconds / 5 / took))
    return 1e6 * min(timer.repeat(5, number)) / number
