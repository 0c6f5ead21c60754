"""Endpoints of node-red-contrib-s7 in exported flows: the PLC, how it is reached, and its variables."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pipeline.errors import UsageError
from pipeline.importing.program import Program, Station, Tag
from pipeline.s7.address import NODES7, parse_address
from pipeline.units import Duration

__all__ = ["read_flows"]

_ENDPOINT = "s7 endpoint"
_VARIABLE = re.compile(r"(DB\d{1,5})[,.](?:DB)?([A-Z]+)(\d{1,6})((?:\.\d{1,5}){0,2})", re.IGNORECASE)
_OTHER = re.compile(r"([PMIQEA])([A-Z]*)(\d{1,6})((?:\.\d{1,5}){0,2})", re.IGNORECASE)
_TYPES = {**NODES7, "DTZ": "DATE_AND_TIME", "DTLZ": "DTL", "BOOLEAN": "BOOL", "FLOAT": "REAL"}
_PERIODS, _TIMEOUTS = (1000, 0.01, 3600.0), (0, 0.05, 60.0)
"""What is taken where nothing is told, in ms; the least and the most a source may have, in seconds."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SILENT = {_ENDPOINT, "s7 in", "tab", "group", "comment"}
"""Nodes of which nothing is lost."""
_KINDS = 5


def read_flows(text: str, file: PurePath, program: Program) -> None:
    """Take over the endpoints of a flow.

    Raises:
        UsageError: it is no JSON, or has no such endpoint.
    """
    try:
        flow = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{file}' is no JSON: {error}; export the flow anew") from error
    nodes = list(_nodes(flow))
    lines = _Lines(text)
    endpoints = [node for node in nodes if node.get("type") == _ENDPOINT]
    if not endpoints:
        raise UsageError(f"'{file}' has no node of type '{_ENDPOINT}'; export the flow with its configuration nodes")
    for endpoint in endpoints:
        if station := _station(endpoint, _Notes(endpoint, lines, file, program)):
            program.stations.append(station)
    _tell_others(nodes, lines, file, program)


class _Lines:
    """Lines of a text that JSON has forgotten, by the texts in quotes on them."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        self._only = len(lines) == 1
        self._found: dict[str, list[int]] = {}
        for n, line in enumerate(lines, 1):
            for quoted in _QUOTED.findall(line):
                self._found.setdefault(quoted, []).append(n)

    def after(self, begin: int, words: str) -> int:
        """The first line from `begin` on that has these words; `begin` where none has."""
        ways = (json.dumps(words), json.dumps(words, ensure_ascii=False))
        found = [] if self._only else next((self._found[way] for way in ways if way in self._found), [])
        place = bisect_left(found, begin)
        return found[place] if place < len(found) else begin


class _Notes:
    """What is told of one node, by the first line after its own that has certain words."""

    def __init__(self, node: Mapping[str, Any], lines: _Lines, file: PurePath, program: Program) -> None:
        self.file = file
        self.first = lines.after(1, str(node.get("id", "")))
        self._lines = lines
        self._program = program

    def line(self, words: str) -> int:
        return self._lines.after(self.first, words)

    def tell(self, text: str, words: str = "") -> None:
        self._program.tell(self.file, self.line(words) if words else self.first, text)


def _nodes(flow: Any) -> Iterator[Mapping[str, Any]]:
    """All nodes, with those that configure others or stand in a tab."""
    if isinstance(flow, dict):
        flow = [flow] if "type" in flow else flow.get("flows", [])
    for node in flow if isinstance(flow, list) else []:
        if isinstance(node, dict):
            yield node
            yield from _nodes(node.get("configs", []))


def _tell_others(nodes: Sequence[Mapping[str, Any]], lines: _Lines, file: PurePath, program: Program) -> None:
    """Say what of a flow has no place in a graph: what writes and where frames went, each; the rest by its kinds."""
    told: list[tuple[int, str]] = []
    others: Counter[str] = Counter()
    first = 0
    for node in nodes:
        kind, line = str(node.get("type", "")), lines.after(1, str(node.get("id", "")))
        if what := _describe(kind, node):
            told.append((line, f"{node.get('name') or kind}: {what}; left out"))
        elif kind not in _SILENT:
            others[kind or "without type"] += 1
            first = first or line
    program.tell_each(file, told)
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(_KINDS))
        more = f" and {len(others) - _KINDS} more kinds" * (len(others) > _KINDS)
        program.tell(file, first, f"what the flow does with the values is not taken over: {kinds}{more}")


def _describe(kind: str, node: Mapping[str, Any]) -> str:
    """What a node did that someone will miss; "" for one of which nothing is said by itself."""
    if kind == "s7 out":
        return f"wrote '{node.get('variable') or 'what a message names'}' to the PLC, and nothing is written here"
    if kind == "s7 control":
        return "changed the cycle, or asked for one; `every` is fixed here"
    if kind == "mqtt-broker":
        place = f"{node.get('broker') or '?'}:{node.get('port') or 1883}"
        return f"is the broker {place}; declare a sink `mqtt` for it, and its user and password as variables"
    return ""


def _station(node: Mapping[str, Any], notes: _Notes) -> Station | None:
    name = str(node.get("name") or node.get("address") or "plc")
    if node.get("transport", "iso-on-tcp") != "iso-on-tcp":
        notes.tell(f"{name}: is reached by {node['transport']}, not by TCP; left out")
        return None
    tags = tuple(_tags(node.get("vartable"), name, notes))
    if not tags:
        notes.tell(f"{name}: has no variable that can be read; left out")
        return None
    tsap = None
    if node.get("connmode") == "tsap":
        local, remote = (
            f"{node.get(f'{side}tsaphi', '')!s:0>2}.{node.get(f'{side}tsaplo', '')!s:0>2}"
            for side in ("local", "remote")
        )
        tsap = (local, remote)
    address = node.get("address")
    return Station(
        name=name,
        file=notes.file,
        line=notes.first,
        address=address if isinstance(address, str) and "${" not in address else "",
        port=_number(node.get("port"), 102),
        rack=_number(node.get("rack"), 0),
        slot=_number(node.get("slot"), 2),
        tsap=tsap,
        every=_seconds(node, "cycletime", _PERIODS, notes),
        timeout=_seconds(node, "timeout", _TIMEOUTS, notes),
        tags=tags,
    )


def _seconds(node: Mapping[str, Any], option: str, limits: tuple[int, float, float], notes: _Notes) -> float:
    """A number of milliseconds as seconds within limits (default in ms, least, most); 0 where there is none."""
    default, least, most = limits
    told = _number(node.get(option), default)
    if not told and not default:
        return 0.0
    seconds = min(max((told or default) / 1000, least), most)
    if seconds != told / 1000:
        notes.tell(f"{option} {told} ms: {Duration(seconds)} is taken", option)
    return seconds


def _number(value: Any, default: int) -> int:
    text = str(value).strip()
    return int(text) if re.fullmatch(r"\d{1,9}", text) else default


def _tags(table: Any, endpoint: str, notes: _Notes) -> Iterator[Tag]:
    if isinstance(table, str):  # as older versions kept it
        try:
            table = json.loads(table or "[]")
        except (ValueError, RecursionError):
            notes.tell(f"{endpoint}: its table of variables can't be read")
            return
    for row in table if isinstance(table, list) else []:
        if not isinstance(row, dict):
            continue
        name, place = str(row.get("name") or row.get("addr") or ""), str(row.get("addr") or "")
        try:
            address = _address(place)
        except ValueError as error:
            notes.tell(f"{name}: {error}; left out", name)
            continue
        if re.search(r"DTL?Z", place, re.IGNORECASE):
            notes.tell(f"{name}: is UTC there; set `timezone: UTC` if all times are", name)
        yield Tag(name=name, address=address, file=notes.file, line=notes.line(name))


def _address(text: str) -> str:
    """An address of nodes7 in the notation of STEP 7: behind a number, a dot begins a bit, a length or a count.

    Raises:
        ValueError: it can't be read.
    """
    place = re.sub(r"\s", "", text)
    match = _VARIABLE.fullmatch(place)
    area = f"{match[1]}:" if match else ""
    if match is None:
        match = _OTHER.fullmatch(place)
        if match is None:
            return str(parse_address(text))
        if match[1].upper() == "P":
            raise ValueError(f"'{text}' is the periphery itself, which can't be asked for; its process image can")
        area = match[1]
    letters = match[2].upper()
    kind = _TYPES.get(letters or "X", letters)
    extra = [part for part in match[4].split(".") if part]
    place = match[3]
    if kind == "BOOL":
        if not extra:
            raise ValueError(f"'{text}': the bit is missing")
        place = f"{place}.{extra.pop(0)}"
    length = f"[{extra.pop(0)}]" if kind in {"STRING", "WSTRING"} and extra else ""
    count = f"[{extra.pop(0)}]" if extra else ""
    return str(parse_address(f"{area}{place}:{kind}{length}{count}"))
