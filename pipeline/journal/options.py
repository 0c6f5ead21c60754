"""The options of a journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.operator import Claim, Flow, Options
from pipeline.units import Duration, Size

__all__ = ["Compression", "JournalClaim", "JournalOptions", "Order", "WhenFull", "same_receiver"]

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


@dataclass(frozen=True, kw_only=True)
class JournalClaim(Claim):
    """A journal that a sink will open: what the engine looks at before a changed graph takes over.

    Attributes:
        receiver: who its frames are for, such as `mqtts://host:8883`.
    """

    receiver: str = field(repr=False)  # a host that is wrong may hold a password, and claims are shown

    @property
    def folder(self) -> Path:
        """Where it is, absolute."""
        return Path(self.key)


def same_receiver(one: str, other: str) -> bool:
    """Whether frames for one may go to the other: a broker is the same, encrypted or not."""
    return one.replace("mqtts://", "mqtt://", 1) == other.replace("mqtts://", "mqtt://", 1)


class JournalOptions(Options):
    """Where and how frames are kept until the receiver has acknowledged them."""

    path: Annotated[
        str,
        Meta(description="its folder, which no other sink may have; default data/<graph>/<node>", min_length=1),
    ] = ""
    max_size: Annotated[Size, Meta(description="disk space for frames", ge=65536)] = Size(1024**3)
    max_age: Annotated[
        Duration, Meta(description="frames that waited longer go; counted while running, not by the wall clock", gt=0)
    ] = Duration(7 * 86400)
    when_full: Annotated[WhenFull, Meta(description="what gives way at max_size; pause stops the sources")] = (
        WhenFull.DROP_OLDEST
    )
    commit_interval: Annotated[
        Duration,
        Meta(
            description="a frame is acknowledged or on disk within this time; 0s: on disk before it is sent",
            ge=0,
            le=60,
        ),
    ] = Duration(1.0)
    order: Annotated[Order, Meta(description="new frames behind the backlog, or at once beside it")] = Order.FIFO
    drain_rate: Annotated[
        float, Meta(description="frames a second from the backlog; 0: no limit with fifo, 2000 with live_first", ge=0)
    ] = 0.0
    keep_after_ack: Annotated[
        Duration, Meta(description="keep acknowledged frames this long, to send them again by hand", ge=0)
    ] = Duration(0.0)
    compression: Annotated[Compression, Meta(description="less disk for more CPU")] = Compression.NONE

    def placed(self, graph: str, node: str) -> JournalOptions:
        """The same in the folder that a sink's journal has when none is told."""
        return self if self.path else msgspec.structs.replace(self, path=f"data/{graph}/{node}")

    def claim(self, receiver: str) -> JournalClaim:
        """What a sink with the option `journal` claims for it."""
        key = str(Path(self.path).resolve())
        return JournalClaim(what="journal", key=key, path=("journal", "path"), receiver=receiver)

    def forecast(self, flow: Flow) -> tuple[tuple[str, str], ...]:
        """How long the journal holds what comes (frames a second, bytes of one), as `check` shows it."""
        kept = flow.frames * (flow.size + _RECORD)
        if not kept:
            return ()
        hours = min(self.max_size / kept, self.max_age) / 3600
        limit = "max_size" if self.max_size / kept < self.max_age else "max_age"
        return (("journal headroom", f"{hours:.3g} h without the receiver ({limit})"),)
