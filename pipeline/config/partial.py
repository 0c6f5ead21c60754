"""What of a mapping can be read where a part of it can't, so that the rest is judged all the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pipeline.config.bind import FAILED, Binder, Failed, OptionPath, Report, nobody
from pipeline.config.document import Record, Scalar, Value
from pipeline.config.stand_ins import Reading
from pipeline.errors import Severity
from pipeline.operator import Options

__all__ = ["Bound", "bind_in_readings", "bind_readable", "lacks"]

OptionsT = TypeVar("OptionsT", bound=Options)
_NOTHING = Scalar("", 0, 0)


@dataclass(frozen=True)
class Bound(Generic[OptionsT]):
    """Options as one reading has them.

    Attributes:
        options: None when nothing of them could be read.
        stand_ins: the options that are wrong or lack a variable; their values only stand in.
        vague: lists or mappings are among them, so that names in them are unknown.
    """

    options: OptionsT | None = None
    stand_ins: tuple[OptionPath, ...] = ()
    vague: bool = False


def bind_in_readings(
    environ: Mapping[str, str],
    report: Report,
    cls: type[OptionsT],
    value: Value,
    *,
    also: tuple[str, ...] = (),
    need_variables: bool | str = True,
) -> tuple[Bound[OptionsT], ...]:
    """Bind a value to an options class; where a part of it is wrong, with something in its place.

    Args:
        environ: the variables.
        report: told of every mistake.
        cls: the class.
        value: the value in the file.
        also: keys of the same mapping that are bound elsewhere.
        need_variables: see `Binder`.

    Returns:
        The one reading of what is right; of all else two. What is found in only one depends on what stands in.
    """
    found: list[Bound[OptionsT]] = []
    for reading in Reading:
        binder = Binder(environ, nobody if found else report, need_variables=need_variables, reading=reading)
        bound = binder.options(cls, value, also=also) if isinstance(value, Record) else binder.value(cls, value)
        found.append(Bound(None if isinstance(bound, Failed) else bound, tuple(binder.stand_ins), binder.vague))
        if not binder.stand_ins:
            break
    return tuple(found)


def lacks(stand_ins: Iterable[OptionPath], path: OptionPath) -> bool:
    """Whether an option, one within it or one around it, the whole apart, is among those whose values stand in."""
    return any(lacking == path[: len(lacking)] or (path and lacking[: len(path)] == path) for lacking in stand_ins)


def bind_readable(
    environ: Mapping[str, str], report: Report, cls: type[OptionsT], value: Value, path: OptionPath
) -> tuple[OptionsT | None, bool]:
    """Bind a value to an options class; where a part of it is wrong, without that part.

    Args:
        environ: the variables.
        report: told of every mistake.
        cls: the class.
        value: the value in the file.
        path: where it stands.

    Returns:
        The options, None when nothing of them is left, and whether all of it could be read.
    """
    wrong: list[OptionPath] = []

    def listen(place: Value, where: OptionPath, message: str, hint: str, severity: Severity) -> None:
        if severity is Severity.ERROR:
            wrong.append(where[len(path) :])
        if sound:
            report(place, where, message, hint, severity)

    sound = True
    binder = Binder(environ, listen)
    bound: OptionsT | Failed = binder.value(cls, value, path)
    while isinstance(bound, Failed) and wrong:
        sound = False
        for where in [_culprit(value, where) for where in wrong]:
            value = _without(value, where)
        wrong.clear()
        bound = binder.value(cls, value, path) if isinstance(value, Record) else FAILED
    return None if isinstance(bound, Failed) else bound, sound


def _culprit(value: Value, path: OptionPath) -> OptionPath:
    """What has to go: what stands at a path, or what lacks it; a list as a whole, since its rest would move up."""
    for length, step in enumerate(path):
        if not isinstance(value, Record) or str(step) not in value.entries:
            return path[:length]
        value = value.entries[str(step)].value
    return path


def _without(value: Value, path: OptionPath) -> Value:
    """A value without what stands at a path; of the whole, nothing."""
    if not path:
        return _NOTHING
    if not isinstance(value, Record) or str(path[0]) not in value.entries:
        return value
    entries = dict(value.entries)
    entry = entries.pop(str(path[0]))
    if len(path) > 1:
        entries[str(path[0])] = replace(entry, value=_without(entry.value, path[1:]))
    return replace(value, entries=entries)
