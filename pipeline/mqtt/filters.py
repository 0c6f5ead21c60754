"""Topic filters: what a subscription asks for, and what a topic's levels say."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipeline.errors import Finding
from pipeline.mqtt.codec import MOST

__all__ = ["TopicPattern", "check_filter", "levels_of", "matches"]

_FIELD = re.compile(r"\{([^{}]+)\}")
_SHARED = re.compile(r"\$share/[^/+#]+/(.+)", re.DOTALL)


def levels_of(topic_filter: str) -> tuple[str, ...]:
    """The levels of a filter; the `$share/<group>/` of a shared subscription is none of them."""
    shared = _SHARED.fullmatch(topic_filter)
    return tuple((shared[1] if shared else topic_filter).split("/"))


def matches(levels: tuple[str, ...], topic: str) -> bool:
    """Whether a topic is one of those that the filter of these levels asks for (section 4.7 of MQTT 5)."""
    found = topic.split("/")
    if topic.startswith("$") and levels[0] in {"+", "#"}:
        return False
    for index, level in enumerate(levels):
        if level == "#":
            return True
        if index >= len(found) or level not in {"+", found[index]}:
            return False
    return len(found) == len(levels)


def check_filter(topic_filter: str, path: tuple[str | int, ...]) -> Iterable[Finding]:
    """What is wrong with a filter."""
    levels = levels_of(topic_filter)
    if topic_filter.startswith("$share/") and not _SHARED.fullmatch(topic_filter):
        hint = "write $share/<group>/<filter>"
        yield Finding(path=path, message=f"'{topic_filter}' is no shared subscription", hint=hint)
    elif not topic_filter or "\0" in topic_filter or len(topic_filter.encode()) > MOST:
        yield Finding(path=path, message="is empty, too long, or has a NUL", hint="write a topic such as plc/+/press1")
    elif "#" in levels[:-1] or any(len(level) > 1 and ("+" in level or "#" in level) for level in levels):
        hint = "+ stands for one whole level, # for all that follow, at the end: plc/+/status, plc/#"
        yield Finding(path=path, message=f"'{topic_filter}' has a wildcard in the wrong place", hint=hint)
    elif "{" in topic_filter:
        hint = "write + for any name, and name the levels in `topic_pattern`"
        yield Finding(path=path, message=f"'{topic_filter}' has a field in braces", hint=hint)


class TopicPattern:
    """A topic whose levels have names: `plc/{tenant_id}/{plc_id}`."""

    def __init__(self, text: str) -> None:
        """Read it.

        Raises:
            ValueError: a level mixes text and name, or has a wildcard.
        """
        self._levels = text.split("/") if text else []
        for level in self._levels:
            if level not in {"+", "#"} and not _FIELD.fullmatch(level) and re.search(r"[{}+#]", level):
                raise ValueError(f"'{level}' in '{text}' is neither a name in braces, nor +, nor plain text")
        if "#" in self._levels[:-1]:
            raise ValueError(f"# in '{text}' is not at the end")

    def read(self, topic: str) -> dict[str, str]:
        """What a topic's levels say, by name; nothing where it is another kind of topic."""
        found = topic.split("/")
        open_end = self._levels[-1:] == ["#"]
        levels = self._levels[:-1] if open_end else self._levels
        if len(found) < len(levels) or (len(found) > len(levels) and not open_end):
            return {}
        names: dict[str, str] = {}
        for level, said in zip(levels, found, strict=False):
            if field := _FIELD.fullmatch(level):
                names[field[1]] = said
            elif level not in {"+", said}:
                return {}
        return names
