"""Symbols as TIA Portal writes them, and the names of values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.s7plus.symbols import flat_name, parse_symbol, write_symbol

NAMES = st.text(st.characters(exclude_characters='"\n\r\x0b\x0c', exclude_categories=("Cs", "Cc", "Z")), min_size=1)
STEPS = st.one_of(NAMES, st.lists(st.integers(-99, 99_999), min_size=1, max_size=6).map(tuple))


@pytest.mark.parametrize(
    ("text", "path", "flat"),
    [
        ("DB_Press.Temperatura", ("DB_Press", "Temperatura"), "DB_Press_Temperatura"),
        ('"DB Press"."valor atual"', ("DB Press", "valor atual"), "DB_Press_valor_atual"),
        ('"Data".arr[3].x', ("Data", "arr", (3,), "x"), "Data_arr_3_x"),
        (" DB . matriz [ -1 , 2 ] [5] ", ("DB", "matriz", (-1, 2), (5,)), "DB_matriz_m1_2_5"),
        ('"a.b"."c[1]"[1]', ("a.b", "c[1]", (1,)), "a_b_c_1__1"),
        ("DB Press.ação", ("DB Press", "ação"), "DB_Press_ação"),
        ("Tag_1", ("Tag_1",), "Tag_1"),
    ],
)
def test_a_symbol_is_read_with_quotes_and_indices(text, path, flat):
    """Names with dots, brackets or spaces stand in quotes; the flat name has none of them."""
    assert parse_symbol(text) == path
    assert flat_name(path, "_") == flat


@given(st.tuples(NAMES, st.lists(STEPS, max_size=5)).map(lambda both: (both[0], *both[1])))
def test_what_is_written_is_read_back(path):
    """Whatever a program calls its members."""
    assert parse_symbol(write_symbol(path)) == path


@pytest.mark.parametrize("text", ["", ".", "DB.", "DB..x", "DB[", "DB[]", "DB[a]", '"DB', '""', "[1]", "DB]", 'DB"x"'])
def test_what_is_no_symbol_says_where_it_ends_to_be_one(text):
    """Never an index out of range, never half a path."""
    with pytest.raises(ValueError, match="is no symbol"):
        parse_symbol(text)
