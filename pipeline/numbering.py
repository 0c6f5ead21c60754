"""The numbers that sinks give to the frames of each PLC, over all graphs of one process.

`boot` is the process's, so no two frames of a PLC may share a number because the graph has changed: a journal that the
graph before had goes on with its own; another one begins above all that were given.
"""

from __future__ import annotations

__all__ = ["Numbering", "Stream"]


class Stream:
    """The numbering of one PLC.

    Attributes:
        plc: whose, `tenant/plc`.
        seq: the next number.
    """

    __slots__ = ("plc", "seq")

    def __init__(self, plc: str, seq: int = 0) -> None:
        self.plc = plc
        self.seq = seq


class Numbering:
    """What the sinks of one graph number, in the light of the graphs before it.

    Attributes:
        streams: by journal, by PLC.
        former: those of the graph before.
        highest: the number that no sink before has reached, by PLC.
    """

    def __init__(self, before: Numbering | None = None) -> None:
        """Begin with a graph.

        Args:
            before: of the graph that ran in this process until now.
        """
        self.streams: dict[str, dict[str, Stream]] = {}
        self.former: dict[str, dict[str, Stream]] = {}
        self.highest: dict[str, int] = {}
        if before is not None:
            # A graph that failed before its sinks were made has numbered nothing.
            self.former = before.streams or before.former
            self.highest = before.highest.copy()
            for streams in before.streams.values():
                for plc, stream in streams.items():
                    self.highest[plc] = max(stream.seq, self.highest.get(plc, 0))

    def take(self, journal: str) -> dict[str, Stream]:
        """The numbering of the sink with this journal (its folder, absolute), by PLC."""
        if journal not in self.streams:
            anew = {plc: Stream(plc, seq) for plc, seq in self.highest.items()}
            self.streams[journal] = self.former.get(journal, anew)
        return self.streams[journal]
