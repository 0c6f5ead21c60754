"""XML as a tree whose elements know their line. Document types are refused, so nothing is expanded or fetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from xml.parsers import expat

from pipeline.errors import UsageError

__all__ = ["Element", "parse_markup"]

_DEEPEST = 128


@dataclass(eq=False)
class Element:
    """An element.

    Attributes:
        name: without what stands before a colon.
        attributes: by name.
        line: counted from 1.
        children: elements inside.
        text: what stands inside, before and between the children.
    """

    name: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def inside(self, *path: str) -> Iterator[Element]:
        """The elements that a path of names leads to."""
        if not path:
            yield self
            return
        for child in self.children:
            if child.name == path[0]:
                yield from child.inside(*path[1:])

    def below(self, name: str) -> Iterator[Element]:
        """All elements of that name, however deep, in the order of the document."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.below(name)

    def value(self, *path: str) -> str:
        """The text of the first element that a path leads to; "" where there is none."""
        return next((element.text.strip() for element in self.inside(*path)), "")


def parse_markup(text: str, file: PurePath) -> Element:
    """The root of a document.

    Raises:
        UsageError: it is no well-formed XML, has a document type, or is nested too deeply.
    """
    parser = expat.ParserCreate()
    top = Element("", {}, 0)
    stack = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > _DEEPEST:
            raise UsageError(
                f"{file}:{parser.CurrentLineNumber}: elements are nested deeper than {_DEEPEST}; export anew"
            )
        element = Element(name.rpartition(":")[2], attributes, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def characters(data: str) -> None:
        stack[-1].text += data

    def doctype(*_: object) -> None:
        raise UsageError(f"{file}:{parser.CurrentLineNumber}: a document type has no place in an export; export anew")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: stack.pop()
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    parser.buffer_text = True
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise UsageError(
            f"{file}:{error.lineno}: this is no XML: {expat.ErrorString(error.code)}; export it anew"
        ) from error
    return top.children[0]
