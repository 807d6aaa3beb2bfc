"""The rows of a results.csv, read tolerantly: padding, CRLF, a mark, repeated headers, ragged and partial lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from deploytk.training.diagnosis.text import lines_of, number

#: A header stands near the top; below that a file is something else.
_LOOKED_AT = 20


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of numbers: the cells by column, and the line it stands in (from 1)."""

    number: int
    cells: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The lines under their headers, and those that were left out, with the reason."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...] = ()
    left_out: tuple[tuple[int, str], ...] = field(default=())


def parse(text: str) -> Table | None:
    """The table in a text; None where no line among the first has a column `epoch`."""
    lines = [line.replace("\r", "") for line in lines_of(text)]
    at = next((i for i, line in enumerate(lines[:_LOOKED_AT]) if _is_header(_cells(line, _mark(line)))), None)
    if at is None:
        return None
    mark = _mark(lines[at])
    cells = [(i + 1, _cells(line, mark)) for i, line in enumerate(lines) if i >= at and line.strip()]
    return _table(cells, ends=text.endswith(("\n", "\r")))


def _mark(line: str) -> str:
    return max((",", ";", "\t"), key=line.count)


def _cells(line: str, mark: str) -> list[str]:
    cells = [cell.strip().strip('"').strip() for cell in line.split(mark)]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _is_header(cells: Sequence[str]) -> bool:
    return len(cells) > 1 and any(cell.lower() == "epoch" for cell in cells)


def _table(cells: Sequence[tuple[int, list[str]]], *, ends: bool) -> Table:
    header, lengths = _unique(cells[0][1]), _lengths(cells)
    first, lines, left_out = header, [], []
    for number_of_line, found in cells[1:]:
        last = number_of_line == cells[-1][0]
        if _is_header(found):
            header = _unique(found)  # of a run that was resumed, by another version perhaps
        elif len(found) < min(len(header), lengths):
            what = "the last line is cut short" if last and not ends else "has too few columns"
            left_out.append((number_of_line, f"{what}: {len(found)} of {len(header)} columns"))
        else:
            lines.append(Line(number=number_of_line, cells=dict(zip(header, found, strict=False))))
    return Table(columns=tuple(first), lines=tuple(lines), left_out=tuple(left_out))


def _lengths(cells: Sequence[tuple[int, list[str]]]) -> int:
    """How many cells most lines have: there are files whose every line is shorter than their header."""
    counted = Counter(len(found) for _, found in cells[1:] if not _is_header(found))
    most, times = counted.most_common(1)[0] if counted else (0, 0)
    return most if times > 2 and times * 2 > counted.total() else len(cells[0][1])


def _unique(header: Sequence[str]) -> list[str]:
    """The names of the columns; the second of one name gets a number, so that the first stays."""
    seen: Counter[str] = Counter()
    names = []
    for name in header:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def epoch_of(cells: dict[str, str]) -> float | None:
    """The epoch of a line: 3, or the first of 3/100; None where there is no finite one."""
    told = next((cells[name] for name in cells if name.lower() == "epoch"), "")
    value = number(told.split("/")[0])
    return value if value is not None and math.isfinite(value) else None
