"""Topics: a template filled from frames, once per origin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import structlog

from pipeline.errors import Finding
from pipeline.frame import Origin

__all__ = ["Topics", "check_template", "fill"]

_FIELD = re.compile(r"\{([^{}]*)\}")
_FORBIDDEN = frozenset("+#\0")
LONGEST = 65535
"""Bytes of a topic name in MQTT."""


def fill(template: str, fields: Mapping[str, str]) -> tuple[str, list[str]]:
    """The template with its fields filled in, and the names of fields that are unset or unfit for a topic."""
    missing = [
        name for name in _FIELD.findall(template) if not fields.get(name) or not _FORBIDDEN.isdisjoint(fields[name])
    ]
    return _FIELD.sub(lambda match: fields.get(match[1], ""), template), missing


def check_template(template: str, option: str, known: Iterable[str] = ()) -> Iterable[Finding]:
    """What is wrong with a template whatever the frames are.

    Args:
        template: with fields like `{plc_id}`.
        option: the option's name.
        known: the fields there are, where others are mistakes; empty: any, since blocks have tags of their own.
    """
    fixed = _FIELD.sub("", template)
    if "{" in fixed or "}" in fixed:
        yield Finding(path=(option,), message=f"unbalanced braces in '{template}'", hint="a field is written {plc_id}")
    if not _FORBIDDEN.isdisjoint(fixed):
        yield Finding(path=(option,), message=f"'{template}' has a wildcard (+, #)", hint="a topic names one place")
    if len(template.encode()) > LONGEST // 2:
        yield Finding(path=(option,), message="is too long for a topic")
    for name in _FIELD.findall(template):
        if known and name not in known:
            yield Finding(
                path=(option,), message=f"unknown field {{{name}}}", hint=f"allowed: {', '.join(sorted(known))}"
            )


class Topics:
    """The topics of one sink, kept in each origin's cache and told in the log once each."""

    def __init__(self, template: str, node: str, log: structlog.typing.FilteringBoundLogger) -> None:
        """Make it.

        Args:
            template: with `{tenant_id}`, `{plc_id}`, `{db}`, `{measurement}` and names of block tags.
            node: the sink's name; two sinks share origins, but not topics.
            log: where topics are told.
        """
        self._template = template
        self._key = f"topic of {node}"
        self._log = log
        self._told: set[str] = set()

    def of(self, origin: Origin) -> str:
        """The topic for frames of this origin; `plc/db<n>` or `plc/tags` where the template can't be filled."""
        topic: str | None = origin.cache.get(self._key)
        if topic is None:
            topic = origin.cache[self._key] = self._resolve(origin)
        return topic

    def _resolve(self, origin: Origin) -> str:
        db = "" if origin.db is None else str(origin.db)
        own = {"tenant_id": origin.tenant_id, "plc_id": origin.plc_id, "db": db, "measurement": origin.measurement}
        topic, missing = fill(self._template, {**origin.tags, **own})
        if missing or not topic or len(topic.encode()) > LONGEST:
            topic = f"plc/db{db}" if db else "plc/tags"
        if topic not in self._told:
            self._told.add(topic)
            if missing:
                self._log.warning("MQTT topic falls back", template=self._template, unset=missing, topic=topic)
            self._log.info("MQTT publish topic resolved to:", topic=topic)
        return topic
