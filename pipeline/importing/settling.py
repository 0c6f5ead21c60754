"""Names and places that the engine would refuse: renamed or left out, and told, until it refuses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from pipeline.config.layouts import FieldOptions, LayoutOptions, Naming, build_layouts
from pipeline.errors import Severity
from pipeline.importing.placement import PlacedLayout, Places
from pipeline.importing.program import Program, Tag, flat, plain
from pipeline.s7.wanted import TagOptions, check_tags

__all__ = ["settle_layouts", "settle_tags"]

_ROUNDS = 32
_NOT_STORED = "the platform would not store it by this name; rename it here (`check` says what a name may be)"


def settle_layouts(places: Places, program: Program) -> None:
    """Tell names that changed; rename or drop what the engine would refuse, until it refuses nothing."""
    fields = [each for layout in places.layouts.values() for each in layout.fields]
    _tell_names(((each.file, each.line, each.title, each.name) for each in fields), program)
    naming = Naming(first_index=places.first_index)
    for _ in range(_ROUNDS):
        options = {
            name: LayoutOptions(
                size=layout.size, fields={each.name: FieldOptions(type=each.type, at=each.at) for each in layout.fields}
            )
            for name, layout in places.layouts.items()
        }
        built, findings = build_layouts(options)
        findings += [clash for block in places.blocks for clash in built[block.layout].clashes(naming)]
        wrong = {finding.path: finding.message for finding in findings if finding.severity is Severity.ERROR}
        if not wrong:
            for path in dict.fromkeys(finding.path for finding in findings):
                placed = next(each for each in places.layouts[str(path[0])].fields if each.name == path[2])
                program.tell(placed.file, placed.line, f"{placed.name}: {_NOT_STORED}")
            return
        messages: dict[str, dict[str, str]] = {}
        for (layout, _, field, *_), message in wrong.items():
            messages.setdefault(str(layout), {})[str(field)] = message
        for layout, told in messages.items():
            _mend(places.layouts[layout], told, program)


def _mend(layout: PlacedLayout, messages: Mapping[str, str], program: Program) -> None:
    """Rename or drop the fields of which the engine says something."""
    kept = []
    for field in layout.fields:
        message = messages.get(field.name)
        if message is None:
            kept.append(field)
        elif "reserved" in message or "two values" in message:
            name, reason = f"{field.name}_", message.split(";", maxsplit=1)[0]
            kept.append(replace(field, name=name))
            program.tell(field.file, field.line, f"{field.name}: is called {name}: {reason}")
        else:
            program.tell(field.file, field.line, f"{field.name}: left out, since {message}")
    layout.fields = kept


def settle_tags(tags: Sequence[Tag], naming: Naming, program: Program) -> dict[str, Tag]:
    """Tags by the names they get: what the engine would refuse is renamed, or left out and told."""
    taken: dict[str, Tag] = {}
    doubled: dict[PurePath, list[tuple[int, str]]] = {}
    for tag in tags:
        name = flat(tag.name)
        first = taken.get(name)
        if first is not None and replace(first, file=tag.file, line=tag.line, comment=tag.comment) == tag:
            text = f"{tag.name}: stands in {first.file.name}:{first.line} already, at the same address; taken once"
            doubled.setdefault(tag.file, []).append((tag.line, text))
            continue
        while name in taken:
            name += "_"
        taken[name] = tag
    for file, texts in doubled.items():
        program.tell_each(file, texts)
    _tell_names(((tag.file, tag.line, tag.name, name) for name, tag in taken.items()), program)
    for _ in range(_ROUNDS):
        options = {
            name: TagOptions(address=tag.address, scale=tag.scale, offset=tag.offset) for name, tag in taken.items()
        }
        findings = list(check_tags(options, naming))
        wrong = {str(each.path[1]): each.message for each in findings if each.severity is Severity.ERROR}
        for name, message in wrong.items():
            tag = taken.pop(name)
            other = f"{name}_"
            if ("reserved" in message or "also a value" in message) and other not in taken:
                taken[other] = tag
                program.tell(tag.file, tag.line, f"{tag.name}: is called {other}: {message}")
            else:
                program.tell(tag.file, tag.line, f"{tag.name}: left out, since {message}")
        if not wrong:
            for name in dict.fromkeys(str(each.path[1]) for each in findings):
                program.tell(taken[name].file, taken[name].line, f"{taken[name].name}: {_NOT_STORED}")
            break
    return taken


def _tell_names(found: Iterable[tuple[PurePath, int, str, str]], program: Program) -> None:
    """Note which names are others here than in their file: file, line, the file's name, ours."""
    changed: dict[PurePath, list[tuple[int, str]]] = {}
    for file, line, name, ours in found:
        if plain(name) != ours:
            changed.setdefault(file, []).append((line, f"{name}: is called {ours}, since {_reason(name, ours)}"))
    for file, texts in changed.items():
        program.tell_each(file, texts)


def _reason(name: str, ours: str) -> str:
    """Why a name became ours."""
    if flat(name) != ours:
        return f"{flat(name)} is there already"
    if not plain(name):
        return "it has no name"
    return "a dot means a level below" if "." in name else "'${' begins a variable"
