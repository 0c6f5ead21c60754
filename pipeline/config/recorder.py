"""`recorder:` the flight recorder, which keeps the latest answers of all sources."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pipeline.operator import Options
from pipeline.units import Duration, Size

__all__ = ["RecorderOptions"]


class RecorderOptions(Options):
    """The flight recorder of a running graph."""

    enabled: Annotated[bool, Meta(description="false: nothing is kept, and no recording can be asked for.")] = True
    keep: Annotated[Duration, Meta(description="How far back it remembers.", gt=0)] = Duration(600)
    max_size: Annotated[Size, Meta(description="Memory that it takes at most.", ge=65_536)] = Size(16 << 20)
    folder: Annotated[
        str, Meta(description="Where its recordings go; empty: `recordings` in the graph's folder under DATA_DIR.")
    ] = ""
    pause: Annotated[Duration, Meta(description="Least time between two recordings that nobody asked for.", ge=1)] = (
        Duration(600)
    )
    files: Annotated[int, Meta(description="Recordings that are kept; older ones are removed.", ge=1)] = 10
