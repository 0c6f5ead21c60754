"""The JSON Schema (draft 2020-12) of graph files, and the options of an operator in words, from the same classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, get_args, get_origin

import msgspec

from pipeline.config.bind import fields
from pipeline.config.convert import (
    choices,
    expected,
    is_options,
    is_union,
    members,
    pattern_words,
    shapes,
    unwrap,
    written,
)
from pipeline.config.http import Http
from pipeline.config.layouts import LayoutOptions
from pipeline.config.loader import GraphName
from pipeline.config.recorder import RecorderOptions
from pipeline.operator import NodeKind, Options, find, names
from pipeline.units import Duration, Secret, Size

__all__ = ["OptionRow", "describe", "option_rows", "schema", "schema_of", "schema_text"]

_SUBSTITUTED = {"type": "string", "pattern": r"\$\{"}
_QUANTITIES = r"^\s*(?:[0-9]+(?:\.[0-9]+)?\s*(?:{units})\s*){times}$|^\s*0\s*$|\$\{{"
_FIRST_TO_LAST = {r"\A": "^", r"\Z": "$"}
"""What Python's patterns have and those of editors (ECMA-262) don't."""
_ZERO = {"const": 0}
_SIMPLE: Mapping[Any, dict[str, Any]] = {
    Any: {},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    # A plain `true` is text too where text is wanted; but an editor would then offer it everywhere.
    str: {"type": ["string", "number"]},
    Duration: {
        "anyOf": [
            {
                "type": "string",
                "pattern": _QUANTITIES.format(units="us|ms|s|m|min|h|d|w", times="+"),
                "patternErrorMessage": "A duration has a number and a unit: 500ms, 1s, 15m, 1h30m, 7d.",
            },
            _ZERO,
        ]
    },
    Size: {
        "anyOf": [
            {
                "type": "string",
                "pattern": _QUANTITIES.format(units="(?:[kKmMgGtT][iI]?)?[bB]", times="{1}"),
                "patternErrorMessage": "A size has a number and a unit: 64MiB, 1GiB, 500kB.",
            },
            _ZERO,
        ]
    },
    Secret: {
        "anyOf": [
            {"type": ["string", "number"]},
            {
                "type": "object",
                "properties": {"file": {"type": "string", "description": "A file whose text is the secret."}},
                "allOf": [{"required": ["file"]}],
                "additionalProperties": False,
            },
        ]
    },
}
_BOUNDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
}
_NODE = {
    "enabled": {
        "description": "false: the node is checked and left out.",
        "anyOf": [{"type": "boolean"}, _SUBSTITUTED],
    },
}
_FROM = {
    "description": "The node whose frames it takes, or a list of them.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
}


def schema_text(made: Mapping[str, Any] | None = None) -> str:
    """A schema as a file holds it; that of graph files unless told."""
    return json.dumps(schema() if made is None else made, indent=1, ensure_ascii=False) + "\n"


def schema_of(cls: type[Options], title: str) -> dict[str, Any]:
    """The schema of a file that is one set of options."""
    definitions: dict[str, Any] = {}
    own = _Builder(definitions).object(cls)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **own,
        "patternProperties": {"^x-": {"description": "Anything: a place for anchors."}},
        "$defs": dict(sorted(definitions.items())),
    }


def schema(*, shipped: bool = False) -> dict[str, Any]:
    """The schema of a whole file: every operator that is installed, its options with descriptions and bounds.

    Args:
        shipped: only the operators of this project.
    """
    definitions: dict[str, Any] = {}
    builder = _Builder(definitions)
    sections = {kind.value: _section(kind, names(kind, shipped=shipped), builder) for kind in NodeKind}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline graph",
        "type": "object",
        "properties": {
            "name": builder.of(GraphName),
            "http": builder.of(Http),
            "recorder": builder.of(RecorderOptions),
            "layouts": {
                "description": "Records of named fields; they nest and repeat.",
                "type": ["object", "null"],
                "additionalProperties": builder.of(LayoutOptions),
            },
            **sections,
        },
        "patternProperties": {"^x-": {"description": "Anything: a place for anchors."}},
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def _section(kind: NodeKind, types: Iterable[str], builder: _Builder) -> dict[str, Any]:
    """A section: which options a node may have follows from its `type`."""
    takes = kind in (NodeKind.TRANSFORM, NodeKind.SINK)
    docs = {name: find(kind, name).doc.partition("\n")[0] for name in types}
    type_: dict[str, Any] = {
        "description": "What it is; `python -m pipeline operators NAME` tells all of one.",
        "anyOf": [{"enum": list(docs), "enumDescriptions": list(docs.values())}, _SUBSTITUTED],
    }
    variants = []
    for name, doc in docs.items():
        own = builder.object(find(kind, name).options, {"type": {}, **_NODE, **({"from": _FROM} if takes else {})})
        key = f"{kind.value}.{name}"
        builder.definitions[key] = {"title": name, "description": doc, **own}
        # A pattern, since the YAML language server takes the beginning of a `const` for it: s7 for s7plus.
        chosen = {"properties": {"type": {"type": "string", "pattern": f"^{name}$"}}, "required": ["type"]}
        variants.append({"if": chosen, "then": {"$ref": f"#/$defs/{key}"}})
    node: dict[str, Any] = {
        "type": "object",
        "properties": {"type": type_},
        "allOf": [{"required": ["type", "from"] if takes else ["type"]}, *variants],
    }
    return {
        "description": f"The {kind.value} of the graph, by name.",
        "type": ["object", "null"],
        "additionalProperties": node,
    }


class _Builder:
    """Makes schemas of types; options classes are shared as definitions."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self.definitions = definitions
        self._keys: dict[Any, str] = {}

    def of(self, hint: Any) -> dict[str, Any]:
        """The schema of an annotated type."""
        base, metas = unwrap(hint)
        result = self._plain(base)
        for meta in metas:
            result = _with_meta(result, base, meta)
        if is_options(base) and "description" not in result:
            # Beside the reference, not inside: editors prefer what is inside to the description of the option.
            result["description"] = (base.__doc__ or "").partition("\n")[0]
        return result

    def object(self, cls: Any, also: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The schema of an options class, with the keys of a node beside its own."""
        properties: dict[str, Any] = dict(also or {})
        for field in fields(cls):
            properties[field.encode_name] = self.of(field.type)
            default = _default(field)
            if default not in (None, ""):
                properties[field.encode_name] = {**properties[field.encode_name], "default": default}
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **_required([field.encode_name for field in fields(cls) if field.required]),
        }

    def _plain(self, base: Any) -> dict[str, Any]:
        if is_union(base):
            return {"anyOf": list(self._members(base))}
        if is_options(base):
            return self._reference(base)
        if (allowed := choices(base)) is not None:
            return {"anyOf": [{"enum": [_as_read(written(choice)) for choice in allowed]}, _SUBSTITUTED]}
        if base in _SIMPLE:
            simple = dict(_SIMPLE[base])
            return {"anyOf": [simple, _SUBSTITUTED]} if base in (bool, int, float) else simple
        return self._container(base)

    def _members(self, base: Any) -> Iterator[dict[str, Any]]:
        """The schemas of a union; a mapping's short form (`INT @ 10`) first, since its mistakes say more."""
        short = next((form for member in members(base) if (form := getattr(member, "short_form", None))), None)
        if short:
            yield _short(short)
        for member in members(base):
            if not (member is str and short):
                yield self._plain(unwrap(member)[0]) if is_options(unwrap(member)[0]) else self.of(member)

    def _container(self, base: Any) -> dict[str, Any]:
        inner = get_args(base)
        if shapes(base) == {"mapping"}:
            return {"type": "object", "additionalProperties": self.of(inner[1]) if inner else True}
        if shapes(base) == {"list"}:
            if get_origin(base) is tuple and inner and inner[-1] is not Ellipsis:
                return {"type": "array", "prefixItems": [self.of(part) for part in inner], "items": False}
            return {"type": "array", "items": self.of(inner[0]) if inner else True}
        return dict(_SIMPLE[str])

    def _reference(self, cls: Any) -> dict[str, Any]:
        key = self._keys.get(cls)
        if key is None:
            key = (
                cls.__qualname__ if cls.__qualname__ not in self.definitions else f"{cls.__module__}.{cls.__qualname__}"
            )
            self._keys[cls] = key  # before its fields, in case the class holds itself
            self.definitions[key] = {}
            self.definitions[key] = self.object(cls)
        return {"$ref": f"#/$defs/{key}"}


def _required(keys: list[str]) -> dict[str, Any]:
    """What must be there, apart from the properties.

    Beside them the YAML language server would offer it as a suggestion of its own, named as the class is.
    """
    return {"allOf": [{"required": keys}]} if keys else {}


def _short(form: Mapping[str, str]) -> dict[str, Any]:
    """The text that stands for a mapping: a field, an address."""
    return {"type": "string", **form, "pattern": f"{form['pattern']}|{_SUBSTITUTED['pattern']}"}


def _as_read(choice: str) -> Any:
    """A choice as an editor's YAML reader sees it unquoted: `5` is a number."""
    return int(choice) if choice.isdigit() else choice


def _with_meta(result: dict[str, Any], base: Any, meta: msgspec.Meta) -> dict[str, Any]:
    extra: dict[str, Any] = {
        key: value
        for key, value in (("title", meta.title), ("description", meta.description), ("examples", meta.examples))
        if value is not None
    }
    bounds: dict[str, Any] = {}
    if base in (int, float):
        bounds = {word: getattr(meta, name) for name, word in _BOUNDS.items() if getattr(meta, name) is not None}
    elif base is str and meta.pattern is not None:
        pattern = re.sub(r"\\[AZ]", lambda match: _FIRST_TO_LAST[match[0]], meta.pattern)
        bounds = {"anyOf": [{"pattern": pattern, "patternErrorMessage": pattern_words(meta)}, _SUBSTITUTED]}
    elif base in (Duration, Size) and (meta.gt is not None or (meta.ge or 0) > 0):
        bounds = {"anyOf": [form for form in result["anyOf"] if form != _ZERO]}
    elif shapes(base) == {"list"}:
        bounds = _lengths(meta, "minItems", "maxItems")
    elif shapes(base) == {"mapping"} and not is_options(base):
        bounds = _lengths(meta, "minProperties", "maxProperties")
    # Bounds on numbers leave texts alone, so they may stand beside the alternative `${…}`.
    more = {key: value for key, value in (meta.extra_json_schema or {}).items() if key != "patternErrorMessage"}
    return {**result, **bounds, **extra, **more}


def _lengths(meta: msgspec.Meta, least: str, most: str) -> dict[str, Any]:
    pairs = ((least, meta.min_length), (most, meta.max_length))
    return {word: value for word, value in pairs if value is not None}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """A default that a schema can hold; None for none, and for nested ones, which show theirs themselves."""
    default = field.default
    if default is msgspec.NODEFAULT or default is None or isinstance(default, Secret):
        return None
    if isinstance(default, bool):
        return default
    if isinstance(default, Duration | Size):
        return str(default)
    return default if isinstance(default, int | float) else written(default) if _is_text(default) else None


def _is_text(default: Any) -> bool:
    return isinstance(default, str | PurePath) or choices(type(default)) is not None


def describe(options: Any, margin: str = "") -> Iterator[str]:
    """The options in words, one a line: name, type, default or that it is required, description; nested ones indented.

    Args:
        options: the class.
        margin: what each line begins with.
    """
    for field in fields(options):
        base, metas = unwrap(field.type)
        text = " ".join(meta.description for meta in metas if meta.description)
        default = _default(field)
        state = "required" if field.required else f"default {default}" if default not in (None, "") else ""
        kind = "" if any(is_options(member) for member in members(base)) else expected(base)
        about = ", ".join(part for part in (kind, state) if part)
        yield f"{margin}{field.encode_name}" + (f" ({about})" if about else "") + (f": {text}" if text else "")
        for _, inner in _ways(base):
            yield from describe(inner, f"{margin}  ")


@dataclass(frozen=True, kw_only=True)
class OptionRow:
    """An option in words.

    Attributes:
        name: with its way from the node: `tls.ca_file`, `plcs[].address`, `fields.NAME.factor`.
        kind: what it takes, with bounds; "" where further options stand below it.
        required: it has no default.
        default: as text; "" for none, and for what is empty.
        meaning: its description.
    """

    name: str
    kind: str
    required: bool
    default: str
    meaning: str


def option_rows(options: Any, prefix: str = "") -> Iterator[OptionRow]:
    """The options as rows of a table, nested ones behind the one that holds them.

    Args:
        options: the class.
        prefix: what each name begins with.
    """
    for field in fields(options):
        base, metas = unwrap(field.type)
        name = f"{prefix}{field.encode_name}"
        default = _default(field)
        text = str(default).lower() if isinstance(default, bool) else "" if default is None else str(default)
        meaning = " ".join(meta.description for meta in metas if meta.description)
        kind = ", ".join(filter(None, (_kind(base), *(_limits(base, meta) for meta in metas))))
        yield OptionRow(name=name, kind=kind, required=field.required, default=text, meaning=meaning)
        for way, inner in _ways(base):
            yield from option_rows(inner, f"{name}{way}.")


def _kind(base: Any) -> str:
    kinds = dict.fromkeys(expected(member) for member in members(base) if not is_options(member))
    named = (kind.removeprefix("a ").partition(" such as ")[0] for kind in kinds if kind != expected(type(None)))
    return " or ".join(named)


def _limits(base: Any, meta: msgspec.Meta) -> str:
    plain = next((kind for kind in (unwrap(member)[0] for member in members(base)) if kind in (Duration, Size)), float)
    low, high = (
        None if limit is None else str(plain(limit)) if plain is not float else f"{limit:g}"
        for limit in (meta.gt if meta.ge is None else meta.ge, meta.lt if meta.le is None else meta.le)
    )
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        return f"more than {low}" if meta.ge is None else f"{low} or more"
    return "" if high is None else f"less than {high}" if meta.le is None else f"{high} or less"


def _ways(base: Any) -> Iterator[tuple[str, type[Any]]]:
    """The options classes inside a type, each with the way to it."""
    for member in members(base):
        plain, _ = unwrap(member)
        if is_options(plain):
            yield "", plain
            continue
        step = ".NAME" if shapes(plain) == {"mapping"} else "[]" if shapes(plain) == {"list"} else ""
        for part in get_args(plain):
            if part is not Ellipsis:
                yield from ((step + way, inner) for way, inner in _ways(part))
