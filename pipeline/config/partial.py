"""What of a mapping can be read where a part of it can't, so that the rest is judged all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from pipeline.config.bind import FAILED, Binder, Failed, OptionPath, Report
from pipeline.config.document import Record, Scalar, Value
from pipeline.errors import Severity
from pipeline.operator import Options

__all__ = ["bind_readable"]

OptionsT = TypeVar("OptionsT", bound=Options)
_NOTHING = Scalar("", 0, 0)


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
