"""Layouts: places, flat names, and every mistake by its name."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.layouts import FieldOptions, LayoutOptions, Naming, build_layouts
from pipeline.identifiers import RESERVED
from pipeline.s7.decode import Leaf, compile_decoder
from pipeline.s7.encode import write
from pipeline.s7.types import TYPES
from tests.parts.s7_values import values


def build(document):
    """Layouts as a graph file declares them: `{name: {field: "INT @ 10" or a mapping}}`, `size` beside the fields."""
    options = {}
    for name, declared in document.items():
        fields = {key: value for key, value in declared.items() if key != "size"}
        options[name] = msgspec.convert({"size": declared.get("size"), "fields": fields}, LayoutOptions)
    return build_layouts(options)


def leaves(document, name, naming=None):
    """The leaves of a layout that must be right."""
    layouts, findings = build(document)
    assert findings == []
    return layouts[name].leaves(naming or Naming())


DB500 = {
    "sensor": {"size": 6, "valor": "REAL @ 0", "flags": "BYTE @ 4"},
    "maquina": {
        "size": 66,
        "contador_bom_flag": "BOOL @ 0.0",
        "contador_ruim_flag": "BOOL @ 0.1",
        "status_maquina": "BOOL @ 0.2",
        "sensores": "sensor[5] @ 2",
        "contador_bom": "INT @ 62",
        "contador_ruim": "INT @ 64",
    },
    "db500": {"maquinas": "maquina[5] @ 0"},
}


def test_five_machines_of_sixty_six_bytes():
    """Names and places of all 75 scalars, in the order of declaration; without a size, what the fields need."""
    layouts, findings = build(DB500)
    assert findings == []
    assert layouts["db500"].size == 330
    expected = []
    for m in range(5):
        base, name = 66 * m, f"maquinas_{m}_"
        for bit, flag in enumerate(("contador_bom_flag", "contador_ruim_flag", "status_maquina")):
            expected.append((name + flag, "BOOL", base, bit))
        for s in range(5):
            expected.append((f"{name}sensores_{s}_valor", "REAL", base + 2 + 6 * s, 0))
            expected.append((f"{name}sensores_{s}_flags", "BYTE", base + 6 + 6 * s, 0))
        expected.append((f"{name}contador_bom", "INT", base + 62, 0))
        expected.append((f"{name}contador_ruim", "INT", base + 64, 0))
    found = layouts["db500"].leaves(Naming())
    assert [(leaf.name, leaf.type.name, leaf.byte, leaf.bit) for leaf in found] == expected
    assert len(found) == 5 * (3 + 5 * 2 + 2)


def test_names_as_told():
    """Separator and first index are the user's."""
    found = leaves(DB500, "db500", Naming(separator=".", first_index=1))
    assert (found[7].name, found[-1].name) == ("maquinas.1.sensores.3.valor", "maquinas.5.contador_ruim")


def test_options_reach_the_leaf():
    """All that a field can be told, also through nesting and arrays."""
    document = {
        "inner": {
            "value": {"type": "INT[2]", "at": "2", "unit": "A", "scale": 0.1, "offset": -1.5, "description": "current"},
            "id": {"type": "LWORD", "at": "6", "as": "string"},
            "text": {"type": "STRING[4]", "at": "14", "charset": "cp1252"},
            "state": {"type": "BYTE", "at": "20", "enum": {0: "parado", 1: "rodando"}},
        },
        "outer": {"pair": "inner[2] @ 10"},
    }
    by_name = {leaf.name: leaf for leaf in leaves(document, "outer")}
    value, text = by_name["pair_1_value_1"], by_name["pair_1_text"]
    assert by_name["pair_1_state"].enum == ((0, "parado"), (1, "rodando"))
    assert (value.byte, value.unit, value.scale, value.offset, value.description) == (36, "A", 0.1, -1.5, "current")
    assert (text.byte, text.length, text.size, text.charset) == (46, 4, 6, "cp1252")
    assert by_name["pair_0_id"].text
    assert not value.text


@pytest.mark.parametrize(
    ("field", "places"),
    [
        ("INT @ 10", ["x 10.0"]),
        ("int@10.0", ["x 10.0"]),
        ("BOOL @ 0.7", ["x 0.7"]),
        ({"type": "BOOL", "at": "3.1"}, ["x 3.1"]),
        ("BOOL[3] @ 0.6", ["x_0 0.6", "x_1 0.7", "x_2 1.0"]),
        ("REAL[2] @ 6", ["x_0 6.0", "x_1 10.0"]),
        ("REAL[1] @ 6", ["x_0 6.0"]),
        ("DTL[2] @ 2", ["x_0 2.0", "x_1 14.0"]),
        ("WSTRING[3][2] @ 0", ["x_0 0.0", "x_1 10.0"]),
        ("STRING[3][2] @ 0", ["x_0 0.0", "x_1 6.0"]),
        ("odd[2] @ 4", ["x_0_r 4.0", "x_0_b 8.0", "x_1_r 10.0", "x_1_b 14.0"]),
        ("packed[2] @ 4", ["x_0_r 4.0", "x_0_b 8.0", "x_1_r 9.0", "x_1_b 13.0"]),
        ("odd @ 3.0", ["x_r 3.0", "x_b 7.0"]),
    ],
)
def test_places(field, places):
    """Where a field's scalars lie; records follow each other at even distances unless their size says otherwise."""
    record = {"r": "REAL @ 0", "b": "BYTE @ 4"}
    found = leaves({"it": {"x": field}, "odd": record, "packed": {**record, "size": 5}}, "it")
    assert [f"{leaf.name} {leaf.byte}.{leaf.bit}" for leaf in found] == places


MISTAKES = {
    "overlap": (
        {"it": {"a": "INT @ 10", "b": "REAL @ 8"}},
        ("it", "fields", "a"),
        "'a' (bytes 10 to 11) overlaps 'b' (bytes 8 to 11)",
    ),
    "overlap of bits": (
        {"it": {"a": "BOOL[10] @ 0.0", "b": "BOOL @ 1.1"}},
        ("it", "fields", "b"),
        "'b' (bit 1.1) overlaps 'a' (bits 0.0 to 1.1)",
    ),
    "overlap of bit and byte": (
        {"it": {"a": "BYTE @ 0", "b": "BOOL @ 0.7"}},
        ("it", "fields", "b"),
        "'b' (bit 0.7) overlaps 'a' (byte 0)",
    ),
    "overlap of records": (
        {"it": {"a": "two[3] @ 0", "b": "INT @ 5"}, "two": {"x": "INT @ 0"}},
        ("it", "fields", "b"),
        "'b' (bytes 5 to 6) overlaps 'a' (bytes 0 to 5)",
    ),
    "leaves the layout": (
        {"it": {"size": 12, "a": "INT @ 10", "b": "INT @ 12"}},
        ("it", "fields", "b"),
        "'b' (bytes 12 to 13) leaves its layout: layout 'it' has 12 bytes",
    ),
    "array leaves the layout": (
        {"it": {"size": 9, "a": "REAL[3] @ 0"}},
        ("it", "fields", "a"),
        "'a' (bytes 0 to 11) leaves its layout",
    ),
    "beyond any block": (
        {"it": {"a": "INT @ 65535"}},
        ("it", "fields", "a"),
        "a block has at most 65536 bytes",
    ),
    "unknown type": ({"it": {"a": "REEL @ 0"}}, ("it", "fields", "a"), "'REEL'; did you mean REAL?"),
    "unknown layout": (
        {"it": {"a": "sensr[5] @ 0"}, "sensor": {"v": "INT @ 0"}},
        ("it", "fields", "a"),
        "unknown type or layout 'sensr'; did you mean sensor?",
    ),
    "unknown type in the long form": (
        {"it": {"a": {"type": "xyz", "at": "0"}}},
        ("it", "fields", "a", "type"),
        "unknown type or layout 'xyz'; known are it, BOOL, BYTE",
    ),
    "recursion": ({"it": {"a": "it @ 0"}}, ("it", "fields", "a"), "layout 'it' contains itself: it > it"),
    "recursion through others": (
        {"it": {"a": "other[2] @ 0"}, "other": {"b": "INT @ 0", "c": "it @ 2"}},
        ("other", "fields", "c"),
        "layout 'it' contains itself: it > other > it",
    ),
    "two equal flat names": (
        {"it": {"a": "INT[2] @ 0", "a_1": "INT @ 4"}},
        ("it", "fields", "a_1"),
        "'a_1' would name two values of 'it': rename this or 'a'",
    ),
    "names that the ingest makes equal": (
        {"it": {"a b": "INT @ 0", "a_b": "INT @ 2"}},
        ("it", "fields", "a_b"),
        "'a_b' would name two values of 'it': rename this or 'a b'",
    ),
    "type's name": ({"Int": {"a": "BYTE @ 0"}}, ("Int",), "'Int' is the name of an S7 type"),
    "no fields": ({"it": {}}, ("it", "fields"), "a layout needs at least one field"),
    "empty name": ({"it": {" ": "INT @ 0"}}, ("it", "fields", " "), "' ' is no name for a field"),
    "no place": ({"it": {"a": "INT"}}, ("it", "fields", "a"), "'INT' is no field; write a type and its first byte"),
    "place is no number": ({"it": {"a": "INT @ x"}}, ("it", "fields", "a"), "'x' is no place"),
    "negative place": ({"it": {"a": {"type": "INT", "at": "-2"}}}, ("it", "fields", "a", "at"), "'-2' is no place"),
    "bit of a number": ({"it": {"a": "INT @ 0.1"}}, ("it", "fields", "a"), "INT begins at a whole byte; write 0"),
    "bit ten is not bit one": ({"it": {"a": "BOOL @ 0.10"}}, ("it", "fields", "a"), "bit 10 of '0.10' does not exist"),
    "bit out of range": ({"it": {"a": "BOOL @ 0.8"}}, ("it", "fields", "a"), "a byte has bits 0 to 7"),
    "bit is missing": ({"it": {"a": "BOOL @ 4"}}, ("it", "fields", "a"), "a BOOL needs its bit; write 4.0 to 4.7"),
    "empty array": ({"it": {"a": "REAL[0] @ 0"}}, ("it", "fields", "a"), "an array has 1 to"),
    "empty array of records": (
        {"it": {"a": "two[0] @ 0"}, "two": {"x": "INT @ 0"}},
        ("it", "fields", "a"),
        "one dimension and at least one element",
    ),
    "scaled text": (
        {"it": {"a": {"type": "CHAR", "at": "0", "scale": 2.0}}},
        ("it", "fields", "a", "scale"),
        "only numbers can be scaled, and 'CHAR' is none",
    ),
    "scaled and as text": (
        {"it": {"a": {"type": "LINT", "at": "0", "offset": 2.0, "as": "string"}}},
        ("it", "fields", "a", "offset"),
        "given as text can't be scaled",
    ),
    "scaled to nothing": (
        {"it": {"a": {"type": "INT", "at": "0", "scale": 0.0}}},
        ("it", "fields", "a", "scale"),
        "scale not 0",
    ),
    "float as text": (
        {"it": {"a": {"type": "REAL", "at": "0", "as": "string"}}},
        ("it", "fields", "a", "as"),
        "only whole numbers can be given as text",
    ),
    "charset of a number": (
        {"it": {"a": {"type": "INT", "at": "0", "charset": "utf-8"}}},
        ("it", "fields", "a", "charset"),
        "only CHAR and STRING have a charset, not 'INT'",
    ),
    "unknown charset": (
        {"it": {"a": {"type": "CHAR", "at": "0", "charset": "lat1n"}}},
        ("it", "fields", "a", "charset"),
        "unknown charset 'lat1n'",
    ),
    "codec that is no charset": (
        {"it": {"a": {"type": "CHAR", "at": "0", "charset": "hex"}}},
        ("it", "fields", "a", "charset"),
        "unknown charset 'hex'",
    ),
    "charset of a wide text": (
        {"it": {"a": {"type": "WSTRING[4]", "at": "0", "charset": "utf-8"}}},
        ("it", "fields", "a", "charset"),
        "only CHAR and STRING have a charset",
    ),
    "texts of a float": (
        {"it": {"a": {"type": "REAL", "at": "0", "enum": {0: "x"}}}},
        ("it", "fields", "a", "enum"),
        "only whole numbers and bits can have texts",
    ),
    "text of a number that never comes": (
        {"it": {"a": {"type": "BYTE", "at": "0", "enum": {300: "x"}}}},
        ("it", "fields", "a", "enum"),
        "BYTE never is 300",
    ),
    "texts of a record": (
        {"it": {"a": {"type": "two", "at": "0", "enum": {0: "x"}}}, "two": {"x": "INT @ 0"}},
        ("it", "fields", "a", "enum"),
        "belongs to the fields of layout 'two'",
    ),
    "texts and scaled": (
        {"it": {"a": {"type": "INT", "at": "0", "scale": 2.0, "enum": {0: "x"}}}},
        ("it", "fields", "a", "scale"),
        "given as text can't be scaled",
    ),
    "texts and as text": (
        {"it": {"a": {"type": "INT", "at": "0", "as": "string", "enum": {0: "x"}}}},
        ("it", "fields", "a", "as"),
        "the text of its number already",
    ),
    "type's other name": ({"dt": {"a": "BYTE @ 0"}}, ("dt",), "'dt' is the name of an S7 type"),
    "unit of a record": (
        {"it": {"a": {"type": "two", "at": "0", "unit": "A"}}, "two": {"x": "INT @ 0"}},
        ("it", "fields", "a", "unit"),
        "belongs to the fields of layout 'two'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_found(mistake):
    """One finding, at its field and option, which says what is wrong; the layout can still be named by others."""
    document, path, message = MISTAKES[mistake]
    layouts, findings = build(document)
    assert [finding.path for finding in findings] == [path]
    assert message in findings[0].message
    assert set(layouts) == set(document)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_names(name):
    """They are refused as a block's value, but are fine inside of records, where they are only a part of the name."""
    layouts, findings = build({"it": {name: "INT @ 0"}})
    assert [finding.path for finding in findings] == [("it", "fields", name)]
    assert f"'{name}' is reserved" in findings[0].message
    _, findings = build({"it": {name: "INT @ 0"}, "outer": {"x": "it @ 0"}})
    assert findings == []
    assert layouts["it"].clashes(Naming()) != []


def test_all_mistakes_at_once():
    """A wrong field hides neither its neighbours' mistakes nor those of other layouts."""
    document = {
        "it": {"a": "REEL @ 0", "b": "INT @ 2", "c": "INT @ 3", "d": "BOOL @ 1"},
        "other": {"e": "it", "f": "INT"},
    }
    _, findings = build(document)
    assert {finding.path[-1] for finding in findings} == {"a", "c", "d", "e", "f"}


def test_a_layout_that_could_not_be_read_is_not_unknown():
    """Its mistakes were told where it stands; a record that holds it has none of its own, but no leaves either."""
    options = {"it": LayoutOptions(fields={"a": "lost[3] @ 0", "b": "REAL @ 0"})}
    layouts, findings = build_layouts(options, broken=["lost"])
    assert findings == []
    assert not layouts["it"].sound
    assert not layouts["lost"].sound


def test_nesting_does_not_explode():
    """Ten records of ten records of ten… on one place are refused, not unfolded: 10^30 scalars fit no memory."""
    document = {"l0": {"x": "INT @ 0"}}
    for level in range(1, 31):
        document[f"l{level}"] = {f"f{i}": f"l{level - 1} @ 0" for i in range(10)}
    layouts, findings = build(document)
    assert len(findings) == 30 * 9
    assert layouts["l30"].leaves(Naming()) == ()


@pytest.mark.parametrize("order", [1, -1])
def test_nesting_has_an_end(order):
    """A chain of thousands of layouts is refused, in whatever order it is written."""
    chain = {f"l{level}": {"x": f"l{level + 1} @ 0"} for level in range(3000)} | {"l3000": {"x": "INT @ 0"}}
    _, findings = build(dict(list(chain.items())[::order]))
    assert {finding.message for finding in findings} == {"layouts are nested deeper than 32"}


def test_naming_decides_on_clashes():
    """What collides with one separator need not with another, and the other way round."""
    layouts, findings = build({"it": {"a": "INT[2] @ 0", "a.1": "INT @ 4"}})
    assert findings == []
    assert [finding.path[-1] for finding in layouts["it"].clashes(Naming(separator="."))] == ["a.1"]


@st.composite
def records(draw):
    """A layout's fields in any order, none overlapping, with a value for each scalar, and the block's bytes."""
    fields, expected, block = {}, {}, bytearray()
    for number in range(draw(st.integers(1, 25))):
        block += draw(st.binary(max_size=3))
        kind = TYPES[draw(st.sampled_from(sorted(TYPES)))]
        count, name = draw(st.integers(0, 4)), f"f{number}"
        length = draw(st.integers(1, 9)) if kind.width else 0
        shape = kind.name + (f"[{length}]" if length else "") + (f"[{count}]" if count else "")
        bit = draw(st.integers(0, 7)) if kind.is_bit else 0
        start = len(block)
        block += bytes(kind.span(bit, max(count, 1), length))
        for index in range(max(count, 1)):
            value, raw = draw(_encoded(kind, length))
            expected[f"{name}_{index}" if count else name] = value
            if kind.is_bit:
                block[start + (bit + index) // 8] |= value << (bit + index) % 8
            else:
                place = start + index * (len(raw) + len(raw) % 2 * bool(kind.width))
                block[place : place + len(raw)] = raw
        fields[name] = f"{shape} @ {start}.{bit}" if kind.is_bit else f"{shape} @ {start}"
    names = draw(st.permutations(list(fields)))
    return {name: fields[name] for name in names}, expected, bytes(block)


@st.composite
def _encoded(draw, kind, length):
    value = draw(values(kind, length))
    if kind.is_bit:
        return value, b""
    raw = bytearray(kind.extent(length))
    write(Leaf("x", kind, 0, 0, len(raw), length), raw, value)
    return value, bytes(raw)


@given(records())
def test_what_is_encoded_is_decoded(record):
    """Any layout without overlap, any values: from text to leaves to decoder and back, in the order of declaration."""
    fields, expected, block = record
    found = leaves({"it": {**fields, "size": len(block)}}, "it")
    decoded, bad = compile_decoder(found)(block)
    assert bad is None
    assert decoded == expected
    assert list(decoded) == [leaf.name for leaf in found]
    assert list(dict.fromkeys(name.partition("_")[0] for name in decoded)) == list(fields)


@given(st.text(alphabet="INTREALBOOLsensor[]@0123456789. -", max_size=16))
def test_any_field_is_right_or_explained(text):
    """No exception and no silence, whatever is written."""
    layouts, findings = build({"it": {"x": text}, "sensor": {"v": "INT @ 0"}})
    assert bool(findings) is not bool(layouts["it"].leaves(Naming()))


def test_short_and_long_form_are_one():
    """`INT @ 10` is `{type: INT, at: 10}`."""
    assert FieldOptions.parse(" sensor[5] @ 2 ") == FieldOptions(type="sensor[5]", at="2")
