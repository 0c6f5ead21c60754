"""Topics: a template filled from frames, once per origin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

import structlog

from pipeline.errors import Finding, PartFailed, Severity
from pipeline.frame import Origin
from pipeline.mqtt.codec import MOST

__all__ = ["Fallback", "Topics", "check_origins", "check_template", "fill", "levels_of_template", "resolve"]

_FIELD = re.compile(r"\{([^{}]*)\}")
_FORBIDDEN = frozenset("+#\0")
_RESERVED = frozenset({"$SYS", "$share"})
"""First levels that belong to the broker; others with a `$` may be somebody's, as `$aws/rules` is."""


class Fallback(StrEnum):
    """Whether frames whose topic can't be filled go to `plc/db<n>`, a topic that all such frames share."""

    ALLOW = "allow"
    REFUSE = "refuse"


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
    if (first := template.partition("/")[0]) in _RESERVED:
        yield Finding(
            path=(option,),
            message=f"'{template}' is the broker's own: it denies each message to {first}/…",
            hint="begin it with another name",
            severity=Severity.WARNING,
        )
    if len(template.encode()) > MOST // 2:
        yield Finding(path=(option,), message="is too long for a topic", hint="65,535 bytes at most")
    for name in _FIELD.findall(template):
        if known and name not in known:
            yield Finding(
                path=(option,), message=f"unknown field {{{name}}}", hint=f"allowed: {', '.join(sorted(known))}"
            )


def check_origins(template: str, origins: Iterable[Origin], fallback: Fallback) -> Iterable[Finding]:
    """Say once for each kind of lack that frames of an origin have no topic of their own.

    A field that an origin lacks is a mistake where falling back is refused. A tag may still be added on the way.
    """
    told = set()
    for origin in origins:
        own = _own(origin)
        fields = _FIELD.findall(template)
        missing = [name for name in fields if name in own and not own[name]]
        if fallback is Fallback.REFUSE and missing and (lack := ", ".join(missing)) not in told:
            told.add(lack)
            yield Finding(
                path=("topic",),
                message=f"'{template}' can't be filled for {origin.plc_id or origin.ip}, which has no {lack}",
                hint=f"set it; with fallback: allow its frames would go to {_shared(origin)}",
            )
        for name in fields:
            if name not in own and name not in origin.tags and name not in told:
                told.add(name)
                yield Finding(
                    path=("topic",),
                    message=f"no tag '{name}' at {origin.plc_id or origin.ip}, block {origin.measurement}",
                    hint=f"fields are {', '.join(own)} and the block's tags; a transform may add one",
                    severity=Severity.WARNING,
                )


def _own(origin: Origin) -> dict[str, str]:
    db = "" if origin.db is None else str(origin.db)
    return {"tenant_id": origin.tenant_id, "plc_id": origin.plc_id, "db": db, "measurement": origin.measurement}


def _shared(origin: Origin) -> str:
    return "plc/tags" if origin.db is None else f"plc/db{origin.db}"


def levels_of_template(template: str) -> tuple[str, ...]:
    """The levels of a template, `+` where frames fill one in; a tag with a slash in it makes more of them."""
    return tuple("+" if _FIELD.search(level) else level for level in template.split("/"))


def resolve(template: str, origin: Origin) -> tuple[str, bool]:
    """The topic of an origin's frames, and whether it is their own: else it is the one that all such frames share."""
    topic, missing = fill(template, {**origin.tags, **_own(origin)})
    if missing or not topic or len(topic.encode()) > MOST:
        return _shared(origin), False
    return topic, True


class Topics:
    """The topics of one sink, kept in each origin's cache and told in the log once each."""

    def __init__(
        self,
        template: str,
        node: str,
        log: structlog.typing.FilteringBoundLogger,
        fallback: Fallback = Fallback.ALLOW,
    ) -> None:
        """Make it.

        Args:
            template: with `{tenant_id}`, `{plc_id}`, `{db}`, `{measurement}` and names of block tags.
            node: the sink's name; two sinks share origins, but not topics.
            log: where topics are told.
            fallback: whether there is a topic for what can't be filled.
        """
        self._template = template
        self._key = f"topic of {node}"
        self._log = log
        self._fallback = fallback
        self._told: set[str] = set()

    def of(self, origin: Origin) -> str:
        """The topic for frames of this origin; `plc/db<n>` or `plc/tags` where the template can't be filled.

        Raises:
            PartFailed: it can't be filled, and falling back is refused.
        """
        topic: str | None = origin.cache.get(self._key)
        if topic is None:
            topic = origin.cache[self._key] = self._resolve(origin)
        return topic

    def _resolve(self, origin: Origin) -> str:
        topic, own = resolve(self._template, origin)
        missing = fill(self._template, {**origin.tags, **_own(origin)})[1]
        if not own and self._fallback is Fallback.REFUSE:
            lack = f"which has no {', '.join(missing)}" if missing else "it would be too long"
            raise PartFailed(f"topic '{self._template}' can't be filled for {origin.plc_id or origin.ip}, {lack}")
        if topic not in self._told:
            self._told.add(topic)
            if missing:
                self._log.warning("MQTT topic falls back", template=self._template, unset=missing, topic=topic)
            self._log.info("MQTT publish topic resolved to:", topic=topic)
        return topic
