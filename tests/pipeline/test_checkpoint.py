"""Checkpoints: what counts as processed, for sinks with and without a memory of their own."""

import asyncio

from pipeline.actor import Mailbox
from pipeline.checkpoint import Checkpoint
from pipeline.clock import VirtualLoop, run_virtual
from pipeline.operator import Context, Overflow
from tests.parts.engine import data, make_context, origin


class Kept:
    """A keeper whose numbers are set by hand."""

    taken = safe = 0


def box(loop: VirtualLoop, context: Context) -> Mailbox:
    """An empty mailbox that nobody empties yet."""
    return Mailbox(loop, 10, Overflow.DROP_NEWEST, context.actor.drop)


def test_a_sink_without_memory_has_processed_what_it_took_from_its_mailbox() -> None:
    """Not before; what was put in later does not matter."""

    async def main(loop: VirtualLoop) -> None:
        context = make_context(loop)
        mailbox = box(loop, context)
        assert Checkpoint([])()
        assert Checkpoint([(mailbox, context)])()
        mailbox.put(data(origin(), n=1))
        passed = Checkpoint([(mailbox, context)])
        assert not passed()
        consuming = asyncio.ensure_future(mailbox.consume(lambda _: None))
        await asyncio.sleep(0.1)
        assert passed()
        mailbox.close()
        await consuming

    run_virtual(main)


def test_a_keeper_must_have_made_safe_what_it_took() -> None:
    """All that it had taken when it emptied its mailbox, and every sink behind the source."""

    async def main(loop: VirtualLoop) -> None:
        first, second = make_context(loop), make_context(loop)
        boxes = [(box(loop, context), context) for context in (first, second)]
        first.keeper = kept = Kept()
        for mailbox, _ in boxes:
            mailbox.put(data(origin(), n=1))
        passed = Checkpoint(boxes)
        tasks = [asyncio.ensure_future(mailbox.consume(lambda _: None)) for mailbox, _ in boxes[:1]]
        kept.taken = 5
        await asyncio.sleep(0.1)
        assert not passed()
        kept.taken, kept.safe = 9, 4
        assert not passed()
        kept.safe = 5
        assert not passed(), "the second sink has not taken its frame"
        tasks.append(asyncio.ensure_future(boxes[1][0].consume(lambda _: None)))
        await asyncio.sleep(0.1)
        assert passed()
        assert passed()
        for mailbox, _ in boxes:
            mailbox.close()
        await asyncio.gather(*tasks)

    run_virtual(main)
