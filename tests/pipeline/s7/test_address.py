"""Addresses in all notations, and what is said of wrong ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snap7.tags import parse_tag

from pipeline.s7.address import Address, Area, parse_address, place
from pipeline.s7.types import TYPES

SHARED = """
    DB1.DBX0.0:BOOL DB1.DBX65535.7:BOOL DB1.DBB10:BYTE DB1.DBB10:SINT DB1.DBW10:INT DB1.DBW11:WORD DB2.DBD4:REAL
    DB65535.DBD4:UDINT DB1:10:INT DB1:10:LREAL DB1:10:STRING[20] DB1:0:REAL[5] DB1:10.3:BOOL M10.5:BOOL MW20:WORD
    M20:WORD MB3:CHAR IW4:INT ID4:REAL Q0.0:BOOL %M10.5:BOOL %DB1.DBW10:INT db1.dbx0.1:bool Mw20:Word DB1,X0.0 DB1,B3
    DB1,C3 DB1,I10 DB1,W10 DB1,D10 DB1,DW10 DB1,DI10 DB1,R4 DB1,LR10 DB1,LI8 DB1,ULI8 DB1,LW8 DB1,SINT1 DB1,USINT1
    DB1,S10.20 db1,r4 M10.5 MW20 MD20 MDI4 IW22 EW22 QR24 AB3 A4.1 E0.7 MS10.20 %MW20
"""


@pytest.mark.parametrize("text", SHARED.split())
def test_notations_that_python_snap7_reads(text):
    """The same area, block, place, type and size as python-snap7 understands."""
    tag, address = parse_tag(text, strict=False), parse_address(text)
    assert (address.area.value, address.db, address.byte, address.bit) == (
        int(tag.area),
        tag.db_number,
        tag.byte_offset,
        tag.bit,
    )
    assert (address.type.name, address.count, address.size) == (
        tag.datatype.upper().partition("[")[0],
        tag.count,
        tag.size,
    )


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("DB1.DBW10", "DB1.DBW10:WORD"),
        ("DB1.DBX0.3", "DB1.DBX0.3:BOOL"),
        ("DB1.DBB4", "DB1.DBB4:BYTE"),
        ("DB1.DBD4", "DB1.DBD4:DWORD"),
        ("E0.0:BOOL", "I0.0:BOOL"),
        ("A0.0:BOOL", "Q0.0:BOOL"),
        ("AW6:INT", "QW6:INT"),
        ("MX0.2:BOOL", "M0.2:BOOL"),
        ("%DB1:10:INT", "DB1.DBW10:INT"),
        ("  DB1:10.0:INT ", "DB1.DBW10:INT"),
        ("DB1.DBB4:STRING[3]", "DB1:4:STRING[3]"),
        ("DB1:0:STRING", "DB1:0:STRING[254]"),
        ("DB1:4:STRING[5][3]", "DB1:4:STRING[5][3]"),
        ("DB1:10.4:BOOL[16]", "DB1.DBX10.4:BOOL[16]"),
        ("DB1.DBD0:REAL[5]", "DB1.DBD0:REAL[5]"),
        ("DB1,REAL4", "DB1.DBD4:REAL"),
        ("DB1,I10:INT", "DB1.DBW10:INT"),
        ("DB1,WS10.20", "DB1:10:WSTRING[20]"),
        ("DB1,DT10", "DB1:10:DATE_AND_TIME"),
        ("DB1,TOD10", "DB1.DBD10:TIME_OF_DAY"),
        ("DB1.DBW4:S5TIME", "DB1.DBW4:S5TIME"),
        ("DB1.DBW4:date", "DB1.DBW4:DATE"),
        ("MD4:TIME", "MD4:TIME"),
        ("DB1:8:DTL[2]", "DB1:8:DTL[2]"),
        ("DB1.DBB4:WSTRING[3]", "DB1:4:WSTRING[3]"),
        ("C5", "C5:COUNTER"),
        ("Z5", "C5:COUNTER"),
        ("%t3", "T3:TIMER"),
        ("T0:timer[8]", "T0:TIMER[8]"),
    ],
)
def test_notations_beyond(text, same):
    """Bare size letters, German mnemonics, a leading %, arrays of bits and texts, nodeS7's long type names."""
    assert str(parse_address(text)) == same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DB1.DBW10:REAL", "W is 2 bytes, but REAL takes 4; write DB1.DBD10:REAL"),
        ("DB1.DBD0:LREAL", "D is 4 bytes, but LREAL takes 8; write DB1:0:LREAL"),
        ("DB1.DBX0.0:INT", "X is a bit, but INT takes 2; write DB1.DBW0:INT"),
        ("DB1.DBW0:STRING[4]", "W is 2 bytes, but STRING takes 6; write DB1:0:STRING[4]"),
        ("MB3.1:BOOL", "B is 1 byte, but BOOL is a bit; write M3.1:BOOL"),
        ("MR10:DINT", "'R' and DINT are two types; write MD10:DINT"),
        ("MK4:INT", "'K' is no size; write MW4:INT"),
        ("DB1.DBX0.9", "bit 9 does not exist; a byte has bits 0 to 7"),
        ("M0.-1:BOOL", "bit -1 does not exist"),
        ("DB1.DBX0", "a BOOL needs its bit, 0 to 7; write 0.0"),
        ("M10.5:REAL", "REAL begins at a whole byte; leave .5 away"),
        ("DB1,I10.3", "INT begins at a whole byte"),
        ("DB1.DBB-1", "byte -1: bytes are counted from 0"),
        ("DB0.DBW1", "a number from 1 to 65535"),
        ("DB70000.DBW1", "a number from 1 to 65535"),
        ("DB1.DBW65535", "bytes 65535 to 65536 are not within 0 to 65535"),
        ("DB1:10", "the type is missing; write DB1:10:INT"),
        ("DB1:10.1", "the type is missing"),
        ("M10", "the type is missing; write M10.0 for a bit, or M10:INT"),
        ("DB1:10:REEL", "unknown type 'REEL'; did you mean REAL?"),
        ("DB1,Q4", "unknown type 'Q'; use BOOL, BYTE"),
        ("DB1,S10", "the length is missing; write DB1,S10.20"),
        ("DB1,S10.300", "the length must be 1 to 254"),
        ("DB1:0:REAL[0]", "an array has 1 to"),
        ("DB1:0:REAL[2][2]", "write REAL[4]"),
        ("DB1.DBL0:LREAL", "not an S7 address; write DB1.DBD4:REAL"),
        ("DB1:W0:INT", "not an S7 address"),
        ("DB1,10:INT", "not an S7 address"),
        ("PIW256:INT", "not an S7 address"),
        ("CW5", "a COUNTER has a number only; write C5"),
        ("T5.1", "a TIMER has a number only; write T5"),
        ("T5:S5TIME", "a TIMER has a number only; write T5"),
        ("C5:TIMER", "a COUNTER has a number only; write C5"),
        ("T-1", "numbers are counted from 0 to 32767"),
        ("C32768", "numbers are counted from 0 to 32767"),
        ("T32760:TIMER[9]", "numbers are counted from 0 to 32767"),
        ("hello", "not an S7 address; write DB1.DBD4:REAL, DB1.DBX0.0"),
        ("", "not an S7 address"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    """The message repeats what was written, says what is wrong and shows what is right."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is the assertion
        parse_address(text)
    assert str(caught.value).startswith(f"'{text}'")
    assert message in str(caught.value)


@pytest.mark.parametrize("text", [f"DB1:{'9' * 5000}:INT", f"DB1.DBX0:{' ' * 5000}BOOL"])
def test_of_a_long_text_the_beginning_is_repeated(text):
    """Whether it looks like an address or not."""
    with pytest.raises(ValueError, match=r"^'DB1.{76,79}…'(:| is)") as caught:
        parse_address(text)
    assert len(str(caught.value)) < 300


def test_counters_and_timers_lie_two_bytes_apart():
    """Their numbers become bytes, so that neighbours are read together; people see the number."""
    address = parse_address("T5:TIMER[3]")
    assert (address.area, address.byte, address.size, address.type.name) == (Area.T, 10, 6, "TIMER")
    assert place(0x1D, 0, 14) == "T7"
    assert place(0x1C, 0, 0) == "C0"
    assert place(0x84, 3, 14) == "DB3 byte 14"
    assert place(0x83, 0, 7) == "M byte 7"


@st.composite
def addresses(draw):
    """Any address that S7 can have."""
    area = draw(st.sampled_from(Area))
    kind = area.counted or TYPES[draw(st.sampled_from(sorted(TYPES)))]
    return Address(
        area=area,
        db=draw(st.integers(1, 65535)) if area is Area.DB else 0,
        byte=draw(st.integers(0, 30000)) * (2 if area.counted else 1),
        bit=draw(st.integers(0, 7)) if kind.is_bit else 0,
        type=kind,
        count=draw(st.integers(1, 100)),
        length=draw(st.integers(1, 25)) if kind.width else 0,
    )


@given(addresses())
def test_an_address_reads_back_what_it_writes(address):
    """`str()` is a notation of its own parser, for every type, area and array."""
    assert parse_address(str(address)) == address
    assert parse_address(str(address).lower()) == address


@given(st.text(alphabet="DBMIQEACTZXWRSL0123456789.,:%[]- ", max_size=20))
def test_any_text_is_an_address_or_explained(text):
    """No other exception than the explained one, whatever is written."""
    try:
        address = parse_address(text)
    except ValueError as error:
        assert str(error).startswith(f"'{text}'")  # noqa: PT017 - both outcomes are right
    else:
        assert 0 <= address.byte < address.byte + address.size <= 65536
