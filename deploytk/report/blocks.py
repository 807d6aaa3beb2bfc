"""What a rendered report is made of: blocks of lines, figures and tables, the same for HTML, Markdown and terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Tone = Literal["", "good", "bad", "warn", "muted", "estimate"]

TONES: dict[str, Tone] = {
    "pass": "good",
    "fail": "bad",
    "inconclusive": "warn",
    "error": "bad",
    "warning": "warn",
    "info": "muted",
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: its text, how it is meant, and the full text where `text` is only its beginning."""

    text: str
    tone: Tone = ""
    full: str = ""
    number: bool = False
    code: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; `brief` ones also stand in the terminal, `folded` ones are closed at first in HTML.

    A narrow terminal leaves out the `spare` columns, the first named first. Where the columns from `sentences_from` on
    (0: none) are sentences, each row is a paragraph there: long sentences side by side cannot be read.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    brief: bool = False
    folded: bool = False
    spare: tuple[str, ...] = ()
    sentences_from: int = 0


@dataclass(frozen=True, kw_only=True)
class Block:
    """One part of the report. `figures` are names that `plots.figures` draws, above or below the tables.

    The first `brief_lines` of the lines also stand in the terminal.
    """

    name: str
    title: str
    lines: tuple[str, ...] = ()
    brief_lines: int = 0
    tables: tuple[Table, ...] = ()
    figures: tuple[str, ...] = ()
    figures_below: bool = False


def text(value: Any, tone: Tone = "") -> Cell:
    """A cell of plain text; an en dash where there is nothing."""
    return Cell(text="–" if value is None or value == "" else str(value), tone=tone)


def code(value: Any) -> Cell:
    """A cell in the typeface of commands and paths."""
    return Cell(text=str(value), code=True) if value else text(None)


def number(value: Any, tone: Tone = "", *, unit: str = "") -> Cell:
    """A cell with a number as people read it: 1,234 or 12.34 or 0.0123."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return Cell(text="–" if value is None or isinstance(value, float) else str(value), tone=tone, number=True)
    return Cell(text=f"{readable(value)}{unit}", tone=tone, number=True)


def readable(value: float) -> str:
    """A finite number with about four digits, thousands apart."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def word(status: str | None) -> Cell:
    """A verdict or a severity in its colour."""
    return text(status, TONES.get(status or "", ""))


def yes(value: Any, *, good: str = "yes", bad: str = "no") -> Cell:
    """A truth in words and colour; an en dash where it is not known."""
    if value is None:
        return text(None)
    return text(good, "good") if value else text(bad, "bad")


def sha(digest: str) -> Cell:
    """The first digits of a sha256, the whole of it in `full`."""
    return Cell(text=digest[:12] or "–", full=digest, code=True)


def pairs(rows: list[tuple[str, Cell]], title: str = "", *, brief: bool = False, folded: bool = False) -> Table:
    """A table of names and values."""
    told = tuple((text(name), cell) for name, cell in rows)
    return Table(columns=("", ""), rows=told, title=title, brief=brief, folded=folded)
