"""Endpoints of node-red-contrib-s7 in exported flows: the PLC, how it is reached, and its variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pipeline.errors import UsageError
from pipeline.importing.program import Program, Station, Tag
from pipeline.s7.address import parse_address

__all__ = ["read_flows"]

_ENDPOINT = "s7 endpoint"
_VARIABLE = re.compile(r"(DB\d{1,5})[,.](?:DB)?([A-Z]+)(\d{1,6})((?:\.\d{1,5}){0,2})", re.IGNORECASE)
_OTHER = re.compile(r"([PMIQEA])([A-Z]*)(\d{1,6})((?:\.\d{1,5}){0,2})", re.IGNORECASE)
_TYPES = {
    "X": "BOOL",
    "B": "BYTE",
    "W": "WORD",
    "D": "DWORD",
    "C": "CHAR",
    "I": "INT",
    "DI": "DINT",
    "DW": "DWORD",
    "R": "REAL",
    "S": "STRING",
    "LR": "LREAL",
    "LI": "LINT",
    "LW": "LWORD",
    "ULI": "ULINT",
    "WC": "WCHAR",
    "WS": "WSTRING",
    "DT": "DATE_AND_TIME",
    "DTZ": "DATE_AND_TIME",
    "DTLZ": "DTL",
    "BOOLEAN": "BOOL",
    "FLOAT": "REAL",
}
_FASTEST, _SLOWEST = 0.01, 3600.0


def read_flows(text: str, file: PurePath, program: Program) -> None:
    """Take over the endpoints of a flow.

    Raises:
        UsageError: it is no JSON, or has no such endpoint.
    """
    try:
        flow = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{file}' is no JSON: {error}") from error
    endpoints = list(_endpoints(flow))
    if not endpoints:
        raise UsageError(f"'{file}' has no node of type '{_ENDPOINT}'; export the flow with its configuration nodes")
    lines = text.splitlines()
    for endpoint in endpoints:
        _endpoint(endpoint, _Finder(lines, str(endpoint.get("id", ""))), file, program)


class _Finder:
    """Lines of a text that JSON has forgotten: the first after an endpoint's own that has a name."""

    def __init__(self, lines: Sequence[str], start: str) -> None:
        self._lines = lines
        self.first = self._after(0, start)

    def line(self, name: str) -> int:
        return self._after(self.first - 1, name)

    def _after(self, begin: int, words: str) -> int:
        if len(self._lines) == 1:
            return 1
        quoted = json.dumps(words)
        return next((n + 1 for n in range(begin, len(self._lines)) if quoted in self._lines[n]), begin + 1)


def _endpoints(flow: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(flow, dict):
        flow = [flow] if "type" in flow else flow.get("flows", [])
    for node in flow if isinstance(flow, list) else []:
        if isinstance(node, dict):
            if node.get("type") == _ENDPOINT:
                yield node
            yield from _endpoints(node.get("configs", []))


def _endpoint(node: Mapping[str, Any], finder: _Finder, file: PurePath, program: Program) -> None:
    name = str(node.get("name") or node.get("address") or "plc")
    if node.get("transport", "iso-on-tcp") != "iso-on-tcp":
        program.tell(file, finder.first, f"{name}: is reached by {node['transport']}, not by TCP; left out")
        return
    tags = tuple(_tags(node.get("vartable"), name, finder, file, program))
    if not tags:
        program.tell(file, finder.first, f"{name}: has no variable that can be read; left out")
        return
    tsap = None
    if node.get("connmode") == "tsap":
        local, remote = (
            f"{node.get(f'{side}tsaphi', '')!s:0>2}.{node.get(f'{side}tsaplo', '')!s:0>2}"
            for side in ("local", "remote")
        )
        tsap = (local, remote)
    address = node.get("address")
    program.stations.append(
        Station(
            name=name,
            address=address if isinstance(address, str) and "${" not in address else "",
            port=_number(node.get("port"), 102),
            rack=_number(node.get("rack"), 0),
            slot=_number(node.get("slot"), 2),
            tsap=tsap,
            every=min(max(_number(node.get("cycletime"), 1000) / 1000, _FASTEST), _SLOWEST),
            tags=tags,
        )
    )


def _number(value: Any, default: int) -> int:
    text = str(value).strip()
    return int(text) if re.fullmatch(r"\d{1,9}", text) else default


def _tags(table: Any, endpoint: str, finder: _Finder, file: PurePath, program: Program) -> Iterator[Tag]:
    if isinstance(table, str):  # as older versions kept it
        try:
            table = json.loads(table or "[]")
        except (ValueError, RecursionError):
            program.tell(file, finder.first, f"{endpoint}: its table of variables can't be read")
            return
    for row in table if isinstance(table, list) else []:
        if not isinstance(row, dict):
            continue
        name, place = str(row.get("name") or row.get("addr") or ""), str(row.get("addr") or "")
        line = finder.line(name)
        try:
            address = _address(place)
        except ValueError as error:
            program.tell(file, line, f"{name}: {error}; left out")
            continue
        if re.search(r"DTL?Z", place, re.IGNORECASE):
            program.tell(file, line, f"{name}: is UTC there; set `timezone: UTC` if all times are")
        yield Tag(name=name, address=address, file=file, line=line)


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
