"""Fixed tags."""

import json

import pytest

from operators.transforms.tag import Tag, tag
from pipeline.codecs import FrameJson
from pipeline.frame import Frame
from pipeline.operator import Flow, NodeKind, Scope
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS = origin("press", tags={"area": "linha1", "shift": "a"})
OPTIONS = Tag(tags={"hall": "2", "shift": "b"})


def test_every_kind_of_frame_is_tagged_and_its_block_keeps_one_origin():
    """The block's own tags stay, one of the same name gives way; the codec sees the new ones."""
    before = data(PRESS, n=1).replace(raw=b"raw")
    FrameJson().encode(before)
    frames = [before, Frame.heartbeat(PRESS, 1), Frame.failure(PRESS, 2, "timeout")]
    seen = [frame for _, frame in play(tag, OPTIONS, list(enumerate(frames)))]
    assert {id(frame.origin) for frame in seen} == {id(seen[0].origin)}
    assert [(frame.kind, frame.values, frame.error) for frame in seen] == [
        (frame.kind, frame.values, frame.error) for frame in frames
    ]
    assert seen[0].raw == b"raw"
    assert json.loads(FrameJson().encode(seen[0]))["tags"] == {"area": "linha1", "shift": "b", "hall": "2"}
    assert PRESS.tags == {"area": "linha1", "shift": "a"}


def test_ends_pass_and_subscriptions_are_their_own():
    """Completion and error go through; nothing comes after disposal; each subscriber has its own origins."""
    error = ValueError("x")
    assert play(tag, OPTIONS, [(1, END)]) == [(1, END)]
    assert play(tag, OPTIONS, [(1, error)]) == [(1, error)]
    assert play(tag, OPTIONS, [(9, data(PRESS))], until=5) == []
    (first,), (second,) = play_twice(tag, OPTIONS, data(PRESS))
    assert first.origin is not second.origin


def test_the_forecast_counts_the_bytes_and_warns_of_a_value_of_that_name():
    """`"hall":"2","shift":"b",` is 23 bytes; a tag and a field of one name can't be told apart in a query."""
    inflow = Flow(frames=1, size=100, blocks=1, names=frozenset({"hall", "n"}))
    forecast = tag.forecast(OPTIONS, Scope(graph="g", node="n"), inflow)
    assert forecast.flow == Flow(frames=1, size=123, blocks=1, names=inflow.names)
    assert [(finding.path, finding.severity) for finding in forecast.warnings] == [(("tags", "hall"), "warning")]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: tag, from: press}", "tags: is required and missing"),
        ("{type: tag, from: press, tags: {}}", "tags: must have at least 1 entries, has 0"),
        ("{type: tag, from: press, tags: {plc_id: x}}", "tags.plc_id: 'plc_id' is reserved"),
        ("{type: tag, from: press, tags: {topic: x}}", "tags.topic: 'topic' is reserved"),
        ("{type: tag, from: press, tags: {host: x}}", "tags.host: 'host' is reserved"),
        ('{type: tag, from: press, tags: {hall: "${HALL:-}"}}', "tags.hall: a tag needs a name and a value"),
        ("{type: tag, from: press, tags: {hall: [1]}}", "tags.hall: must be text, found a list"),
        ("{type: tag, from: press, tag: {hall: x}}", "tag: unknown option; did you mean 'tags'?"),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    problems = mistakes(NodeKind.TRANSFORM, node)
    assert all(problem.startswith("node 'node' (tag): ") for problem in problems)
    assert any(said in problem for problem in problems)


def test_good_options_from_text():
    """Values may come from the environment; numbers are taken as written."""
    assert (
        mistakes(NodeKind.TRANSFORM, '{type: tag, from: press, tags: {hall: 2, line: "${LINE}"}}', {"LINE": "7"}) == []
    )
