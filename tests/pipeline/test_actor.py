"""Mailboxes and states."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from pipeline.actor import Mailbox, State
from pipeline.clock import VirtualLoop, run_virtual
from pipeline.frame import Frame
from pipeline.operator import Overflow
from tests.parts.engine import data, make_context, origin

FRAMES = [data(origin(), n=n) for n in range(5)]


def test_one_loop_turn_is_one_batch_and_closing_ends_the_consumer() -> None:
    """What is put in one turn comes as one list; after close and the last frame `consume` returns."""

    async def main(loop: VirtualLoop) -> list[list[Frame]]:
        batches: list[list[Frame]] = []
        mailbox = Mailbox(loop, 10, Overflow.DROP_NEWEST, lambda _: None)
        mailbox.put(FRAMES[0])
        task = loop.create_task(mailbox.consume(batches.append))
        await asyncio.sleep(1)
        mailbox.put(FRAMES[1])
        mailbox.put(FRAMES[2])
        await asyncio.sleep(1)
        mailbox.put(FRAMES[3])
        mailbox.close()
        await task
        return batches

    assert run_virtual(main) == [[FRAMES[0]], [FRAMES[1], FRAMES[2]], [FRAMES[3]]]


@pytest.mark.parametrize(("overflow", "kept"), [(Overflow.DROP_OLDEST, [2, 3, 4]), (Overflow.DROP_NEWEST, [0, 1, 2])])
def test_a_full_mailbox_gives_up_frames_by_its_policy_and_says_so(overflow: Overflow, kept: list[int]) -> None:
    """Three fit; the policy decides which three, two are counted."""

    async def main(loop: VirtualLoop) -> tuple[list[Frame], list[str]]:
        dropped: list[str] = []
        mailbox = Mailbox(loop, 3, overflow, dropped.append)
        for frame in FRAMES:
            mailbox.put(frame)
        mailbox.close()
        got: list[Frame] = []
        async for batch in mailbox.batches():
            got.extend(batch)
        return got, dropped

    assert run_virtual(main) == ([FRAMES[n] for n in kept], ["mailbox_full"] * 2)


def test_a_raising_handler_ends_consume_and_the_rest_waits() -> None:
    """The supervisor gets the exception; frames that came later are there for the next consumer."""

    async def main(loop: VirtualLoop) -> list[Frame]:
        mailbox = Mailbox(loop, 10, Overflow.DROP_NEWEST, lambda _: None)

        def bad(_: list[Frame]) -> None:
            raise ValueError("broken")

        mailbox.put(FRAMES[0])
        with pytest.raises(ValueError, match="broken"):
            await mailbox.consume(bad)
        mailbox.put(FRAMES[1])
        mailbox.close()
        got: list[Frame] = []
        await mailbox.consume(got.extend)
        return got

    assert run_virtual(main) == [FRAMES[1]]


def test_who_waits_for_a_receiver_wakes_up_at_the_end() -> None:
    """The pause lasts as long as told, or until the mailbox is closed; once it is, there is none."""

    async def main(loop: VirtualLoop) -> list[tuple[bool, float]]:
        mailbox = Mailbox(loop, 10, Overflow.DROP_NEWEST, lambda _: None)
        loop.call_at(15, mailbox.close)
        return [(await mailbox.closed_within(10), loop.time()) for _ in range(3)]

    assert run_virtual(main) == [(False, 10), (True, 15), (True, 15)]


def test_states_remember_why_and_since_when() -> None:
    """A change is kept with its reason and time, and counted; repeating it changes nothing, failing anew counts."""

    async def main(loop: VirtualLoop) -> None:
        actor = make_context(loop).actor
        assert actor.state is State.STARTING
        await asyncio.sleep(5)
        actor.become(State.BACKING_OFF, "connection refused")
        since = actor.since
        await asyncio.sleep(5)
        actor.become(State.BACKING_OFF, "connection refused")
        assert (actor.since, list(actor.last_errors)) == (since, [(since, "connection refused")])
        assert (actor.was_running, actor.errors) == (False, 1)
        actor.fail("connection refused")
        assert (actor.errors, actor.since) == (2, since)
        actor.become(State.RUNNING)
        assert actor.was_running
        assert (actor.reason, actor.errors) == ("", 2)

    run_virtual(main)


def test_drops_are_logged_at_once_and_then_once_a_minute_with_their_count() -> None:
    """A flood of one reason is three lines, another reason has its own; when it is over, the next one tells at once."""

    async def main(loop: VirtualLoop) -> list[tuple[float, str, int, int]]:
        lines: list[tuple[float, str, int, int]] = []
        with capture_logs() as logs:
            actor = make_context(loop).actor
            actor.drop("mailbox_full", 0)
            for second in range(100):
                actor.drop("mailbox_full")
                if second == 10:
                    actor.drop("too_old", 7)
                await asyncio.sleep(1)
                lines += [(loop.time(), log["reason"], log["count"], log["total"]) for log in logs]
                logs.clear()
            await asyncio.sleep(300)
            actor.drop("mailbox_full", 2)
            lines += [(loop.time(), log["reason"], log["count"], log["total"]) for log in logs]
        assert actor.drops == {"mailbox_full": 102, "too_old": 7}
        return lines

    found = run_virtual(main)
    assert [line[1:] for line in found] == [
        ("mailbox_full", 1, 1),
        ("too_old", 7, 7),
        ("mailbox_full", 59, 60),
        ("mailbox_full", 40, 100),
        ("mailbox_full", 2, 102),
    ]
    assert found[-1][0] >= 400


def test_a_state_whose_reason_changes_all_the_time_is_logged_seldom_and_counted_always() -> None:
    """Each reason once a minute, ten of them at most; how many were held back stands in the next line."""

    async def main(loop: VirtualLoop) -> None:
        with capture_logs() as logs:
            actor = make_context(loop).actor
            for _ in range(100):
                for topic in "abc":
                    actor.become(State.DEGRADED, f"the broker refuses {topic}")
                    await asyncio.sleep(0.1)
            assert [log["reason"][-1] for log in logs] == ["a", "b", "c"]
            for number in range(100):
                actor.become(State.DEGRADED, f"the broker refuses plc{number}")
            assert (len(logs), logs[3]["suppressed"]) == (10, 297)
            await asyncio.sleep(60)
            actor.become(State.DEGRADED, "the broker refuses a")
            assert (len(logs), logs[-1]["suppressed"], actor.errors) == (11, 93, 401)
            actor.become(State.RUNNING)
            actor.become(State.DEGRADED, "the broker refuses a")
            warnings = [log for log in logs if log["log_level"] == "warning"]
            assert (len(warnings), "suppressed" in warnings[-1]) == (12, False)

    run_virtual(main)
