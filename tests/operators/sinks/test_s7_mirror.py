"""The mirror: the right bytes in the right place, nothing else, and every reason for not writing is told."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from snap7.datatypes import S7Area
from structlog.testing import capture_logs

from operators.sinks.s7_mirror import MirrorOptions, TargetOptions, TargetTsapOptions, s7_mirror
from pipeline.actor import Mailbox, State
from pipeline.clock import run_virtual
from pipeline.config.loader import load_text
from pipeline.errors import ConfigurationError
from pipeline.frame import Extent, Frame, Kind
from pipeline.operator import Flow, Overflow, Scope
from pipeline.retry import Retry
from pipeline.s7.exchange import read_extent
from pipeline.s7.session import connect
from pipeline.s7.wire import Tsaps
from pipeline.units import Duration
from tests.parts.engine import make_context, origin
from tests.parts.plc import StrictPlc, silent
from tests.parts.waiting import eventually

SIZE = 14


class Target(StrictPlc):
    """A PLC that notes what is written, and refuses or forgets it on demand."""

    def __init__(self, blocks, **options):
        super().__init__(blocks, host="target", port=102, **options)
        self.written: list[tuple[int, int, bytes]] = []
        self.refusal = 0
        self.write_error = 0
        self.forgets = 0

    def write(self, item, data):
        """Note it; then as told."""
        if self.refusal:
            return self.refusal
        self.written.append((item.db, item.start, bytes(data)))
        if self.forgets:
            self.forgets -= 1
            return 0xFF
        return super().write(item, data)

    def answer(self, connection, pdu):
        """With `write_error` a write is refused as a whole."""
        if self.write_error and pdu[10:11] == b"\x05":
            return b"\x32\x02\0\0" + pdu[4:6] + b"\0\0\0\0" + self.write_error.to_bytes(2, "big")
        return super().answer(connection, pdu)

    def memory(self, db=101):
        """A block's bytes."""
        return bytes(self.blocks[S7Area.DB, db])


def extent(db=1, size=SIZE, plc="press1", start=0, solid=()):
    """What a source reads."""
    return Extent(device=f"{plc}:102", plc=plc, db=db, start=start, size=size, solid=solid)


def options(allow=("DB101.0..13",), **others):
    """A mirror into DB101 of `target`, unless told."""
    target = {"address": "target", "db": 101, **others.pop("target", {})}
    return MirrorOptions(target=TargetOptions(**target), allow=list(allow), **others)


@dataclass
class Stage:
    """A running mirror and its target."""

    context: object
    mailbox: Mailbox
    task: asyncio.Task
    target: Target
    origins: dict

    def put(self, raw, source=None, kind=Kind.DATA, age=0.0):
        """Give the mirror a frame."""
        source = source or extent()
        here = self.origins.setdefault(source, origin(source.plc, source.db, extent=source))
        error = "timeout" if kind is Kind.FAILURE else None
        self.mailbox.put(Frame(kind, self.context.clock.wall() - age, here, {}, raw=raw, error=error))

    async def write(self, raw, source=None, followed=None, **others):
        """Give it a frame, with one of another kind behind it, and wait until the first is dealt with."""
        before = self.results()
        self.put(raw, source, **others)
        if followed is not None:
            self.put(None, source, followed)
        await eventually(lambda: self.results() != before, "a result")

    def results(self):
        """How many frames became what."""
        found = self.context.metrics.samples("edge_mirror_frames_total")
        return {labels["result"]: int(value) for labels, value in found}

    @property
    def state(self):
        """What the mirror says of itself."""
        return self.context.actor.state, self.context.actor.reason


def play(script, chosen=None, **plc):
    """Run `script(stage)` beside a mirror in virtual time; then end both. What was logged."""

    async def main(loop):
        target = Target({101: bytearray(SIZE), 102: bytearray(600)}, **plc)
        await target.power_on()
        context = make_context(loop, node="mirror")
        mailbox = Mailbox(loop, s7_mirror.capacity, s7_mirror.overflow, context.actor.drop)
        task = asyncio.ensure_future(s7_mirror.build(chosen or options(), context)(mailbox))
        stage = Stage(context, mailbox, task, target, {})
        await script(stage)
        mailbox.close()
        await task
        await asyncio.sleep(0.1)
        assert loop.connections == []
        assert target.violations == []
        target.close()

    with capture_logs() as log:
        run_virtual(main)
    return [entry for entry in log if entry.get("audit")]


def raw(first):
    """A block's bytes that begin with this one."""
    return bytes(range(first, first + SIZE))


def test_bytes_go_where_the_target_says_and_only_when_they_differ():
    """The first frame is written in one piece, an equal one is not, the next one is."""

    async def script(stage):
        for first in (1, 1, 2):
            await stage.write(raw(first))
        assert stage.target.written == [(101, 0, raw(1)), (101, 0, raw(2))]
        assert stage.results() == {"written": 2, "unchanged": 1}
        assert stage.state == (State.RUNNING, "")
        assert stage.context.details()["routes"] == {"press1 DB1.0..13 -> DB101.0..13": "in step"}

    (line,) = play(script)
    assert (line["event"], line["result"], line["device"]) == ("mirror started", "written", "target:102")


def test_raw_tsaps_take_the_place_of_rack_and_slot():
    """What is no CPU in a rack (LOGO!, a soft PLC) is written, too."""

    async def script(stage):
        stage.target.tsaps = {b"\x03\x01"}
        await stage.write(raw(1))
        assert stage.target.written == [(101, 0, raw(1))]

    play(script, options(target={"tsap": TargetTsapOptions(local="10.00", remote="03.01")}))


def test_what_somebody_else_changed_in_the_target_is_put_right():
    """The comparison is with the target itself, not with what was written last."""

    async def script(stage):
        await stage.write(raw(1))
        stage.target.blocks[S7Area.DB, 101][3] = 99
        await stage.write(raw(1))
        assert stage.target.memory() == raw(1)

    play(script)


@pytest.mark.parametrize("pdu", [112, 240, 480, 960])
def test_a_long_block_is_cut_between_fields_and_only_changed_pieces_are_written(pdu):
    """120 REALs from byte 2 on: no piece ends inside a REAL, none is longer than the PDU carries."""
    solid = ((0, 2), *((2 + 4 * index, 4) for index in range(120)))
    source = extent(db=2, size=482, solid=solid)

    async def script(stage):
        first, second = bytes(range(1, 242)) * 2, None
        await stage.write(first, source)
        pieces = list(stage.target.written)
        assert b"".join(data for _, _, data in pieces) == first
        assert all(len(data) <= pdu - 28 for _, _, data in pieces)
        assert len(pieces) == -(-482 // ((pdu - 28 - 2) // 4 * 4 + 2)) or pdu > 480
        assert all((start - 2) % 4 == 0 for _, start, _ in pieces[1:])
        second = first[:-1] + b"\xff"
        await stage.write(second, source)
        assert stage.target.written[len(pieces) :] == [(102, pieces[-1][1], second[pieces[-1][1] :])]
        assert stage.target.memory(102)[:482] == second

    play(script, options(["DB102.0..481"], target={"db": 102}), pdu=pdu)


def test_blocks_without_a_told_place_keep_number_and_first_byte():
    """DB101 byte 4 goes to DB101 byte 4; `dbs` and `plc_id` leave the rest out."""

    async def script(stage):
        await stage.write(b"abcd", extent(db=101, size=4, start=4))
        stage.put(b"nono", extent(db=102, size=4))
        stage.put(b"nono", extent(db=101, size=4, plc="press2"))
        await asyncio.sleep(1)
        assert stage.target.written == [(101, 4, b"abcd")]

    play(script, options(["DB101.0..13", "DB102.0..13"], target={"db": None}, dbs=[101], plc_id="press1"))


def test_what_the_allow_list_does_not_cover_is_never_written():
    """Also where `check` could not see it: counted, told once, and the target is not even asked."""

    async def script(stage):
        for _ in range(3):
            stage.put(b"x" * 15, extent(size=15))
        await asyncio.sleep(1)
        assert (stage.target.written, stage.target.reads) == ([], 0)
        assert stage.context.actor.drops == {"not_allowed": 3}
        state, reason = stage.state
        assert state is State.DEGRADED
        assert "DB101.0..14 is outside of `allow`" in reason

    (line,) = play(script)
    assert line["event"] == "mirror stopped"


def test_a_second_block_for_the_same_range_is_not_written():
    """The first one has it."""

    async def script(stage):
        await stage.write(raw(1))
        stage.put(raw(2), extent(plc="press2"))
        await asyncio.sleep(1)
        assert stage.target.memory() == raw(1)
        assert stage.context.actor.drops == {"not_allowed": 1}
        assert "has the same target" in stage.state[1]

    play(script)


def test_frames_without_all_their_bytes_are_not_written():
    """Incomplete reads, failures and heartbeats write nothing; what stops it is told, and so is its going on."""

    async def script(stage):
        await stage.write(raw(1))
        stage.put(None, kind=Kind.HEARTBEAT)
        stage.put(None)
        await asyncio.sleep(0.1)
        assert "incompletely" in stage.state[1]
        stage.put(None, kind=Kind.FAILURE)
        await asyncio.sleep(0.1)
        assert "the source can't be read (timeout)" in stage.state[1]
        await stage.write(raw(2))
        assert stage.state == (State.RUNNING, "")
        assert stage.context.actor.drops == {"incomplete": 1}
        assert stage.target.written == [(101, 0, raw(1)), (101, 0, raw(2))]

    events = [line["event"] for line in play(script)]
    assert events == ["mirror started", "mirror stopped", "mirror stopped", "mirror resumed"]


def test_a_source_that_fails_is_told_until_it_reads_again_whatever_is_still_written():
    """What was read before goes to the target, at once or when that is back; the mirror is not in step by it."""

    async def script(stage):
        await stage.write(raw(1))
        await stage.write(raw(2), followed=Kind.FAILURE)
        assert stage.target.memory() == raw(2)
        assert "the source can't be read (timeout)" in stage.state[1]
        await stage.write(raw(3))
        assert stage.state == (State.RUNNING, "")
        stage.target.close()
        await eventually(lambda: stage.state[0] is State.BACKING_OFF, "lost")
        stage.put(raw(4))
        stage.put(None, kind=Kind.FAILURE)
        await stage.target.power_on()
        await eventually(lambda: stage.target.memory() == raw(4), "written", 60)
        await asyncio.sleep(1)
        assert "the source can't be read (timeout)" in stage.state[1]

    events = [line["event"] for line in play(script, options(max_age=Duration(60)))]
    assert (events[:3], events.count("mirror resumed")) == (["mirror started", "mirror stopped", "mirror resumed"], 1)


def test_an_old_frame_is_not_written():
    """The target was away for a minute: what waited is older than `max_age`, the next frame is written."""

    async def script(stage):
        await stage.write(raw(1))
        stage.target.close()
        await eventually(lambda: stage.state[0] is State.BACKING_OFF, "lost")
        stage.put(raw(2))
        await asyncio.sleep(60)
        await stage.target.power_on()
        await eventually(lambda: stage.results().get("too_old"), "too old", 120)
        assert stage.target.written == [(101, 0, raw(1))]
        assert "max_age (5s)" in stage.state[1]
        await stage.write(raw(3))
        assert stage.state == (State.RUNNING, "")
        await stage.write(raw(4), age=6)
        assert stage.target.memory() == raw(3)

    lines = play(script)
    assert [line["event"] for line in lines].count("mirror resumed") == 1


def test_only_the_latest_waits_for_a_target_that_is_away():
    """Of a hundred frames the last one is written when the target comes; the others are counted."""

    async def script(stage):
        stage.target.close()
        await asyncio.sleep(3)
        for first in range(100):
            stage.put(raw(first))
        await stage.target.power_on()
        await eventually(lambda: stage.target.written, "written", 60)
        assert stage.target.written == [(101, 0, raw(99))]
        assert stage.context.actor.drops == {"superseded": 99}

    play(script, options(max_age=Duration(60)))


def test_a_silent_target_is_left_and_found_again():
    """A time-out ends the connection; after it the mirror goes on by itself."""

    async def script(stage):
        await stage.write(raw(1))
        stage.target.fault = silent
        stage.put(raw(2))
        await eventually(lambda: stage.state[0] is State.BACKING_OFF, "noticed")
        stage.target.fault = None
        await stage.write(raw(3))
        assert stage.target.memory() == raw(3)

    events = [line["event"] for line in play(script)]
    assert events == ["mirror started", "mirror stopped", "mirror resumed"]


@pytest.mark.parametrize(
    ("refusal", "error", "word"),
    [
        (0x03, 0, "write-protected"),
        (0x05, 0, "ends before the written range"),
        (0x0A, 0, "Optimized block access"),
        (0, 0x8104, "PUT/GET"),
        (0, 0xD241, "full access"),
    ],
)
def test_a_refusal_is_explained_and_not_repeated_with_every_frame(refusal, error, word):
    """Degraded with what to change; pauses grow; when it is mended the mirror goes on."""

    async def script(stage):
        stage.target.refusal, stage.target.write_error = refusal, error
        for first in range(120):
            stage.put(raw(first))
            await asyncio.sleep(1)
        state, reason = stage.state
        assert state is State.DEGRADED
        assert word in reason
        assert stage.results()["refused"] < 10
        stage.target.refusal = stage.target.write_error = 0
        for _ in range(70):
            stage.put(raw(5))
            await asyncio.sleep(1)
        assert stage.state == (State.RUNNING, "")
        assert stage.target.memory() == raw(5)

    events = [line["event"] for line in play(script)]
    assert events == ["mirror stopped", "mirror started"]


def test_a_target_block_that_is_missing_is_named():
    """The comparison finds out before anything is written."""

    async def script(stage):
        await stage.write(raw(1))
        assert "target does not exist" in stage.state[1]
        assert stage.target.written == []

    play(script, options(["DB7.0..13"], target={"db": 7}))


def test_dry_run_compares_and_writes_nothing():
    """What would have been written is counted, shown, and told where it begins and ends."""

    async def script(stage):
        for data, told in (
            (bytes(SIZE), "in step"),
            (raw(1), f"would write {SIZE} bytes"),
            (raw(2), f"would write {SIZE} bytes"),
            (bytes(SIZE), "in step"),
        ):
            await stage.write(data)
            assert list(stage.context.details()["routes"].values()) == [told]
        assert stage.results() == {"dry_run": 2, "unchanged": 2}
        assert stage.target.written == []

    assert [(entry["event"], entry["would_write_bytes"]) for entry in play(script, options(dry_run=True))] == [
        ("mirror started", 0),
        ("mirror would write", SIZE),
        ("mirror would write nothing more", 0),
    ]


def test_verify_writes_again_a_bounded_number_of_times():
    """A target that forgets twice gets it at the third attempt; one that always forgets is told of."""

    async def script(stage):
        stage.target.forgets = 2
        await stage.write(raw(1))
        assert len(stage.target.written) == 3
        assert stage.state == (State.RUNNING, "")
        stage.target.forgets = 100
        await stage.write(raw(2))
        assert len(stage.target.written) == 6
        assert stage.results() == {"written": 1, "unverified": 1}
        assert "does not keep what is written" in stage.state[1]

    play(script, options(verify=True))


def test_stopping_writes_what_waits_and_does_not_wait_for_a_target_that_is_away():
    """The last frame before the end is written; without a connection the end comes at once."""

    async def script(stage):
        await eventually(lambda: stage.state[0] is State.RUNNING, "connected")
        stage.put(raw(1))
        stage.mailbox.close()
        await stage.task
        assert stage.target.memory() == raw(1)

    async def away(stage):
        stage.target.close()
        await asyncio.sleep(5)
        stage.put(raw(1))
        began = stage.context.clock.loop.time()
        stage.mailbox.close()
        await stage.task
        assert stage.context.clock.loop.time() - began < 2.5

    play(script)
    play(away)


def test_it_can_be_run_again_after_being_cancelled():
    """A second run begins anew, with a connection of its own."""

    async def main(loop):
        async with Target({101: bytearray(SIZE)}) as target:
            for first in (1, 2):
                context = make_context(loop)
                mailbox = Mailbox(loop, 100, Overflow.DROP_OLDEST, context.actor.drop)
                task = asyncio.ensure_future(s7_mirror.build(options(), context)(mailbox))
                mailbox.put(Frame(Kind.DATA, context.clock.wall(), origin(extent=extent()), {}, raw=raw(first)))
                await eventually(lambda first=first: target.memory() == raw(first), "written")
                task.cancel()
                await asyncio.wait((task,))
                await asyncio.sleep(0.1)
                assert loop.connections == []

    run_virtual(main)


def test_the_forecast_counts_requests():
    """One to compare, one to write, one to read back."""
    scope = Scope(graph="g", node="mirror")
    lines = dict(s7_mirror.forecast(options(verify=True), scope, Flow(frames=10)).lines)
    assert lines["requests a second"] == "10 to compare, at most 30 with writing"


GRAPH = """
layouts:
  block: {size: 14, fields: {n: INT @ 0}}
sources:
  one: {type: s7, address: 10.0.0.1, plc_id: one, every: 1s, blocks: [{db: 1, layout: block}]}
  two: {type: s7, address: 10.0.0.2, plc_id: two, every: 1s, blocks: [{db: 1, layout: block}, {db: 2, layout: block}]}
transforms:
  beat: {type: heartbeat, from: one}
sinks:
"""


def problems(*sinks):
    """What `check` says of mirrors in that graph."""
    text = GRAPH + "".join(f"  {name}: {{type: s7_mirror, {rest}}}\n" for name, rest in sinks)
    try:
        return [str(problem) for problem in load_text(text, Path("g.yaml"), {}).warnings]
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]


THIRD = "target: {address: 10.0.0.3, db: 101}"


@pytest.mark.parametrize(
    ("sinks", "found"),
    [
        ([("m", f"from: beat, {THIRD}, allow: [DB101.0..13]")], []),
        (
            [("m", f"from: one, {THIRD}, allow: [DB101.0..12]")],
            ["allow: one DB1.0..13 would be written to DB101.0..13"],
        ),
        ([("m", f"from: one, {THIRD}, allow: [DB101.9..13, DB101.0..3, DB101.2..8]")], []),
        (
            [("m", f"from: one, {THIRD}, allow: [DB101.0..5, DB101.7..13, DB102.6..6]")],
            ["would be written to DB101.0..13, which no range of `allow` covers"],
        ),
        ([("m", f"from: one, {THIRD}, allow: [DB10.0..13]")], ["DB101 is not in `allow`, so nothing would be written"]),
        ([("m", f"from: one, {THIRD}, allow: [DB101]")], ["allow[0]: 'DB101' is not a range; write DB101.0..13"]),
        ([("m", f"from: one, {THIRD}, allow: [DB101.9..3]")], ["the first not above the last"]),
        ([("m", f"from: one, {THIRD}, allow: []")], ["allow"]),
        (
            [("m", "from: one, target: {address: a, tsap: {local: 1000, remote: '03.01'}}, allow: [DB1.0..13]")],
            ["target.tsap.local"],
        ),
        ([("m", f"from: one, {THIRD}")], ["allow: is required and missing"]),
        ([("m", "from: one, target: {db: 1}, allow: [DB1.0..13]")], ["target.address: is required and missing"]),
        ([("m", "from: one, target: {address: '1.2.3.4:102'}, allow: [DB1.0..13]")], ["an address and a port"]),
        ([("m", "from: one, target: {address: 'u:pw@1.2.3.4'}, allow: [DB1.0..13]")], ["address: this is not an IP"]),
        ([("m", f"from: one, {THIRD}, allow: [DB101.0..13], dry_run: true")], ["warning: node 'm'"]),
        ([("m", f"from: one, {THIRD}, dbs: [3], allow: [DB101.0..13]")], ["nothing that comes in would be mirrored"]),
        ([("m", f"from: [one, two], dbs: [1], {THIRD}, allow: [DB101.0..13]")], ["where one DB1.0..13 is written;"]),
        ([("m", f"from: two, {THIRD}, allow: [DB101.0..13]")], ["where two DB1.0..13 is written;"]),
        ([("m", f"from: two, dbs: [2], {THIRD}, allow: [DB101.0..13]")], []),
        (
            [
                ("m", f"from: one, {THIRD}, allow: [DB101.0..13]"),
                ("n", "from: two, dbs: [1], target: {address: 10.0.0.3, db: 101, start: 13}, allow: [DB101.0..99]"),
            ],
            ["where one DB1.0..13 is written by node 'm'"],
        ),
        (
            [
                ("m", "from: one, target: {address: 10.0.0.2}, allow: [DB1.0..13]"),
                ("n", "from: two, dbs: [1], target: {address: 10.0.0.1}, allow: [DB1.0..13]"),
            ],
            ["node 'n' (s7_mirror): target: bytes would go round in a circle"],
        ),
        (
            [
                ("m", "from: one, target: {address: 10.0.0.2}, allow: [DB1.0..13]"),
                ("n", "from: two, dbs: [1], target: {address: 10.0.0.1, db: 2}, allow: [DB2.0..13]"),
            ],
            [],
        ),
        ([("m", "from: one, target: {address: 10.0.0.1}, allow: [DB1.0..13]")], ["one DB1.0..13 -> one DB1.0..13"]),
    ],
)
def test_mistakes_are_told_before_anything_connects(sinks, found):
    """Each names the node, the option, what would happen."""
    told = [line for line in problems(*sinks) if "nobody takes" not in line]
    assert len(told) == len(found), told
    for line, part in zip(told, found, strict=True):
        assert part in line


def test_a_round_trip_through_the_cpp_server(native_plc):
    """A block of one PLC arrives byte for byte in another's, next to bytes that stay as they were."""
    content = bytes(range(100, 114))
    plc = native_plc({101: b"\xee" * 20}, events=True)

    async def main():
        loop = asyncio.get_running_loop()
        context = make_context(loop)
        mailbox = Mailbox(loop, 100, Overflow.DROP_OLDEST, context.actor.drop)
        target = {"address": "127.0.0.1", "port": plc.port, "start": 3, "retry": Retry(initial=Duration(0.05))}
        chosen = options(["DB101.3..16"], target=target, verify=True)
        task = asyncio.ensure_future(s7_mirror.build(chosen, context)(mailbox))
        here = origin(extent=extent())

        async def arrives(data):
            mailbox.put(Frame(Kind.DATA, context.clock.wall(), here, {}, raw=data))
            await eventually(lambda: written() and context.actor.state is State.RUNNING, "written")

        def written():
            samples = context.metrics.samples("edge_mirror_frames_total")
            return sum(value for labels, value in samples if labels["result"] == "written") > count

        count = 0
        await arrives(content)
        assert await stored(context.clock, plc.port) == b"\xee" * 3 + content + b"\xee" * 3
        plc.poke(101, 5, b"\0\0")
        count = 1
        await arrives(content)
        assert await stored(context.clock, plc.port) == b"\xee" * 3 + content + b"\xee" * 3
        plc.restart()
        count = 2
        while not written():
            mailbox.put(Frame(Kind.DATA, context.clock.wall(), here, {}, raw=content[::-1]))
            await asyncio.sleep(0.02)
        assert await stored(context.clock, plc.port) == b"\xee" * 3 + content[::-1] + b"\xee" * 3
        mailbox.close()
        await task

    asyncio.run(main())


async def stored(clock, port):
    """The target block's bytes, read over another connection."""
    session = await connect(clock, "127.0.0.1", port, Tsaps.of(3, 0, 1), patience=5)
    data = await read_extent(session, extent(db=101, size=20))
    session.close()
    return data


def test_a_source_with_mistakes_does_not_accuse_its_mirror():
    """Only the source's mistake is told."""
    text = GRAPH.replace("db: 1, layout: block}]}\n  two", "db: 0, layout: block}]}\n  two")
    with pytest.raises(ConfigurationError) as caught:
        load_text(text + f"  m: {{type: s7_mirror, from: one, {THIRD}, allow: [DB101.0..13]}}\n", Path("g.yaml"), {})
    assert ["node 'one'" in str(problem) for problem in caught.value.problems] == [True]
