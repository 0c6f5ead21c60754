"""Exports of other tools, damaged: what is taken is a graph that `check` accepts, what is not is said in words."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands.import_ import samples
from pipeline.config import load_text
from pipeline.config.interpolate import interpolate
from pipeline.errors import UsageError
from pipeline.importing.line_text import layouts_text, line_text
from pipeline.importing.placement import place_program
from pipeline.importing.program import Program
from pipeline.importing.recognise import read_file
from pipeline.importing.settling import settle_layouts
from tests.parts.fuzzing import damaged, fuzzed, rewritten, worded
from tests.pipeline.importing.test_tables import BLOCK, HEADER, TABLE, TAGS

EXAMPLES = Path(__file__).parents[1] / "pipeline/importing/examples"
KEPWARE = (
    HEADER + '"a.b","DB1.DBW2",Short,1,R/W,100,Linear,0,27648,-50,100,Float,1,0,"mm","x",\n"s","DB1,STRING4.9",String\n'
)
GOOD = [file.read_text() for file in sorted(EXAMPLES.glob("*.*")) if file.suffix != ".md"]
GOOD += [BLOCK.replace("OFFSET", "16"), KEPWARE, TABLE, TAGS]
TOKENS = [
    *(
        "Array[-2..3, 0..1] of",
        "Struct",
        "END_STRUCT;",
        "END_TYPE",
        "BEGIN",
        "VAR_IN_OUT",
        "VAR CONSTANT",
        ":=",
        "..",
        "(*",
    ),
    *(
        '"s7_1200_out_udt"',
        "UDT 1",
        "FB 1",
        "String[0]",
        "Bool",
        "Array[0..999999999] of Byte",
        "{",
        "'",
        '"',
        "error",
        "$",
    ),
    *(
        "${X}",
        "DB1,INT2.9999",
        "%M0.0",
        "MW 99999",
        "T 70000",
        "nan",
        "1e999",
        "-1",
        "\x85",
        "\u2028",
        "null",
        "a.b",
        "[",
        "]}",
    ),
]


def made(path, name, content):
    """The graph and layouts of a file; None where it is refused."""
    file = path / name
    file.write_bytes(content)
    program = Program()
    try:
        read_file(file, program)
        places = place_program(program, all_types=True)
    except UsageError as error:
        worded(error)
        return
    settle_layouts(places, program)
    layouts_text(program, places, [file])
    if text := line_text(program, places, "line", [file]):
        unset = dict.fromkeys(interpolate("\n".join(line for line in text.splitlines() if line[:1] != "#"), {}).missing)
        load_text(text, Path("line.yaml"), dict(samples(unset)))
    for remark in program.remarks:
        assert str(remark).isprintable()


@fuzzed()
@given(text=rewritten(GOOD, TOKENS), name=st.sampled_from(["x.db", "x.json", "x.csv"]))
def test_rewritten_exports_become_a_sound_graph_or_are_refused(text, name, tmp_path_factory):
    """Whatever they declare, `check` accepts what was made of it."""
    made(tmp_path_factory.getbasetemp(), name, text.encode("utf-8", "replace"))


@fuzzed(0.5)
@given(data=damaged([text.encode() for text in GOOD]))
def test_damaged_exports_become_a_sound_graph_or_are_refused(data, tmp_path_factory):
    """Bytes of any kind."""
    made(tmp_path_factory.getbasetemp(), "x.db", data)


@fuzzed(0.5)
@given(text=st.text())
def test_arbitrary_text_is_refused_in_words(text, tmp_path_factory):
    """Or declares nothing."""
    made(tmp_path_factory.getbasetemp(), "x.txt", text.encode("utf-8", "replace"))
