"""The options of a journal."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from pipeline.operator import Flow, Options
from pipeline.units import Duration, Size

__all__ = ["Compression", "JournalOptions", "Order", "WhenFull"]

_RECORD = 24
"""Bytes a frame around its payload on disk."""


class WhenFull(StrEnum):
    """What happens to frames when the journal has reached `max_size`."""

    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"
    PAUSE = "pause"


class Order(StrEnum):
    """Whether new frames wait behind the backlog or go beside it."""

    FIFO = "fifo"
    LIVE_FIRST = "live_first"


class Compression(StrEnum):
    """How batches are compressed on disk."""

    NONE = "none"
    ZSTD = "zstd"


class JournalOptions(Options):
    """Where and how frames are kept until the receiver has acknowledged them."""

    path: Annotated[str, Meta(description="folder of this sink's journal; each sink needs its own", min_length=1)]
    max_size: Annotated[Size, Meta(description="disk space for frames", ge=65536)] = Size(1024**3)
    max_age: Annotated[
        Duration, Meta(description="frames that waited longer go; counted while running, not by the wall clock", gt=0)
    ] = Duration(7 * 86400)
    when_full: Annotated[WhenFull, Meta(description="what gives way at max_size; pause stops the sources")] = (
        WhenFull.DROP_OLDEST
    )
    commit_interval: Annotated[
        Duration,
        Meta(description="a frame is acknowledged or on disk within this time; 0s: on disk before it is sent", ge=0),
    ] = Duration(1.0)
    order: Annotated[Order, Meta(description="new frames behind the backlog, or at once beside it")] = Order.FIFO
    drain_rate: Annotated[
        float, Meta(description="frames a second from the backlog; 0: no limit with fifo, 2000 with live_first", ge=0)
    ] = 0.0
    keep_after_ack: Annotated[
        Duration, Meta(description="keep acknowledged frames this long, to send them again by hand", ge=0)
    ] = Duration(0.0)
    compression: Annotated[Compression, Meta(description="less disk for more CPU")] = Compression.NONE

    def forecast(self, flow: Flow) -> tuple[tuple[str, str], ...]:
        """How long the journal holds what comes (frames a second, bytes of one), as `check` shows it."""
        kept = flow.frames * (flow.size + _RECORD)
        if not kept:
            return ()
        hours = min(self.max_size / kept, self.max_age) / 3600
        limit = "max_size" if self.max_size / kept < self.max_age else "max_age"
        return (("journal headroom", f"{hours:.3g} h without the receiver ({limit})"),)
