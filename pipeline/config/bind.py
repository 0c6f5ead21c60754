"""From values with places to typed options, option by option: no mistake hides another, each is told where it stands.

The classes are the operators' own `Options`; their annotations and `Meta` bounds are the only schema. A class with a
`parse(text)` class method that raises `ValueError` is a type of its own: `Duration`, `Size`, `Topic`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec

from pipeline.config.convert import (
    MismatchError,
    Text,
    bounds,
    convert,
    expected,
    expected_of,
    is_options,
    is_union,
    members,
    rank,
    shape,
    shapes,
    unwrap,
)
from pipeline.config.document import Listing, Record, Scalar, Value, resolve
from pipeline.config.interpolate import Substituted, SubstitutionError, interpolate
from pipeline.config.stand_ins import Reading, default, sample, texts
from pipeline.errors import Severity, nearest
from pipeline.files import check_file
from pipeline.operator import Options
from pipeline.units import Secret, Topic

__all__ = ["FAILED", "Binder", "Failed", "OptionPath", "Report", "fields", "nested", "nobody"]

OptionsT = TypeVar("OptionsT", bound=Options)
OptionPath = tuple[str | int, ...]
Report = Callable[[Value, OptionPath, str, str, Severity], None]
"""Told of a mistake: the value (for its place), the option's path, the message, the hint, the severity."""


def nobody(*_: object) -> None:
    """The `Report` of mistakes that have been told, or of what nobody has written."""


class Failed(enum.Enum):
    """What binding gives for a value that has been reported, or whose variable a disabled node need not have."""

    FAILED = "failed"


FAILED: Final = Failed.FAILED


class Binder:
    """Binds values to types for one node."""

    def __init__(
        self,
        environ: Mapping[str, str],
        report: Report = nobody,
        *,
        need_variables: bool | str = True,
        reading: Reading | None = None,
    ) -> None:
        """Make a binder.

        Args:
            environ: the variables.
            report: told of every mistake.
            need_variables: False for a disabled node, whose missing variables are no mistakes; or the one option
                for which they are.
            reading: what stands in for wrong values, so that the options around them can be checked; None: nothing.
        """
        self._environ = environ
        self._report = report
        self._need_variables = need_variables
        self._reading = reading
        self.stand_ins: list[OptionPath] = []
        """Options that are wrong, or lack a variable which is not needed: their values only stand in."""
        self.vague = False
        """Whether a list or mapping stands in, so that names are unknown."""

    def value(self, hint: Any, value: Value, path: OptionPath = (), otherwise: Any = FAILED) -> Any:
        """The value as the type that `hint` asks for, or `FAILED` when that has been reported and nothing stands in.

        Args:
            hint: the type.
            value: the value in the file.
            path: where it stands in the node's options.
            otherwise: what the option is where it is left out.
        """
        bound = self._value(hint, value, path)
        return self._replaced(hint, path, otherwise) if bound is FAILED else bound

    def _value(self, hint: Any, value: Value, path: OptionPath) -> Any:
        base, metas = unwrap(hint)
        if not self._needs_variables(path) and isinstance(value, Scalar) and "single value" in shapes(base):
            missing = self._missing(base, value)
            if missing:
                return self._filled_in(hint, value, path, missing)
        result: Any
        if is_union(base):
            result = self._union(base, value, path)
        elif shape(value) not in shapes(base):
            return self._wrong_shape(base, value, path)
        elif isinstance(value, Scalar):
            result = self._scalar([base], value, path)
        elif base is Secret:
            result = self._secret_file(value, path)
        elif isinstance(value, Record):
            result = self.options(base, value, path) if is_options(base) else self._mapping(base, value, path)
        else:
            result = self._listing(base, value, path)
        if result is FAILED:
            return FAILED
        broken = next((message for meta in metas for message in bounds(result, meta)), None)
        return result if broken is None else self._fail(value, path, broken)

    def options(
        self, cls: type[OptionsT], record: Record, path: OptionPath = (), also: tuple[str, ...] = ()
    ) -> OptionsT | Failed:
        """An instance of an options class; unknown, missing and wrong options are reported, all of them.

        Args:
            cls: the class.
            record: the mapping in the file.
            path: where it stands in the node's options.
            also: keys of the same mapping that are bound elsewhere, to be named among the allowed ones.
        """
        known = {field.encode_name: field for field in fields(cls)}
        found: dict[str, Any] = {}
        meant: set[str] = set()  # by names that are unknown
        failed = False
        for key, entry in record.entries.items():
            if key not in known:
                similar = self._unknown(key, Scalar(key, entry.line, entry.column), path, (*known, *also))
                meant.update([similar] if similar else known)
                failed = self._reading is None
                continue
            field = known[key]
            found[field.name] = self.value(field.type, entry.value, (*path, key), default(field, FAILED))
        for key, field in known.items():
            if key in record.entries or not (field.required or key in meant):
                continue
            if field.required:
                _, metas = unwrap(field.type)
                described = next((meta.description for meta in metas if meta.description), "")
                self._report(record, (*path, key), "is required and missing", described, Severity.ERROR)
            found[field.name] = self._replaced(field.type, (*path, key), default(field, FAILED))
        if failed or any(bound is FAILED for bound in found.values()):
            return FAILED
        try:
            return cls(**found)
        except (ValueError, TypeError) as error:
            if not any(lacking[: len(path)] == path for lacking in self.stand_ins):
                self._fail(record, path, str(error))
            return FAILED

    def _needs_variables(self, path: OptionPath) -> bool:
        return self._need_variables is True or path[:1] == (self._need_variables,)

    def _missing(self, base: Any, scalar: Scalar) -> tuple[str, ...]:
        """The variables that a scalar lacks; one that can't be understood is told when it is bound."""
        types_ = {unwrap(member)[0] for member in members(base)}
        try:
            return interpolate(Topic.parse(scalar.text) if Topic in types_ else scalar.text, self._environ).missing
        except ValueError:
            return ()

    def _filled_in(self, hint: Any, value: Scalar, path: OptionPath, missing: tuple[str, ...]) -> Any:
        """Any value of the type in place of missing variables, so that the options around can be checked."""
        for text in texts(hint, self._reading):
            environ = {**self._environ, **dict.fromkeys(missing, text)}
            result = Binder(environ).value(hint, value, path)
            if result is not FAILED:
                self.stand_ins.append(path)
                return result
        return FAILED

    def _replaced(self, hint: Any, path: OptionPath, otherwise: Any) -> Any:
        """What stands in for a wrong value; `FAILED` when nothing may, or fits: then for what is around it."""
        if self._reading is None:
            return FAILED
        found = otherwise if self._reading is Reading.OTHER else FAILED
        if found is FAILED and (instead := sample(hint, self._reading, _fits)) is not None:
            found = Binder({}).value(hint, instead, path)
        found = otherwise if found is FAILED else found
        if found is not FAILED:
            self.stand_ins.append(path)
            self.vague = self.vague or shapes(unwrap(hint)[0]) != {"single value"}
        return found

    def _filled(self, scalar: Scalar, text: str, path: OptionPath) -> Text | Failed:
        """A scalar with its variables filled in; missing ones are reported where they are needed."""
        try:
            result = interpolate(text, self._environ) if "${" in text else Substituted(text=text)
        except SubstitutionError as error:
            self._fail(scalar, path, str(error))
            return FAILED
        if result.missing:
            for name in result.missing if self._needs_variables(path) else ():
                hint = f"set it, or give a default here: ${{{name}:-…}}"
                self._fail(scalar, path, f"environment variable {name} is not set", hint)
            return FAILED
        if result.from_environment and not result.text.isascii() and _is_broken(result.text):
            return self._fail(scalar, path, "a variable of the environment is not UTF-8", "set it anew")
        plain = scalar.plain and not result.found
        value = resolve(result.text) if plain else result.text
        return Text(text=result.text, value=value, loose=result.found, clear=not result.from_environment)

    def _scalar(self, types_: Sequence[Any], scalar: Scalar, path: OptionPath) -> Any:
        """Try types in this order; the first that fits wins."""
        # In a topic the seed's ${TENANT_ID} and ${PLC_ID} mean the frame's fields, so they must not be filled in.
        raw = Topic.parse(scalar.text) if Topic in types_ else scalar.text
        text = self._filled(scalar, raw, path)
        if isinstance(text, Failed):
            return FAILED
        if Secret in types_ and not (text.value is None and type(None) in types_):
            if text.value is None:
                return self._fail(scalar, path, "has no value", 'write one, or "" for none')
            if text.clear and text.text:
                hint = "use ${NAME} from the environment, or {file: path}"
                self._report(scalar, path, "a secret is written in clear", hint, Severity.WARNING)
            return Secret(text.text)
        mismatches = []
        for base in types_:
            try:
                return convert(base, text)
            except MismatchError as error:
                mismatches.append(error)
        if len(mismatches) == 1:
            return self._fail(scalar, path, mismatches[0].message, mismatches[0].hint)
        hint = next((error.hint for error in mismatches if error.hint), "")
        return self._fail(scalar, path, f"must be {expected_of(types_)}, found {text}", hint)

    def _union(self, base: Any, value: Value, path: OptionPath) -> Any:
        fitting = [member for member in members(base) if shape(value) in shapes(unwrap(member)[0])]
        if not fitting:
            return self._wrong_shape(base, value, path)
        if len(fitting) == 1:
            return self._value(fitting[0], value, path)
        if isinstance(value, Scalar):
            result = self._scalar(sorted((unwrap(member)[0] for member in fitting), key=rank), value, path)
            metas = [meta for member in fitting for meta in unwrap(member)[1] if type(result) is unwrap(member)[0]]
            broken = next((message for meta in metas for message in bounds(result, meta)), None)
            return result if broken is None or result is FAILED else self._fail(value, path, broken)
        return self._likeliest(fitting, value, path)

    def _likeliest(self, fitting: Sequence[Any], value: Value, path: OptionPath) -> Any:
        """Of several classes that a mapping or list could be, the one with the fewest mistakes."""
        report, before, trials = self._report, self.stand_ins, []
        for member in fitting:
            told: list[tuple[Value, OptionPath, str, str, Severity]] = []
            self._report = lambda *parts, told=told: told.append(parts)
            self.stand_ins = list(before)
            trials.append((self._value(member, value, path), told, self.stand_ins))
            self._report = report
        result, told, self.stand_ins = min(trials, key=lambda trial: len(trial[1]))
        for parts in told:
            report(*parts)
        return result

    def _mapping(self, base: Any, record: Record, path: OptionPath) -> Any:
        key_type, value_type = get_args(base) or (str, Any)
        result: dict[Any, Any] = {}
        failed = False
        for key, entry in record.entries.items():
            bound = self.value(value_type, entry.value, (*path, key))
            place = Scalar(key, entry.line, entry.column)
            name = key if unwrap(key_type)[0] is str else self._scalar([unwrap(key_type)[0]], place, (*path, key))
            for meta in unwrap(key_type)[1]:
                for message in bounds(name, meta) if name is not FAILED else ():
                    name = self._fail(place, (*path, key), f"the name {message}")
            if name is FAILED and self._reading is not None:
                self.stand_ins.append((*path, key))
                self.vague = True
                continue
            failed = failed or bound is FAILED or name is FAILED
            result[name] = bound
        return FAILED if failed else result

    def _listing(self, base: Any, listing: Listing, path: OptionPath) -> Any:
        origin, inner = get_origin(base) or base, get_args(base)
        each = inner[0] if inner else Any
        fixed = origin is tuple and inner and inner[-1] is not Ellipsis
        if fixed and len(inner) != len(listing.items):
            return self._fail(listing, path, f"must have {len(inner)} entries, found {len(listing.items)}")
        result = [
            self.value(inner[index] if fixed else each, item, (*path, index))
            for index, item in enumerate(listing.items)
        ]
        if FAILED in result:
            return FAILED
        return (
            result if origin in (Sequence, list, Any) else origin(result) if origin is not AbstractSet else set(result)
        )

    def _secret_file(self, value: Value, path: OptionPath) -> Secret | Failed:
        if not isinstance(value, Record) or set(value.entries) != {"file"}:
            self._fail(
                value,
                path,
                "must be a text or {file: path}",
                "write {file: /run/secrets/name}, or ${NAME} from the environment",
            )
            return FAILED
        place = value.entries["file"].value
        file: Path | Failed = self.value(Path, place, (*path, "file"))
        if isinstance(file, Failed):
            return file
        for found in check_file(file, (*path, "file")):
            self._report(place, found.path, found.message, found.hint, found.severity)
        return Secret(file=file)

    def _unknown(self, key: str, place: Value, path: OptionPath, known: tuple[str, ...]) -> str:
        """Tell of an unknown option; the one that may be meant."""
        similar = nearest(key, known)
        hint = f"did you mean '{similar}'?" if similar else f"allowed: {', '.join(known)}" if known else ""
        self._fail(place, (*path, key), "unknown option", hint)
        return similar

    def _wrong_shape(self, base: Any, value: Value, path: OptionPath) -> Failed:
        if not isinstance(value, Scalar):
            return self._fail(value, path, f"must be {expected(base)}, found a {shape(value)}")
        if value.plain and resolve(value.text) is None:
            return self._fail(value, path, "has no value", f"write {expected(base)}, or remove the line")
        glued = value.plain and re.match(r"[A-Za-z_]\w*:\S", value.text)
        hint = "is a space behind a colon missing?" if glued else ""
        return self._fail(value, path, f"must be {expected(base)}, found a single value", hint)

    def _fail(self, value: Value, path: OptionPath, message: str, hint: str = "") -> Failed:
        self._report(value, path, message, hint, Severity.ERROR)
        return FAILED


@cache
def fields(cls: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of an options class, with their annotated types and their names in files."""
    return msgspec.structs.fields(cls)


def _fits(hint: Any, value: Value) -> bool:
    return Binder({}).value(hint, value) is not FAILED


def nested(value: Any, path: OptionPath = ()) -> Iterator[tuple[OptionPath, Options]]:
    """All options within bound options, themselves first, each with its path as written in the file."""
    if isinstance(value, Options):
        yield path, value
        for field in fields(type(value)):
            yield from nested(getattr(value, field.name), (*path, field.encode_name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from nested(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from nested(item, (*path, index))


def _is_broken(text: str) -> bool:
    """Whether it holds what Python makes of bytes that are not UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)
