"""The routes behind the charts: which numbers there are, and their samples as JSON or CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import math
import time
from collections.abc import Iterator
from itertools import islice

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipeline.web.board import Board, Place
from pipeline.web.history import History
from pipeline.web.sliced import Sliced
from pipeline.web.view import Running

__all__ = ["Charts"]

_FOUND = 60
"""Numbers that one search gives."""
_SERIES = 12
_POINTS = 3000
"""Points of one line, at most."""

Sample = tuple[float, float | None]
_Chosen = tuple[str, str, Place | None]
"""Key of a block, name of a number, the block where it is known."""


class Charts:
    """`/api/series` and `/api/history` of one running graph."""

    def __init__(self, running: Running, board: Board, history: History, turn: asyncio.Lock) -> None:
        self._running = running
        self._board = board
        self._history = history
        self._turn = turn

    async def names(self, request: Request) -> Response:
        """Numbers whose name or block holds each word of `q`; `more` where there are others."""
        self._board.refresh()
        words = request.query_params.get("q", "").lower().split()
        history = self._history
        matching = (
            _facts(place.key, name, place)
            for place in self._board.places
            for name in history.names(place.origin)
            if all(word in f"{place.key} {name}".lower() for word in words)
        )
        found = list(islice(matching, _FOUND + 1))
        told = {"series": found[:_FOUND], "more": len(found) > _FOUND, "period": history.period, "dense": history.dense}
        return Response(msgspec.json.encode(told), media_type="application/json")

    async def samples(self, request: Request) -> Response:
        """Samples of each `s=key|name` after `from` and before `to` (seconds since 1970).

        JSON is thinned out to what a screen shows, keeping the least and the greatest of what is left out;
        `format=csv` gives all of them, a line each. Of a block that is not known, or not yet, there are none.
        """
        asked = request.query_params
        try:
            since, until = float(asked.get("from", -math.inf)), float(asked.get("to", math.inf))
        except ValueError:
            return PlainTextResponse("from and to are seconds since 1970\n", 400)
        self._board.refresh()
        chosen = []
        for series in asked.getlist("s")[:_SERIES]:
            key, _, name = series.partition("|")
            chosen.append((key, name, self._board.find(key)))
        if asked.get("format") == "csv":
            answer = Sliced(self._csv(chosen, since, until), "text/csv; charset=utf-8", self._turn)
            name = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self._running.clock.wall()))
            answer.headers["Content-Disposition"] = f'attachment; filename="{self._running.graph.name}-{name}.csv"'
            return answer
        return Sliced(self._json(chosen, since, until), "application/json", self._turn)

    def _json(self, chosen: list[_Chosen], since: float, until: float) -> Iterator[str]:
        yield "["
        for number, (key, name, place) in enumerate(chosen):
            yield "," if number else ""
            yield f'{{"series":{msgspec.json.encode(_facts(key, name, place)).decode()},"samples":['
            comma = ""
            samples: list[Sample] = []
            for sample in self._history.samples(place.origin, name, since, until) if place else ():
                samples.append(sample)
                yield ""  # here too the loop may have its turn
            for ts, value in _thinned(samples):
                yield f"{comma}[{ts:.3f},{'null' if value is None else repr(value)}]"
                comma = ","
            yield "]}"
        yield "]\n"

    def _csv(self, chosen: list[_Chosen], since: float, until: float) -> Iterator[str]:
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\n")
        writer.writerow(("time", "block", "name", "value", "unit"))
        for key, name, place in chosen:
            if place is None:
                continue
            unit = place.origin.units.get(name, "")
            for ts, value in self._history.samples(place.origin, name, since, until):
                moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ts)) + f".{int(ts % 1 * 1000):03d}Z"
                shown = "" if value is None else f"{value:.15g}"
                writer.writerow((moment, _harmless(key), _harmless(name), shown, _harmless(unit)))
                yield line.getvalue()
                line.seek(0)
                line.truncate()
        yield line.getvalue()


def _harmless(text: str) -> str:
    """Text that a spreadsheet doesn't take for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _thinned(samples: list[Sample]) -> Iterator[Sample]:
    """At most `_POINTS` of the samples: of each stretch the least and the greatest, in their order, and gaps."""
    if len(samples) <= _POINTS:
        yield from samples
        return
    size = math.ceil(2 * len(samples) / _POINTS)
    for begin in range(0, len(samples), size):
        stretch = samples[begin : begin + size]
        known = [sample for sample in stretch if sample[1] is not None]
        if len(known) < len(stretch):
            yield next(sample for sample in stretch if sample[1] is None)
        if known:
            ends = {min(known, key=_value), max(known, key=_value)}
            yield from sorted(ends)


def _value(sample: Sample) -> float:
    return sample[1] or 0.0


def _facts(key: str, name: str, place: Place | None) -> dict[str, str]:
    unit = place.origin.units.get(name, "") if place else ""
    return {"id": f"{key}|{name}", "block": key, "name": name, "unit": unit}
