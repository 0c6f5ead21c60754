"""Comments of a block's members, as its XML descriptions have them: those that the CPU was loaded with.

A block keeps two documents: its interface, where each member has an `ID`, and its comments, by path of such numbers:
`51:65`. Records are described beside the block (`SubParts`), their members point there (`SubPartIndex`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from s7commplus import iter_preset_streams

__all__ = ["comments_of"]

_DEEPEST = 32


def comments_of(answer: bytes) -> dict[tuple[str, ...], str]:
    """Comments by the names from the block on, out of an answer that holds both documents; what is odd is left out."""
    interface: Any = None
    texts: dict[str, str] = {}
    for stream in iter_preset_streams(answer):
        try:
            document = stream.xml
        except SyntaxError:  # what ElementTree raises for a document that is none
            continue
        if document.tag == "BlockInterface" and (interface is None or stream.preset.kind == "IntfDesc"):
            interface = document
        texts.update(_texts(document))
    part = interface.find("Part") if interface is not None else None
    if part is not None and part.get("Kind") == "Values":  # an instance, or a block made of a type
        part = part.find("SubParts/Part")
    return dict(_named(part, (), (), texts, 0)) if part is not None else {}


def _texts(document: Any) -> Iterator[tuple[str, str]]:
    for comment in document.iter("Comment"):
        entries = [entry.text.strip() for entry in comment.iter("DictEntry") if entry.text and entry.text.strip()]
        if comment.get("Path") and entries:
            yield comment.get("Path"), " ".join(entries[0].split())


def _named(
    part: Any, ids: tuple[str, ...], names: tuple[str, ...], texts: Mapping[str, str], depth: int
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The comments of a part's members, and of those below them."""
    parts = list(part.find("SubParts") if part.find("SubParts") is not None else ())
    sections = [each for each in parts if str(each.get("Kind")).endswith("Section")]
    members = [*part.iterfind("Payload//Member"), *(m for each in sections for m in each.iterfind("Payload//Member"))]
    for member in members:
        if member.get("ID") is None or member.get("Name") is None:
            continue
        path, here = (*ids, member.get("ID")), (*names, member.get("Name"))
        if text := texts.get(":".join(path)):
            yield here, text
        index = member.get("SubPartIndex", "")
        if index.isdigit() and int(index) < len(parts) and depth < _DEEPEST:
            yield from _named(parts[int(index)], path, here, texts, depth + 1)
