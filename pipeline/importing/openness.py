"""What TIA Portal exports as XML: tag tables of both kinds, and by Openness (SimaticML) data blocks and types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath

from pipeline.errors import UsageError
from pipeline.importing.markup import Element, parse_markup
from pipeline.importing.program import DataBlock, Member, Named, Program, Record, Shape, Tag, key
from pipeline.importing.source_text import read_shape

__all__ = ["read_markup"]

_WHOLE = re.compile(r"\+?\d{1,9}")
_BLOCKS = {"SW.Blocks.GlobalDB", "SW.Blocks.InstanceDB", "SW.Blocks.ArrayDB"}
_TYPES = {"SW.Types.PlcStruct", "SW.Blocks.FB"}
_DEEPEST = 32


def read_markup(text: str, file: PurePath, program: Program) -> None:
    """Take over tags, constants, blocks and types.

    Raises:
        UsageError: it is no XML, or none of TIA Portal.
    """
    root = parse_markup(re.sub(r"^\s*<\?xml[^>]*\?>", "", text), file)
    if root.name in {"Tagtable", "Tagtables"}:
        _table(root, file, program)
    elif root.name == "Document":
        _document(root, file, program)
    else:
        raise UsageError(
            f"{file}:{root.line}: <{root.name}> is no export of TIA Portal's tags, blocks or types; export them anew"
        )


def _table(root: Element, file: PurePath, program: Program) -> None:
    """`<Tag type='Bool' addr='%I0.0' remark='…'>Start</Tag>`, as the table's own button exports it."""
    for tag in root.below("Tag"):
        told = tag.attributes
        _add(program, file, tag, (tag.text.strip(), told.get("addr", ""), told.get("type", ""), told.get("remark", "")))
    constants = [(each.line, each.text.strip(), each.attributes.get("value", "")) for each in root.below("Constant")]
    program.add_constants(file, constants)


def _document(root: Element, file: PurePath, program: Program) -> None:
    for tag in root.below("SW.Tags.PlcTag"):
        cells = [tag.value("AttributeList", name) for name in ("Name", "LogicalAddress", "DataTypeName")]
        _add(program, file, tag, (cells[0], cells[1], cells[2], _comment(tag)))
    constants = [
        (each.line, each.value("AttributeList", "Name"), each.value("AttributeList", "Value"))
        for each in root.below("SW.Tags.PlcUserConstant")
    ]
    program.add_constants(file, constants)
    for child in root.children:
        if child.name in _BLOCKS | _TYPES:
            _declaration(child, file, program)
        elif child.name.startswith(("SW.Blocks.", "SW.Types.")):
            program.tell(file, child.line, f"{child.name} declares no data; left out")


def _add(program: Program, file: PurePath, element: Element, cells: tuple[str, str, str, str]) -> None:
    name, address, kind, comment = cells
    if not address:
        program.tell(file, element.line, f"{name}: has no address; left out")
    else:
        program.add(Tag(name=name, address=address, file=file, line=element.line, comment=comment), kind)


def _comment(element: Element) -> str:
    """The first comment that is not empty, of whatever language."""
    texts = [each for each in element.below("MultilingualText") if each.attributes.get("CompositionName") == "Comment"]
    found = (text.text.strip() for each in texts for text in each.below("Text"))
    return next((text for text in found if text), "")


def _declaration(element: Element, file: PurePath, program: Program) -> None:
    name = element.value("AttributeList", "Name")
    sections = list(element.inside("AttributeList", "Interface", "Sections", "Section"))
    members = [
        replace(member, section=n, by_reference=section.attributes.get("Name") == "InOut")
        for n, section in enumerate(sections, 1)
        if section.attributes.get("Name") not in {"Temp", "Constant", "Return"}
        for member in _members(section, 0)
    ]
    record = Record(members=tuple(members), line=element.line)
    optimised = element.value("AttributeList", "MemoryLayout") == "Optimized"
    if element.name in _TYPES:
        program.types.setdefault(key(name), Named(name=name, record=record, file=file, optimised=optimised))
        return
    if not element.value("AttributeList", "MemoryLayout"):
        text = f"the file does not say whether '{name}' has standard access; the places below hold only if it has"
        program.tell(file, element.line, text)
    number = element.value("AttributeList", "Number")
    shape = Shape(record=record)
    if not members and (instance := element.value("AttributeList", "InstanceOfName")):
        shape = Shape(name=instance, quoted=True)
    program.blocks.append(
        DataBlock(
            name=name,
            shape=shape,
            file=file,
            line=element.line,
            number=int(number) if _WHOLE.fullmatch(number) and 0 < int(number) <= 65535 else None,  # noqa: PLR2004
            optimised=optimised if element.value("AttributeList", "MemoryLayout") else None,
        )
    )


def _members(section: Element, depth: int) -> Iterator[Member]:
    """Members in their order; those of a record or type stand inside of its own."""
    for element in section.inside("Member"):
        shape = read_shape(element.attributes.get("Datatype", ""))
        inner = [*element.inside("Sections", "Section"), element]
        within = [member for each in inner for member in _members(each, depth + 1)] if depth < _DEEPEST else []
        if within:
            shape = Shape(bounds=shape.bounds, record=Record(members=tuple(within), line=element.line))
        numbers = element.inside("AttributeList", "IntegerAttribute")
        offset = next((each.text.strip() for each in numbers if each.attributes.get("Name") == "Offset"), "")
        yield Member(
            name=element.attributes.get("Name", ""),
            shape=shape,
            line=element.line,
            comment=next((each.text for each in element.inside("Comment", "MultiLanguageText") if each.text), ""),
            bit=int(offset) if not depth and _WHOLE.fullmatch(offset) else None,
        )
