"""Addresses, topics, expressions and what else people write as one word: understood, or refused in a sentence."""

import contextlib

import structlog
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.interpolate import interpolate
from pipeline.errors import Finding
from pipeline.expression import Expression
from pipeline.frame import Origin
from pipeline.mqtt.codec import pack_topic
from pipeline.mqtt.topics import Topics, check_template, fill
from pipeline.posting.client import Url
from pipeline.s7.address import Address, parse_address
from pipeline.s7.types import parse_type
from pipeline.units import Duration, Size, Topic
from tests.parts.fuzzing import fuzzed, worded

ADDRESSES = ["DB1.DBD4:REAL", "DB1.DBX0.0", "DB1:10:STRING[20]", "DB1:0:REAL[5]", "M10.5", "MW20:WORD", "%M10.5:BOOL"]
ADDRESSES += ["C5", "T0:TIMER[8]", "DB1,X0.0", "DB1,S10.20", "QR24", "DB65535.DBB65535", "DB1:0:WSTRING[254][9]"]
TEMPLATES = [
    "plc/{tenant_id}/{plc_id}",
    "plc/${TENANT_ID}/${PLC_ID}",
    "{db}",
    "a/{area}/{measurement}",
    "{",
    "+",
    "a\0",
]
EXPRESSIONS = [
    "AI > 5 and on",
    "abs(AI) + 2 ** 3",
    "values['a b']",
    "tags[area]",
    "'x' * 9",
    "min(1, 2)",
    "1 if on else 0",
]
LETTERS = "DBMIQEACTZXWR[].:,%0123456789 -{}$+#/_'\"()*<>=&|~^!\\é\0\u2028"


def words(good):
    """Good words, changed in some places; and soups of their letters."""
    cut = st.tuples(st.integers(0, 40), st.integers(0, 5), st.text(st.sampled_from(LETTERS), max_size=5))
    changed = st.builds(
        lambda word, cuts: word if not cuts else word[: cuts[0][0]] + cuts[0][2] + word[cuts[0][0] + cuts[0][1] :],
        st.sampled_from(good),
        st.lists(cut, max_size=1),
    )
    return st.one_of(changed, changed, st.lists(changed, max_size=3).map("".join), st.text(st.sampled_from(LETTERS)))


def read(parse, text):
    """What a reader makes of a text; None where it refuses, in a sentence."""
    try:
        return parse(text)
    except ValueError as error:
        worded(error)
        return None


@fuzzed(2)
@given(words(ADDRESSES))
def test_an_address_is_read_and_written_the_same_or_refused(text):
    """Within what S7 can address; its text reads back."""
    address = read(parse_address, text)
    if isinstance(address, Address):
        assert parse_address(str(address)) == address
        assert 0 <= address.byte < address.byte + address.size <= 65536 * 2
        assert 0 <= address.bit <= 7


@fuzzed()
@given(words(["REAL", "STRING[20]", "BOOL[8]", "press[5]", "1h30m", "500ms", "1GiB", "0", "1e9s", "9" * 400 + "s"]))
def test_types_durations_and_sizes_are_read_or_refused(text):
    """Also those with too many digits."""
    read(parse_type, text)
    for kind in (Duration, Size):
        found = read(kind.parse, text)
        assert found is None or kind.parse(str(found)) >= 0


origins = st.builds(
    Origin,
    measurement=st.text(min_size=1, max_size=9),
    ip=st.just("192.0.2.1"),
    db=st.one_of(st.none(), st.integers(1, 65535)),
    tenant_id=st.sampled_from(["", "acme"]),
    plc_id=st.sampled_from(["", "press1"]),
    tags=st.dictionaries(st.sampled_from(["area", "a", ""]), st.text(max_size=9)),
)


@fuzzed()
@given(words(TEMPLATES), origins)
def test_a_template_that_passes_the_check_gives_topics_that_brokers_take(text, origin):
    """Without wildcards and NUL, whatever the tags are; a template that doesn't pass is told."""
    template = read(Topic.parse, text)
    findings = list(check_template(template, "topic"))
    assert all(isinstance(finding, Finding) and finding.message for finding in findings)
    topic, _ = fill(template, {})
    if not findings:
        assert pack_topic(Topics(template, "node", structlog.get_logger()).of(origin))
        assert isinstance(topic, str)


@fuzzed()
@given(words(["${A}", "${A:-b}", "$${A}", "${A:-${B:-{c}}}", "${", "}", "{"]), st.sampled_from(["", "x", "${A}", "}"]))
def test_substitution_ends_and_never_substitutes_twice(text, value):
    """What a variable holds is text, braces and all."""
    found = read(lambda text: interpolate(text, {"A": value}), text)
    if found is not None and value == "${A}" and found.from_environment:
        assert "${A}" in found.text


@fuzzed()
@given(words(["https://h/p?q=1", "http://[::1]:80/", "http://u:p@h", "http://h:99999", "http://[", "https://é/"]))
def test_an_url_is_posted_to_or_refused(text):
    """With a host and a port; no secrets in what is shown."""
    url = read(Url.parse, text)
    assert url is None or (url.host and 0 <= url.port <= 65535 and "?" not in str(url))


@fuzzed()
@given(
    words(EXPRESSIONS),
    st.dictionaries(
        st.sampled_from(["AI", "on", "area", "values", "tags"]),
        st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just({"a b": 1})),
    ),
)
def test_an_expression_gives_a_simple_value_or_none(text, names):
    """Whatever it says: no other error, no other type, no memory."""
    expression = read(Expression, text)
    if expression is not None:
        with contextlib.suppress(ValueError):
            assert isinstance(expression.evaluate(names), bool | int | float | str)
