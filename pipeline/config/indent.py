"""Which line of a block is indented wrongly: judged by the lines around it, so that correct ones are never blamed.

Only the outline of a text is looked at: keys and dashes with their columns. Whatever stands in flow syntax, quotes,
comments or blocks of text is no part of it. Lines are counted from 0 here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.config.lexical import Line, Scan

__all__ = ["Row", "misplaced", "outline", "untabbed"]

_BLANKS = " \t\xa0"
_DASH = re.compile(r"(?:- +)*-$|(?:- +)+")
_KEY = re.compile(r"""(?:[^\s"'{}\[\],#&*!|>%@`-][^"'{}\[\]]*?|"[^"]*"|'[^']*'|-[\w.]+) *:(?:\s|$)""")
_EMPTY = re.compile(r"(?: *[&!]\S+)*")
_WINDOW = 400  # lines after a doubtful one that are asked
_NEVER = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the outline: a key, a dash, or a dash and a key.

    Attributes:
        number: the line.
        raw: its indentation as written.
        indent: spaces before it.
        dash: it begins a list entry.
        inner: columns from its start to its key: behind the dashes of `- key: value`.
        keyed: it has a key.
        opens: nothing follows the key or dash, so its value is the block below.
    """

    number: int
    raw: str
    indent: int
    dash: bool
    inner: int
    keyed: bool
    opens: bool

    @property
    def column(self) -> int:
        """Where its key's siblings begin."""
        return self.indent + self.inner

    @property
    def tabbed(self) -> bool:
        """A tab stands in its indentation, so that it is unknown."""
        return "\t" in self.raw


def outline(seen: Scan) -> list[Row]:
    """The rows of a text."""
    return [row for line in seen.lines if line.significant and (row := _row(line)) is not None]


def _row(line: Line) -> Row | None:
    body = line.text[: line.end].lstrip(_BLANKS)
    raw = line.text[: len(line.text[: line.end]) - len(body)]
    body = body.rstrip()
    dashes = _DASH.match(body)
    rest = body[dashes.end() :] if dashes else body
    key = _KEY.match(rest)
    if dashes is None and key is None:
        return None
    opens = _EMPTY.fullmatch(rest[key.end() :] if key else rest) is not None
    inner = dashes.end() if dashes else 0
    return Row(
        number=line.number,
        raw=raw,
        indent=len(raw),
        dash=dashes is not None,
        inner=inner,
        keyed=key is not None,
        opens=opens,
    )


@dataclass(frozen=True)
class _Level:
    """An open block: its column, whether it is a list, and its last row."""

    column: int
    listed: bool
    row: Row


@dataclass(frozen=True)
class _Walk:
    """How far an outline is sound.

    Attributes:
        fault: the line that fits nowhere, `_NEVER` when all do.
        empty: keys without a value on the way.
        levels: the open blocks before that line.
    """

    fault: int
    empty: int
    levels: tuple[_Level, ...]


def _walk(rows: Iterable[Row], levels: Sequence[_Level] = ()) -> _Walk:
    """Go down an outline until a row fits nowhere."""
    open_, empty = list(levels), 0
    for row in rows:
        above = open_[-1].row if open_ else None
        kept = [level for level in open_ if level.column <= row.indent]
        if above is not None and above.opens and not _nests(row, above):
            empty += 1
        if above is None or (above.opens and _nests(row, above)):
            kept.append(_Level(row.indent, row.dash, row))
        else:
            while kept and kept[-1].listed and not row.dash and kept[-1].column == row.indent:
                kept.pop()  # behind a list that stands as deep as its key
            if not kept or kept[-1].column != row.indent or kept[-1].listed != row.dash:
                return _Walk(row.number, empty, tuple(open_))
            kept[-1] = _Level(row.indent, row.dash, row)
        if row.dash and row.keyed:
            kept.append(_Level(row.column, False, row))
        open_ = kept
    return _Walk(_NEVER, empty, tuple(open_))


def _nests(row: Row, above: Row) -> bool:
    """Whether a row stands in the block that the one above opens. A list may stand as deep as its key."""
    column = above.column if above.keyed else above.indent
    return row.indent > column or (row.dash and row.indent == column and above.keyed)


def misplaced(seen: Scan, number: int) -> tuple[int, int] | None:
    """The one line whose indentation is wrong, where a parser stopped at line `number`.

    Returns:
        The line and the spaces it should have; None when more than one line may be the wrong one.
    """
    rows = outline(seen)
    walk = _walk(rows)
    at = next((index for index, row in enumerate(rows) if row.number == number), None)
    if at is None or walk.fault != number:
        return None
    found: list[tuple[tuple[int, ...], tuple[int, int]]] = []
    step = _step([*rows[: max(at - 1, 0)], *rows[at + 1 :]])
    for index, indent in _moves(rows, at, walk.levels, step):
        moved = [*rows[:index], replace(rows[index], indent=indent), *rows[index + 1 : at + _WINDOW]]
        after = _walk(moved)
        parted = next((row.indent for row in rows if row.number == after.fault), None)
        # What fails next is a sibling that the moved line has left: the move was wrong.
        if after.fault > number and parted != rows[index].indent:
            beside = [row.indent for row in (*rows[max(index - 1, 0) : index], *rows[index + 1 : index + 2])]
            score = (-after.fault, after.empty, beside != [indent, indent], indent % step, rows[index].opens)
            found.append((score, (rows[index].number, indent)))
    best = {move for score, move in found if score == min(found)[0]}
    # That nothing but the margin fits doesn't show that the margin was meant.
    return best.pop() if len(best) == 1 and all(indent for _, indent in best) else None


def _moves(rows: Sequence[Row], at: int, levels: Sequence[_Level], step: int) -> Iterator[tuple[int, int]]:
    """What could be meant: the row belongs to an open block, or an open block's last row belongs beside this one."""
    row, above = rows[at], rows[at - 1]
    if above.inner and row.indent > above.indent and not row.dash:
        yield at, above.column  # a key below `- key: value` is a sibling of that key
        return
    columns = {level.column for level in levels}
    if above.opens:
        columns |= {child.indent for child in rows[at + 1 : at + 2] if child.indent > above.column}
    if row.dash and above.opens:
        columns = _beneath(rows, at, above, step)
    elif not above.opens and row.indent > above.indent and not row.opens:
        columns = {above.indent}  # nothing can nest below a key that has its value
    for column in sorted(columns):
        yield at, column
    yield from _earlier(rows, at, levels, step)


def _earlier(rows: Sequence[Row], at: int, levels: Sequence[_Level], step: int) -> Iterator[tuple[int, int]]:
    """The last rows of the open blocks, moved beside the row that doesn't fit."""
    row = rows[at]
    indices = {known.number: index for index, known in enumerate(rows[:at])}
    for index in sorted({indices[level.row.number] for level in levels}):
        known = rows[index]
        if known.opens and index == at - 1:
            if row.indent > step:
                yield index, row.indent - step
        elif known.dash == row.dash and (known.indent or not known.opens):
            yield index, row.indent
            if not rows[index - 1].opens:
                yield index, rows[index - 1].indent


def _step(rows: Iterable[Row]) -> int:
    return min((row.indent for row in rows if not row.tabbed and row.indent > 1), default=2)


def _beneath(rows: Sequence[Row], at: int, above: Row, step: int) -> set[int]:
    """Where a list below a key begins, as the file's other lists do."""
    pairs = [(rows[i - 1], rows[i]) for i in range(1, len(rows)) if i != at]
    known = [pair for pair in pairs if pair[0].opens and pair[0].keyed and pair[1].dash]
    offsets = {row.indent - key.column for key, row in known if not (row.tabbed or key.tabbed)} & {0, step}
    return {above.column + offset for offset in offsets or {0, step}}


def untabbed(seen: Scan) -> dict[int, tuple[int, ...]]:
    """How many spaces the lines with a tab in their indentation should have.

    Lines in a row are taken together: the same tabs are the same depth. Only the lines with tabs are judged, by those
    without.

    Returns:
        The possible indentations by line, as many as the lines in a row have readings: one where the lines around leave
        no doubt.
    """
    rows = outline(seen)
    step = _step(rows)
    found: dict[int, tuple[int, ...]] = {}
    levels: tuple[_Level, ...] = ()
    index = 0
    while index < len(rows):
        end = index + 1
        while rows[index].tabbed and end < len(rows) and rows[end].tabbed:
            end += 1
        run = rows[index:end]
        if rows[index].tabbed:
            following = [row for row in rows[end : end + _WINDOW] if not row.tabbed]
            above = levels[-1].row if levels else None
            columns = {level.column for level in levels} or {0}
            if above is not None and above.opens and run[0].dash:
                columns = _beneath(rows, index, above, step)
            elif above is not None and above.opens:
                columns |= {above.column + step, *(row.indent for row in following[:1] if row.indent > above.column)}
            readings = _readings(run, following, levels, columns, step)
            for rank, row in enumerate(run):
                found[row.number] = tuple(reading[rank].indent for reading in readings)
            run = readings[0] if readings else []
        levels = _follow(run, levels)
        index = end
    return found


def _follow(run: Sequence[Row], levels: tuple[_Level, ...]) -> tuple[_Level, ...]:
    """The open blocks behind some rows; one that fits nowhere is passed over."""
    for row in run:
        walk = _walk([row], levels)
        levels = walk.levels
    return levels


def _readings(
    run: Sequence[Row], following: Sequence[Row], levels: Sequence[_Level], columns: set[int], step: int
) -> list[list[Row]]:
    """The ways to indent rows with tabs, the first at one of `columns`, that disturb the rows behind them least."""
    trials: list[tuple[tuple[int, ...], list[Row]]] = []
    # A line with a tab is indented.
    for column in sorted(columns - {0} or columns):
        rows = _relative(run, column, step)
        walk = _walk([*rows, *following], levels)
        if walk.fault > run[-1].number:
            wide = rows[-1].opens and any(row.indent > rows[-1].column + step for row in following[:1])
            trials.append(((-walk.fault, walk.empty, wide), rows))
    best = min((score for score, _ in trials), default=None)
    return [rows for score, rows in trials if score == best]


def _relative(run: Sequence[Row], column: int, step: int) -> list[Row]:
    """Rows with tabs, the first at `column`: longer white space is deeper."""
    depths = {len(run[0].raw): column}
    rows = [replace(run[0], indent=column)]
    for row in run[1:]:
        if len(row.raw) > len(run[len(rows) - 1].raw):
            above = rows[-1]
            depths[len(row.raw)] = above.column + step if above.opens else above.column
        depth = depths.get(len(row.raw), -1)
        rows.append(replace(row, indent=depth))
    return rows
