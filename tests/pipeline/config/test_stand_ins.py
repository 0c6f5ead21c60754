"""No mistake of a graph file hides another, and none is told that only follows from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.document import Listing, Record, Scalar, parse
from pipeline.config.loader import load_text
from pipeline.errors import ConfigurationError
from tests.parts.engine import PLANT

CONFIGS = Path(__file__).parents[3] / "configs"
ALL = """\
name: linha/7
http: {listen: "0.0.0.0", tokn: abc}
layouts:
  forno:
    size: 10
    fields:
      zona1: REAL @ 0
      zona2: {type: REAL, at: 2, unit: °C}
      ligado: BOOL @ 8.9
      modo: {type: motor, at: 8, unti: x}
sources:
  forno:
    type: s7
    address: 10.0.0.5
    every: 1
    port: 99999
    blocks:
      - {db: 5, layout: fornoo}
      - {db: 0, layout: forno}
    tags: {x: "DB5.DBX4:REAL"}
  outro:
    type: s7
    plcs: [{plc_id: p1, address: 10.0.0.7, slot: 77}, {plc_id: p1, address: 10.0.0.8}]
    every: 1s
    blocks: [{db: 5, layout: forno}]
transforms:
  a: {type: deadband, from: [fornos, b], width: -1}
  b: {type: heartbeat, from: a, every: 30}
sinks:
  broker: {type: mqtt, from: outro, host: b, topic: "plc/{tenant}/x", qos: 3, password: "${PASS:-}x"}
  dois: {type: mqtt, from: a, host: h, port: 0, journal: {path: data/x, max_size: 1XB}}
  tres: {type: mqtt, from: forno, host: h, journal: {path: data/x, max_age: 3x}}
  site: {type: http, from: nada, url: "ftp://x", retry: {initial: 0s}}
  vazio:
"""
TOLD = """\
1 name
2 http.listen
2 http.tokn
8 layouts.forno.fields.zona2
9 layouts.forno.fields.ligado
10 layouts.forno.fields.modo.type
10 layouts.forno.fields.modo.unti
15 every
16 port
18 blocks[0].layout
19 blocks[1].db
20 tags.x
23 plcs[0].slot
23 plcs[1].plc_id
27 from
27 from
27 width
28 every
30 topic
30 qos
30 password
30 password
31 port
31 journal.max_size
32 journal.path
32 journal.max_age
33 from
33 url
33 retry.initial
34 """


@pytest.fixture
def operators():
    """The installed operators."""


def problems(text, environ=PLANT):
    """All that is told of a text."""
    try:
        return list(load_text(text, Path("x.yaml"), environ).warnings)
    except ConfigurationError as error:
        return error.problems


def test_one_round_tells_the_mistakes_of_all_kinds():
    """Top, layouts, options, their checks, wiring, claims, topics: each line has its own, in one list."""
    assert [f"{each.line} {each.option}" for each in problems(ALL, {})] == TOLD.split("\n")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("usrname: u, password: '${P}'", ["usrname"]),
        ("username: [u], password: '${P}'", ["username"]),
        ("colour: red, password: '${P}'", ["colour"]),
        ("port: x, password: '${P}'", ["port", "password"]),
        ("journal: {path: [d]}", ["journal.path"]),
    ],
)
def test_what_depends_on_a_wrong_value_is_not_told(wrong, told):
    """A password needs a user name: whether one is there is unknown while its option is wrong."""
    text = f"sources: {{p: {{type: s7, address: a, every: 1s, tags: {{a: M0.0}}}}}}\nsinks: {{b: {{type: mqtt, \
from: p, host: h, {wrong}}}}}\n"
    assert [each.option for each in problems(text, {"P": "secret"})] == told


def _scalars(value):
    """All single values of a document."""
    if isinstance(value, Record):
        for entry in value.entries.values():
            yield from _scalars(entry.value)
    elif isinstance(value, Listing):
        for item in value.items:
            yield from _scalars(item)
    else:
        yield value


def _keys(value):
    """All keys of a document, as single values."""
    if isinstance(value, Record):
        for key, entry in value.entries.items():
            yield Scalar(key, entry.line, entry.column)
            yield from _keys(entry.value)
    elif isinstance(value, Listing):
        for item in value.items:
            yield from _keys(item)


@pytest.mark.parametrize("name", ["line1", "mirror", "cpu", "demo"])
@pytest.mark.parametrize(("places", "wrong"), [(_scalars, "[[[]]]"), (_keys, "misspelt{}"), (_keys, "{}s")])
def test_one_mistake_is_told_where_it_is_and_nowhere_else(name, places, wrong):
    """Each value and each key of a good file in turn: nothing else is wrong with the file, so nothing else is told."""
    text = CONFIGS.joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    changed = 0
    for place in places(parse(text).root):
        line, at = lines[place.line - 1], place.column - 1
        before = place.text if place.plain else f'"{place.text}"'
        if not line.startswith(before, at):
            continue
        mistaken = f"{line[:at]}{wrong.format(place.text)}{line[at + len(before) :]}"
        found = problems("".join([*lines[: place.line - 1], mistaken, *lines[place.line :]]))
        if not any((each.line, each.column) == (place.line, place.column) for each in found):
            continue  # still a good name, or one that others miss
        changed += 1
        others = [each for each in found if (each.line, each.column) != (place.line, place.column)]
        assert not [each for each in others if "is required and missing" not in each.message], mistaken
    assert changed > 10
