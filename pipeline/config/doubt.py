"""Tabs whose place is in doubt by the lines around them: of the ways to indent them, the one that makes a good file."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config.indent import untabbed
from pipeline.config.lexical import Line, scan
from pipeline.config.mend import indented, replace_lines

__all__ = ["settled"]

_MOST = 8


def settled(text: str, mistakes: Callable[[str], tuple[int, int]]) -> list[str]:
    """Replace the tabs in doubt by spaces.

    Args:
        text: everything else in it is mended.
        mistakes: how many a text has, the graver ones first.

    Returns:
        The text in all the ways that leave the fewest mistakes: one where that is beyond doubt, none where nothing is
        in doubt, or too much.
    """
    seen = scan(text)
    runs = _runs(seen.lines, untabbed(seen))
    if not 0 < len(runs) <= _MOST:
        return []
    chosen = [ways[-1] for ways in runs]
    best: list[str] = []
    for index, ways in enumerate(runs):
        trials = []
        for way in ways:
            mended = {
                line: made for each in (*chosen[:index], way, *chosen[index + 1 :]) for line, made in each.items()
            }
            trial = replace_lines(text, mended)
            trials.append((mistakes(trial), trial, way))
        fewest = min(count for count, _, _ in trials)
        best = [trial for count, trial, _ in trials if count == fewest]
        if len(best) > 1:
            break
        chosen[index] = next(way for count, _, way in trials if count == fewest)
    return best


def _runs(lines: list[Line], wanted: dict[int, tuple[int, ...]]) -> list[list[dict[int, str]]]:
    """Of each row of lines in doubt the ways to write them, by number from 1, the least indented first."""
    runs: list[list[dict[int, str]]] = []
    last = -1
    for number, spaces in sorted(wanted.items()):
        if len(set(spaces)) < 2 and number != last + 1:  # noqa: PLR2004 - no doubt
            continue
        made = [{number + 1: indented(lines[number], each)} for each in spaces]
        if number == last + 1 and len(made) == len(runs[-1]):
            runs[-1] = [before | each for before, each in zip(runs[-1], made, strict=True)]
        elif len(set(spaces)) > 1:
            runs.append(made)
        else:
            continue
        last = number
    return runs
